"""What the runs of lessons show, and where a class went wrong."""

from typing import TYPE_CHECKING

from workbench.findings.conclusion import Conclusion
from workbench.findings.runs import target_of
from workbench.formatting import duration, figure, percent, percentile
from workbench.quantiles import longest_within

if TYPE_CHECKING:
    import polars as pl

    from workbench.run import Run

_TIMES = 10  # a tail that is so many times the median is of another kind of call


def explain_tail(run: "Run", q: float = 0.95) -> Conclusion:
    """Say whether a quantile is that of a cold call: more are cold than it leaves out."""
    cold = float(run.frame["cold"].to_numpy().mean())
    high, middle = run.quantile(q), run.quantile(0.5)
    text = (
        f"{percent(cold)} of the calls are cold, and {percentile(q)} leaves out {percent(1 - q)}: "
        f"it is {duration(high)}, where the median is {duration(middle)}"
    )
    return Conclusion(f"{text}.", holds=cold > 1 - q and high > _TIMES * middle)


def compare_cold_counts(before: "Run", after: "Run") -> Conclusion:
    """Say whether the second of two runs has fewer cold calls, though it has more calls."""
    (calls, cold), (more, less) = (
        (len(run), int(run.frame["cold"].to_numpy().sum())) for run in (before, after)
    )
    text = f"{calls:,} calls have {cold:,} cold starts, {more:,} calls have {less:,}"
    return Conclusion(f"{text}.", holds=more > calls and less < cold)


def compare_batch_size(run: "Run", largest: int) -> Conclusion:
    """Say whether the mean batch holds less than half of what it may."""
    mean = len(run) / run.batches().height
    text = f"The mean batch holds {figure(mean)} requests of {largest} that it may"
    return Conclusion(f"{text}.", holds=mean < largest / 2)


def compare_spike(run: "Run", start: float, stop: float) -> Conclusion:
    """Say whether most of the late requests were due from start to stop, in seconds.

    Raises:
        InvalidInput: The run has no target.
    """
    late = run.latencies > longest_within(target_of(run).latency)
    due = run.frame["scheduled"].sort().to_numpy()
    inside = (due >= start) & (due < stop)
    if not late.any():
        return Conclusion("No request is late.", holds=False)
    share = float(late[inside].sum() / late.sum())
    text = f"{percent(float(late.mean()))} of the requests are late, and {percent(share)} of these "
    return Conclusion(f"{text}were due from {start:,.0f} to {stop:,.0f} s.", holds=share > 0.5)


def find_common_error(answers: "pl.DataFrame") -> Conclusion:
    """Say of the exercise that most of a class erred in the same way on which way that was.

    Args:
        answers: A row for each guess: lesson, exercise, ratio (of guess to outcome) and side.
    """
    import polars as pl

    if not answers.height:
        return Conclusion("Nobody has guessed.", holds=None)
    sides = answers.group_by("lesson", "exercise").agg(
        *(pl.col("side").eq(side).sum().alias(side) for side in ("too low", "too high")),
        pl.len().alias("guesses"),
        pl.col("ratio").median(),
    )
    most = pl.max_horizontal("too low", "too high")
    worst = sides.sort(most / pl.col("guesses"), "guesses", descending=True).row(0, named=True)
    side = max(("too low", "too high"), key=lambda each: worst[each])
    text = (
        f'Of {worst["guesses"]} guesses of "{worst["exercise"]}" ({worst["lesson"]}), '
        f"{worst[side]} were {side}; the median guess was {figure(worst['ratio'])} times what came "
        "out."
    )
    return Conclusion(text, holds=worst[side] > worst["guesses"] / 2)
