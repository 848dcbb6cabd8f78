"""Fleets that change size: load, instances and spill-over on one axis, and what policies cost."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput
from workbench.formatting import dollars, duration, percent
from workbench.plots.axes import cost_settings
from workbench.plots.channels import colour, draw_limit, draw_points, panels, tooltips
from workbench.plots.figure import Figure
from workbench.plots.series import Runs, caption, common_slo, name_results
from workbench.plots.theme import HEIGHT, WIDTH
from workbench.pricing.sheet import PriceSheet
from workbench.quantiles import is_met
from workbench.run import SLO, Run
from workbench.run.costs import cost
from workbench.validation import of_kind, positive, whole_number

if TYPE_CHECKING:
    import polars as pl

    from workbench.deployment.base import Deployment
    from workbench.pricing.usage import Spans
    from workbench.run.record import RunRecord

LOAD, INSTANCES, SPILLED = "Requests a second", "Instances", "Spilled over (%)"
_FAILED = "failed"
_BINS = 120  # of a run: six pixels each at a chart's width


def fleet_over_time(run: Run, *, bins: int = _BINS) -> "pl.DataFrame":
    """Return a fleet's load, its instances and what spilled over, by equal parts of its time.

    Columns: panel, run (what is counted: a place, an instance type), from, to (seconds), value.
    The load is in requests a second by the place that answered, at the time they were due; the
    instances are those that are billed, so with their boots, on average; spilled over are the
    requests of a hybrid that its overflow answered, in percent.

    Raises:
        InvalidInput: The run has no requests, or nothing is known of its instances.

    >>> run = Run.from_arrays(
    ...     scheduled=[0, 1, 2, 3], finished=[1, 2, 3, 4],
    ...     facts={"instances": [(0, 4), (2, 4)], "trace": {"name": "", "duration": 4}},
    ... )
    >>> fleet_over_time(run, bins=2).select("panel", "from", "value").rows()[-2:]
    [('Instances', 0.0, 1.0), ('Instances', 2.0, 2.0)]
    """
    import polars as pl

    of_kind("run", run, Run)
    whole_number("bins", bins, low=1)
    name_results(run)  # refuses a run without requests
    edges = np.linspace(0.0, _last_instant(run), bins + 1)
    series = [*_load(run, edges), *_instances(run, edges), *_spill_over(run, edges)]
    return pl.concat(
        pl.DataFrame(
            {
                "panel": [panel] * bins,
                "run": [name] * bins,
                "from": edges[:-1],
                "to": edges[1:],
                "value": values,
            }
        )
        for panel, name, values in series
    )


Floats = NDArray[np.float64]
Series = Iterator[tuple[str, str, Floats]]


def _last_instant(run: Run) -> float:
    """Return when the trace ends, or is answered."""
    trace = run.record.trace
    last = float(np.nanmax(run.frame["finished"].to_numpy(), initial=0.0))
    due = float(run.frame["scheduled"].to_numpy().max())
    return max(last, due, (trace and trace.duration) or 0.0, 1e-9)


def _load(run: Run, edges: Floats) -> Series:
    scheduled, places = run.frame["scheduled"].to_numpy(), run.frame["place"].to_numpy()
    failed = run.frame["error"].is_not_null().to_numpy()
    names = run.record.places if len(run.record.places) > 1 else ("answered",)
    chosen = [(name, (places == number) & ~failed) for number, name in enumerate(names)]
    if failed.any():
        chosen.append((_FAILED, failed))
    for name, own in chosen:
        yield LOAD, name, np.histogram(scheduled[own], edges)[0] / np.diff(edges)


def _instances(run: Run, edges: Floats) -> Series:
    known = _spans_by_type(run.record)
    if not known:
        raise InvalidInput(
            f"Nothing is known of the instances of {run.label!r}: take a run of a fleet, such as "
            "RealTime(...), that was simulated or measured with scaling=."
        )
    for name, spans in known.items():
        yield INSTANCES, name, _average_count(spans, edges)


def _spans_by_type(record: "RunRecord") -> "dict[str, Spans]":
    """Return the instances of each type that the run had."""
    parts: list[Any] = list(record.members or ())
    if not any(part.instances for part in parts):
        parts = [record]
    found: dict[str, Spans] = {}
    for part in parts:
        if part.instances is not None:
            name = _type_name(part.deployment)
            found[name] = [*found.get(name, ()), *part.instances]
    return found


def _type_name(deployment: "Deployment | None") -> str:
    size = deployment and deployment.size
    return size if isinstance(size, str) else "instances"


def _average_count(spans: "Spans", edges: Floats) -> Floats:
    """Return how many there are between two edges, on average."""
    launched, stopped = np.asarray(spans, dtype=np.float64).reshape(-1, 2).T

    def seconds_until(instants: NDArray[np.float64]) -> Floats:
        """Return the seconds of all until each of the edges."""
        total: Floats = np.clip(edges[:, None] - instants[None, :], 0.0, None).sum(axis=1)
        return total

    counts: Floats = np.diff(seconds_until(launched) - seconds_until(stopped)) / np.diff(edges)
    return counts.round(9)


def _spill_over(run: Run, edges: Floats) -> Series:
    from workbench.deployment.hybrid import OVERFLOW

    if OVERFLOW not in run.record.places:
        return
    scheduled = run.frame["scheduled"].to_numpy()
    there = run.frame["place"].to_numpy() == run.record.places.index(OVERFLOW)
    spilled, total = (np.histogram(each, edges)[0] for each in (scheduled[there], scheduled))
    yield SPILLED, OVERFLOW, 100 * spilled / np.maximum(total, 1)


def plot_scaling(run: Run, *, bins: int = _BINS) -> Figure:
    """Return a chart of `fleet_over_time`: load, instances by type and spill-over."""
    import altair as alt

    data = fleet_over_time(run, bins=bins)
    names = list(dict.fromkeys(data["run"]))
    rows = list(dict.fromkeys(data["panel"]))
    chart = (
        alt.Chart(data, width=WIDTH - 70, height=HEIGHT // 3)
        .mark_area(interpolate="step-after")
        .encode(
            x=alt.X(
                "from:Q",
                title="Seconds since the start of the trace",
                scale=alt.Scale(domain=[0, data["to"].to_numpy().max()], nice=False),
            ),
            y=alt.Y("value:Q", title=None, stack="zero", axis=alt.Axis(tickCount=4)),
            color=colour(names),
            order=alt.Order("at:Q"),
            tooltip=tooltips(
                "panel:N", "run:N", "from:Q", "to:Q", alt.Tooltip("value:Q", format=",.4~r")
            ),
        )
        .transform_calculate(at=f"indexof({names}, datum.run)")
        .facet(row=panels("panel", rows), spacing=14)
        .resolve_scale(y="independent")
    )
    sentences = _describe_fleet(run, data)
    return Figure(
        data=data,
        chart=chart,
        title="Load and instances over time",
        subtitle=(caption(name_results(run)), *sentences),
        description=" ".join(sentences),
    )


def _describe_fleet(run: Run, data: "pl.DataFrame") -> list[str]:
    sentences = []
    for (name,), rows in data.filter(panel=INSTANCES).group_by("run", maintain_order=True):
        counts = rows["value"].to_numpy()
        sentences.append(
            f"{name}: {counts.mean():.3g} on average, {counts.min():.3g} to {counts.max():.3g}."
        )
    if not data.filter(panel=SPILLED).is_empty():
        shares = [f"{name} {percent(share)}" for name, share in place_shares(run).items()]
        sentences.append(f"Of the requests: {', '.join(shares)}.")
    return sentences


def place_shares(run: Run) -> dict[str, float]:
    """Return the share of the requests that each place of a run answered.

    >>> facts = {"places": ("base", "overflow")}
    >>> columns = {"scheduled": [0, 1], "finished": [1, 2], "place": [0, 1]}
    >>> place_shares(Run.from_arrays(**columns, facts=facts))
    {'base': 0.5, 'overflow': 0.5}
    """
    answered = run.frame.filter(run.frame["error"].is_null())["place"].to_numpy()
    names = run.record.places
    counts = np.bincount(answered, minlength=len(names)) / max(1, len(run))
    return dict(zip(names, counts.tolist(), strict=True))


# -------------------------------------------------------------------- cost against attainment


def cost_and_attainment(
    runs: Runs,
    *,
    slo: SLO | None = None,
    bound: float | None = None,
    prices: PriceSheet | None = None,
) -> "pl.DataFrame":
    """Return what each policy costs and how many requests it answers in time.

    Columns: run, origin, dollars, per_million, attainment, times (dollars as multiples of the
    bound, null without one).

    Args:
        runs: A run of each, best by its name.
        slo: The target, by default that of the runs.
        bound: US dollars that no policy can be below: see `workbench.clairvoyant`.
        prices: The price sheet, by default that of us-east-1.

    Raises:
        InvalidInput: There is no run, one is without requests or a deployment, or there is no one
            target.
    """
    import polars as pl

    named = name_results(runs)
    target = slo or common_slo(named)
    if target is None:
        raise InvalidInput("slo is missing: the runs have no target, or not the same.")
    limit = None if bound is None else positive("bound", bound, "US dollars")
    rows = []
    for name, run in named.items():
        bill = cost(run, prices=prices)
        row = (name, run.origin, bill.total, bill.per_million, run.attainment(target))
        rows.append((*row, None if limit is None else bill.total / limit))
    numbers = dict.fromkeys(("dollars", "per_million", "attainment", "times"), float)
    return pl.DataFrame(rows, schema={"run": str, "origin": str, **numbers}, orient="row")


def plot_cost_and_attainment(
    runs: Runs,
    *,
    slo: SLO | None = None,
    bound: float | None = None,
    prices: PriceSheet | None = None,
) -> Figure:
    """Return a chart of `cost_and_attainment`: a point each, the target and the bound as lines."""
    import altair as alt

    data = cost_and_attainment(runs, slo=slo, bound=bound, prices=prices)
    names, target = data["run"].to_list(), slo or common_slo(name_results(runs))
    assert target is not None  # noqa: S101 - else there are no data
    amounts = [*data["dollars"], bound]
    y = alt.Y.from_dict(cost_settings("dollars", "US dollars", amounts, room=1.3))
    least = min(*data["attainment"], target.quantile)
    left = least - 0.1 * (1 - least) - 1e-4
    near_left = target.quantile - left < (1.0 - left) / 2
    x = alt.X(
        "attainment:Q",
        title=f"Share of requests answered within {duration(target.latency, 6)}",
        scale=alt.Scale(domain=[left, 1.0], nice=False),
        axis=alt.Axis(format=".4~p", tickCount=6),
    )
    tooltip = tooltips("run:N", "origin:N", "dollars:Q", "per_million:Q", "attainment:Q", "times:Q")
    limits = draw_limit(x, target.quantile, f"target {target.label}", right=near_left)
    if bound is not None:
        none_less = f"nobody can pay less: {dollars(bound)}"
        limits += draw_limit(y, bound, none_less, right=not near_left)
    base = alt.Chart(data).encode(x=x, y=y, tooltip=tooltip)
    sentences = _describe_policies(data, target)
    origins = ", ".join(dict.fromkeys(data["origin"]))
    return Figure(
        data=data,
        chart=alt.layer(*limits, draw_points(base, names, size=130)),
        title="Cost against attainment",
        subtitle=(f"{origins[:1].upper()}{origins[1:]}.", sentences[0]),
        description=" ".join(sentences),
    )


def _describe_policies(data: "pl.DataFrame", target: SLO) -> list[str]:
    rows = data.rows(named=True)
    meeting = [row for row in rows if is_met(row["attainment"], target.quantile)]
    first = "No policy meets the target."
    if meeting:
        best = min(meeting, key=lambda row: row["dollars"])
        more = "" if best["times"] is None else f", {best['times']:.3g} times the bound"
        first = f"The cheapest that meets the target: {best['run']}, {dollars(best['dollars'])}"
        first += f"{more}."
    each = (
        f"{row['run']}: {dollars(row['dollars'])}, {percent(row['attainment'])}." for row in rows
    )
    return [first, *each]
