"""Warm or cold: gaps, cold calls, and what keeping an instance costs."""

import datetime as dt
import json

import numpy as np
import pytest

import workbench as wb
from tests.hosted import called
from tests.refused import refused
from workbench.errors import CloudError, InvalidInput, NotFound
from workbench.idleness import idle_report
from workbench.traffic.trace import Trace

HOURLY = 0.115  # of ml.m5.large
FLEET = wb.RealTime(instance_type="ml.m5.large")
SERVERLESS = wb.Serverless(memory_mb=2048, max_concurrency=20)
FOUR = Trace([0.0, 100.0, 1000.0, 5000.0], 10_000.0)


def rows(report):
    return {row["choice"]: row for row in report.frame.rows(named=True)}


# ------------------------------------------------------------------ worked by hand


def test_a_call_is_cold_that_comes_later_than_the_keep_alive_after_the_one_before():
    report = idle_report(FOUR, FLEET, call_seconds=10, keep_alive=600)

    assert rows(report)["min = 0"]["cold_share"] == 3 / 4  # 0, 1000 and 5000
    found = dict(report.keep_alives.select("keep_alive", "cold").iter_rows())
    assert found == {60: 4, 120: 3, 300: 3, 600: 3, 900: 2, 1800: 2, 3600: 2}
    assert report.gaps.filter(quantile=1.0)["gap"].item() == 4000


def test_an_instance_is_paid_while_it_is_up_and_all_the_month_if_it_is_kept():
    found = rows(idle_report(FOUR, FLEET, call_seconds=10, keep_alive=600))

    up = 100 + 610 + 610 + 610
    assert found["min = 0"]["dollars_per_month"] == pytest.approx(HOURLY * 730 * up / 10_000)
    assert found["min = 1"]["dollars_per_month"] == pytest.approx(HOURLY * 730)
    assert found["min = 1"]["cold_share"] == 0


def test_a_schedule_pays_its_hours_and_what_comes_outside_them():
    trace = Trace([0.5 * 3600, 9 * 3600.0, 20 * 3600.0, 20 * 3600.0 + 60], 86_400.0)
    found = rows(idle_report(trace, FLEET, call_seconds=10, keep_alive=590, hours=(8, 18)))

    row = found["min = 1 from 8 to 18 h"]
    outside = (600 + 60 + 600) / 86_400
    assert row["dollars_per_month"] == pytest.approx(HOURLY * 730 * (10 / 24 + outside))
    assert row["cold_share"] == 2 / 4
    begun_later = rows(idle_report(trace, FLEET, begins=8, hours=(8, 9)))
    assert begun_later["min = 1 from 8 to 9 h"]["cold_share"] == 2 / 4


def test_the_hours_of_most_requests_are_found_across_midnight():
    at = np.sort(np.concatenate([np.arange(22.1, 24, 0.1), np.arange(0, 2, 0.1), [12.0]])) * 3600
    report = idle_report(Trace(at, 86_400.0), SERVERLESS)

    assert report.hours == (22, 2)
    assert idle_report(FOUR, SERVERLESS).hours is None  # less than a day


def test_functions_that_run_at_the_same_time_are_cold_each():
    together = Trace([0.0, 0.0, 0.0, 5000.0], 86_400.0)
    found = rows(idle_report(together, SERVERLESS, call_seconds=1))

    assert found["min = 0"]["cold_share"] == 1
    assert found["min = 1"]["cold_share"] == 2 / 4


def test_functions_cost_their_calls_and_what_is_kept():
    trace = wb.constant(rate=1 / 60, duration=86_400)
    found = rows(idle_report(trace, SERVERLESS, call_seconds=2))

    calls = len(trace) * 2 * 730 / 24
    assert found["min = 0"]["dollars_per_month"] == pytest.approx(calls * 0.00004)
    kept = 730 * 3600 * 0.00001 + calls * 0.0000233
    assert found["min = 1"]["dollars_per_month"] == pytest.approx(kept)


@pytest.mark.parametrize("deployment", [SERVERLESS, FLEET])
def test_what_calls_carry_is_billed_alike_whatever_is_kept(deployment):
    data = {"row_bytes": 1024**2, "answer_bytes": 1024**2}
    bare, full = (idle_report(FOUR, deployment, **more) for more in ({}, data))

    gigabytes = 4 * 2 / 1024 * 730 * 3600 / 10_000
    for name, row in rows(full).items():
        more = row["dollars_per_month"] - rows(bare)[name]["dollars_per_month"]
        assert more == pytest.approx(gigabytes * 0.016)
    assert "data in is not billed" in str(bare)
    assert "not billed" not in str(full)


def test_what_a_trace_says_of_its_bytes_counts():
    told = Trace(FOUR.arrivals, FOUR.duration, bytes=1024**2)
    given = [
        idle_report(told, SERVERLESS, answer_bytes=0),
        idle_report(FOUR, SERVERLESS, row_bytes=1024**2, answer_bytes=0),
    ]

    assert given[0].frame.equals(given[1].frame)
    assert "not billed" not in str(given[0])
    function = wb.Lambda(memory_mb=1769, max_concurrency=20)
    assert "not billed" not in str(idle_report(FOUR, function))  # which bills no data


def test_what_is_advised_is_the_cheapest_within_the_cold_calls_that_may_be():
    trace = wb.poisson(rate=1 / 600, duration=3 * 86_400, seed=1)
    share = rows(idle_report(trace, SERVERLESS))["min = 0"]["cold_share"]

    strict, lenient = (idle_report(trace, SERVERLESS, accept=a) for a in (0.01, share))
    assert strict.advice.startswith("Set min = 1: $26.2")
    assert lenient.advice.startswith(f"Set min = 0: $0.018 a month, and {100 * share:.3g} % of")
    assert "min = 1 is $26.2" in lenient.advice
    assert strict.frame["advised"].sum() == 1


def test_what_a_cold_call_avoided_costs_is_the_difference_over_the_cold_calls():
    row = rows(idle_report(FOUR, FLEET, call_seconds=10, cold_start=200))
    none, one = row["min = 0"], row["min = 1"]

    each = (one["dollars_per_month"] - none["dollars_per_month"]) / none["cold_per_month"]
    assert one["dollars_per_cold_call"] == pytest.approx(each)
    assert none["waiting_per_month"] == pytest.approx(200 * none["cold_per_month"])


def test_a_cold_call_that_is_avoided_for_less_has_no_price():
    at = np.arange(8 * 3600.0, 17 * 3600.0, 60.0)
    report = idle_report(Trace(at, 86_400.0), FLEET, hours=(8, 17))
    row = rows(report)["min = 1 from 8 to 17 h"]

    assert row["dollars_per_month"] < rows(report)["min = 0"]["dollars_per_month"]
    assert row["dollars_per_cold_call"] is None
    assert "-$" not in str(report)


def test_a_report_shows_itself():
    report = idle_report(FOUR, SERVERLESS)

    for shown in (str(report), report._repr_html_()):
        assert report.advice in shown.replace("&#x27;", "'")
        assert "10 min is inferred" in shown
    assert "inferred: AWS" not in str(idle_report(FOUR, SERVERLESS, keep_alive=60))
    assert "component" in str(idle_report(FOUR, FLEET))
    assert json.loads(json.dumps(report.to_dict()))["calls"] == 4


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"keep_alive": -1}, ["keep_alive", -1]),
        ({"call_seconds": -1}, ["call_seconds", -1]),
        ({"call_seconds": 0}, ["call_seconds", 0]),
        ({"accept": 2}, ["accept", 2]),
        ({"row_bytes": -1}, ["row_bytes", -1]),
        ({"hours": (3, 3)}, ["hours", "(3, 3)"]),
        ({"hours": (3, 25)}, ["hour", 25]),
        ({"hours": 3}, ["hours", 3]),
        ({"deployment": wb.BatchTransform(instance_type="ml.m5.large")}, ["batch transform"]),
        ({"deployment": "serverless"}, ["deployment", "serverless"]),
    ],
)
def test_a_question_without_sense_is_refused(more, named):
    with refused(InvalidInput, *named):
        idle_report(FOUR, **more)


def test_what_is_no_trace_needs_a_cloud():
    with refused(InvalidInput, "digits", "cloud="):
        idle_report("digits")


def test_a_price_that_is_missing_is_named():
    with refused(NotFound, "ml.x9.large"):
        _ = idle_report(FOUR, wb.RealTime(instance_type="ml.x9.large")).frame


# ------------------------------------------------------------------ an endpoint


@pytest.fixture(scope="module")
def hosted():
    with called(times=5) as hosted:
        yield hosted


def soon():
    return dt.datetime.now(dt.UTC) + dt.timedelta(minutes=30)


def test_the_calls_of_an_endpoint_are_those_that_cloudwatch_counted(hosted):
    prices = wb.PriceSheet.load().with_price("ml.c7g.large", 0.1, unit="hour")
    report = idle_report(hosted.name, cloud=hosted.cloud, prices=prices, clock=soon)

    assert report.requests == 5
    assert report.deployment == wb.RealTime(instance_type="ml.c7g.large")
    assert rows(report)["min = 1"]["dollars_per_month"] == pytest.approx(73)
    assert 0 < report.calls.call_seconds < 60
    assert "by the minute" in str(report)


def test_an_endpoint_that_nobody_called_is_to_be_deleted(hosted):
    name = hosted.endpoint(
        {
            "VariantName": "green",
            "ModelName": "good",
            "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 2},
        }
    )
    report = idle_report(name, cloud=hosted.cloud, clock=soon)

    assert report.advice.startswith(f"Nobody called {name} in ")
    assert "$26.28 a month" in report.advice
    hosted.invoke(name)
    assert idle_report(name, cloud=hosted.cloud, clock=soon).requests == 1  # of another variant


def test_an_endpoint_that_is_not_there_is_an_error(hosted):
    with refused(CloudError, "none-such"):
        idle_report("none-such", cloud=hosted.cloud)
