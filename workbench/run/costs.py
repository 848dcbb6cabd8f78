"""What a run costs: the billed quantities read from its rows, and the bill of its deployment."""

import math
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from workbench.deployment.base import Deployment
from workbench.deployment.composite import Composite
from workbench.errors import InvalidInput
from workbench.pricing.cost import Cost, describe_unknown_data, monthly
from workbench.pricing.sheet import PriceSheet
from workbench.pricing.usage import CallTimes, Spans, Usage, round_up_ms
from workbench.run import Run
from workbench.run.columns import has_column, with_optional_columns
from workbench.validation import flag, of_kind

if TYPE_CHECKING:
    import polars as pl

_THROTTLED = "(?i)throttl|toomanyrequests"


def cost(
    run: Run,
    *,
    prices: PriceSheet | None = None,
    bytes_in: float | None = None,
    bytes_out: float | None = None,
    bill_cold_start: bool = False,
) -> Cost:
    """Return what a run costs on the deployment in its record.

    A batch is one call; it is billed from `started` to `finished`, or for its `model_latency` where
    there is such a column. Where there is a column `init`, the seconds of that span in which a cold
    instance started, Lambda bills them and SageMaker serverless does not, unless `bill_cold_start`
    (that it does not is inferred). Throttled calls are free. Servers numbered below `provisioned`
    are the provisioned ones. Instances are billed from launch to stop as in the record's
    `instances`, spot instances at the price in its `spot`. Alarms, some ten cents each a month, are
    no part of a run: `Experiment.estimate` counts those by which AWS carries out a scaling policy.

    Args:
        run: The run, with a deployment in its record.
        prices: The price sheet, by default that of us-east-1.
        bytes_in: Bytes of all requests together; by default as many as their rows have, by the
            `row_bytes` of the record.
        bytes_out: Bytes of all answers together; likewise, by `answer_bytes`.
        bill_cold_start: Whether SageMaker serverless bills the start of a cold instance.

    Raises:
        InvalidInput: The run does not say how it was deployed, or an `init` exceeds its call.
        NotFound: The sheet lacks a price.

    >>> from workbench.deployment import Local
    >>> run = Run.from_arrays(scheduled=[0, 1], finished=[1, 10], origin="simulated")
    >>> run = run.amend(deployment=Local(hourly_price=0.36))
    >>> bill = cost(run)  # `bill.per_month` is known where the record has a trace
    >>> round(bill.total, 9), round(bill.per_million, 9), bill.origin
    (0.001, 500.0, 'simulated')
    """
    of_kind("run", run, Run)
    flag("bill_cold_start", bill_cold_start)
    sheet, deployment = sheet_of(run, prices), _deployment(run)
    usage = deployment.usage(RunActivity(run), bill_cold_start=bill_cold_start)
    (asked, answered), record = _count_rows(run), run.record
    if bytes_in is None and record.row_bytes is not None:
        bytes_in = asked * record.row_bytes
    if bytes_out is None and record.answer_bytes is not None:
        bytes_out = answered * record.answer_bytes
    notes = list(usage.notes)
    if deployment.bills_data:
        known = {"requests": bytes_in is not None, "answers": bytes_out is not None}
        notes += describe_unknown_data(**known)
    usage = replace(usage, bytes_in=bytes_in or 0.0, bytes_out=bytes_out or 0.0)
    return Cost(
        items=deployment.bill(usage, prices=sheet),
        answered=run.answered,
        origin=run.origin,
        notes=tuple(notes),
        per_month=_monthly(run, usage, sheet),
    )


def _count_rows(run: Run) -> tuple[int, int]:
    """Return the rows of all requests and of those answered: once for each place asked."""
    frame = run.frame
    rows = frame["rows"].cast(int)
    if has_column(frame, "tried"):
        rows = rows * frame["tried"].cast(int)
    return int(rows.sum()), int(rows.filter(frame["finished"].is_finite()).sum())


def _monthly(run: Run, usage: Usage, prices: PriceSheet) -> float:
    """Return US dollars a month of the trace; what a fleet took to boot is not repeated."""
    deployment, trace = _deployment(run), run.record.trace
    if trace is None:
        return math.nan
    seconds = (run.complete and trace.duration) or RunActivity(run).span
    if run.record.scaling is None:
        usage = deployment.repeat_usage(usage, seconds)
    return monthly(deployment.bill(usage, prices=prices), seconds)


def sheet_of(run: Run, prices: PriceSheet | None) -> PriceSheet:
    """Return the prices of a run: its spot instances have that of its record."""
    sheet = PriceSheet.load() if prices is None else prices
    of_kind("prices", sheet, PriceSheet)
    spot = run.record.spot
    if spot is None:
        return sheet
    day = date.fromisoformat(spot["priced_on"])
    return sheet.with_price(spot["instance_type"], spot["hourly_price"], unit="hour", date=day)


def _deployment(run: Run) -> Deployment:
    if run.record.deployment is None:
        raise InvalidInput(
            "This run does not say how it was deployed: "
            "run.amend(deployment=...) returns it with one."
        )
    return run.record.deployment


@dataclass(frozen=True)
class RunActivity:
    """The billed activity of a run: an `Activity`, read from its rows and record.

    A part of a composite deployment is there for as long as the whole is under way, `until`, asked
    or not.
    """

    run: Run
    until: float = 0.0

    @property
    def end(self) -> float:
        """The instant of the last answer in seconds, 0 where there is none."""
        frames = [self.run.frame] if self.run.calls is None else [self.run.frame, self.run.calls]
        last = (np.nanmax(each["finished"].to_numpy(), initial=0.0) for each in frames)
        return max(self.until, *map(float, last))

    @property
    def span(self) -> float:
        """Seconds until the trace's end or the last answer; a run that was stopped ends with it."""
        trace = self.run.record.trace if self.run.complete else None
        return max(self.end, (trace and trace.duration) or 0.0)

    @property
    def calls(self) -> int:
        """Batches that were not throttled."""
        return len(self._calls)

    @property
    def instances(self) -> Spans | None:
        """Launch and stop of each instance; None where that was not recorded."""
        return self.run.record.instances

    @property
    def service_spans(self) -> Spans:
        """Start and end of each call that was answered."""
        return self._calls.drop_nans("finished").select("started", "finished").rows()

    def part(self, number: int) -> "RunActivity":
        """Return what a part of a composite deployment did: each call, its answer given or not.

        Raises:
            InvalidInput: The run does not say which part answered.
        """
        import polars as pl

        calls, record = self.run.calls, self.run.record
        if calls is None or record.members is None or not isinstance(record.deployment, Composite):
            raise InvalidInput(
                f"This run does not say what part {number} of its deployment answered."
            )
        parts = record.deployment.parts
        own_places = record.deployment.places_of(number)
        first = own_places.start
        asked = calls.filter(pl.col("place").is_between(first, own_places.stop - 1))
        members = record.members[own_places]
        if isinstance(parts[number], Composite):
            asked = asked.with_columns(pl.col("place") - first)
            places = tuple(member.name for member in members)
            whole = replace(record, deployment=parts[number], places=places, members=members)
            return RunActivity(Run(asked, whole, calls=asked), until=self.end)
        (member,) = members
        own = {name: getattr(member, name) for name in ("deployment", "instances", "counts")}
        return RunActivity(Run(asked, replace(record, **own)), until=self.end)

    def call_times(self, *, with_cold_starts: bool, provisioned: int) -> CallTimes:
        """Return what calls are billed: what the endpoint reports, or what the client saw.

        Raises:
            InvalidInput: An `init` exceeds its call.
        """
        calls = self._calls
        init = calls["init"].to_numpy()
        reported = calls["model_latency"].to_numpy()
        served = (calls["finished"] - calls["started"]).to_numpy() - init
        if np.isfinite(reported).any():
            served = reported
        if (served < -1e-6).any():
            raise InvalidInput(
                "init must be a part of the span from started to finished, "
                f"got one that exceeds it by {-np.nanmin(served):.6g} s."
            )
        seconds = served + init if with_cold_starts else served.clip(min=0.0)
        known = np.isfinite(seconds)
        billed = round_up_ms(np.where(known, seconds, 0.0)) / 1000
        warm = calls["server"].is_between(0, provisioned - 1).to_numpy()
        return CallTimes(
            on_demand=float(billed[~warm].sum()),
            provisioned=float(billed[warm].sum()),
            calls=len(calls),
            notes=self._notes(unknown=int((~known).sum()), provisioned=provisioned),
        )

    def _notes(self, *, unknown: int, provisioned: int) -> tuple[str, ...]:
        reported = has_column(self.run.frame, "model_latency")
        seen = not reported and self.run.origin.startswith("measured")
        lost = bool(provisioned) and bool((self._calls["server"] < 0).all())
        notes = {
            "Billed time is what the model took for each call, as the endpoint tells it.": reported,
            "Billed time is what the client saw of each call, network included.": seen,
            f"{unknown} failed calls have no finish: their time is not billed.": unknown > 0,
            "Which calls provisioned instances took is unknown: none is billed as such.": lost,
        }
        return tuple(note for note, holds in notes.items() if holds)

    @cached_property
    def _calls(self) -> "pl.DataFrame":
        """A row for each call that was not throttled: started, finished, server, init, ..."""
        import polars as pl

        throttled = pl.col("error").fill_null("").str.contains(_THROTTLED)
        return (
            with_optional_columns(self.run.frame)
            .filter(pl.col("batch") >= 0, ~throttled)
            .group_by("batch", maintain_order=True)
            .agg(pl.col("started", "finished", "server", "init", "model_latency").first())
        )
