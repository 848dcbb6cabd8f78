"""Ensembles and cascades as candidates: where they run is given, what they come to is simulated."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.batching.timer import BatchPolicy
from workbench.ensembles import Ensemble
from workbench.experiment import Experiment
from workbench.measuring.outcomes import Accuracy
from workbench.quantiles import longest_within
from workbench.run.costs import cost
from workbench.selection.compositions import first_model
from workbench.selection.evidence import Evidence
from workbench.selection.needs import traits_of
from workbench.selection.standings import RatedCandidate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.measuring.outcomes import Outcomes
    from workbench.run import Run
    from workbench.selection.question import Question
    from workbench.service_times import ServiceTimes

KIND = "ensemble"
"""What stands in the place of an inference type: its members have their own."""


def describe_ensemble(ensemble: Ensemble) -> dict[str, Any]:
    """Return the traits of an ensemble: those that all members have alike, and the sum of sizes."""
    models = {each.model.sha256: each.model for each in ensemble.members.values()}
    first, *others = map(traits_of, models.values())
    alike = {
        name: value
        for name, value in first.items()
        if all(each.get(name) == value for each in others)
    }
    size = sum(each.size_bytes for each in models.values())
    return alike | {"name": ensemble.label, "size_bytes": size}


def simulate(
    ensemble: Ensemble,
    question: Question,
    times: Mapping[str, ServiceTimes],
    outcomes: Mapping[str, Outcomes] | None,
) -> Run:
    """Return the run of an ensemble under the traffic of a question, by its members' times."""
    from workbench.experiment.simulation import simulate_experiment

    options = question.options
    experiment = Experiment(
        ensemble,
        trace=question.trace,
        slo=question.slo,
        row_bytes=options.row_bytes,
        answer_bytes=options.answer_bytes,
    )
    return simulate_experiment(
        experiment,
        times,
        outcomes=outcomes,
        cold_start=options.cold_start,
        measured=options.measured,
        seed=options.seed,
    )


def read_run(ensemble: Ensemble, run: Run) -> Evidence:
    """Return the accuracy in a simulated run; the interval counts no row of the pool twice."""
    metric = first_model(ensemble).traits.metric or "accuracy"
    correct = run.frame["correct"].to_numpy()
    right = correct[np.isfinite(correct)]
    if not len(right):
        return Evidence(accuracy=math.nan, metric=metric)
    rows = min(len(right), len(ensemble.samples()))
    found = Accuracy.of(float(right.mean()) * rows, rows)
    note = "its router looks at load or draws lots, so that no row has one answer"
    return Evidence(
        accuracy=found.share, interval=(found.low, found.high), metric=metric, note=note, remedy=""
    )


def rate_run(row: RatedCandidate, run: Run, question: Question) -> RatedCandidate:
    """Return an ensemble with what its simulated run comes to."""
    from workbench.planner.plans import Candidate

    assert isinstance(row.model, Ensemble)  # noqa: S101 - who asks has seen to it
    slo, correct = question.slo, run.frame["correct"].to_numpy()
    in_time = run.frame["latency"].to_numpy() <= longest_within(slo.latency)  # NaN is never
    known = np.isfinite(correct).any()
    per_million = cost(run, prices=question.options.prices).per_million
    return replace(
        row,
        kind=KIND,
        effective_accuracy=float(np.mean(np.nan_to_num(correct) * in_time)) if known else math.nan,
        found=Candidate(
            kind=KIND,
            deployment=row.model.deployment,
            policy=BatchPolicy(),
            scaling=None,
            latency=run.quantile(slo.quantile),
            attainment=run.attainment(slo),
            cost_per_million=math.inf if per_million is None else per_million,
            cost_per_month=math.nan,
            engine="simulator",
            predicted=math.nan,
            reason="",
        ),
    )
