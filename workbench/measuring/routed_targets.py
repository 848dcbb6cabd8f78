"""Where the requests of an ensemble go: sessions on this machine, or endpoints on a cloud."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from workbench.backends.base import Backend
from workbench.backends.local import LocalBackend
from workbench.cloud.aws import Cloud
from workbench.cloud.deploy import deploy
from workbench.cloud.ensemble_deploy import DeployedEnsemble
from workbench.errors import InvalidInput, NotAvailable
from workbench.formatting import dollars
from workbench.measuring.collector import RunOptions
from workbench.measuring.limits import bytes_of_trace, check_batches
from workbench.measuring.load import Rows
from workbench.measuring.oversubscription import warn_of_shared_cores
from workbench.measuring.routed_load import RoutedLoad, RoutedRows, replay_routed_in_process
from workbench.measuring.setup import RoutedSetup
from workbench.measuring.targets import EndpointTarget
from workbench.validation import of_kind

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

    def report(self, frame: "pl.DataFrame", calls: "pl.DataFrame", cores: int) -> EnsembleReport:
        """Return the rows, and a warning where members had to share cores."""
        several = len(self._threads) > 1
        warnings = warn_of_shared_cores(calls, self._threads, cores) if several else []
        return EnsembleReport(frame, calls, {}, [{}] * len(self._threads), warnings)


class CloudEnsembleTarget:
    """The members on a cloud, all of them metered while the load is sent."""

    def __init__(self, deployed: DeployedEnsemble, budget: float | None) -> None:
        self._deployed = deployed
        self._budget = budget if deployed.cloud.paid else None
        self._targets = [EndpointTarget(each, None) for each in deployed.members.values()]
        self._warnings: list[str] = []
        self.origin = deployed.cloud.origin
        self.backends: Sequence[Backend] = [target.backend for target in self._targets]

    def send(self, load: RoutedLoad, on_rows: OnRoutedRows, stopped: Event) -> None:
        """Send the load from a process of its own, until the budget is spent at most."""

        def meter(rows: RoutedRows) -> None:
            if rows.calls is not None:
                self.add(rows.calls, stopped)
            on_rows(rows)

        for target in self._targets:
            target.begin()
        replay_routed_in_process(load, on_rows=meter, stopped=stopped)

    def add(self, calls: Rows, stopped: Event) -> None:
        """Add calls to what their places cost, and set `stopped` once the budget is spent."""
        for place, target in enumerate(self._targets):
            own = np.asarray(calls["place"]) == place
            columns = ("batch", "started", "finished")
            target.add({name: np.asarray(calls[name])[own] for name in columns}, stopped)
        spent = sum(target.dollars for target in self._targets)
        if self._budget is not None and spent >= self._budget and not stopped.is_set():
            stopped.set()
            self._warnings.append(f"The budget of {dollars(self._budget)} was spent: stopped.")

    def report(self, frame: "pl.DataFrame", calls: "pl.DataFrame", cores: int) -> EnsembleReport:
        """Return what the cloud tells of each place, its servers numbered from 0."""
        import polars as pl

        reports = [
            target.report(calls.filter(pl.col("place") == place), cores)
            for place, target in enumerate(self._targets)
        ]
        numbered = pl.concat([report.frame for report in reports])
        servers = numbered.select("batch", "server").unique("batch")
        warnings = [warning for report in reports for warning in report.warnings]
        return EnsembleReport(
            _with_servers(frame, servers),
            _with_servers(calls, servers),
            {"cloud": self._deployed.facts()},
            [{"instances": report.facts.get("instances")} for report in reports],
            [*dict.fromkeys(warnings), *self._warnings],
        )


def _with_servers(frame: "pl.DataFrame", servers: "pl.DataFrame") -> "pl.DataFrame":
    """Return rows with the servers of their batches; -1 where there is none."""
    import polars as pl

    joined = frame.drop("server").join(servers, on="batch", how="left", maintain_order="left")
    return joined.with_columns(pl.col("server").fill_null(-1)).select(frame.columns)
