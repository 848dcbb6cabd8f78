"""What AWS sells for such work and a plan does not try, so that a plan can say so."""

from collections.abc import Iterable
from typing import NamedTuple


class UntriedOffer(NamedTuple):
    """Something that AWS sells and no plan tries.

    Attributes:
        what: What it is, as a sentence has it.
        beside: The inference types beside which it belongs.
        why: What it would do that these do not.
        source: Where AWS says so.
        date: When that was read.
    """

    what: str
    beside: frozenset[str]
    why: str
    source: str
    date: str


UNTRIED_OFFERS = (
    UntriedOffer(
        what="inference components",
        beside=frozenset({"real-time"}),
        why="several models share instances, whose number may go to 0",
        source="SageMaker developer guide, Scale an endpoint to zero instances",
        date="2026-11-29",
    ),
    UntriedOffer(
        what="instance pools",
        beside=frozenset({"real-time", "async"}),
        why="an endpoint takes the next of up to five instance types where one is not to be had",
        source="SageMaker developer guide, Deploy to multiple instance types with instance pools",
        date="2026-11-29",
    ),
)
"""What is not built."""


def describe_untried(kinds: Iterable[str]) -> str:
    """Return a sentence that names what AWS sells beside these types and was not tried; "": none.

    >>> describe_untried(["async"])
    'Not tried: instance pools (an endpoint takes the next of up to five instance types where one \
is not to be had).'
    """
    tried = set(kinds)
    untried = [f"{each.what} ({each.why})" for each in UNTRIED_OFFERS if each.beside & tried]
    return f"Not tried: {'; '.join(untried)}." if untried else ""
