#!/bin/sh
# scikit-criteria 0.10: costs that are negated and then scaled to a sum of one are merits, and the dearest model wins.
#
# Guessed: `NegateMinimize`, which makes criteria to be small into ones to be large, may be followed by any scaler, as
# `InvertMinimize` may: of two models that differ in cost alone the cheaper ranks first, or the pipeline is refused, as
# WeightedSumModel refuses what is below 0.
# Seen: `SumScaler` divides the negated costs by their negative sum, which undoes the sign: the larger a cost, the larger its share,
# and nothing below 0 is left to refuse. Weighted sum and TOPSIS rank the dearest of three equally accurate models first and
# the cheapest last. With `MinMaxScaler`, and with `InvertMinimize` before any scaler, the cheapest is first.
# What it means here: `select` scales what is to be small by its range, and never lets what another beats win:
# tests/selection/test_weights.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check scikit-criteria==0.10 numpy==2.4.6 pandas==3.1.1

"$folder/venv/bin/python" -W ignore - <<'PY'
import skcriteria
from skcriteria.agg.simple import WeightedSumModel
from skcriteria.agg.topsis import TOPSIS
from skcriteria.pipelines import mkpipe
from skcriteria.preprocessing.invert_objectives import InvertMinimize, NegateMinimize
from skcriteria.preprocessing.scalers import MinMaxScaler, SumScaler

models = skcriteria.mkdm(
    [[0.9, 100.0], [0.9, 300.0], [0.9, 20.0], [0.8, 20.0]],  # accuracy, dollars a month
    [max, min],
    weights=[0.5, 0.5],
    alternatives=["middle", "dear", "cheap", "poor"],
)
for inverter in (InvertMinimize, NegateMinimize):
    for scaler in (SumScaler, MinMaxScaler):
        for method in (WeightedSumModel, TOPSIS):
            ranks = mkpipe(inverter(), scaler("matrix"), method()).evaluate(models).to_series()
            wrong = inverter is NegateMinimize and scaler is SumScaler
            print(f"{inverter.__name__}, {scaler.__name__}, {method.__name__}: first {ranks.idxmin()}")
            assert (ranks["dear"] < ranks["middle"] < ranks["cheap"]) if wrong else ranks["cheap"] == 1
PY
echo "still so: negated and scaled by their sum, costs are merits"
