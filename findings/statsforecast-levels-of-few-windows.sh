#!/bin/sh
# statsforecast 2.1.1: bands of 95 % that hold far fewer, and a season that was never seen forecast as NaN.
#
# Guessed: conformal bands of level 95 hold 95 % of what comes, or are refused where too few windows were kept: split
# conformal prediction needs 19 errors for that (ceil(0.95 x (n + 1)) <= n). SeasonalNaive raises where the
# series is shorter than a season.
# Seen: ConformalIntervals takes a quantile of the errors without that correction: of normal values, where the mean is the
# right forecast, bands of level 95 hold about two thirds with 2 windows, the least it takes and what its examples have, and
# about 85 % with 10, without a warning. SeasonalNaive(24) of 10 values answers NaN for hours it has not seen.
# What it means here: `StatsForecast` takes points from a model and bands from `Conformal`, which has the correction
# and is tested against its bound; it asks for two seasons.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check statsforecast==2.1.1 numpy==2.4.6 \
    pandas==2.3.3

"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from statsforecast.models import HistoricAverage, SeasonalNaive
from statsforecast.utils import ConformalIntervals

rng = np.random.default_rng(0)


def covered(windows, draws=400):
    """Return the share of next values within the band of level 95."""
    held = 0
    for _ in range(draws):
        values = rng.normal(size=121)
        model = HistoricAverage(prediction_intervals=ConformalIntervals(n_windows=windows, h=1))
        band = model.fit(values[:120]).predict(1, level=[95])
        held += bool(band["lo-95"][0] <= values[120] <= band["hi-95"][0])
    return held / draws


shares = {windows: covered(windows) for windows in (2, 10)}
print("level 95, share within the band by windows:", shares)
model = SeasonalNaive(season_length=24)
answer = model.fit(np.arange(10.0)).predict(24)["mean"]
print("SeasonalNaive(24) of 10 values, 24 ahead:", int(np.isnan(answer).sum()), "are NaN")
assert shares[2] < 0.8 and shares[10] < 0.925
assert np.isnan(answer).sum() == 14
PY
