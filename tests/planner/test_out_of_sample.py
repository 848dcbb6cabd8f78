"""What is chosen on one draw is judged on others, and the figures stand beside its own."""

from dataclasses import replace

import numpy as np
import pytest

from tests.refused import refused, unnamed
from workbench.errors import InvalidInput
from workbench.formatting import duration
from workbench.planner import Options, plan
from workbench.planner.out_of_sample import OutOfSample, hold_out
from workbench.run import SLO
from workbench.service_times import ServiceTimes
from workbench.traffic.patterns import bursty, poisson
from workbench.traffic.trace import Trace

TIMES = ServiceTimes.affine(0.006, 0.004, largest=32)
TARGET = SLO(latency=0.1)
LAMBDA = Options(kinds=["lambda"], lambda_memory_mb=[1769], cold_start=0.3, unseen_draws=10)
ONE = replace(LAMBDA, max_sizes=[8], max_waits=[0.05])


def day(seed):
    return bursty(rate=60, burst=5, dwell=(20, 5), duration=120, seed=seed)


def test_the_attainment_out_of_sample_is_that_of_draws_that_no_choice_has_seen():
    found = plan(TIMES, day(1), TARGET, ONE)
    proof, task = found.best.out_of_sample, found.task

    unseen = [task.on_day(n).trace for n in range(10, 20)]
    tried = [task.on_day(n).trace for n in range(10)]
    assert not any(each in tried for each in [task.trace, *unseen])
    late = [
        replace(task, trace=each).serve(found.best.configuration).latencies > TARGET.latency
        for each in unseen
    ]
    assert proof.shares == tuple(1 - each.mean() for each in late)
    assert proof.requests == sum(map(len, unseen))
    assert proof.attainment == pytest.approx(1 - sum(map(sum, late)) / proof.requests)
    assert found.frame["out_of_sample"][0] == proof.attainment
    assert f"out of sample {proof.label}" in found.best.reason


def test_the_end_of_a_recorded_trace_is_held_out_and_judged_by_the_hour():
    """Requests come three times as fast there: what was chosen for the beginning fails."""
    calm, rush = (poisson(rate=rate, duration=7200, seed=1).arrivals for rate in (4, 12))
    recorded = Trace(np.concatenate([calm, 7200 + rush]), 14_400.0)
    one = replace(
        LAMBDA, kinds=["real-time"], instance_types=["ml.c5.large"], max_count=1, max_sizes=[1]
    )
    slow, slo = ServiceTimes({1: 0.17}), SLO(latency=0.5)

    found = plan(slow, recorded, slo, replace(one, held_out=0.5, unseen_draws=2))
    proof = found.best.out_of_sample

    assert found.task.trace == recorded.clip(0, 7200)
    assert found.feasible
    assert found.best.unseen.met == 2  # other days are made of what was seen
    assert len(proof.shares) == 2
    assert proof.requests == len(rush)
    assert (proof.met, proof.attainment < 0.5) == (0, True)
    assert any(found.task.holdout.label in note for note in found.notes)


def test_without_draws_and_hours_nothing_is_said_out_of_sample():
    found = plan(TIMES, day(1), TARGET, replace(ONE, unseen_draws=0))
    assert found.best.out_of_sample is None
    assert "out of sample" not in found.label
    assert found.frame["out_of_sample"].null_count() == found.frame.height


def test_what_misses_the_target_is_not_said_to_be_judged_out_of_sample():
    missed = plan(TIMES, day(1), SLO(latency=0.008), replace(ONE, unseen_draws=1))

    assert not missed.feasible
    assert not any("Out of sample" in note for note in missed.notes)
    assert any("Out of sample" in note for note in plan(TIMES, day(1), TARGET, ONE).notes)


def test_a_winner_near_the_target_says_that_it_is_within_its_uncertainty():
    policy = replace(ONE, max_waits=[0.079], headroom=0.0, unseen_draws=0)
    trace = poisson(rate=60, duration=60, seed=1)
    own = plan(TIMES, trace, SLO(latency=1), policy).best.latency

    near = plan(TIMES, trace, SLO(latency=own), policy).best
    far = plan(TIMES, trace, SLO(latency=1.5 * own), policy).best

    assert not unnamed(near.reason, "95 %", "uncertainty")
    assert "uncertainty" not in far.reason


def test_shares_of_draws_tell_the_worst_and_what_most_exceed():
    proof = OutOfSample(shares=(0.9, 1.0, 1.0, 1.0), requests=400, met=3, attainment=0.975)
    assert proof.worst == 0.9
    assert proof.low == pytest.approx(0.975 - 2 * np.std([0.9, 1, 1, 1]))
    assert proof.label == "97.5 % in time (90 % at worst)"


def test_hours_that_are_left_over_go_with_the_last():
    seen, held = hold_out(poisson(rate=1, duration=36_000, seed=1), 0.25)
    assert (seen.duration, held.trace.duration, held.part) == (27_000.0, 9000.0, 3600.0)
    assert held.label == f"the last {duration(9000)} of the trace, each {duration(3600)}"


@pytest.mark.parametrize("share", [1, -0.5, "half"])
def test_a_share_to_hold_out_that_is_none_is_refused(share):
    with refused(InvalidInput, "held_out", share):
        Options(held_out=share)


def test_near_misses_differ_in_more_than_their_batching():
    options = replace(LAMBDA, kinds=["lambda", "real-time"], lambda_memory_mb=[1024, 1769])
    found = plan(TIMES, day(1), TARGET, replace(options, unseen_draws=0))

    misses = found.near_misses
    assert len(found.finalists) > 2
    assert found.best.deployment.label not in misses["deployment"].to_list()
    assert misses["deployment"].n_unique() == misses.height
    types = misses.filter(kind="real-time")["deployment"].str.extract(r"(ml\.\S+)")
    assert types.n_unique() == len(types) >= 1
    assert "lambda 1024 MB" in misses["deployment"].to_list()
    assert set(misses["engine"]) <= {"simulator", "exact model"}
    text = found._repr_html_()
    assert all(name in text for name in misses["deployment"])
