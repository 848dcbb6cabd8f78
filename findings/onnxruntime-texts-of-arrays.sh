#!/bin/sh
# onnxruntime 1.32.0: None among texts becomes the text "None", and a NUL ends a text in one kind of array alone.
#
# Guessed: texts in a NumPy array of type U and the same in one of objects are the same to a model; what is no text is
# refused, as a number is where another type of number is declared.
# Seen: in an array of objects None is the text "None", 3.5 "3.5" and b"a" the text "b'a'": a missing category of a frame
# becomes a category of its own, and an encoder that leaves out what it does not know hides it. A text with a NUL inside
# is whole in an array of objects and cut at the NUL in one of type U.
# What it means here: `as_rows` and the model server take texts alone and name a row that holds something else; the server
# refuses NUL. What is missing is an empty text where the samples lacked values, and an error elsewhere.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 \
    numpy==2.4.6

"$folder/venv/bin/python" - <<'PY'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

node = helper.make_node("Identity", ["x"], ["y"])
ends = [[helper.make_tensor_value_info(name, TensorProto.STRING, ["n"])] for name in "xy"]
model = helper.make_model(
    helper.make_graph([node], "graph", *ends), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def said(values):
    return session.run(None, {"x": values})[0].tolist()


mixed = said(np.array(["Bern", None, 3.5, b"a"], object))
print("onnxruntime", onnxruntime.__version__, "- not texts:", mixed)
whole, cut = said(np.array(["a\0b"], object)), said(np.array(["a\0b"]))
print("a NUL inside, as objects:", whole, "as U:", cut)
assert mixed == ["Bern", "None", "3.5", "b'a'"]
assert (whole, cut) == (["a\0b"], ["a"])
PY
