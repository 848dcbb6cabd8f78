"""The candidates of one inference type, by the search that its platform takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.deployment.base import is_by_job, is_on_demand
from workbench.planner.candidates import HYBRID, SCALED, CandidateTable
from workbench.planner.fleets import search_fleets
from workbench.planner.hybrids import search_hybrids
from workbench.planner.jobs import search_jobs
from workbench.planner.on_demand import search_on_demand
from workbench.planner.scaled_fleets import search_scaled
from workbench.progress import Progress

if TYPE_CHECKING:
    from workbench.planner.problem import PlanningProblem


def search_type(problem: PlanningProblem, kind: str) -> CandidateTable:
    """Return the settings of an inference type, the best simulated."""
    if kind == SCALED:
        return search_scaled(problem, kind)
    if kind == HYBRID:
        return search_hybrids(problem, kind)
    search = search_on_demand if is_on_demand(kind) else search_fleets
    candidates = (search_jobs if is_by_job(kind) else search)(problem, kind)
    possible = np.flatnonzero([not str(note).startswith("unstable") for note in candidates.notes])
    if not candidates.finalists and len(possible):  # what breaks a limit is shown as it is
        problem.evaluate(candidates, int(possible[candidates.predicted[possible].argmin()]))
    return candidates


def search_types(
    problem: PlanningProblem, progress: Progress | None = None
) -> tuple[CandidateTable, ...]:
    """Return the candidates of each inference type, and notify of how many types are done."""
    notify = progress or (lambda *_: None)
    kinds, tables = problem.options.kinds, []
    for done, kind in enumerate(kinds):
        notify(done, len(kinds))
        tables.append(search_type(problem, kind))
    notify(len(kinds), len(kinds))
    return tuple(tables)
