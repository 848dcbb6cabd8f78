"""Fleets on a cloud that a run looks after itself: that have an overflow, mix types, or grow."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import numpy as np

from workbench.backends.base import Backend
from workbench.backends.hybrid import HybridBackend
from workbench.backends.shared_counts import CountedBackend, SharedCounts
from workbench.cloud.autoscaling import is_registered
from workbench.cloud.controller import FleetController, count_instances
from workbench.cloud.deploy import DeployedModel
from workbench.cloud.fleet_deploy import DeployedFleet
from workbench.deployment.hybrid import Hybrid
from workbench.measuring.load import Load, Rows, replay_in_process
from workbench.measuring.place_meters import PlaceMeters
from workbench.measuring.setup import Setup, record_of
from workbench.measuring.targets import EndpointTarget, OnBegin, OnRows, Report
from workbench.scaling.base import ScalingPolicy
from workbench.traffic.trace import Trace

if TYPE_CHECKING:
    import polars as pl


class WatchedFleet:
    """The base of a run's deployment: what it is sent is counted, and its policy carried out.

    Args:
        base: Its variants.
        policy: What its size follows, if anything.
        folder: Where the counts are.
        stays: Whether it is there after the run.
    """

    def __init__(
        self,
        base: Sequence[DeployedModel],
        policy: ScalingPolicy | None,
        folder: Path,
        *,
        stays: bool,
    ) -> None:
        self._base = base
        self._policy = None if policy is None or is_registered(policy) else policy
        self._stays = stays
        self._controllers: list[FleetController] = []
        self.counts = SharedCounts(folder / "counts", ready=0)
        self._look()

    @contextlib.contextmanager
    def watch(self, trace: Trace, on_rows: OnRows) -> Iterator[OnRows]:
        """Count instances while the block lasts, and have them follow the policy if it is a run's.

        Give the rows of completed requests to what this returns.
        """
        with contextlib.ExitStack() as stack:
            for each in self._base:
                if each.fleet is not None:
                    each.fleet.listeners.append(self._look)
                    stack.callback(each.fleet.listeners.remove, self._look)
            if self._policy is None:
                yield on_rows
                return
            parts = self._base, self._policy, self.counts, trace.arrivals
            controller = stack.enter_context(FleetController(*parts, stays=self._stays))
            self._controllers.append(controller)

            def add(rows: Rows) -> None:
                answered = np.asarray(rows.get("tried", np.ones(len(rows["request"])))) > 0
                due = trace.arrivals[np.asarray(rows["request"])[answered]]
                controller.add(np.asarray(rows["finished"])[answered] - due)
                on_rows(rows)

            yield add

    def report(self) -> Report:
        """Return what was done to follow the policy, beside rows of none."""
        import polars as pl

        done = [each for controller in self._controllers for each in controller.activities]
        wrong = [each for controller in self._controllers for each in controller.warnings]
        facts = {"activities": tuple(done)} if self._policy is not None else {}
        return Report(pl.DataFrame(), facts, wrong)

    def _look(self) -> None:
        ready, starting = (
            sum(each) for each in zip(*map(count_instances, self._base), strict=True)
        )
        self.counts.write(ready=ready, starting=starting)


class ScaledTarget(EndpointTarget):
    """A real-time endpoint that follows a policy which the run carries out."""

    def __init__(
        self, deployed: DeployedModel, budget: float | None, folder: Path, *, stays: bool
    ) -> None:
        super().__init__(deployed, budget)
        self._fleet = WatchedFleet([deployed], deployed.scaling, folder, stays=stays)
        self.backend = CountedBackend(self.backend, self._fleet.counts)
        self.on_begin = self._fleet.counts.begin

    def send(self, load: Load, on_rows: OnRows, stopped: Event) -> None:
        """Send the load from a process of its own while the fleet follows the policy."""
        with self._fleet.watch(load.trace, on_rows) as add:
            super().send(load, add, stopped)

    def report(
        self, frame: "pl.DataFrame", cores: int, calls: "pl.DataFrame | None" = None
    ) -> Report:
        """Return what the cloud tells of the run, and what was done to follow the policy."""
        found, own = super().report(frame, cores, calls), self._fleet.report()
        return found._replace(
            facts=found.facts | own.facts, warnings=[*found.warnings, *own.warnings]
        )


class FleetTarget(PlaceMeters):
    """A mixed fleet or a hybrid, all its parts metered while the load is sent."""

    def __init__(
        self,
        setup: Setup,
        deployed: DeployedFleet,
        budget: float | None,
        folder: Path,
        *,
        stays: bool,
    ) -> None:
        super().__init__(deployed, budget)
        self.scaling = deployed.scaling
        self.places = len(deployed.members)
        self._recorded = record_of(setup).members or ()
        self._fleet = WatchedFleet(deployed.base, deployed.scaling, folder, stays=stays)
        self.on_begin: OnBegin | None = self._fleet.counts.begin
        self.backend = _backend(deployed, self._fleet.counts, setup.trace)

    def send(self, load: Load, on_rows: OnRows, stopped: Event) -> None:
        """Send the load from a process of its own, until the budget is spent at most."""
        with self._fleet.watch(load.trace, on_rows) as add:

            def meter(rows: Rows) -> None:
                self.add(rows, stopped)
                add(rows)

            self.begin()
            replay_in_process(load, on_rows=meter, stopped=stopped)

    def report(
        self, frame: "pl.DataFrame", cores: int, calls: "pl.DataFrame | None" = None
    ) -> Report:
        """Return what the cloud tells of each place, and what was done to follow the policy."""
        assert calls is not None  # noqa: S101 - there are several places
        found, own = self.report_places(frame, calls, cores), self._fleet.report()
        members = tuple(
            dataclasses.replace(member, **facts)
            for member, facts in zip(self._recorded, found.members, strict=True)
        )
        facts = {**found.facts, **own.facts, "members": members}
        if self.scaling is not None:
            facts["scaling"] = self.scaling.to_dict()
        return Report(found.frame, facts, [*found.warnings, *own.warnings], found.calls)


def _backend(deployed: DeployedFleet, counts: SharedCounts, trace: Trace) -> Backend:
    """Return what sends each batch to one of the places."""
    first, *others = deployed.base
    variants = tuple(each.variant for each in deployed.base) if others else ()
    base = first.backend(variants=variants)
    if not isinstance(deployed.deployment, Hybrid):
        return CountedBackend(base, counts)
    return HybridBackend(
        base,
        list(deployed.members.values())[-1].backend(),
        deployed.deployment.spill,
        counts,
        arrivals=trace.arrivals,
        workers=first.deployment.instance_workers,
        place=len(deployed.base),
    )
