#!/bin/sh
# ydf 0.16.1: `from_sklearn` makes votes of a forest's probabilities, and sends missing values where no tree of it sent them.
#
# Guessed: a tree or a forest of scikit-learn's that YDF takes over answers as it did, as regressors without missing values and
# isolation forests do, or is refused, as GradientBoostingClassifier is.
# Seen: of a classifier each tree votes for the class of its leaf instead of adding the leaf's shares: one tree answers 0 or 1 where
# the other says 0.47, a forest of 20 only twentieths, and labels differ, too. Of a tree that learned where missing values go more
# than half of the rows with one are answered otherwise. Both without a word.
# What it means here: what a service compiles is compared with its estimator, on probabilities and on rows with missing values:
# site/howto/own-model.md.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    ydf==0.16.1 scikit-learn==1.9.1 numpy==2.4.6

"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import ydf
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

ydf.verbose(0)
rows, classes = make_classification(400, 6, n_informative=4, flip_y=0.2, random_state=0)
rows = rows.astype("f4")


def answer(model, given):
    return ydf.from_sklearn(model).predict({"features": given})


for trees, model in (
    (1, DecisionTreeClassifier(max_depth=3, random_state=0)),
    (20, RandomForestClassifier(20, max_depth=4, random_state=0)),
):
    wanted = model.fit(rows, classes).predict_proba(rows)[:, 1]
    got = answer(model, rows)
    off, labels = np.abs(got - wanted).max(), ((got > 0.5) != (wanted > 0.5)).mean()
    print(f"{trees} trees: {wanted[3]:.2f} becomes {got[3]:.2f}, at most {off:.2f} off, labels {labels:.1%} otherwise")
    assert np.allclose(got * trees, np.round(got * trees), atol=1e-4) and off > 0.15

rows, values = make_regression(400, 5, random_state=0)
rows = rows.astype("f4")
full = DecisionTreeRegressor(max_depth=5, random_state=0).fit(rows, values)
assert np.allclose(answer(full, rows), full.predict(rows), rtol=1e-4)
rows[np.random.default_rng(0).random(rows.shape) < 0.2] = np.nan
gaps = np.isnan(rows).any(axis=1)
model = DecisionTreeRegressor(max_depth=5, random_state=0).fit(rows, values)
otherwise = np.abs(answer(model, rows) - model.predict(rows)) > 1e-3
print(f"missing values: of rows with one {otherwise[gaps].mean():.0%} otherwise, of others {otherwise[~gaps].mean():.0%}")
assert otherwise[gaps].mean() > 0.3 and otherwise[~gaps].mean() == 0
PY
echo "still so: votes for probabilities, and missing values elsewhere"
