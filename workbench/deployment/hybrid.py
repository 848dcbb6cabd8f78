"""Instances for the steady load, functions for the rest."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

from workbench.deployment.base import Deployment
from workbench.deployment.composite import Composite, as_deployment
from workbench.deployment.platforms import Platform
from workbench.deployment.spill import InFlight, SpillRule, as_spill_rule
from workbench.errors import InvalidInput
from workbench.settings import optional, setting

BASE, OVERFLOW = "base", "overflow"
"""The places of a hybrid's run, in this order."""


@dataclass(frozen=True, kw_only=True)
class Hybrid(Composite):
    """A fleet, and functions that take what spills over, as MArk proposed (ATC 2019).

    `spill` says when a batch goes to the overflow: past so many in flight an instance
    (`InFlight`), where it would miss the target (`ByDeadline`), as a second try (`Hedge`), or only
    while instances boot (`WhileBooting`).

    Raises:
        InvalidInput: The base is no fleet that can be billed, or the overflow does not start on
            demand.

    >>> from workbench.deployment import Lambda, RealTime
    >>> base, overflow = RealTime(instance_type="ml.c5.xlarge"), Lambda.example()
    >>> Hybrid(base=base, overflow=overflow).label
    'real-time 1 x ml.c5.xlarge + lambda 1769 MB, past 1 in flight'
    """

    kind: ClassVar[str] = "hybrid"

    base: Deployment = field(
        metadata=setting("Base", "the fleet for the steady load", as_deployment)
    )
    overflow: Deployment = field(
        metadata=setting("Overflow", "the functions for the rest", as_deployment)
    )
    spill: SpillRule = optional(
        InFlight(), "Spill", "when a batch goes to the overflow", as_spill_rule
    )

    def _check_together(self) -> None:
        if not self.base.takes_overflow:
            raise InvalidInput(
                f"The base of a hybrid must be a RealTime, a MixedFleet or an OnPremise, got "
                f"{self.base.label}."
            )
        if not self.overflow.on_demand:
            raise InvalidInput(
                f"The overflow of a hybrid must be a Lambda or a Serverless, got "
                f"{self.overflow.label}."
            )

    @property
    def parts(self) -> tuple[Deployment, ...]:  # type: ignore[override]  # no setting here
        """Base and overflow."""
        return self.base, self.overflow

    @property
    def place_names(self) -> tuple[str, ...]:
        """Base and overflow; of a base that mixes types, one place each.

        >>> from workbench.deployment import Lambda, MixedFleet
        >>> Hybrid(base=MixedFleet.example(), overflow=Lambda.example()).place_names
        ('base ml.c5.large', 'base ml.c5.xlarge', 'overflow')
        """
        if isinstance(self.base, Composite):
            return (*(f"{BASE} {name}" for name in self.base.place_names), OVERFLOW)
        return BASE, OVERFLOW

    @property
    def label(self) -> str:
        """The parts and the rule in a few words."""
        return f"{super().label}, {self.spill.label}"

    def with_scale(self, least: int) -> "Hybrid":
        """Return the hybrid with at least so many instances, of each type, in its base."""
        return replace(self, base=self.base.with_scale(least))

    @property
    def platform(self) -> Platform:
        """That of the base, whose queue is the only one."""
        return self.base.platform

    @classmethod
    def example(cls) -> "Hybrid":
        """Return one instance, and Lambda for the rest."""
        from workbench.deployment.lambda_ import Lambda
        from workbench.deployment.real_time import RealTime

        return cls(base=RealTime(instance_type="ml.m5.large"), overflow=Lambda.example())
