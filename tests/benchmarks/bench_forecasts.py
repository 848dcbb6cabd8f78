"""Forecasters on nine days of WorldCup98: error, bands, time, and the bill that each leads to.

Errors from every tenth minute of the last seven days, in relation to the last count standing for
all that follow; bills from every minute, for a tenth of the traffic on instances that serve 490
requests a minute for 0.17 dollars an hour, beside functions of 49.55 dollars a million; a day of
it simulated request by request. Needs shared/data beside the checkout.
"""

import statistics
import time
from copy import deepcopy
from dataclasses import replace

import numpy as np
import polars as pl
from bench_queueing import DATA

from workbench.deployment import Hybrid, InFlight, Lambda, RealTime
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
from workbench.quantiles import SLO
from workbench.scaling import InstanceCapacity
from workbench.service_times import ServiceTimes
from workbench.traffic.replay import from_counts

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
    print_bills(counts / 10)
    print_simulated_bills(counts[3 * 1440 : 5 * 1440] // 50)


def print_bills(counts):
    """Print the table of seven days, by arithmetic."""
    quick = {name: FORECASTERS[name] for name in ("persistence", "ridge", "smoothing, trend")}
    asked_for = {**quick, "oracle": Oracle(counts)}
    print(backtest(counts, asked_for, learn=LEARN, capacity=ONE, call_price=CALL), flush=True)


def print_simulated_bills(counts):
    """Print the table of 26 June, after a day to learn from, each request simulated."""
    trace = from_counts(counts, period=60.0, seed=1)
    print(f"26 June, a fiftieth: {counts[1440:].sum():,} requests, each simulated")
    hybrid = Hybrid(
        base=RealTime(instance_type="ml.c5.xlarge", count=4),
        overflow=Lambda(memory_mb=3008, max_concurrency=1000),
        spill=InFlight(3),
    )
    found = backtest(
        trace,
        {"persistence": Persistence(), "ridge": Ridge(season=None), "oracle": Oracle(counts)},
        learn=1440,
        capacity=replace(ONE, instance_type="ml.c5.xlarge", hourly_price=0.204),
        call_price=CALL,
        hybrid=hybrid,
        service=(ServiceTimes({1: 0.8 * 60 / 490}), ServiceTimes({1: 0.99})),
        cold_start=2.0,
        slo=SLO(latency=1.0, quantile=0.99),
    )
    print(found)
