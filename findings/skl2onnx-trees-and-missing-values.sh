#!/bin/sh
# skl2onnx 1.20.0: trees of scikit-learn that learned from missing values forget where those go.
#
# Guessed: since scikit-learn's trees and forests take NaN, and ONNX has a field for it
# (missing_value_tracks_true), the converter fills that field in, or refuses such a tree.
# Seen: decision trees, extra trees, forests and bagging fitted to rows with gaps are converted without a word.
# Rows without a gap are answered alike; of rows with one, many are answered otherwise. The same holds of a
# PowerTransformer (a gap becomes a number) and a TargetEncoder (the encoding of a gap is lost).
# HistGradientBoosting cannot be converted at all with these versions.
# What it means here: register with `estimator=` and with samples that have gaps, if requests will.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    skl2onnx==1.20.0 scikit-learn==1.9.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"

cat > compare.py <<'PY'
import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from sklearn.ensemble import (
    BaggingRegressor,
    ExtraTreesRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.preprocessing import PowerTransformer, TargetEncoder
from sklearn.tree import DecisionTreeRegressor, ExtraTreeRegressor

onnxruntime.set_default_logger_severity(4)
rng = np.random.default_rng(0)
rows = rng.normal(size=(900, 6)).astype(np.float32)
amounts = np.where(rows[:, 1] > 0, rows[:, 0], 3 - rows[:, 0]) + rows[:, 2]
# A value is missing where it would be large, so that a gap says something.
gaps = (rows > 0.5) & (rng.random(rows.shape) < 0.4)
rows[gaps] = np.nan
known, fresh = rows[:600], rows[600:]
has_gap = np.isnan(fresh).any(axis=1)


def answers(estimator):
    """Return what the fitted estimator and its file answer to the rows that are left."""
    fitted = estimator.fit(known, amounts[:600])
    file = to_onnx(fitted, known[:1]).SerializeToString()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    compute = fitted.predict if hasattr(fitted, "predict") else fitted.transform
    wanted = np.asarray(compute(fresh), dtype=float).reshape(len(fresh), -1)
    got = session.run(None, {session.get_inputs()[0].name: fresh})[0]
    return wanted, got.astype(float).reshape(wanted.shape)


for kind in (DecisionTreeRegressor, ExtraTreeRegressor, RandomForestRegressor,
             ExtraTreesRegressor, BaggingRegressor):
    wanted, got = answers(kind(random_state=0))
    other = ~np.isclose(wanted, got, rtol=1e-3, atol=1e-3).all(axis=1)
    print(f"{kind.__name__}: other answers, of rows with a gap {other[has_gap].mean():.2f}, "
          f"without {other[~has_gap].mean():.2f}")
    assert other[has_gap].mean() > 0.1 and other[~has_gap].mean() < 0.02

wanted, got = answers(PowerTransformer())
print("PowerTransformer: gaps kept by scikit-learn", bool(np.isnan(wanted[np.isnan(fresh)]).all()),
      "by the file", bool(np.isnan(got[np.isnan(fresh)]).any()))
assert np.isnan(wanted[np.isnan(fresh)]).all() and not np.isnan(got[np.isnan(fresh)]).any()

rows = np.where(np.isnan(rows), np.nan, np.round(rows)).astype(np.float32)
known, fresh = rows[:600], rows[600:]
wanted, got = answers(TargetEncoder(random_state=0))
other = ~np.isclose(wanted, got, rtol=1e-3, atol=1e-3)
print(f"TargetEncoder: other encodings, of gaps {other[np.isnan(fresh)].mean():.2f}")
assert other[np.isnan(fresh)].mean() > 0.5

try:
    answers(HistGradientBoostingRegressor())
except Exception as error:
    print("HistGradientBoostingRegressor: refused,", type(error).__name__)
    assert isinstance(error, ValueError)
else:
    raise AssertionError("HistGradientBoosting is converted now")
PY
"$folder/venv/bin/python" -W ignore compare.py
