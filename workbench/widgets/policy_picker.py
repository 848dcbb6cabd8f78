"""Batching: every policy with its own settings."""

from collections.abc import Callable
from typing import Any

from workbench.batching.policies import DeadlineAware, Replanned, Steered, WorkConserving
from workbench.batching.timer import BatchPolicy, Policy
from workbench.errors import InvalidInput
from workbench.widgets.form import choice, integer, number, text
from workbench.widgets.pickers import Picker

_ABOUT = "How requests become batches."
_MAX_SERVICE_TIMES = 1024  # of a deadline-aware policy: one for each size, all of them in its code
_IN_MS = {"max_wait", "latency", "margin", "first", "more"}
"""Settings that are seconds in a policy, and milliseconds in their control."""


class PolicyPicker(Picker):
    """How requests become batches; `value` is a policy.

    A deadline-aware policy has to know how long a batch takes: its first request so many
    milliseconds and each more so many. A re-planned one is written as start (s), size and wait
    (ms): "0 8 25, 30 1 0".
    """

    def __init__(self, value: Policy | None = None) -> None:
        quantiles = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)]
        controls = {
            "kind": choice(
                "Policy", [(name, kind) for kind, (name, *_) in _KINDS.items()], "timed", _ABOUT
            ),
            "max_size": integer("Max size", 8, "Requests in a batch at most."),
            "max_wait": number(
                "Max wait (ms)", 25.0, "How long the first of a batch waits for others."
            ),
            "latency": number("Within (ms)", 100.0, "The latency that the policy aims at."),
            "quantile": choice("Percentile", quantiles, 0.95, "Of latency, that is steered."),
            "margin": number("In hand (ms)", 0.0, "Time that is kept in hand before the deadline."),
            "first": number("First takes (ms)", 5.0, "How long a batch of one takes."),
            "more": number("Each more (ms)", 1.0, "What each further request adds."),
            "window": integer("Turn after", 200, "Requests between two turns of the wait."),
            "settings": text(
                "From (s), size, wait",
                "0 8 25",
                "0 8 25, 30 1 0",
                "Start in seconds, size and wait in milliseconds, with commas between.",
            ),
        }
        super().__init__("Batching", controls)
        self.set(BatchPolicy() if value is None else value)

    def set(self, value: Policy) -> None:
        """Have the controls hold this policy."""
        for name, setting in _control_values(value).items():
            self[name].value = setting

    def _make(self) -> Policy:
        _, make, names = _KINDS[self["kind"].value]
        self.form.show(["kind", *names])
        held = {name: self[name].value for name in names}
        made: Policy = make(**{n: v / 1000 if n in _IN_MS else v for n, v in held.items()})
        return made


def _make_deadline_aware(
    max_size: int, first: float, more: float, **settings: float
) -> DeadlineAware:
    size = BatchPolicy(max_size=max_size).max_size
    if size > _MAX_SERVICE_TIMES:
        raise InvalidInput(f"max_size must be from 1 to {_MAX_SERVICE_TIMES} here, got {size}.")
    service = [round(1000 * (first + n * more), 9) / 1000 for n in range(size)]
    if min(service) <= 0:
        raise InvalidInput(f"first must be such that a batch takes time, got {service[0]:g} s.")
    return DeadlineAware(service=tuple(service), **settings)


def _make_replanned(settings: str) -> Replanned:
    try:
        parts = [each.split() for each in settings.split(",")]
        planned = [
            (float(start), BatchPolicy(max_size=int(size), max_wait=float(wait) / 1000))
            for start, size, wait in parts
        ]
        return Replanned(settings=planned)
    except ValueError as error:
        why = f": {error}" if isinstance(error, InvalidInput) else "."
        raise InvalidInput(
            "settings must be a start in seconds, a size and a wait in milliseconds each, as in "
            f"'0 8 25, 30 1 0', got {settings!r}{why}"
        ) from None


_KINDS: dict[str, tuple[str, Callable[..., Policy], tuple[str, ...]]] = {
    "none": ("No batching", BatchPolicy, ()),
    "timed": ("Size and wait", BatchPolicy, ("max_size", "max_wait")),
    "work-conserving": ("Work-conserving", WorkConserving, ("max_size",)),
    "deadline-aware": (
        "Deadline-aware",
        _make_deadline_aware,
        ("max_size", "latency", "margin", "first", "more"),
    ),
    "steered": (
        "Steered by a percentile",
        Steered,
        ("max_size", "latency", "quantile", "window"),
    ),
    "re-planned": ("Re-planned at times", _make_replanned, ("settings",)),
}
"""By kind: its name in the list, what makes it, and the controls of its settings."""


def _control_values(policy: Policy) -> dict[str, Any]:
    """Return what the controls hold for a policy, the kind last."""
    own: dict[str, Any] = {}
    match policy:
        case BatchPolicy():
            kind = "none" if policy.max_size == 1 else "timed"
        case WorkConserving():
            kind = "work-conserving"
        case DeadlineAware():
            kind, service = "deadline-aware", policy.service
            more = (service[-1] - service[0]) / max(1, len(service) - 1)
            own = {"first": service[0], "more": more}
        case Steered():
            kind = "steered"
        case Replanned():
            kind = "re-planned"
            planned = [f"{at:g} {to.max_size} {1000 * to.max_wait:g}" for at, to in policy.settings]
            own = {"settings": ", ".join(planned)}
        case _:
            raise InvalidInput(
                f"There are no controls for {policy!r}: take one of workbench.batching.policies."
            )
    held = {n: own[n] if n in own else getattr(policy, n) for n in _KINDS[kind][2]}
    shown = {n: round(1000 * v, 6) if n in _IN_MS else v for n, v in held.items()}
    return {**shown, "kind": kind}
