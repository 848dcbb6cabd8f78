"""What serving a trace costs at least, by instances and functions, for one who knows the future."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput
from workbench.formatting import dollars
from workbench.scaling.capacity import InstanceCapacity
from workbench.scaling.predictive import check_call_price
from workbench.scaling.provision import Floats, Whole, as_capacities
from workbench.scaling.schedule import Schedule
from workbench.traffic.trace import Trace
from workbench.validation import as_tuple, not_negative, positive

EXACT_UNKNOWNS = 600
"""Types times periods up to which several types are scheduled in whole instances: beyond, the
relaxed solution is rounded up."""
_SMALL, _GAP = 50, 0.005  # unknowns beyond which a schedule may cost that share more than the best


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ClairvoyantSchedule:
    """The cheapest schedule, what it costs, and what nobody can go below.

    Attributes:
        times: Seconds, at which each period begins.
        counts: Instances that serve, by period and type.
        types: Instance types.
        calls: Requests on functions, by period.
        instance_dollars: Of the instances, boots included.
        call_dollars: Of the functions.
        bound: US dollars that no policy goes below whose requests are all answered in time; see
            `lower_bound`.
        boot: Seconds.
        call_price: US dollars of a request on functions; None: there are none.
        exact: Whether no schedule in whole instances is cheaper; of several types by more than
            0.5 %.
    """

    times: Floats
    counts: NDArray[np.int64]
    types: tuple[str, ...]
    calls: Floats
    instance_dollars: float
    call_dollars: float
    bound: float
    boot: float
    call_price: float | None
    exact: bool

    @property
    def dollars(self) -> float:
        """All that it costs."""
        return self.instance_dollars + self.call_dollars

    def __repr__(self) -> str:
        totals = self.counts.sum(axis=1)
        return (
            f"<ClairvoyantSchedule of {len(self.times):,} periods: {totals.min()} to "
            f"{totals.max()} x {' + '.join(self.types)}, {self.calls.sum():,.0f} calls, "
            f"{dollars(self.dollars)}, bound {dollars(self.bound)}, by arithmetic>"
        )

    def lower_bound(self, late: int) -> float:
        """Return the bound for who answers so many requests late, or never.

        Serving one request more costs no more than a call: without those, at most that much less.
        """
        if self.call_price is None:
            return self.bound if not late else 0.0
        return max(0.0, self.bound - late * self.call_price)

    @property
    def first(self) -> int | Mapping[str, int]:
        """The instances that are ready from the beginning."""
        return self._at(0.0)

    @cached_property
    def policy(self) -> Schedule:
        """The schedule as a policy: each instance is launched a boot before it serves."""
        instants = np.unique(np.concatenate([self.times, self.times - self.boot]))
        changes = [(float(at), self._at(float(at))) for at in instants if at >= 0]
        kept = [c for i, c in enumerate(changes) if not i or c[1] != changes[i - 1][1]]
        return Schedule(kept)

    def _at(self, instant: float) -> int | dict[str, int]:
        """Return the instances wanted: all that serve now or before a launch could help."""
        # instants are sums of floats: some would fall a period early
        first = int(np.searchsorted(self.times, instant + 1e-9, "right")) - 1
        last = int(np.searchsorted(self.times, instant + self.boot + 1e-9, "right"))
        counts = self.counts[max(first, 0) : last].max(axis=0)
        if len(self.types) == 1:
            return int(counts[0])
        return {name: int(count) for name, count in zip(self.types, counts, strict=True)}


def clairvoyant(
    trace: Trace | ArrayLike,
    capacity: InstanceCapacity | Sequence[InstanceCapacity],
    call_price: float | None = None,
    *,
    boot: float = 180.0,
    period: float = 60.0,
    most_rates: float | Sequence[float] | None = None,
    within: float | None = None,
) -> ClairvoyantSchedule:
    """Return the cheapest schedule of instances and functions for a trace known beforehand.

    The schedule changes from period to period. An instance takes `capacity.rate` requests a
    second, is paid from its launch a boot before, and those of the first period are ready at 0.
    For one type it is found by dynamic programming over counts, for several by an integer
    programme (SciPy's HiGHS; for long traces its relaxation, rounded up).

    `bound` is another problem: instances may be fractions that come and go within a period, and
    a request may be served until it is late, in the next periods. Average counts by period are
    such fractions, and rise no more than the fleet does, so no run is cheaper, as long as none of
    its instances does more than `most_rates` and no call costs less than `call_price`.

    Args:
        trace: A trace, or requests by period.
        capacity: What an instance can do, one for each type.
        call_price: US dollars of a request on functions; None: there are none.
        boot: Seconds from launch to service, paid.
        period: Seconds.
        most_rates: Requests a second that an instance of each type can do at most, target or not,
            for `bound`; by default its capacity's.
        within: Seconds after which an answer is late, for `bound`; by default the period.

    Raises:
        InvalidInput: An argument is out of its limits.

    >>> one = InstanceCapacity(instance_type="one", rate=1, hourly_price=3.6)
    >>> best = clairvoyant([60, 60, 0, 90, 60], one, 0.002, boot=120)
    >>> best.counts[:, 0].tolist(), round(best.dollars, 4)  # 5 x 0.06, and 30 calls
    ([1, 1, 1, 1, 1], 0.36)
    >>> best.policy.changes
    ((0.0, 1),)
    """
    capacities = as_capacities(capacity)
    call_price = check_call_price(call_price)
    positive("period", period, "seconds")
    not_negative("boot", boot, "seconds")
    within = period if within is None else positive("within", within, "seconds")
    demand, tails = _count(trace, period, within)
    rates = np.array([each.rate for each in capacities])
    most = rates if most_rates is None else _check_rates(most_rates, len(capacities))
    costs = _Costs(np.array([each.price for each in capacities]), period, boot, call_price)
    if len(capacities) == 1:
        counts = _schedule_one(demand, float(rates[0]) * period, costs)[:, None]
        exact = True
    else:
        exact = demand.size * len(capacities) <= EXACT_UNKNOWNS
        solved = _solve(demand, None, rates, costs, whole=exact)[0]
        counts = np.ceil(solved - 1e-6).astype(np.int64)  # the solver's 3.0000001 is 3
    calls = np.maximum(demand - counts @ rates * period, 0.0)
    return ClairvoyantSchedule(
        times=period * np.arange(len(demand), dtype=np.float64),
        counts=counts,
        types=tuple(each.instance_type for each in capacities),
        calls=calls,
        instance_dollars=costs.price_instances(counts),
        call_dollars=float(calls.sum()) * (call_price or 0.0),
        bound=_solve(demand, tails, most, costs, whole=False)[1],
        boot=boot,
        call_price=call_price,
        exact=exact,
    )


@dataclass(frozen=True)
class _Costs:
    prices: Floats
    period: float
    boot: float
    call_price: float | None

    def price_instances(self, counts: Whole) -> float:
        launched = np.maximum(np.diff(counts, axis=0), 0).sum(axis=0)
        return float((counts.sum(axis=0) * self.period + launched * self.boot) @ self.prices)


def _count(trace: Trace | ArrayLike, period: float, within: float) -> tuple[Floats, Floats]:
    """Return requests by period, and those in the last seconds of it, or of the periods before."""
    if isinstance(trace, Trace):
        periods = math.ceil(trace.duration / period - 1e-9)
        ends = period * np.arange(1, periods + 1)
        before = np.searchsorted(trace.arrivals, ends, "left")
        before[-1] = len(trace)
        earlier = np.searchsorted(trace.arrivals, np.maximum(ends - within, 0.0), "left")
        return np.diff(before, prepend=0).astype(float), (before - earlier).astype(float)
    demand = np.array([not_negative("Each of trace", n) for n in as_tuple("trace", trace)])
    if not demand.size:
        raise InvalidInput("trace must be a Trace, or requests by period, 0 or more.")
    sums = np.concatenate([[0.0], np.cumsum(demand)])
    back = math.ceil(within / period - 1e-9)
    return demand, sums[1:] - sums[np.maximum(np.arange(1, len(sums)) - back, 0)]


def _check_rates(value: float | Sequence[float], types: int) -> Floats:
    given = (value,) if isinstance(value, int | float) else as_tuple("most_rates", value)
    if len(given) != types:
        raise InvalidInput(f"most_rates must be {types}, one for each type, got {len(given)}.")
    return np.array([positive("Each of most_rates", each) for each in given])


def _schedule_one(demand: Floats, most: float, costs: _Costs) -> Whole:
    """Return the counts by period: a table of least costs by count, forward, and then back.

    From one count to a higher one costs the boots, to a lower one nothing: the least over all
    former counts is a running minimum from either side. None is launched for a period that it would
    be too late for: to keep it from the first one, when it is free, is cheaper.
    """
    counts = np.arange(math.ceil(demand.max() / most - 1e-9) + 1)
    price = float(costs.prices[0])
    boots = price * costs.boot * counts
    table = np.maximum(demand[:, None] - most * counts, 0.0)  # what is spilled, and then its price
    if costs.call_price is None:
        # without functions, what is spilled is never answered
        table[table > 1e-9 * most * counts[-1]] = np.inf
    else:
        table *= costs.call_price
    table += costs.period * price * counts
    for period in range(1, len(demand)):
        before = table[period - 1]
        least = np.minimum.accumulate(before[::-1])[::-1]
        # a launch costs a difference of boots, whose former part goes into the minimum
        table[period] += np.minimum(least, np.minimum.accumulate(before - boots) + boots)
    schedule = np.empty(len(demand), np.int64)
    schedule[-1] = table[-1].argmin()
    for period in range(len(demand) - 1, 0, -1):
        dearer = np.maximum(boots[schedule[period]] - boots, 0.0)
        schedule[period - 1] = (table[period - 1] + dearer).argmin()
    return schedule


def _solve(
    demand: Floats,
    tails: Floats | None,
    rates: Floats,
    costs: _Costs,
    *,
    whole: bool,
) -> tuple[Floats, float]:
    """Return counts by period and type, and their cost, with `tails` requests left over at most.

    The unknowns: counts, launches, calls, and what is left to the next period.
    """
    from scipy import optimize, sparse

    periods, types = len(demand), len(rates)
    eye = sparse.eye_array(periods)
    step = eye - sparse.eye_array(periods, k=-1)
    rises = sparse.kron(step, sparse.eye_array(types))
    matrix = sparse.block_array(
        [
            [sparse.kron(eye, rates[None, :] * costs.period), None, eye, step],
            [-rises, sparse.eye_array(periods * types), None, None],
        ]
    )
    least = np.concatenate([demand, np.zeros(periods * types)])
    least[periods : periods + types] = -np.inf  # the first period's are launched for nothing
    calls = np.full(periods, 0.0 if costs.call_price is None else np.inf)
    solved = optimize.milp(
        np.concatenate(
            [
                np.tile(costs.prices * costs.period, periods),
                np.tile(costs.prices * costs.boot, periods),
                np.full(periods, costs.call_price or 0.0),
                np.zeros(periods),
            ]
        ),
        integrality=np.repeat([int(whole), 0], [periods * types, periods * (types + 2)]),
        bounds=optimize.Bounds(
            0,
            np.concatenate(
                [
                    np.full(2 * periods * types, np.inf),
                    calls,
                    np.zeros(periods) if tails is None else tails,
                ]
            ),
        ),
        constraints=optimize.LinearConstraint(matrix, least, np.inf),
        options={"mip_rel_gap": _GAP if periods * types > _SMALL else 0.0},
    )
    if solved.x is None or solved.fun is None:
        raise InvalidInput(f"No schedule was found for this trace: {solved.message}")
    return solved.x[: periods * types].reshape(periods, types), solved.fun
