#!/bin/sh
# onnxoptimizer 0.4.2: zeros padded before a MaxPool are no zeros any more, so that its answers fall below 0.
#
# Guessed: `optimize` with its default passes changes no answer; it joins Pad with what comes after it only where both pad with the
# same (a Pad of another value than 0 is left alone).
# Seen: Pad with zeros, then MaxPool, becomes a MaxPool with pads, and those are of nothing, that is minus infinity: at an edge
# the largest of 0 and -3 becomes -3. Nothing is said. Behind a Relu it is the same, behind a BatchNormalization or a LeakyRelu it
# is not. Pad before Conv and before AveragePool is right.
# What it means here: register such a file with `estimator=`, or give it samples with targets and compare the figure with that of the
# file before; site/howto/own-model.md has a row for it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    onnxoptimizer==0.4.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"

cat > compare.py <<'PY'
import numpy as np
import onnx
import onnxoptimizer
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

onnxruntime.set_default_logger_severity(4)
ROWS = np.random.default_rng(0).normal(-3, 1, (2, 2, 6, 6)).astype("f4")


def compare(operator, padding=0.0, **attributes):
    """Return how far the optimised answers of padded images are off, and the optimised operators."""
    held = [numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "p"),
            numpy_helper.from_array(np.float32(padding), "v"),
            *([numpy_helper.from_array(np.ones((2, 2, 3, 3), "f4"), "w")] if operator == "Conv" else [])]
    nodes = [helper.make_node("Pad", ["x", "p", "v"], ["z"]),
             helper.make_node(operator, ["z", "w"] if operator == "Conv" else ["z"], ["y"], kernel_shape=[3, 3], **attributes)]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2, 6, 6]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    optimised = onnxoptimizer.optimize(model)
    whole, other = (
        onnxruntime.InferenceSession(each.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": ROWS})[0]
        for each in (model, optimised)
    )
    return float(np.abs(whole - other).max()), [node.op_type for node in optimised.graph.node]


found = {
    "MaxPool": compare("MaxPool"),
    "MaxPool, padded with -1": compare("MaxPool", -1.0),
    "AveragePool": compare("AveragePool"),
    "Conv": compare("Conv"),
}
for name, (distance, operators) in found.items():
    print(f"Pad, {name}: {operators}, answers off by up to {distance:.2g}")
assert found["MaxPool"][0] > 1 and found["MaxPool"][1] == ["MaxPool"]
assert all(distance < 1e-4 for name, (distance, _) in found.items() if name != "MaxPool")
PY
"$folder/venv/bin/python" -W ignore compare.py
echo "still so: zeros before a MaxPool are lost"
