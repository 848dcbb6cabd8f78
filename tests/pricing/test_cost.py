import datetime as dt
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.refused import refused
from workbench.deployment import Async, BatchTransform, Lambda, Local, RealTime, Serverless
from workbench.errors import InvalidInput, NotFound
from workbench.pricing.cost import Cost, CostItem, bill_item, monthly, total
from workbench.pricing.sheet import PriceSheet
from workbench.pricing.usage import Usage, instance_seconds, round_up_ms

GB = 1024**3
PRICES = PriceSheet.load()


def dollars(items):
    return {item.what: item.dollars for item in items}


def function(memory_mb):
    return Lambda(memory_mb=memory_mb, max_concurrency=9)


def endpoint(memory_mb):
    return Serverless(memory_mb=memory_mb, max_concurrency=9)


# AWS's worked examples: aws.amazon.com/lambda/pricing, us-east-1. They deduct a free tier of
# 400,000 GB-s and 1 M requests a month, which the quantities below have deducted by hand.


def test_lambda_example_mobile_backend():
    # 3 M calls x 120 ms x 1.5 GB = 540,000 GB-s, less 400,000: 140,000; requests 3 M - 1 M
    items = function(1536).bill(Usage(seconds=140_000 / 1.5, calls=2_000_000))
    assert [round(item.dollars, 2) for item in items] == [2.33, 0.40]
    assert round(total(items), 2) == 2.73


def test_lambda_example_streaming_telemetry():
    # 10,000 vehicles x 24 x 31 = 7.44 M calls of 2 s with 1 GB, no free tier
    items = function(1024).bill(Usage(seconds=7.44e6 * 2, calls=7_440_000))
    assert [round(item.dollars, 2) for item in items] == [248.00, 1.49]
    assert round(total(items), 2) == 249.49


def test_lambda_example_support_tickets():
    # 6 M x 280 ms x 4 GB = 6,720,000 GB-s, less 400,000; requests 6 M - 1 M; /tmp is apart
    items = function(4096).bill(Usage(seconds=6_320_000 / 4, calls=5_000_000))
    assert [round(item.dollars, 2) for item in items] == [105.33, 1.00]


def test_lambda_example_provisioned_mobile_launch():
    # 100 instances x 8 h; 500,000 calls x 100 ms on them; 2.5 M x 120 ms beside, less free tier
    warm = function(1536).bill(Usage(enabled_seconds=100 * 8 * 3600, provisioned_seconds=50_000))
    beside = function(1536).bill(Usage(seconds=50_000 / 1.5, calls=2_000_000))
    assert [round(item.dollars, 2) for item in warm] == [18.00, 0.73]
    assert [round(item.dollars, 2) for item in beside] == [0.83, 0.40]
    assert round(total([*warm, *beside]), 2) == 19.96


def test_lambda_example_provisioned_cyber_monday():
    # 7 instances x 24 h with 4 GB, 2 M calls x 280 ms on them, no free tier
    warm = function(4096).bill(Usage(enabled_seconds=7 * 86_400, provisioned_seconds=560_000))
    requests = function(4096).bill(Usage(calls=2_000_000))
    assert [round(item.dollars, 2) for item in warm] == [10.08, 21.78]
    assert round(total([*warm, *requests]), 2) == 32.26


# Infracost's golden file of SageMaker endpoint configurations: AWS's price list run through code.


@pytest.mark.parametrize(("kind", "month"), [("ml.m5.large", 83.95), ("ml.m5.xlarge", 167.90)])
def test_an_instance_for_a_month_costs_what_infracost_says(kind, month):
    assert (
        round(total(RealTime(instance_type=kind).bill(Usage(instance_seconds=730 * 3600))), 2)
        == month
    )


def test_serverless_costs_what_infracost_says():
    items = endpoint(2048).bill(Usage(seconds=500_000, bytes_in=12 * GB, bytes_out=8 * GB))
    assert dollars(items) == pytest.approx(
        {"serverless 2048 MB": 20.00, "endpoint data in": 0.192, "endpoint data out": 0.128}
    )


def test_serverless_provisioned_concurrency_by_hand():
    # 100 instances x 5 days x 8 h = 14.4 M s x 0.00001 = 144; 10 M x 100 ms = 1 M s x 0.0000233
    items = endpoint(2048).bill(Usage(enabled_seconds=14.4e6, provisioned_seconds=1e6))
    assert [item.dollars for item in items] == pytest.approx([144.0, 23.3])
    assert {item.mark for item in items} == {"inferred"}


def test_async_by_hand():
    # 2 h x 0.115 = 0.23; 15 GB x 0.02 = 0.30; a million calls: S3 2 x 5 + 2 x 0.4, SNS 0.50
    items = Async(instance_type="ml.m5.large").bill(
        Usage(instance_seconds=7200, calls=10**6, bytes_in=10 * GB, bytes_out=5 * GB)
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
    (item,) = BatchTransform(instance_type="ml.c5.xlarge").bill(Usage(instance_seconds=3 * 1200))
    assert item.dollars == pytest.approx(0.204)
    assert item.mark == "inferred"


def test_a_price_of_the_user_stays_the_users_in_every_type():
    own = PRICES.with_price("ml.m5.large", 0.1)
    for kind in (RealTime, Async, BatchTransform):
        (item,) = kind(instance_type="ml.m5.large").bill(Usage(instance_seconds=3600), prices=own)
        assert (item.dollars, item.mark) == (0.1, "user")


def test_lambda_gets_cheaper_by_tier():
    # 6e9 x 0.0000166667 + 9e9 x 0.000015 + 5e9 x 0.0000133334
    items = function(1024).bill(Usage(seconds=20e9))
    assert [item.quantity for item in items] == [6e9, 9e9, 5e9]
    assert total(items) == pytest.approx(100_000.2 + 135_000 + 66_667)


@given(st.floats(1, 2e10), st.floats(1, 2e10), st.sampled_from(["x86_64", "arm64"]))
def test_a_month_costs_the_same_in_one_piece_and_in_two(first, second, architecture):
    def price(seconds, used=0.0):
        return total(bill_item(PRICES, f"lambda duration {architecture}", seconds, used=used))

    assert price(first) + price(second, used=first) == pytest.approx(price(first + second))


def test_arm_costs_less():
    arm = Lambda(memory_mb=1024, max_concurrency=9, architecture="arm64")
    assert total(arm.bill(Usage(seconds=1e6))) == pytest.approx(13.3334)
    warm = arm.bill(Usage(enabled_seconds=1e6, provisioned_seconds=1e6))
    assert total(warm) == pytest.approx(3.3334 + 7.7778)


def test_nothing_used_costs_nothing_and_needs_no_price():
    assert function(128).bill(Usage()) == ()
    assert RealTime(instance_type="ml.unheard.of").bill(Usage()) == ()
    assert total(Local(hourly_price=1).bill(Usage())) == 0


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_a_billed_quantity_is_finite_and_not_negative(seconds):
    for deployment in (Local(hourly_price=1), function(128), endpoint(1024)):
        with refused(InvalidInput, "quantity"):
            deployment.bill(Usage(seconds=seconds))


def test_a_price_the_sheet_lacks_is_named():
    sheet = PriceSheet.load("eu-central-1")
    with refused(NotFound, "serverless 2048 MB", "eu-central-1"):
        endpoint(2048).bill(Usage(seconds=1), prices=sheet)


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


# Costs


def test_a_cost_of_nothing_has_an_empty_frame():
    empty = Cost(items=(), answered=0)
    assert empty.frame.height == 0
    assert empty.total == 0


def test_a_trace_that_lasts_no_time_has_no_cost_of_a_month():
    for seconds in (0, -1, math.nan):
        assert math.isnan(monthly((), seconds))


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
