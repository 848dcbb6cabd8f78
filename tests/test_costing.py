import datetime as dt
import json
import math
from typing import ClassVar

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.costing import (
    Cost,
    CostItem,
    Usage,
    async_cost,
    batch_transform_cost,
    bill,
    cost,
    instance_seconds,
    lambda_cost,
    lambda_provisioned_cost,
    local_cost,
    real_time_cost,
    round_up_ms,
    serverless_cost,
    serverless_provisioned_cost,
)
from workbench.deployment import (
    Async,
    BatchTransform,
    Deployment,
    Lambda,
    Local,
    RealTime,
    Serverless,
)
from workbench.errors import InvalidInput, NotFound
from workbench.prices import PriceSheet
from workbench.run import Run

GB = 1024**3
PRICES = PriceSheet.load()
SERVERLESS_TOLD = Serverless(memory_mb=2048, max_concurrency=5, provisioned=1)


def total(items):
    return math.fsum(item.dollars for item in items)


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
    return run if init is None else Run(run.frame.with_columns(init=pl.Series(init)), run.facts)


# AWS's worked examples: aws.amazon.com/lambda/pricing, us-east-1. They deduct a free tier of
# 400,000 GB-s and 1 M requests a month, which the quantities below have deducted by hand.


def test_lambda_example_mobile_backend():
    # 3 M calls x 120 ms x 1.5 GB = 540,000 GB-s, less 400,000: 140,000; requests 3 M - 1 M
    items = lambda_cost(1536, seconds=140_000 / 1.5, calls=2_000_000)
    assert [round(item.dollars, 2) for item in items] == [2.33, 0.40]
    assert round(total(items), 2) == 2.73


def test_lambda_example_streaming_telemetry():
    # 10,000 vehicles x 24 x 31 = 7.44 M calls of 2 s with 1 GB, no free tier
    items = lambda_cost(1024, seconds=7.44e6 * 2, calls=7_440_000)
    assert [round(item.dollars, 2) for item in items] == [248.00, 1.49]
    assert round(total(items), 2) == 249.49


def test_lambda_example_support_tickets():
    # 6 M x 280 ms x 4 GB = 6,720,000 GB-s, less 400,000; requests 6 M - 1 M; /tmp is apart
    items = lambda_cost(4096, seconds=6_320_000 / 4, calls=5_000_000)
    assert [round(item.dollars, 2) for item in items] == [105.33, 1.00]


def test_lambda_example_provisioned_mobile_launch():
    # 100 instances x 8 h; 500,000 calls x 100 ms on them; 2.5 M x 120 ms beside, less free tier
    warm = lambda_provisioned_cost(1536, enabled_seconds=100 * 8 * 3600, seconds=50_000)
    beside = lambda_cost(1536, seconds=50_000 / 1.5, calls=2_000_000)
    assert [round(item.dollars, 2) for item in warm] == [18.00, 0.73]
    assert [round(item.dollars, 2) for item in beside] == [0.83, 0.40]
    assert round(total([*warm, *beside]), 2) == 19.96


def test_lambda_example_provisioned_cyber_monday():
    # 7 instances x 24 h with 4 GB, 2 M calls x 280 ms on them, no free tier
    warm = lambda_provisioned_cost(4096, enabled_seconds=7 * 86_400, seconds=560_000)
    requests = lambda_cost(4096, seconds=0, calls=2_000_000)
    assert [round(item.dollars, 2) for item in warm] == [10.08, 21.78]
    assert round(total([*warm, *requests]), 2) == 32.26


# Infracost's golden file of SageMaker endpoint configurations: AWS's price list run through code.


@pytest.mark.parametrize(("kind", "month"), [("ml.m5.large", 83.95), ("ml.m5.xlarge", 167.90)])
def test_an_instance_for_a_month_costs_what_infracost_says(kind, month):
    assert round(total(real_time_cost(kind, instance_seconds=730 * 3600)), 2) == month


def test_serverless_costs_what_infracost_says():
    items = serverless_cost(2048, seconds=500_000, bytes_in=12 * GB, bytes_out=8 * GB)
    assert dollars(items) == pytest.approx(
        {"serverless 2048 MB": 20.00, "endpoint data in": 0.192, "endpoint data out": 0.128}
    )


def test_serverless_provisioned_concurrency_by_hand():
    # 100 instances x 5 days x 8 h = 14.4 M s x 0.00001 = 144; 10 M x 100 ms = 1 M s x 0.0000233
    items = serverless_provisioned_cost(2048, enabled_seconds=14.4e6, seconds=1e6)
    assert [item.dollars for item in items] == pytest.approx([144.0, 23.3])
    assert {item.mark for item in items} == {"inferred"}


def test_async_by_hand():
    # 2 h x 0.115 = 0.23; 15 GB x 0.02 = 0.30; a million calls: S3 2 x 5 + 2 x 0.4, SNS 0.50
    items = async_cost(
        "ml.m5.large", instance_seconds=7200, calls=10**6, bytes_in=10 * GB, bytes_out=5 * GB
    )
    expected = {
        "ml.m5.large": 0.23,
        "async data": 0.30,
        "s3 put": 10.0,
        "s3 get": 0.8,
        "sns publish": 0.5,
    }
    assert dollars(items) == pytest.approx(expected)
    assert [item.mark for item in items][:2] == ["inferred", "verified (weak)"]


def test_batch_transform_by_hand():
    # 3 instances x 20 min x 0.204 = 0.204
    (item,) = batch_transform_cost("ml.c5.xlarge", instance_seconds=3 * 1200)
    assert item.dollars == pytest.approx(0.204)
    assert item.mark == "inferred"


def test_a_price_of_the_user_stays_the_users_in_every_type():
    own = PRICES.with_price("ml.m5.large", 0.1)
    for function in (real_time_cost, async_cost, batch_transform_cost):
        (item,) = function("ml.m5.large", instance_seconds=3600, prices=own)
        assert (item.dollars, item.mark) == (0.1, "user")


def test_lambda_gets_cheaper_by_tier():
    # 6e9 x 0.0000166667 + 9e9 x 0.000015 + 5e9 x 0.0000133334
    items = lambda_cost(1024, seconds=20e9, calls=0)
    assert [item.quantity for item in items] == [6e9, 9e9, 5e9]
    assert total(items) == pytest.approx(100_000.2 + 135_000 + 66_667)


@given(st.floats(1, 2e10), st.floats(1, 2e10), st.sampled_from(["x86_64", "arm64"]))
def test_a_month_costs_the_same_in_one_piece_and_in_two(first, second, architecture):
    def price(seconds, used=0.0):
        return total(
            lambda_cost(
                1024, seconds=seconds, calls=0, architecture=architecture, used_gb_seconds=used
            )
        )

    assert price(first) + price(second, used=first) == pytest.approx(price(first + second))


def test_arm_costs_less():
    arm = lambda_cost(1024, seconds=1e6, calls=0, architecture="arm64")
    assert total(arm) == pytest.approx(13.3334)
    warm = lambda_provisioned_cost(1024, enabled_seconds=1e6, seconds=1e6, architecture="arm64")
    assert total(warm) == pytest.approx(3.3334 + 7.7778)


def test_nothing_used_costs_nothing_and_needs_no_price():
    assert lambda_cost(128, seconds=0, calls=0) == ()
    assert real_time_cost("ml.unheard.of", instance_seconds=0) == ()
    assert total(local_cost(0, hourly_price=1)) == 0


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_a_billed_quantity_is_finite_and_not_negative(seconds):
    for items in (
        lambda: local_cost(seconds, hourly_price=1),
        lambda: lambda_cost(128, seconds=seconds, calls=0),
        lambda: serverless_cost(1024, seconds=seconds),
    ):
        with pytest.raises(InvalidInput, match=r"must be a finite number of .*s, 0 or more, got"):
            items()


def test_a_price_the_sheet_lacks_is_named():
    sheet = PriceSheet.load("eu-central-1")
    with pytest.raises(NotFound, match="No price of 'serverless 2048 MB' in eu-central-1"):
        serverless_cost(2048, seconds=1, prices=sheet)


# Rounding


@given(st.integers(0, 900_000), st.floats(0, 1e6))
def test_whole_milliseconds_are_billed_as_they_are_whenever_they_begin(ms, start):
    assert round_up_ms([start + ms / 1000 - start])[0] == ms


@given(st.floats(0, 900))
def test_a_begun_millisecond_is_billed_whole(seconds):
    (ms,) = round_up_ms([seconds])
    assert -1e-5 <= ms - 1000 * seconds < 1


def test_instances_are_billed_by_the_second_boot_included():
    assert instance_seconds([(-120.0, 60.0)]) == 180
    assert instance_seconds([(0.0, 0.1), (5.0, 10.000000001)]) == 1 + 5
    assert instance_seconds([]) == 0


# Runs


def test_local_is_billed_from_zero_to_the_last_finish():
    run = run_on(Local(hourly_price=3.6), started=[0, 1, 2], finished=[1, np.nan, 50.0])
    bill = cost(run)
    assert bill.total == pytest.approx(0.05)  # 50 s of 3.6 $/h
    assert bill.per_million == pytest.approx(25_000)  # two answered
    assert bill.per_month(25) == pytest.approx(0.05 * 730 * 3600 / 25)
    assert bill.origin == "simulated"
    assert bill.mark == "user"
    assert bill.notes == ()


def test_a_machine_without_a_price_is_noted_to_count_as_free():
    bill = cost(run_on(Local(), started=[0], finished=[1]))
    assert bill.total == 0
    assert bill.notes == (
        "This machine counts as free: give its price as Local(hourly_price=...).",
    )


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
    run = Run(run.frame.with_columns(*told), run.facts)

    bill = cost(run)

    assert bill.items[0].quantity == pytest.approx(0.45)
    assert "as the endpoint tells it" in bill.notes[0]
    assert "Which calls provisioned instances took is not told" in bill.notes[-2]
    assert cost(run, bill_cold_start=True).items[0].quantity == pytest.approx(1.45)


def test_a_start_longer_than_its_call_is_refused():
    function = Lambda(memory_mb=128, max_concurrency=1)
    run = run_on(function, started=[3.0], finished=[3.5], cold=[True], init=[3.0])
    with pytest.raises(InvalidInput, match=r"got one that exceeds it by 2\.5 s"):
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
    assert bill.notes == ("1 failed calls have no finish: their time is not billed.",)


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
    assert "Billed time is what the client saw of each call, network included." in cost(run).notes


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
    assert "Launch and stop of instances are not recorded: 2 are billed" in bill.notes[0]
    assert "Bytes in and out are not given" in bill.notes[1]


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
    assert "2 are billed while a job ran" in bill.notes[0]


def test_a_run_that_does_not_say_how_it_was_deployed_is_refused():
    run = Run.from_arrays(scheduled=[0], finished=[1], origin="simulated")
    with pytest.raises(InvalidInput, match="does not say how it was deployed"):
        cost(run)


def test_what_is_no_run_or_no_sheet_has_no_cost():
    with pytest.raises(InvalidInput, match="run must be a Run, got 5"):
        cost(5)
    with pytest.raises(InvalidInput, match="prices must be a PriceSheet, got 'us-east-1'"):
        cost(Run.from_arrays(scheduled=[0], finished=[1]), prices="us-east-1")


def test_a_deployment_without_a_rule_is_refused():
    class Raft(Deployment):
        kind: ClassVar[str] = "raft"
        label = "raft"

    with pytest.raises(InvalidInput, match="No rule says what a raft deployment costs"):
        bill(Raft(), Usage())


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


def test_a_cost_of_nothing_has_an_empty_frame():
    empty = Cost(items=(), answered=0)
    assert empty.frame.height == 0
    assert empty.total == 0


def test_a_trace_that_lasts_no_time_cannot_be_repeated():
    for seconds in (0, -1, math.nan):
        with pytest.raises(InvalidInput, match="seconds must be a positive number"):
            Cost(items=(), answered=0).per_month(seconds)


def test_the_html_table_shows_items_total_and_notes():
    item = CostItem(
        what="<b>",
        quantity=2.0,
        unit="hour",
        unit_price=3.0,
        mark="user",
        source="me",
        date=dt.date(2026, 1, 2),
    )
    page = Cost(items=(item,), answered=4, origin="simulated", notes=("Mind this.",))._repr_html_()
    assert "&lt;b&gt;" in page
    assert ">total</th>" in page
    assert "$6.00, $1,500,000.00 per million requests (simulated). Mind this." in page
