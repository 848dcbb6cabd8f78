"""Ensembles and cascades as candidates: where they run is given, what they come to is simulated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.batching.timer import BatchPolicy
from workbench.ensemble import Ensemble
from workbench.experiment import Experiment
from workbench.measuring.outcomes import Accuracy
from workbench.planner.plans import Candidate
from workbench.quantiles import longest_within
from workbench.run_cost import cost
from workbench.selection.evidence import Evidence
from workbench.selection.standings import RatedCandidate

if TYPE_CHECKING:
    from workbench.registry.model import Model
    from workbench.run import Run
    from workbench.selection.question import Question

KIND = "ensemble"
"""What stands in the place of an inference type: its members have their own."""


def first_model(ensemble: Ensemble) -> Model:
    """Return the model of the first member, whose task and samples are those of all."""
    return next(iter(ensemble.members.values())).model


def describe_ensemble(ensemble: Ensemble) -> dict[str, Any]:
    """Return the traits of an ensemble: task and kind of all, size and places of its members."""
    models = {each.model.sha256: each.model for each in ensemble.members.values()}
    return {
        "name": ensemble.label,
        "task": first_model(ensemble).traits.task,
        "kind": first_model(ensemble).traits.kind,
        "size_bytes": sum(each.size_bytes for each in models.values()),
    }


def rate_ensemble(ensemble: Ensemble, question: Question) -> RatedCandidate:
    """Return what a simulation of an ensemble under the traffic comes to."""
    experiment = Experiment(ensemble, trace=question.trace, slo=question.slo)
    options = question.options
    run = experiment.simulate(cold_start=options.cold_start, seed=options.seed)
    return rate_run(ensemble, run, question)


def rate_run(ensemble: Ensemble, run: Run, question: Question) -> RatedCandidate:
    """Return what a simulated run of an ensemble comes to.

    The interval of its accuracy counts no row of the pool twice.
    """
    slo, correct = question.slo, run.frame["correct"].to_numpy()
    in_time = run.frame["latency"].to_numpy() <= longest_within(slo.latency)  # NaN is never
    accuracy = float(np.nan_to_num(correct).mean()) if np.isfinite(correct).any() else math.nan
    interval, effective = (math.nan, math.nan), math.nan
    if math.isfinite(accuracy):
        rows = min(len(correct), len(first_model(ensemble).samples()))
        found = Accuracy.of(accuracy * rows, rows)
        interval = found.low, found.high
        effective = float(np.mean(np.nan_to_num(correct) * in_time))
    per_million = cost(run).per_million
    candidate = Candidate(
        deployment=ensemble.deployment,
        policy=BatchPolicy(),
        scaling=None,
        latency=run.quantile(slo.quantile),
        attainment=run.attainment(slo),
        cost_per_million=math.inf if per_million is None else per_million,
        cost_per_month=math.nan,
        engine="simulator",
        predicted=math.nan,
        reason="",
    )
    evidence = Evidence(
        accuracy=accuracy,
        interval=interval,
        metric=first_model(ensemble).traits.metric or "accuracy",
    )
    return RatedCandidate(
        model=ensemble,
        evidence=evidence,
        kind=KIND,
        found=candidate,
        effective_accuracy=effective,
    )
