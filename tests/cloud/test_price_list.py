import datetime as dt
import json

import pytest
from botocore.stub import Stubber

from tests.refused import refused
from workbench.cloud.aws import Cloud
from workbench.cloud.price_list import attributes_of, refresh_prices, service_of
from workbench.errors import CloudError, InvalidInput
from workbench.localcloud import LocalCloud
from workbench.pricing.sheet import PriceSheet

TODAY = dt.date(2026, 12, 1)
SHEET = PriceSheet.load_bundled()


def product(sku, attributes, *tiers, unit="Hrs", region="us-east-1"):
    """A product in the shape of AWS's Price List: `tiers` are pairs of a beginning and dollars."""
    dimensions = {
        f"{sku}.{number}": {
            "unit": unit,
            "beginRange": str(begin),
            "endRange": "Inf",
            "pricePerUnit": {"USD": f"{dollars:.10f}"},
        }
        for number, (begin, dollars) in enumerate(tiers)
    }
    return {
        "product": {"sku": sku, "attributes": {"regionCode": region, **attributes}},
        "terms": {"OnDemand": {f"{sku}.TERM": {"priceDimensions": dimensions}}},
    }


def instance(name, dollars, sku="SKU"):
    return product(sku, {"component": "Hosting", "instanceName": name}, (0, dollars))


def read(monkeypatch, *pages, functions=()):
    """What a refresh makes of pages of SageMaker's products, and of Lambda's."""
    client = Cloud(keys=("key", "secret")).client("pricing")
    with Stubber(client) as stub:
        for number, page in enumerate(pages):
            more = {"NextToken": f"{number + 1}"} if number + 1 < len(pages) else {}
            stub.add_response("get_products", {"PriceList": [*map(json.dumps, page)], **more})
        stub.add_response("get_products", {"PriceList": [*map(json.dumps, functions)]})
        monkeypatch.setattr(Cloud, "client", lambda *_, **__: client)
        return refresh_prices(SHEET, Cloud(), today=TODAY)


@pytest.fixture(scope="module")
def local():
    with LocalCloud() as cloud:
        yield refresh_prices(SHEET, cloud, today=TODAY)


# --- from a Price List


def test_a_local_cloud_lists_the_prices_that_ship(local):
    assert local.changes == {}
    for item in dict.fromkeys(row.item for row in SHEET.rows):
        now, before = local.sheet.tiers(item), SHEET.tiers(item)
        assert [(p.start, p.dollars, p.unit) for p in now] == [
            (p.start, pytest.approx(p.dollars), p.unit) for p in before
        ]


def test_what_was_read_is_verified_and_dated_and_the_rest_is_as_before(local):
    for row in local.sheet.rows:
        if row.item in local.unread:
            assert row in SHEET.rows
        else:
            assert (row.mark, row.date) == ("verified", TODAY)
            assert row.source == "AWS Price List, SKU LOCAL"
    assert "s3 put" in local.unread
    assert {"ml.m5.large", "serverless 2048 MB", "lambda requests"}.isdisjoint(local.unread)


def test_a_new_price_and_a_new_type_are_taken_in(monkeypatch):
    found = read(monkeypatch, [instance("ml.m5.large", 0.2)], [instance("ml.m9g.large", 0.3)])

    assert found.changes == {"ml.m5.large": (0.115, 0.2), "ml.m9g.large": (None, 0.3)}
    assert found.sheet.price("ml.m9g.large").unit == "hour"
    assert found.sheet.price("ml.c5.large") == SHEET.price("ml.c5.large")


def test_free_tiers_are_left_out(monkeypatch):
    usage = {"usagetype": "USE1-ServerlessInf:Mem-2GB"}
    found = read(monkeypatch, [product("S", usage, (0, 0), (150_000, 0.00005), unit="Second")])

    (price,) = found.sheet.tiers("serverless 2048 MB")
    assert (price.start, price.dollars) == (0.0, 0.00005)


def test_every_tier_is_read_in_order(monkeypatch):
    group = {"group": "AWS-Lambda-Duration"}
    tiers = [(6e9, 0.000015), (0, 0.00002)]
    found = read(monkeypatch, [], functions=[product("L", group, *tiers, unit="Lambda-GB-Second")])

    prices = found.sheet.tiers("lambda duration x86_64")
    assert [(price.start, price.dollars) for price in prices] == [(0, 0.00002), (6e9, 0.000015)]
    assert {price.unit for price in prices} == {"GB-second"}


def test_products_that_contradict_each_other_change_nothing(monkeypatch):
    listed = [instance("ml.m5.large", 0.2), instance("ml.m5.large", 0.3, sku="B")]
    found = read(monkeypatch, [*listed, instance("ml.c5.large", 0.102)])

    assert found.sheet.price("ml.m5.large") == SHEET.price("ml.m5.large")
    assert "ml.m5.large" in found.unread


def test_an_empty_list_is_an_error(monkeypatch):
    with refused(CloudError, "us-east-1"):
        read(monkeypatch, [])


def test_another_region_has_prices_of_its_own():
    sheet = PriceSheet.load_bundled("eu-central-1")
    with LocalCloud() as cloud:
        found = refresh_prices(sheet, cloud, today=TODAY)

    assert found.changes == {}
    assert {row.region for row in found.sheet.rows} == {"eu-central-1"}


def test_items_without_a_place_in_the_list_have_no_attributes():
    assert attributes_of("s3 put", "us-east-1") == {}
    assert service_of("s3 put") is None
    assert attributes_of("serverless 1024 MB", "sa-east-1") == {}


# --- the local cloud's own


@pytest.mark.parametrize(
    ("operation", "parameters", "said"),
    [
        ("get_products", {"ServiceCode": "AmazonEC2"}, "NotFoundException"),
        (
            "get_products",
            {"ServiceCode": "AWSLambda", "NextToken": "x"},
            "InvalidNextTokenException",
        ),
        ("describe_services", {}, "NotImplemented"),
        (
            "get_products",
            {
                "ServiceCode": "AWSLambda",
                "Filters": [{"Type": "CONTAINS", "Field": "group", "Value": "x"}],
            },
            "NotImplemented",
        ),
    ],
)
def test_what_the_list_does_not_have_is_refused(shared_cloud, operation, parameters, said):
    client = shared_cloud.client("pricing")
    with refused(client.exceptions.ClientError, said):
        getattr(client, operation)(**parameters)
    client.close()


def test_the_list_has_pages(shared_cloud):
    client = shared_cloud.client("pricing")
    pages = client.get_paginator("get_products").paginate(
        ServiceCode="AmazonSageMaker", PaginationConfig={"PageSize": 7}
    )
    listed = [json.loads(each)["product"]["attributes"] for p in pages for each in p["PriceList"]]
    whole = client.get_products(ServiceCode="AmazonSageMaker")["PriceList"]
    client.close()

    assert listed == [json.loads(each)["product"]["attributes"] for each in whole]
    assert len(listed) > 40


@pytest.fixture(scope="module")
def shared_cloud():
    with LocalCloud() as cloud:
        yield cloud


# --- keeping them


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_kept_sheet_is_loaded_until_it_is_removed(home):
    own = SHEET.with_price("ml.m5.large", 0.5)
    path = own.keep()

    assert PriceSheet.load().price("ml.m5.large").dollars == 0.5
    assert PriceSheet.load_bundled() == SHEET
    path.unlink()
    assert PriceSheet.load() == SHEET


def test_a_kept_sheet_that_is_none_any_more_is_named(home):
    path = SHEET.keep()
    path.write_text("nonsense")

    with refused(InvalidInput, "us-east-1.csv"):
        PriceSheet.load()
