"""Where should this model run, how should requests be batched, and what will it cost?

This module is the table of contents: every public name, resolved on first use, so that importing
the workbench loads nothing heavy.
"""

from workbench.contents import resolve_late

_CONTENTS = {
    # what is to be run: a model, how long its batches take
    "registry.api": ["Registry"],
    "registry.model": ["Model", "Samples"],
    "measuring.profile": ["Profile", "load_profile", "profile"],
    "service_times": ["ServiceTimes"],
    # the requests
    "traffic.trace": ["Trace"],
    "traffic.patterns": ["bursty", "constant", "diurnal", "flash_crowd", "markovian", "poisson"],
    "traffic.replay": ["from_counts", "from_csv", "from_jsonl", "from_parquet", "from_timestamps"],
    "traffic.datasets": ["open_trace", "public_traces"],
    # how they become batches
    "batching.timer": ["BatchPolicy"],
    "batching.policies": ["DeadlineAware", "Replanned", "Steered", "WorkConserving"],
    # where the model runs, and what that costs
    "deployment": [
        "Async",
        "BatchTransform",
        "ByDeadline",
        "Hedge",
        "Hybrid",
        "InFlight",
        "Lambda",
        "LambdaManaged",
        "Local",
        "MixedFleet",
        "OnPremise",
        "RealTime",
        "Serverless",
        "WhileBooting",
    ],
    # how many instances there are
    "scaling": ["InstanceCapacity", "ScaleToZero", "Schedule", "StepScaling", "TargetTracking"],
    "scaling.predictive": ["Predictive"],
    "scaling.mark": ["MArkDescribed", "MArkReleased"],
    "scaling.foresight": ["clairvoyant"],
    "scaling.spot": ["SpotHedge", "SpotPool"],
    "pricing.sheet": ["PriceSheet"],
    "pricing.cost": ["Cost"],
    "run.costs": ["cost"],
    # which of several models a request is sent to
    "routing.simple": ["Canary", "LowestNetworkLatency", "RandomChoice", "RoundRobin", "Shadow"],
    "routing.mulambda": ["MuLambda", "Weighted"],
    "routing.schedule": ["Scheduled"],
    "routing.load": ["Contextual", "CostFirst", "EffectiveAccuracy", "LatencyFirst"],
    "routing.bandits": ["Exp3", "Exp4", "LinUCB", "ThompsonSampling"],
    # several models, and who answers
    "ensembles": ["Ensemble", "Member"],
    "ensembles.server": ["EnsembleServer"],
    "measuring.cascade_promise": ["promise_cascade"],
    "routing": ["Cascade", "Vote", "choose_threshold"],
    # the question, and three ways to an answer
    "experiment": ["Experiment"],
    "simulator": ["simulate"],
    "queueing": ["Prediction"],
    "quantiles": ["SLO"],
    "run": ["Run", "delete_run", "load_run"],
    "experiment.sweeps": ["sweep"],
    # what to do about it
    "planner.backtest": ["backtest"],
    "planner": ["Options", "Plan", "decide", "find_capacity", "plan", "replan"],
    "planner.policies": ["compare_policies"],
    "selection": ["Selection", "at_least", "at_most", "select"],
    "comparison": ["compare"],
    "comparison.curves": ["count_curve", "memory_curve"],
    "idleness": ["idle_report"],
    "report.mlflow_log": ["to_mlflow"],
    "report.runs": ["write_report"],
    # whole data sets, without a queue
    "measuring.batch_inference": ["Transformed", "transform"],
    # a cloud, AWS or the one on this machine
    "cloud.aws": ["aws"],
    "localcloud": ["LocalCloud"],
    "cloud.deploy": ["deploy"],
    "cloud.doctor": ["examine"],
    # for a class
    "lessons.answers": ["collect_answers"],
    "lessons.classroom": ["lesson"],
    # whether things are still as they were
    "run.drift": ["PageHinkley", "PopulationStability", "input_drift", "latency_drift"],
    # in a notebook, and when something fails
    "widgets": ["app"],
    "errors": ["WorkbenchError"],
}

__getattr__, __dir__, __all__ = resolve_late(__name__, _CONTENTS)
