"""Batching: every policy with its own settings."""

from collections.abc import Callable, Sequence
from typing import Any

from workbench.batching.policies import DeadlineAware, Replanned, Steered, WorkConserving
from workbench.batching.timer import BatchPolicy, Policy
from workbench.errors import InvalidInput
from workbench.widgets.form import choice, number, text, whole
from workbench.widgets.pickers import Picker

_NONE, _TIMED, _CONSERVING, _DEADLINE, _STEERED, _REPLANNED = (
    "none",
    "timed",
    "work-conserving",
    "deadline-aware",
    "steered",
    "re-planned",
)
_NAMES = {
    _NONE: "No batching",
    _TIMED: "Size and wait",
    _CONSERVING: "Work-conserving",
    _DEADLINE: "Deadline-aware",
    _STEERED: "Steered by a percentile",
    _REPLANNED: "Re-planned at times",
}
_KNOBS = {
    _NONE: (),
    _TIMED: ("max_size", "max_wait"),
    _CONSERVING: ("max_size",),
    _DEADLINE: ("max_size", "latency", "margin", "first", "more"),
    _STEERED: ("max_size", "latency", "quantile", "window"),
    _REPLANNED: ("settings",),
}


_MOST_TIMES = 1024  # of a deadline-aware policy: one for each size, all of them in its code


class PolicyPicker(Picker):
    """How requests become batches; `value` is a policy.

    A deadline-aware policy has to know how long a batch takes: its first request so many
    milliseconds and each more so many. A re-planned one is written as start (s), size and wait
    (ms): "0 8 25, 30 1 0".
    """

    def __init__(self, value: Policy | None = None) -> None:
        quantiles = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)]
        controls = {
            "kind": choice("Policy", [(name, kind) for kind, name in _NAMES.items()], _TIMED),
            "max_size": whole("Max size", 8),
            "max_wait": number("Max wait (ms)", 25.0),
            "latency": number("Within (ms)", 100.0),
            "quantile": choice("Percentile", quantiles, 0.95),
            "margin": number("In hand (ms)", 0.0),
            "first": number("First takes (ms)", 5.0),
            "more": number("Each more (ms)", 1.0),
            "window": whole("Turn after", 200),
            "settings": text("From (s), size, wait", "0 8 25", "0 8 25, 30 1 0"),
        }
        super().__init__("Batching", controls)
        self.set(BatchPolicy() if value is None else value)

    def set(self, value: Policy) -> None:
        """Have the controls hold this policy."""
        for name, setting in _held(value).items():
            self[name].value = setting

    def expect(self, first: float, more: float) -> None:
        """Have a deadline-aware policy expect so many seconds of a batch."""
        self["first"].value, self["more"].value = round(1000 * first, 4), round(1000 * more, 4)

    def _make(self) -> Policy:
        kind = self["kind"].value
        self.knobs.show(["kind", *_KNOBS[kind]])
        return _MADE[kind](self.knobs.values)


Settings = dict[str, Any]


def _timed(settings: Settings) -> BatchPolicy:
    return BatchPolicy(max_size=settings["max_size"], max_wait=settings["max_wait"] / 1000)


def _conserving(settings: Settings) -> WorkConserving:
    return WorkConserving(max_size=settings["max_size"])


def _deadline(settings: Settings) -> DeadlineAware:
    size = BatchPolicy(max_size=settings["max_size"]).max_size
    if size > _MOST_TIMES:
        raise InvalidInput(f"max_size must be from 1 to {_MOST_TIMES} here, got {size}.")
    service = [round(settings["first"] + n * settings["more"], 9) / 1000 for n in range(size)]
    if min(service) <= 0:
        raise InvalidInput(f"first must be such that a batch takes time, got {service[0]:g} s.")
    return DeadlineAware(
        latency=settings["latency"] / 1000, service=tuple(service), margin=settings["margin"] / 1000
    )


def _steered(settings: Settings) -> Steered:
    return Steered(
        latency=settings["latency"] / 1000,
        **{name: settings[name] for name in ("quantile", "max_size", "window")},
    )


def _replanned(settings: Settings) -> Replanned:
    try:
        parts = [each.split() for each in settings["settings"].split(",")]
        planned = [
            (float(start), BatchPolicy(max_size=int(size), max_wait=float(wait) / 1000))
            for start, size, wait in parts
        ]
        return Replanned(settings=planned)
    except ValueError as error:
        why = f": {error}" if isinstance(error, InvalidInput) else "."
        raise InvalidInput(
            "settings must be a start in seconds, a size and a wait in milliseconds each, as in "
            f"'0 8 25, 30 1 0', got {settings['settings']!r}{why}"
        ) from None


_MADE: dict[str, Callable[[Settings], Policy]] = {
    _NONE: lambda _: BatchPolicy(),
    _TIMED: _timed,
    _CONSERVING: _conserving,
    _DEADLINE: _deadline,
    _STEERED: _steered,
    _REPLANNED: _replanned,
}


def _held(policy: Policy) -> Settings:
    """Return what the controls hold for a policy, the kind last."""
    match policy:
        case BatchPolicy(max_size=1):
            return {"kind": _NONE}
        case BatchPolicy():
            wait = round(1000 * policy.max_wait, 6)
            return {"max_size": policy.max_size, "max_wait": wait, "kind": _TIMED}
        case WorkConserving():
            return {"max_size": policy.max_size, "kind": _CONSERVING}
        case DeadlineAware():
            return _held_deadline(policy)
        case Steered():
            latency = round(1000 * policy.latency, 6)
            same = {name: getattr(policy, name) for name in ("quantile", "max_size", "window")}
            return {**same, "latency": latency, "kind": _STEERED}
        case Replanned():
            planned = [_three(start, to) for start, to in policy.settings]
            return {"settings": ", ".join(planned), "kind": _REPLANNED}
    raise InvalidInput(
        f"There are no controls for {policy!r}: take one of workbench.batching.policies."
    )


def _held_deadline(policy: DeadlineAware) -> Settings:
    service: Sequence[float] = policy.service
    more = (service[-1] - service[0]) / max(1, len(service) - 1)
    settings = {"latency": policy.latency, "margin": policy.margin, "first": service[0]}
    held = {name: round(1000 * value, 6) for name, value in {**settings, "more": more}.items()}
    return {**held, "max_size": policy.max_size, "kind": _DEADLINE}


def _three(start: float, policy: BatchPolicy) -> str:
    return f"{start:g} {policy.max_size} {1000 * policy.max_wait:g}"
