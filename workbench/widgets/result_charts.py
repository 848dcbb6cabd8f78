"""The charts under a table of results, and what a reader has to know of its figures."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from workbench.deployment.hybrid import Hybrid
from workbench.plots.batches import plot_batch_sizes
from workbench.plots.costs import plot_cost_by_item
from workbench.plots.figure import Figure
from workbench.plots.latency import plot_latency_over_time
from workbench.plots.places import plot_answers_by_place
from workbench.plots.scaling import plot_scaling
from workbench.run import Run
from workbench.widgets.form import name_fields

if TYPE_CHECKING:
    from workbench.comparison import Comparison


def _cost(comparison: "Comparison") -> Figure | None:
    if not any(bill.total for bill in comparison.costs.values()):
        return None
    figure = plot_cost_by_item(comparison.costs)
    return replace(figure, subtitle=tuple(map(name_fields, figure.subtitle)))


def _over_time(comparison: "Comparison") -> Figure | None:
    return plot_latency_over_time(comparison.runs) if comparison.runs else None


def _batch_sizes(comparison: "Comparison") -> Figure | None:
    return plot_batch_sizes(comparison.runs) if comparison.runs else None


def _places(comparison: "Comparison") -> Figure | None:
    routed = {name: run for name, run in comparison.runs.items() if len(run.record.places) > 1}
    return plot_answers_by_place(routed) if routed else None


def _scaling(comparison: "Comparison") -> Figure | None:
    """Return load and instances of the latest run whose fleet changed its size or had help."""
    latest = [run for run in comparison.runs.values() if _is_scaled(run)][-1:]
    return plot_scaling(latest[0]) if latest else None


def _is_scaled(run: Run) -> bool:
    record = run.record
    known = record.instances or any(each.instances for each in record.members or ())
    return bool(known) and (record.scaling is not None or isinstance(record.deployment, Hybrid))


CHARTS: Mapping[str, Callable[["Comparison"], Figure | None]] = {
    "latency": lambda comparison: comparison.figure,
    "over time": _over_time,
    "places": _places,
    "scaling": _scaling,
    "batch sizes": _batch_sizes,
    "cost": _cost,
}
