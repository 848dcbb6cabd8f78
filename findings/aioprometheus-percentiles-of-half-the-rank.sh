#!/bin/sh
# aioprometheus 23.12.0 with quantile-python 1.1: the 99th percentile of 100 latencies of 1 to 100 ms is 51 ms, the median 27 ms.
#
# Guessed: a Summary's percentiles are within the errors that it is given, by default 5 % in rank at the median, 1 % at 0.9 and 0.1 %
# at 0.99: between 45 and 55 ms, 89 and 91, 99 and 100; _sum and _count agree with them.
# Seen: what lies beyond the end of what was kept, as all of a first buffer of 512 does, is kept twice and counted once, so that a
# percentile is that of about half its rank; of ten thousand latencies the 99th is still below the 96th. 980 latencies of 10 ms and
# 20 of 3 s have a 99th percentile of 10 ms, too. _sum and _count are right. prometheus-summary 0.1.6, which has the same estimator
# mended, has 99 ms or more in a hundred.
# What it means here: percentiles are taken from all latencies, by rank: tests/test_quantiles.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check aioprometheus==23.12.0 quantile-python==1.1 \
    prometheus-summary==0.1.6 quantile-estimator==0.1.3 prometheus-client==0.26.0

"$folder/venv/bin/python" - <<'PY'
import random

import prometheus_client
import prometheus_summary
from aioprometheus import Summary
from aioprometheus.collectors import Registry


def percentiles(latencies):
    """Return aioprometheus's and prometheus-summary's percentiles, and the number that the first counted."""
    ours = Summary("latency", "ms", registry=Registry())
    theirs = prometheus_summary.Summary("latency", "ms", registry=prometheus_client.CollectorRegistry())
    for latency in latencies:
        ours.observe({}, float(latency))
        theirs.observe(float(latency))
    found = ours.get({})
    mended = {
        float(sample.labels["quantile"]): sample.value
        for family in theirs.collect()
        for sample in family.samples
        if "quantile" in sample.labels
    }
    return {rank: found[rank] for rank in mended}, mended, found["count"]


def shuffled(values):
    return random.Random(1).sample(values, len(values))


for count in (100, 1000, 10000):
    wrong, right, counted = percentiles(shuffled(range(1, count + 1)))
    print(f"1 to {count} ms: {wrong}, mended {right}")
    assert counted == count
    assert wrong[0.99] < 0.96 * count and wrong[0.5] < 0.45 * count
    assert right[0.99] > 0.98 * count
rare, right, _ = percentiles(shuffled([10] * 980 + [3000] * 20))
print(f"980 of 10 ms and 20 of 3 s: {rare}, mended {right}")
assert rare[0.99] == 10 and right[0.99] == 3000
PY
echo "still so: a percentile is that of a lower rank"
