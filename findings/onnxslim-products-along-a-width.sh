#!/bin/sh
# onnxslim 0.1.98: a convolution times a vector along its width or height is slimmed into one times a vector by channel.
#
# Guessed: the slimmed model answers as the model does, whatever a convolution is multiplied by.
# Seen: Conv, then Mul by a constant of as many values as there are channels, becomes one Conv whose kernels are scaled by
# channel. That is right for a constant of shape (8, 1, 1), and wrong for (8,), along the width, and (8, 1), along the height,
# as a window over frequencies or positions is; so it is after ConvTranspose, and in one dimension. Nothing is said, and the file
# is valid. Add, Sub and Div along the width, and Mul with the constant first, are left alone.
# What it means here: register a slimmed file with `estimator=`, or give it samples with targets and compare the figure with
# that of the whole file; site/howto/own-model.md has a row for it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    onnxslim==0.1.98 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"

cat > compare.py <<'PY'
import numpy as np
import onnxruntime
import onnxslim
from onnx import TensorProto, helper, numpy_helper

onnxruntime.set_default_logger_severity(4)
rng = np.random.default_rng(0)
CHANNELS = 8


def build(convolution, operator, shape, axes):
    """Return a convolution to 8 channels of 8 places an axis, and what is done with its answer."""
    sides = (3,) * axes
    ends = (2, CHANNELS) if convolution == "ConvTranspose" else (CHANNELS, 2)
    weights = numpy_helper.from_array(rng.normal(size=ends + sides).astype("f4"), "w")
    factors = numpy_helper.from_array(np.linspace(0.5, 2, CHANNELS, dtype="f4").reshape(shape), "v")
    nodes = [helper.make_node(convolution, ["x", "w"], ["c"], pads=[1] * 2 * axes, kernel_shape=sides),
             helper.make_node(operator, ["c", "v"], ["y"])]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, *[CHANNELS] * axes])
               for name, channels in (("x", 2), ("y", CHANNELS))]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], [weights, factors])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def answer(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def check(convolution, operator, shape, *, same, axes=2):
    model = build(convolution, operator, shape, axes)
    x = rng.normal(size=(4, 2) + (CHANNELS,) * axes).astype("f4")
    apart = float(np.abs(answer(model, x) - answer(onnxslim.slim(model), x)).max())
    print(f"{convolution} of {axes} axes, {operator} by {shape}: apart by up to {apart:.2f}")
    assert apart < 1e-3 if same else apart > 1


check("Conv", "Mul", (8, 1, 1), same=True)
check("Conv", "Mul", (8,), same=False)
check("Conv", "Mul", (8, 1), same=False)
check("Conv", "Mul", (8,), same=False, axes=1)
check("ConvTranspose", "Mul", (8,), same=False)
for operator in ("Add", "Sub", "Div"):
    check("Conv", operator, (8,), same=True)
PY
venv/bin/python -W ignore compare.py
echo "still so: a factor of a place becomes a factor of a channel"
