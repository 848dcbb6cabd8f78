#!/bin/sh
# ONNX Runtime 1.32.0: the largest of a row and its place mind a NaN only where it stands first.
#
# Guessed: ReduceMax of a row with a NaN is NaN, and ArgMax its place, as in NumPy, PyTorch and JAX.
# Seen: on the CPU so it is only for a NaN in the first column. Anywhere else ReduceMax and ReduceMin pass over it and
# ArgMax names the largest of the others; ReduceSum and ReduceMean, Relu, Clip, Sigmoid and Softmax hand it on.
# What it means here: a classifier that ends in ArgMax may give a row with a missing value an ordinary class and no
# sign of it. Whether inputs are missing has to be watched before the model, as the drift of inputs does.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6

"$folder/venv/bin/python" - <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

COLUMNS = 5


def place_of_nan(operator):
    """Return for each column whether a NaN in it is seen in the answer."""
    kind = TensorProto.INT64 if operator == "ArgMax" else TensorProto.FLOAT
    options = {"axis": 1} if operator == "ArgMax" else {}
    axes = [] if operator == "ArgMax" else [onnx.numpy_helper.from_array(np.array([1]), "axes")]
    node = helper.make_node(operator, ["x", *(axis.name for axis in axes)], ["y"], **options)
    graph = helper.make_graph(
        [node], "one", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, COLUMNS])],
        [helper.make_tensor_value_info("y", kind, None)], axes,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    seen = []
    for column in range(COLUMNS):
        row = np.arange(1, COLUMNS + 1, dtype=np.float32)[None]
        row[0, column] = np.nan
        answer = session.run(None, {"x": row})[0].ravel()[0]
        seen.append(bool(answer == column if operator == "ArgMax" else np.isnan(answer)))
    return seen


print("onnxruntime", onnxruntime.__version__, "onnx", onnx.__version__)
only_first, always = [True] + [False] * (COLUMNS - 1), [True] * COLUMNS
for operator, expected in (
    ("ReduceMax", only_first), ("ReduceMin", only_first), ("ArgMax", only_first),
    ("ReduceSum", always), ("ReduceMean", always),
):
    seen = place_of_nan(operator)
    print(f"{operator:10} NaN in column 0 to {COLUMNS - 1} is seen: {seen}")
    assert seen == expected, f"{operator} is something else now"
PY
echo "still so: a NaN is minded only in the first column"
