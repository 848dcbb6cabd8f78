"""The one verdict on a target, which says no more than the requests can."""

import math

import numpy as np
import pytest

from workbench.queueing.queues import mm1
from workbench.run import SLO, Run
from workbench.run.verdict import judge, judge_share

TARGET = SLO(latency=0.1)


def run_of(latencies, *, gap=1.0, **facts):
    scheduled = gap * np.arange(len(latencies))
    return Run.from_arrays(
        scheduled=scheduled,
        finished=scheduled + latencies,
        facts={"slo": TARGET.__dict__, **facts},
    )


def mixed(count, late, seed=1):
    """Latencies of which a share is late, in random order."""
    rng = np.random.default_rng(seed)
    return np.where(rng.permutation(count) < late * count, 0.2, 0.02)


@pytest.mark.parametrize(
    ("late", "word"), [(0.0, "met"), (0.02, "met"), (0.049, "cannot tell"), (0.1, "missed")]
)
def test_met_and_missed_are_said_where_the_share_is_surely_on_that_side(late, word):
    assert run_of(mixed(2000, late)).verdict.word == word


def test_few_requests_cannot_tell_and_say_how_many_could():
    verdict = run_of(mixed(100, 0.0)).verdict

    assert (verdict.word, verdict.needed) == ("cannot tell", 200)


def test_so_many_requests_as_are_said_to_be_needed_tell_it():
    near = run_of(mixed(2000, 0.044)).verdict

    assert near.word == "cannot tell"
    assert run_of(mixed(2 * near.needed, 0.044)).verdict.word == "met"


def cold_where_late(late):
    at = np.arange(len(late))
    facts = {"slo": TARGET.__dict__}
    return Run.from_arrays(scheduled=at, finished=at + late, cold=late > 0.1, facts=facts)


def test_where_cold_starts_leave_it_open_no_number_of_requests_is_promised():
    """They may be of the beginning alone, and so the interval is as wide however long the run."""
    late = np.r_[mixed(2000, 0.9), mixed(2000, 0.0)]
    run = cold_where_late(late)

    assert (run.verdict.word, run.verdict.needed) == ("cannot tell", None)
    assert "Cold starts" in run.verdict.reason
    assert run_of(late).verdict.word == "missed"


def test_cold_starts_that_go_on_to_the_end_are_no_excuse():
    assert cold_where_late(mixed(4000, 0.1)).verdict.word == "missed"


def test_few_requests_that_are_all_late_miss_the_target():
    assert run_of(np.full(20, 0.2)).verdict.word == "missed"
    assert run_of(np.full(5, 0.2)).verdict.word == "cannot tell"


def test_an_overload_that_has_no_interval_is_missed():
    backlog = np.maximum(0.02 * np.arange(2000), 0.02)

    assert run_of(backlog, gap=0.001).verdict.word == "missed"


def test_failures_are_late():
    assert run_of(np.where(mixed(2000, 0.1) > 0.1, math.nan, 0.02)).verdict.word == "missed"


@pytest.mark.parametrize(
    ("facts", "reason"),
    [({"valid": False}, "load was off schedule"), ({"complete": False}, "stopped early")],
)
def test_what_cannot_be_relied_on_is_invalid_and_never_met(facts, reason):
    verdict = run_of(mixed(2000, 0.0), **facts).verdict

    assert (verdict.word, str(verdict)) == ("invalid", f"invalid: {reason}")


def test_without_a_target_there_is_no_verdict_until_one_is_given():
    run = Run.from_arrays(scheduled=np.arange(400.0), finished=np.arange(400.0) + 0.05)

    assert run.verdict is None
    assert judge(run, TARGET).word == "met"
    assert judge(run, SLO(latency=0.01)).word == "missed"


def test_a_formula_tells_without_requests_and_a_doubtful_one_does_not():
    sure = mm1(rate=5, service=0.01)

    assert [judge(sure, SLO(latency=limit)).word for limit in (0.1, 0.01)] == ["met", "missed"]
    assert sure.verdict is None
    doubtful = type(sure)(**{**vars(sure), "warnings": ("It misses bursts.",)})
    assert judge(doubtful, TARGET).word == "cannot tell"


def test_a_share_of_so_many_requests_is_judged_as_a_run_of_independent_ones():
    for late in (0.0, 0.02, 0.049, 0.1):
        run = run_of(mixed(2000, late))
        assert judge_share(run.attainment(), len(run), 0.95).word == run.verdict.word
    assert judge_share(0.95, 2000, 0.95).needed is None
    assert judge_share(0.0, 0, 0.95).needed == 200
    assert judge_share(1.0, 1000, 0.99).word == "met"
