#!/bin/sh
# sagemaker-inference 1.10.1: an empty cell of CSV is -1, 0 or NaN, as the other rows of the request have it.
#
# Guessed: the default decoder of SageMaker's framework containers reads an empty cell as NaN, or refuses it, and a row alone as it
# reads it among others.
# Seen: types follow from all rows of a request. In a column of whole numbers an empty cell is -1 (a valid age, count or code), in
# a row that comes alone it is 0, and where a number of its column has a point it is NaN. So one row has three answers, as a
# client or a batch puts others beside it. One row of three cells has the shape (3,), as three rows of one have, and a row of
# whole numbers and others is no matrix, but a record.
# What it means here: a cell is read as what the model's input is, whatever stands beside it, and an empty one of a number is NaN
# or refused: tests/modelserver/test_formats.py. Clients that send CSV to other containers fill empty cells themselves.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check sagemaker-inference==1.10.1 numpy==2.4.6

"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from sagemaker_inference.decoder import decode

cases = {"alone": "41,,3", "among whole numbers": "41,,3\n4,5,6", "among others": "41,,3\n4,5.5,6"}
empty = {}
for name, text in cases.items():
    rows = decode(text, "text/csv")
    empty[name] = rows[0].tolist()[1] if len(rows) == 2 else rows.tolist()[1]
    print(f"{name}: {text!r} has an empty cell of {empty[name]}")
assert empty["alone"] == 0 and empty["among whole numbers"] == -1 and np.isnan(empty["among others"])
shapes = [decode(text, "text/csv").shape for text in ("1,2,3", "1\n2\n3")]
print("one row of three, and three of one:", shapes)
assert shapes == [(3,), (3,)]
mixed = decode("1,2.5\n3,4.5", "text/csv")
print("whole numbers beside others:", mixed.dtype)
assert mixed.dtype.names == ("f0", "f1")
PY
echo "still so: an empty cell is what the other rows make of it"
