"""What one instance can do, what it costs, and what is worth buying of it."""

from dataclasses import asdict, dataclass
from typing import Any

from workbench.batching.timer import BatchPolicy
from workbench.units import HOUR
from workbench.validation import keep, not_negative, of_kind, positive


@dataclass(frozen=True, kw_only=True)
class InstanceCapacity:
    """The largest rate at which one instance still meets the target, and its price.

    Attributes:
        instance_type: Its name, such as ml.c5.xlarge.
        rate: Requests a second.
        hourly_price: US dollars.
        policy: How requests are batched for that; None: they are not, or it is not known.

    Raises:
        InvalidInput: A number is out of its limits.

    >>> one = InstanceCapacity(instance_type="c5.xlarge", rate=490 / 60, hourly_price=0.17)
    >>> round(one.cost_per_million, 2), round(one.critical_quantile(49.55e-6), 3)
    (5.78, 0.883)
    """

    instance_type: str
    rate: float
    hourly_price: float
    policy: BatchPolicy | None = None

    def __post_init__(self) -> None:
        of_kind("instance_type", self.instance_type, str)
        keep(
            self,
            rate=positive("rate", self.rate, "requests a second"),
            hourly_price=not_negative("hourly_price", self.hourly_price, "US dollars"),
        )
        if self.policy is not None:
            of_kind("policy", self.policy, BatchPolicy)

    @property
    def price(self) -> float:
        """US dollars a second."""
        return self.hourly_price / HOUR

    @property
    def cost_per_million(self) -> float:
        """US dollars of a million requests, if they keep it busy."""
        return 1e6 * self.price / self.rate

    def critical_quantile(self, call_price: float) -> float:
        """Return the quantile of demand up to which instances pay, beside functions.

        One more instance pays when the probability that its capacity is used, times what functions
        would cost for it, exceeds its price: the newsvendor's rule (K. Arrow, T. Harris and
        J. Marschak, Econometrica 1951). It is 0 where functions are no dearer than full instances.

        Args:
            call_price: US dollars of a request on functions.

        Raises:
            InvalidInput: The price is not above 0.
        """
        worth = self.rate * positive("call_price", call_price, "US dollars")
        return max(0.0, 1 - self.price / worth)

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON values."""
        return asdict(self)
