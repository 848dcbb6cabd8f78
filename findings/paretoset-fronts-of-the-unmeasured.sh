#!/bin/sh
# paretoset 1.2.5, moocore 0.3.2 and pymoo 0.6.2: one model whose latency is missing throws measured ones off the front.
#
# Guessed: of models with a latency and a cost to be small, one whose latency is NaN is refused or on no front, and the others'
# front is what it is without that model.
# Seen: NaN is neither larger nor smaller, so that the unmeasured model beats all that cost more, however fast they are: in each order
# of the rows it stands on the front alone, where the front has three. None says a word. Where it is the dearest, all is well.
# What it means here: what lacks a figure is on no front and beats nobody: tests/selection/test_weights.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    paretoset==1.2.5 moocore==0.3.2 pymoo==0.6.2 numpy==2.4.6 pandas==3.1.1
cd "$folder"

cat > fronts.py <<'PY'
import itertools

import moocore
import numpy as np
from paretoset import paretoset
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

FRONTS = {
    "paretoset": lambda rows: np.flatnonzero(paretoset(rows)),
    "moocore": lambda rows: np.flatnonzero(moocore.is_nondominated(rows)),
    "pymoo": lambda rows: NonDominatedSorting().do(rows, only_non_dominated_front=True),
}
MEASURED = [(1, 5), (2, 3), (4, 1), (3, 4)]  # seconds, dollars; the last one is beaten by the second
CHEAP, DEAR = (np.nan, 0.5), (np.nan, 9)
ORDERS = list(itertools.permutations(range(5)))


def count_fronts(find, unmeasured):
    """Return how many of all orders of the rows have the right front, the unmeasured model's alone, or another."""
    rows = np.array([*MEASURED, unmeasured])
    found = [frozenset(order[place] for place in find(rows[list(order)])) for order in ORDERS]
    right, alone = sum(front == {0, 1, 2} for front in found), sum(front == {4} for front in found)
    return right, alone, len(ORDERS) - right - alone


for name, find in FRONTS.items():
    assert set(find(np.array(MEASURED, float))) == {0, 1, 2}
    cheap, dear = count_fronts(find, CHEAP), count_fronts(find, DEAR)
    print(f"{name}: of {len(ORDERS)} orders (right, the unmeasured alone, other): cheapest {cheap}, dearest {dear}")
    assert cheap == (0, len(ORDERS), 0) and dear == (len(ORDERS), 0, 0)
PY
"$folder/venv/bin/python" -W ignore fronts.py
echo "still so: a model without a latency beats those that have one"
