"""The commands of prices."""

import argparse
from dataclasses import asdict
from datetime import UTC, date, datetime

from workbench.cli.output import Arguments, announce, show
from workbench.cloud.aws import aws
from workbench.cloud.price_list import PriceRefresh, refresh_prices
from workbench.formatting import Table
from workbench.localcloud import LocalCloud
from workbench.pricing.sheet import PriceSheet

_COLUMNS = ("item", "unit", "dollars", "date", "mark")


def _prices(arguments: Arguments) -> int:
    if arguments.action == "refresh":
        return _refresh(arguments)
    sheet = PriceSheet.load(arguments.region)
    rows = [[f"{getattr(row, name)}" for name in _COLUMNS] for row in sheet.rows]  # all digits
    facts = {"region": sheet.region, "prices": [asdict(row) for row in sheet.rows]}
    show(arguments, Table(_COLUMNS, rows).text(), facts)
    warning = not arguments.json and sheet.stale(_today())
    return announce(f"Note: {warning}") if warning else 0


def _refresh(arguments: Arguments) -> int:
    sheet = PriceSheet.load(arguments.region)
    if arguments.cloud == "local":
        with LocalCloud() as cloud:
            found = refresh_prices(sheet, cloud, today=_today())
    else:
        account = aws(profile=arguments.aws_profile)
        found = refresh_prices(sheet, account, today=_today())
    path = None if arguments.cloud == "local" else found.sheet.keep()
    kept = f"Kept in {path}." if path else "Not kept: these are the prices that ship."
    facts = {"changes": found.changes, "unread": found.unread, "kept": path}
    return show(arguments, f"{_format_changes(found)}\n{kept}", facts)


def _format_changes(found: PriceRefresh) -> str:
    items = len({row.item for row in found.sheet.rows})
    parts = [f"{items - len(found.unread)} of {items} items were read; the others are as before."]
    if found.changes:
        rows = [
            [item, "-" if before is None else f"{before:g}", f"{now:g}"]
            for item, (before, now) in sorted(found.changes.items())
        ]
        parts.insert(0, Table(["item", "before", "now"], rows).text())
    return "\n".join(parts)


def _today() -> date:
    return datetime.now(UTC).date()


def add_prices(parser: argparse.ArgumentParser) -> None:
    """Add `workbench prices`."""
    parser.add_argument(
        "action", nargs="?", choices=("show", "refresh"), default="show", help="(%(default)s)"
    )
    parser.add_argument("--region", default="us-east-1", help="whose prices (%(default)s)")
    parser.add_argument(
        "--cloud",
        choices=("aws", "local"),
        default="aws",
        help="whose Price List: AWS's, or to try it the local cloud's, which is not kept "
        "(%(default)s)",
    )
    parser.add_argument("--aws-profile", metavar="NAME", help="of AWS's credentials")
    parser.set_defaults(command=_prices)
