#!/bin/sh
# timber-compiler 0.6.0 and pylignum 0.3.0: a compiled forest answers the sum of its trees, a "bit-exact" DART another model's scores.
#
# Guessed: a model of trees is compiled so that it answers as it did, missing values too, or is refused, as Timber refuses what it does
# not know, and lignum ("models lignum cannot predict exactly are rejected at load time") linear trees.
# Seen, Timber: the answer of a forest of scikit-learn's is the sum of its trees, where it is their mean, and a tree alone answers
# half of the rows otherwise; shares of a class are put through a logistic function, which makes 0.99 to 0.73 and 0 to 0.50.
# LightGBM's missing values all go one way, so that three of four rows with one are answered otherwise, and so are some others, unless
# optimize=False; counts of a Poisson model are logarithms. XGBoost's trees agree, gaps too. Seen, lignum: XGBoost's DART and
# LightGBM's reg_sqrt, without the weights of its trees and without its square, are answered otherwise in every row; all else
# that was tried of both agrees to the bit. Nothing is said by either.
# What it means here: what a service compiles is compared with its estimator, on rows with missing values: site/howto/own-model.md.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check timber-compiler==0.6.0 pylignum==0.3.0 \
    lightgbm==4.7.0 xgboost-cpu==3.2.0 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"

"$folder/venv/bin/python" -W ignore - <<'PY'
import pickle

import lightgbm
import lignum
import numpy as np
import xgboost
from sklearn.datasets import make_regression
from sklearn.ensemble import RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier
from timber.runtime.predictor import TimberPredictor

rows, amounts = make_regression(400, 5, noise=5, random_state=0)
rows = rows.astype("f4")
gaps = rows.copy()
gaps[np.random.default_rng(0).random(rows.shape) < 0.12] = np.nan
missing = np.isnan(gaps).any(axis=1)


def compile_pickle(model):
    with open("model.pkl", "wb") as file:
        pickle.dump(model, file)
    return TimberPredictor.from_model("model.pkl").predict(rows)


def train_lightgbm(given, values, **settings):
    model = lightgbm.train({"verbose": -1, **settings}, lightgbm.Dataset(given, values, params={"verbose": -1, **settings}), 12)
    model.save_model("model.txt")
    return model.predict(given)


def train_xgboost(given, **settings):
    data = xgboost.DMatrix(given, amounts)
    model = xgboost.train({"max_depth": 4, **settings}, data, 12)
    model.save_model("model.json")
    return model.predict(data)


forest = RandomForestRegressor(5, max_depth=3, random_state=0).fit(rows, amounts)
trees = [compile_pickle(each) for each in forest.estimators_]
other = np.abs(trees[0] - forest.estimators_[0].predict(rows)) > 0.1
assert np.allclose(compile_pickle(forest), sum(trees), atol=0.01)
tree = DecisionTreeClassifier(max_depth=3, random_state=0).fit(rows, amounts > 0)
share, got = tree.predict_proba(rows)[:, 1], compile_pickle(tree)
print(f"Timber: a forest is the sum of five trees; of one {other.mean():.0%} otherwise; a share of {share[0]:.2f} is {got[0]:.2f}")
assert other.mean() > 0.2
assert share.min() < 0.1 and 0.5 <= got.min() and got.max() < 0.7311

wanted = train_lightgbm(gaps, amounts)
other = np.abs(TimberPredictor.from_model("model.txt").predict(gaps) - wanted) > 0.01
print(f"Timber, LightGBM: of rows with gaps {other[missing].mean():.0%} otherwise, of others {other[~missing].mean():.0%}")
assert other[missing].mean() > 0.5 and other[~missing].any()
wanted = train_lightgbm(rows, np.abs(amounts), objective="poisson")
got = TimberPredictor.from_model("model.txt").predict(rows)
print(f"Timber, counts of {wanted.mean():.0f}: {got.mean():.1f}")
assert np.median(np.abs(np.exp(got) / wanted - 1)) < 0.01
wanted = train_xgboost(gaps)
assert np.allclose(TimberPredictor.from_model("model.json").predict(gaps), wanted, rtol=1e-4)

for name, wanted, file in (
    ("XGBoost, DART", train_xgboost(gaps, booster="dart", rate_drop=0.5), "model.json"),
    ("LightGBM, reg_sqrt", train_lightgbm(gaps, amounts, reg_sqrt=True), "model.txt"),
):
    other = np.abs(lignum.load(file).predict(gaps) - wanted) > 1e-3
    print(f"lignum, {name}: {other.mean():.0%} otherwise")
    assert other.mean() > 0.9
for wanted, file in ((train_xgboost(gaps), "model.json"), (train_lightgbm(gaps, amounts), "model.txt")):
    assert (lignum.load(file).predict(gaps) == wanted).all()
PY
echo "still so: forests that add up, gaps on one side, and trees without their weights"
