"""Where should this model run, how should requests be batched, and what will it cost?

This module is the table of contents: every public name, resolved on first use, so that importing
the workbench loads nothing heavy.
"""

from importlib import import_module

_CONTENTS = {
    "traffic.datasets": ["open_trace", "public_traces"],
    "batching.timer": ["BatchPolicy"],
    "cloud.aws": ["aws"],
    "cloud.deploy": ["deploy"],
    "cloud.doctor": ["examine"],
    "localcloud": ["LocalCloud"],
    "comparison": ["compare", "compare_policies"],
    "pricing.cost": ["Cost"],
    "run_cost": ["cost"],
    "deployment": [
        "Async",
        "BatchTransform",
        "Lambda",
        "Local",
        "OnPremise",
        "RealTime",
        "Serverless",
    ],
    "drift": ["PageHinkley", "PopulationStability", "input_drift", "latency_drift"],
    "errors": ["WorkbenchError"],
    "experiment": ["Experiment"],
    "planner": ["Options", "Plan", "plan", "replan"],
    "batching.policies": ["DeadlineAware", "Replanned", "Steered", "WorkConserving"],
    "pricing.sheet": ["PriceSheet"],
    "measuring.profile": ["Profile", "load_profile", "profile"],
    "queueing": ["Prediction"],
    "registry.api": ["Registry"],
    "registry.model": ["Model"],
    "traffic.replay": ["from_counts", "from_csv", "from_parquet", "from_timestamps"],
    "report.page": ["write_report"],
    "run": ["SLO", "Run", "delete_run", "load_run"],
    "service_times": ["ServiceTimes"],
    "simulator": ["simulate"],
    "sweeps": ["sweep"],
    "traffic.trace": ["Trace"],
    "traffic.patterns": ["bursty", "constant", "diurnal", "flash_crowd", "markovian", "poisson"],
    "measuring.batch_inference": ["Transformed", "transform"],
    "widgets": ["app"],
}

_HOME = {name: module for module, names in _CONTENTS.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605 - a list of the names above, sorted


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    value = getattr(import_module(f"workbench.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
