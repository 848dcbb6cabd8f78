#!/bin/sh
# tdigest 0.5.2.2 and pytdigest 0.1.4: percentiles of equal latencies lie far from all of them, below zero too.
#
# Guessed: of 980 latencies of 10 ms and 20 of 3,000 ms, as a clock of whole milliseconds and some cold starts give, a
# digest has the median 10, the 90th percentile 10 and the 99th 3,000; none lies below the least or above the largest.
# Seen: 69.8, 2,461.8 and 3,000 in both; the 25th percentile of tdigest is -1,425 ms. Equal values become one point, and what
# lies between two points is drawn as a straight line through the middle of each one's weight, whatever the point holds.
# fastdigest 0.12.0 has 10, 10 and 3,000.
# What it means here: percentiles are values of the run, by rank; where a sketch must do, in the panel of a live run and
# in CloudWatch's statistics, it keeps counts of narrow bins. tests/test_quantiles.py holds all three to these numbers.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check tdigest==0.5.2.2 pytdigest==0.1.4 \
    fastdigest==0.12.0 numpy==2.4.6 pandas==3.1.1

"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

import fastdigest
import numpy as np
import pytdigest
import tdigest

latencies = np.array([10.0] * 980 + [3000.0] * 20)
shares = (1, 25, 50, 90, 99)
plain = tdigest.TDigest()
plain.batch_update(latencies)
quick = pytdigest.TDigest.compute(latencies)
other = fastdigest.TDigest.from_values(latencies)
found = {
    "tdigest": [plain.percentile(q) for q in shares],
    "pytdigest": [quick.inverse_cdf(q / 100) for q in shares],
    "fastdigest": [other.percentile(q) for q in shares],
}
print("milliseconds, percentiles", shares)
for name, values in found.items():
    print(f"{name} {version(name)}:", [round(float(each), 1) for each in values])
close = {name: np.round(np.array(values, float), 1).tolist() for name, values in found.items()}
assert close["tdigest"] == [-2860.4, -1425.2, 69.8, 2461.8, 3000.0]
assert close["pytdigest"] == [10.0, 10.0, 69.8, 2461.8, 3000.0]
assert close["fastdigest"] == [10.0, 10.0, 10.0, 10.0, 3000.0]
PY
echo "still so: medians of two digests are latencies that no request had"
