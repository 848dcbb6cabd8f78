#!/bin/sh
# ONNX Runtime 1.32.0: the option of a session that reads tiny numbers as 0 is one of the process.
#
# Guessed: "session.set_denormal_as_zero" holds for the session that it is given to, and for no other.
# Seen: it holds if the first session of the process has it, and then for every later session of that
# thread and for NumPy, too; a later session that asks for it does not get it, without a word.
# What it means here: processes that the workbench starts open a small session with it first, and a
# user's own process is left alone (workbench/modelserver/tiny_numbers.py and its test).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"

cat > tiny.py <<'PY'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

half = numpy_helper.from_array(np.array([0.5], "f4"), "half")
x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
graph = helper.make_graph([helper.make_node("Mul", ["x", "half"], ["y"])], "g", [x], [y], [half])
content = helper.make_model(
    graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9
).SerializeToString()
rows = np.array([1e-39], "f4")


def answer(asked):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if asked:
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return "0" if session.run(None, {"x": rows})[0][0] == 0 else "tiny"


found = [answer(each == "asked") for each in sys.argv[1:]]
print(", ".join(f"{a}: {b}" for a, b in zip(sys.argv[1:], found)) + "; NumPy:",
      "0" if (rows * np.float32(0.5)).view("i4")[0] == 0 else "tiny")
PY
seen=$(for order in "asked plain" "plain asked"; do venv/bin/python tiny.py $order; done)
echo "$seen"
[ "$seen" = "asked: 0, plain: 0; NumPy: 0
plain: tiny, asked: tiny; NumPy: tiny" ]
