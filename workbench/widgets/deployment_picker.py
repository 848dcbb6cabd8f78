"""Where a model runs: every inference type with its own settings, and what it costs with them."""

import traitlets

from workbench.deployment import KINDS, Deployment, instance_vcpus
from workbench.errors import NotFound
from workbench.formatting import dollars, duration
from workbench.pricing.cost import Items, total
from workbench.pricing.sheet import PriceSheet, weakest
from workbench.pricing.usage import Usage
from workbench.widgets.form import Control
from workbench.widgets.pickers import Picker
from workbench.widgets.settings_form import SettingsForm

CALL_SECONDS = 0.1
"""Seconds of the call of which a million are priced, where nothing better is known."""


class DeploymentPicker(Picker):
    """An inference type with its own settings alone; `value` is a deployment.

    The line under them tells the price, an hour and a million. Those of instances hang on the
    traffic, and those of calls on how long one takes: `rate` and `call` say what is reckoned with.
    The settings of the chosen type are had by name: `picker["memory_mb"].value = 4096`. Prices are
    by default those of us-east-1.
    """

    rate = traitlets.Float(None, allow_none=True)
    call = traitlets.Float(CALL_SECONDS)

    def __init__(
        self, value: Deployment | None = None, *, prices: PriceSheet | None = None
    ) -> None:
        value = value or next(iter(KINDS.values())).example()
        self._prices = prices or PriceSheet.load()
        examples = {kind: each.example() for kind, each in KINDS.items()} | {value.kind: value}
        choices = {"instance_type": self._instance_types}
        self._settings = SettingsForm(
            "Where",
            examples,
            self._read,
            begin=value.kind,
            choices=choices,
            about="The inference type: today's choice, which the others are compared with.",
        )
        self.kind = self._settings.kind
        super().__init__("Inference type", {}, self._settings)
        self.observe(self._read, ["rate", "call"])

    def __getitem__(self, name: str) -> Control:
        return self._settings[name]

    def lift_kind(self) -> Control:
        """Return the list of inference types, to be shown elsewhere from now on."""
        return self._settings.lift_kind()

    def set(self, value: Deployment) -> None:
        """Have the controls hold this deployment."""
        self._settings.set(value.kind, value)
        self._read()

    def _instance_types(self, *more: str) -> list[str]:
        """Return the types whose price and vCPUs are both known."""
        priced = {row.item for row in self._prices.rows if row.item.startswith("ml.")}
        return sorted({*filter(_has_vcpus, priced), *more})

    def _make(self) -> Deployment:
        made: Deployment = self._settings.make()
        return made

    def _show_error(self, error: str) -> str:
        return self._settings.refuse(error)

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

    >>> from workbench.deployment import Local, RealTime
    >>> describe_price(RealTime(instance_type="ml.m5.large", count=2), rate=100)
    '$0.23 an hour, $0.639 a million requests at 100 a second (price verified, 2026-05-08).'
    >>> describe_price(Local())
    'This machine counts as free: give its price.'
    """
    if deployment.on_demand:
        return _describe_call_price(deployment, rate, call, prices)
    there = deployment.platform.idle_instances
    one = deployment if there else deployment.with_count(1)
    items = one.bill(one.idle_usage(3600.0), prices=prices)
    hourly = total(items)
    if not hourly:
        return "This machine counts as free: give its price."
    words = f"{_usd(hourly)} an hour"
    if deployment.by_job:
        words += " while a job runs"
    elif not there:
        words += " for each instance that is there"
    elif rate:
        words += f", {_usd(1e6 * hourly / 3600 / rate)} a million requests at {rate:.4g} a second"
    return f"{words} ({_describe_price_source(items)})."


def _describe_call_price(
    deployment: Deployment, rate: float | None, call: float, prices: PriceSheet | None
) -> str:
    million = deployment.bill(Usage(seconds=1e6 * call, calls=1_000_000), prices=prices)
    kept = deployment.bill(deployment.idle_usage(3600.0), prices=prices)
    words = f"{_usd(total(million))} a million calls of {duration(call)}"
    if rate:
        hourly = total(million) * rate * 3600 / 1e6
        words += f", {_usd(hourly)} an hour at {rate:.4g} a second unbatched"
    if kept:
        count = deployment.platform.idle_instances
        words += f", and {_usd(total(kept))} an hour for {count} provisioned"
    return f"{words} ({_describe_price_source((*million, *kept))})."


def _usd(amount: float) -> str:
    """Return an amount in dollars, of less than one with three digits: prices have them."""
    return dollars(amount) if amount >= 1 or amount < 0.001 else f"${amount:.3g}"


def _describe_price_source(items: Items) -> str:
    dates = sorted(item.date for item in items if item.date)
    mark = weakest(item.mark for item in items)
    return f"price {mark}, {dates[0]}" if dates else "price by your account"
