"""The error of predictions and simulations beside what was measured, and what is kept of it."""

import json

import numpy as np
import pytest

from workbench.batching.timer import BatchPolicy
from workbench.comparison import compare
from workbench.deployment import Hybrid, Lambda, Local, RealTime, Serverless
from workbench.files import home
from workbench.measuring import error_history
from workbench.measuring.error_history import read_past_errors, record_errors
from workbench.prediction import predict
from workbench.report.runs import report_html
from workbench.run import SLO, Run, load_run
from workbench.run.past_errors import PastErrors
from workbench.run.record import describe_setup
from workbench.scaling.spot import SpotPool
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.map import poisson_process
from workbench.traffic.patterns import bursty, poisson
from workbench.traffic.trace import Trace
from workbench.widgets.run_panel import describe

TRACE = poisson(rate=40, duration=100, seed=1)
TIMES = ServiceTimes({1: 0.01})
LOCAL = Local(hourly_price=0.36)
SETUP = (TRACE, BatchPolicy(), LOCAL)
TARGET = SLO(latency=0.1)


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))


def measured(*, slower=1.25, trace=TRACE, **facts):
    """What would have been measured if service took longer: a simulation by another name."""
    times = ServiceTimes({1: 0.01 * slower})
    run = simulate(trace, BatchPolicy(), LOCAL, times)
    return run.amend(origin="measured: this machine", **facts)


def predicted(trace=TRACE):
    record = describe_setup(trace, BatchPolicy(), LOCAL, TARGET, label="M/G/1")
    setup = trace, BatchPolicy(), LOCAL, TIMES
    return predict(*setup, arrivals=poisson_process(40), record=record)


def test_each_way_has_its_error_against_the_measured_run():
    run = measured()
    frame = compare([predicted(), simulate(*SETUP, TIMES), run]).frame

    assert frame["against"].to_list() == [frame["run"][2], frame["run"][2], None]
    for way in (0, 1):
        row = frame.row(way, named=True)
        assert row["p95_error"] == pytest.approx(row["p95"] / run.quantile(0.95) - 1)
        assert row["p50_error"] < 0
        assert row["mean_batch_size_error"] == 0
        assert abs(row["per_million_error"]) < 0.1
        assert abs(row["throughput_error"]) < 0.1
    assert frame["p95_error"][2] is None


def test_errors_stand_in_every_form_of_a_comparison():
    results = [predicted(), simulate(*SETUP, TIMES), measured()]
    compared = compare(results)

    page = report_html(results)
    for shown in (str(compared), compared._repr_html_(), page):
        assert "error against" in shown
        assert "error of p95" in shown
        assert "error of cost" in shown or shown is page  # which has prices only where given
        assert "p95 errors before" in shown


@pytest.mark.parametrize(
    "other",
    [
        measured(trace=poisson(rate=40, duration=100, seed=2)),
        measured(deployment=Local(workers=2)),
        measured(policy={"kind": "work-conserving", "max_size": 8}),
        measured(scaling={"kind": "scale to zero"}),
    ],
    ids=["trace", "deployment", "policy", "scaling"],
)
def test_another_experiment_is_no_yardstick(other):
    frame = compare([simulate(*SETUP, TIMES), other]).frame

    assert frame["against"].to_list() == [None, None]
    assert read_past_errors("simulated").runs == 0


def test_a_hybrid_has_errors_too_unless_its_instances_are_spot():
    base, overflow = RealTime(instance_type="ml.m5.large"), Lambda.example()
    hybrid = Hybrid(base=base, overflow=overflow)
    spot = SpotPool(instance_type="ml.m5.large", hourly_price=0.05, priced_on="2026-11-29")
    runs = [
        simulate(TRACE, BatchPolicy(), hybrid, [TIMES] * 2, cold_start=0.0, spot=each)
        for each in (None, spot, None)
    ]
    runs[2] = runs[2].amend(origin="measured: this machine")

    frame = compare(runs).frame

    assert frame["p95_error"].to_list() == [0.0, None, None]


def test_of_several_measured_runs_the_same_experiment_counts():
    own = measured(label="own")
    unknown = Run(own.frame).amend(origin="measured: elsewhere", label="unknown")

    frame = compare([simulate(*SETUP, TIMES), own, unknown]).frame

    assert frame["against"][0] == frame["run"][1]


def test_a_comparison_is_remembered_once_for_each_run_and_way():
    runs = [measured(slower=slower) for slower in (1.25, 1.0, 0.8)]
    for run in [*runs, *runs]:
        compare([predicted(), simulate(*SETUP, TIMES), run])

    for way in ("predicted", "simulated"):
        past = read_past_errors(way)
        assert past.runs == 3
        assert past.low < -0.1
        assert past.high > 0.1
    (path,) = (home() / "profiles").glob("errors-*.json")
    assert json.loads(path.read_text())["format"] == error_history.FORMAT


def test_what_is_not_to_be_relied_on_or_unknown_is_not_remembered():
    simulated = simulate(*SETUP, TIMES)
    for run in (measured(valid=False), measured(complete=False), measured(trace=TRACE.clip(0, 1))):
        compare([simulated, run])
    failed = Run.from_arrays(
        scheduled=TRACE.arrivals, finished=np.full(len(TRACE), np.nan), origin="measured: here"
    )
    compare([simulated, failed])

    assert read_past_errors("simulated") == PastErrors(way="simulated")


def test_the_file_is_bounded_and_the_last_twenty_count():
    runs = [
        Run.from_arrays(scheduled=[0.0], finished=[1.0 + n], origin="measured: here")
        for n in range(error_history.KEPT + 10)
    ]
    for n, run in enumerate(runs):
        record_errors("simulated", run, {"p95": n / 1000})

    (path,) = (home() / "profiles").glob("errors-*.json")
    assert len(json.loads(path.read_text())["errors"]) == error_history.KEPT
    last = (len(runs) - 1) / 1000
    found = read_past_errors("simulated")
    assert (found.runs, found.low, found.high) == (20, pytest.approx(last - 0.019), last)


@pytest.mark.parametrize(
    "content", [b"", b"\x80", b"[]", b'{"format": 1}', b'{"format": 1, "errors": [{"way": 1}]}']
)
def test_a_damaged_file_is_begun_again(content):
    record_errors("simulated", measured(), {"p95": 0.1})
    (path,) = (home() / "profiles").glob("errors-*.json")
    path.write_bytes(content)

    assert read_past_errors("simulated").runs == 0
    record_errors("simulated", measured(), {"p95": 0.1})
    assert read_past_errors("simulated").runs == 1


def test_the_file_of_a_later_version_is_left_alone():
    record_errors("simulated", measured(), {"p95": 0.1})
    (path,) = (home() / "profiles").glob("errors-*.json")
    path.write_text('{"format": 99, "other": []}')

    record_errors("simulated", measured(), {"p95": 0.1})
    assert json.loads(path.read_text())["format"] == 99


def test_a_folder_that_cannot_be_written_costs_no_comparison(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "file"))

    assert compare([simulate(*SETUP, TIMES), measured()]).frame["p95_error"][0] < 0


def test_past_errors_are_said_where_a_result_is_shown(tmp_path):
    past = PastErrors(way="simulated", runs=12, low=-0.05, high=0.03)
    simulated = simulate(*SETUP, TIMES).amend(past_errors=past)
    said = "within -5 % to +3 % of the last 12 measured runs"

    assert said in repr(simulated)
    assert said in repr(load_run(simulated.save(tmp_path / "run")))
    assert said in describe(simulated)
    assert "-5 % to +3 % in 12 runs" in str(compare(simulated))
    none = simulated.amend(past_errors=PastErrors(way="simulated"))
    assert "never compared with a measured run" in repr(none)
    assert "none known yet" in str(compare(none))


def test_the_warning_of_a_fit_is_in_every_form_of_a_prediction():
    bursts = bursty(rate=40, burst=30, duration=60, seed=3).arrivals
    calm = poisson(rate=2, duration=3000, seed=1).arrivals + 60
    trace = Trace(np.concatenate([bursts, calm]), 3060.0)
    where = Serverless(memory_mb=1024, max_concurrency=50)
    found = predict(trace, BatchPolicy(max_size=4, max_wait=0.05), where,
                    ServiceTimes({n: 0.01 * n for n in range(1, 5)}))  # fmt: skip

    assert found.warnings
    compared = compare([found, simulate(*SETUP, TIMES)])
    forms = [repr(found), str(compared), compared._repr_html_(), describe(found)]
    forms += [compared.frame["fit_warnings"][0], " ".join(compared.warnings)]
    forms += [report_html([found, simulate(*SETUP, TIMES)]), str(found.summary())]
    for warning in found.warnings:
        assert all(warning in form for form in forms)


def test_a_prediction_without_a_warning_says_none():
    found = predicted()

    assert found.warnings == ()
    assert "WARNING" not in repr(found) + str(compare(found)) + " ".join(compare(found).warnings)
