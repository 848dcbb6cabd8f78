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

from workbench.findings.clouds import compare_estimate, count_leftovers
from workbench.findings.conclusion import Conclusion
from workbench.findings.fleets import (
    compare_capacity,
    compare_fleets,
    compare_forecasts,
    find_spill,
    price_deciding,
    price_instances,
)
from workbench.findings.lessons import (
    compare_batch_size,
    compare_cold_counts,
    compare_spike,
    explain_tail,
    find_common_error,
)
from workbench.findings.models import (
    check_import,
    check_service,
    choose_type,
    compare_origins,
)
from workbench.findings.papers import (
    compare_choices,
    compare_errors,
    compare_learners,
    compare_selectors,
    compare_strategies,
    compare_weights,
    count_spoiled,
    find_most_effective,
    value_cascade,
)
from workbench.findings.runs import (
    compare_cost,
    compare_latency,
    compare_window,
    count_cold_starts,
    count_verdicts,
    find_cheapest,
    find_cheapest_policy,
    find_lasting_bursts,
    find_peak,
    outlast_bursts,
    weigh_batching,
)
from workbench.findings.signals import (
    compare_metrics,
    find_silent_fault,
    judge_alarm,
    measure_burn,
    trace_changes,
    weigh_retraining,
)
from workbench.findings.starts import (
    compare_bursts,
    compare_limits,
    compare_starts,
    find_rates,
    price_provisioned,
    price_starts,
)
from workbench.findings.versions import (
    check_copies,
    compare_versions,
    follow_decisions,
    judge_canary,
    list_versions,
)

__all__ = [
    "Conclusion",
    "check_copies",
    "check_import",
    "check_service",
    "choose_type",
    "compare_batch_size",
    "compare_bursts",
    "compare_capacity",
    "compare_choices",
    "compare_cold_counts",
    "compare_cost",
    "compare_errors",
    "compare_estimate",
    "compare_fleets",
    "compare_forecasts",
    "compare_latency",
    "compare_learners",
    "compare_limits",
    "compare_metrics",
    "compare_origins",
    "compare_selectors",
    "compare_spike",
    "compare_starts",
    "compare_strategies",
    "compare_versions",
    "compare_weights",
    "compare_window",
    "count_cold_starts",
    "count_leftovers",
    "count_spoiled",
    "count_verdicts",
    "explain_tail",
    "find_cheapest",
    "find_cheapest_policy",
    "find_common_error",
    "find_lasting_bursts",
    "find_most_effective",
    "find_peak",
    "find_rates",
    "find_silent_fault",
    "find_spill",
    "follow_decisions",
    "judge_alarm",
    "judge_canary",
    "list_versions",
    "measure_burn",
    "outlast_bursts",
    "price_deciding",
    "price_instances",
    "price_provisioned",
    "price_starts",
    "trace_changes",
    "value_cascade",
    "weigh_batching",
    "weigh_retraining",
]
