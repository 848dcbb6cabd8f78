"""Batching: every policy with its own settings."""

from collections.abc import Callable, Sequence
from typing import Any

from workbench.batching.policies import DeadlineAware, Replanned, Steered, WorkConserving
from workbench.batching.timer import BatchPolicy, Policy
from workbench.errors import InvalidInput
from workbench.widgets.form import choice, integer, number, text
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
_SETTINGS_BY_KIND = {
    _NONE: (),
    _TIMED: ("max_size", "max_wait"),
    _CONSERVING: ("max_size",),
    _DEADLINE: ("max_size", "latency", "margin", "first", "more"),
    _STEERED: ("max_size", "latency", "quantile", "window"),
    _REPLANNED: ("settings",),
}


_ABOUT = "How requests become batches."
_MAX_SERVICE_TIMES = 1024  # of a deadline-aware policy: one for each size, all of them in its code


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
                "Policy", [(name, kind) for kind, name in _NAMES.items()], _TIMED, _ABOUT
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
        kind = self["kind"].value
        self.form.show(["kind", *_SETTINGS_BY_KIND[kind]])
        return _FACTORIES[kind](self.form.values)


PolicySettings = dict[str, Any]


def _make_timed(settings: PolicySettings) -> BatchPolicy:
    return BatchPolicy(max_size=settings["max_size"], max_wait=settings["max_wait"] / 1000)


def _make_work_conserving(settings: PolicySettings) -> WorkConserving:
    return WorkConserving(max_size=settings["max_size"])


def _make_deadline_aware(settings: PolicySettings) -> DeadlineAware:
    size = BatchPolicy(max_size=settings["max_size"]).max_size
    if size > _MAX_SERVICE_TIMES:
        raise InvalidInput(f"max_size must be from 1 to {_MAX_SERVICE_TIMES} here, got {size}.")
    service = [round(settings["first"] + n * settings["more"], 9) / 1000 for n in range(size)]
    if min(service) <= 0:
        raise InvalidInput(f"first must be such that a batch takes time, got {service[0]:g} s.")
    return DeadlineAware(
        latency=settings["latency"] / 1000, service=tuple(service), margin=settings["margin"] / 1000
    )


def _make_steered(settings: PolicySettings) -> Steered:
    return Steered(
        latency=settings["latency"] / 1000,
        **{name: settings[name] for name in ("quantile", "max_size", "window")},
    )


def _make_replanned(settings: PolicySettings) -> Replanned:
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


_FACTORIES: dict[str, Callable[[PolicySettings], Policy]] = {
    _NONE: lambda _: BatchPolicy(),
    _TIMED: _make_timed,
    _CONSERVING: _make_work_conserving,
    _DEADLINE: _make_deadline_aware,
    _STEERED: _make_steered,
    _REPLANNED: _make_replanned,
}


def _control_values(policy: Policy) -> PolicySettings:
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
            return _deadline_control_values(policy)
        case Steered():
            latency = round(1000 * policy.latency, 6)
            same = {name: getattr(policy, name) for name in ("quantile", "max_size", "window")}
            return {**same, "latency": latency, "kind": _STEERED}
        case Replanned():
            planned = [_format_change(start, to) for start, to in policy.settings]
            return {"settings": ", ".join(planned), "kind": _REPLANNED}
    raise InvalidInput(
        f"There are no controls for {policy!r}: take one of workbench.batching.policies."
    )


def _deadline_control_values(policy: DeadlineAware) -> PolicySettings:
    service: Sequence[float] = policy.service
    more = (service[-1] - service[0]) / max(1, len(service) - 1)
    settings = {"latency": policy.latency, "margin": policy.margin, "first": service[0]}
    held = {name: round(1000 * value, 6) for name, value in {**settings, "more": more}.items()}
    return {**held, "max_size": policy.max_size, "kind": _DEADLINE}


def _format_change(start: float, policy: BatchPolicy) -> str:
    return f"{start:g} {policy.max_size} {1000 * policy.max_wait:g}"
