"""Where the requests of an ensemble go: sessions on this machine, or endpoints on a cloud."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import TYPE_CHECKING, Protocol

from workbench.backends.base import Backend
from workbench.backends.local import LocalBackend
from workbench.cloud.aws import Cloud
from workbench.cloud.deploy import deploy
from workbench.cloud.ensemble_deploy import DeployedEnsemble
from workbench.errors import InvalidInput, NotAvailable
from workbench.measuring.collector import RunOptions
from workbench.measuring.limits import bytes_of_trace, check_batches
from workbench.measuring.oversubscription import warn_of_shared_cores
from workbench.measuring.place_meters import PlaceMeters, PlacesReport
from workbench.measuring.routed_load import RoutedLoad, RoutedRows, replay_routed_in_process
from workbench.measuring.setup import RoutedSetup
from workbench.validation import of_kind

if TYPE_CHECKING:
    import polars as pl

OnRoutedRows = Callable[[RoutedRows], None]


class EnsembleTarget(Protocol):
    """Where the requests of one run of an ensemble go."""

    origin: str
    backends: Sequence[Backend]

    def send(self, load: RoutedLoad, on_rows: OnRoutedRows, stopped: Event) -> None:
        """Send the load, and pass on what happened."""

    def report(self, frame: "pl.DataFrame", calls: "pl.DataFrame", cores: int) -> PlacesReport:
        """Return what the target knows of a run on a machine of so many cores."""


@contextlib.contextmanager
def open_ensemble_target(
    setup: RoutedSetup,
    on: Cloud | DeployedEnsemble | None,
    options: RunOptions,
    *,
    budget: float | None,
    yes: bool,
) -> Iterator[EnsembleTarget]:
    """Open the target of a run, for as long as a `with` block lasts.

    Raises:
        NotAvailable: A member needs a cloud, or that cloud needs something.
        InvalidInput: Ensemble and cloud do not fit one another.
        OverBudget: It may cost more than the budget.
    """
    if on is None:
        yield LocalEnsembleTarget(setup)
        return
    for name in setup.model.names:
        check_batches(setup.alone(name))
    if isinstance(on, DeployedEnsemble):
        if on.ensemble.members != setup.model.members:
            raise InvalidInput(
                f"What was deployed is {on.ensemble.label}, and the experiment is {setup.label}: "
                "run it with experiment.run(cloud)."
            )
        yield CloudEnsembleTarget(on, budget)
        return
    of_kind("on", on, Cloud, "a cloud such as LocalCloud() or aws(), or what deploy() returned")
    trace = setup.trace
    with deploy(
        setup.model,
        on,
        budget=budget,
        yes=yes,
        stopped=options.stopped,
        expected=trace.duration + options.drain,
        calls=len(trace),
        bytes_in=sum(bytes_of_trace(setup.alone(name)) for name in setup.model.names),
    ) as deployed:
        if options.on_deployed:
            options.on_deployed(deployed)
        yield CloudEnsembleTarget(deployed, budget)


class LocalEnsembleTarget:
    """The models together in a process of their own on this machine.

    Raises:
        NotAvailable: A member takes a cloud.
    """

    origin = "measured: this machine"

    def __init__(self, setup: RoutedSetup) -> None:
        members = setup.model.members
        if away := {
            name: each.deployment for name, each in members.items() if each.deployment.needs
        }:
            name, deployment = next(iter(away.items()))
            raise NotAvailable(
                f"{name} is {deployment.label}, which does not run here. {deployment.needs} "
                "With one: experiment.run(cloud)."
            )
        self._threads = [each.deployment.session_threads for each in members.values()]
        self.backends: Sequence[Backend] = [
            LocalBackend(
                each.model,
                workers=each.deployment.instance_workers,
                threads=each.deployment.session_threads,
            )
            for each in members.values()
        ]

    def send(self, load: RoutedLoad, on_rows: OnRoutedRows, stopped: Event) -> None:
        """Send the load from a process of its own, which runs the models too."""
        replay_routed_in_process(load, on_rows=on_rows, stopped=stopped)

    def report(self, frame: "pl.DataFrame", calls: "pl.DataFrame", cores: int) -> PlacesReport:
        """Return the rows, and a warning where members had to share cores."""
        several = len(self._threads) > 1
        warnings = warn_of_shared_cores(calls, self._threads, cores) if several else []
        return PlacesReport(frame, calls, {}, [{}] * len(self._threads), warnings)


class CloudEnsembleTarget(PlaceMeters):
    """The members on a cloud, all of them metered while the load is sent."""

    def __init__(self, deployed: DeployedEnsemble, budget: float | None) -> None:
        super().__init__(deployed, budget)
        self.backends: Sequence[Backend] = [target.backend for target in self._targets]

    def send(self, load: RoutedLoad, on_rows: OnRoutedRows, stopped: Event) -> None:
        """Send the load from a process of its own, until the budget is spent at most."""

        def meter(rows: RoutedRows) -> None:
            if rows.calls is not None:
                self.add(rows.calls, stopped)
            on_rows(rows)

        self.begin()
        replay_routed_in_process(load, on_rows=meter, stopped=stopped)

    def report(self, frame: "pl.DataFrame", calls: "pl.DataFrame", cores: int) -> PlacesReport:
        """Return what the cloud tells of each place."""
        return self.report_places(frame, calls, cores)
