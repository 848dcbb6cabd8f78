"""How many instances of each type a forecast demand needs: greedily, or as cheaply as possible.

A *demand* is an array of requests by period (row) and equally likely case (column). What the
instances cannot take goes to functions, where there are any.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput
from workbench.scaling.capacity import InstanceCapacity
from workbench.validation import as_tuple, of_kind

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

_Terms = tuple[float, float | None, Floats, float]
"""Those of `find_cheapest`: interval, call_price, running and overhead."""

_MOST = 100_000  # instances of a type: more is a mistake in units


def as_capacities(value: object) -> tuple[InstanceCapacity, ...]:
    """Return capacities, given as one or several, of different types.

    Raises:
        InvalidInput: There are none, two are of one type, or one has no price.
    """
    if isinstance(value, InstanceCapacity) or not isinstance(value, Sequence):
        value = (of_kind("capacity", value, InstanceCapacity),)
    given = as_tuple("capacity", value)
    types = [of_kind("Each capacity", each, InstanceCapacity).instance_type for each in given]
    if not types or len(set(types)) < len(types):
        raise InvalidInput(f"capacity must be one of each instance type, got {types}.")
    for each in given:
        if not each.hourly_price:
            raise InvalidInput(
                f"{each.instance_type} has no price: pass hourly_price=, in US dollars."
            )
    return given


def fill_greedily(
    capacities: Sequence[InstanceCapacity],
    demand: ArrayLike,
    *,
    interval: float,
    running: ArrayLike = 0,
    overhead: float = 180.0,
    steps: int = 6,
) -> Whole:
    """Return counts by type that cover a demand by period, as MArk's controller finds them.

    Again and again: of the first `steps` periods the one with most demand left; the type, newly
    launched or already running, whose price for the periods in a row from there that lack
    capacity is least for the requests that it would take in them. (C. Zhang et al., ATC 2019;
    as in proactive_controller2.py of marcoszh/MArk-Project at its last commit, 2019-12-27.)

    Args:
        capacities: One for each type.
        demand: Requests in each period.
        interval: Seconds of a period.
        running: Instances there are, by type: they cost no launch.
        overhead: Seconds of its price that a launch costs.
        steps: Periods that must be covered.

    >>> small = InstanceCapacity(instance_type="small", rate=1, hourly_price=1)
    >>> large = InstanceCapacity(instance_type="large", rate=10, hourly_price=5)
    >>> fill_greedily([small, large], [700.0] * 6, interval=60).tolist()
    [2, 1]
    """
    left = np.array(demand, np.float64)
    most = np.array([each.rate for each in capacities]) * interval
    prices = np.array([each.price for each in capacities])
    unused = np.broadcast_to(np.asarray(running, np.int64), len(capacities)).copy()
    counts = np.zeros(len(capacities), np.int64)
    if len(capacities) == 1:  # what the loop comes to
        return np.array([max(0, math.ceil(left[:steps].max(initial=0.0) / most[0] - 1e-9))])
    while left[:steps].max(initial=0.0) > 1e-9:
        first = int(left[:steps].argmax())
        # what has capacity to spare is below 0 by now
        ends = np.flatnonzero(left[first:] < 0)
        span = int(ends[0]) if len(ends) else len(left) - first
        taken = np.minimum(most[:, None], np.maximum(left[first : first + span], 0.0)).sum(axis=1)
        launched = (prices * (span * interval + overhead)) / taken
        kept = np.where(unused > 0, prices * span * interval / taken, np.inf)
        best = int(np.minimum(launched, kept).argmin())
        unused[best] -= kept[best] < launched[best]
        counts[best] += 1
        left -= most[best]
    return counts


def find_cheapest(
    capacities: Sequence[InstanceCapacity],
    demand: ArrayLike,
    *,
    interval: float,
    call_price: float | None,
    running: ArrayLike = 0,
    overhead: float = 0.0,
) -> Whole:
    """Return the counts by type that are expected to cost least.

    Of one type by trying all counts, of several by a small integer programme (SciPy's HiGHS).

    Args:
        capacities: One for each type.
        demand: Requests by period and equally likely case.
        interval: Seconds of a period.
        call_price: US dollars of a request on functions; None or endless: there are none.
        running: Instances there are, by type: they cost no launch.
        overhead: Seconds of its price that a launch costs.

    >>> one = InstanceCapacity(instance_type="one", rate=1, hourly_price=3.6)
    >>> find_cheapest([one], [[150.0]], interval=60, call_price=0.01).tolist()
    [3]
    >>> find_cheapest([one], [[125.0]], interval=60, call_price=0.01).tolist()
    [2]
    """
    cases = np.asarray(demand, np.float64)
    cases = cases.reshape(len(cases), -1)
    if not cases.max(initial=0.0):
        return np.zeros(len(capacities), np.int64)
    call_price = call_price if call_price is not None and math.isfinite(call_price) else None
    running = np.broadcast_to(np.asarray(running, np.float64), len(capacities))
    find_counts = _find_one if len(capacities) == 1 else _find_several
    return find_counts(capacities, cases, (interval, call_price, running, overhead))


def _find_one(capacities: Sequence[InstanceCapacity], cases: Floats, terms: _Terms) -> Whole:
    interval, call_price, running, overhead = terms
    one = capacities[0]
    needed = math.ceil(cases.max() / (one.rate * interval) - 1e-9)
    if call_price is None or needed > _MOST:
        return np.array([min(needed, _MOST)])
    counts = np.arange(needed + 1)
    spilled = np.maximum(cases[:, :, None] - one.rate * interval * counts, 0.0)
    dollars = one.price * (
        interval * len(cases) * counts + overhead * np.maximum(counts - running, 0)
    ) + call_price * spilled.mean(axis=1).sum(axis=0)
    return np.array([int(dollars.argmin())])


def _find_several(capacities: Sequence[InstanceCapacity], cases: Floats, terms: _Terms) -> Whole:
    """Solve for counts, launches by type, and the spilled requests of each period and case."""
    from scipy import optimize, sparse

    interval, call_price, running, overhead = terms
    types, rows = len(capacities), cases.size if call_price is not None else 1
    wanted = cases.ravel() if call_price is not None else np.array([cases.max()])
    prices = np.array([each.price for each in capacities])
    most = np.array([each.rate for each in capacities]) * interval
    if call_price is None:
        wanted = np.minimum(wanted, _MOST * most.sum())
    cost = np.concatenate(
        [
            prices * interval * len(cases),
            prices * overhead,
            np.full(rows, (call_price or 0.0) / cases.shape[1]),
        ]
    )
    covered = sparse.hstack(
        [
            sparse.csr_array(np.tile(most, (rows, 1))),
            sparse.csr_array((rows, types)),
            sparse.eye_array(rows),
        ]
    )
    launches = sparse.hstack(
        [-sparse.eye_array(types), sparse.eye_array(types), sparse.csr_array((types, rows))]
    )
    spill = np.inf if call_price is not None else 0.0
    solved = optimize.milp(
        cost,
        integrality=np.repeat([1, 0, 0], [types, types, rows]),
        bounds=optimize.Bounds(
            0, np.concatenate([np.full(types, _MOST), np.full(types, np.inf), np.full(rows, spill)])
        ),
        constraints=[
            optimize.LinearConstraint(covered, wanted, np.inf),
            optimize.LinearConstraint(launches, -running, np.inf),
        ],
        options={"mip_rel_gap": 0.0},
    )
    if solved.x is None:
        raise InvalidInput(f"No counts cover this demand: {solved.message}")
    return np.rint(solved.x[:types]).astype(np.int64)
