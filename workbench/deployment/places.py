"""Deployments among which a router chooses for each request."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

from workbench.deployment.base import Deployment
from workbench.deployment.composite import Composite, as_deployments
from workbench.deployment.platforms import FleetPlatform, Platform
from workbench.errors import InvalidInput
from workbench.settings import setting


@dataclass(frozen=True, kw_only=True)
class RoutedDeployment(Composite):
    """The deployments of an ensemble's members, in their order.

    >>> from workbench.deployment import Local
    >>> RoutedDeployment(parts=(Local(), Local(workers=2))).platform.servers
    3
    """

    kind: ClassVar[str] = "routed"

    parts: tuple[Deployment, ...] = field(
        metadata=setting("Parts", "the deployments it is made of", as_deployments)
    )

    @property
    def platform(self) -> Platform:
        """That of a single part; of several, all their servers as if on one queue."""
        if len(self.parts) == 1:
            return self.parts[0].platform
        return FleetPlatform(instances=sum(part.platform.servers for part in self.parts))

    @classmethod
    def example(cls) -> "RoutedDeployment":
        """Return one of two endpoints."""
        from workbench.deployment.real_time import RealTime

        return cls(parts=(RealTime.example(),) * 2)

    def part_here(self) -> tuple[Deployment, int]:
        """Return what this machine can run of each part: of like servers one.

        Raises:
            InvalidInput: A part takes a cloud, or this machine would stand for more servers of one
                part than of another, and no share of the requests would be right for both.
        """
        here = [part.part_here() for part in self.parts]
        counts = {count for _, count in here}
        if len(counts) > 1:
            raise InvalidInput(
                "This machine stands for one of several like servers, which must then be as many "
                f"for each member, got {[count for _, count in here]}: simulate, or give as many."
            )
        return replace(self, parts=tuple(part for part, _ in here)), counts.pop()
