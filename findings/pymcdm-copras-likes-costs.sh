#!/bin/sh
# pymcdm 1.4.0: COPRAS adds costs to a model's score, so that of two equally accurate models the dearer wins.
#
# Guessed: of two models that differ in cost alone the cheaper has the higher preference, as in the 1994 method: Q is the sum of the
# merits plus a term that falls as the sum of the costs rises.
# Seen: the term that is computed for costs is their sum itself, (min(S) S) / (S (min(S) / S)), so that each dollar is a merit. The
# example of its documentation holds the same numbers. TOPSIS, MABAC, WSM, MARCOS and EDAS of the package put the cheaper first.
# What it means here: `select` never lets what another beats win: tests/selection/test_weights.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pymcdm==1.4.0 numpy==2.4.6

"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from pymcdm import methods

models = np.array([[0.9, 100.0], [0.9, 300.0], [0.9, 20.0], [0.8, 500.0]])  # accuracy, dollars a month
weights, types = np.array([0.5, 0.5]), np.array([1, -1])
for name in ("TOPSIS", "MABAC", "WSM", "MARCOS", "EDAS", "COPRAS"):
    method = getattr(methods, name)()
    preference = method(models, weights, types)
    order = np.argsort(method.rank(preference)).tolist()
    print(f"{name}: best first {order}")
    assert (order == [3, 1, 0, 2]) if name == "COPRAS" else (order.index(2) < order.index(0) < order.index(1))
shares = models / models.sum(axis=0)
merits, costs = shares[:, 0] * 0.5, shares[:, 1] * 0.5
right = merits + costs.sum() / (costs * (1 / costs).sum())
print("as published:", np.argsort(-right).tolist())
assert np.argsort(-right)[0] == 2
PY
echo "still so: in COPRAS the dearest wins"
