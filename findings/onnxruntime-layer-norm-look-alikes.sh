#!/bin/sh
# ONNX Runtime 1.32.0: four graphs that only look like a layer normalisation are computed as one.
#
# Guessed: its graph optimisations, which are on by default, change no answer but by rounding.
# Seen: (x - m) / sqrt(mean((x - m)^2) + e), times a gain, plus a bias, m the mean of the last axis, becomes one operator; so
# do the same with a fourth power in place of the square, with one power a column, with m - x in place of x - m (other
# signs), and with the deviation below and the root above. Without optimisations all are as NumPy has them, which the file
# says. x / sqrt(mean(x^4) + e), and look-alikes of GELU with other constants, are left alone.
# What it means here: `register` runs some rows without optimisations, too, and notes how many are answered otherwise;
# tests/registry/test_invariance.py holds that. Register with `estimator=`, and such a file is refused.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6

"$folder/venv/bin/python" - <<'PY'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
x = rng.normal(size=(5, 4, 4)).astype(np.float32)
gain, bias = rng.normal(size=(2, 4)).astype(np.float32)
SMALL = np.float32(1e-5)


def make(power, minuend="x", subtrahend="m", above="d", below="r"):
    steps = [
        ("ReduceMean", ["x", "axes"], "m"),
        ("Sub", [minuend, subtrahend], "d"),
        ("Pow", ["d", "power"], "p"),
        ("ReduceMean", ["p", "axes"], "v"),
        ("Add", ["v", "small"], "w"),
        ("Sqrt", ["w"], "r"),
        ("Div", [above, below], "n"),
        ("Mul", ["n", "gain"], "g"),
        ("Add", ["g", "bias"], "y"),
    ]
    constants = {"axes": np.array([-1]), "power": power, "small": SMALL, "gain": gain, "bias": bias}
    shape = ["n", 4, 4]
    body = helper.make_graph(
        [helper.make_node(kind, inputs, [output]) for kind, inputs, output in steps],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def answer(model, optimised):
    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
    return session.run(None, {"x": x})[0]


def compute(power, sign=1, turned=False):
    deviation = sign * (x - x.mean(axis=-1, keepdims=True))
    root = np.sqrt((deviation**power).mean(axis=-1, keepdims=True) + SMALL)
    return (root / deviation if turned else deviation / root) * gain + bias


two, four = np.float32(2), np.float32(4)
mixed = np.array([2, 2, 2, 4], np.float32)
cases = {
    "as in a layer normalisation": (make(two), compute(two), True),
    "a fourth power": (make(four), compute(four), False),
    "a power a column": (make(mixed), compute(mixed), False),
    "mean less x": (make(two, "m", "x"), compute(two, sign=-1), False),
    "root by deviation": (make(two, above="r", below="d"), compute(two, turned=True), False),
}
print("onnxruntime", onnxruntime.__version__)
for name, (model, wanted, right) in cases.items():
    plain, fused = answer(model, False), answer(model, True)
    off = np.abs(fused - wanted).max()
    print(f"{name}: without optimisations as NumPy, with them off by {off:.2g}")
    assert np.allclose(plain, wanted, rtol=1e-3, atol=1e-3), name
    assert (off < 1e-3) == right and (right or off > 0.01), name
    if not right:
        assert np.allclose(fused, answer(make(two), False), atol=1e-3), name
PY
echo "still so: look-alikes are computed as layer normalisations"
