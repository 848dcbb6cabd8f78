"""A real-time fleet of instances of several types."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

from workbench.deployment.base import Deployment
from workbench.deployment.composite import Composite, as_deployments
from workbench.deployment.platforms import FleetPlatform
from workbench.errors import InvalidInput
from workbench.settings import setting


@dataclass(frozen=True, kw_only=True)
class MixedFleet(Composite):
    """A real-time endpoint whose instances are of several types: a variant for each.

    Raises:
        InvalidInput: A part is no real-time fleet, or two are of one instance type.

    >>> from workbench.deployment import RealTime
    >>> small, large = RealTime(instance_type="ml.c5.large"), RealTime(instance_type="ml.c5.xlarge")
    >>> MixedFleet(parts=(small, large)).platform.instances
    2
    """

    kind: ClassVar[str] = "mixed fleet"
    takes_overflow: ClassVar[bool] = True

    parts: tuple[Deployment, ...] = field(
        metadata=setting("Parts", "real-time fleets of one type each", as_deployments)
    )

    def _check_together(self) -> None:
        if len(self.parts) < 2:
            raise InvalidInput(
                f"A mixed fleet must be of at least 2 types, got {self.parts[0].label}: of one, "
                "take a RealTime."
            )
        types = []
        for part in self.parts:
            if part.kind != "real-time":
                raise InvalidInput(
                    f"Each part of a mixed fleet must be a RealTime, got {part.label}."
                )
            types.append(part.size)
        if len(set(types)) < len(types):
            raise InvalidInput(
                f"The parts of a mixed fleet must be of different instance types, got {types}: "
                "give one of them a higher count."
            )

    @property
    def place_names(self) -> tuple[str, ...]:
        """The instance types."""
        return tuple(str(part.size) for part in self.parts)

    def with_scale(self, least: int) -> "MixedFleet":
        """Return the fleet with at least so many instances of each type."""
        return replace(self, parts=tuple(part.with_scale(least) for part in self.parts))

    @property
    def platform(self) -> FleetPlatform:
        """All instances; a batch goes to the one where it would be served soonest.

        That is the least of (batches there + 1) x the time of a small batch / workers. AWS draws a
        variant by its weight and then takes the fewest in flight within it (ProductionVariant,
        InitialVariantWeight and RoutingConfig): with weights as speeds the shares under load are
        the same, and waits are longer by what drawing costs.
        """
        platforms = [part.platform for part in self.parts]
        return FleetPlatform(
            instances=sum(each.idle_instances for each in platforms),
            workers=max(part.instance_workers for part in self.parts),
            routing="least_outstanding",
        )

    @classmethod
    def example(cls) -> "MixedFleet":
        """Return one of two types."""
        from workbench.deployment.real_time import RealTime

        types = "ml.c5.large", "ml.c5.xlarge"
        return cls(parts=tuple(RealTime(instance_type=each) for each in types))
