#!/bin/sh
# jax2onnx 0.17.1: rounding, labels below 0 and slices at the edge answer otherwise than in JAX.
#
# Guessed: a function exported by jax2onnx answers as JAX does, for all of these.
# Seen, with JAX 0.10.2 and ONNX Runtime 1.32.0, and no warning:
# - jax.lax.round, which rounds halves away from 0, becomes ONNX's Round, which rounds them to even: -2.5 is -2, not -3;
# - jax.nn.one_hot of a label -1 (padding, usually) is the last class, where JAX gives zeros;
# - jax.lax.dynamic_slice that reaches over the edge is cut short, where JAX moves it back in: 2 x 2 in place of 3 x 3.
# What it means here: an exported model is to be compared with its original on rows that hold such values; the registry
# does so with the samples it is given, and can see no others.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check jax2onnx==0.17.1 jax==0.10.2 jaxlib==0.10.2 \
    flax==0.12.8 onnx==1.23.2 onnx-ir==1.1.0 onnxruntime==1.32.0 numpy==2.4.6

JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - 2>/dev/null <<'PY'
from importlib.metadata import version

import jax
import numpy as np
import onnxruntime
from jax2onnx import to_onnx

halves = np.array([[-2.5, -0.5, 0.5, 2.5]], np.float32)
labels = np.array([0, 2, -1], np.int32)
square = np.arange(25, dtype=np.float32).reshape(5, 5)
cases = {
    "round": (jax.lax.round, halves),
    "one_hot": (lambda rows: jax.nn.one_hot(rows, 3), labels),
    "dynamic_slice": (lambda rows: jax.lax.dynamic_slice(rows, (3, 3), (3, 3)), square),
}


def answer(function, rows):
    model = to_onnx(function, [jax.ShapeDtypeStruct(rows.shape, rows.dtype)])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: rows})[0]


wanted = {name: np.asarray(function(rows)) for name, (function, rows) in cases.items()}
got = {name: answer(function, rows) for name, (function, rows) in cases.items()}
print(*(f"{name} {version(name)}" for name in ("jax2onnx", "jax", "onnxruntime")))
for name in cases:
    print(f"{name}: JAX {wanted[name].tolist()}, exported {got[name].tolist()}")
assert wanted["round"].tolist() == [[-3.0, -1.0, 1.0, 3.0]] and got["round"].tolist() == [[-2.0, 0.0, 0.0, 2.0]]
assert wanted["one_hot"][2].tolist() == [0, 0, 0] and got["one_hot"][2].tolist() == [0, 0, 1]
assert wanted["dynamic_slice"].shape == (3, 3) and got["dynamic_slice"].shape == (2, 2)
PY
echo "still so: three functions answer otherwise than in JAX"
