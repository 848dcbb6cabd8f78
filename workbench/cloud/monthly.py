"""What is paid by the month for as long as it is there: CloudWatch's alarms and dashboards.

As with a deployment, the price is shown and agreed to, an entry is written into the ledger before
the first call, and what is made is tagged with it. `teardown` ends it, and so does the end of the
deployment that it watches.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from operator import attrgetter
from typing import Any

from workbench.cloud.aws import Cloud
from workbench.cloud.client import open_client
from workbench.cloud.consent import agree_to
from workbench.cloud.ledger import Ledger, LedgerEntry
from workbench.errors import CloudError, NotFound, OverBudget
from workbench.formatting import dollars
from workbench.pricing.cost import MONTH, CostItem, Items
from workbench.pricing.sheet import Price, PriceSheet
from workbench.units import HOUR
from workbench.validation import flag, not_negative

KINDS = {
    "alarm": ("put_metric_alarm", "delete_alarms", "AlarmNames"),
    "dashboard": ("put_dashboard", "delete_dashboards", "DashboardNames"),
}
"""How each kind is made and deleted, and what its delete operation calls the names."""


def monthly_price(kind: str, region: str) -> Price:
    """Return what one costs a month; that of us-east-1, marked inferred, where not known.

    >>> price = monthly_price("alarm", "us-east-1")
    >>> price.dollars, price.unit, price.mark
    (0.1, 'alarm-month', 'verified')
    >>> monthly_price("dashboard", "eu-central-1").mark
    'inferred'
    """
    with suppress(NotFound):
        return PriceSheet.load(region).price(f"cloudwatch {kind}")
    first = PriceSheet.load_bundled("us-east-1").price(f"cloudwatch {kind}")
    return replace(first, region=region, mark="inferred")


def monthly_items(kind: str, region: str, count: int, seconds: float) -> Items:
    """Return what so many cost in `seconds`; nothing for none.

    >>> [round(each.dollars, 2) for each in monthly_items("alarm", "us-east-1", 2, MONTH)]
    [0.2]
    """
    price = monthly_price(kind, region)
    item = CostItem(
        what=price.item,
        quantity=count * seconds / MONTH,
        unit=price.unit,
        unit_price=price.dollars,
        mark=price.mark,
        source=price.source,
        date=price.date,
    )
    return (item,) if count else ()


def put_monthly(
    kind: str,
    endpoint: str,
    cloud: Cloud,
    settings: dict[str, Any],
    *,
    budget: float | None,
    yes: bool,
    ledger: Ledger | None,
    notify: Callable[[str], object] | None,
) -> None:
    """Make one, or change the one of that name, for which nothing more is paid.

    `settings` are those of the call that makes it, its name first; the terms and what is raised
    are those of `workbench.cloud.monitor.put_alarm`.
    """
    flag("yes", yes)
    ledger, name = ledger or Ledger(), next(iter(settings.values()))
    price = monthly_price(kind, cloud.region)
    if budget is not None and cloud.paid and price.dollars > not_negative("budget", budget):
        raise OverBudget(f"{_describe(kind, name, cloud, price)} The budget is {dollars(budget)}.")
    if _find(ledger, kind, name, cloud):
        _call(cloud, kind, settings)
        return
    if cloud.paid:
        agree_to(_describe(kind, name, cloud, price), yes=yes, notify=notify)
    entry = LedgerEntry(
        name=name,
        bucket="",
        what=f"{kind} of {endpoint}",
        hourly=price.dollars * HOUR / MONTH,
        cloud=cloud.value(),
        kind=kind,
    )
    ledger.write(entry)
    try:
        _call(cloud, kind, settings, entry.tags)
    except CloudError:  # where the cloud was not reached, it may be there: the entry stays
        with suppress(CloudError):
            end_monthly(entry, ledger)
        ledger.strike(entry)
        raise


def delete_monthly(kind: str, name: str, cloud: Cloud, ledger: Ledger | None = None) -> None:
    """Delete one, and strike it out; one that is not there is fine."""
    _, delete, names = KINDS[kind]
    with open_client(cloud, "cloudwatch") as aws:
        missing = (aws.exceptions.ResourceNotFound, aws.exceptions.DashboardNotFoundError)
        with cloud.translate_errors(f"delete the {kind} {name}"), suppress(*missing):
            getattr(aws, delete)(**{names: [name]})
    ledger = ledger or Ledger()
    for entry in _find(ledger, kind, name, cloud):
        ledger.strike(entry)


def end_monthly(entry: LedgerEntry, ledger: Ledger) -> None:
    """Delete what an entry of the ledger names, and strike it out."""
    delete_monthly(entry.kind, entry.name, entry.cloud, ledger)


def list_monthly(entry: LedgerEntry, ledger: Ledger) -> list[LedgerEntry]:
    """Return the entries of what watches the deployment of another entry."""
    watching = {f"{kind} of {entry.name}" for kind in KINDS}
    return [each for each in _entries_on(entry.cloud, ledger) if each.what in watching]


def _find(ledger: Ledger, kind: str, name: str, cloud: Cloud) -> list[LedgerEntry]:
    there = _entries_on(cloud, ledger)
    return [each for each in there if (each.kind, each.name) == (kind, name)]


def _entries_on(cloud: Cloud, ledger: Ledger) -> list[LedgerEntry]:
    same = attrgetter("name", "region", "endpoint_url", "profile")
    return [each for each in ledger.entries() if same(each.cloud) == same(cloud)]


def _call(
    cloud: Cloud, kind: str, settings: dict[str, Any], tags: list[dict[str, str]] | None = None
) -> None:
    operation = KINDS[kind][0]
    with open_client(cloud, "cloudwatch") as aws:
        model = aws.meta.service_model.operation_model(aws.meta.method_to_api_mapping[operation])
        # botocore before 2026 knows no tags of dashboards
        more = {"Tags": tags} if tags and "Tags" in model.input_shape.members else {}
        with cloud.translate_errors(operation.replace("_", " ")):
            getattr(aws, operation)(**settings, **more)


def _describe(kind: str, name: str, cloud: Cloud, price: Price) -> str:
    """Return in words what one costs, and how that is known."""
    known = f"{price.mark} price, {price.source}, {price.date}"
    return (
        f"The {kind} {name} on {cloud.name} {cloud.region} costs {dollars(price.dollars)} a month "
        f"while it stays ({known})."
    )
