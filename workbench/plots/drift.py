"""How far the inputs that come in have drifted from those that a model was made for."""

import altair as alt
import polars as pl

from workbench.errors import InvalidInput
from workbench.plots.channels import colour, tooltips
from workbench.plots.figure import Figure
from workbench.validation import whole_number

_ROW_HEIGHT, _FRAME = 22, 150  # pixels of a row, and of title, legend and axis
_NAMES = {True: "drifted", False: "as before"}


def plot_input_drift(drift: pl.DataFrame, *, most: int = 15) -> Figure:
    """Return a chart of what `workbench.input_drift` found: a bar for each input, farthest first.

    A tick on each bar is the index to expect by chance. At `most` so many inputs are drawn.

    Raises:
        InvalidInput: It has not the columns input, index, chance and drifted, or no rows.
    """
    whole_number("most", most, low=1)
    missing = {"input", "index", "chance", "drifted"} - set(drift.columns)
    if missing or drift.is_empty():
        raise InvalidInput("There is no drift to show: pass what workbench.input_drift returned.")
    count = int(drift["drifted"].sum())
    data = drift.head(most).select(
        pl.format("input {}", "input"),
        "index",
        "chance",
        pl.col("drifted").replace_strict(_NAMES, return_dtype=pl.String).alias("run"),
    )
    y = alt.Y("input:N", title=None, sort=data["input"].to_list(), axis=alt.Axis(labelLimit=0))
    base = alt.Chart(data, height=_FRAME + _ROW_HEIGHT * data.height).encode(y=y)
    layers = [
        base.mark_bar().encode(
            x=alt.X("index:Q", title="Population stability index"),
            color=colour(list(_NAMES.values())),
            tooltip=tooltips("input:N", alt.Tooltip("index:Q", format=".3f"), "run:N"),
        ),
        base.mark_tick(thickness=3, color="#777777").encode(x=alt.X("chance:Q")),
    ]
    said = f"{count} of {drift.height} inputs drifted"
    first, index = data.row(0)[:2]
    return Figure(
        data=data,
        chart=alt.layer(*layers),
        title="How far inputs are from before",
        subtitle=(f"{said}; ticks: what chance alone makes of the index.",),
        description=f"{said}. The farthest is {first}, with an index of {index:.3g}.",
    )
