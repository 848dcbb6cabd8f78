#!/bin/sh
# Treelite 4.8.1, lleaves 1.3.0 and m2cgen 0.10.0: each compiles a model of trees without a setting that another of them minds.
#
# Guessed: a setting of LightGBM or scikit-learn that changes the model is compiled or refused, as Treelite refuses linear trees
# and lleaves one-vs-all.
# Seen, without a word: lleaves and m2cgen leave the linear models out of the leaves (linear_tree), and every row is answered
# otherwise; Treelite, which Triton's backend for trees reads models with, loses zero_as_missing of LightGBM 4.7.0, which
# lleaves has right, and the 2 in the link of GradientBoostingClassifier(loss="exponential") of scikit-learn 1.9.1, so that
# probabilities lie nearer to a half. The same models without the setting agree.
# What it means here: as with files of ONNX (findings/onnxmltools-lightgbm-parameters.sh), only a comparison with the estimator shows
# it: `register(..., estimator=)` makes one, and site/howto/own-model.md says so of tools.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check treelite==4.8.1 lleaves==1.3.0 llvmlite==0.44.0 \
    m2cgen==0.10.0 lightgbm==4.7.0 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1
cd "$folder"

cat > compare.py <<'PY'
import lightgbm
import lleaves
import m2cgen
import numpy as np
import treelite
from sklearn.ensemble import GradientBoostingClassifier

rng = np.random.default_rng(0)
rows = rng.normal(size=(600, 4))
rows[:, 2] = np.where(rng.random(600) < 0.3, 0, rows[:, 2])
amounts = rows[:, 0] + np.abs(rows[:, 2]) + rng.normal(size=600) / 10


def with_treelite(model, rows):
    return treelite.gtil.predict(treelite.frontend.from_lightgbm(model.booster_), rows).ravel()


def with_lleaves(model, rows):
    model.booster_.save_model("model.txt")
    compiled = lleaves.Model("model.txt")
    compiled.compile()
    return compiled.predict(rows)


def with_m2cgen(model, rows):
    written = {}
    exec(m2cgen.export_to_python(model), written)
    return np.array([written["score"](row) for row in rows.tolist()])


found = {}
for name, settings in {"plain": {}, "linear_tree": {"linear_tree": True}, "zero_as_missing": {"zero_as_missing": True}}.items():
    model = lightgbm.LGBMRegressor(n_estimators=20, verbosity=-1, num_threads=1, **settings).fit(rows, amounts)
    for tool in (with_treelite, with_lleaves, with_m2cgen):
        try:
            answers = tool(model, rows)
        except (treelite.TreeliteError, ValueError):
            found[name, tool.__name__[5:]] = "refused"
            continue
        found[name, tool.__name__[5:]] = float((np.abs(answers - model.predict(rows)) > 1e-4).mean())
for loss in ("log_loss", "exponential"):
    model = GradientBoostingClassifier(loss=loss, random_state=0).fit(rows, amounts > 0.5)
    answers = treelite.gtil.predict(treelite.sklearn.import_model(model), rows).ravel()
    found[loss, "treelite"] = float((np.abs(answers - model.predict_proba(rows)[:, 1]) > 1e-4).mean())
for key, share in found.items():
    print(*key, share if share == "refused" else f"{share:.0%} of rows answered otherwise")
assert found["plain", "treelite"] == found["plain", "lleaves"] == found["plain", "m2cgen"] == found["log_loss", "treelite"] == 0
assert found["linear_tree", "treelite"] == "refused"
assert found["linear_tree", "lleaves"] > 0.9 and found["linear_tree", "m2cgen"] > 0.9
assert found["zero_as_missing", "treelite"] > 0.1 and found["zero_as_missing", "lleaves"] == 0
assert found["exponential", "treelite"] > 0.8
PY
"$folder/venv/bin/python" -W ignore compare.py
echo "still so: each compiler loses a setting"
