#!/bin/sh
# polars_ds 0.13.0: the p-value of its Kolmogorov-Smirnov test follows from the sizes of the samples alone: nothing ever drifts.
#
# Guessed: `ks_2samp` of 500 latencies and of 500 that are a hundred times as long answers a p-value below 0.001, as SciPy's does, and
# one of samples of the same law a p-value that is below 0.05 in one of twenty cases.
# Seen: both have the p-value 0.086. It is the statistic that the test would need at its level of 0.05, sqrt(ln(2 / 0.05) / 2) times
# sqrt((n + m) / (n m)), under another name: with 500 values a drift is never below 0.05, with 2,000 values everything is.
# The statistic itself is right: compared with what is called the p-value, above it is a drift.
# What it means here: `input_drift` has what chance makes of its index beside it: tests/run/test_drift.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    polars_ds==0.13.0 polars==2.1.0 numpy==2.4.6 scipy==1.17.1

"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import polars as pl
import polars_ds
from scipy import stats


def test(before, after):
    """Return the statistic and the p-value of polars_ds, and those of SciPy."""
    frame = pl.DataFrame({"before": before, "after": after})
    found = frame.select(polars_ds.ks_2samp("before", "after").alias("found")).item()
    known = stats.ks_2samp(before, after)
    return found["statistic"], found["pvalue"], known.statistic, known.pvalue


rng = np.random.default_rng(0)
for size in (500, 2000):
    before, same = rng.lognormal(size=(2, size))
    needed = np.sqrt(-np.log(0.05 / 2) / 2) * np.sqrt(2 / size)
    for name, after in (("the same law", same), ("a hundred times as long", 100 * same)):
        statistic, p, known, right = test(before, after)
        print(f"{size} values, {name}: statistic {statistic:.3f}, p {p:.4f}; SciPy {known:.3f}, {right:.2g}")
        assert abs(statistic - known) < 1e-9 and abs(p - needed) < 1e-3
    assert (p < 0.05) == (size == 2000) and right < 1e-9
PY
echo "still so: a threshold is called the p-value"
