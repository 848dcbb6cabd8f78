"""What policies share that plan in rounds: who runs, when less is enough, within what limits."""

from collections import deque
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput
from workbench.scaling.base import Counts, Reading
from workbench.scaling.miss_tracker import MissRule, MissTracker
from workbench.validation import keep, not_negative, of_kind, whole_number

Whole = NDArray[np.int64]


def check_rounds(policy: Any) -> None:  # noqa: ANN401 - of any class with these settings
    """Check the settings that all such policies have, and keep them in plain types."""
    if policy.misses is not None:
        of_kind("misses", policy.misses, MissRule)
    least = whole_number("least", policy.least, low=0)
    keep(
        policy,
        in_rounds=whole_number("in_rounds", policy.in_rounds, low=1),
        launch_overhead=not_negative("launch_overhead", policy.launch_overhead, "seconds"),
        least=least,
        most=whole_number("most", policy.most, low=max(1, least)),
    )


def rounds_to_dict(policy: Any) -> dict[str, Any]:  # noqa: ANN401 - as in check_rounds
    """Return kind and settings of such a policy as JSON values."""
    values = {each.name: getattr(policy, each.name) for each in fields(policy)}
    values["capacity"] = [each.to_dict() for each in policy.capacities]
    values["misses"] = None if policy.misses is None else policy.misses.to_dict()
    return {"kind": policy.kind, **values}


class PlannedFleet:
    """Turns plans, one a round, into counts.

    What a plan wants is launched at once. What it does not want goes when all of the last
    `in_rounds` plans could do without. Instances for late requests come on top, of the first type.
    """

    def __init__(self, policy: Any) -> None:  # noqa: ANN401 - as in check_rounds
        self._types = [each.instance_type for each in policy.capacities]
        self._plans: deque[Whole] = deque(maxlen=policy.in_rounds)
        self._least, self._most = policy.least, policy.most
        misses = policy.misses
        self._misses = None if misses is None else MissTracker(misses)
        self.latency_target = None if misses is None else misses.latency_target

    def count_running(self, reading: Reading) -> Whole:
        """Return the instances there are, booting ones included, by type.

        Raises:
            InvalidInput: The fleet mixes types, and one of them has no capacity.
        """
        if reading.types:
            unknown = sorted(set(reading.types) - set(self._types))
            if unknown:
                raise InvalidInput(
                    f"The fleet has instances of {unknown}, the policy knows {self._types}: "
                    "pass the capacity of each type."
                )
            there = [reading.types.get(each, (0, 0)) for each in self._types]
            return np.array([sum(each) for each in there], np.int64)
        running = np.zeros(len(self._types), np.int64)
        running[0] = reading.ready + reading.starting
        return running

    def add(self, reading: Reading) -> None:
        """Take in the late requests of a reading."""
        if self._misses is not None:
            self._misses.add(reading)

    def close_round(self, plan: Whole, kept: Whole, running: Whole) -> Whole:
        """Return how many there should be, by a plan and what it would rather keep than stop."""
        extra = 0 if self._misses is None else self._misses.close_round()
        self._plans.append(np.maximum(plan, kept))
        kept = np.minimum(running, np.max(self._plans, axis=0))
        wanted: Whole = np.minimum(np.maximum(plan, kept), self._most).astype(np.int64)
        wanted[0] = min(max(wanted[0] + extra, self._least), self._most)
        return wanted

    def answer(self, counts: Whole, reading: Reading) -> Counts:
        """Return counts as the scaler of this fleet says them: by type, if it mixes types."""
        if len(self._types) == 1 and not reading.types:
            return int(counts[0])
        return {name: int(count) for name, count in zip(self._types, counts, strict=True)}
