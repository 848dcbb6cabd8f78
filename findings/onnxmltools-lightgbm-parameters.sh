#!/bin/sh
# onnxmltools 1.16.0 with LightGBM 4.7.0: four parameters change the model and are left out of the file.
#
# Guessed: `linear_tree` is refused; `sigmoid`, `multiclassova` and `zero_as_missing` are converted.
# Seen: all four are converted without an error or a warning, and the file answers otherwise: the linear
# models in the leaves are dropped, a sigmoid of 2 is computed as 1, the one-vs-all probabilities come
# from another link, and zeros take the branch of numbers. The same data without the parameter agrees to
# single precision.
# What it means here: a file alone cannot show it. Register such a file with `estimator=`, and both are
# compared on the same rows.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    onnxmltools==1.16.0 lightgbm==4.7.0 onnxruntime==1.32.0 skl2onnx==1.20.0 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"

cat > compare.py <<'PY'
import lightgbm
import numpy as np
import onnxmltools
import onnxruntime
from onnxmltools.convert.common.data_types import FloatTensorType

onnxruntime.set_default_logger_severity(3)
rng = np.random.default_rng(0)
rows = rng.normal(size=(600, 5)).astype(np.float32)
rows[rng.random(rows.shape) < 0.1] = 0
amounts = np.abs(rows[:, 0] * 2 + rows[:, 1] ** 2) + 0.1
classes = np.digitize(rows[:, 0] + rows[:, 1], [-0.7, 0.7])
common = dict(n_estimators=20, verbose=-1, random_state=0, n_jobs=1)


def difference(model, target):
    model.fit(rows, target)
    convert = onnxmltools.convert_lightgbm
    classifier = hasattr(model, "predict_proba")
    extra = {"zipmap": False} if classifier else {}
    file = convert(model, initial_types=[("x", FloatTensorType([None, 5]))], **extra)
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    answered = np.asarray(session.run(None, {"x": rows})[-1]).reshape(len(rows), -1)
    wanted = (model.predict_proba if classifier else model.predict)(rows).reshape(len(rows), -1)
    return float(np.abs(answered - wanted).max())


def words(largest):
    return "less than 0.00001" if largest < 1e-5 else "more than 0.05" if largest > 0.05 else str(largest)


regressor, classifier = lightgbm.LGBMRegressor, lightgbm.LGBMClassifier
for name, model, target in [
    ("plain", regressor(**common), amounts),
    ("linear_tree", regressor(linear_tree=True, **common), amounts),
    ("zero_as_missing", regressor(zero_as_missing=True, **common), amounts),
    ("plain classes", classifier(**common), classes),
    ("sigmoid", classifier(sigmoid=2.0, **common), (classes > 0).astype(int)),
    ("multiclassova", classifier(objective="multiclassova", **common), classes),
]:
    print(f"{name:16} differs by {words(difference(model, target))}")
PY
seen=$(venv/bin/python compare.py 2>/dev/null)
echo "$seen"
[ "$seen" = "plain            differs by less than 0.00001
linear_tree      differs by more than 0.05
zero_as_missing  differs by more than 0.05
plain classes    differs by less than 0.00001
sigmoid          differs by more than 0.05
multiclassova    differs by more than 0.05" ]
