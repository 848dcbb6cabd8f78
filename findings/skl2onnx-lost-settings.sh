#!/bin/sh
# skl2onnx 1.20.0: settings of scikit-learn's estimators that are lost on the way to ONNX, without a word.
#
# Guessed: a setting that has no counterpart in ONNX is refused, as OneHotEncoder(max_categories=...) and
# KNeighborsClassifier(metric="chebyshev") are; what is converted answers as the estimator does.
# Seen: KNeighborsRegressor(weights="distance") gives other amounts for most rows; SGDClassifier of three classes
# with loss="modified_huber" gives other labels for more than a tenth; SimpleImputer(add_indicator=True) and
# KNNImputer(add_indicator=True) leave their indicator columns out, so that the output is half as wide;
# Normalizer(norm="max") divides by the largest value where scikit-learn divides by the largest absolute value.
# The same estimators with default settings agree.
# What it means here: `register(..., estimator)` compares estimator and file on rows of samples and refuses the
# ones that differ; a step of a pipeline shows only in what the whole answers.
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
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import SGDClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import Normalizer, OneHotEncoder

onnxruntime.set_default_logger_severity(4)
rng = np.random.default_rng(0)
rows = rng.normal(size=(600, 5)).astype(np.float32)
amounts = rows[:, 0] * 2 + rows[:, 1] ** 2
classes = np.digitize(rows[:, 0] + rows[:, 1], [-0.7, 0.7])
kinds = rng.integers(0, 6, (600, 3)).astype(np.float32)
gaps = np.where(rng.random(rows.shape) < 0.15, np.nan, rows).astype(np.float32)


def answers(estimator, data, target=None):
    """Return what the estimator and its file answer to the rows that it was not fitted to."""
    fitted = estimator.fit(data[:400], None if target is None else target[:400])
    file = to_onnx(fitted, data[:1]).SerializeToString()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    compute = fitted.predict if hasattr(fitted, "predict") else fitted.transform
    wanted = np.asarray(compute(data[400:]), dtype=float)
    got = np.asarray(session.run(None, {session.get_inputs()[0].name: data[400:]})[0], dtype=float)
    return wanted.reshape(len(wanted), -1), got.reshape(len(got), -1)


def check(claim, estimator, data, target=None, *, least=0.0, most=1.0):
    wanted, got = answers(estimator, data, target)
    if wanted.shape != got.shape:
        share = 1.0
        print(f"{claim}: {wanted.shape[1]} columns in scikit-learn, {got.shape[1]} in the file")
    else:
        differ = ~np.isclose(wanted, got, rtol=1e-2, atol=1e-2, equal_nan=True)
        share = differ.any(axis=1).mean()
        print(f"{claim}: rows answered otherwise {share:.2f}")
    assert least <= share <= most, claim


check("nearest neighbours, by distance", KNeighborsRegressor(weights="distance"), rows, amounts, least=0.3)
check("nearest neighbours, all alike", KNeighborsRegressor(), rows, amounts, most=0.02)
huber = SGDClassifier(loss="modified_huber", random_state=0)
check("SGD, modified Huber", huber, rows, classes, least=0.1)
check("SGD, hinge", SGDClassifier(random_state=0), rows, classes, most=0.01)
check("imputer with indicator", SimpleImputer(add_indicator=True), gaps, least=1.0)
check("imputer", SimpleImputer(), gaps, most=0.0)
check("neighbours' imputer with indicator", KNNImputer(add_indicator=True), gaps, least=1.0)
check("normalizer, largest", Normalizer(norm="max"), rows, least=0.3)
check("normalizer", Normalizer(), rows, most=0.0)
for name, estimator in (("one-hot", OneHotEncoder(max_categories=3, sparse_output=False)),
                        ("Chebyshev", KNeighborsClassifier(metric="chebyshev"))):
    try:
        answers(estimator, kinds, classes)
    except NotImplementedError:
        print(f"{name}: refused")
    else:
        raise AssertionError(f"{name} is converted now")
PY
"$folder/venv/bin/python" -W ignore compare.py
