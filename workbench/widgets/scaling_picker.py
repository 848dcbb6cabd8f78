"""How a fleet changes its size, and what takes the work that it cannot: policy and overflow."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from workbench import forecasts
from workbench.deployment import KINDS, ByDeadline, Deployment, Hedge, Hybrid
from workbench.deployment.platforms import FleetPlatform
from workbench.deployment.spill import SPILL_RULES, SpillRule
from workbench.errors import WorkbenchError
from workbench.formatting import dollars, percent
from workbench.pricing.cost import total
from workbench.pricing.usage import Usage
from workbench.scaling import SCALING_POLICIES, InstanceCapacity, Schedule, TargetTracking
from workbench.scaling.base import ScalingPolicy
from workbench.scaling.mark import MArkDescribed, MArkReleased
from workbench.scaling.newsvendor import count_for_quantile, price_count
from workbench.scaling.predictive import Predictive
from workbench.traffic.trace import Trace
from workbench.units import HOUR
from workbench.widgets.form import Form, button, choice, number, show, slider
from workbench.widgets.pickers import Picker
from workbench.widgets.settings_form import SettingsForm

_NONE = "none"
_BEGIN_POLICIES: dict[str, Any] = {
    TargetTracking.kind: TargetTracking(target=600.0),
    Schedule.kind: Schedule([(0.0, 1), (60.0, 2)]),
}
"""What the controls begin with of policies that have no defaults throughout."""

# the target that a new experiment has, and a call well below it
_BEGIN_RULES: dict[str, SpillRule] = {
    ByDeadline.kind: ByDeadline(latency=0.1, service=(0.02,)),
    Hedge.kind: Hedge(after=0.1),
}

_PLANNED = {
    Predictive.kind: ("rate", "call", "boot", "interval", "forecaster", "quantile"),
    MArkDescribed.kind: ("rate", "interval", "forecaster"),
    MArkReleased.kind: ("rate", "interval"),
}
"""The policies that plan by what one instance can do, and their controls."""

_FORECASTERS = {
    name: getattr(forecasts, name)
    for name in forecasts.__all__
    if name not in {"Conformal", "Forecaster", "Oracle", "StatsForecast"}
}
"""Those that learn from the counts alone."""

_GUESSED = 100.0  # ms of a call, until it is known
_GUESSES = (
    "What one instance can do and what a call takes are examples: press Find the rate to have "
    "those of this model."
)
_STEP = 0.001  # of the slider


class ScaledDeployment(NamedTuple):
    """A scaling policy, and functions for what the fleet cannot take; None where there is none."""

    policy: ScalingPolicy | None = None
    overflow: Deployment | None = None
    spill: SpillRule | None = None

    def on(self, base: Deployment) -> Deployment:
        """Return the fleet, or the hybrid that it is the base of.

        Raises:
            InvalidInput: The fleet takes no overflow.
        """
        if self.overflow is None or self.spill is None:
            return base
        return Hybrid(base=base, overflow=self.overflow, spill=self.spill)

    @property
    def settings(self) -> dict[str, ScalingPolicy]:
        """The arguments of `simulate` and `run` that follow from it."""
        return {} if self.policy is None else {"scaling": self.policy}

    @property
    def label(self) -> str:
        """What the line under the controls says."""
        how = None if self.policy is None else self.policy.to_dict()["kind"]
        words = ["The fleet keeps its size." if how is None else f"The fleet's size: {how}."]
        if self.overflow is not None and self.spill is not None:
            words.append(f"What goes to {self.overflow.label}: {self.spill.label}.")
        return " ".join(words)


def describe_quantile(
    quantile: float, trace: Trace, capacity: InstanceCapacity, call_price: float, interval: float
) -> str:
    """Return how many instances a quantile of the traffic's demand keeps, and what that costs.

    >>> from workbench.traffic.patterns import constant
    >>> one = InstanceCapacity(instance_type="c5.xlarge", rate=5, hourly_price=0.2)
    >>> describe_quantile(0.9, constant(rate=8, duration=60), one, 2e-5, 1.0)
    '2 instances for quantile 0.9 of demand, enough 100 % of the time: $0.40 an hour, functions \
$0.00.'
    >>> describe_quantile(0.0, constant(rate=8, duration=60), one, 2e-5, 1.0)
    'No instances: functions answer everything, $0.58 an hour.'
    """
    demand = trace.counts(min(interval, trace.duration)) / min(interval, trace.duration)
    found = price_count(
        count_for_quantile(quantile, demand, capacity), demand, capacity, call_price
    )
    functions = dollars(HOUR * found.function_dollars)
    if not found.instances:
        return f"No instances: functions answer everything, {functions} an hour."
    return (
        f"{found.instances} instance{'s' * (found.instances > 1)} for quantile {quantile:.3g} of "
        f"demand, enough {percent(found.covered)} of the time: "
        f"{dollars(HOUR * found.instance_dollars)} an hour, functions {functions}."
    )


class ScalingPicker(Picker):
    """The scaling policy of a fleet, its overflow and when that is used, each with its settings.

    `value` is a `ScaledDeployment`. Where the deployment is no fleet, nothing is shown and nothing
    scaled: see `offer`. Controls are had by group: `picker.policy["target"].value = 300`; those of
    policies that plan ahead are `picker.planned`, with the quantile of demand as a slider. It
    begins at the critical one, where an instance more costs as much as it saves.

    Args:
        find: Returns what one instance of the fleet can do; None: nobody does.
        time_call: Returns the seconds that a function takes for a request, where `find` is asked.
    """

    def __init__(
        self,
        find: Callable[[], InstanceCapacity] | None = None,
        time_call: Callable[[Deployment], float] | None = None,
    ) -> None:
        self._find, self._time_call = find, time_call
        self._base: Deployment | None = None
        self._trace: Trace | None = None
        self._critical, self._waits = 0.0, False
        policies = {kind: _BEGIN_POLICIES.get(kind) or each() for kind, each in _plain_policies()}
        on_demand = {kind: each.example() for kind, each in KINDS.items() if each.on_demand}
        rules = {kind: _BEGIN_RULES.get(kind) or each() for kind, each in SPILL_RULES.items()}
        planned = dict.fromkeys(_PLANNED)
        self.overflow = SettingsForm(
            "Overflow",
            {_NONE: None, **on_demand},
            self._read,
            about="Functions that take what the fleet cannot.",
        )
        self.spill = SettingsForm(
            "Spill", rules, self._read, about="Which requests go to the functions."
        )
        self.policy = SettingsForm(
            "Scaled by",
            {_NONE: None, **policies, **planned},
            self._read,
            about="How the fleet changes its size.",
        )
        self.planned = Form(_make_planned_controls(), self._read)
        self.find_button = button(
            "Find the rate", "Simulate what one instance of this model can take."
        )
        self.find_button.on_click(lambda _: self._find_or_tell())
        self._groups: Sequence[SettingsForm | Form] = (
            *(self.overflow, self.spill, self.policy, self.planned),
        )
        self._wrong: SettingsForm | Form | None = None  # the group that the error is about
        super().__init__("Scaling", {}, *self._groups, self.find_button)

    def offer(self, deployment: Deployment | None, trace: Trace | None = None) -> None:
        """Show what the deployment can have, which is nothing unless it is a fleet."""
        self._base, self._trace = deployment, trace
        self._read()

    def find(self) -> None:
        """Have the controls hold the rate that one instance can take, and what a call takes.

        Raises:
            InvalidInput: None meets the target.
        """
        found = {} if self._find is None else {"rate": self._find().rate}
        if self._time_call is not None and self.value and self.value.overflow is not None:
            found["call"] = 1000 * self._time_call(self.value.overflow)
        self._waits = True  # or the slider moves twice, and a browser sends its first place back
        try:
            for name, figure in found.items():
                self.planned[name].value = round(figure, 4)
        finally:
            self._waits = False
        self._read()

    def _read(self, change: object = None) -> None:
        if not self._waits:
            super()._read(change)

    def _find_or_tell(self) -> None:
        self.status.say("Finding what one instance can do.")
        try:
            self.find()
        except WorkbenchError as error:
            self.status.say(str(error), wrong=True)

    def set(self, deployment: Deployment, policy: ScalingPolicy | None = None) -> None:
        """Have the controls hold the overflow of a hybrid, and this policy where they can."""
        if isinstance(deployment, Hybrid):
            self.overflow.set(deployment.overflow.kind, deployment.overflow)
            self.spill.set(deployment.spill.kind, deployment.spill)
        else:
            self.overflow.kind.value = _NONE
        kind = _NONE if policy is None else policy.to_dict()["kind"]
        if kind in _PLANNED:
            self._set_planned(policy)
            self.policy.kind.value = kind
        elif kind in dict(_plain_policies()):
            self.policy.set(kind, policy)
        else:
            self.policy.kind.value = _NONE
        self._read()

    def _set_planned(self, policy: Any) -> None:  # noqa: ANN401 - one of three
        capacity = policy.capacities[0]
        self.planned["rate"].value, self.planned["interval"].value = capacity.rate, policy.interval
        forecaster = type(getattr(policy, "forecaster", None)).__name__
        if forecaster in _FORECASTERS:
            self.planned["forecaster"].value = forecaster
        if isinstance(policy, Predictive):
            self.planned["boot"].value = policy.boot
            self.planned["quantile"].value = policy.quantile or self._critical

    def _make(self) -> ScaledDeployment:
        base = self._base
        fleet = base is not None and isinstance(base.platform, FleetPlatform)
        spills = fleet and base is not None and base.takes_overflow
        scales = fleet and base is not None and bool(base.scaled_by)
        show(self, shown=spills or scales)
        overflow = self._make_group(self.overflow, shown=spills)
        spill = self._make_group(self.spill, shown=overflow is not None)
        policy = self._make_group(self.policy, shown=scales)
        planned = _PLANNED.get(self.policy.kind.value, ()) if scales else ()
        self._wrong = self.planned
        self.planned.show(planned)
        show(self.find_button, shown=bool(planned) and self._find is not None)
        if planned and base is not None:
            policy = self._plan(base, overflow)
        self._wrong = None
        return ScaledDeployment(policy, overflow, spill)

    def _make_group(self, group: SettingsForm, *, shown: bool) -> Any:  # noqa: ANN401 - a value of the group
        self._wrong = group
        show(group, shown=shown)
        return group.make() if shown else None

    def _plan(self, base: Deployment, overflow: Deployment | None) -> ScalingPolicy:
        """Return the policy that plans by what one instance can do."""
        from workbench.planner.instance_capacity import price_instance

        held = self.planned.values
        capacity = price_instance(base, held["rate"])
        same: dict[str, Any] = {"capacity": capacity, "interval": held["interval"]}
        if self.policy.kind.value == MArkReleased.kind:
            return MArkReleased(**same)
        forecaster = _FORECASTERS[held["forecaster"]]()
        if self.policy.kind.value == MArkDescribed.kind:
            return MArkDescribed(forecaster=forecaster, **same)
        call_price = None if overflow is None else price_of_call(overflow, held["call"] / 1000)
        policy = Predictive(forecaster=forecaster, call_price=call_price, boot=held["boot"], **same)
        return self._with_quantile(policy)

    def _with_quantile(self, policy: Predictive) -> Predictive:
        """Return the policy at the slider's quantile, which follows the critical one."""
        held = self.planned["quantile"]
        critical = round(round(policy.quantiles[0] / _STEP) * _STEP, 3)
        before, self._critical = self._critical, critical
        if abs(held.value - before) < _STEP / 2 and critical != before:
            held.value = critical
        if abs(held.value - critical) < _STEP / 2 or not held.value:
            return policy
        return replace(policy, quantile=round(held.value, 3))

    def _describe(self, value: ScaledDeployment) -> str:
        policy, words = value.policy, [value.label]
        if self._find is not None and hasattr(policy, "capacities"):
            words += [_GUESSES] if self.planned["call"].value == _GUESSED else []
        if not isinstance(policy, Predictive):
            return " ".join(words)
        words.append(policy.advice)
        if self._trace is not None and policy.call_price is not None:
            level = policy.quantiles[0]
            demand = self._trace, policy.capacities[0], policy.call_price, policy.interval
            words.append(describe_quantile(level, *demand))
            words.append(f"By prices alone: quantile {self._critical:.3g}.")
        return " ".join(filter(None, words))

    def _show_error(self, error: str) -> str:
        said = [each.refuse(error if each is self._wrong else "") for each in self._groups]
        return "".join(said)


def _plain_policies() -> list[tuple[str, Any]]:
    """Return the policies whose settings alone make their controls, by kind."""
    return [(kind, each) for kind, each in SCALING_POLICIES.items() if kind not in _PLANNED]


def _make_planned_controls() -> dict[str, Any]:
    about = "The share of the time for which the fleet is to be large enough."
    limits = {"value": 0.0, "min": 0.0, "max": 0.999, "step": _STEP}
    quantile = slider("Quantile", about, **limits, readout=False)  # the line below tells it
    quantile.style.description_width = "60px"  # a column is narrow
    return {
        "rate": number("One can do (1/s)", 10.0, "Requests a second that one instance can take."),
        "call": number("A call takes (ms)", _GUESSED, "How long a function works on a request."),
        "boot": number("Boot (s)", 180.0, "How long a new instance takes to start."),
        "interval": number("Plans every (s)", 60.0, "Seconds between two decisions on the size."),
        "forecaster": choice(
            "Forecaster", list(_FORECASTERS), "Persistence", "What foretells the next traffic."
        ),
        "quantile": quantile,
    }


def price_of_call(function: Deployment, seconds: float) -> float:
    """Return US dollars of a call of so many seconds.

    >>> from workbench.deployment import Lambda
    >>> f"{price_of_call(Lambda(memory_mb=1024, max_concurrency=9), 0.1):.3g}"
    '1.87e-06'
    """
    return total(function.bill(Usage(seconds=seconds, calls=1)))
