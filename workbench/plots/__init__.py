"""Charts: each one a function that computes a frame and a function that draws it."""

from workbench.contents import resolve_late
from workbench.plots.grammar import defer_grammar

defer_grammar()  # before the first chart imports Altair

__getattr__, __dir__, __all__ = resolve_late(
    __name__,
    {
        "accuracies": ["accuracy_intervals", "plot_accuracies"],
        "answers": [
            "answer_spread",
            "node_load",
            "plot_boxes",
            "plot_effective_accuracy",
            "plot_node_load",
            "plot_spread",
        ],
        "arrivals": ["arrival_rates", "plot_arrival_rates"],
        "batches": ["batch_sizes", "plot_batch_sizes"],
        "bursts": ["burst_shares", "plot_bursts"],
        "costs": ["cost_by_item", "cost_over_time", "plot_cost_by_item", "plot_cost_over_time"],
        "curves": ["plot_curve"],
        "decision": ["decision_points", "plot_decision"],
        "drift": ["plot_input_drift"],
        "errors": ["latency_errors", "plot_latency_errors"],
        "figure": ["Figure"],
        "forecasts": ["bill_and_error", "forecast_fan", "plot_bill_and_error", "plot_forecast_fan"],
        "grids": ["batching_grid", "plot_batching_grid"],
        "guesses": ["class_counts", "plot_class", "plot_guess"],
        "latency": [
            "latency_ecdf",
            "latency_over_time",
            "plot_latency_ecdf",
            "plot_latency_over_time",
        ],
        "monitor": ["metric_series", "plot_metrics"],
        "newsvendor": ["cost_by_count", "plot_capacities", "plot_cost_by_count"],
        "places": ["answers_by_place", "plot_answers_by_place"],
        "plans": ["break_even_points", "plan_candidates", "plot_break_even", "plot_plan"],
        "scaling": [
            "cost_and_attainment",
            "fleet_over_time",
            "plot_cost_and_attainment",
            "plot_scaling",
        ],
        "service": ["plot_service_times", "service_times"],
        "timeline": ["event_times", "plot_timeline"],
    },
)
