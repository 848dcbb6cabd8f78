"""The plan's cost against that of brute force: every setting of a small grid, simulated."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from workbench.batching.timer import BatchPolicy
from workbench.planner import Configuration, Options, Plan, plan
from workbench.planner.best_first import search_best_first
from workbench.planner.options import CLOUD_KINDS
from workbench.run import SLO
from workbench.scaling import ScaleToZero
from workbench.service_times import ServiceTimes
from workbench.traffic.patterns import bursty, flash_crowd, poisson

TIMES = ServiceTimes.affine(0.010, 0.005, largest=16)
GRID = Options(
    serverless_memory_mb=[1024, 2048],
    lambda_memory_mb=[1024, 1769],
    instance_types=["ml.c5.large", "ml.m5.xlarge"],
    max_sizes=[1, 2, 4, 8, 16],
    max_waits=[0.02, 0.05, 0.1, 0.15],
    periods=[60.0, 300.0, 900.0],
    cold_start=0.3,
    max_count=4,
    unseen_draws=0,
)
TRACES = {
    "steady": poisson(rate=50, duration=120, seed=3),
    "bursty": bursty(rate=60, burst=4, dwell=(20, 10), duration=120, seed=1),
    "crowd": flash_crowd(
        rate=20, peak=8, start=20, ramp=5, hold=10, decay=10, duration=120, seed=1
    ),
    "sparse": poisson(rate=0.02, duration=20_000, seed=1),
}


def settings(task) -> Iterator[Configuration]:
    """Yield every setting of the one type that a task may choose from."""
    options, (kind,) = task.options, task.options.kinds
    counts = range(1, options.max_count + 1)
    policies = [
        BatchPolicy(max_size=size, max_wait=wait)
        for size, wait in itertools.product(options.max_sizes, options.max_waits)
    ]
    for place in options.places(kind):
        if place.by_job:
            for period, count in itertools.product(options.periods, counts):
                yield Configuration(place.with_period(period).with_count(count), BatchPolicy())
        elif place.on_demand:
            yield from (Configuration(place, policy) for policy in policies)
        else:
            for policy, count in itertools.product(policies, counts):
                yield Configuration(place.with_count(count), policy)
                if place.platform.least == 0:
                    gone = place.with_count(0)
                    yield Configuration(gone, policy, ScaleToZero(count=count))


def targets_of(kind: str) -> tuple[float, float]:
    """Targets in seconds, one tight and one wide, that a type can meet."""
    return {"batch transform": (900.0, 1500.0), "async": (0.15, 400.0)}.get(kind, (0.06, 0.3))


def cost_over_brute_force(found: Plan) -> float:
    """The share by which a plan's winner is dearer than the cheapest setting that will do."""
    figures = (found.task.simulate(setting) for setting in settings(found.task))
    cheapest = min(each.cost for each in figures if found.task.meets_constraint(each))
    return found.best.cost_per_million / cheapest - 1


@pytest.mark.parametrize("trace", TRACES)
@pytest.mark.parametrize("kind", CLOUD_KINDS)
@pytest.mark.no_cover
def test_the_winner_costs_what_that_of_brute_force_does(kind, trace):
    for latency in targets_of(kind):
        found = plan(TIMES, TRACES[trace], SLO(latency=latency), replace(GRID, kinds=[kind]))
        assert found.feasible
        over = cost_over_brute_force(found)
        assert over <= 0.005, f"{100 * over:.2f} % above brute force for {latency:g} s"


def search(cost, latency, simulate, *, left=None, **terms):
    """Search candidates below a latency of 1; return those simulated, in turn."""
    tried = []
    problem = SimpleNamespace(
        budget=None,
        limit=1.0,
        tries=99,
        aim=lambda _: 5.0,
        figure_to_limit=lambda latency: latency,
        meets_constraint=lambda latency: latency <= 1.0,
    )

    def note(row: int) -> float:
        tried.append(row)
        return simulate(row)

    left = np.ones(len(cost), bool) if left is None else left
    search_best_first(problem, cost=cost, latency=latency, left=left, simulate=note, **terms)
    return tried


def test_what_a_simulation_rules_out_is_not_simulated():
    left = np.ones(3, bool)

    def simulate(_: int) -> float:
        left[1] = False  # as fewer instances than were too few
        return 2.0

    assert search(np.arange(3.0), np.full(3, 0.5), simulate, left=left, best=9.0) == [0, 2]


def test_after_three_misses_nothing_further_from_the_limit_is_simulated():
    cost, latency = np.array([5.0, *[1.0] * 9]), np.array([0.9, *np.linspace(1.01, 1.09, 9)])

    assert search(cost, latency, latency.__getitem__) == [0, 1, 2, 3]


def test_what_is_predicted_to_be_as_what_was_simulated_is_not_simulated():
    cost, latency = np.array([1.0, 1.0005, 1.0, 2.0]), np.array([0.5, 0.5, 0.6, 0.5])

    assert search(cost, latency, lambda _: 0.5, exact=True) == [0, 2, 3]
