"""How a fleet changes its size, and what takes the work that it cannot: policy and overflow."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from workbench.deployment import KINDS, ByDeadline, Deployment, Hedge, Hybrid
from workbench.deployment.platforms import FleetPlatform
from workbench.deployment.spill import SPILL_RULES, SpillRule
from workbench.scaling import SCALING_POLICIES, Schedule, TargetTracking
from workbench.scaling.base import ScalingPolicy
from workbench.widgets.form import show
from workbench.widgets.pickers import Picker
from workbench.widgets.settings_form import SettingsForm

_NONE = "none"
_BEGIN_POLICIES: dict[str, Any] = {
    TargetTracking.kind: TargetTracking(target=600.0),
    Schedule.kind: Schedule([(0.0, 1), (60.0, 2)]),
}
"""What the controls begin with of policies that have no defaults throughout."""

_BEGIN_RULES: dict[str, SpillRule] = {
    ByDeadline.kind: ByDeadline(latency=0.1, service=(0.02,)),
    Hedge.kind: Hedge(after=0.1),
}


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
        words = ["The fleet keeps its size." if self.policy is None else "The fleet is scaled."]
        if self.overflow is not None and self.spill is not None:
            words.append(f"To {self.overflow.label}: {self.spill.label}.")
        return " ".join(words)


class ScalingPicker(Picker):
    """The scaling policy of a fleet, its overflow and when that is used, each with its settings.

    `value` is a `ScaledDeployment`. Where the deployment is no fleet, nothing is shown and nothing
    scaled: see `offer`. Controls are had by group: `picker.policy["target"].value = 300`.
    """

    def __init__(self) -> None:
        self._scales = self._spills = False
        policies = {
            kind: _BEGIN_POLICIES.get(kind) or each() for kind, each in SCALING_POLICIES.items()
        }
        on_demand = {kind: each.example() for kind, each in KINDS.items() if each.on_demand}
        rules = {kind: _BEGIN_RULES.get(kind) or each() for kind, each in SPILL_RULES.items()}
        self.overflow = SettingsForm("Overflow", {_NONE: None, **on_demand}, self._read)
        self.spill = SettingsForm("Spill", rules, self._read)
        self.policy = SettingsForm("Scaled by", {_NONE: None, **policies}, self._read)
        self._wrong: SettingsForm | None = None  # the group that the error is about
        self._groups: Sequence[SettingsForm] = (self.overflow, self.spill, self.policy)
        super().__init__("Scaling", {}, *self._groups)

    def offer(self, deployment: Deployment | None) -> None:
        """Show what the deployment can have, which is nothing unless it is a fleet."""
        self._scales = self._spills = False
        if deployment is not None and isinstance(deployment.platform, FleetPlatform):
            self._scales = bool(deployment.scaled_by)
            self._spills = deployment.takes_overflow
        self._read()

    def set(self, deployment: Deployment, policy: ScalingPolicy | None = None) -> None:
        """Have the controls hold the overflow of a hybrid, and this policy where they can."""
        if isinstance(deployment, Hybrid):
            self.overflow.set(deployment.overflow.kind, deployment.overflow)
            self.spill.set(deployment.spill.kind, deployment.spill)
        else:
            self.overflow.kind.value = _NONE
        kind = getattr(policy, "kind", _NONE)
        if kind in SCALING_POLICIES:
            self.policy.set(kind, policy)
        else:
            self.policy.kind.value = _NONE
        self._read()

    def _make(self) -> ScaledDeployment:
        overflow = self._made(self.overflow, shown=self._spills)
        spill = self._made(self.spill, shown=overflow is not None)
        policy = self._made(self.policy, shown=self._scales)
        show(self, shown=self._scales or self._spills)
        self._wrong = None
        return ScaledDeployment(policy, overflow, spill)

    def _made(self, group: SettingsForm, *, shown: bool) -> Any:  # noqa: ANN401 - a value of the group
        self._wrong = group
        show(group, shown=shown)
        return group.make() if shown else None

    def _show_error(self, error: str) -> bool:
        said = [each.refuse(error if each is self._wrong else "") for each in self._groups]
        return any(said)
