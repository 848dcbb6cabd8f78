"""Alarms and dashboards: asked for, estimated, tagged, in the ledger, and torn down."""

from contextlib import closing

import pytest

from tests.cloud.test_monitor import BURN
from tests.refused import refused
from workbench.cloud import monitor
from workbench.cloud.aws import Cloud
from workbench.cloud.deploy import teardown
from workbench.cloud.ledger import Ledger
from workbench.cloud.transform_jobs import prepare_jobs
from workbench.deployment import BatchTransform
from workbench.errors import CloudError, InvalidInput, NotAvailable, OverBudget
from workbench.localcloud import LocalCloud

PUTS = {
    "alarm": lambda cloud, **terms: monitor.put_alarm("digits", cloud, BURN, **terms),
    "dashboard": lambda cloud, **terms: monitor.put_dashboard("digits", cloud, **terms),
}
PRICES = {"alarm": "$0.10 a month", "dashboard": "$3.00 a month"}


@pytest.fixture(scope="module", name="cloud")
def _cloud():
    """A local cloud that costs, so that it has to be agreed to."""
    with LocalCloud() as local:
        yield Cloud(
            endpoint_url=local.endpoint_url, keys=local.keys, name="AWS", region=local.region
        )


@pytest.fixture(name="ledger")
def _ledger(tmp_path, cloud):
    """A ledger that can still sign: one of a paid cloud holds no keys, and finds them elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", cloud.keys[0])
        patch.setenv("AWS_SECRET_ACCESS_KEY", cloud.keys[1])
        yield Ledger(tmp_path / "ledger.db")


def there(cloud):
    """Return the names of all alarms and dashboards, with their tags."""
    with closing(cloud.client("cloudwatch")) as aws:
        alarms = [(a["AlarmName"], a["AlarmArn"]) for a in aws.describe_alarms()["MetricAlarms"]]
        boards = aws.list_dashboards()["DashboardEntries"]
        found = alarms + [(each["DashboardName"], each["DashboardArn"]) for each in boards]
        return {name: aws.list_tags_for_resource(ResourceARN=arn)["Tags"] for name, arn in found}


@pytest.mark.parametrize("kind", PUTS)
def test_what_is_paid_by_the_month_is_told_tagged_written_down_and_torn_down(cloud, ledger, kind):
    said = []
    name = PUTS[kind](cloud, yes=True, ledger=ledger, notify=said.append)
    again = PUTS[kind](cloud, ledger=ledger, notify=said.append)  # which costs nothing more

    assert again == name
    (text,) = said
    assert PRICES[kind] in text
    assert "infracost" in text
    assert "2026-08-21" in text
    (entry,) = ledger.entries()
    assert (entry.kind, entry.name, entry.what) == (kind, name, f"{kind} of digits")
    assert there(cloud) == {name: entry.tags}
    assert teardown(ledger, names=(name,)) == [entry]
    assert (there(cloud), ledger.entries()) == ({}, [])


@pytest.mark.parametrize("kind", PUTS)
@pytest.mark.parametrize(
    ("terms", "error"),
    [
        ({}, NotAvailable),
        ({"yes": "no"}, InvalidInput),
        ({"yes": True, "budget": 0.05}, OverBudget),
        ({"yes": True, "budget": -1}, InvalidInput),
    ],
)
def test_without_consent_nothing_is_made(cloud, ledger, kind, terms, error):
    with pytest.raises(error):
        PUTS[kind](cloud, ledger=ledger, notify=lambda _: None, **terms)
    assert (there(cloud), ledger.entries()) == ({}, [])


def test_what_the_cloud_refuses_is_not_kept(cloud, ledger):
    with pytest.raises(CloudError):
        monitor.put_alarm("x" * 300, cloud, BURN, yes=True, ledger=ledger, notify=lambda _: None)
    assert ledger.entries() == []


@pytest.mark.parametrize("kind", PUTS)
def test_deleting_strikes_it_out(cloud, ledger, kind):
    name = PUTS[kind](cloud, yes=True, ledger=ledger, notify=lambda _: None)
    delete = monitor.delete_alarm if kind == "alarm" else monitor.delete_dashboard
    delete(name, cloud, ledger=ledger)
    assert (there(cloud), ledger.entries()) == ({}, [])


@pytest.mark.parametrize("terms", [{"expected": -1.0}, {"yes": "no"}])
def test_terms_that_cannot_be_are_refused_before_anything_is_made(cloud, ledger, terms):
    on = BatchTransform(instance_type="ml.m5.large")
    with (
        refused(InvalidInput, *terms, *map(repr, terms.values())),
        prepare_jobs(None, on, Cloud(role="r", image="i"), ledger=ledger, **terms),
    ):
        pass
    assert ledger.entries() == []
