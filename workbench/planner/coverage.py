"""What AWS sells for fleets that change size and no plan tries, so that a plan can say so."""

from typing import NamedTuple


class UntriedOffer(NamedTuple):
    """Something that AWS sells and no plan tries.

    Attributes:
        what: What it is and does, as a sentence has it.
        source: Where AWS says so.
        date: When that was read.
    """

    what: str
    source: str
    date: str


NOT_COVERED = (
    UntriedOffer(
        "inference components that scale to zero",
        "SageMaker developer guide, Scale an endpoint to zero instances",
        "2026-11-29",
    ),
    UntriedOffer(
        "instance pools, which start another instance type where one is not to be had",
        "SageMaker developer guide, Deploy to multiple instance types with instance pools",
        "2026-11-29",
    ),
)
"""What is not built."""


def describe_untried() -> str:
    """Return a sentence that names what AWS sells and is not tried, and where it says so.

    >>> describe_untried()[:54]
    'Not covered: inference components that scale to zero ('
    """
    offers = (f"{each.what} ({each.source}, read {each.date})" for each in NOT_COVERED)
    return f"Not covered: {'; '.join(offers)}."
