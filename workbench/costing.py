"""What a run costs, item by item: billed time and bytes by the dated price sheet.

Money comes from what is billed, never from latency. Below `cost` stand pure functions, one for each
inference type; they take billed quantities, so that simulator, planner and tests can share them.
AWS's free tiers are not applied. A gigabyte is 1024^3 bytes, as on AWS's pricing pages.
"""

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.deployment import (
    Async,
    BatchTransform,
    Deployment,
    Lambda,
    Local,
    RealTime,
    Serverless,
)
from workbench.errors import InvalidInput
from workbench.formatting import Table, dollars
from workbench.prices import Price, PriceSheet, staleness_warning, weakest
from workbench.run import Run
from workbench.validation import of_kind

if TYPE_CHECKING:
    import polars as pl

MONTH = 730 * 3600.0
"""Seconds in a month of 730 hours, AWS's convention."""

_HOUR = 3600.0
_GB = 1024**3
_THROTTLING_PATTERN = "(?i)throttl|toomanyrequests"


@dataclass(frozen=True, kw_only=True)
class CostItem:
    """So many units of something, at so many US dollars each, and how that price is known.

    Raises:
        InvalidInput: The quantity is negative or not finite.
    """

    what: str
    quantity: float
    unit: str
    unit_price: float
    mark: str
    source: str
    date: dt.date | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.quantity) and self.quantity >= 0):
            raise InvalidInput(
                f"The billed quantity of {self.what} must be a finite number of {self.unit}s, "
                f"0 or more, got {self.quantity}."
            )

    @property
    def dollars(self) -> float:
        """Quantity times unit price."""
        return self.quantity * self.unit_price


Items = tuple[CostItem, ...]
"""Items of a cost; those of quantity 0 are left out."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What was billed, item by item, in US dollars.

    `answered` counts the requests answered, `origin` says how the billed quantities came about
    ("measured: this machine", "simulated", ...) and `notes` what the items leave out or assume.

    >>> bill = Cost(items=lambda_cost(1024, seconds=2e6, calls=1e6), answered=2_000_000)
    >>> round(bill.total, 2), round(bill.per_million, 2), bill.mark
    (33.53, 16.77, 'verified')
    """

    items: Items
    answered: int
    origin: str = "unknown"
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """The sum of all items."""
        return math.fsum(item.dollars for item in self.items)

    @property
    def per_million(self) -> float:
        """US dollars a million answered requests; NaN when none was answered."""
        return 1e6 * self.total / self.answered if self.answered else math.nan

    def per_month(self, seconds: float) -> float:
        """Return US dollars a month of 730 hours in which a trace of `seconds` repeats itself.

        The total is scaled as it is: Lambda's lower prices beyond 6 billion GB-s a month do not
        enter.

        Raises:
            InvalidInput: `seconds` is not a positive number.
        """
        if not (math.isfinite(seconds) and seconds > 0):
            raise InvalidInput(f"seconds must be a positive number, the trace's, got {seconds}.")
        return self.total * MONTH / seconds

    @property
    def mark(self) -> str:
        """How firmly the prices are known: the least firm mark of all items."""
        return weakest(item.mark for item in self.items)

    def stale(self, today: dt.date) -> str:
        """Return a warning where prices are older than half a year on that day; "" for none."""
        return staleness_warning(((item.date, item.what) for item in self.items), today)

    @cached_property
    def frame(self) -> "pl.DataFrame":
        """The items as a Polars frame: what, quantity, unit, unit_price, mark, source, ..."""
        import polars as pl

        schema = {
            "what": pl.String,
            "quantity": pl.Float64,
            "unit": pl.String,
            "unit_price": pl.Float64,
            "dollars": pl.Float64,
            "mark": pl.String,
            "source": pl.String,
            "date": pl.Date,
        }
        return pl.DataFrame([asdict(i) | {"dollars": i.dollars} for i in self.items], schema=schema)

    def to_dict(self) -> dict[str, Any]:
        """Return total, dollars per million, origin, mark, notes and items as JSON values."""
        return {
            "total": self.total,
            "per_million": self.per_million if self.answered else None,
            "origin": self.origin,
            "mark": self.mark,
            "notes": list(self.notes),
            "items": [
                asdict(i) | {"dollars": i.dollars, "date": i.date and i.date.isoformat()}
                for i in self.items
            ],
        }

    @property
    def label(self) -> str:
        """Total and dollars per million in a few words, for captions and tables."""
        if not self.answered:
            return f"{dollars(self.total)}, no request answered"
        return f"{dollars(self.total)}, {dollars(self.per_million)} per million requests"

    def __repr__(self) -> str:
        return f"<Cost {self.label}, {self.origin}>"

    def _repr_html_(self) -> str:
        columns = ["what", "quantity", "unit", "unit_price", "dollars", "mark", "date", "source"]
        rows = [[getattr(item, column) for column in columns] for item in self.items]
        rows.append(["total", "", "", "", self.total, self.mark, "", ""])
        caption = " ".join([f"Cost: {self.label} ({self.origin}).", *self.notes])
        return Table(columns, rows, caption).html()


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Billed quantities, all of a run together; those a deployment does not bill stay 0.

    `seconds` of on-demand calls (of wall time for `Local`), `provisioned_seconds` of calls that
    provisioned instances took, `enabled_seconds` of provisioned instances being kept (instances
    times seconds), `instance_seconds` of instances, `calls` and bytes.
    """

    seconds: float = 0.0
    provisioned_seconds: float = 0.0
    enabled_seconds: float = 0.0
    instance_seconds: float = 0.0
    calls: int = 0
    bytes_in: float = 0.0
    bytes_out: float = 0.0


def cost(
    run: Run,
    *,
    prices: PriceSheet | None = None,
    bytes_in: float = 0.0,
    bytes_out: float = 0.0,
    bill_cold_start: bool = False,
) -> Cost:
    """Return what a run costs on the deployment named in its facts.

    A batch is one call; it is billed from `started` to `finished`, or for its `model_latency` where
    there is such a column. Where there is a column `init`, the seconds of that span in which a cold
    instance started, Lambda bills them and SageMaker serverless does not, unless `bill_cold_start`
    (that it does not is inferred). Throttled calls
    are free. Servers numbered below `provisioned` are the provisioned ones. Instances are billed
    from launch to stop as in `facts["instances"]`, a list of such pairs in seconds.

    Args:
        run: The run, with `facts["deployment"]` from `Deployment.to_dict`.
        prices: The price sheet, by default that of us-east-1. `Local` needs none.
        bytes_in: Bytes of all requests together.
        bytes_out: Bytes of all answers together.
        bill_cold_start: Whether SageMaker serverless bills the start of a cold instance.

    Raises:
        InvalidInput: The run does not say how it was deployed, or an `init` exceeds its call.
        NotFound: The sheet lacks a price.

    >>> facts = {"deployment": Local(hourly_price=0.36).to_dict()}
    >>> run = Run.from_arrays(scheduled=[0, 1], finished=[1, 10], origin="simulated", facts=facts)
    >>> bill = cost(run)
    >>> round(bill.total, 9), round(bill.per_million, 9), bill.origin
    (0.001, 500.0, 'simulated')
    """
    of_kind("run", run, Run)
    if prices is not None:
        of_kind("prices", prices, PriceSheet)
    deployment = _deployment(run)
    usage, notes = _usage(run, deployment, bill_cold_start=bill_cold_start)
    if isinstance(deployment, RealTime | Serverless | Async) and not (bytes_in or bytes_out):
        notes.append("Bytes in and out are not given: data processing is not billed.")
    usage = replace(usage, bytes_in=bytes_in, bytes_out=bytes_out)
    return Cost(
        items=bill(deployment, usage, prices=prices),
        answered=run.answered,
        origin=run.origin,
        notes=tuple(notes),
    )


def bill(deployment: Deployment, usage: Usage, *, prices: PriceSheet | None = None) -> Items:
    """Return the items of billed quantities on a deployment, by the function of its type.

    Raises:
        InvalidInput: A quantity is negative or not finite.
        NotFound: The sheet lacks a price.

    >>> function = Lambda(memory_mb=1024, max_concurrency=10)
    >>> [item.what for item in bill(function, Usage(seconds=1.5, calls=3))]
    ['lambda duration x86_64', 'lambda requests']
    """
    prices = prices or PriceSheet.load()
    match deployment:
        case Local():
            return local_cost(usage.seconds, hourly_price=deployment.hourly_price)
        case Serverless():
            return _serverless_items(deployment, usage, prices)
        case Lambda():
            return _lambda_items(deployment, usage, prices)
        case RealTime():
            return real_time_cost(
                deployment.instance_type,
                instance_seconds=usage.instance_seconds,
                bytes_in=usage.bytes_in,
                bytes_out=usage.bytes_out,
                prices=prices,
            )
        case Async():
            return async_cost(
                deployment.instance_type,
                instance_seconds=usage.instance_seconds,
                calls=usage.calls,
                bytes_in=usage.bytes_in,
                bytes_out=usage.bytes_out,
                prices=prices,
            )
        case BatchTransform():
            return batch_transform_cost(
                deployment.instance_type, instance_seconds=usage.instance_seconds, prices=prices
            )
    raise InvalidInput(f"No rule says what a {deployment.kind} deployment costs.")


def local_cost(seconds: float, *, hourly_price: float) -> Items:
    """Return the cost of this machine for `seconds` at the hourly price its user gave.

    >>> local_cost(1800, hourly_price=0.5)[0].dollars
    0.25
    """
    return (
        CostItem(
            what="this machine",
            quantity=seconds / _HOUR,
            unit="hour",
            unit_price=hourly_price,
            mark="user",
            source="given by the user",
        ),
    )


def real_time_cost(
    instance_type: str,
    *,
    instance_seconds: float,
    bytes_in: float = 0.0,
    bytes_out: float = 0.0,
    prices: PriceSheet | None = None,
) -> Items:
    """Return the cost of a real-time endpoint: instances from launch to stop, and data processed.

    `instance_seconds` sums over instances, boot included; see the function of that name.

    >>> sum(item.dollars for item in real_time_cost("ml.m5.xlarge", instance_seconds=2 * 3600))
    0.46
    """
    prices = prices or PriceSheet.load()
    return (
        *_items(prices, instance_type, instance_seconds / _HOUR),
        *_data_items(prices, bytes_in, bytes_out),
    )


def async_cost(
    instance_type: str,
    *,
    instance_seconds: float,
    calls: int = 0,
    bytes_in: float = 0.0,
    bytes_out: float = 0.0,
    prices: PriceSheet | None = None,
) -> Items:
    """Return the cost of an asynchronous endpoint: instances, data, and S3 and SNS for each call.

    That an instance costs as much as under a real-time endpoint is inferred. A call puts and gets
    its input and its result in S3 once each and publishes one notification.
    """
    prices = prices or PriceSheet.load()
    return (
        *_items(prices, instance_type, instance_seconds / _HOUR, inferred=True),
        *_items(prices, "async data", (bytes_in + bytes_out) / _GB),
        *_items(prices, "s3 put", 2 * calls),
        *_items(prices, "s3 get", 2 * calls),
        *_items(prices, "sns publish", calls),
    )


def batch_transform_cost(
    instance_type: str, *, instance_seconds: float, prices: PriceSheet | None = None
) -> Items:
    """Return the cost of batch transform jobs: their instances for as long as the jobs ran.

    That an instance costs as much as under a real-time endpoint is inferred.
    """
    prices = prices or PriceSheet.load()
    return _items(prices, instance_type, instance_seconds / _HOUR, inferred=True)


def serverless_cost(
    memory_mb: int,
    *,
    seconds: float,
    bytes_in: float = 0.0,
    bytes_out: float = 0.0,
    prices: PriceSheet | None = None,
) -> Items:
    """Return the cost of on-demand calls of a SageMaker serverless endpoint, and of their data.

    `seconds` sums over calls, each rounded up to a millisecond: see `round_up_ms`.

    >>> round(serverless_cost(2048, seconds=500_000)[0].dollars, 9)
    20.0
    """
    prices = prices or PriceSheet.load()
    return (
        *_items(prices, f"serverless {memory_mb} MB", seconds),
        *_data_items(prices, bytes_in, bytes_out),
    )


def serverless_provisioned_cost(
    memory_mb: int, *, enabled_seconds: float, seconds: float, prices: PriceSheet | None = None
) -> Items:
    """Return the cost of provisioned concurrency of a SageMaker serverless endpoint, data apart.

    `enabled_seconds` sums over provisioned instances, busy or not; `seconds` over the calls they
    took, which cost less than on demand.
    """
    prices = prices or PriceSheet.load()
    return (
        *_items(prices, f"serverless provisioned {memory_mb} MB", enabled_seconds),
        *_items(prices, f"serverless provisioned duration {memory_mb} MB", seconds),
    )


def lambda_cost(
    memory_mb: int,
    *,
    seconds: float,
    calls: float,
    architecture: str = "x86_64",
    used_gb_seconds: float = 0.0,
    prices: PriceSheet | None = None,
) -> Items:
    """Return the cost of a Lambda function: GB-seconds on demand by tier, and requests.

    `seconds` sums over on-demand calls, each of init and duration rounded up to a millisecond: see
    `round_up_ms`. `calls` counts all calls, those of provisioned instances too. `used_gb_seconds`
    is what the month has seen already: the tiers start there.

    >>> round(sum(item.dollars for item in lambda_cost(1024, seconds=14.88e6, calls=7.44e6)), 2)
    249.49
    """
    prices = prices or PriceSheet.load()
    gb_seconds = seconds * memory_mb / 1024
    return (
        *_items(prices, f"lambda duration {architecture}", gb_seconds, used=used_gb_seconds),
        *_items(prices, "lambda requests", calls),
    )


def lambda_provisioned_cost(
    memory_mb: int,
    *,
    enabled_seconds: float,
    seconds: float,
    architecture: str = "x86_64",
    prices: PriceSheet | None = None,
) -> Items:
    """Return the cost of provisioned concurrency of a Lambda function; requests are apart.

    `enabled_seconds` sums over provisioned instances, busy or not (AWS rounds the time it is
    enabled up to 5 minutes); `seconds` over the calls they took, which cost less than on demand.
    """
    prices = prices or PriceSheet.load()
    gb = memory_mb / 1024
    return (
        *_items(prices, f"lambda provisioned {architecture}", gb * enabled_seconds),
        *_items(prices, f"lambda provisioned duration {architecture}", gb * seconds),
    )


def round_up_ms(seconds: ArrayLike) -> NDArray[np.int64]:
    """Return each call's time rounded up to a whole millisecond, as Lambda and SageMaker bill it.

    What a difference of floating-point instants is off by (under 10 ns) does not count as begun.

    >>> round_up_ms([0.0101, 10.3 - 10.0]).tolist()
    [11, 300]
    """
    return np.ceil(np.round(1000 * np.asarray(seconds, dtype=np.float64), 5)).astype(np.int64)


def instance_seconds(spans: Iterable[Sequence[float]]) -> int:
    """Return the seconds of all instances together, each from launch to stop rounded up to 1 s.

    >>> instance_seconds([(-30.0, 60.5), (0.0, 10.0)])
    101
    """
    return sum(math.ceil(round(stop - launch, 8)) for launch, stop in spans)


def _serverless_items(deployment: Serverless, usage: Usage, prices: PriceSheet) -> Items:
    return (
        *serverless_cost(
            deployment.memory_mb,
            seconds=usage.seconds,
            bytes_in=usage.bytes_in,
            bytes_out=usage.bytes_out,
            prices=prices,
        ),
        *serverless_provisioned_cost(
            deployment.memory_mb,
            enabled_seconds=usage.enabled_seconds,
            seconds=usage.provisioned_seconds,
            prices=prices,
        ),
    )


def _lambda_items(deployment: Lambda, usage: Usage, prices: PriceSheet) -> Items:
    return (
        *lambda_cost(
            deployment.memory_mb,
            seconds=usage.seconds,
            calls=usage.calls,
            architecture=deployment.architecture,
            prices=prices,
        ),
        *lambda_provisioned_cost(
            deployment.memory_mb,
            enabled_seconds=usage.enabled_seconds,
            seconds=usage.provisioned_seconds,
            architecture=deployment.architecture,
            prices=prices,
        ),
    )


def _data_items(prices: PriceSheet, bytes_in: float, bytes_out: float) -> Items:
    return (
        *_items(prices, "endpoint data in", bytes_in / _GB),
        *_items(prices, "endpoint data out", bytes_out / _GB),
    )


def _items(
    prices: PriceSheet, item: str, quantity: float, *, used: float = 0.0, inferred: bool = False
) -> Items:
    """Return an item for each tier that the quantity reaches; none, where it is 0.

    `used` units came before it; `inferred` says that the price is applied by an inferred rule.
    """
    if quantity == 0:
        return ()
    tiers = prices.tiers(item)
    items = [_item(tier, quantity, inferred=inferred) for tier in tiers]
    if len(items) == 1:
        return tuple(items)
    ends = (*(tier.start for tier in tiers[1:]), math.inf)
    shares = (
        min(used + quantity, end) - max(used, tier.start)
        for tier, end in zip(tiers, ends, strict=True)
    )
    return tuple(
        replace(item, quantity=share)
        for item, share in zip(items, shares, strict=True)
        if share > 0
    )


def _item(price: Price, quantity: float, *, inferred: bool) -> CostItem:
    firm = price.mark == "user" or not inferred
    return CostItem(
        what=price.item,
        quantity=quantity,
        unit=price.unit,
        unit_price=price.dollars,
        mark=price.mark if firm else weakest([price.mark, "inferred"]),
        source=price.source,
        date=price.date,
    )


def _deployment(run: Run) -> Deployment:
    facts = run.facts.get("deployment")
    if not isinstance(facts, Mapping):
        raise InvalidInput(
            "This run does not say how it was deployed: "
            "put Deployment.to_dict() into its facts as 'deployment'."
        )
    return Deployment.from_dict(facts)


def _usage(run: Run, deployment: Deployment, *, bill_cold_start: bool) -> tuple[Usage, list[str]]:
    """Return what a run is billed, bytes apart, and what to note about it."""
    match deployment:
        case Serverless():
            return _calls_usage(run, deployment, bill_init=bill_cold_start)
        case Lambda():
            return _calls_usage(run, deployment, bill_init=True)
        case RealTime() | Async() | BatchTransform():
            return _instances_usage(run, deployment)
        case Local(hourly_price=0.0):
            free = "This machine counts as free: give its price as Local(hourly_price=...)."
            return Usage(seconds=_end(run)), [free]
    return Usage(seconds=_end(run)), []


def _end(run: Run) -> float:
    """Return the instant of the last answer, 0 when there is none."""
    return float(np.nanmax(run.frame["finished"].to_numpy(), initial=0.0))


def _calls_usage(
    run: Run, deployment: Serverless | Lambda, *, bill_init: bool
) -> tuple[Usage, list[str]]:
    """Return what on-demand and provisioned calls are billed, and what to note about it."""
    calls = _calls(run)
    seconds = (calls["finished"] - calls["started"]).to_numpy()
    served = seconds - calls["init"].to_numpy()
    told = calls["model_latency"].to_numpy()
    if np.isfinite(told).any():  # what is billed, where the endpoint tells it
        served = told
        seconds = told + calls["init"].to_numpy()
    if (served < -1e-6).any():
        raise InvalidInput(
            "init must be a part of the span from started to finished, "
            f"got one that exceeds it by {-np.nanmin(served):.6g} s."
        )
    seconds = seconds if bill_init else served.clip(min=0.0)
    known = np.isfinite(seconds)
    billed = round_up_ms(np.where(known, seconds, 0.0)) / 1000
    warm = calls["server"].is_between(0, deployment.provisioned - 1).to_numpy()
    kept = run.facts.get("instances")  # provisioned ones, where their count changed
    usage = Usage(
        seconds=float(billed[~warm].sum()),
        provisioned_seconds=float(billed[warm].sum()),
        enabled_seconds=instance_seconds(kept) if kept else deployment.provisioned * _end(run),
        calls=len(calls),
    )
    notes = _calls_notes(run, deployment, unknown=int((~known).sum()))
    if deployment.provisioned and (calls["server"] < 0).all():
        notes.append("Which calls provisioned instances took is not told: none is billed as such.")
    return usage, notes


def _calls_notes(run: Run, deployment: Serverless | Lambda, *, unknown: int) -> list[str]:
    notes = []
    if "model_latency" in run.frame.columns:
        notes.append("Billed time is what the model took for each call, as the endpoint tells it.")
    elif run.origin.startswith("measured"):
        notes.append("Billed time is what the client saw of each call, network included.")
    if unknown:
        notes.append(f"{unknown} failed calls have no finish: their time is not billed.")
    if run.facts.get("instances"):
        notes.append(
            "Provisioned concurrency is billed for as long as it was there; calls of what scaling "
            "added count as on demand."
        )
    elif deployment.provisioned:
        notes.append(
            "Provisioned concurrency is billed from the trace's start to the last answer; "
            "AWS rounds Lambda's up to 5 minutes."
        )
    return notes


def _calls(run: Run) -> "pl.DataFrame":
    """Return a row for each call that was not throttled: started, finished, server, init, ..."""
    import polars as pl

    frame = run.frame
    for name, usual in (("init", 0.0), ("model_latency", math.nan)):
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(usual).alias(name))
    throttled = pl.col("error").fill_null("").str.contains(_THROTTLING_PATTERN)
    return (
        frame.filter(pl.col("batch") >= 0, ~throttled)
        .group_by("batch", maintain_order=True)
        .agg(pl.col("started", "finished", "server", "init", "model_latency").first())
        .with_columns(pl.col("init").fill_null(0.0))
    )


def _instances_usage(
    run: Run, deployment: RealTime | Async | BatchTransform
) -> tuple[Usage, list[str]]:
    """Return what instances are billed, and what to note about it."""
    calls = _calls(run)
    spans = run.facts.get("instances")
    if spans is not None:
        return Usage(instance_seconds=instance_seconds(spans), calls=len(calls)), []
    if isinstance(deployment, BatchTransform):
        spans = calls.drop_nans("finished").select("started", "finished").rows()
        until = "while a job ran"
    else:
        spans = [(0.0, _end(run))]
        until = "from the trace's start to the last answer"
    note = (
        f"Launch and stop of instances are not recorded: {deployment.count} are billed {until}, "
        "boot excluded."
    )
    seconds = deployment.count * instance_seconds(spans)
    return Usage(instance_seconds=seconds, calls=len(calls)), [note]
