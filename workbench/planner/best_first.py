"""Simulating what promises most, until nothing that is left could be better."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.service_times import Floats

if TYPE_CHECKING:
    from workbench.planner.candidates import CandidateMetrics
    from workbench.planner.problem import PlanningProblem


_PREDICTION_SLACK = 1.003  # what the exact model may be off by, and a little more
_SWEEP_SLACK = 1.1  # how far above the limit a prediction may lie and still be tried
_LEAST_GAIN = 0.001  # what is better by less than this share is not looked for
_MISSES = 3  # in a row of what the correction had ruled out, after which what lies further does too


def search_best_first(
    problem: PlanningProblem,
    *,
    cost: Floats,
    latency: Floats,
    left: NDArray[np.bool_],
    simulate: Callable[[int], CandidateMetrics],
    best: float = np.inf,
    tries: int | None = None,
    sweep_slack: float = _SWEEP_SLACK,
    exact: bool = False,
) -> None:
    """Simulate rows in order of their aim, as far as what is limited promises to keep to its limit.

    With a target, cost is the aim and latency is limited; with a budget, it is the other way round.
    The ratio of what was simulated last to what had been predicted for it corrects the predictions
    of the others: 1 where the trace is as the fitted process is. In the end rows follow that the
    correction had ruled out, those nearest to the limit first, until some in a row miss it.

    Args:
        problem: Says the limit and how many simulations are worth while.
        cost: Of each row, as predicted; what is to be low, no more than a simulation will say.
        latency: Likewise.
        left: The rows that may be tried; a simulation may take others off.
        simulate: Simulates a row, and keeps what comes out.
        best: The least aim that is known to do.
        tries: How many simulations there are at most; None: as many as are worth while.
        sweep_slack: How far above the limit a prediction may lie and still be tried.
        exact: Whether a row that is predicted to be as one that was simulated is taken to be so,
            unless that one missed the limit barely: it counts as tried.
    """
    aims, limited = (cost, latency) if problem.budget is None else (latency, cost)
    limit, ratio, any_met = problem.limit, 1.0, bool(np.isfinite(best))
    misses = 0  # in a row, of what had been ruled out
    known = list[int]()  # rows that kept to the limit, or that missed it by far
    for _ in range(problem.tries if tries is None else tries):
        slack = 1.0 if np.isinf(best) else _PREDICTION_SLACK
        better = left & (aims < best * (1 - _LEAST_GAIN))
        able = np.flatnonzero(better & (limited * ratio <= limit * slack))
        if len(able):
            row = int(able[np.lexsort((limited[able], aims[able]))[0]])
        else:
            able = np.flatnonzero(better & (limited <= limit * sweep_slack))
            if not any_met or not len(able) or misses == _MISSES:
                break
            row = int(able[np.lexsort((aims[able], limited[able]))[0]])
        left[row] = False
        if exact and _is_known(row, known, (aims, limited)):
            continue
        was_ruled_out = bool(limited[row] * ratio > limit * slack)
        figures = simulate(row)
        figure = problem.figure_to_limit(figures)
        ratio = float(np.clip(figure / limited[row], 0.5, 2.0))
        known += [row] * (not limit < figure <= limit * sweep_slack)
        if problem.meets_constraint(figures):
            best, any_met, misses = min(best, problem.aim(figures)), True, 0
        else:
            misses += was_ruled_out
    if not any_met and left.any():
        open_rows = np.flatnonzero(left)
        for row in open_rows[np.argsort(limited[open_rows], kind="stable")[:2]].tolist():
            simulate(row)


def _is_known(row: int, known: list[int], predictions: tuple[Floats, ...]) -> bool:
    """Return whether a row is predicted to be as one of some others, but for the least gain."""
    near = [abs(each[known] - each[row]) <= _LEAST_GAIN * each[row] for each in predictions]
    return bool(np.logical_and(*near).any())
