"""The policies there are beside one another, the timer's settings decided where they must be."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workbench.batching.policies import DeadlineAware, Steered, WorkConserving
from workbench.batching.timer import BatchPolicy, Policy
from workbench.errors import InvalidInput, WorkbenchError
from workbench.experiment import Experiment
from workbench.experiment.sweeps import sweep
from workbench.measuring.profile import Profile
from workbench.planner.buffer_search import rebatch
from workbench.run import Run
from workbench.run.costs import cost
from workbench.service_times import ServiceTimes
from workbench.units import HOUR
from workbench.validation import of_kind

if TYPE_CHECKING:
    import polars as pl

_COLUMN_TYPES = {
    **dict.fromkeys(("policy", "verdict"), "String"),
    **dict.fromkeys(("p50", "p95", "p99", "attainment"), "Float64"),
    **dict.fromkeys(("failed", "batches"), "Int64"),
    **dict.fromkeys(("mean_batch_size", "per_million", "deciding"), "Float64"),
}


def compare_policies(
    experiment: Experiment,
    *,
    max_size: int = 8,
    max_wait: float | None = None,
    policies: Sequence[Policy] = (),
    window: float | None = None,
    profile: Profile | ServiceTimes | None = None,
    **settings: Any,  # noqa: ANN401 - whatever `sweep` takes
) -> "pl.DataFrame":
    """Return a table of an experiment under the policies there are, one row a policy.

    No batching, `BatchPolicy` of this size and wait (by default half the target's latency), the
    same re-planned for each `window` (seconds; by default an hour, or a quarter of a trace of less
    than four) as BATCH does, see `workbench.planner.rebatch`; `WorkConserving`, `DeadlineAware`
    and `Steered` of this size for the experiment's SLO, and those given. Latencies are in seconds,
    costs in US dollars a million answered requests; null if unknown. `verdict` is that of
    `workbench.run.verdict` on the target, and `deciding` the seconds that were spent here on
    finding a policy's settings: 0 where they were given.

    Raises:
        InvalidInput: It is no experiment, or has no SLO.
        WorkbenchError: One could not be simulated.
    """
    import polars as pl

    slo = of_kind("experiment", experiment, Experiment).slo
    if slo is None:
        raise InvalidInput("Policies are compared by a target: give the experiment an slo.")
    batched = BatchPolicy(
        max_size=max_size, max_wait=slo.latency / 2 if max_wait is None else max_wait
    )
    timed = replace(experiment, policy=batched)
    profile = profile or timed.ensure_profile()
    times = timed.service(profile)
    began = time.perf_counter()
    planned = rebatch(
        experiment.trace,
        slo,
        experiment.deployment,
        times,
        max_size=max_size,
        window=window or min(HOUR, experiment.trace.duration / 4),
    )
    deciding = {planned.label: time.perf_counter() - began}
    known: list[Policy] = [
        BatchPolicy(),
        batched,
        planned,
        WorkConserving(max_size=max_size),
        DeadlineAware.within(slo.latency, times, max_size=max_size),
        Steered(latency=slo.latency, quantile=slo.quantile, max_size=max_size),
    ]
    rows = [replace(experiment, policy=policy) for policy in [*known, *policies]]
    findings = sweep(rows, profile=profile, **settings)
    table = []
    for finding in findings:
        run, label = finding.result, finding.experiment.policy.label
        if not isinstance(run, Run):
            raise WorkbenchError(f"{label}: {finding.error}")
        figures = run.summary() | {
            "policy": label,
            "verdict": run.verdict and run.verdict.word,
            "deciding": deciding.get(label, 0.0),
            "per_million": cost(run).per_million,
        }
        table.append({name: figures[name] for name in _COLUMN_TYPES})
    return pl.DataFrame(
        table, schema={name: getattr(pl, kind) for name, kind in _COLUMN_TYPES.items()}
    )
