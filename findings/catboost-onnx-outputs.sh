#!/bin/sh
# CatBoost 1.2.10: models of several outputs are saved as ONNX files that do not say so.
#
# Guessed: `save_model(format="onnx")` refuses several targets, or writes them; one-vs-all is converted.
# Seen: MultiRMSE, MultiQuantile and RMSEWithUncertainty are saved without a word and without the
# attribute n_targets, and ONNX Runtime 1.32.0 refuses the file when it is loaded, which may be days later on
# another machine. The probabilities of MultiClassOneVsAll add up to one in the file, while CatBoost computes
# a logistic function for each class: the probability is off by more than 0.1.
# What it means here: register the file at once, with `estimator=`, so that both are compared.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    catboost==1.2.10 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"

cat > compare.py <<'PY'
import catboost
import numpy as np
import onnx
import onnxruntime

onnxruntime.set_default_logger_severity(4)
rng = np.random.default_rng(0)
rows = rng.normal(size=(600, 5)).astype(np.float32)
amounts = rows[:, 0] * 2 + rows[:, 1] ** 2
classes = np.digitize(rows[:, 0] + rows[:, 1], [-0.7, 0.7])
common = dict(iterations=30, verbose=0, random_seed=0, thread_count=1, allow_writing_files=False)


def outcome(model, target):
    model.fit(rows, target)
    model.save_model("model.onnx", format="onnx")
    names = {a.name for node in onnx.load("model.onnx").graph.node for a in node.attribute}
    try:
        session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    except Exception:
        return f"ONNX Runtime refuses the file; n_targets in it: {'n_targets' in names}"
    answered = session.run(None, {"features": rows})[-1]
    if isinstance(answered, list):
        answered = np.array([list(row.values()) for row in answered])
    wanted = getattr(model, "predict_proba", model.predict)(rows)
    off = np.abs(answered.reshape(len(rows), -1) - wanted.reshape(len(rows), -1)).max()
    return "agrees" if off < 1e-5 else "differs by more than 0.1" if off > 0.1 else f"differs by {off}"


regressor, classifier = catboost.CatBoostRegressor, catboost.CatBoostClassifier
for loss, model, target in [
    ("RMSE", regressor, amounts),
    ("MultiRMSE", regressor, np.c_[amounts, -amounts]),
    ("MultiQuantile:alpha=0.1,0.9", regressor, amounts),
    ("RMSEWithUncertainty", regressor, amounts),
    ("MultiClass", classifier, classes),
    ("MultiClassOneVsAll", classifier, classes),
]:
    print(f"{loss:28} {outcome(model(loss_function=loss, **common), target)}")
PY
seen=$(venv/bin/python compare.py 2>/dev/null)
echo "$seen"
[ "$seen" = "RMSE                         agrees
MultiRMSE                    ONNX Runtime refuses the file; n_targets in it: False
MultiQuantile:alpha=0.1,0.9  ONNX Runtime refuses the file; n_targets in it: False
RMSEWithUncertainty          ONNX Runtime refuses the file; n_targets in it: False
MultiClass                   agrees
MultiClassOneVsAll           differs by more than 0.1" ]
