"""Floors: below whatever a search finds, and near it where nothing queues."""

from dataclasses import replace

import numpy as np
import pytest

import workbench as wb
from workbench.deployment import Local
from workbench.planner import Options, plan
from workbench.selection.floors import find_floors
from workbench.service_times import ServiceTimes

OPTIONS = Options(
    serverless_memory_mb=[1024, 2048],
    lambda_memory_mb=[512, 1769],
    instance_types=["ml.c5.large"],
    max_sizes=[1, 2, 8, 16],
    deployments=[Local(hourly_price=0.1)],
    cold_start=0.2,
    unseen_draws=0,
)
TRACES = {
    "even": wb.constant(rate=20, duration=60),
    "random": wb.poisson(rate=50, duration=60, seed=1),
    "bursty": wb.bursty(rate=30, burst=8, dwell=(8, 2), duration=120, seed=2),
    "rare": wb.poisson(rate=0.01, duration=40_000, seed=3),
}
TIMES = {
    "quick": ServiceTimes.affine(0.0001, 0.00002, largest=32),
    "slow": ServiceTimes.affine(0.03, 0.004, largest=32),
    "drawn": ServiceTimes({size: [0.001, 0.002 * size, 0.02 * size] for size in range(1, 33)}),
}


@pytest.mark.parametrize("traffic", TRACES)
@pytest.mark.parametrize("name", TIMES)
def test_no_candidate_of_a_plan_is_below_the_floors(traffic, name):
    trace, times, slo = TRACES[traffic], TIMES[name], wb.SLO(latency=0.3)
    floors = find_floors([times], trace, slo, OPTIONS)
    found = plan(times, trace, slo, OPTIONS)
    for candidate in found.finalists:
        column = OPTIONS.kinds.index(candidate.deployment.kind)
        assert candidate.latency >= floors.latency[0, column]
        if candidate.attainment > 0.9:  # what refuses requests is billed for the others alone
            assert candidate.cost_per_million >= floors.cost[0, column]


def test_several_rows_a_request_raise_the_floors():
    trace, slo = TRACES["random"], wb.SLO(latency=0.3)
    many = wb.Trace(trace.arrivals, trace.duration, rows=4)
    one, four = (find_floors([TIMES["slow"]], each, slo, OPTIONS) for each in (trace, many))

    assert (four.latency > one.latency).all()
    found = plan(TIMES["slow"], many, slo, replace(OPTIONS, kinds=["lambda"], max_sizes=[1, 2, 8]))
    column = OPTIONS.kinds.index("lambda")
    assert found.best.cost_per_million >= four.cost[0, column]


def test_the_floor_of_a_call_without_neighbours_is_its_price():
    """Requests further apart than the target: no batch holds two, and the floor is exact."""
    trace, slo = wb.constant(rate=1, duration=60), wb.SLO(latency=0.3)
    options = replace(OPTIONS, kinds=["lambda"], deployments=[])
    floor = find_floors([TIMES["slow"]], trace, slo, options).cost[0, 0]
    found = plan(TIMES["slow"], trace, slo, options)

    assert floor == pytest.approx(0.95 * found.best.cost_per_million, rel=0.04)  # whole ms


def test_every_model_has_a_row_and_none_depends_on_another():
    trace, slo = TRACES["bursty"], wb.SLO(latency=0.3)
    together = find_floors(list(TIMES.values()), trace, slo, OPTIONS)
    for row, times in enumerate(TIMES.values()):
        alone = find_floors([times], trace, slo, OPTIONS)
        assert np.array_equal(alone.cost[0], together.cost[row])
        assert np.array_equal(alone.latency[0], together.latency[row])
