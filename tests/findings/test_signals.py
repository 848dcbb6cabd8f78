"""What a cloud tells of an endpoint, in sentences: their numbers are those of frames and runs."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from tests.refused import refused
from workbench import findings
from workbench.cloud.monitor import BurnRate
from workbench.errors import InvalidInput
from workbench.measuring.outcomes import Accuracy
from workbench.plots import plot_input_drift
from workbench.quantiles import SLO
from workbench.run import Run
from workbench.run.drift import input_drift

NOON = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC)
BURN = BurnRate(slo=SLO(latency=0.1, quantile=0.95), rate=2)


def run(*latencies, right=1.0):
    due = np.arange(len(latencies), dtype=float)
    correct = np.where(np.arange(len(due)) < right * len(due), 1.0, 0.0)
    return Run.from_arrays(scheduled=due, finished=due + np.array(latencies), correct=correct)


def metrics(calls, inside=0.01):
    rows = [(NOON, "Invocations", "Sum", calls), (NOON, "ModelLatency", "p50", inside)]
    return pl.DataFrame(rows, schema=["time", "metric", "statistic", "value"], orient="row")


@pytest.mark.parametrize(
    ("calls", "inside", "holds"), [(3.0, 0.01, True), (2.0, 0.01, False), (3.0, 0.03, False)]
)
def test_metrics_agree_where_all_calls_are_counted_and_clients_wait_longer(calls, inside, holds):
    found = findings.compare_metrics(metrics(calls, inside), run(0.02, 0.02, 0.02))

    assert found.holds is holds
    assert f"counted {calls:.0f} calls, the client sent 3" in str(found)


def test_no_metrics_are_no_agreement():
    assert findings.compare_metrics(metrics(3.0).clear(), run(0.02)).holds is False


TRAIL = pl.DataFrame(
    {
        "time": [NOON, NOON],
        "event": ["DescribeEndpoint", "CreateEndpoint"],
        "user": ["ada", "ben"],
        "error": ["AccessDenied", None],
        "resources": [["mine"], ["mine"]],
    }
)
EVENTS = pl.DataFrame({"time": [NOON], "detail": ['{"EndpointName": "mine"}']})


@pytest.mark.parametrize(("endpoint", "holds", "calls"), [("mine", True, 2), ("other", False, 0)])
def test_the_trail_is_that_of_the_endpoint(endpoint, holds, calls):
    found = findings.trace_changes(TRAIL, EVENTS, endpoint)

    assert found.holds is holds
    assert f"{calls} calls" in str(found)
    assert ("by ada, ben, 1 of them refused" in str(found)) is holds


@pytest.mark.parametrize(("late", "holds", "times"), [(3, True, "3"), (2, False, "2")])
def test_the_allowance_burns_by_the_share_that_is_late(late, holds, times):
    found = findings.measure_burn(run(*[0.2] * late, *[0.1] * (20 - late)), BURN)

    assert found.holds is holds
    assert f"goes {times} times" in str(found)


@pytest.mark.parametrize(("state", "holds"), [("ALARM", True), ("OK", None)])
def test_an_alarm_is_judged_by_its_state(state, holds):
    alarm = {"time": [NOON], "name": ["a"], "state": [state], "reason": ["It was crossed."]}
    found = findings.judge_alarm(pl.DataFrame(alarm), NOON.timestamp() - 42)

    assert found.holds is holds
    assert ("went off 42 s after" in str(found)) is bool(holds)


RNG = np.random.default_rng(1)
KNOWN = RNG.normal(size=(1000, 2))
MOVED = KNOWN + np.array([0, 3])


@pytest.mark.parametrize(
    ("came", "right", "holds"), [(MOVED, 0.5, True), (KNOWN, 0.5, False), (MOVED, 1.0, None)]
)
def test_a_silent_fault_costs_right_answers_and_shows_in_inputs(came, right, holds):
    drift = input_drift(KNOWN, came)
    found = findings.find_silent_fault(drift, run(*[0.1] * 20), run(*[0.1] * 20, right=right))

    assert found.holds is holds
    assert ("Only if" in found.title) is bool(holds)
    assert f"{int(came is MOVED)} of 2 inputs drifted" in str(found)


def test_a_fault_that_fails_calls_is_noticed_without_the_inputs():
    failed = Run.from_arrays(
        scheduled=[0, 1], finished=[1, np.nan], error=[None, "x"], correct=[0.0, np.nan]
    )
    found = findings.find_silent_fault(input_drift(KNOWN, MOVED), run(0.1), failed)
    assert (found.holds, found.only_if) == (True, "")


def test_right_answers_must_be_known():
    unknown = Run.from_arrays(scheduled=[0], finished=[1])
    with refused(InvalidInput, "unknown"):
        findings.find_silent_fault(input_drift(KNOWN, MOVED), unknown, unknown)


@pytest.mark.parametrize(("again", "holds"), [(95, True), (62, False)])
def test_a_retraining_makes_up_for_a_drift_where_intervals_are_apart(again, holds):
    counts = {"before": 96, "drifted": 60, "retrained": again}
    found = findings.weigh_retraining({name: Accuracy.of(n, 100) for name, n in counts.items()})

    assert found.holds is holds
    assert f"retrained: {again} %" in str(found)
    with refused(InvalidInput, "[]"):
        findings.weigh_retraining({})


def test_the_farthest_inputs_are_drawn_first():
    figure = plot_input_drift(input_drift(KNOWN, MOVED), most=1)

    assert figure.data["input"].to_list() == ["input 1"]
    assert figure.description.startswith("1 of 2 inputs drifted. The farthest is input 1")
    assert "<svg" in figure.svg()
    with refused(InvalidInput, "workbench.input_drift"):
        plot_input_drift(metrics(1.0))
