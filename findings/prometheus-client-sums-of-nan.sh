#!/bin/sh
# prometheus_client 0.26.0: one NaN makes the sum of a histogram NaN until the process ends, and is counted nowhere.
#
# Guessed: observe(nan), the latency of a request that failed, is refused, or counts as beyond all buckets (le="+Inf"), as it does
# in the client for Go; the mean latency, rate(_sum) / rate(_count), is right again a minute later.
# Seen: it is in no bucket, so _count is the number of the others and does not show that any failed; _sum is NaN, and stays so
# after whatever comes, so that no mean can be computed before a restart. A Summary counts it, and its sum is NaN, too.
# What it means here: a request that failed has latency NaN in `Run.frame`; who hands latencies on leaves those out and counts
# them beside, as `latency_drift` and the local cloud's metrics do: tests/localcloud/test_cloudwatch.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check prometheus-client==0.26.0
cd "$folder"

cat > observe.py <<'PY'
import math

from prometheus_client import CollectorRegistry, Histogram, Summary

registry = CollectorRegistry()
metrics = Histogram("latency", "s", registry=registry, buckets=[0.1, 1]), Summary("took", "s", registry=registry)
for metric in metrics:
    for latency in [0.05, math.nan, *[0.05] * 1000]:
        metric.observe(latency)
found = {
    (sample.name, *sample.labels.values()): sample.value
    for family in registry.collect()
    for sample in family.samples
    if not sample.name.endswith("_created")
}
print(found)
assert found["latency_bucket", "+Inf"] == found["latency_count",] == 1001
assert found["took_count",] == 1002
assert math.isnan(found["latency_sum",]) and math.isnan(found["took_sum",])
PY
"$folder/venv/bin/python" observe.py
echo "still so: after one NaN there is no mean latency any more"
