"""How far latencies lie from those of a reference, quantile by quantile."""

import math
from collections.abc import Mapping
from contextlib import suppress

import altair as alt
import polars as pl

from workbench.errors import TooFewSamples
from workbench.formatting import percent
from workbench.plots.channels import draw_lines, tooltips
from workbench.plots.figure import Figure
from workbench.plots.series import Result, Results, caption, make_unique, name_results
from workbench.run import Run

_LEVELS = [level / 100 for level in range(1, 100)]  # the percentiles that are compared


def latency_errors(results: Results, reference: Result) -> pl.DataFrame:
    """Return how far latencies lie from those of the reference, at 1, 2, ..., 99 % of requests.

    Columns: run, origin, quantile, latency and reference (seconds), error (their ratio less 1). A
    quantile that too few requests tell, or that failed ones reach, is left out.

    Raises:
        InvalidInput: There is no result, or one has no requests.
        TooFewSamples: No quantile of a result has enough requests.

    >>> from workbench.queueing import mm1
    >>> frame = latency_errors(mm1(rate=1, service=0.2), mm1(rate=1, service=0.1))
    >>> frame["error"].round(6).unique().to_list()
    [1.25]
    """
    members = _name_with_reference(results, reference)
    against, last = members.popitem()
    truth = _quantiles(last)
    rows = []
    for name, result in members.items():
        found = _quantiles(result)
        known = [level for level in _LEVELS if level in found and level in truth]
        if not known:
            raise TooFewSamples(
                f"{name} against {against}: too few requests for a percentile. Run longer."
            )
        rows += [
            (name, result.origin, at, found[at], truth[at], found[at] / truth[at] - 1)
            for at in known
        ]
    numbers = dict.fromkeys(("quantile", "latency", "reference", "error"), float)
    return pl.DataFrame(rows, schema={"run": str, "origin": str, **numbers}, orient="row")


def plot_latency_errors(results: Results, reference: Result) -> Figure:
    """Return a chart of `latency_errors`, the mean of their amounts (MAPE) in its subtitle."""
    members = _name_with_reference(results, reference)
    shared = caption(members)
    against, _ = members.popitem()
    names, data = list(members), latency_errors(results, reference)
    means = data.group_by("run", maintain_order=True).agg(pl.col("error").abs().mean())
    amounts = [f"{name}: {percent(error)}" for name, error in means.iter_rows()]
    base = alt.Chart(data).encode(
        x=alt.X(
            "quantile:Q",
            title="Share of requests",
            scale=alt.Scale(domain=[0, 1]),
            axis=alt.Axis(format="%"),
        ),
        y=alt.Y("error:Q", title="Error of latency", axis=alt.Axis(format="+.2~%")),
        tooltip=tooltips("run:N", "quantile:Q", "latency:Q", "reference:Q", "error:Q"),
    )
    zero = (
        alt.Chart(pl.DataFrame({"error": [0.0]}))
        .mark_rule(style="target")
        .encode(y=alt.Y("error:Q"))
    )
    return Figure(
        data=data,
        chart=alt.layer(zero, draw_lines(base, names)),
        title="Error of latency, quantile by quantile",
        subtitle=(
            shared,
            f"Against: {against}.",
            *(f"Mean amount (MAPE) of {amount}." for amount in amounts),
        ),
        description=f"Mean amount of errors against {against}. {'; '.join(amounts)}.",
    )


def _name_with_reference(results: Results, reference: Result) -> dict[str, Result]:
    """Return the results and, last, the reference, by names that tell them apart."""
    members = name_results(results)  # refuses what is empty
    if isinstance(results, Mapping):
        return {**members, make_unique(reference.label, members): reference}
    return name_results([*members.values(), reference])


def _quantiles(result: Result) -> dict[float, float]:
    if not isinstance(result, Run):
        return dict(zip(_LEVELS, result.quantile(_LEVELS).tolist(), strict=True))
    found = {}
    with suppress(TooFewSamples):
        for level in _LEVELS:
            found[level] = result.quantile(level)
    return {level: latency for level, latency in found.items() if 0 < latency < math.inf}
