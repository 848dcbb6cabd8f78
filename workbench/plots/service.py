"""How long a batch takes, by its size."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.errors import InvalidInput
from workbench.formatting import duration
from workbench.measuring.profile import QUANTILE_LEVELS, Profile
from workbench.plots.channels import colour, draw_lines, draw_points, tooltips
from workbench.plots.figure import Figure
from workbench.plots.series import make_unique, split_labels
from workbench.validation import as_tuple, of_kind

if TYPE_CHECKING:
    import polars as pl

Profiles = Profile | Sequence[Profile]

_LOW_QUANTILE, _HIGH_QUANTILE = 0.05, 0.95  # the ends of what is drawn as a band


def service_times(profiles: Profiles) -> "pl.DataFrame":
    """Return median service times by batch size and the range of the middle 90 % of them.

    Columns: run (model, threads and state, as far as they tell rows apart), batch_size, median,
    low and high (p5 and p95), all in seconds.

    Raises:
        InvalidInput: There is no profile.
    """
    import polars as pl

    series = _series(profiles)
    names, _ = split_labels([parts for parts, _ in series])
    levels = pl.col("quantiles").list
    taken: list[str] = []
    frames = []
    for name, (_, rows) in zip(names, series, strict=True):
        taken.append(make_unique(name, taken))
        frames.append(
            rows.sort("batch_size").select(
                pl.lit(taken[-1]).alias("run"),
                "batch_size",
                "median",
                low=levels.get(QUANTILE_LEVELS.index(_LOW_QUANTILE)),
                high=levels.get(QUANTILE_LEVELS.index(_HIGH_QUANTILE)),
            )
        )
    return pl.concat(frames)


def _series(profiles: Profiles) -> "list[tuple[tuple[str, ...], pl.DataFrame]]":
    """Return the rows of each model, number of threads and state, and these three in words."""
    profiles = [profiles] if isinstance(profiles, Profile) else as_tuple("profiles", profiles)
    for profile in profiles:
        of_kind("Each of profiles", profile, Profile)
    if not profiles:
        raise InvalidInput("There is no profile to show: pass at least one.")
    return [
        ((profile.label, _threads(int(threads)), str(state)), rows)
        for profile in profiles
        for (threads, state), rows in profile.frame.group_by(
            "threads", "state", maintain_order=True
        )
    ]


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


def plot_service_times(profiles: Profiles) -> Figure:
    """Return a chart of `service_times`: medians, with a band over the middle 90 % of times."""
    import altair as alt
    import polars as pl

    data = service_times(profiles)
    _, shared = split_labels([parts for parts, _ in _series(profiles)])
    names = list(dict.fromkeys(data["run"]))
    sizes = sorted(set(data["batch_size"]))
    milliseconds = data.with_columns(
        (1000 * pl.col(column)).alias(f"{column} (ms)") for column in ("median", "low", "high")
    )
    x = alt.X(
        "batch_size:Q",
        title="Batch size (log scale)",
        scale=alt.Scale(type="log", base=2, domain=[sizes[0], sizes[-1]], nice=False),
        axis=alt.Axis(values=sizes, format="d"),
    )
    scale = alt.Scale(domain=[0, 1.05 * max(milliseconds["high (ms)"])], nice=False)
    low = alt.Y("low (ms):Q", scale=scale)
    band = alt.Chart(milliseconds).mark_area(fillOpacity=0.2)
    base = alt.Chart(milliseconds).encode(
        x=x, y=alt.Y("median (ms):Q", title="Service time (ms)", scale=scale)
    )
    tooltip = tooltips("run:N", "batch_size:Q", "median (ms):Q", "low (ms):Q", "high (ms):Q")
    chart = alt.layer(
        band.encode(x=x, y=low, y2="high (ms):Q", color=colour(names)),
        draw_lines(base, names),
        draw_points(base, names).encode(tooltip=tooltip),
    )
    return Figure(
        data=data,
        chart=chart,
        title="Service time by batch size",
        subtitle=(f"{shared}." if shared else "", "Line: median, band: p5 to p95."),
        description=_describe(data),
    )


def _describe(data: "pl.DataFrame") -> str:
    sentences = []
    for (name,), rows in data.group_by("run", maintain_order=True):
        first, last = rows.row(0, named=True), rows.row(-1, named=True)
        sentences.append(
            f"{name}: median {duration(first['median'])} at batch size {first['batch_size']}, "
            f"{duration(last['median'])} at {last['batch_size']}."
        )
    return " ".join(sentences)
