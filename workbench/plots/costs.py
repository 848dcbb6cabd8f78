"""What runs cost, item by item."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from workbench.errors import InvalidInput
from workbench.formatting import dollars
from workbench.plots.figure import Figure
from workbench.plots.series import colour, panels
from workbench.plots.theme import WIDTH
from workbench.pricing.cost import Cost

if TYPE_CHECKING:
    import polars as pl

TOTAL = "total"


def cost_by_item(costs: Mapping[str, Cost]) -> "pl.DataFrame":
    """Return what each run, by name, costs by item and in total.

    Columns: run, item, dollars, per_million (US dollars a million answered requests, null when
    none was answered), mark (how firmly the price is known).

    Raises:
        InvalidInput: There is no cost.
    """
    import polars as pl

    if not costs:
        raise InvalidInput("There is no cost to show: pass at least one.")
    rows = [
        (name, what, dollars, 1e6 * dollars / cost.answered if cost.answered else None, mark)
        for name, cost in costs.items()
        for what, dollars, mark in (
            *((item.what, item.dollars, item.mark) for item in cost.items),
            (TOTAL, cost.total, cost.mark),
        )
    ]
    types = {
        "run": pl.String,
        "item": pl.String,
        "dollars": pl.Float64,
        "per_million": pl.Float64,
        "mark": pl.String,
    }
    return pl.DataFrame(rows, schema=types, orient="row")


def plot_cost_by_item(costs: Mapping[str, Cost]) -> Figure:
    """Return bars of US dollars a million answered requests: a panel for each item, the total last.

    A run that answered nothing has no bars.
    """
    import altair as alt
    import polars as pl

    data = cost_by_item(costs)
    names = list(costs)
    items = list(dict.fromkeys(data["item"].filter(data["item"] != TOTAL)))
    if any(len(cost.items) != 1 for cost in costs.values()):
        items.append(TOTAL)
    shown = data.filter(pl.col("item").is_in(items)).with_columns(
        pl.col("per_million").map_elements(dollars, return_dtype=pl.String).alias("label")
    )
    longest = max(len(name) for name in names)
    width = WIDTH - 80 - 7 * longest  # what the names leave
    base = alt.Chart(shown, width=max(300, width), height=alt.Step(24)).encode(
        x=alt.X(
            "per_million:Q",
            title="US dollars a million requests",
            axis=alt.Axis(tickCount=6, format="$,~r"),
        ),
        y=alt.Y("run:N", title=None, sort=names, axis=alt.Axis(labelLimit=0)),
        tooltip=["run:N", "item:N", "dollars:Q", "per_million:Q", "mark:N"],
    )
    chart = (
        alt.layer(
            base.mark_bar(height=16).encode(color=colour(names).legend(None)),
            base.mark_text(style="note", align="left", dx=4).encode(text="label:N"),
        )
        .facet(row=panels("item", items), spacing=10)
        .resolve_scale(y="independent")
        .properties(padding={"left": 8 + longest, "top": 8, "right": 8, "bottom": 8})  # as `config`
    )
    notes = dict.fromkeys(note for cost in costs.values() for note in cost.notes)
    totals = (f"{name} {cost.label}" for name, cost in costs.items())
    return Figure(
        data=data,
        chart=chart,
        title="Cost by item",
        subtitle=tuple(notes),
        description=f"Cost by item. In total: {'; '.join(totals)}.",
    )
