"""Where the requests of an ensemble go: sessions on this machine, or endpoints on a cloud."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from workbench.backends.base import Backend
from workbench.backends.local import LocalBackend
from workbench.cloud.aws import Cloud
from workbench.cloud.ensemble_deploy import DeployedEnsemble
from workbench.errors import NotAvailable
from workbench.measuring.collector import RunOptions
from workbench.measuring.routed_load import RoutedLoad, RoutedRows, replay_routed_in_process
from workbench.measuring.setup import RoutedSetup

if TYPE_CHECKING:
    import polars as pl

OnRoutedRows = Callable[[RoutedRows], None]


class EnsembleReport(NamedTuple):
    """What a target adds to a run: rows, calls, facts of the record and of each member, warnings.

    In the rows and calls, servers are numbered by place.
    """

    frame: "pl.DataFrame"
    calls: "pl.DataFrame"
    facts: dict[str, Any]
    members: Sequence[dict[str, Any]]
    warnings: list[str]


class EnsembleTarget(Protocol):
    """Where the requests of one run of an ensemble go."""

    origin: str
    backends: Sequence[Backend]

    def send(self, load: RoutedLoad, on_rows: OnRoutedRows, stopped: Event) -> None:
        """Send the load, and pass on what happened."""
        ...

    def report(self, frame: "pl.DataFrame", calls: "pl.DataFrame", cores: int) -> EnsembleReport:
        """Return what the target knows of a run on a machine of so many cores."""
        ...


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
    yield LocalEnsembleTarget(setup)


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
        self._count = len(members)
        self._cores = sum(
            each.deployment.instance_workers * each.deployment.session_threads
            for each in members.values()
        )
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

    def report(self, frame: "pl.DataFrame", calls: "pl.DataFrame", cores: int) -> EnsembleReport:
        """Return the rows, and a warning where members had to share cores."""
        warnings = []
        if self._count > 1 and self._cores > cores:
            warnings.append(
                f"The members want {self._cores} cores together, and this machine has {cores}: "
                "while several are busy they slow each other down."
            )
        return EnsembleReport(frame, calls, {}, [{}] * self._count, warnings)
