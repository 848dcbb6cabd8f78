"""Charts: each one a function that computes a frame and a function that draws it."""

from workbench.plots.answers import (
    answer_spread,
    node_load,
    plot_boxes,
    plot_effective_accuracy,
    plot_node_load,
    plot_spread,
)
from workbench.plots.arrivals import arrival_rates, plot_arrival_rates
from workbench.plots.batches import batch_sizes, plot_batch_sizes
from workbench.plots.costs import (
    cost_by_item,
    cost_over_time,
    plot_cost_by_item,
    plot_cost_over_time,
)
from workbench.plots.curves import plot_curve
from workbench.plots.decision import decision_points, plot_decision
from workbench.plots.errors import latency_errors, plot_latency_errors
from workbench.plots.figure import Figure
from workbench.plots.forecasts import (
    bill_and_error,
    forecast_fan,
    plot_bill_and_error,
    plot_forecast_fan,
)
from workbench.plots.grammar import defer_grammar
from workbench.plots.grids import batching_grid, plot_batching_grid
from workbench.plots.latency import (
    latency_ecdf,
    latency_over_time,
    plot_latency_ecdf,
    plot_latency_over_time,
)
from workbench.plots.monitor import metric_series, plot_metrics
from workbench.plots.newsvendor import cost_by_count, plot_capacities, plot_cost_by_count
from workbench.plots.places import answers_by_place, plot_answers_by_place
from workbench.plots.plans import break_even_points, plan_candidates, plot_break_even, plot_plan
from workbench.plots.scaling import (
    cost_and_attainment,
    fleet_over_time,
    plot_cost_and_attainment,
    plot_scaling,
)
from workbench.plots.service import plot_service_times, service_times

defer_grammar()  # before the first chart imports Altair

__all__ = [
    "Figure",
    "answer_spread",
    "answers_by_place",
    "arrival_rates",
    "batch_sizes",
    "batching_grid",
    "bill_and_error",
    "break_even_points",
    "cost_and_attainment",
    "cost_by_count",
    "cost_by_item",
    "cost_over_time",
    "decision_points",
    "fleet_over_time",
    "forecast_fan",
    "latency_ecdf",
    "latency_errors",
    "latency_over_time",
    "metric_series",
    "node_load",
    "plan_candidates",
    "plot_answers_by_place",
    "plot_arrival_rates",
    "plot_batch_sizes",
    "plot_batching_grid",
    "plot_bill_and_error",
    "plot_boxes",
    "plot_break_even",
    "plot_capacities",
    "plot_cost_and_attainment",
    "plot_cost_by_count",
    "plot_cost_by_item",
    "plot_cost_over_time",
    "plot_curve",
    "plot_decision",
    "plot_effective_accuracy",
    "plot_forecast_fan",
    "plot_latency_ecdf",
    "plot_latency_errors",
    "plot_latency_over_time",
    "plot_metrics",
    "plot_node_load",
    "plot_plan",
    "plot_scaling",
    "plot_service_times",
    "plot_spread",
    "service_times",
]
