"""Time and cost on one chart, over a setting of a deployment."""

from typing import TYPE_CHECKING, Any

from workbench.errors import InvalidInput
from workbench.formatting import dollars, duration
from workbench.plots.channels import draw_lines, draw_points, tooltips
from workbench.plots.figure import Figure
from workbench.plots.theme import HEIGHT, INK, WIDTH
from workbench.quantiles import SLO

if TYPE_CHECKING:
    import polars as pl

_TOO_FEW = "At no value were enough requests answered for a time and a cost."
_CALL, _LATENCY, _COST = "time of a call", "p99 latency", "cost of a million"


def plot_curve(frame: "pl.DataFrame", label: str, slo: SLO | None = None) -> Figure:
    """Return a chart of a `SettingCurve`'s frame: times on the left axis, cost on the right one.

    Values at which no request was answered are left out.
    """
    import altair as alt
    import polars as pl

    columns = {_CALL: "call", _LATENCY: "p99", _COST: "per_million"}
    data = pl.concat(
        frame.select("value", run=pl.lit(name), amount=pl.col(column).cast(pl.Float64))
        for name, column in columns.items()
    ).filter(pl.col("amount").is_finite())
    names = [name for name in columns if name in set(data["run"])]
    wide = frame["value"].max() > 16 * frame["value"].min()  # type: ignore[operator]
    x = alt.X(
        "value:Q",
        title=label,
        scale=alt.Scale(type="log" if wide else "linear", nice=False, zero=False, padding=12),
        axis=alt.Axis(values=frame["value"].to_list(), format="~d", labelOverlap=True),
    )

    def lines(shown: list[str], axis: "alt.Y") -> Any:  # noqa: ANN401 - a layer of Altair
        base = alt.Chart(data.filter(pl.col("run").is_in(shown))).encode(x=x, y=axis)
        tooltip = tooltips("run:N", alt.Tooltip("value:Q", title=label), "amount:Q")
        return draw_lines(base, names) + draw_points(base, names).encode(tooltip=tooltip)

    seconds = alt.Y(
        "amount:Q",
        title="Time (ms)",
        scale=alt.Scale(zero=True),
        axis=alt.Axis(labelExpr="format(datum.value * 1000, ',.4~r')"),
    )
    money = alt.Y(
        "amount:Q", title="US dollars a million", axis=alt.Axis(format="$,.4~r", grid=False)
    )
    left = lines([_CALL, _LATENCY], seconds)
    if slo is not None:
        limit = alt.Chart(pl.DataFrame({"amount": [slo.latency]}))
        left += limit.mark_rule(stroke=INK, strokeDash=[4, 4]).encode(y=alt.Y("amount:Q"))
    chart = alt.layer(left, lines([_COST], money)).resolve_scale(y="independent")
    sentence = _describe(frame)
    return Figure(
        data=data,
        chart=chart.properties(width=WIDTH - 160, height=HEIGHT),
        title=f"Time and cost by {label[:1].lower()}{label[1:]}",
        subtitle=("Simulated.", sentence, f"Dashed rule: {slo.label}." if slo else ""),
        description=sentence,
    )


def best_row(frame: "pl.DataFrame", by: str) -> dict[str, Any]:
    """Return the row of a curve that is "cheapest", or "fastest" by p99, or by its mean if unknown.

    Raises:
        InvalidInput: At no value were enough requests answered for a time and a cost.
    """
    import polars as pl

    time = pl.coalesce("p99", "call")
    known = frame.filter(time.is_finite(), pl.col("per_million").is_finite())
    if known.is_empty():
        raise InvalidInput(f"{_TOO_FEW} See `frame`.")
    order = (pl.col("per_million"), time) if by == "cheapest" else (time, pl.col("per_million"))
    return known.sort(*order).row(0, named=True)


def _describe(frame: "pl.DataFrame") -> str:
    try:
        best = {by.capitalize(): best_row(frame, by) for by in ("cheapest", "fastest")}
    except InvalidInput:
        return _TOO_FEW
    words = [
        f"{by}: {row['value']} ({duration(row['call'])} a call, "
        f"{dollars(row['per_million'])} a million)."
        for by, row in best.items()
    ]
    return " ".join(words)
