#!/bin/sh
# onnxmltools 1.16.0 and XGBoost 3.2.0: the file of a model with categories takes their places in a list, not their values.
#
# Guessed: a model that was fitted on a column of categories 10, 20 and 30 is refused by the converter.
# Seen: it is converted without a word. Given 10, 20 and 30, as the model was, the file is right by chance alone (67 %); given
# 0, 1 and 2, the places that pandas gave the categories, it answers as the model does. The file does not hold that list.
# What it means here: such models are refused when they are registered, and asked to have an encoder before them.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check xgboost-cpu==3.2.0 onnxmltools==1.16.0 \
    onnxruntime==1.32.0 scikit-learn==1.9.1 pandas==3.1.1

"$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
import onnxmltools
import onnxruntime
import pandas as pd
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

sizes = np.tile([10, 20, 30], 100)
frame = pd.DataFrame({"size": pd.Categorical(sizes), "other": np.linspace(-1, 1, 300)})
wanted = (sizes == 20).astype(int)
model = xgboost.XGBClassifier(n_estimators=5, max_depth=3, enable_categorical=True).fit(frame, wanted)
model.get_booster().feature_names = ["f0", "f1"]  # the names that the converter takes
made = onnxmltools.convert_xgboost(model, initial_types=[("x", FloatTensorType([None, 2]))], target_opset=15)
session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])


def right_share(column):
    rows = np.column_stack([column, frame["other"]]).astype(np.float32)
    return float((session.run(None, {"x": rows})[0].ravel() == wanted).mean())


model.get_booster().feature_names = list(frame)
own = model.score(frame, wanted)
by_value, by_place = right_share(sizes), right_share(frame["size"].cat.codes)
print(*(f"{name} {version(name)}" for name in ("onnxmltools", "xgboost-cpu", "onnxruntime")))
print(f"right: the model {own:.2f}; its file {by_value:.2f} by values, {by_place:.2f} by their places")
assert own == by_place == 1.0, "places are something else now"
assert by_value < 0.9, "values are taken now"
PY
echo "still so: a converted model takes places of categories for their values"
