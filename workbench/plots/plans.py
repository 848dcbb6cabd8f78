"""What a plan chose from: latency against cost, and the cheapest inference type by rate."""

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from workbench.errors import InvalidInput
from workbench.formatting import dollars, duration
from workbench.planner.break_even import crossings
from workbench.planner.plans import Candidate, Plan
from workbench.plots.axes import LatencyAxis, cost_settings, log_ticks
from workbench.plots.channels import colour, draw_limit, draw_lines, draw_points, shape, tooltips
from workbench.plots.figure import Figure
from workbench.plots.theme import INK
from workbench.pricing.cost import MONTH
from workbench.units import DAY
from workbench.validation import choose, whole_number

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

_MAX_BEATEN = 1500  # that are drawn: a plan has thousands, and each makes the page larger
MAX_TARGET_RATIO = 20  # times the target: what is slower would press the rest together
_SCREENED_OUT = "screened out"
_KEY_COLUMNS = ["kind", "deployment", "policy"]
_TITLES = {"million": "US dollars a million requests", "month": "US dollars a month"}


# ------------------------------------------------------------------- latency against cost


def plan_candidates(plan: Plan, *, max_beaten: int = _MAX_BEATEN) -> "pl.DataFrame":
    """Return the candidates of a plan with latency and cost, and which are beaten in both.

    Columns: kind, deployment, policy, latency (seconds at the target's quantile),
    cost_per_million (US dollars), engine, unseen (on how many other days it holds), front
    (whether none is both faster and cheaper), best (whether it is the winner). Left out are those
    that no engine has a latency for, and of the beaten all but `max_beaten`, evenly by cost.

    Raises:
        InvalidInput: `max_beaten` is below 1.
    """
    import polars as pl

    whole_number("max_beaten", max_beaten, low=1)
    front = plan.front.select(*_KEY_COLUMNS, front=pl.lit(True))  # noqa: FBT003
    known = (
        plan.frame.with_row_index()
        .filter(pl.col("latency").is_finite() & (pl.col("engine") != _SCREENED_OUT))
        .join(front, on=_KEY_COLUMNS, how="left")
        .with_columns(pl.col("front").fill_null(False), best=pl.col("index") == 0)  # noqa: FBT003
        .sort("cost_per_million", "latency")
        .select(*_KEY_COLUMNS, "latency", "cost_per_million", "engine", "unseen", "front", "best")
    )
    shown = pl.col("front") | pl.col("best")
    beaten = known.filter(~shown)
    if beaten.height > max_beaten:
        beaten = beaten[np.linspace(0, beaten.height - 1, max_beaten).astype(int).tolist()]
    return pl.concat([beaten, known.filter(shown)])


def plot_plan(plan: Plan, *, max_beaten: int = _MAX_BEATEN) -> Figure:
    """Return a chart of `plan_candidates`: the front as a line, the winner ringed, the target.

    What is slower than 20 times the target is left to the subtitle, unless it is on the front.
    """
    import altair as alt
    import polars as pl

    data = plan_candidates(plan, max_beaten=max_beaten)
    kinds, best = list(dict.fromkeys(plan.frame["kind"])), plan.best
    ahead = pl.col("front") | pl.col("best")
    shown = data.filter(ahead | (pl.col("latency") <= MAX_TARGET_RATIO * plan.slo.latency))
    shown = shown.rename({"kind": "run"})
    axis = LatencyAxis.over(shown["latency"].to_numpy(), plan.slo, log=None)
    cost = _cost_channel("million", shown)
    x = axis.channel(alt.X)
    slo, budget = plan.slo, plan.task.budget
    limit = alt.Chart(pl.DataFrame({"cost_per_million": [budget]})).mark_rule(style="target")
    line = alt.Chart(shown.filter("front")).mark_line(color=INK, strokeWidth=1.5)
    ring = alt.Chart(shown.filter("best")).mark_point(size=320, color=INK, strokeWidth=2.5)
    figures = ("latency:Q", "cost_per_million:Q", "engine:N", "unseen:N")
    tooltip = tooltips("run:N", *_KEY_COLUMNS[1:], *figures)
    bold = "datum.front || datum.best"
    points = alt.Chart(shown).mark_point(filled=True)
    layers = [
        *draw_limit(x, slo.latency, f"target {slo.label}", right=slo.latency <= axis.middle),
        *([] if budget is None else [limit.encode(y=cost)]),
        points.encode(
            x=x,
            y=cost,
            color=colour(kinds),
            shape=shape(kinds),
            size=alt.condition(bold, alt.value(45), alt.value(16)),
            opacity=alt.condition(bold, alt.value(1), alt.value(0.3)),
            tooltip=tooltip,
        ),
        line.encode(x=x, y=cost, order=alt.Order("latency:Q")),
        ring.encode(x=x, y=cost),
    ]
    quantile = slo.percentile
    summary = f"{quantile} {duration(best.latency)}, {dollars(best.cost_per_million)} a million"
    far = data.height - shown.height
    return Figure(
        data=data,
        chart=alt.layer(*layers),
        title=f"Latency ({quantile}) against cost",
        subtitle=(
            f"Ringed: {best.label}; {summary}{_unseen(best)}.",
            "On the line nothing is both faster and cheaper. Predicted; the best simulated.",
            f"Not shown: {far} slower than {MAX_TARGET_RATIO} times the target." if far else "",
        ),
        description=f"{plan.label}. On the line: {_list_front(plan.front)}.",
    )


def _unseen(best: Candidate) -> str:
    return "" if best.unseen is None else f"; holds on {best.unseen.label} other days"


def _list_front(front: "pl.DataFrame", max_beaten: int = 5) -> str:
    rows = front.select("deployment", "policy", "latency", "cost_per_million").head(max_beaten)
    labels = [
        f"{place}, {policy}: {duration(latency)}, {dollars(cost)}"
        for place, policy, latency, cost in rows.iter_rows()
    ]
    more = front.height - len(labels)
    return "; ".join([*labels, *([f"and {more} more"] if more > 0 else [])])


def _cost_channel(per: str, table: "pl.DataFrame") -> "alt.Y":
    import altair as alt

    paid = table.filter(table[f"cost_per_{per}"] > 0)[f"cost_per_{per}"]
    return alt.Y.from_dict(cost_settings(f"cost_per_{per}", _TITLES[per], paid))


# -------------------------------------------------------------------------- break-even


def break_even_points(costs: "pl.DataFrame") -> "pl.DataFrame":
    """Return where another inference type becomes the cheapest, of what `Plan.break_even` found.

    Columns: rate (requests a second), below and above (which type is the cheapest there), and
    cost_per_million and cost_per_month (US dollars) of the type that is so below. Between two
    rates costs are taken to lie on straight lines of their logarithms.
    """
    import polars as pl

    rows = []
    for rate, below, above in crossings(costs):
        known = costs.filter(kind=below).drop_nulls("cost_per_million").sort("rate")
        logs = [np.log(known[name].to_numpy()) for name in ("rate", "cost_per_million")]
        million = float(np.exp(np.interp(math.log(rate), *logs)))
        month = million * rate * MONTH / 1e6
        rows.append((rate, below, above, million, month))
    schema = {"rate": float, "below": str, "above": str}
    schema |= {"cost_per_million": float, "cost_per_month": float}
    return pl.DataFrame(rows, schema=schema, orient="row")


def plot_break_even(
    costs: "Plan | pl.DataFrame", *, per: Literal["million", "month"] = "million"
) -> Figure:
    """Return a chart of the least cost of each inference type by rate, crossings marked.

    `costs` is what `Plan.break_even` found, or a plan, whose `break_even()` then takes some
    seconds. A type has no line where it cannot meet the target.

    Raises:
        InvalidInput: `per` is neither "million" nor "month", or no type meets the target anywhere.
    """
    import altair as alt

    choose("per", per, _TITLES)
    data = costs.break_even() if isinstance(costs, Plan) else costs
    known = data.drop_nulls("cost_per_million").rename({"kind": "run"})
    if known.is_empty():
        raise InvalidInput("No inference type meets the target at any of the rates.")
    kinds, marks = list(dict.fromkeys(data["kind"])), break_even_points(data)
    shown = [kind for kind in kinds if kind in set(known["run"])]
    rates = data["rate"].to_list()
    rate = alt.X(
        "rate:Q",
        title="Requests a second, log scale",
        scale=alt.Scale(type="log", domain=[min(rates), max(rates)], nice=False),
        axis=alt.Axis(format=",.4~r", values=log_ticks(min(rates), max(rates))),
    )
    tooltip = tooltips(
        "run:N", "rate:Q", "deployment:N", "policy:N", "latency:Q", f"cost_per_{per}:Q"
    )
    base, crossing = alt.Chart(known), alt.Chart(marks)
    layers = [
        crossing.mark_rule(style="target"),
        draw_lines(base, kinds).encode(color=colour(kinds, shown=shown)),
        draw_points(base, kinds, shown=shown).encode(tooltip=tooltip),
        crossing.mark_point(size=240, color=INK, strokeWidth=2.5),
    ]
    cost = _cost_channel(per, known)
    flat = [layers[0].encode(x=rate), *(each.encode(x=rate, y=cost) for each in layers[1:])]
    sentences = [_find_crossing(row) for row in marks.iter_rows(named=True)]
    sentences = sentences or [f"The cheapest throughout: {data.filter('cheapest')['kind'][0]}."]
    never = [kind for kind in kinds if kind not in shown]
    sentences += [f"Never meets the target: {', '.join(never)}."] if never else []
    return Figure(
        data=data,
        chart=alt.layer(*flat),
        title="The least cost that meets the target, by rate",
        subtitle=tuple(sentences),
        description=" ".join(sentences),
    )


def _find_crossing(row: dict[str, Any]) -> str:
    return (
        f"Below {row['rate']:,.3g} requests a second ({DAY * row['rate']:,.0f} a day) "
        f"{row['below']} is the cheapest, above it {row['above']}."
    )
