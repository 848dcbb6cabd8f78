#!/bin/sh
# CatBoost 1.2.10: ONNX files of models of counts answer logarithms, and Python code forgets that missing values are large.
#
# Guessed: what `save_model` writes answers as the model does: counts and amounts (Poisson, Tweedie), and rows with missing values,
# whether those are smaller than all numbers (nan_mode "Min") or larger ("Max"); or it is refused.
# Seen: format="onnx" of a Poisson or Tweedie regressor has no exponential: it answers the logarithm, below 0 for counts. Its
# documentation names no limit of that kind. format="python" of a model with nan_mode="Max" sends every missing value to the small
# side: of rows of which each value is missing in one of five cases, more than half are answered otherwise. ONNX files keep
# "Max", and json and cbm files keep both.
# What it means here: `register` compares a file with its estimator, missing values among the rows, and refuses the logarithms:
# tests/registry/test_boosters.py. What is compiled is compared by who compiles it: site/howto/own-model.md.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    catboost==1.2.10 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"

cat > files.py <<'PY'
import importlib.util

import catboost
import numpy as np
import onnxruntime

onnxruntime.set_default_logger_severity(4)
rng = np.random.default_rng(0)
rows = rng.normal(size=(600, 4)).astype("f4")
rows[rng.random(rows.shape) < 0.2] = np.nan
gap = np.where(np.isnan(rows[:, 0]), 1.5, 0) + np.where(np.isnan(rows[:, 2]), -1, 0) + np.nan_to_num(rows[:, 1]) / 2
counts = np.round(np.exp(gap))


def train(loss, targets, nan_mode):
    model = catboost.CatBoostRegressor(
        loss_function=loss, nan_mode=nan_mode, iterations=30, depth=4, random_seed=0, verbose=0, allow_writing_files=False
    )
    return model.fit(rows, targets)


def answer_onnx(model):
    model.save_model("model.onnx", format="onnx")
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: rows})[0].ravel()


def answer_python(model):
    model.save_model("model.py", format="python")
    spec = importlib.util.spec_from_file_location("model", "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return np.array([module.apply_catboost_model([float(value) for value in row]) for row in rows])


for loss in ("Poisson", "Tweedie:variance_power=1.5"):
    model = train(loss, counts, "Min")
    wanted, got = model.predict(rows), answer_onnx(model)
    print(f"{loss}: least answer {wanted.min():.2f}, of the ONNX file {got.min():.2f}, of its exponential {np.exp(got).min():.2f}")
    assert got.min() < 0 < wanted.min() and np.allclose(np.exp(got), wanted, rtol=1e-3)
for nan_mode in ("Min", "Max"):
    model = train("RMSE", gap, nan_mode)
    wanted = model.predict(rows)
    otherwise = {
        name: round(float((abs(got - wanted) > 1e-4).mean()), 2)
        for name, got in (("onnx", answer_onnx(model)), ("python", answer_python(model)))
    }
    print(f"nan_mode {nan_mode}: share of rows that files answer otherwise {otherwise}")
    assert otherwise["onnx"] == 0 and (otherwise["python"] > 0.4 if nan_mode == "Max" else otherwise["python"] == 0)
PY
"$folder/venv/bin/python" -W ignore files.py
echo "still so: logarithms for counts, and missing values on the wrong side"
