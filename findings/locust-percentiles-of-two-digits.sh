#!/bin/sh
# Locust 2.47.0: percentiles from 100 ms on have two digits, so that all requests may be slower than the largest of them.
#
# Guessed: a percentile is a latency that was measured, to the millisecond, and the 100th is the largest, "approximated", as
# the table says, or not; the median of two requests is the faster one, or lies between them.
# Seen: of 100 requests of 2,949 ms each all percentiles are 2,900, the 100th, too, beside a largest of 2,949: a target of
# 2,900 ms that every request missed is met by every percentile. 2,951 ms are 3,000. A percentile is the rank after the one
# it should be: the median of 10 and 20 ms is 20, and the 99th of 100 requests, one of them slow, is the slow one.
# What it means here: percentiles are values of the run, by rank (tests/test_quantiles.py). Beside a target, Locust's are good
# to 5 %: site/howto/coming-from.md.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check locust==2.47.0 gevent==26.9.0
cd "$folder"

cat > report.py <<'PY'
from locust.env import Environment

SHARES = (0.5, 0.99, 1.0)


def summarise(latencies):
    """Return the percentiles and the largest of latencies that a client of its own has reported."""
    environment = Environment()
    environment.create_local_runner()  # which keeps the statistics
    for latency in latencies:
        environment.events.request.fire(
            request_type="GET", name="model", response_time=latency, response_length=0, exception=None, context={}
        )
    total = environment.stats.total
    return [total.get_response_time_percentile(share) for share in SHARES], total.max_response_time


for name, latencies, wanted in (
    ("100 of 2,949 ms", [2949] * 100, ([2900, 2900, 2900], 2949)),
    ("100 of 2,951 ms", [2951] * 100, ([3000, 3000, 3000], 2951)),
    ("100 of 94.6 ms", [94.6] * 100, ([95, 95, 95], 94.6)),
    ("10 and 20 ms", [10, 20], ([20, 20, 20], 20)),
    ("99 of 10 ms, one of 90 ms", [10] * 99 + [90], ([10, 90, 90], 90)),
):
    found = summarise(latencies)
    print(f"{name}: percentiles {SHARES} are {found[0]}, the largest is {found[1]}")
    assert found == wanted, wanted
PY
"$folder/venv/bin/python" -W ignore report.py
echo "still so: percentiles are rounded to two digits and a rank too high"
