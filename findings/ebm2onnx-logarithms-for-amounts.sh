#!/bin/sh
# ebm2onnx 3.3.1 with interpret-core 0.7.8: files of regressors with a log link answer logarithms, below 0 for counts, too.
#
# Guessed: an explainable boosting regressor of counts or costs (objectives poisson_deviance, gamma_deviance,
# tweedie_deviance, rmse_log) answers in its file as in Python, or is refused.
# Seen: these four are converted without a word, and the file gives the sum of the terms where `predict` gives its
# exponential: about 0.1 for 1.1, and a negative number of events in some rows. The objectives rmse and pseudo_huber agree, as
# do labels and probabilities of classifiers. A regressor with interactions, which it has by default, is not converted at all:
# AttributeError, "no attribute 'classes_'".
# What it means here: register such a file with `estimator=`, and it is refused; tests/registry/test_agreement.py holds
# that of a file without its link.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check ebm2onnx==3.3.1 interpret-core==0.7.8 \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 pandas==3.1.1 scikit-learn==1.9.1

"$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import ebm2onnx
import numpy as np
import onnxruntime
import pandas as pd
from interpret.glassbox import ExplainableBoostingClassifier, ExplainableBoostingRegressor

rng = np.random.default_rng(0)
rows = pd.DataFrame({"age": rng.normal(size=600), "use": rng.normal(size=600)})
costs = np.exp(rows["age"] / 2)
common = dict(outer_bags=1, max_rounds=60, n_jobs=1, random_state=0)


def ask(model, **options):
    file = ebm2onnx.to_onnx(model, {"age": "double", "use": "double"}, **options)
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {name: rows[name].to_numpy() for name in rows})


print("ebm2onnx", version("ebm2onnx"), "interpret-core", version("interpret-core"))
logs = ("poisson_deviance", "gamma_deviance", "tweedie_deviance:variance_power=1.5", "rmse_log")
for objective in ("rmse", "pseudo_huber:delta=1.0", *logs):
    model = ExplainableBoostingRegressor(objective=objective, interactions=0, **common).fit(rows, costs)
    wanted, found = model.predict(rows), ask(model)[0].reshape(-1)
    print(f"{objective}: Python {wanted[:2].round(3)}, file {found[:2].round(3)}, least {found.min():.3f}")
    if objective in logs:
        assert np.allclose(np.exp(found), wanted, atol=1e-4) and found.min() < 0
    else:
        assert np.allclose(found, wanted, atol=1e-4)
model = ExplainableBoostingClassifier(interactions=1, **common).fit(rows, costs > 1)
off = np.abs(ask(model, predict_proba=True)[1] - model.predict_proba(rows)).max()
print(f"probabilities of a classifier: off by {off:.1g}")
assert off < 1e-4
try:
    ask(ExplainableBoostingRegressor(interactions=1, **common).fit(rows, costs))
except AttributeError as error:
    print("a regressor with an interaction:", error)
    assert "classes_" in str(error)
else:
    raise AssertionError("regressors with interactions are converted now")
PY
echo "still so: four objectives answer logarithms"
