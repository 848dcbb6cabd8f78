"""A plan keeps a distance from its target, and says so where it cannot."""

from dataclasses import replace

import pytest

from tests.refused import refused, unnamed
from workbench.errors import InvalidInput
from workbench.planner import Options, plan
from workbench.run import SLO
from workbench.service_times import ServiceTimes
from workbench.traffic.patterns import bursty

TIMES = ServiceTimes.affine(0.01, 0.005, largest=16)
TRAFFIC = bursty(rate=60, burst=4, dwell=(20, 10), duration=300, seed=1)
FUNCTIONS = Options(
    kinds=["lambda"], lambda_memory_mb=[1769], max_sizes=[1, 2, 4, 8], cold_start=0.0
)
FLEETS = Options(kinds=["real-time"], instance_types=["ml.c5.large"], max_sizes=[1, 2, 4, 8])


@pytest.mark.parametrize("options", [FUNCTIONS, FLEETS])
@pytest.mark.parametrize("headroom", [0.1, 0.3])
def test_a_winner_leaves_the_headroom_that_was_asked_for(options, headroom):
    """Without it, the cheapest plan uses the target up to its last per cent."""
    options, slo = replace(options, unseen_draws=0), SLO(latency=0.1)
    bare = plan(TIMES, TRAFFIC, slo, replace(options, headroom=0.0)).best
    found = plan(TIMES, TRAFFIC, slo, replace(options, headroom=headroom))

    assert found.feasible
    assert found.has_headroom
    assert found.best.latency <= (1 - headroom) * slo.latency + 1e-8
    assert bare.kind == "real-time" or bare.latency > 0.9 * slo.latency
    assert found.best.cost_per_million >= bare.cost_per_million


def test_ten_per_cent_are_kept_unless_something_else_is_asked_for():
    assert Options().headroom == 0.1


def test_where_nothing_leaves_so_much_the_plan_says_how_much_it_leaves():
    times = ServiceTimes({1: 0.095})
    found = plan(times, TRAFFIC, SLO(latency=0.1), replace(FUNCTIONS, max_sizes=[1]))

    assert found.feasible
    assert not found.has_headroom
    assert found.best.latency == pytest.approx(0.095)
    assert not unnamed(found.best.reason, "5 % headroom", "10 %")
    assert found.best.unseen.met == found.best.unseen.tried  # tried on other days all the same


def test_what_leaves_too_little_says_so_not_that_it_misses():
    found = plan(TIMES, TRAFFIC, SLO(latency=0.1), replace(FUNCTIONS, unseen_draws=0))
    between = found.frame.filter(
        found.frame["latency"].is_between(0.0901, 0.0999), found.frame["engine"] == "exact model"
    )

    assert between.height
    assert between["reason"].str.contains("less than 10 % below the target").all()
    above = found.frame.filter(found.frame["latency"] > 0.101)
    assert above["reason"].str.contains("above the target of 100 ms").all()


def test_a_budget_is_kept_to_the_cent_and_needs_no_headroom():
    spent = [
        plan(TIMES, TRAFFIC, SLO(latency=0.1), replace(FUNCTIONS, headroom=share), 0.4).best
        for share in (0.0, 0.5)
    ]
    assert spent[0] == spent[1]


@pytest.mark.parametrize("headroom", [-0.1, 1, True, "much"])
def test_a_headroom_that_is_no_share_is_refused(headroom):
    with refused(InvalidInput, "headroom", headroom):
        Options(headroom=headroom)
