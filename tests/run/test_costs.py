import json
import math

import numpy as np
import polars as pl
import pytest

from tests.refused import refused, unnamed
from workbench.deployment import Async, BatchTransform, Lambda, Local, RealTime, Serverless
from workbench.errors import InvalidInput
from workbench.pricing.usage import Usage
from workbench.run import Run
from workbench.run.costs import cost

GB = 1024**3
SERVERLESS_TOLD = Serverless(memory_mb=2048, max_concurrency=5, provisioned=1)


def dollars(items):
    return {item.what: item.dollars for item in items}


def run_on(deployment, *, started, finished, origin="simulated", init=None, facts=None, **columns):
    facts = {"deployment": deployment.to_dict(), **(facts or {})}
    run = Run.from_arrays(
        scheduled=np.zeros(len(finished)),
        started=started,
        finished=finished,
        origin=origin,
        facts=facts,
        **columns,
    )
    return run if init is None else Run(run.frame.with_columns(init=pl.Series(init)), run.record)


def test_local_is_billed_from_zero_to_the_last_finish():
    run = run_on(Local(hourly_price=3.6), started=[0, 1, 2], finished=[1, np.nan, 50.0])
    bill = cost(run)
    assert bill.total == pytest.approx(0.05)  # 50 s of 3.6 $/h
    assert bill.per_million == pytest.approx(25_000)  # two answered
    assert math.isnan(bill.per_month)  # nobody knows how long the trace was
    assert bill.to_dict()["per_month"] is None
    assert bill.origin == "simulated"
    assert bill.mark == "user"
    assert bill.notes == ()


def test_a_month_has_its_hours_at_the_hourly_price_whatever_a_run_took_beyond_its_trace():
    trace = {"name": "t", "duration": 20.0}
    facts = {"trace": trace, "instances": [(-120.0, 30.0), (-110.0, 30.0)]}
    here = run_on(Local(hourly_price=0.1), started=[0], finished=[25.0], facts={"trace": trace})
    fleet = RealTime("ml.m5.large", count=2)
    there = run_on(fleet, started=[0], finished=[25.0], facts=facts)
    hour = fleet.bill(Usage(instance_seconds=7200))[0].dollars

    assert cost(here).per_month == pytest.approx(0.1 * 730)
    assert cost(there).per_month == pytest.approx(730 * hour)


def test_a_month_of_calls_and_of_jobs_repeats_what_the_trace_took():
    trace = {"trace": {"name": "t", "duration": 20.0}}
    calls = cost(run_on(Lambda(1024, max_concurrency=2), started=[0], finished=[1], facts=trace))
    jobs = {**trace, "instances": [(20.0, 80.0)]}
    job = cost(run_on(BatchTransform("ml.m5.large"), started=[20], finished=[70], facts=jobs))

    for bill in (calls, job):
        assert bill.per_month == pytest.approx(bill.total * 730 * 3600 / 20)


def test_a_month_of_a_scaled_fleet_counts_the_instances_that_there_were():
    facts = {"trace": {"name": "t", "duration": 20.0}, "scaling": {"kind": "none"}}
    facts["instances"] = [(0.0, 20.0), (10.0, 20.0)]
    bill = cost(run_on(RealTime("ml.m5.large"), started=[0], finished=[1], facts=facts))

    assert bill.per_month == pytest.approx(bill.total * 730 * 3600 / 20)


def test_a_machine_without_a_price_is_noted_to_count_as_free():
    bill = cost(run_on(Local(), started=[0], finished=[1]))
    assert bill.total == 0
    (note,) = bill.notes
    assert not unnamed(note, "free", "Local(hourly_price=...)")


def test_a_run_without_an_answer_has_no_cost_per_million():
    run = run_on(Local(hourly_price=1), started=[0], finished=[np.nan], error=["gone"])
    bill = cost(run)
    assert bill.total == 0
    assert math.isnan(bill.per_million)
    assert bill.to_dict()["per_million"] is None
    assert repr(bill) == "<Cost $0.00, no request answered, simulated>"


def test_a_batch_is_one_call_however_many_requests_it_holds():
    function = Lambda(memory_mb=1024, max_concurrency=2)
    run = run_on(
        function,
        started=[1.0, 1.0, 1.0, 2.0],
        finished=[1.0102, 1.0102, 1.0102, 2.5],
        batch=[0, 0, 0, 1],
        batch_size=[3, 3, 3, 1],
    )
    bill = cost(run)
    # 11 ms + 500 ms with 1 GB, 2 requests
    expected = {"lambda duration x86_64": 0.511 * 0.0000166667, "lambda requests": 2 * 2e-7}
    assert dollars(bill.items) == pytest.approx(expected)
    assert bill.per_million == pytest.approx(bill.total / 4 * 1e6)


def cold_run(deployment):
    return run_on(
        deployment,
        started=[0.0, 5.0],
        finished=[3.1, 5.1],
        cold=[True, False],
        init=[3.0, None],
    )


def test_lambda_bills_the_start_of_a_cold_instance():
    bill = cost(cold_run(Lambda(memory_mb=1024, max_concurrency=2)))
    assert bill.items[0].quantity == pytest.approx(3.2)


def test_serverless_bills_the_start_of_a_cold_instance_only_when_told():
    run = cold_run(Serverless(memory_mb=1024, max_concurrency=2))
    assert cost(run).items[0].quantity == pytest.approx(0.2)
    assert cost(run, bill_cold_start=True).items[0].quantity == pytest.approx(3.2)


def test_what_the_endpoint_says_the_model_took_is_billed_instead_of_what_the_client_saw():
    run = run_on(SERVERLESS_TOLD, started=[0, 1], finished=[1.5, 1.1], origin="measured: AWS")
    told = pl.Series("model_latency", [0.4, 0.05]), pl.Series("init", [1.0, 0.0])
    run = Run(run.frame.with_columns(*told), run.record)

    bill = cost(run)

    assert bill.items[0].quantity == pytest.approx(0.45)
    assert "endpoint" in bill.notes[0]
    assert any("Which calls provisioned instances took" in note for note in bill.notes)
    assert cost(run, bill_cold_start=True).items[0].quantity == pytest.approx(1.45)


def test_a_start_longer_than_its_call_is_refused():
    function = Lambda(memory_mb=128, max_concurrency=1)
    run = run_on(function, started=[3.0], finished=[3.5], cold=[True], init=[3.0])
    with refused(InvalidInput, "init", "2.5 s"):
        cost(run)


@pytest.mark.parametrize("error", ["ThrottlingException: slow", "TooManyRequestsException", None])
def test_a_throttled_call_is_free(error):
    run = run_on(
        Lambda(memory_mb=1024, max_concurrency=1),
        started=[0, 0],
        finished=[1, np.nan if error else 1],
        error=[None, error],
    )
    quantities = {item.what: item.quantity for item in cost(run).items}
    calls = 1 if error else 2
    assert quantities == {"lambda duration x86_64": calls, "lambda requests": calls}


def test_a_failed_call_is_billed_its_request_and_the_lack_of_its_time_is_noted():
    run = run_on(
        Lambda(memory_mb=1024, max_concurrency=1),
        started=[0, 0],
        finished=[1, np.nan],
        error=[None, "ModelError: no"],
    )
    bill = cost(run)
    assert {item.what: item.quantity for item in bill.items}["lambda requests"] == 2
    (note,) = bill.notes
    assert not unnamed(note, "1 failed calls")


@pytest.mark.parametrize("kind", [Serverless, Lambda])
def test_provisioned_instances_pay_for_being_kept_and_less_for_their_calls(kind):
    run = run_on(
        kind(memory_mb=2048, max_concurrency=3, provisioned=2),
        started=[0.0, 0.0, 0.0],
        finished=[1.0, 2.0, 10.0],
        server=[0, 1, 2],
    )
    bill = cost(run)
    # 2 instances kept 10 s; 1 s + 2 s on them; 10 s on demand (Lambda counts GB-s: times 2)
    gb = 1 if kind is Serverless else 2
    quantities = [item.quantity / gb for item in bill.items if "requests" not in item.what]
    assert quantities == [10, 20, 3]
    assert any("AWS rounds Lambda's up to 5 minutes" in note for note in bill.notes)


def test_measured_calls_are_noted_to_include_the_network():
    function = Lambda(memory_mb=128, max_concurrency=1)
    run = run_on(function, started=[0], finished=[1], origin="measured: AWS")
    assert any("network" in note for note in cost(run).notes)


def test_instances_are_billed_from_launch_to_stop():
    endpoint = RealTime(instance_type="ml.m5.large", count=2)
    run = run_on(
        endpoint,
        started=[0],
        finished=[100],
        facts={"instances": [[-180, 100], [-180, 100], [30, 90.5]]},
    )
    bill = cost(run, bytes_in=GB, bytes_out=GB)
    seconds = 280 + 280 + 61
    expected = {
        "ml.m5.large": seconds / 3600 * 0.115,
        "endpoint data in": 0.016,
        "endpoint data out": 0.016,
    }
    assert dollars(bill.items) == pytest.approx(expected)
    assert bill.notes == ()


def test_instances_without_a_record_are_billed_without_boot_and_it_is_noted():
    run = run_on(RealTime(instance_type="ml.m5.large", count=2), started=[0], finished=[3599.5])
    bill = cost(run)
    assert bill.total == pytest.approx(2 * 0.115)
    assert not unnamed(bill.notes[0], "not recorded", 2)
    assert not unnamed(" ".join(bill.notes[1:]), "data in", "data out")


def test_async_bills_s3_and_sns_for_each_call():
    run = run_on(
        Async(instance_type="ml.m5.large"),
        started=[0, 0, 1],
        finished=[1, 1, 3600],
        batch=[0, 0, 1],
        batch_size=[2, 2, 1],
    )
    quantities = {item.what: item.quantity for item in cost(run).items}
    assert quantities == {"ml.m5.large": 1, "s3 put": 4, "s3 get": 4, "sns publish": 2}


def test_batch_transform_bills_instances_while_a_job_runs():
    # two jobs of 60 s and 30 s on two instances: 180 s
    run = run_on(
        BatchTransform(instance_type="ml.c5.xlarge", count=2, period=100),
        started=[100, 100, 200],
        finished=[160, 160, 230],
        batch=[0, 0, 1],
        batch_size=[2, 2, 1],
    )
    bill = cost(run)
    assert bill.total == pytest.approx(180 / 3600 * 0.204)
    assert not unnamed(bill.notes[0], 2, "job")


def test_a_run_that_does_not_say_how_it_was_deployed_is_refused():
    run = Run.from_arrays(scheduled=[0], finished=[1], origin="simulated")
    with refused(InvalidInput, "run.amend(deployment=...)"):
        cost(run)


def test_what_is_no_run_or_no_sheet_has_no_cost():
    with refused(InvalidInput, "run", 5):
        cost(5)
    with refused(InvalidInput, "prices", "us-east-1"):
        cost(Run.from_arrays(scheduled=[0], finished=[1]), prices="us-east-1")


def test_every_figure_is_in_the_frame_and_in_json():
    run = run_on(Async(instance_type="ml.m5.large"), started=[0], finished=[60])
    bill = cost(run)
    assert bill.frame["dollars"].sum() == pytest.approx(bill.total)
    assert bill.frame.columns[:3] == ["what", "quantity", "unit"]
    assert bill.frame.schema["date"] == pl.Date
    data = json.loads(json.dumps(bill.to_dict(), allow_nan=False))
    assert data["total"] == bill.total
    assert data["mark"] == "recalled"
    assert [item["what"] for item in data["items"]] == bill.frame["what"].to_list()
    assert data["items"][0]["date"] == "2026-05-08"
