#!/bin/sh
# papermill 2.7.0: numbers and truth values of NumPy arrive in the notebook as texts, and "False" is true.
#
# Guessed: a number that Python code gives as a parameter is that number in the notebook, whether or not it comes from
# numpy.arange or a column of a frame; what cannot be written is refused.
# Seen: np.int64(10) arrives as "10" and np.float32(0.5) as "0.5", in lists and dicts, too, so that twice a rate of 10 is 1010;
# np.False_ arrives as "False", which an `if` takes for true. Keys of dicts become texts. Nothing is said. np.float64 arrives as it
# is, being a float of Python's, and so do Python's own numbers, NaN and infinity.
# What it means here: parameters of our templates are checked against their kind before papermill has them, and NumPy's
# are taken for the numbers they are: workbench/report/templates.py and its examples.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check papermill==2.7.0 nbformat==5.11.1 numpy==2.4.6
cd "$folder"

cat > arrive.py <<'PY'
import nbformat
import numpy as np
from nbformat.v4 import new_code_cell, new_notebook
from papermill.parameterize import parameterize_notebook


def arrive(value):
    """Return what a notebook of Python has after its cell of parameters has run."""
    notebook = new_notebook(cells=[new_code_cell("given = None", metadata={"tags": ["parameters"]})])
    notebook.metadata.update(
        kernelspec={"name": "python3", "language": "python"}, language_info={"name": "python"}, papermill={}
    )
    names = {}
    for cell in parameterize_notebook(notebook, {"given": value}).cells:
        exec(cell.source, names)
    return names["given"]


for value, wanted in (
    (np.arange(10, 30, 10)[0], "10"),
    (np.float32(0.5), "0.5"),
    (np.bool_(False), "False"),
    ([np.int64(1), 2], ["1", 2]),
    ({8: 0.1}, {"8": 0.1}),
    (np.float64(0.5), 0.5),
    (10, 10),
    (False, False),
    (float("inf"), float("inf")),
):
    found = arrive(value)
    print(f"{value!r} arrives as {found!r}; {bool(value)} is {bool(found)}")
    assert found == wanted and type(found) is type(wanted)
PY
"$folder/venv/bin/python" -W ignore arrive.py
echo "still so: numbers of NumPy are texts in the notebook"
