"""Weights of latency, accuracy and cost."""

from dataclasses import dataclass
from functools import cached_property

from workbench.errors import InvalidInput
from workbench.routing.base import RoutingRule
from workbench.settings import amount, optional


@dataclass(frozen=True, kw_only=True)
class WeightedRule(RoutingRule):
    """Base of the routing policies with weights.

    Attributes:
        latency: Weight of latency, 0 or more.
        accuracy: Weight of accuracy, 0 or more.
        cost: Weight of cost, 0 or more.

    Raises:
        InvalidInput: A weight is negative, or all are 0.
    """

    latency: float = optional(0.0, "Weight of latency", "of being fast", amount(""))
    accuracy: float = optional(1.0, "Weight of accuracy", "of being right", amount(""))
    cost: float = optional(0.0, "Weight of cost", "of being cheap", amount(""))

    def __post_init__(self) -> None:
        """Check the settings, each by itself and then together."""
        super().__post_init__()
        if not self.latency + self.accuracy + self.cost > 0:
            raise InvalidInput("latency, accuracy and cost are all 0: give one a weight above 0.")

    @cached_property
    def shares(self) -> tuple[float, float, float]:
        """The weights of latency, accuracy and cost, made to sum to 1.

        They are rounded, so that weights in the same proportion choose the same among equals.
        """
        weights = self.latency, self.accuracy, self.cost
        latency, accuracy, cost = (round(weight / sum(weights), 12) for weight in weights)
        return latency, accuracy, cost
