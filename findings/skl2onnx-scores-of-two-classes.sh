#!/bin/sh
# skl2onnx 1.20.0: what stands beside the label is not always what scikit-learn computes.
#
# Guessed: where labels agree, so do the scores beside them, up to rounding; a classifier that is not supported
# is refused.
# Seen, each without a word: the probabilities of a LinearDiscriminantAnalysis of two classes are off by more
# than 0.1 (of three classes they agree); the two scores of an SVC of two classes come in the wrong order, so
# that the larger one is that of the other class in every row (of three classes they agree with the label); a
# OneVsOneClassifier of three classes answers another label in half of the rows or more, and ONNX Runtime 1.32.0
# takes the file, which onnx's strict shape inference refuses; a TunedThresholdClassifierCV loses its threshold,
# while a FixedThresholdClassifier is refused.
# What it means here: answers taken from scores (`register(..., answer="probabilities")`) are compared with the
# labels and with the estimator, row by row.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    skl2onnx==1.20.0 scikit-learn==1.9.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"

cat > compare.py <<'PY'
import numpy as np
import onnx
import onnxruntime
from skl2onnx import to_onnx
from sklearn.datasets import make_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsOneClassifier
from sklearn.svm import SVC

onnxruntime.set_default_logger_severity(4)
rows, three = make_classification(600, 8, n_informative=6, n_classes=3, random_state=0)
rows = rows.astype(np.float32)
two = (three > 0).astype(int)
known, fresh = rows[:400], rows[400:]


def outcome(estimator, classes):
    """Return the fitted estimator, its file, and labels and scores of the rows that are left."""
    fitted = estimator.fit(known, classes[:400])
    file = to_onnx(fitted, known[:1], options={"zipmap": False})
    session = onnxruntime.InferenceSession(
        file.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return fitted, file, *session.run(None, {session.get_inputs()[0].name: fresh})


def check(claim, holds):
    print(f"{claim}: {holds}")
    assert holds, claim


for name, classes, wrong in (("two", two, True), ("three", three, False)):
    lda, _, labels, scores = outcome(LinearDiscriminantAnalysis(), classes)
    off = np.abs(scores - lda.predict_proba(fresh)).max()
    check(f"LDA of {name} classes: labels agree", (labels == lda.predict(fresh)).all())
    check(f"LDA of {name} classes: probabilities off by {off:.2g}", (off > 0.1) == wrong)
    svc, _, labels, scores = outcome(SVC(), classes)
    swapped = (scores.argmax(axis=1) != labels).mean()
    check(f"SVC of {name} classes: labels agree", (labels == svc.predict(fresh)).all())
    check(f"SVC of {name} classes: largest score elsewhere, share {swapped:.2f}",
          swapped == 1 if wrong else swapped < 0.05)

pairs, file, labels, _ = outcome(OneVsOneClassifier(LogisticRegression()), three)
share = (labels != pairs.predict(fresh)).mean()
check(f"OneVsOne of three classes: other labels, share {share:.2f}", share > 0.5)
try:
    onnx.checker.check_model(file, full_check=True)
except Exception as error:
    check("OneVsOne: refused by onnx's full check", "ShapeInferenceError" in str(error))
else:
    raise AssertionError("OneVsOne passes the full check now")

tuned, _, labels, _ = outcome(TunedThresholdClassifierCV(LogisticRegression()), two)
share = (labels != tuned.predict(fresh)).mean()
check(f"Tuned threshold {tuned.best_threshold_:.2f}: other labels, share {share:.2f}", share > 0.05)
try:
    outcome(FixedThresholdClassifier(LogisticRegression(), threshold=0.8), two)
except Exception as error:
    check("Fixed threshold: refused", type(error).__name__ == "MissingShapeCalculator")
else:
    raise AssertionError("a fixed threshold is converted now")
PY
"$folder/venv/bin/python" -W ignore compare.py
