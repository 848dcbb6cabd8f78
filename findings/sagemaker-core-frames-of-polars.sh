#!/bin/sh
# sagemaker-core 2.27.0 (SageMaker Python SDK 3): a frame of Polars is sent with its columns as rows, and dicts as their names.
#
# Guessed: `CSVSerializer` writes a line for each row of a Polars frame, as of one of pandas, or refuses what it does not know;
# a list of dicts gives their values, and a tuple of rows what a list of them gives.
# Seen: a frame of Polars 2.1.0 with 3 rows and 2 columns becomes 2 lines of 3 numbers. Where there are as many rows as columns,
# an endpoint answers each column as if it were a row. A list of dicts becomes a line of the names for each, and the values
# are not sent; a tuple of rows becomes one line of texts such as "(1, 2)". Frames of pandas, lists and arrays are right.
# What it means here: rows of Polars and dicts are read by name everywhere in the workbench; what our users give to the SDK's
# predictors is `frame.to_numpy()`, or `frame.write_csv(include_header=False)`: site/howto/clouds.md.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    sagemaker-core==2.27.0 polars==2.1.0 pandas==3.1.1 numpy==2.4.6

"$folder/venv/bin/python" -W ignore - <<'PY'
import pandas
import polars
from sagemaker.core.serializers.base import CSVSerializer

write = CSVSerializer().serialize
columns = {"age": [41, 42, 43], "weight": [0.5, 0.25, 4.0]}
rows = "41,0.5\n42,0.25\n43,4.0"
cases = {
    "pandas": (pandas.DataFrame(columns), rows + "\n"),
    "an array of Polars": (polars.DataFrame(columns).to_numpy(), "41.0,0.5\n42.0,0.25\n43.0,4.0"),
    "Polars": (polars.DataFrame(columns), "41,42,43\n0.5,0.25,4.0"),
    "dicts": (polars.DataFrame(columns).to_dicts(), "age,weight\nage,weight\nage,weight"),
    "a list of tuples": (polars.DataFrame(columns).rows(), rows),
    "a tuple of tuples": (((1, 2), (3, 4)), '"(1, 2)","(3, 4)"'),
}
for name, (data, seen) in cases.items():
    print(f"{name}: {write(data)!r}")
    assert write(data) == seen
PY
echo "still so: a frame of Polars is sent on its side"
