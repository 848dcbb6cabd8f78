#!/bin/sh
# Frouros 0.9.0: a bin without values makes the population stability index of no drift a large one; KL takes a constant for none.
#
# Guessed: two samples of 500 latencies of one distribution have a stability index (PSI) near what chance makes of it, for 10 bins
# 9 x (1/500 + 1/500) = 0.04, and below 0.2, the usual limit; the divergence (KL) of latencies that are stuck at one value is far
# above that of no drift, and never below 0.
# Seen: an empty bin counts as 2e-308 of the values, and its logarithm adds 1.4 for each value that the other sample has there: most
# of 200 pairs of samples of one distribution have an index above 1. KL of 500 times the same value is below 0 for most
# references in seconds, less than where nothing drifted, and 0.5 or more in milliseconds: the histogram of a constant is drawn
# one unit wide, so that most of it lies beyond all bins. Its Kolmogorov-Smirnov test is right in all cases.
# What it means here: `PopulationStability` and `input_drift` add half a value to each bin and compare with what chance makes
# of it; tests/run/test_drift.py holds both of these to that.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check frouros==0.9.0 numpy==2.1.3 scipy==1.14.1
cd "$folder"

cat > compare.py <<'PY'
import numpy as np
from frouros.detectors.data_drift import KL, PSI, KSTest

rng = np.random.default_rng(0)


def draw():
    return rng.lognormal(-3, 0.5, 500)


def compare(detector, reference, latest):
    detector.fit(X=reference)
    found = detector.compare(X=latest)[0]
    return float(getattr(found, "distance", getattr(found, "p_value", None)))


indices = np.array([compare(PSI(), draw(), draw()) for _ in range(200)])
print(f"PSI of 200 pairs of one distribution: {(indices > 0.2).mean():.0%} above 0.2, {(indices > 1).mean():.0%} above 1")
assert (indices > 0.2).mean() > 0.6 and (indices > 1).mean() > 0.4

stuck = np.full(500, 0.05)
references = [draw() for _ in range(100)]
seconds = np.array([compare(KL(), each, stuck) for each in references])
milliseconds = np.array([compare(KL(), 1000 * each, 1000 * stuck) for each in references])
print(f"KL of a constant in seconds: below 0 for {(seconds < 0).mean():.0%}; in milliseconds {milliseconds.min():.2f} at least")
assert (seconds < 0).mean() > 0.5 and milliseconds.min() > 0.2
reference, fresh = draw(), draw()
p_values = [compare(KSTest(), reference, latest) for latest in (fresh, stuck)]
print(f"Kolmogorov and Smirnov's p: {p_values[0]:.2f} and {p_values[1]:.0e}")
assert p_values[0] > 0.01 > p_values[1]
PY
"$folder/venv/bin/python" -W ignore compare.py
echo "still so: an empty bin is a drift, and a constant is none"
