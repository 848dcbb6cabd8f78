#!/bin/sh
# onnxmltools 1.16.0 with XGBoost 3.2.0: forests of classifiers and three objectives are not what was trained.
#
# Guessed: `num_parallel_tree` counts as more trees; `reg:logistic` gets its logistic function; DART is converted.
# Seen: a classifier with three trees a round is written with one base value for each of many trees, and
# ONNX Runtime 1.32.0 refuses to load it; with three classes it loads and answers other probabilities, as
# trees are dealt to classes by their number alone. `reg:logistic` answers margins, negative ones among
# them, and `multi:softmax` margins under the name "probabilities". DART ends in a bare KeyError.
# What it means here: register such a file with `estimator=`, and both are compared on the same rows.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    onnxmltools==1.16.0 xgboost==3.2.0 onnxruntime==1.32.0 skl2onnx==1.20.0 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"

cat > compare.py <<'PY'
import numpy as np
import onnxmltools
import onnxruntime
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

onnxruntime.set_default_logger_severity(4)
rng = np.random.default_rng(0)
rows = rng.normal(size=(600, 5)).astype(np.float32)
shares = 1 / (1 + np.exp(-rows[:, 0]))
classes = np.digitize(rows[:, 0] + rows[:, 1], [-0.7, 0.7])
common = dict(n_estimators=20, random_state=0, n_jobs=1)
forest = dict(num_parallel_tree=3, subsample=0.5)


def outcome(model, target):
    model.fit(rows, target)
    try:
        file = onnxmltools.convert_xgboost(model, initial_types=[("x", FloatTensorType([None, 5]))])
    except Exception as error:
        return f"{type(error).__name__} while it is converted"
    try:
        session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception:
        return "ONNX Runtime refuses the file"
    answered = np.asarray(session.run(None, {"x": rows})[-1]).reshape(len(rows), -1)
    wanted = getattr(model, "predict_proba", model.predict)(rows).reshape(len(rows), -1)
    if np.abs(answered - wanted).max() < 1e-5:
        return "agrees"
    outside = answered.min() < 0 or answered.max() > 1
    return "differs, beyond 0 to 1" if outside else "differs"


regressor, classifier = xgboost.XGBRegressor, xgboost.XGBClassifier
for name, model, target in [
    ("two classes", classifier(**common), classes > 0),
    ("two classes, forest", classifier(**common, **forest), classes > 0),
    ("three classes", classifier(**common), classes),
    ("three classes, forest", classifier(**common, **forest), classes),
    ("regression, forest", regressor(**common, **forest), shares),
    ("reg:logistic", regressor(objective="reg:logistic", **common), shares),
    ("multi:softmax", classifier(objective="multi:softmax", **common), classes),
    ("dart", regressor(booster="dart", rate_drop=0.2, **common), shares),
]:
    print(f"{name:22} {outcome(model, target)}")
PY
seen=$(venv/bin/python compare.py 2>/dev/null)
echo "$seen"
[ "$seen" = "two classes            agrees
two classes, forest    ONNX Runtime refuses the file
three classes          agrees
three classes, forest  differs
regression, forest     agrees
reg:logistic           differs, beyond 0 to 1
multi:softmax          differs, beyond 0 to 1
dart                   KeyError while it is converted" ]
