#!/bin/sh
# OpenVINO 2026.4.1: whole numbers of 64 bits are computed in 32, a missing value becomes an answer, and old Softmax takes one axis.
#
# Guessed: on a CPU, with inference_precision f32, a file of ONNX answers as ONNX Runtime 1.32.0 does, to 1e-3, or is refused;
# int64 and double may be slow, and stay what they are.
# Seen: an int64 loses its upper 32 bits, and a constant stops at 2^31: a time in milliseconds less the model's own is 1,340,434,555
# where it is 123, the identifier 4,294,967,301 equals 5, and 16,777,217 equals 16,777,216. A double is a float32: seconds since
# 1970 have no fraction. A NaN behind a Relu is 0, so that a network with a hidden layer answers any row with a missing value with
# the bias of its last layer, and ONNX Runtime with NaN. Softmax of operator sets below 13, which is over all axes from `axis` on, is
# over that axis alone, as in onnx 1.23.2's own ReferenceEvaluator: of a (2, 3, 4) each half sums to 4. Nothing is said.
# What it means here: the workbench's sessions are ONNX Runtime's, in which identifiers stay apart: tests/registry/test_onnx.py. Who
# serves a file elsewhere compares the answers first: site/howto/own-model.md.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 \
    numpy==2.4.6

"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnxruntime
import openvino
from onnx import parser
from onnx.reference import ReferenceEvaluator

core = openvino.Core()
core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def answer(graph, version=22, **given):
    """Return what onnx's evaluator, ONNX Runtime and OpenVINO make of a graph."""
    model = parser.parse_model(f'<ir_version: 7, opset_import: ["": {version}]> g {graph}')
    content = model.SerializeToString()
    compiled = core.compile_model(core.read_model(content), "CPU")
    return (
        ReferenceEvaluator(model).run(None, given)[0],
        onnxruntime.InferenceSession(content).run(None, given)[0],
        compiled(given)[0],
    )


def show(name, found):
    exact, runtime, other = found
    assert np.allclose(exact, runtime, atol=1e-5, equal_nan=True), name
    print(f"{name}: {exact.ravel()[:3]}, OpenVINO {other.ravel()[:3]}")
    return other


since = "(int64[2] x) => (int64[2] y) <int64[1] start = {1700000000000}> { y = Sub(x, start) }"
times = np.array([1_700_000_000_123, 1_700_000_060_123])
assert show("milliseconds", answer(since, x=times)).tolist() != [123, 60123]
same = "(int64[2] x, int64[2] z) => (bool[2] y) { y = Equal(x, z) }"
assert show("identifiers", answer(same, x=np.array([2**32 + 5, 2**24 + 1]), z=np.array([5, 2**24]))).all()
seconds = "(double[1] x, double[1] start) => (double[1] y) { y = Sub(x, start) }"
assert show("seconds", answer(seconds, x=np.array([1_700_000_000.25]), start=np.array([1_700_000_000.0]))) == 0

rng = np.random.default_rng(0)
network = """(float[2,4] x, float[4,8] w, float[8] b, float[8,3] v, float[3] c) => (float[2,3] y)
    { h = Gemm(x, w, b)  r = Relu(h)  y = Gemm(r, v, c) }"""
weights = {name: rng.normal(size=size).astype("f4") for name, size in {"w": (4, 8), "b": 8, "v": (8, 3), "c": 3}.items()}
rows = np.array([[0, np.nan, 0, 0], [5, 5, np.nan, 5]], "f4")
assert np.allclose(show("rows with a gap", answer(network, x=rows, **weights)), weights["c"])

scores = rng.normal(size=(2, 3, 4)).astype("f4")
older = "(float[2,3,4] x) => (float[2,3,4] y) { y = Softmax <axis = 1> (x) }"
exact, runtime, other = answer(older, version=11, x=scores)
print(f"Softmax 11, sums: {runtime.sum(axis=(1, 2))}, OpenVINO {other.sum(axis=(1, 2))}")
assert np.allclose(runtime.sum(axis=(1, 2)), 1) and np.allclose(other.sum(axis=1), 1) and np.allclose(exact, other)
PY
echo "still so: 32 bits of 64, gaps that are answered, and a Softmax over one axis"
