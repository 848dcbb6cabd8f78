"""How many instances demand is worth, beside functions: what each number of them costs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput
from workbench.scaling.capacity import InstanceCapacity
from workbench.validation import positive, share

Floats = NDArray[np.float64]


class InstanceCost(NamedTuple):
    """So many instances all the time, and functions for what they cannot take."""

    instances: int
    """How many."""
    covered: float
    """Share of the periods whose demand they can take."""
    instance_dollars: float
    """US dollars a second for them."""
    function_dollars: float
    """US dollars a second for functions, on average."""

    @property
    def dollars(self) -> float:
        """US dollars a second, all together."""
        return self.instance_dollars + self.function_dollars


def price_count(
    count: int, demand: ArrayLike, capacity: InstanceCapacity, call_price: float
) -> InstanceCost:
    """Return what so many instances and functions for the rest cost, on average.

    Args:
        count: Of the instances.
        demand: Requests a second in each of some periods.
        capacity: What one instance can do, and its price.
        call_price: US dollars of a request on functions.

    Raises:
        InvalidInput: There is no demand to look at, or a number is out of its limits.

    >>> one = InstanceCapacity(instance_type="c5.xlarge", rate=10, hourly_price=3.6)
    >>> price_count(1, [5, 25], one, call_price=0.001)
    InstanceCost(instances=1, covered=0.5, instance_dollars=0.001, function_dollars=0.0075)
    """
    rates = _as_rates(demand)
    spilled = np.maximum(rates - count * capacity.rate, 0.0)
    price = positive("call_price", call_price, "US dollars")
    return InstanceCost(
        instances=count,
        covered=float((spilled == 0).mean()),
        instance_dollars=count * capacity.price,
        function_dollars=price * float(spilled.mean()),
    )


def count_for_quantile(quantile: float, demand: ArrayLike, capacity: InstanceCapacity) -> int:
    """Return how many instances take a quantile of demand; none for the quantile 0.

    Raises:
        InvalidInput: There is no demand to look at, or the quantile is not from 0 to 1.

    >>> one = InstanceCapacity(instance_type="c5.xlarge", rate=10, hourly_price=3.6)
    >>> [count_for_quantile(each, [5, 15, 25], one) for each in (0.0, 0.5, 1.0)]
    [0, 2, 3]
    """
    level, rates = share("quantile", quantile), _as_rates(demand)
    if level == 0:
        return 0
    wanted = float(np.quantile(rates, level, method="inverted_cdf"))
    return int(np.ceil(wanted / capacity.rate - 1e-9))


def _as_rates(demand: ArrayLike) -> Floats:
    rates = np.asarray(demand, dtype=np.float64)
    if not rates.size or not np.isfinite(rates).all() or (rates < 0).any():
        raise InvalidInput("demand must be requests a second, 0 or more, of at least one period.")
    return rates
