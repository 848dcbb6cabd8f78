"""Warm or cold: what it costs to keep an instance for calls that seldom come, and what not to."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.cloud.deploy import DeployedModel
from workbench.deployment.base import KEEP_ALIVE, KINDS, Deployment
from workbench.errors import InvalidInput
from workbench.formatting import Table, dollars
from workbench.idleness.calls import (
    CALL_SECONDS,
    IdleCalls,
    check_hours,
    find_hours,
    read_endpoint,
)
from workbench.idleness.kept_instances import KeptInstances
from workbench.pricing.cost import MONTH, describe_unknown_data
from workbench.pricing.sheet import PriceSheet
from workbench.traffic.trace import Trace
from workbench.units import MINUTE
from workbench.validation import not_negative, of_kind, positive, share

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from workbench.cloud.aws import Cloud
    from workbench.cloud.monitor import Clock

_KEEP_ALIVES = (1, 2, 5, 10, 15, 30, 60)  # minutes
_GAP_QUANTILES = (0.5, 0.9, 0.99, 1.0)  # the usual gap, long ones and the longest


def idle_report(
    of: Trace | DeployedModel | str,
    deployment: Deployment | None = None,
    *,
    cloud: Cloud | None = None,
    since: timedelta = timedelta(days=14),
    begins: float = 0.0,
    hours: tuple[int, int] | None = None,
    keep_alive: float | None = None,
    call_seconds: float | None = None,
    cold_start: float = 0.0,
    accept: float = 0.01,
    row_bytes: float | None = None,
    answer_bytes: float | None = None,
    prices: PriceSheet | None = None,
    clock: Clock = lambda: datetime.now(UTC),
) -> IdleReport:
    """Return what it costs to keep nothing, an instance, or an instance in the hours of use.

    Calls come from a trace, or from what CloudWatch counted of an endpoint in each minute; these
    are spread at random within their minutes.

    Args:
        of: The trace, the deployed model, or the endpoint's name.
        deployment: What answers. Default: what the endpoint runs on; `Serverless.example()` for a
            trace.
        cloud: Where the endpoint of that name is.
        since: How far back CloudWatch is asked; it has minutes for 15 days.
        begins: The hour of the day, 0 to 24, at which the trace begins.
        hours: When the schedule keeps an instance: from this hour of the day until that. Default:
            the shortest that have 90 % of the requests, where the trace has a day or more.
        keep_alive: Seconds an idle instance is kept, where none is for good. Default: the
            deployment's, which is inferred: AWS does not publish it.
        call_seconds: What a call takes. Default: as CloudWatch says; 0.1 s for a trace.
        cold_start: Seconds that a cold call waits.
        accept: The share of cold calls that may be: what is advised is the cheapest within it.
        row_bytes: Bytes of a row in a call, where the trace does not tell its own. Default: what
            calls carry is not billed, which a note says.
        answer_bytes: Bytes of the answer to a row; likewise.
        prices: The price sheet, by default that of us-east-1.
        clock: Tells the time.

    Raises:
        InvalidInput: An argument is not what it must be, or the deployment is not known.
        CloudError: The cloud refused.
        NotFound: The sheet lacks a price.

    >>> from workbench.traffic.patterns import constant
    >>> print(idle_report(constant(rate=1 / 1800, duration=72000), accept=1).advice)
    Set min = 0: $0.00584 a month, and 100 % of calls are cold; min = 1 is $26.28 a month, and 0 %.
    """
    if not isinstance(of, Trace):
        calls = read_endpoint(of, cloud, deployment, call_seconds, since=since, clock=clock)
    else:
        taken = f"A call is taken to last {CALL_SECONDS} s: say with call_seconds= what it does."
        calls = IdleCalls(
            of.name,
            of,
            of.duration,
            deployment or KINDS["serverless"].example(),
            CALL_SECONDS if call_seconds is None else call_seconds,
            begins,
            (taken,) if call_seconds is None else (),
        )
    of_kind("deployment", calls.deployment, Deployment)
    if not (calls.deployment.on_demand or calls.deployment.scaled_by == "count"):
        raise InvalidInput(
            f"idle_report is about functions, and endpoints on demand or on instances: "
            f"{calls.deployment.label} is none."
        )
    known: dict[str, Any] = {
        name: not_negative(name, size, "bytes")
        for name, size in (("row_bytes", row_bytes), ("answer_bytes", answer_bytes))
        if size is not None
    }
    seconds = positive("call_seconds", calls.call_seconds, "seconds")
    if keep_alive is None:
        keep_alive = getattr(calls.deployment, "keep_alive", KEEP_ALIVE)
    kept = KeptInstances(
        calls=replace(calls, call_seconds=seconds, **known),
        hours=check_hours(hours) if hours is not None else find_hours(calls),
        keep_alive=not_negative("keep_alive", keep_alive, "seconds"),
        cold_start=not_negative("cold_start", cold_start, "seconds"),
        prices=PriceSheet.load() if prices is None else prices,
    )
    return IdleReport(kept=kept, accept=share("accept", accept))


@dataclass(frozen=True, eq=False)
class IdleReport:
    """Gaps between calls, who finds no instance, what keeping one costs, and an advice.

    A value that shows itself: printed, or as the last line of a cell.

    Attributes:
        kept: The calls, what answers them, and what is kept.
        accept: The share of cold calls that may be.
    """

    kept: KeptInstances
    accept: float

    @property
    def calls(self) -> IdleCalls:
        """The calls, and what answers them."""
        return self.kept.calls

    @property
    def hours(self) -> tuple[int, int] | None:
        """Hours of the day, from and until, that the schedule keeps an instance for."""
        return self.kept.hours

    @property
    def deployment(self) -> Deployment:
        """What answers the calls."""
        return self.calls.deployment

    @property
    def requests(self) -> int:
        """How many calls there were."""
        return len(self.calls.arrivals)

    @cached_property
    def gaps(self) -> pl.DataFrame:
        """Seconds from one call to the next: `quantile` and `gap`; 1 is the longest."""
        import polars as pl

        between = np.diff(self.calls.arrivals)
        gaps = np.quantile(between, _GAP_QUANTILES).tolist() if between.size else []
        rows = list(zip(_GAP_QUANTILES, gaps, strict=False))
        return pl.DataFrame(rows, {"quantile": pl.Float64, "gap": pl.Float64}, orient="row")

    @cached_property
    def keep_alives(self) -> pl.DataFrame:
        """The share of cold calls by how long an idle instance is kept.

        Columns: keep_alive (seconds), cold (how many), cold_share.
        """
        import polars as pl

        rows = []
        for minutes in _KEEP_ALIVES:
            cold = int(self.kept.find_cold(minutes * MINUTE).sum())
            rows.append((minutes * MINUTE, cold, cold / max(1, self.requests)))
        names = {"keep_alive": pl.Float64, "cold": pl.Int64, "cold_share": pl.Float64}
        return pl.DataFrame(rows, schema=names, orient="row")

    @cached_property
    def frame(self) -> pl.DataFrame:
        """What is kept, and what that leads to: a row for each choice.

        Columns: choice, dollars_per_month, cold_share, cold_per_month, waiting_per_month (seconds
        of cold starts), dollars_per_cold_call (what a cold call that is avoided costs; null
        where none is, or it costs nothing), advised.
        """
        import polars as pl

        data = self.kept.data
        rows = [
            (name, kept.standing + kept.calls + data, kept.cold) for name, kept in self.kept.choices
        ]
        advised = self._choose(rows)
        first, found = rows[0], []
        for name, amount, cold in rows:
            a_month = float(cold.sum()) * MONTH / self.calls.duration
            avoided = float(first[2].sum()) * MONTH / self.calls.duration - a_month
            more = amount - first[1]
            each = more / avoided if min(more, avoided) > 0 else None
            row = name, amount, cold.mean() if cold.size else 0.0, a_month
            found.append((*row, a_month * self.kept.cold_start, each, name == advised))
        schema: dict[str, Any] = {
            "choice": pl.String(),
            "dollars_per_month": pl.Float64(),
            "cold_share": pl.Float64(),
            "cold_per_month": pl.Float64(),
            "waiting_per_month": pl.Float64(),
            "dollars_per_cold_call": pl.Float64(),
            "advised": pl.Boolean(),
        }
        return pl.DataFrame(found, schema=schema, orient="row")

    def _choose(self, rows: Sequence[tuple[str, float, NDArray[np.bool_]]]) -> str:
        """Return the cheapest choice within the cold calls that may be, else that of the fewest."""
        shares = {name: cold.mean() if cold.size else 0.0 for name, _, cold in rows}
        least = max(self.accept, min(shares.values()))
        return min((amount, name) for name, amount, _ in rows if shares[name] <= least)[1]

    @property
    def advice(self) -> str:
        """What to do, in a sentence, with its dollars and its share of cold calls."""
        rows = {row["choice"]: row for row in self.frame.rows(named=True)}
        chosen = next(row for row in rows.values() if row["advised"])
        others = [
            f"{name} is {dollars(row['dollars_per_month'])} a month, and {_percent(row)}"
            for name, row in rows.items()
            if row is not chosen
        ]
        if not self.requests:
            kept = f"min = {self.kept.least}"
            return (
                f"Nobody called {self.calls.label} in {self.calls.duration / 86_400:.3g} days: "
                f"delete it; with {kept} it costs {dollars(rows[kept]['dollars_per_month'])} a "
                "month."
            )
        amount, each = dollars(chosen["dollars_per_month"]), chosen["dollars_per_cold_call"]
        avoided = f" ({dollars(each)} for each cold call avoided)" if each else ""
        return (
            f"Set {chosen['choice']}: {amount} a month{avoided}, and {_percent(chosen)} of calls "
            f"are cold; {'; '.join(others)}."
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What the figures assume."""
        notes = list(self.calls.notes)
        if self.kept.keep_alive == KEEP_ALIVE:
            notes.append(
                f"That an idle instance is kept {KEEP_ALIVE / MINUTE:g} min is inferred: AWS does "
                "not publish it."
            )
        if not self.deployment.on_demand:
            notes.append(
                "An endpoint on instances has min = 0 only with inference components: calls are "
                "refused until one has started, which takes minutes."
            )
        if self.deployment.bills_data and self.calls.trace:
            sent = self.calls.row_bytes is not None or bool(self.calls.trace.bytes.any())
            given = self.calls.answer_bytes is not None
            notes += describe_unknown_data(requests=sent, answers=given)
        notes.append(f"Prices are {self.kept.mark}, in US dollars of a month of 730 hours.")
        return tuple(notes)

    def tables(self) -> tuple[Table, ...]:
        """Return the choices, the cold calls by keep-alive, and the gaps, as tables."""
        choices = [
            [
                f"{row['choice']}{'  <' * row['advised']}",
                dollars(row["dollars_per_month"]),
                _percent(row),
                row["waiting_per_month"] if self.kept.cold_start else None,
                row["dollars_per_cold_call"] and dollars(row["dollars_per_cold_call"]),
            ]
            for row in self.frame.rows(named=True)
        ]
        head = ["kept", "$ a month", "cold", "s waited a month", "$ per cold call avoided"]
        kept = [
            [f"{row['keep_alive'] / MINUTE:g} min", _percent(row), row["cold"]]
            for row in self.keep_alives.rows(named=True)
        ]
        gaps = [[f"{100 * q:g} %", gap] for q, gap in self.gaps.rows()]
        return (
            Table(head, choices, f"{self.calls.label}, {self.deployment.label}"),
            Table(["idle instance kept", "cold", "calls"], kept, "Cold calls by keep-alive"),
            Table(["of gaps", "at most (s)"], gaps, "From one call to the next"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return choices, keep-alives, gaps, advice and notes as JSON values."""
        return {
            "calls": self.requests,
            "seconds": self.calls.duration,
            "deployment": self.deployment.to_dict(),
            "choices": self.frame.to_dicts(),
            "keep_alives": self.keep_alives.to_dicts(),
            "gaps": self.gaps.to_dicts(),
            "advice": self.advice,
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        return f"<IdleReport of {self.requests:,} calls: {self.advice}>"

    def __str__(self) -> str:
        parts = [f"{table.caption}\n{table.text(right=True)}" for table in self.tables()]
        return "\n\n".join([*parts, self.advice, "\n".join(self.notes)])

    def _repr_html_(self) -> str:
        words = "".join(f"<p>{html.escape(each)}</p>" for each in (self.advice, *self.notes))
        return "".join(table.html() for table in self.tables()) + words


def _percent(row: dict[str, Any]) -> str:
    return f"{100 * row['cold_share']:.3g} %" if row["cold_share"] < 1 else "100 %"
