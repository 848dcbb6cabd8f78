#!/bin/sh
# inference-perf 0.7.0: a load of type "constant" has exponential gaps, and one of type "poisson" a request at the end of each second.
#
# Guessed: "constant" at 100 requests a second sends one each 10 ms, but for the little noise that its source speaks of; "poisson" has
# gaps that are exponential and independent.
# Seen: the gaps of "constant" are drawn from an exponential distribution and stretched until they fill the stage: their deviation is
# their mean, as that of Poisson arrivals is, and a server at 80 % of its capacity has waits that evenly spaced requests never cause.
# "poisson" draws how many come in each second, and stretches their gaps to fill it: whatever the rate, the last of each second that
# has any comes exactly at its end, and at a request every two seconds most gaps are whole seconds.
# What it means here: gaps of `wb.constant` are constant, those of `wb.poisson` exponential and independent:
# tests/traffic/test_patterns.py, site/howto/coming-from.md.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6
# the timers alone: all of it needs Python 3.12, transformers and datasets
"$folder/venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --python-version 3.12 --only-binary=:all: \
    --dest "$folder" inference-perf==0.7.0
cd "$folder"
"$folder/venv/bin/python" -m zipfile -e inference_perf-0.7.0-py3-none-any.whl package

"$folder/venv/bin/python" - <<'PY'
import itertools
import sys
import types

import numpy as np

for name in ("inference_perf", "inference_perf.loadgen", "inference_perf.utils"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = ["package/" + name.replace(".", "/")]
from inference_perf.loadgen.load_timer import ConstantLoadTimer, PoissonLoadTimer


def wait(times, service):
    """Return the mean wait of requests for a server that takes `service` seconds each, in ms."""
    waited, waits = 0.0, []
    for gap in np.diff(times):
        waited = max(0.0, waited + service - gap)
        waits.append(waited)
    return 1000 * np.mean(waits)


constant = np.array(list(ConstantLoadTimer(100, 200).start_timer(0.0)))
gaps = np.diff(constant)
spread = gaps.std() / gaps.mean()
print(f"constant, 100 a second: gaps of {1000 * gaps.mean():.1f} ms, deviation / mean {spread:.2f}, "
      f"mean wait at 80 % of capacity {wait(constant, 0.008):.0f} ms")
assert 0.9 < spread < 1.1 and wait(constant, 0.008) > 5
for rate in (100, 0.5):
    times = np.array(list(itertools.islice(PoissonLoadTimer(rate, 200).start_timer(0.0), 2000)))
    ends = np.isclose(times, np.round(times), rtol=0, atol=1e-6)
    seconds = len(np.unique(np.ceil(times - 1e-6)))
    whole = np.isclose(np.diff(times), np.round(np.diff(times)), rtol=0, atol=1e-6).mean()
    print(f"poisson, {rate} a second: {ends.sum()} requests at the end of {seconds} seconds that have any, "
          f"{100 * whole:.0f} % of the gaps are whole seconds")
    assert ends.sum() >= seconds - 1
assert whole > 0.5
PY
echo "still so: a constant load is a random one"
