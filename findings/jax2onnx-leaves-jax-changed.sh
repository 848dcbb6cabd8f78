#!/bin/sh
# jax2onnx 0.17.1: once a function has been exported, jax.numpy.cumsum(x, 1) raises a TypeError in the whole process.
#
# Guessed: an export leaves JAX as it was.
# Seen, with JAX 0.10.2: jax.numpy.cumsum stays replaced by the exporter's own, which takes the axis by name alone, as
# does every program that shares the process, also where what was exported has no cumsum.
# What it means here: export in a process of its own, or write axis=; a notebook that trains after it stops.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check jax2onnx==0.17.1 jax==0.10.2 jaxlib==0.10.2 \
    flax==0.12.8 onnx==1.23.2 onnx-ir==1.1.0 numpy==2.4.6

JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - 2>/dev/null <<'PY'
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np

rows = np.ones((2, 3), np.float32)
before = jnp.cumsum(rows, 1).tolist()
from jax2onnx import to_onnx

to_onnx(jnp.tanh, [jax.ShapeDtypeStruct(rows.shape, rows.dtype)])
try:
    after = str(jnp.cumsum(rows, 1).tolist())
except TypeError as error:
    after = f"TypeError: {error}"
print("jax2onnx", version("jax2onnx"), "jax", version("jax"))
print("jnp.cumsum(rows, 1) before:", before, "after an export of tanh:", after)
print("with axis=1:", jnp.cumsum(rows, axis=1).tolist())
assert before == [[1, 2, 3], [1, 2, 3]] == jnp.cumsum(rows, axis=1).tolist()
assert after.startswith("TypeError"), "an export leaves JAX as it was now"
PY
echo "still so: an export changes jax.numpy.cumsum for good"
