"""Deployments made of others: what holds of a whole follows from its parts."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from workbench.deployment.base import Deployment
from workbench.errors import InvalidInput
from workbench.pricing.cost import Items
from workbench.pricing.sheet import PriceSheet
from workbench.pricing.usage import Activity, Usage
from workbench.validation import as_tuple

Limit = TypeVar("Limit", int, float)


def as_deployment(name: str, value: object) -> Deployment:
    """Return a deployment, given as such or as its dictionary; refuse what is neither."""
    given = Deployment.from_dict(value) if isinstance(value, Mapping) else value
    if not isinstance(given, Deployment):
        raise InvalidInput(f"{name} must be a deployment, got {given!r}.")
    return given


def as_deployments(name: str, values: object) -> tuple[Deployment, ...]:
    """Return one or more deployments, given as such or as their dictionaries."""
    parts = tuple(as_deployment(f"Each of {name}", each) for each in as_tuple(name, values))
    if not parts:
        raise InvalidInput(f"{name} must be at least 1 deployment, got none.")
    return parts


class Composite(Deployment):
    """Base of deployments made of parts, one of which answers each request.

    Money is the sum of the parts', and each limit the least of theirs. A subclass says which part
    a request goes to; no part knows of the others.
    """

    parts: tuple[Deployment, ...]
    """The deployments it is made of."""

    @property
    def label(self) -> str:
        """The labels of the parts."""
        return " + ".join(part.label for part in self.parts)

    @property
    def place_names(self) -> tuple[str, ...]:
        """The places of a run there, one for each of `simple_parts`, by default their numbers."""
        return tuple(str(number) for number in range(len(self.simple_parts)))

    @property
    def simple_parts(self) -> tuple[Deployment, ...]:
        """The deployments it is made of, those of parts that are composites themselves included."""
        return tuple(each for part in self.parts for each in part.simple_parts)

    def places_of(self, number: int) -> slice:
        """Return which of its places are those of a part: one, or as many as that is made of."""
        first = sum(len(part.simple_parts) for part in self.parts[:number])
        return slice(first, first + len(self.parts[number].simple_parts))

    @property
    def needs(self) -> str:  # type: ignore[override]  # a property in place of a class's constant
        """What running all parts takes."""
        return next((part.needs for part in self.parts if part.needs), "")

    @property
    def payload_limit(self) -> int | None:  # type: ignore[override]
        """The largest request that every part takes, in bytes."""
        return _least(part.payload_limit for part in self.parts)

    @property
    def time_limit(self) -> float | None:  # type: ignore[override]
        """The seconds within which every part may answer."""
        return _least(part.time_limit for part in self.parts)

    @property
    def call_limit(self) -> float | None:
        """Seconds after which a call fails somewhere."""
        return _least(part.call_limit for part in self.parts)

    @property
    def bills_data(self) -> bool:  # type: ignore[override]
        """Whether a part bills bytes in and out."""
        return any(part.bills_data for part in self.parts)

    def _bill(self, usage: Usage, prices: PriceSheet) -> Items:
        """Return the items of all parts; bytes of the whole are shared in proportion to calls."""
        if len(usage.parts) != len(self.parts):
            raise InvalidInput(
                f"{self.label} has {len(self.parts)} parts, and the usage is of "
                f"{len(usage.parts)}: give Usage(parts=...)."
            )
        calls = sum(each.calls for each in usage.parts)
        items: Items = ()
        for part, used in zip(self.parts, usage.parts, strict=True):
            share = used.calls / calls if calls else 1 / len(self.parts)
            bytes_in = used.bytes_in + share * usage.bytes_in
            bytes_out = used.bytes_out + share * usage.bytes_out
            own = replace(used, bytes_in=bytes_in, bytes_out=bytes_out)
            items += part.bill(own, prices=prices)
        return items

    def usage(self, activity: Activity, *, bill_cold_start: bool = False) -> Usage:
        """Return the usage of each part, with the notes of all."""
        return _whole(
            part.usage(activity.part(number), bill_cold_start=bill_cold_start)
            for number, part in enumerate(self.parts)
        )

    def idle_usage(self, seconds: float) -> Usage:
        """Return what each part is billed for being there."""
        return _whole(part.idle_usage(seconds) for part in self.parts)

    def repeat_usage(self, usage: Usage, seconds: float) -> Usage:
        """Return the usage of each part in one of many traces of `seconds` in a row."""
        parts = zip(self.parts, usage.parts, strict=True)
        return replace(usage, parts=tuple(part.repeat_usage(own, seconds) for part, own in parts))

    def usage_at_most(self, seconds: float, *, calls: int | None, up_and_down: float) -> Usage:
        """Return the most that each part can be billed, as if all calls went there."""
        return _whole(
            part.usage_at_most(seconds, calls=calls, up_and_down=up_and_down) for part in self.parts
        )


def _least(limits: Iterable[Limit | None]) -> Limit | None:
    return min((each for each in limits if each is not None), default=None)


def _whole(usages: Iterable[Usage]) -> Usage:
    parts = tuple(usages)
    return Usage(
        calls=sum(each.calls for each in parts),
        notes=tuple(dict.fromkeys(note for each in parts for note in each.notes)),
        parts=parts,
    )
