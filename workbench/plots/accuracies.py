"""How often models are right, each with the interval that holds the truth in 95 of 100 cases."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import altair as alt
import polars as pl

from workbench.errors import InvalidInput
from workbench.plots.channels import colour, shape, tooltips
from workbench.plots.figure import Figure

if TYPE_CHECKING:
    from workbench.measuring.outcomes import Accuracy

_ROW_HEIGHT, _FRAME = 44, 110  # pixels of a row, and of title and axis


def accuracy_intervals(known: "Mapping[str, Accuracy]") -> pl.DataFrame:
    """Return accuracies as a frame: run (whose it is), share, low, high and rows.

    Raises:
        InvalidInput: There are none.

    >>> from workbench.measuring.outcomes import Accuracy
    >>> accuracy_intervals({"digits:1": Accuracy.of(90, 100)}).select("run", "share", "rows").rows()
    [('digits:1', 0.9, 100)]
    """
    if not known:
        raise InvalidInput("There is no accuracy to show: give at least one, by a name.")
    rows = [(name, each.share, each.low, each.high, each.rows) for name, each in known.items()]
    return pl.DataFrame(rows, schema=["run", "share", "low", "high", "rows"], orient="row")


def plot_accuracies(known: "Mapping[str, Accuracy]", *, subtitle: str = "") -> Figure:
    """Return a chart of `accuracy_intervals`: points on lines between bounds."""
    data = accuracy_intervals(known)
    names = list(known)
    axis, scale = alt.Axis(format="%"), alt.Scale(domain=[0, 1])
    low = alt.X("low:Q", title="Share right", axis=axis, scale=scale)
    y = alt.Y("run:N", title=None, sort=names, axis=alt.Axis(labelLimit=0))
    shares = [alt.Tooltip(f"{name}:Q", format=".1%") for name in ("share", "low", "high")]
    base = alt.Chart(data, height=_FRAME + _ROW_HEIGHT * len(names)).encode(
        y=y, color=colour(names).legend(None), tooltip=tooltips("run:N", *shares, "rows:Q")
    )
    points = base.mark_point(filled=True, size=130, opacity=1)
    layers = [
        base.mark_rule(strokeWidth=3).encode(x=low, x2=alt.X2("high:Q")),
        points.encode(x=alt.X("share:Q", scale=scale), shape=shape(names).legend(None)),
    ]
    said = "; ".join(f"{name}: {each}" for name, each in known.items())
    return Figure(
        data=data,
        chart=alt.layer(*layers),
        title="How often each is right",
        subtitle=(subtitle, "Lines: 95 % intervals (Wilson's)."),
        description=f"{said}.",
    )
