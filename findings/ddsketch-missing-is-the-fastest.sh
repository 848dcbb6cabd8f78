#!/bin/sh
# ddsketch 3.0.1: a latency that is NaN counts as one of 0, so that failures make the median faster.
#
# Guessed: `add(nan)` is refused, as `add(inf)` is, or left out.
# Seen: what is neither above nor below zero is counted as zero: of 40 latencies of 100 ms and 60 requests that failed and have no
# latency the median is 0, and the 90th percentile 100 ms, as if nothing had failed. The sum and the mean are NaN, the count is 100.
# A sketch that is merged with it has the same.
# What it means here: a failed request counts as one that never ends, in every percentile: tests/test_quantiles.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check ddsketch==3.0.1

"$folder/venv/bin/python" - <<'PY'
import math

from ddsketch import DDSketch

sketch, whole = DDSketch(0.01), DDSketch(0.01)
for latency in [0.1] * 40 + [math.nan] * 60:
    sketch.add(latency)
whole.merge(sketch)
for name, each in (("sketch", sketch), ("merged", whole)):
    found = {share: each.get_quantile_value(share) for share in (0.5, 0.59, 0.9)}
    print(f"{name}: quantiles {found}, count {each.count:.0f}, mean {each.avg}")
    assert found[0.5] == 0 and found[0.59] == 0 and abs(found[0.9] - 0.1) < 0.002
    assert each.count == 100 and math.isnan(each.avg)
try:
    sketch.add(math.inf)
    raise AssertionError("infinity was taken")
except OverflowError as error:
    print("infinity:", error)
PY
echo "still so: what is missing is the fastest"
