"""Controls that together hold one value of the package: a model, a deployment, a trace, ..."""

from collections.abc import Callable
from typing import Any

import ipywidgets
import traitlets

from workbench.batching import BatchPolicy
from workbench.deployment import (
    KINDS,
    Async,
    BatchTransform,
    Deployment,
    Lambda,
    Local,
    RealTime,
    Serverless,
)
from workbench.errors import InvalidInput, NotFound, WorkbenchError
from workbench.registry import Model, Registry
from workbench.run import SLO
from workbench.trace import Trace
from workbench.traffic import bursty, constant, poisson
from workbench.widgets.notebook import Keyboard, Status

MOST_REQUESTS = 1_000_000
"""What a picker draws at once, in about half a second; longer traces are made in code."""


class Picker(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Base of the pickers: a title, labelled controls, and a line that says what they make.

    `value` is None while the controls make no value; `error` then says why, as does the line.
    """

    value = traitlets.Any(None, allow_none=True, read_only=True)
    error = traitlets.Unicode("", read_only=True)

    def __init__(self, title: str, *controls: ipywidgets.DOMWidget) -> None:
        self.status = Status()
        heading = ipywidgets.HTML(f"<strong>{title}</strong>")
        super().__init__([heading, *controls, self.status, Keyboard()])
        self.title = title
        self.add_class("wb")
        for control in controls:
            control.observe(self._read, "value")
        self._read()

    def _read(self, _change: object = None) -> None:
        try:
            value, error = self._make(), ""
            self.status.say(self._words(value))
        except WorkbenchError as refusal:
            value, error = None, str(refusal)
            self.status.say(error, wrong=True)
        self.set_trait("error", error)
        self.set_trait("value", value)

    def _make(self) -> Any:  # noqa: ANN401 - each picker's own
        """Return the value that the controls make, or raise what is wrong with them."""
        raise NotImplementedError

    def _words(self, value: Any) -> str:  # noqa: ANN401 - each picker's own
        """Return what the value is, for the line under the controls."""
        return str(value.label)


class ModelPicker(Picker):
    """The newest approved version of a group; `value` is a `Model`.

    Args:
        registry: Where the models are.
        group: The one to begin with, where there is one of that name.
    """

    def __init__(self, registry: Registry, group: str = "") -> None:
        models = [model for name in registry if (model := _approved(registry, name))]
        names = [model.group for model in models]
        self.group = ipywidgets.Dropdown(
            description="Model",
            options=list(zip(names, models, strict=True)),
            index=names.index(group) if group in names else 0 if models else None,
            **_wide(),
        )
        self._where = registry.path
        super().__init__("Model", self.group)

    def _make(self) -> Model:
        model = self.group.value
        if not isinstance(model, Model):
            raise NotFound(
                f"There is no approved model in {self._where}: register one and approve it, or "
                "take wb.Registry(), which has ready-made ones."
            )
        return model

    def _words(self, value: Model) -> str:
        traits = value.traits
        per, unit = (1e6, "MB") if traits.size_bytes >= 1e6 else (1e3, "kB")
        size = f"{value.name}, {traits.size_bytes / per:.1f} {unit}"
        if traits.accuracy is None:
            return size
        return f"{size}, {traits.metric} {traits.accuracy:.3f} on {traits.accuracy_data}"


def _approved(registry: Registry, group: str) -> Model | None:
    try:
        return registry[group]
    except NotFound:
        return None


_EXAMPLES = {
    example.kind: example
    for example in (
        RealTime(instance_type="ml.m5.large"),
        Serverless(memory_mb=2048, max_concurrency=20),
        Async(instance_type="ml.m5.large"),
        BatchTransform(instance_type="ml.m5.large"),
        Lambda(memory_mb=1769, max_concurrency=100),
    )
}


class DeploymentPicker(Picker):
    """An inference type and, for `Local`, its knobs; `value` is a deployment.

    The other types are shown with one setting each and say what running them needs.
    """

    def __init__(self, value: Local | None = None) -> None:
        value = value or Local()
        self.kind = ipywidgets.Dropdown(
            description="Type",
            options=[(kind.capitalize(), kind) for kind in KINDS],
            **_wide(),
        )
        self.workers = _whole("Workers", value.workers)
        self.threads = _whole("Threads", value.threads)
        self.hourly_price = _number("Price (USD/hour)", value.hourly_price)
        self._knobs = (self.workers, self.threads, self.hourly_price)
        super().__init__("Inference type", self.kind, *self._knobs)

    def _make(self) -> Deployment:
        local = self.kind.value == Local.kind
        for knob in self._knobs:
            _show(knob, shown=local)
        if not local:
            return _EXAMPLES[self.kind.value]
        return Local(
            workers=self.workers.value,
            threads=self.threads.value,
            hourly_price=self.hourly_price.value,
        )

    def _words(self, value: Deployment) -> str:
        return f"{value.label}. {value.needs}" if value.needs else value.label


_TRAFFIC: dict[str, tuple[Callable[..., Trace], tuple[str, ...]]] = {
    "bursty": (bursty, ("rate", "burst", "duration", "seed")),
    "poisson": (poisson, ("rate", "duration", "seed")),
    "constant": (constant, ("rate", "duration")),
}


_SETTINGS = {"rate": 300.0, "burst": 6.0, "duration": 10.0, "seed": 1}


def draw_traffic(kind: str = "bursty", **settings: float) -> Trace:
    """Return the trace that a `TrafficPicker` of these settings holds.

    Args:
        kind: "bursty", "poisson" or "constant".
        settings: rate (300 a second), burst (6), duration (10 s) and seed (1), as the arrival
            process takes them; those it does not take are left aside.

    Raises:
        InvalidInput: A setting is out of range, or the trace too long to be drawn at once.

    >>> draw_traffic("constant", rate=4, duration=1)
    <Trace constant(rate=4, duration=1): 4 requests in 1 s, 4 per second>
    """
    make, knobs = _TRAFFIC[kind]
    settings = _SETTINGS | settings
    expected = settings["rate"] * settings["duration"]
    if expected > MOST_REQUESTS:
        raise InvalidInput(
            f"This would be {expected:,.0f} requests, and at most {MOST_REQUESTS:,} are "
            "drawn here: lower rate or duration, or make the trace in code."
        )
    return make(**{name: settings[name] for name in knobs})


class TrafficPicker(Picker):
    """An arrival process and its settings; `value` is the `Trace` it makes.

    Args:
        kind: "bursty", "poisson" or "constant".
        settings: As for `draw_traffic`.
    """

    def __init__(self, kind: str = "bursty", **settings: float) -> None:
        settings = _SETTINGS | settings
        self.kind = ipywidgets.Dropdown(
            description="Arrivals",
            options=[(name.capitalize(), name) for name in _TRAFFIC],
            value=kind,
            **_wide(),
        )
        self.rate = _number("Rate (1/s)", settings["rate"])
        self.burst = _number("Burst (high/low)", settings["burst"])
        self.duration = _number("Duration (s)", settings["duration"])
        self.seed = _whole("Seed", settings["seed"])
        super().__init__("Traffic", self.kind, self.rate, self.burst, self.duration, self.seed)

    def _make(self) -> Trace:
        knobs = {name: getattr(self, name) for name in _SETTINGS}
        for name, knob in knobs.items():
            _show(knob, shown=name in _TRAFFIC[self.kind.value][1])
        return draw_traffic(self.kind.value, **{name: knob.value for name, knob in knobs.items()})

    def _words(self, value: Trace) -> str:
        return f"{len(value):,} requests in {value.duration:g} s, {value.rate:.4g} per second"


class PolicyPicker(Picker):
    """How requests become batches; `value` is a `BatchPolicy`."""

    def __init__(self, value: BatchPolicy | None = None) -> None:
        value = value or BatchPolicy()
        self.max_size = _whole("Max size", value.max_size)
        self.max_wait = _number("Max wait (ms)", 1000 * value.max_wait)
        super().__init__("Batching", self.max_size, self.max_wait)

    def _make(self) -> BatchPolicy:
        return BatchPolicy(max_size=self.max_size.value, max_wait=self.max_wait.value / 1000)


class SLOPicker(Picker):
    """A latency target; `value` is an `SLO`."""

    def __init__(self, value: SLO) -> None:
        self.quantile = ipywidgets.Dropdown(
            description="Percentile",
            options=[(f"p{100 * each:g}", each) for each in sorted({*_QUANTILES, value.quantile})],
            value=value.quantile,
            **_wide(),
        )
        self.latency = _number("Latency (ms)", 1000 * value.latency)
        super().__init__("Target", self.quantile, self.latency)

    def _make(self) -> SLO:
        return SLO(latency=self.latency.value / 1000, quantile=self.quantile.value)


_QUANTILES = (0.5, 0.9, 0.95, 0.99)


def _wide() -> dict[str, Any]:
    """Style of a control: as wide as its box, its label wide enough for every label here."""
    return {
        "style": {"description_width": "116px"},
        "layout": ipywidgets.Layout(width="auto"),
    }


def _whole(label: str, value: float) -> ipywidgets.IntText:
    return ipywidgets.IntText(description=label, value=value, **_wide())


def _number(label: str, value: float) -> ipywidgets.FloatText:
    return ipywidgets.FloatText(description=label, value=round(value, 9), **_wide())


def _show(control: ipywidgets.DOMWidget, *, shown: bool) -> None:
    control.layout.display = None if shown else "none"
