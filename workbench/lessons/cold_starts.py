"""The lesson on cold starts: calls that come so seldom that an idle instance may be gone."""

from functools import partial
from typing import Any

from workbench.batching.timer import BatchPolicy
from workbench.deployment.serverless import Serverless
from workbench.findings.lessons import compare_cold_counts, explain_tail
from workbench.findings.runs import count_cold_starts
from workbench.lessons.exercise import Exercise, LessonPlan
from workbench.lessons.student import Student
from workbench.quantiles import SLO
from workbench.run import Run
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.patterns import poisson
from workbench.traffic.trace import Trace

TOPIC = "cold-starts"
DAYS = 10  # of traffic: their mean is what is asked for
KEEP_ALIVE = 600.0
"""Seconds that an idle instance is kept: inferred, since AWS does not publish it."""

_GAPS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 60.0)  # minutes between calls
_CALL, _START = 0.05, 2.0  # seconds: a start is what a visitor would notice


def plan_cold_starts(student: Student) -> LessonPlan:
    """Return the lesson of a student, with calls that come every few minutes on average."""
    gap = student.pick(TOPIC, (4.0, 5.0, 6.0, 7.0, 8.0))
    seed = student.draw_seed(TOPIC)
    run_at = partial(_run, seed=seed)
    exercises = (
        Exercise(
            name="cold",
            title="Cold calls",
            ask="How many of 100 calls find no idle instance, so that one has to start?",
            unit="%",
            measure=lambda run: 100 * float(run.frame["cold"].to_numpy().mean()),
            conclude=lambda run: count_cold_starts(run, keep_alive=KEEP_ALIVE),
            **_over_gaps(gap, run_at),
        ),
        Exercise(
            name="p95",
            title="95th percentile of latency",
            ask="Within how many seconds are 95 of 100 calls answered?",
            unit="s",
            measure=lambda run: run.quantile(0.95),
            conclude=explain_tail,
            **_over_gaps(gap, run_at),
        ),
        Exercise(
            name="doubled",
            title="Cold starts with twice the calls",
            ask="Twice as many calls come. How many cold starts are there a day then?",
            unit="a day",
            measure=lambda run: float(run.frame["cold"].to_numpy().sum()) / DAYS,
            conclude=lambda run: compare_cold_counts(run_at(gap), run),
            **_over_gaps(gap / 2, run_at),
        ),
    )
    story = (
        f"A model on a serverless endpoint is called every {gap:g} minutes on average. A call "
        f"takes {_CALL * 1000:g} ms where an instance is idle, and {_START:g} s more where one "
        f"must start. An idle instance is kept for {KEEP_ALIVE / 60:g} minutes."
    )
    return LessonPlan("Cold starts: who waits, and who pays?", story, _calls(gap, seed), exercises)


def _over_gaps(gap: float, run_at: "partial[Run]") -> dict[str, Any]:
    return {
        "axis": "Mean time between calls (minutes)",
        "at": gap,
        "values": _GAPS,
        "simulate": run_at,
    }


def _calls(gap: float, seed: int) -> Trace:
    return poisson(rate=1 / (60 * gap), duration=86_400.0 * DAYS, seed=seed)


def _run(gap: float, seed: int) -> Run:
    endpoint = Serverless(memory_mb=2048, max_concurrency=20, keep_alive=KEEP_ALIVE)
    return simulate(
        _calls(gap, seed),
        BatchPolicy(),
        endpoint,
        ServiceTimes({1: _CALL}),
        cold_start=_START,
        slo=SLO(latency=1.0),
    )
