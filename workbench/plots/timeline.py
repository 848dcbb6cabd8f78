"""What was done when: decisions, calls and events as marks on one axis of time."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import altair as alt
import polars as pl

from workbench.errors import InvalidInput
from workbench.plots.channels import colour, shape, tooltips
from workbench.plots.figure import Figure

_ROW_HEIGHT, _FRAME = 36, 150  # pixels of a row, and of title, legend and axis

Events = Mapping[str, Iterable[tuple[datetime | str, str]]]
"""When and what, by the row that the chart shows it in; texts are times as ISO 8601 has them."""


def event_times(events: Events) -> pl.DataFrame:
    """Return events in order of time: time (UTC), seconds since the first, row, and run (what).

    Raises:
        InvalidInput: There are none, or a text is no time.

    >>> event_times({"digits:1": [("2026-11-29T12:00:05+00:00", "Approved")]}).rows()[0][1:]
    (0.0, 'digits:1', 'Approved')
    """
    found = [(_parse(at), row, what) for row, each in events.items() for at, what in each]
    if not found:
        raise InvalidInput("Nothing happened yet: give at least one event.")
    frame = pl.DataFrame(found, schema=["time", "row", "run"], orient="row").sort(
        "time", maintain_order=True
    )
    since = (pl.col("time") - pl.col("time").min()).dt.total_microseconds() / 1e6
    return frame.select("time", since.alias("seconds"), "row", "run")


def plot_timeline(events: Events) -> Figure:
    """Return a chart of `event_times`: a mark for each event, in the row of what it is about."""
    data = event_times(events)
    kinds = data["run"].unique(maintain_order=True).to_list()
    first = data["time"][0]
    chart = (
        alt.Chart(data, height=_FRAME + _ROW_HEIGHT * len(events))
        .mark_point(filled=True, size=140, opacity=0.85)
        .encode(
            x=alt.X("seconds:Q", title=f"Seconds since {first:%H:%M:%S} UTC on {first:%Y-%m-%d}"),
            y=alt.Y("row:N", title=None, sort=list(events), axis=alt.Axis(labelLimit=0)),
            color=colour(kinds),
            shape=shape(kinds),
            tooltip=tooltips("row:N", alt.Tooltip("run:N", title="what"), "time:T"),
        )
    )
    said = "; ".join(f"{seconds:.3g} s, {row}: {what}" for _, seconds, row, what in data.rows())
    return Figure(data=data, chart=chart, title="What was done when", description=f"{said}.")


def _parse(at: datetime | str) -> datetime:
    try:
        time = at if isinstance(at, datetime) else datetime.fromisoformat(at)
    except ValueError as error:
        raise InvalidInput(f"{at!r} is no time, as 2026-11-29T12:00:00+00:00 is.") from error
    return time.astimezone(UTC)
