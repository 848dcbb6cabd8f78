"""Spot instances: cheap, and taken away."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.errors import InvalidInput, NotFound
from workbench.files import as_path
from workbench.scaling.base import Counts, Reading, ScalingPolicy, TypeCount
from workbench.units import HOUR
from workbench.validation import (
    Seed,
    as_tuple,
    generator_from,
    keep,
    not_negative,
    of_kind,
    positive,
    whole_number,
)

if TYPE_CHECKING:
    import numpy as np


class SpotChange(NamedTuple):
    """What changes at one instant in a pool of spot instances."""

    at: float
    """Seconds."""
    room: float | None
    """Instances that can be had from then on, infinite for any number: those beyond it go. None:
    as many as before."""
    taken: int | None = None
    """The instance that is interrupted, in order of launch from 0, if there are so many. None: no
    single one."""


@dataclass(frozen=True, kw_only=True)
class SpotPool:
    """How spot instances of a type are taken away, and what they cost, by whoever looked it up.

    Each is interrupted at `rate`; besides, all are lost at once at `pool_rate`, and none can be
    launched for `outage` seconds, as interruptions come together (Z. Mao et al., SkyServe, EuroSys
    2025). Times between are exponential. With `recorded`, the room of a recorded pool counts
    instead of drawn losses of all.

    Attributes:
        instance_type: Its name.
        hourly_price: US dollars, by which instances of the type are billed; spot prices change,
            none is known here.
        priced_on: The day that price was seen, as 2026-11-29.
        rate: Interruptions of one instance an hour.
        pool_rate: Losses of all an hour.
        outage: Seconds on average without any to be had after such a loss.
        notice: Seconds from the notice to the end, in which an instance finishes what it has and
            takes nothing more (AWS gives two minutes: EC2 User Guide, "Spot Instance interruption
            notices").
        recorded: Pairs of seconds and the instances that can be had from then on; see `read_spot`.

    Raises:
        InvalidInput: A setting is out of its limits.

    >>> pool = SpotPool(
    ...     instance_type="c5.xlarge", hourly_price=0.07, priced_on="2026-11-29", pool_rate=1.0
    ... )
    >>> [change.room for change in pool.draw_changes(36000.0, seed=4)][:2]
    [0.0, inf]
    """

    instance_type: str
    hourly_price: float
    priced_on: str
    rate: float = 0.0
    pool_rate: float = 0.0
    outage: float = 600.0
    notice: float = 120.0
    recorded: Sequence[tuple[float, float]] = ()

    def __post_init__(self) -> None:
        of_kind("instance_type", self.instance_type, str)
        try:
            date.fromisoformat(self.priced_on)
        except (TypeError, ValueError):
            raise InvalidInput(
                "priced_on must be the day the price was seen, as 2026-11-29, got "
                f"{self.priced_on!r}."
            ) from None
        keep(
            self,
            hourly_price=not_negative("hourly_price", self.hourly_price, "US dollars"),
            rate=not_negative("rate", self.rate, "interruptions an hour"),
            pool_rate=not_negative("pool_rate", self.pool_rate, "losses an hour"),
            outage=positive("outage", self.outage, "seconds"),
            notice=not_negative("notice", self.notice, "seconds"),
            recorded=_check_recorded(self.recorded),
        )

    def draw_changes(self, duration: float, *, seed: Seed, most: int = 100) -> list[SpotChange]:
        """Return what changes within so many seconds, in order of time.

        Args:
            duration: Seconds.
            seed: A whole number, or a NumPy generator.
            most: Instances there are at most: those beyond are not interrupted singly.
        """
        random = generator_from(seed)
        expected = self.rate / HOUR * positive("duration", duration, "seconds")
        # for each slot, whether an instance has it by then or not: the run comes later
        single = random.poisson(expected * whole_number("most", most, low=1))
        at = (random.random(single) * duration).tolist()
        slots = random.integers(most, size=single).tolist()
        changes = [SpotChange(start, None, slot) for start, slot in zip(at, slots, strict=True)]
        rooms = self.recorded or self._draw_outages(duration, random)
        changes += [SpotChange(start, room) for start, room in rooms if start < duration]
        return sorted(changes, key=lambda change: change.at)

    def _draw_outages(
        self, duration: float, random: "np.random.Generator"
    ) -> list[tuple[float, float]]:
        """Return when all are lost, and when there are some to be had again, in turn."""
        changes: list[tuple[float, float]] = []
        now = 0.0
        while self.pool_rate and now < duration:
            now += random.exponential(HOUR / self.pool_rate)
            back = now + random.exponential(self.outage)
            changes += [(now, 0.0), (back, math.inf)]
            now = back
        return changes

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values; any number of instances is null."""
        recorded = [[at, room if math.isfinite(room) else None] for at, room in self.recorded]
        return {**asdict(self), "recorded": recorded}


def read_spot(path: str | os.PathLike[str]) -> tuple[tuple[float, float], ...]:
    """Read how many spot instances could be had, for `SpotPool(recorded=)`.

    The file is JSON as in skypilot-org/spot-traces (Z. Wu et al., Can't Be Late, NSDI 2024):
    ``{"metadata": {"gap_seconds": 300}, "data": [1, 1, 0, ...]}``. The most that it counts is what
    was asked for, and stands for any number.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is no such file.
    """
    file = as_path(path)
    try:
        found = json.loads(file.read_bytes())
        gap, data = found["metadata"]["gap_seconds"], found["data"]
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {file}.") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InvalidInput(
            f"{file.name} must be JSON with metadata.gap_seconds and data, a list of counts: "
            f"{type(error).__name__} {error}."
        ) from error
    gap = positive("gap_seconds", gap, "seconds")
    counts = [whole_number("Each of data", each, low=0) for each in as_tuple("data", data)]
    if not counts:
        raise InvalidInput(f"{file.name} has no data: a list of counts is wanted.")
    rooms = [math.inf if each and each == max(counts) else float(each) for each in counts]
    return tuple((gap * i, room) for i, room in enumerate(rooms) if not i or room != rooms[i - 1])


@dataclass(frozen=True, kw_only=True)
class SpotHedge:
    """A policy for a fleet of spot and on-demand instances, one type each.

    Of the count that another policy wants, `extra` more are asked of spot; on-demand instances
    stand in for what is not ready of them, and go when it is (after SkyServe's SpotHedge, Z. Mao
    et al., EuroSys 2025), whenever the other policy is asked. Beside functions, on-demand may be
    left out: they stand in.

    Attributes:
        policy: For as many instances as are needed.
        spot: The instance type that is taken away at times.
        on_demand: The instance type that stands in; None: none does.
        extra: Spot instances beyond those needed.

    Raises:
        InvalidInput: A setting is out of its limits.

    >>> from workbench.scaling.schedule import Schedule
    >>> hedge = SpotHedge(policy=Schedule([(0.0, 4)]), spot="c5.large", on_demand="c5.xlarge")
    >>> there = {"c5.large": TypeCount(ready=2, starting=3)}
    >>> hedge.scaler().decide(Reading(0, 0, 0, 0, 2, 3, types=there), now=0.0)
    {'c5.large': 5, 'c5.xlarge': 3}
    """

    policy: ScalingPolicy
    spot: str
    on_demand: str | None = None
    extra: int = 1

    def __post_init__(self) -> None:
        if not hasattr(self.policy, "scaler"):
            raise InvalidInput(f"policy must be a scaling policy, got {self.policy!r}.")
        of_kind("spot", self.spot, str)
        of_kind("on_demand", self.on_demand, str | None, "an instance type")
        keep(self, extra=whole_number("extra", self.extra, low=0))
        if self.on_demand == self.spot:
            raise InvalidInput(
                f"on_demand must be another type than spot, got {self.spot!r} twice."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return kind and settings as JSON values."""
        names = {"spot": self.spot, "on_demand": self.on_demand, "extra": self.extra}
        return {"kind": "spot hedge", "policy": self.policy.to_dict(), **names}

    def scaler(self) -> "_SpotHedgeScaler":
        """Return a fresh scaler."""
        return _SpotHedgeScaler(self)


class _SpotHedgeScaler:
    def __init__(self, hedge: SpotHedge) -> None:
        self._hedge = hedge
        self._scaler = hedge.policy.scaler()
        self._wanted = 0
        self.latency_target = getattr(self._scaler, "latency_target", None)

    @property
    def due(self) -> float:
        return self._scaler.due

    def decide(self, reading: Reading, now: float) -> Counts:
        hedge = self._hedge
        # it sees the fleet that it wanted, or it would make up for what spot lacks as well
        alone = reading._replace(types={}, ready=self._wanted, starting=0)
        wanted = self._scaler.decide(alone, now)
        if not isinstance(wanted, int):
            raise InvalidInput("policy must be one for a single type: it decided by type.")
        self._wanted = wanted
        on_spot = wanted + hedge.extra if wanted else 0
        if not reading.types and hedge.on_demand is None:  # a fleet of one type
            return on_spot
        missing = wanted + hedge.extra - reading.types.get(hedge.spot, TypeCount(0, 0)).ready
        counts = {hedge.spot: on_spot}
        if hedge.on_demand is not None:
            counts[hedge.on_demand] = min(wanted, max(0, missing))
        return counts


def _check_recorded(value: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    before, changes = -1.0, []
    for change in as_tuple("recorded", value):
        if len(as_tuple("A recorded change", change)) != 2:
            raise InvalidInput(f"A recorded change is seconds and instances, got {change!r}.")
        at = not_negative("A recorded instant", change[0], "seconds")
        if at <= before:
            raise InvalidInput(f"Recorded instants must increase from 0, got {change!r}.")
        room = change[1] if change[1] == math.inf else not_negative("Room", change[1])
        changes.append((at, float(room)))
        before = at
    return tuple(changes)
