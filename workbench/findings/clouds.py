"""What a cloud charged, and what is left on it."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from workbench.findings.conclusion import Conclusion
from workbench.formatting import dollars, percent

if TYPE_CHECKING:
    from workbench.cloud.ledger import LedgerEntry
    from workbench.pricing.cost import Cost


def compare_estimate(cost: "Cost", estimate: "Cost") -> Conclusion:
    """Say whether a run cost no more than it was said beforehand that it could."""
    share = f", {percent(cost.total / estimate.total)} of that" if estimate.total else ""
    text = f"At most {dollars(estimate.total)} was to be paid, and it came to {dollars(cost.total)}"
    return Conclusion(f"{text}{share}.", holds=cost.total <= estimate.total)


def count_leftovers(before: "Collection[LedgerEntry]", after: Collection[object]) -> Conclusion:
    """Say whether a teardown left nothing of what the ledger had, on the cloud or in the ledger."""
    hourly = sum(entry.hourly for entry in before)
    text = f"{len(before)} in the ledger before, which AWS bills at {dollars(hourly)} an hour; "
    return Conclusion(f"{text}{len(after)} left after the teardown.", holds=not after)
