#!/bin/sh
# skl2onnx 1.20.0: a bag of classifiers without probabilities answers as many rows as it has members; a blank row gives NaN.
#
# Guessed: BaggingClassifier counts the votes of members that have no predict_proba, as scikit-learn does, or is refused;
# KernelPCA(kernel="cosine") takes a row of zeros, of which scikit-learn says that it is like none (0).
# Seen: with SVC(), LinearSVC, RidgeClassifier and Perceptron as members the file answers 10 rows, one a member, to 1 row,
# to 10 and to 71; where 10 are asked for it looks right, and about half of the labels are not. With members that have
# probabilities it agrees. The file of the cosine KernelPCA divides by the row's length: a blank row is NaN in it and finite in
# scikit-learn; other rows agree.
# What it means here: `register` refuses a file that does not answer row by row, tests/registry/test_agreement.py; a blank row
# has to be among the samples to be compared, site/howto/own-model.md.
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
from sklearn.decomposition import KernelPCA
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier
from sklearn.svm import SVC, LinearSVC

onnxruntime.set_default_logger_severity(4)
rng = np.random.default_rng(0)
rows = rng.normal(size=(400, 5)).astype(np.float32)
classes = np.digitize(rows[:, 0] + rows[:, 1], [-0.7, 0.7])
asked = rows[300:]


def answer(estimator, given):
    session = onnxruntime.InferenceSession(
        to_onnx(estimator, rows[:1]).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: given})[0]


for member in (SVC(), LinearSVC(), RidgeClassifier(), Perceptron()):
    bag = BaggingClassifier(member, random_state=0).fit(rows[:300], classes[:300])
    sizes = [len(answer(bag, asked[:count])) for count in (1, 10, 71)]
    right = (answer(bag, asked[:10]) == bag.predict(asked[:10])).mean()
    print(f"bag of 10 {type(member).__name__}: to 1, 10, 71 rows {sizes} answers; of 10 are right {right:.1f}")
    assert sizes == [10, 10, 10] and right < 0.9
bag = BaggingClassifier(LogisticRegression(), random_state=0).fit(rows[:300], classes[:300])
assert (answer(bag, asked[:71]) == bag.predict(asked[:71])).all()
print("bag of 10 LogisticRegression: as in scikit-learn")

cosine = KernelPCA(3, kernel="cosine").fit(rows[:300])
blank = np.vstack([asked[:3], np.zeros((1, 5), "f4")])
wanted, got = cosine.transform(blank), answer(cosine, blank)
print("blank row in scikit-learn:", wanted[3].round(3), "and in the file:", got[3])
assert np.allclose(wanted[:3], got[:3], atol=1e-4)
assert np.isfinite(wanted[3]).all() and np.isnan(got[3]).all()
PY
venv/bin/python -W ignore compare.py
echo "still so: rows are lost, and blank ones are NaN"
