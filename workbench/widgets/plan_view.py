"""The planner with buttons: what to deploy and how to batch, why, and what was nearly chosen."""

import html
from collections.abc import Callable
from typing import TYPE_CHECKING

import ipywidgets

from workbench.formatting import Table, dollars, duration
from workbench.planner.options import Options
from workbench.planner.plans import Candidate, Plan
from workbench.planner.search import plan
from workbench.planner.service_sources import Measured
from workbench.plots.plans import plot_plan
from workbench.quantiles import SLO
from workbench.registry.model import Model
from workbench.traffic.trace import Trace
from workbench.widgets.search_view import SearchView, wide_chart
from workbench.widgets.tables import fold_notes, frame_table

if TYPE_CHECKING:
    import polars as pl

_MAX_NEAR_MISSES = 6  # near misses that are shown


class PlanView(SearchView[Plan]):
    """Plan and Stop; `value` is the latest `Plan`, of which winner, reason and chart are shown.

    What to plan for is as for `workbench.plan`, `on_apply` as for `SearchView`.
    """

    kind = "plan"

    def __init__(
        self,
        source: Model | Measured | None = None,
        trace: Trace | None = None,
        slo: SLO | None = None,
        options: Options | None = None,
        *,
        on_apply: Callable[[Plan], object] | None = None,
    ) -> None:
        self.found, self.chart = ipywidgets.HTML(), wide_chart()
        super().__init__(
            find="Find a plan",
            apply="Use this plan",
            doing="Planning; the first time, how long batches take is measured.",
            on_apply=on_apply,
            below=(self.found, self.chart),
        )
        if source is None or trace is None or slo is None:
            self.withdraw("A plan takes a model, traffic and a target.")
        else:
            self.offer(source, trace, slo, options)

    def offer(
        self, source: Model | Measured, trace: Trace, slo: SLO, options: Options | None = None
    ) -> None:
        """Have the button plan for these from now on."""
        self.search_by(lambda progress: plan(source, trace, slo, options, progress=progress))

    def describe(self, found: Plan) -> str:
        """Return what planning took."""
        return found.effort

    def describe_taken(self, found: Plan) -> str:
        """Return the winner, and what of it no picker holds."""
        return f"{found.best.label}.{_describe_missing_controls(found.best)}"

    def draw(self, found: Plan) -> None:
        """Show winner, reason, chart and tables."""
        chart = plot_plan(found).image()
        self.found.value, self.chart.value = plan_tables(found), chart
        self.keep(self.found.value + chart)


def plan_tables(found: Plan) -> str:
    """Return a plan's winner and reason, the best of each type, and what else is near, as HTML."""
    quantile = found.slo.percentile
    others = found.near_misses.join(found.by_kind, on=["deployment", "policy"], how="anti")
    near = _rows(others.head(_MAX_NEAR_MISSES))
    columns = ["type", "deployment and policy", quantile, "$ a month", "$ a million"]
    columns += ["other days", "why"]
    word = "Winner" if found.feasible else "Nothing meets the target; the nearest"
    winner = f"<p><strong>{word}</strong>: {html.escape(found.label)}.</p>"
    misses = frame_table(Table(columns, near, "Near misses")) if near else ""
    best = frame_table(Table(columns, _rows(found.by_kind), "The best of each type"))
    return winner + best + misses + fold_notes(found.notes, "What it takes for granted")


def _rows(candidates: "pl.DataFrame") -> list[list[object]]:
    chosen = candidates.select(
        *("kind", "deployment", "policy", "latency", "cost_per_month", "cost_per_million"),
        *("unseen", "reason"),
    )
    return [
        [
            *(kind, f"{place}, {policy}", duration(latency)),
            *(dollars(month), dollars(million), unseen or "not tried", reason),
        ]
        for kind, place, policy, latency, month, million, unseen, reason in chosen.iter_rows()
    ]


def _describe_missing_controls(best: Candidate) -> str:
    if best.scaling is None:
        return ""
    return " It also changes its size, which a simulation here does not."
