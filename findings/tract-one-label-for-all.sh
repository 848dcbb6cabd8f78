#!/bin/sh
# tract 0.23.9: a forest of two classes labels every row with the first one, beside right probabilities.
#
# Guessed: a file of skl2onnx 1.20.0 answers in tract as in ONNX Runtime 1.32.0, or is refused, as boosted trees, scalers and
# texts as labels are.
# Seen: a tree, a random forest and extra trees of two classes answer the first class for each row, while their probabilities agree to
# the last digit; with three classes labels agree, too. Logarithms of probabilities overflow: LogSoftmax of (0, 90, 110) is
# -inf, -20, 0 where the first is -110, and Softplus of 90 is infinite. A NaN through Sigmoid is 4e-7 and through Tanh -1, as that of
# a very small number. Nothing is said.
# What it means here: `register` compares labels with scores of the same file, and what ONNX Runtime answers with the estimator; who
# serves the file elsewhere compares again: site/howto/own-model.md.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check tract==0.23.9 skl2onnx==1.20.0 scikit-learn==1.9.1 \
    onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"

"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnxruntime
import tract
from onnx import parser
from sklearn.datasets import make_classification
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from skl2onnx import to_onnx


def answer(model, rows):
    """Return what ONNX Runtime and tract make of a file."""
    content = model.SerializeToString()
    with open("model.onnx", "wb") as file:
        file.write(content)
    session = onnxruntime.InferenceSession(content)
    other = tract.onnx().load("model.onnx")
    other.set_input_fact(0, ",".join(map(str, rows.shape)) + ",f32")
    results = other.into_model().into_runnable().run([rows])
    return session.run(None, {session.get_inputs()[0].name: rows}), [each.to_numpy() for each in results]


for classes in (2, 3):
    rows, known = make_classification(300, 6, n_informative=4, n_classes=classes, flip_y=0.1, random_state=0)
    rows, known = rows.astype("f4"), known * 10
    for kind in (DecisionTreeClassifier, RandomForestClassifier, ExtraTreesClassifier):
        model = kind(max_depth=4, random_state=0).fit(rows, known)
        file = to_onnx(model, rows[:1], options={id(model): {"zipmap": False}}, target_opset={"": 15, "ai.onnx.ml": 3})
        (labels, shares), (others, scores) = answer(file, rows)
        print(f"{kind.__name__}, {classes} classes: labels {set(labels.tolist())}, tract {set(others.tolist())}")
        assert np.allclose(scores, shares, atol=1e-5) and (labels == model.predict(rows)).all()
        assert set(others.tolist()) == {0} if classes == 2 else (others == labels).mean() > 0.98


def run(operator, *values):
    row = np.array([values], "f4")
    text = f"(float[1,{len(values)}] x) => (float[1,{len(values)}] y) {{ y = {operator}(x) }}"
    right, other = answer(parser.parse_model(f'<ir_version: 7, opset_import: ["": 15]> g {text}'), row)
    print(f"{operator} of {values}: {right[0][0]}, tract {other[0][0]}")
    return other[0][0]


assert run("LogSoftmax", 0, 90, 110)[0] == -np.inf
assert run("Softplus", 90)[0] == np.inf
assert run("Sigmoid", np.nan)[0] < 1e-5 and run("Tanh", np.nan)[0] < -0.99
PY
echo "still so: one label for all rows, and logarithms that are infinite"
