#!/bin/sh
# LightGBM 4.7.0: a frame whose columns stand in another order than at training is answered by place, without a word.
#
# Guessed: of a frame that has the columns it was trained on, by name, in another order, as JSON records make one, the answers are
# those of the frame in order, as CatBoost 1.2.10 gives, or it is refused, as by scikit-learn 1.9.1 and XGBoost 3.2.0.
# Seen: names are not looked at, neither by a Booster nor by LGBMRegressor, whose feature_names_in_ and feature_name_ hold them: an
# age is taken for a weight. With validate_features=True, which is off by default, the call is refused.
# What it means here: `register` and the model server take columns by name, whatever the library: tests/registry/test_boosters.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    lightgbm==4.7.0 catboost==1.2.10 xgboost==3.2.0 scikit-learn==1.9.1 numpy==2.4.6 pandas==3.1.1
cd "$folder"

cat > columns.py <<'PY'
import lightgbm
import numpy as np
import pandas as pd
from catboost import CatBoostRegressor
from sklearn.ensemble import RandomForestRegressor
from xgboost import XGBRegressor

rng = np.random.default_rng(0)
frame = pd.DataFrame({"age": rng.uniform(20, 80, 300), "weight": rng.uniform(50, 90, 300)})
values, swapped = 3 * frame.age + frame.weight, frame[["weight", "age"]]


def compare(model, **options):
    """Return the largest distance of the answers to both frames, or the error."""
    try:
        return float(np.abs(model.predict(swapped, **options) - model.predict(frame)).max())
    except Exception as error:
        return f"{type(error).__name__}"


seen = {
    "CatBoost": compare(CatBoostRegressor(iterations=20, verbose=0, allow_writing_files=False).fit(frame, values)),
    "scikit-learn": compare(RandomForestRegressor(5).fit(frame, values)),
    "XGBoost": compare(XGBRegressor(n_estimators=5).fit(frame, values)),
}
model = lightgbm.LGBMRegressor(n_estimators=20, verbose=-1).fit(frame, values)
booster = lightgbm.train({"verbose": -1}, lightgbm.Dataset(frame, values), 20)
seen |= {"LGBMRegressor": compare(model), "Booster": compare(booster)}
seen["Booster, validated"] = compare(booster, validate_features=True)
for name, outcome in seen.items():
    print(f"{name}, columns in another order: {outcome}")
assert seen["CatBoost"] == 0 and seen["scikit-learn"] == seen["XGBoost"] == "ValueError"
assert seen["LGBMRegressor"] > 50 and seen["Booster"] > 50 and seen["Booster, validated"] == "LightGBMError"
PY
"$folder/venv/bin/python" -W ignore columns.py
echo "still so: LightGBM takes columns by place"
