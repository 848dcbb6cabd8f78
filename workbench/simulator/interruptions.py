"""Spot instances that are taken away while they serve.

From the notice on an instance takes nothing new; at its end it is gone. What it has not answered by
then is offered again: to the overflow of a hybrid, else to the instance that is next (at the end of
its queue), and fails where there is none. That is what SpotHedge does (Z. Mao et al., EuroSys 2025:
requests on a lost replica are sent again). An instance that still boots is gone at once.
"""

import heapq
import math
from collections.abc import Sequence

import numpy as np

from workbench.scaling.spot import SpotChange, SpotPool
from workbench.simulator.fleet import Instances
from workbench.simulator.kernels import Batches


class Interruptions:
    """What a spot pool does to the instances of its type in a fleet.

    `again` draws the service level of a batch that is offered again, `to_overflow` says where.
    Where the pool has no room for all, the newest go.
    """

    def __init__(
        self,
        pool: SpotPool,
        changes: Sequence[SpotChange],
        instances: Instances,
        batches: Batches,
        again: np.random.Generator,
        *,
        to_overflow: bool,
    ) -> None:
        self._pool, self._changes, self._past = pool, changes, 0
        self._instances, self._batches, self._again = instances, batches, again
        self._to_overflow = to_overflow
        self._ends: list[tuple[float, int]] = []  # when an instance is gone
        names = [part.name for part in instances.parts]
        self.part = names.index(pool.instance_type)
        self.room = math.inf

    @property
    def due(self) -> float:
        """When something happens next."""
        change = self._changes[self._past].at if self._past < len(self._changes) else math.inf
        return min(change, self._ends[0][0] if self._ends else math.inf)

    def act(self, now: float) -> None:
        """Let happen what is due."""
        while self._past < len(self._changes) and self._changes[self._past].at <= now:
            self._change(self._changes[self._past], now)
            self._past += 1
        while self._ends and self._ends[0][0] <= now:
            self._lose(heapq.heappop(self._ends)[1], now)

    def count_more(self, wanted: int) -> int:
        """Return how many instances more there is room for, of so many."""
        there = sum(self._instances.part[i] == self.part for i in self._instances.active)
        return int(min(wanted, max(0, self.room - there)))

    def _change(self, change: SpotChange, now: float) -> None:
        """Give notice to those that have to go."""
        instances = self._instances
        mine = [i for i in instances.active if instances.part[i] == self.part]
        gone = [] if change.taken is None else mine[change.taken : change.taken + 1]
        if change.room is not None:
            self.room = change.room
            gone += mine[int(min(self.room, len(mine))) :]
        for instance in dict.fromkeys(gone):  # once each
            boots = instance in instances.booting
            instances.retire(instance, now)
            if not boots:
                end = now + self._pool.notice
                instances.retired[instance] = end  # it is billed until then
                heapq.heappush(self._ends, (end, instance))

    def _lose(self, instance: int, now: float) -> None:
        lost = self._instances.lose(instance, self._batches, now)
        self._batches.finished[lost] = self._again.random(len(lost))
        for batch in lost.tolist():
            if self._to_overflow or not len(self._instances.arrays.routable):
                self._instances.leave(batch, self._batches, now)
            else:
                self._instances.offer(batch)
