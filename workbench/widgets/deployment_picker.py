"""Where a model runs: every inference type with its own knobs, and what it costs as they turn."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import ipywidgets
import traitlets

from workbench.costing import Items, Usage, bill
from workbench.deployment import (
    KINDS,
    Async,
    BatchTransform,
    Deployment,
    Lambda,
    Local,
    RealTime,
    Serverless,
    instance_vcpus,
)
from workbench.errors import InvalidInput, NotFound
from workbench.formatting import dollars, milliseconds
from workbench.prices import PriceSheet, weakest
from workbench.widgets.form import Control, Form, choice, integer, number, text
from workbench.widgets.pickers import Picker

_DEFAULTS = {
    each.kind: each
    for each in (
        Local(),
        RealTime(instance_type="ml.m5.large"),
        Serverless(memory_mb=2048, max_concurrency=20),
        Async(instance_type="ml.m5.large"),
        BatchTransform(instance_type="ml.m5.large"),
        Lambda(memory_mb=1769, max_concurrency=100),
    )
}
"""What each inference type begins with."""

_LABELS = {
    "workers": "Workers",
    "threads": "Threads",
    "hourly_price": "Price (USD/hour)",
    "instance_type": "Instance type",
    "count": "Instances",
    "routing": "Routing",
    "memory_mb": "Memory (MB)",
    "max_concurrency": "Max concurrency",
    "provisioned": "Provisioned",
    "keep_alive": "Keep alive (s)",
    "on_limit": "At the limit",
    "concurrency": "Calls at once",
    "ttl": "In queue (s)",
    "timeout": "Timeout (s)",
    "period": "Job every (s)",
    "architecture": "Architecture",
}
_CHOICES: dict[tuple[str, str], Sequence[Any]] = {
    (RealTime.kind, "routing"): ("least_outstanding", "random", "shared"),
    (Serverless.kind, "memory_mb"): range(1024, 6145, 1024),
    (Serverless.kind, "on_limit"): ("reject", "queue"),
    (Lambda.kind, "on_limit"): ("reject", "queue"),
    (Lambda.kind, "architecture"): ("x86_64", "arm64"),
}
_OPTIONAL_SETTINGS = {
    "concurrency": "SageMaker chooses",
    "period": "one job at the end",
}

CALL_SECONDS = 0.1
"""Seconds of the call of which a million are priced, where nothing better is known."""


class DeploymentPicker(Picker):
    """An inference type with its own knobs alone; `value` is a deployment.

    The line under them tells the price, an hour and a million. Those of instances hang on the
    traffic, and those of calls on how long one takes: `rate` and `call` say what is reckoned with.
    The knobs of the chosen type can be had by name: `picker["memory_mb"].value = 4096`.

    Args:
        value: The deployment to begin with.
        prices: The price sheet, by default that of us-east-1.
    """

    rate = traitlets.Float(None, allow_none=True)
    call = traitlets.Float(CALL_SECONDS)

    def __init__(
        self, value: Deployment | None = None, *, prices: PriceSheet | None = None
    ) -> None:
        value = value or Local()
        self._prices = prices or PriceSheet.load()
        self._forms: dict[str, Form] = {}
        self._box = ipywidgets.VBox()
        kinds = [(kind[:1].upper() + kind[1:], kind) for kind in KINDS]
        self.kind = choice("Type", kinds, value.kind)
        self._build_form(value)
        super().__init__("Inference type", {"kind": self.kind}, self._box)
        self.observe(self._read, ["rate", "call"])

    def __getitem__(self, name: str) -> Control:
        return self._form[name]

    def set(self, value: Deployment) -> None:
        """Have the controls hold this deployment."""
        self._build_form(value)
        self.kind.value = value.kind
        self._read()

    @property
    def _form(self) -> Form:
        kind = self.kind.value
        if kind not in self._forms:
            self._build_form(_DEFAULTS[kind])
        return self._forms[kind]

    def _build_form(self, value: Deployment) -> None:
        controls = {each.name: self._control(value, each.name) for each in fields(value)}
        self._forms[value.kind] = Form(controls, self._read)

    def _control(self, value: Deployment, name: str) -> Control:
        now, label = getattr(value, name), _LABELS[name]
        if name in _OPTIONAL_SETTINGS:
            return text(label, "" if now is None else f"{now:g}", _OPTIONAL_SETTINGS[name])
        if name == "instance_type":
            return choice(label, self._instance_types(now), now)
        if options := _CHOICES.get((value.kind, name)):
            return choice(label, options, now)
        return integer(label, now) if isinstance(now, int) else number(label, now)

    def _instance_types(self, *more: str) -> list[str]:
        """Return the types whose price and vCPUs are both known."""
        priced = {row.item for row in self._prices.rows if row.item.startswith("ml.")}
        return sorted({*filter(_has_vcpus, priced), *more})

    def _make(self) -> Deployment:
        form = self._form
        if self._box.children != (form,):
            self._box.children = (form,)
        settings = {
            name: _parse_optional(name, value) if name in _OPTIONAL_SETTINGS else value
            for name, value in form.values.items()
        }
        return KINDS[self.kind.value](**settings)

    def _show_error(self, error: str) -> bool:
        return self._form.refuse(error)

    def _describe(self, value: Deployment) -> str:
        try:
            price = describe_price(value, rate=self.rate, call=self.call, prices=self._prices)
        except NotFound as error:
            price = str(error)
        return f"{value.label}. {price}"


def _has_vcpus(instance_type: str) -> bool:
    try:
        return instance_vcpus(instance_type) > 0
    except NotFound:
        return False


def _parse_optional(name: str, entered: str) -> float | int | None:
    """Return the number in a control that may be left empty."""
    if not entered.strip():
        return None
    try:
        number = float(entered)
    except ValueError:
        raise InvalidInput(
            f"{name} must be a number, or nothing ({_OPTIONAL_SETTINGS[name]}), got {entered!r}."
        ) from None
    return int(number) if number.is_integer() else number


def describe_price(
    deployment: Deployment,
    *,
    rate: float | None = None,
    call: float = CALL_SECONDS,
    prices: PriceSheet | None = None,
) -> str:
    """Return what a deployment costs an hour and a million requests, and how the price is known.

    Args:
        deployment: What is to be paid for.
        rate: Requests a second, each a call of its own.
        call: Seconds of a call, where calls are billed.
        prices: The price sheet, by default that of us-east-1.

    >>> describe_price(RealTime(instance_type="ml.m5.large", count=2), rate=100)
    '$0.23 an hour, $0.639 a million requests at 100 a second (price verified, 2026-05-08).'
    >>> describe_price(Local())
    'This machine counts as free: give its price.'
    """
    match deployment:
        case Local(hourly_price=0.0):
            return "This machine counts as free: give its price."
        case Serverless() | Lambda():
            return _describe_call_price(deployment, rate, call, prices)
    counted = max(1, getattr(deployment, "count", 1))
    hour = Usage(seconds=3600, instance_seconds=3600 * counted)
    items = bill(deployment, hour, prices=prices)
    hourly = _total(items)
    words = f"{_usd(hourly)} an hour"
    if isinstance(deployment, BatchTransform):
        words += " while a job runs"
    elif getattr(deployment, "count", 1) == 0:
        words += " for each instance that is there"
    elif rate:
        words += f", {_usd(1e6 * hourly / 3600 / rate)} a million requests at {rate:.4g} a second"
    return f"{words} ({_describe_price_source(items)})."


def _describe_call_price(
    deployment: Serverless | Lambda, rate: float | None, call: float, prices: PriceSheet | None
) -> str:
    million = bill(deployment, Usage(seconds=1e6 * call, calls=1_000_000), prices=prices)
    kept = bill(deployment, Usage(enabled_seconds=3600 * deployment.provisioned), prices=prices)
    words = f"{_usd(_total(million))} a million calls of {milliseconds(call)}"
    if rate:
        hourly = _total(million) * rate * 3600 / 1e6
        words += f", {_usd(hourly)} an hour at {rate:.4g} a second unbatched"
    if kept:
        words += f", and {_usd(_total(kept))} an hour for {deployment.provisioned} provisioned"
    return f"{words} ({_describe_price_source((*million, *kept))})."


def _total(items: Items) -> float:
    return sum(item.dollars for item in items)


def _usd(amount: float) -> str:
    """Return an amount in dollars, of less than one with three digits: prices have them."""
    return dollars(amount) if amount >= 1 or amount < 0.001 else f"${amount:.3g}"


def _describe_price_source(items: Items) -> str:
    dates = sorted(item.date for item in items if item.date)
    mark = weakest(item.mark for item in items)
    return f"price {mark}, {dates[0]}" if dates else "price by your account"
