"""What a table or a run shows, in a sentence whose numbers are computed from it.

Each function expects something of what it is given ("batches gain"), and its sentence says whether
that is so here, and if not, what is instead. Notebooks, reports and the demo call nothing a finding
that does not come from here::

    comparison = wb.compare([unbatched, batched])
    findings.compare_latency(comparison)      # in a notebook: Finding. p95 of these ...

- `runs`: runs, their traffic and service times; `starts`: cold starts and bursts;
- `fleets`: what follows the load; `models`: a model of one's own; `versions`: those of a registry;
- `clouds`: what one charges, and what is left there; `signals`: what it tells of an endpoint;
- `papers`: published evaluations computed again, and the choice of a model;
- `lessons`: guesses of a class.
"""

from workbench.contents import resolve_late

__getattr__, __dir__, __all__ = resolve_late(
    __name__,
    {
        "clouds": ["compare_estimate", "count_leftovers"],
        "conclusion": ["Conclusion"],
        "fleets": [
            "compare_capacity",
            "compare_fleets",
            "compare_forecasts",
            "find_spill",
            "price_deciding",
            "price_instances",
        ],
        "lessons": [
            "compare_batch_size",
            "compare_cold_counts",
            "compare_spike",
            "explain_tail",
            "find_common_error",
        ],
        "models": ["check_import", "check_service", "choose_type", "compare_origins"],
        "papers": [
            "compare_choices",
            "compare_errors",
            "compare_learners",
            "compare_selectors",
            "compare_strategies",
            "compare_weights",
            "count_spoiled",
            "find_most_effective",
            "value_cascade",
        ],
        "runs": [
            "compare_cost",
            "compare_latency",
            "compare_window",
            "count_cold_starts",
            "count_verdicts",
            "find_cheapest",
            "find_cheapest_policy",
            "find_lasting_bursts",
            "find_peak",
            "outlast_bursts",
            "weigh_batching",
        ],
        "signals": [
            "compare_metrics",
            "find_silent_fault",
            "judge_alarm",
            "measure_burn",
            "trace_changes",
            "weigh_retraining",
        ],
        "starts": [
            "compare_bursts",
            "compare_limits",
            "compare_starts",
            "find_rates",
            "price_provisioned",
            "price_starts",
        ],
        "versions": [
            "check_copies",
            "compare_versions",
            "follow_decisions",
            "judge_canary",
            "list_versions",
        ],
    },
)
