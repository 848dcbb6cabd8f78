"""What each place of a run on a cloud costs while it lasts, and what the cloud tells of it then."""

from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workbench.cloud.variants import DeployedMembers
from workbench.formatting import dollars
from workbench.measuring.load import Rows

if TYPE_CHECKING:
    import polars as pl


class PlacesReport(NamedTuple):
    """What a target adds to a run: rows, calls, facts of the record and of each member, warnings.

    In the rows and calls, servers are numbered by place.
    """

    frame: "pl.DataFrame"
    calls: "pl.DataFrame"
    facts: dict[str, Any]
    members: Sequence[dict[str, Any]]
    warnings: list[str]


class PlaceMeters:
    """The members of a deployment, all of them metered while the load is sent."""

    def __init__(self, deployed: DeployedMembers, budget: float | None) -> None:
        from workbench.measuring.targets import EndpointTarget

        self._members = deployed
        self._budget = budget if deployed.cloud.paid else None
        self._targets = [EndpointTarget(each, None) for each in deployed.members.values()]
        self._warnings: list[str] = []
        self.origin = deployed.cloud.origin

    def begin(self) -> None:
        """Note that the trace begins now."""
        for target in self._targets:
            target.begin()

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

    def report_places(
        self, frame: "pl.DataFrame", calls: "pl.DataFrame", cores: int
    ) -> PlacesReport:
        """Return what the cloud tells of each place, its servers numbered from 0."""
        import polars as pl

        reports = [
            target.report(calls.filter(pl.col("place") == place), cores)
            for place, target in enumerate(self._targets)
        ]
        numbered = pl.concat([report.frame for report in reports])
        servers = numbered.select("batch", "server").unique("batch")
        warnings = [warning for report in reports for warning in report.warnings]
        kept = ("instances", "counts")
        facts: dict[str, Any] = {"cloud": self._members.facts()}
        if done := [each for report in reports for each in report.facts.get("activities", ())]:
            facts["activities"] = tuple(done)
        return PlacesReport(
            _with_servers(frame, servers),
            _with_servers(calls, servers),
            facts,
            [{name: report.facts.get(name) for name in kept} for report in reports],
            [*dict.fromkeys(warnings), *self._warnings],
        )


def _with_servers(frame: "pl.DataFrame", servers: "pl.DataFrame") -> "pl.DataFrame":
    """Return rows with the servers of their batches; -1 where there is none."""
    import polars as pl

    joined = frame.drop("server").join(servers, on="batch", how="left", maintain_order="left")
    return joined.with_columns(pl.col("server").fill_null(-1)).select(frame.columns)
