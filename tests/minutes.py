"""A fleet with functions beside it, reckoned period by period: what policies are compared by.

Requests come evenly within a period. Instances take what they can, functions the rest.
"""

from typing import NamedTuple

import numpy as np

from workbench.scaling.base import Reading, TypeCount
from workbench.scaling.provision import as_capacities


class Bill(NamedTuple):
    """What a policy did and cost."""

    counts: list
    """Wanted counts after each period."""
    spilled: list
    """Requests on functions, by period."""
    dollars: float


class _Fleet:
    """The instances of each type: when launched, when ready."""

    def __init__(self, capacities, first, boot):
        self.capacities, self.boot = capacities, boot
        self.there = [[(0.0, 0.0)] * first for _ in capacities]
        self.dollars = 0.0

    def read(self, seen, now):
        types = {
            each.instance_type: TypeCount(
                sum(ready <= now for _, ready in there), sum(ready > now for _, ready in there)
            )
            for each, there in zip(self.capacities, self.there, strict=True)
        }
        ready, starting = (sum(count[i] for count in types.values()) for i in (0, 1))
        mixed = types if len(types) > 1 else {}
        return Reading(seen, seen, 0, 0, ready, starting, seen, types=mixed)

    def rescale(self, counts, now):
        """Stop the newest of those too many; launch what is missing."""
        for each, there in zip(self.capacities, self.there, strict=True):
            wanted = counts if isinstance(counts, int) else counts.get(each.instance_type, 0)
            for launched, _ in there[wanted:]:
                self.dollars += each.price * (now - launched)
            del there[wanted:]
            there.extend([(now, now + self.boot)] * (wanted - len(there)))

    def room(self, start, end):
        """Return the requests that it can take."""
        return sum(
            each.rate * max(0.0, end - max(ready, start))
            for each, there in zip(self.capacities, self.there, strict=True)
            for _, ready in there
        )


def bill_periods(policy, demand, capacity, call_price, *, boot=180.0, period=60.0, first=0):
    """Return the `Bill` of a policy; `first` instances (of each type) are ready at 0."""
    scaler, fleet = policy.scaler(), _Fleet(as_capacities(capacity), first, boot)
    seen, calls, counts = 0.0, [], []
    for start in period * np.arange(len(demand) + 1):
        while scaler.due <= start:
            wanted = scaler.decide(fleet.read(seen, start), start)
            seen = 0.0
            fleet.rescale(wanted, start)
            counts += [wanted] if start else []
        if len(calls) < len(demand):
            seen += demand[len(calls)]
            room = fleet.room(start, start + period)
            calls.append(max(0.0, demand[len(calls)] - room))
    fleet.rescale(0 if len(fleet.there) == 1 else {}, start)
    paid = call_price * sum(calls) if call_price and np.isfinite(call_price) else 0.0
    return Bill(counts, calls, fleet.dollars + paid)
