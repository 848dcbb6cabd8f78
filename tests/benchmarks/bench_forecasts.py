"""Forecasters on nine days of WorldCup98: error, bands, time, and the bill that each leads to.

Errors from every tenth minute of the last seven days, in relation to the last count standing for
all that follow; bills from every minute, for a tenth of the traffic on instances that serve 490
requests a minute for 0.17 dollars an hour, beside functions of 49.55 dollars a million. Needs
shared/data beside the checkout.
"""

import statistics
import time
from copy import deepcopy

import numpy as np
import polars as pl
from bench_queueing import DATA

from workbench.forecasts import (
    BoostedQuantiles,
    MArkNetwork,
    Oracle,
    Persistence,
    Ridge,
    SeasonalNaive,
    Smoothing,
    StatsForecast,
)
from workbench.planner.backtest import backtest
from workbench.scaling import InstanceCapacity

DAYS = pl.datetime(1998, 6, 22), pl.datetime(1998, 6, 30, 23, 59)
LEARN, EVERY, AHEAD = 2 * 1440, 10, (1, 5, 20)
ONE = InstanceCapacity(instance_type="c5.xlarge", rate=490 / 60, hourly_price=0.17)
CALL = 49.55e-6
FORECASTERS = {
    "persistence": Persistence(),
    "seasonal naive": SeasonalNaive(),
    "smoothing, level": Smoothing(),
    "smoothing, trend": Smoothing(trend=True),
    "ridge": Ridge(),
    "boosted quantiles": BoostedQuantiles(),
    "MArk's network": MArkNetwork(),
    "statsforecast AutoETS": StatsForecast("AutoETS"),
}


def counts_by_minute():
    """Return the requests of each minute of the nine days."""
    frame = pl.read_csv(DATA / "worldcup98_invocation_count.csv", try_parse_dates=True)
    return frame.filter(pl.col("period").is_between(*DAYS))["count"].to_numpy()


def asked(forecaster, counts):
    """Return quantiles by origin and step, the seconds of each call, and those of the first."""
    own, shown, seconds = deepcopy(forecaster), [], []
    for known in range(LEARN, len(counts) - AHEAD[-1] + 1, EVERY):
        begun = time.perf_counter()
        shown.append(own.fit(counts[:known], 60.0).forecast(AHEAD[-1], [0.05, 0.5, 0.95]))
        seconds.append(time.perf_counter() - begun)
    return np.array(shown), seconds


def print_errors(counts):
    """Print error over that of the last count, coverage and width, by minutes ahead."""
    known = np.arange(LEARN, len(counts) - AHEAD[-1] + 1, EVERY)
    print(
        f"{len(known)} origins; 1, 5 and 20 minutes ahead; ms a call: median (10 % to 90 %; most)"
    )
    for name, forecaster in FORECASTERS.items():
        shown, seconds = asked(forecaster, counts)
        errors, held = [], []
        for step in AHEAD:
            came, (low, median, high) = counts[known + step - 1], shown[:, step - 1].T
            last = came - counts[known - 1]
            errors.append(np.sqrt(np.mean((came - median) ** 2) / np.mean(last**2)))
            held.append(np.mean((low <= came) & (came <= high)))
        tenth, *_, ninth = statistics.quantiles(seconds, n=10)
        print(
            f"{name:22} RMSE {errors[0]:6.3f} {errors[1]:6.3f} {errors[2]:6.3f}   "
            f"coverage {held[0]:.3f} {held[1]:.3f} {held[2]:.3f}   "
            f"{1e3 * statistics.median(seconds):6.2f} "
            f"({1e3 * tenth:.2f} to {1e3 * ninth:.2f}; {1e3 * max(seconds):,.0f})",
            flush=True,
        )


def main():
    """Print both, if the data are there."""
    if not DATA.exists():
        print("no shared/data beside this checkout: nothing to measure")
        return
    counts = counts_by_minute()
    print_errors(counts)
    tenth = counts / 10
    quick = {name: FORECASTERS[name] for name in ("persistence", "ridge", "smoothing, trend")}
    found = backtest(
        tenth,
        {**quick, "oracle": Oracle(tenth)},
        learn=LEARN,
        capacity=ONE,
        call_price=CALL,
    )
    print(found)
