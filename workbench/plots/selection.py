"""What was selected from: accuracy against cost, and who is first by which weights."""

import math
from typing import TYPE_CHECKING

from workbench.errors import InvalidInput
from workbench.formatting import percent
from workbench.plots.axes import cost_settings
from workbench.plots.channels import colour, shape, tooltips
from workbench.plots.figure import Figure
from workbench.plots.theme import INK, PALETTE, WIDTH
from workbench.quantiles import SLO

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

_HEIGHT = math.sqrt(3) / 2  # of a triangle with sides of 1
# of the triangle: where each counts alone
_CORNERS = {"accuracy": (0.5, _HEIGHT), "latency": (0.0, 0.0), "cost": (1.0, 0.0)}
_MOST_WINNERS = 8  # that a legend names; the rarer ones are "others"
_OTHERS = "others"
_NONE = "nothing passes"
_PANEL_WIDTH = 380  # pixels
_SIDE = 270  # pixels of a triangle's side
_LEGEND_STEP = 16  # pixels of a line of the legend, which stands above the triangle


def plot_candidates(table: "pl.DataFrame", slo: SLO, *, sentence: str = "") -> Figure:
    """Return a chart of the candidates of a selection: accuracy against cost.

    The winner is ringed, what is on the front is larger, intervals of the accuracy are lines. What
    is dropped is pale; of what is not known the subtitle says how many they are, since they have no
    place on the chart.

    Raises:
        InvalidInput: No candidate has both an accuracy and a cost.
    """
    import altair as alt
    import polars as pl

    known = table.drop_nulls(["accuracy", "cost_per_million"]).filter(
        pl.col("cost_per_million").is_finite()
    )
    if known.is_empty():
        raise InvalidInput(
            "No candidate has both an accuracy and a cost: there is nothing to draw."
        )
    data = known.with_columns(
        run="inference_type", passes=pl.col("state").is_in(["first", "passes"])
    )
    kinds = list(dict.fromkeys(data["run"]))
    low, high = data.select(
        low=pl.min_horizontal("accuracy", "accuracy_low").min(),
        high=pl.max_horizontal("accuracy", "accuracy_high").max(),
    ).row(0)
    domain = [low, high] if low < high else alt.Undefined
    scale = alt.Scale(domain=domain, zero=False)
    y = alt.Y("accuracy:Q", title="Accuracy in this traffic", scale=scale)
    least = alt.Y("accuracy_low:Q", scale=scale)
    cost, title = "cost_per_million", "US dollars a million requests"
    x = alt.X.from_dict(cost_settings(cost, title, data[cost]))
    pale = alt.condition("datum.passes", alt.value(1), alt.value(0.3))
    base = alt.Chart(data)
    fields = ["candidate", "deployment", "policy", "state"]
    figures = ["accuracy", "effective_accuracy", "latency", "cost_per_million"]
    tooltip = tooltips(*(f"{name}:N" for name in fields), *(f"{name}:Q" for name in figures))
    first = alt.Chart(data.filter(pl.col("state") == "first"))
    layers = [
        base.mark_rule(color=INK).encode(x=x, y=least, y2=alt.Y2("accuracy_high:Q"), opacity=pale),
        base.mark_point(filled=True).encode(
            x=x,
            y=y,
            color=colour(kinds),
            shape=shape(kinds),
            size=alt.condition("datum.front", alt.value(110), alt.value(40)),
            opacity=pale,
            tooltip=tooltip,
        ),
        first.mark_point(size=320, color=INK, strokeWidth=2.5).encode(x=x, y=y),
    ]
    unknown = table.filter(pl.col("state") == "unknown").height
    return Figure(
        data=data,
        chart=alt.layer(*layers),
        title="Accuracy against cost",
        subtitle=(
            sentence,
            f"Large: none is better in accuracy, latency and cost. Pale: dropped. For {slo.label}.",
            f"Not drawn: {unknown} of which something is not known." if unknown else "",
        ),
        description=sentence or f"{data.height} candidates.",
    )


def place_weights(accuracy: float, latency: float, cost: float) -> tuple[float, float]:
    """Return where weights that make 1 lie in a triangle: x and y, its sides 1.

    >>> place_weights(0, 1, 0), place_weights(0, 0.5, 0.5)
    ((0.0, 0.0), (0.5, 0.0))
    """
    weighed = zip((accuracy, latency, cost), _CORNERS.values(), strict=True)
    points = [(share * x, share * y) for share, (x, y) in weighed]
    return sum(x for x, _ in points), sum(y for _, y in points)


def plot_regions(regions: "pl.DataFrame", shares: tuple[float, float, float]) -> Figure:
    """Return a triangle of weights, coloured by who is first; a cross marks some weights, `shares`.

    The columns accuracy, latency, cost and first are as `Selection.regions` returns them.
    """
    import altair as alt
    import polars as pl

    named, names = _name_winners(regions, _MOST_WINNERS)
    counts = named["first"].value_counts(sort=True)
    points = [place_weights(*row) for row in named.select("accuracy", "latency", "cost").rows()]
    data = named.with_columns(
        x=pl.Series([x for x, _ in points]),
        y=pl.Series([y for _, y in points]),
    )
    margin = WIDTH / _SIDE / 2
    height = 1.04 * _SIDE + _LEGEND_STEP * len(names) + 90  # title and legend count, too
    x, y = (
        alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0.5 - margin, 0.5 + margin])),
        alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[-0.08, 0.96])),
    )
    cells = alt.Chart(data).mark_point(filled=True, size=60, opacity=1)
    corners = pl.DataFrame(
        [(f"{name} alone", *place) for name, place in _CORNERS.items()],
        schema=["note", "x", "y"],
        orient="row",
    ).with_columns(y=pl.col("y") + pl.when(pl.col("y") > 0).then(0.05).otherwise(-0.05))
    mark = pl.DataFrame([place_weights(*shares)], schema=["x", "y"], orient="row")
    cross = alt.Chart(mark).mark_point(shape="cross", size=260, filled=True, stroke="white")
    tooltip = tooltips("first:N", "accuracy:Q", "latency:Q", "cost:Q")
    layers = [
        cells.encode(x=x, y=y, color=colour(names), shape=shape(names), tooltip=tooltip),
        cross.encode(x=x, y=y, color=alt.value("black"), opacity=alt.value(1)),
        alt.Chart(corners).mark_text(style="note").encode(x=x, y=y, text=alt.Text("note:N")),
    ]
    total = regions.height
    sizes = [f"{name} {percent(count / total)}" for name, count in counts.head(4).rows()]
    weights = ", ".join(f"{name} {share:.3g}" for name, share in zip(_CORNERS, shares, strict=True))
    return Figure(
        data=data,
        chart=alt.layer(*layers).properties(width=WIDTH, height=height),
        title="Who is first, by weight",
        subtitle=(f"Cross: {weights}.", f"Shares of the triangle: {'; '.join(sizes)}."),
        description=f"First by weights of accuracy, latency and cost: {'; '.join(sizes)}.",
    )


def _name_winners(regions: "pl.DataFrame", most: int) -> tuple["pl.DataFrame", list[str]]:
    """Return regions with their winner as `run`, the rarer ones together, and all such names."""
    import polars as pl

    named = regions.with_columns(pl.col("first").fill_null(_NONE))
    counts = named["first"].value_counts(sort=True)
    kept = counts["first"].head(most).to_list()
    run = pl.when(pl.col("first").is_in(kept)).then("first").otherwise(pl.lit(_OTHERS))
    names = [*kept, *([_OTHERS] if counts.height > len(kept) else [])]
    return named.with_columns(run=run), names


def plot_flips(regions: "pl.DataFrame", effort: str = "") -> Figure:
    """Return a bar for each quantity, coloured by who is first; crosses mark what it is now.

    Args:
        regions: Columns quantity, now, low, high, first, and ratio: whether its values are drawn
            as multiples of the present one.
        effort: What finding them took, in words.
    """
    import altair as alt
    import polars as pl

    named, names = _name_winners(regions, len(PALETTE) - 1)  # bars have no shapes
    unit = pl.when("ratio").then("now").otherwise(1.0)
    label = pl.col("quantity").str.strip_suffix(", as a multiple")
    amount = pl.format("{}, now {}", label, pl.col("now").round_sig_figs(3))
    data = named.with_columns(
        (pl.col("low", "high") / unit).name.suffix("_drawn"),
        label=pl.when(pl.col("ratio") & (pl.col("now") != 1)).then(amount).otherwise(label),
    )
    panels = [
        _flip_panel(data.filter(pl.col("ratio") == ratio), names, ratio=ratio)
        for ratio in data["ratio"].unique(maintain_order=True)
    ]
    quantities = data["quantity"].n_unique()
    return Figure(
        data=data,
        chart=alt.vconcat(*panels),
        title="What would change who is first",
        subtitle=("Crosses: the question as it was asked.", effort),
        description=f"{data.height - quantities} changes along {quantities} quantities.",
    )


def _flip_panel(
    data: "pl.DataFrame", names: list[str], *, ratio: bool
) -> "alt.LayerChart | alt.FacetChart":
    """Return the bars of quantities on one scale: shares, or multiples of what is now."""
    import altair as alt
    import polars as pl

    domain = data.select(pl.col("low_drawn").min(), pl.col("high_drawn").max()).row(0)
    scale = alt.Scale(type="log" if ratio else "linear", domain=list(domain), nice=False)
    x = alt.X(
        "low_drawn:Q",
        scale=scale,
        title="Multiple of what it is now, log scale" if ratio else "Share",
        axis=alt.Axis(format=".4~r", values=[0.1, 0.3, 1, 3, 10] if ratio else alt.Undefined),
    )
    y = alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=0))
    now = data.unique("quantity", keep="first", maintain_order=True)
    now = now.with_columns(low_drawn=pl.lit(1.0) if ratio else pl.col("now"))
    tooltip = tooltips("quantity:N", "first:N", "low:Q", "high:Q", "now:Q")
    bars = alt.Chart(data).mark_bar(height=16)
    cross = alt.Chart(now).mark_point(
        shape="cross", size=140, filled=True, color="black", stroke="white", opacity=1
    )
    return alt.layer(
        bars.encode(x=x, x2=alt.X2("high_drawn:Q"), y=y, color=colour(names), tooltip=tooltip),
        cross.encode(x=x, y=y),
    ).properties(width=_PANEL_WIDTH, height=alt.Step(24))
