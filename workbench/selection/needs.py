"""What a candidate must be: equality, a minimum or a maximum of a trait or of a figure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.errors import InvalidInput
from workbench.formatting import format_cell
from workbench.registry.model import Traits
from workbench.registry.user_traits import FIGURES
from workbench.validation import finite, keep, of_kind, suggest

if TYPE_CHECKING:
    from workbench.registry.model import Model

_IDENTITY = ("name", "group", "version", "approval", "stage", "created")
_NOT_TRAITS = {"accuracy", "batch_invariance", "agreement", "user"}  # figures, or have parts


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """A least and a most that a number may be, both included; None: any.

    Raises:
        InvalidInput: Neither is given, one is no finite number, or the least is above the most.

    >>> at_least(0.9), at_most(1e6)
    (Bounds(low=0.9, high=None), Bounds(low=None, high=1000000.0))
    """

    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        given = {name: each for name, each in vars(self).items() if each is not None}
        keep(self, **{name: finite(name, each) for name, each in given.items()})
        if self.low is None and self.high is None:
            raise InvalidInput("Bounds need a low or a high: got neither.")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise InvalidInput(f"low must be at most high, got {self.low} and {self.high}.")


def at_least(low: float) -> Bounds:
    """Return a minimum, itself included.

    >>> at_least(3).low
    3.0
    """
    return Bounds(low=low)


def at_most(high: float) -> Bounds:
    """Return a maximum, itself included.

    >>> at_most(3).high
    3.0
    """
    return Bounds(high=high)


class Miss(NamedTuple):
    """A need that a candidate does not meet.

    Attributes:
        need: The trait or figure.
        reason: A sentence without its full stop.
        remedy: What would change it; "" where nothing would.
        distance: By which share of the limit it is missed; infinite where there is no measure.
        unknown: Whether it is not known if the candidate meets it.
    """

    need: str
    reason: str
    remedy: str
    distance: float = float("inf")
    unknown: bool = False


def traits_of(model: "Model") -> dict[str, Any]:
    """Return what may be needed of a model beforehand: its traits, its names, the user's own."""
    known = {name: getattr(model, name) for name in _IDENTITY}
    for field in fields(Traits):
        value = getattr(model.traits, field.name)
        if field.name not in _NOT_TRAITS and not isinstance(value, tuple | list):
            known[field.name] = value if isinstance(value, str | Real) else str(value)
    known["batches"] = model.traits.batches
    return known | model.traits.user


def check_needs(
    needs: Mapping[str, Any] | None, known: Callable[[], Sequence[dict[str, Any]]]
) -> dict[str, Any]:
    """Return the needs, each of a trait that a candidate has or a figure, and of its type.

    `known` returns the traits of each candidate; it is asked only where something is needed.

    Raises:
        InvalidInput: One is not.
    """
    needs = dict(of_kind("needs", {} if needs is None else needs, Mapping, "values by trait"))
    if not needs:
        return {}
    traits = known()
    names = sorted({name for each in traits for name in each} | set(FIGURES))
    for name, wanted in needs.items():
        if name not in names:
            near = suggest(name, names)
            raise InvalidInput(
                f"No candidate has a trait {name!r}.{near} Known: {', '.join(names)}."
            )
        if name in FIGURES:
            of_kind(f"The need of {name}", wanted, Bounds, "a minimum or a maximum")
            continue
        for value in (each[name] for each in traits if each.get(name) is not None):
            if not _comparable(value, wanted):
                raise InvalidInput(
                    f"The trait {name!r} is {_kind(value)}, as {value!r}, and cannot be compared "
                    f"with {wanted!r}, which is {_kind(wanted)}."
                )
    return needs


def describe_need(name: str, wanted: object) -> str:
    """Return a need in a few words.

    >>> describe_need("size_bytes", at_most(1e6)), describe_need("task", "digits")
    ('size_bytes at most 1,000,000', 'task digits')
    """
    if not isinstance(wanted, Bounds):
        return f"{name} {format_cell(wanted)}"
    limits = ("at least", wanted.low), ("at most", wanted.high)
    parts = [f"{words} {format_cell(limit)}" for words, limit in limits if limit is not None]
    return f"{name} {' and '.join(parts)}"


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, Bounds | Real):
        return "a number"
    return "a text" if isinstance(value, str) else f"of type {type(value).__name__}"


def _comparable(value: object, wanted: object) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return isinstance(value, bool) and isinstance(wanted, bool)
    number = isinstance(value, Real)
    return isinstance(wanted, Bounds | Real) if number else isinstance(wanted, type(value))


def find_miss(name: str, value: object, wanted: object) -> Miss | None:
    """Return how a value misses a need; None where it meets it.

    >>> find_miss("size_bytes", 2e6, at_most(1e6)).reason
    'size_bytes is 2,000,000, above the 1,000,000 allowed'
    >>> find_miss("task", "digits", "digits")
    """
    if value is None or value != value:  # noqa: PLR0124 - NaN differs from itself
        return Miss(name, f"its {name} is not known", f"say or measure its {name}", unknown=True)
    if isinstance(wanted, Bounds):
        return _find_bound_miss(name, float(value), wanted)  # type: ignore[arg-type]
    if value == wanted:
        return None
    reason = f"{name} is {format_cell(value)}, not {format_cell(wanted)}"
    return Miss(name, reason, "")


def _find_bound_miss(name: str, value: float, bounds: Bounds) -> Miss | None:
    for limit, off, words in (
        (bounds.low, -1, "below the {} needed"),
        (bounds.high, 1, "above the {} allowed"),
    ):
        if limit is not None and off * (value - limit) > 0:
            shown = format_cell(value)
            reason = f"{name} is {shown}, {words.format(format_cell(limit))}"
            distance = abs(value - limit) / abs(limit) if limit else float("inf")
            return Miss(name, reason, f"it would pass with a limit of {shown}", distance)
    return None
