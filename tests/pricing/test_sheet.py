import datetime as dt
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.refused import refused
from workbench.errors import InvalidInput, NotFound
from workbench.pricing.sheet import MARKS, Price, PriceSheet, weakest

REGIONS = ["eu-central-1", "us-east-1"]


@pytest.fixture(scope="module")
def sheet():
    return PriceSheet.load()


@pytest.mark.parametrize("region", REGIONS)
def test_every_shipped_price_has_date_source_and_mark(region):
    rows = PriceSheet.load(region).rows
    assert len(rows) > 10
    for row in rows:
        assert row.region == region
        assert row.dollars > 0
        assert row.date is not None
        assert dt.date(2023, 1, 1) < row.date < dt.date(2027, 1, 1)
        assert row.source
        assert row.mark in MARKS[1:]


@pytest.mark.parametrize("region", REGIONS)
def test_an_item_has_one_unit_and_one_price_from_each_start_on(region):
    sheet = PriceSheet.load(region)
    for item in {row.item for row in sheet.rows}:
        tiers = sheet.tiers(item)
        assert tiers[0].start == 0
        assert len({tier.start for tier in tiers}) == len(tiers)
        assert {(tier.unit, tier.service) for tier in tiers} == {(tiers[0].unit, tiers[0].service)}


@pytest.mark.parametrize(
    ("item", "dollars", "mark"),
    [
        ("ml.m5.xlarge", 0.23, "verified"),
        ("ml.c7g.large", 0.087, "inferred"),
        ("ml.m5.4xlarge", 0.922, "verified (weak)"),
        ("serverless 3072 MB", 0.00006, "verified"),
        ("serverless provisioned 2048 MB", 0.00001, "inferred"),
        ("serverless provisioned duration 2048 MB", 0.0000233, "inferred"),
        ("endpoint data in", 0.016, "verified"),
        ("lambda requests", 2e-7, "verified"),
        ("lambda provisioned duration x86_64", 0.0000097222, "verified"),
        ("s3 put", 5e-6, "verified"),
        ("sns publish", 5e-7, "recalled"),
    ],
)
def test_prices_of_us_east_1_are_those_of_the_sources(sheet, item, dollars, mark):
    price = sheet.price(item)
    assert (price.dollars, price.mark) == (dollars, mark)


def test_serverless_costs_two_hundred_thousandths_a_gigabyte_second(sheet):
    for memory in range(1024, 6145, 1024):
        price = sheet.price(f"serverless {memory} MB").dollars
        assert price == pytest.approx(0.00002 * memory / 1024)


def test_provisioned_prices_not_published_scale_with_memory(sheet):
    for item in ("serverless provisioned {} MB", "serverless provisioned duration {} MB"):
        published = sheet.price(item.format(2048)).dollars
        for memory in range(1024, 6145, 1024):
            price = sheet.price(item.format(memory)).dollars
            assert price == pytest.approx(published * memory / 2048)


def test_lambda_prices_fall_by_tier(sheet):
    tiers = sheet.tiers("lambda duration x86_64")
    assert [tier.start for tier in tiers] == [0, 6e9, 15e9]
    assert [tier.dollars for tier in tiers] == [0.0000166667, 0.000015, 0.0000133334]


def test_a_conflict_between_sources_is_kept_as_a_note(sheet):
    price = sheet.price("async data")
    assert price.dollars == 0.02
    assert "0.016" in price.note
    assert price.mark == "verified (weak)"


def test_instances_of_eu_central_1_are_marked_inferred():
    sheet = PriceSheet.load("eu-central-1")
    assert {row.mark for row in sheet.rows if row.service == "sagemaker"} == {"inferred"}
    assert sheet.price("lambda duration x86_64").mark == "verified"


def test_an_unknown_item_lists_near_names(sheet):
    with refused(NotFound, "ml.m5.larg", "us-east-1", "ml.m5.large"):
        sheet.price("ml.m5.larg")
    with refused(NotFound, "??", "async data", "sheet.with_price('??'"):
        sheet.price("??")


def test_an_unknown_region_lists_the_known_ones():
    with refused(NotFound, "mars", "eu-central-1", "us-east-1"):
        PriceSheet.load("mars")


def test_a_price_of_the_user_replaces_all_tiers_in_a_new_sheet(sheet):
    item = "lambda duration x86_64"
    own = sheet.with_price(item, 1e-5, source="contract")
    (price,) = own.tiers(item)
    assert (price.dollars, price.mark, price.unit) == (1e-5, "user", "GB-second")
    assert (price.source, price.service) == ("contract", "lambda")
    assert len(sheet.tiers(item)) == 3
    assert own.price("ml.m5.large") == sheet.price("ml.m5.large")


def test_a_new_item_needs_a_unit(sheet):
    assert sheet.with_price("ml.x9.huge", 7, unit="hour").price("ml.x9.huge").dollars == 7
    with refused(InvalidInput, "ml.x9.huge", "unit"):
        sheet.with_price("ml.x9.huge", 7)


@pytest.mark.parametrize("dollars", [-1, float("nan"), float("inf"), "1", None, 10**400])
def test_a_price_is_finite_and_not_negative(sheet, dollars):
    with refused(InvalidInput, "ml.m5.large", dollars):
        sheet.with_price("ml.m5.large", dollars)


def test_items_and_regions_are_texts(sheet):
    for ask in (sheet.price, sheet.tiers, lambda item: sheet.with_price(item, 1, unit="hour")):
        for item in (5, None, ["ml.m5.large"]):
            with refused(InvalidInput, "item", item):
                ask(item)
    with refused(InvalidInput, "region", None):
        PriceSheet.load(None)


def test_a_mark_is_one_of_the_known():
    with refused(InvalidInput, "mark", "sure"):
        Price(region="r", service="s", item="i", unit="u", dollars=1, source="x", mark="sure")


def test_a_price_is_stale_once_older_than_the_days_given():
    sheet = PriceSheet.load("eu-central-1")
    read = sheet.price("ml.m5.large").date
    items = ["ml.m5.large"]
    assert sheet.stale(read + dt.timedelta(days=180), items=items) == ""
    warning = sheet.stale(read + dt.timedelta(days=181), items=items)
    assert warning.startswith(f"The price of ml.m5.large is of {read}: workbench prices refresh")
    assert sheet.stale(read + dt.timedelta(days=8), after_days=7)


def test_an_undated_price_of_the_user_is_never_stale(sheet):
    own = sheet.with_price("ml.t2.medium", 0.05)
    assert sheet.stale(dt.date(2026, 11, 23), items=["ml.t2.medium"])
    assert own.stale(dt.date(2099, 1, 1), items=["ml.t2.medium"]) == ""


def test_the_frame_holds_every_price_with_its_mark(sheet):
    frame = sheet.frame
    assert frame.height == len(sheet.rows)
    assert set(frame.columns) >= {"region", "service", "item", "unit", "dollars", "date", "mark"}
    assert frame.schema["date"] == pl.Date
    assert frame.filter(item="ml.m5.large")["dollars"].item() == 0.115


def test_the_html_table_shows_every_price_and_escapes(sheet):
    page = sheet._repr_html_()
    assert page.count("<tr>") == 1 + len(sheet.rows)
    assert "<td>None</td>" not in sheet.with_price("ml.m5.large", 0.1)._repr_html_()
    assert repr(sheet) == f"<PriceSheet us-east-1: {len(sheet.rows)} prices>"


@pytest.mark.parametrize("region", REGIONS)
def test_a_sheet_survives_its_own_file(region):
    own = PriceSheet.load(region).with_price("lambda requests", 1 / 3, source='a "deal", by hand')
    assert PriceSheet.from_csv(region, own.to_csv()) == own


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("region,", "place,", "region"),
        ("0.138", "cheap", "cheap"),
        ("0.138", "-1", -1.0),
        ("0.138", "nan", "nan"),
        ("2026-11-23", "lately", "lately"),
        (",inferred,", ",sure,", "sure"),
        (",0.138,0.0,2026-11-23,EC2 0.115 x 1.2,inferred,", "", "to_csv"),
        ("eu-central-1,sagemaker,ml.m5.large", "mars,sagemaker,ml.m5.large", "mars"),
    ],
)
def test_what_is_no_sheet_is_refused(old, new, named):
    text = PriceSheet.load("eu-central-1").to_csv()
    assert old in text
    with refused(InvalidInput, "sheet", named):
        PriceSheet.from_csv("eu-central-1", text.replace(old, new, 1))


@given(st.lists(st.sampled_from(MARKS), min_size=1))
def test_the_weakest_mark_is_no_firmer_than_any(marks):
    assert all(MARKS.index(weakest(marks)) >= MARKS.index(mark) for mark in marks)


def test_the_readme_of_the_data_names_every_file():
    folder = Path(__file__).parents[2] / "data"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    shipped = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    names = {path.relative_to(folder).as_posix() for path in shipped} - {"README.md"}
    assert "prices/us-east-1.csv" in names
    assert not [name for name in names if f"`{name}`" not in readme]
