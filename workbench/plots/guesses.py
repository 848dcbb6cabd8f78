"""What was guessed and what came out, of one student and of a class."""

import altair as alt
import polars as pl

from workbench.plots.channels import colour, panels, shape, tooltips
from workbench.plots.figure import Figure
from workbench.plots.theme import HEIGHT, WIDTH

_OUTCOME, _CURVE, _GUESS = "what came out for you", "at other values", "your guess"
_FAR = 4  # a guess beyond so many times all outcomes is drawn at the end of the axis
_STEPS = (0.1, 0.3, 0.8, 1.25, 3.0, 10.0)  # of a guess to the outcome: the ends of `_BINS`
_BINS = (
    *("under 0.1", "0.1 to 0.3", "0.3 to 0.8", "about right", "1.25 to 3", "3 to 10", "over 10"),
)
_SIDES = ("too low", "about right", "too high")
_PANEL = 110  # pixels of height for each exercise


def plot_guess(
    curve: pl.DataFrame,
    *,
    at: float,
    guess: float | None,
    axes: tuple[str, str],
    title: str,
    sentence: str,
) -> Figure:
    """Return a chart of an outcome over a setting, with the guess at one value.

    Args:
        curve: value and outcome.
        at: The value that was asked for.
        guess: It; one beyond 4 times all outcomes is drawn at the end of the axis.
        axes: Titles of the two axes.
        title: Of the chart.
        sentence: Guess and outcome in words.
    """
    kind = pl.when(pl.col("value") == at).then(pl.lit(_OUTCOME)).otherwise(pl.lit(_CURVE))
    points = curve.with_columns(run=kind)
    if guess is not None:
        own = pl.DataFrame({"value": [float(at)], "outcome": [float(guess)], "run": [_GUESS]})
        points = pl.concat([points, own])
    names = [_CURVE, _OUTCOME, _GUESS][: 2 + (guess is not None)]
    x, y = _guess_axes(curve, guess, axes)
    marks = (
        alt.Chart(points)
        .mark_point(filled=True, opacity=1)
        .encode(
            x=x,
            y=y,
            color=colour(names),
            shape=shape(names),
            size=alt.condition(alt.datum.run == _CURVE, alt.value(45), alt.value(190)),
            tooltip=tooltips("run:N", alt.Tooltip("value:Q", title=axes[0]), "outcome:Q"),
        )
    )
    line = alt.Chart(curve).mark_line(strokeWidth=1.5, opacity=0.6).encode(x=x, y=y)
    rule = alt.Chart(points.filter(run=_GUESS)).mark_rule(style="target").encode(y=y)
    chart = alt.layer(rule, line, marks) if guess is not None else alt.layer(line, marks)
    return Figure(data=points, chart=chart, title=title, subtitle=(sentence,), description=sentence)


def _guess_axes(
    curve: pl.DataFrame, guess: float | None, titles: tuple[str, str]
) -> tuple[alt.X, alt.Y]:
    """Return the channels of a setting and its outcome, on which the guess has a place."""
    top = float(curve["outcome"].to_numpy().max())
    high = 1.05 * (min(max(top, guess or 0.0), _FAR * top) or guess or 1.0)
    low, most = curve["value"].min(), curve["value"].max()
    wide = low > 0 and most > 10 * low  # type: ignore[operator]
    scale = alt.Scale(type="log" if wide else "linear", nice=False, zero=False, padding=14)
    steps = alt.Axis(values=curve["value"].to_list(), format=",.4~r", labelOverlap=True)
    return (
        alt.X("value:Q", title=titles[0], scale=scale, axis=steps),
        alt.Y("outcome:Q", title=titles[1], scale=alt.Scale(domain=[0, high], clamp=True)),
    )


def class_counts(answers: pl.DataFrame) -> pl.DataFrame:
    """Return how many of a class guessed what share of the outcome.

    Columns: exercise (with its lesson), bin (of guess over outcome), side, guesses; a row for each
    bin of each exercise.

    >>> import polars as pl
    >>> one = {"lesson": ["a"], "exercise": ["b"], "ratio": [0.2], "side": ["too low"]}
    >>> class_counts(pl.DataFrame(one)).filter(pl.col("guesses") > 0).row(0)
    ('a: b', '0.1 to 0.3', 'too low', 1)
    """
    ratio = pl.col("ratio")
    number = pl.sum_horizontal(
        *((ratio > step) | ((ratio == step) & (step != 1.25)) for step in _STEPS)
    )
    named = answers.select(
        (pl.col("lesson") + ": " + pl.col("exercise")).alias("exercise"),
        number.cast(pl.Int64).alias("number"),
    )
    counted = named.group_by("exercise", "number").agg(pl.len().cast(pl.Int64).alias("guesses"))
    grid = (
        named.select("exercise")
        .unique(maintain_order=True)
        .join(pl.DataFrame({"number": range(len(_BINS))}), how="cross")
    )
    middle = _BINS.index("about right")
    sides = [_SIDES[(n > middle) - (n < middle) + 1] for n in range(len(_BINS))]
    words = pl.DataFrame({"number": range(len(_BINS)), "bin": _BINS, "side": sides})
    return (
        grid.join(words, on="number")
        .join(counted, on=["exercise", "number"], how="left")
        .with_columns(pl.col("guesses").fill_null(0))
        .select("exercise", "bin", "side", "guesses")
    )


def plot_class(answers: pl.DataFrame) -> Figure:
    """Return a chart of `class_counts`: a panel for each exercise."""
    data = class_counts(answers)
    names = list(dict.fromkeys(data["exercise"]))
    x = alt.X("bin:N", sort=list(_BINS), title="Guess over outcome", axis=alt.Axis(labelAngle=0))
    top = max(1, int(data["guesses"].to_numpy().max()))
    count = alt.Axis(tickMinStep=1, tickCount=min(top, 4), format="d")
    y = alt.Y("guesses:Q", title="Guesses", axis=count, scale=alt.Scale(domain=[0, 1.2 * top]))
    base = alt.Chart().encode(x=x, y=y)
    shown = alt.condition(alt.datum.guesses > 0, alt.value(1), alt.value(0))
    text = base.mark_text(dy=-7, style="note").encode(text=alt.Text("guesses:Q"), opacity=shown)
    facts = tooltips("bin:N", alt.Tooltip("run:N", title="side"), "guesses:Q")
    bars = base.mark_bar().encode(color=colour(_SIDES), tooltip=facts)
    layers = alt.layer(bars, text, data=data.with_columns(run=pl.col("side")))
    sentences = [_describe(name, data.filter(exercise=name)) for name in names]
    return Figure(
        data=data,
        chart=layers.properties(width=WIDTH, height=_PANEL if len(names) > 1 else HEIGHT).facet(
            row=panels("exercise", names), spacing=12
        ),
        title="How far the guesses of the class were off",
        subtitle=("Each bar counts guesses; nobody is named.",),
        description=" ".join(sentences),
    )


def _describe(name: str, rows: pl.DataFrame) -> str:
    counts = {side: rows.filter(side=side)["guesses"].sum() for side in _SIDES}
    return f"{name}: " + ", ".join(f"{count} {side}" for side, count in counts.items()) + "."
