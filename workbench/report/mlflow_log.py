"""A run in MLflow Tracking: parameters, metrics, tags, and its files as artefacts.

`run.to_mlflow()` comes here. MLflow is asked as in any script of its own: the tracking server is
the one of `mlflow.set_tracking_uri` or $MLFLOW_TRACKING_URI.
"""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.errors import StorageError
from workbench.extras import require_extra
from workbench.report.runs import write_report
from workbench.run import Run
from workbench.run.costs import cost
from workbench.validation import of_kind

_LONGEST_TEXT = 500  # characters of a parameter: what every MLflow store takes
_FIGURES = ("total", "per_million", "per_month")
_LEFT_OUT = ("run", "origin", "batch_invariance", "complete", "valid")  # of the summary: no numbers


def to_mlflow(run: Run, *, experiment: str | None = None) -> str:
    """Write a run to MLflow and return the id that it has there.

    Parameters are what it was made of (deployment.memory_mb, policy.max_size, trace.requests, ...),
    metrics its figures (seconds, shares, US dollars), artefacts the saved run and a report.

    Args:
        run: What to write.
        experiment: MLflow's experiment, made where it is missing; by default the active one.

    Raises:
        InvalidInput: It is no run.
        NotAvailable: MLflow is not installed.
        StorageError: The tracking server cannot be reached, or refuses.
    """
    of_kind("run", run, Run)
    require_extra("mlflow", "to_mlflow")
    import mlflow

    try:
        if experiment is not None:
            mlflow.set_experiment(experiment)
        nested = mlflow.active_run() is not None
        with mlflow.start_run(run_name=run.label, nested=nested) as active:
            mlflow.log_params(find_parameters(run))
            mlflow.log_metrics(find_metrics(run))
            mlflow.set_tags(find_tags(run))
            with tempfile.TemporaryDirectory() as folder:
                run.save(Path(folder, "run"))
                if len(run):
                    bills = [cost(run)] if run.record.deployment else []
                    write_report(run, Path(folder, "report.html"), title=run.label, costs=bills)
                mlflow.log_artifacts(folder)
            return str(active.info.run_id)
    except (mlflow.MlflowException, OSError) as error:
        raise StorageError(
            f"MLflow at {mlflow.get_tracking_uri()} did not take the run: {error}"
        ) from error


def find_parameters(run: Run) -> dict[str, str]:
    """Return what a run was made of as text by name, parts with a dot between them.

    >>> run = Run.from_arrays(scheduled=[0.0], finished=[0.5], facts={"policy": {"max_size": 8}})
    >>> find_parameters(run)
    {'policy.max_size': '8'}
    """
    names = ("model", "deployment", "policy", "trace", "slo", "scaling", "cold_start", "seed")
    known = {name: run.facts[name] for name in names if name in run.facts}
    flat = dict(_flatten("", known))
    return {name: text for name, text in flat.items() if len(text) <= _LONGEST_TEXT}


def find_metrics(run: Run) -> dict[str, float]:
    """Return the figures of a run by name, those that are known and finite.

    >>> run = Run.from_arrays(scheduled=[0.0], finished=[0.5])
    >>> find_metrics(run)["answered"]
    1.0
    """
    found = {name: value for name, value in run.summary().items() if name not in _LEFT_OUT}
    if run.record.deployment is not None:
        bill = cost(run)
        found |= {f"cost_{name}": getattr(bill, name) for name in _FIGURES}
    numbers = {name: float(value) for name, value in found.items() if value is not None}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def find_tags(run: Run) -> dict[str, str]:
    """Return what a reader has to know: where the figures come from, and whether to trust them.

    >>> find_tags(Run.from_arrays(scheduled=[0.0], finished=[0.5], origin="simulated"))["origin"]
    'simulated'
    """
    tags = {"origin": run.origin, "complete": str(run.complete), "valid": str(run.valid)}
    if (verdict := run.verdict) is not None:
        tags["verdict"] = str(verdict)
    note = " ".join([f"{run.label}: {len(run):,} requests, {run.origin}.", *run.warnings])
    return tags | {"mlflow.note.content": note}


def _flatten(prefix: str, value: Any) -> "list[tuple[str, str]]":  # noqa: ANN401 - JSON
    if not isinstance(value, Mapping):
        return [] if value is None else [(prefix, str(value))]
    dotted = f"{prefix}." * bool(prefix)
    return [pair for name, each in value.items() for pair in _flatten(f"{dotted}{name}", each)]
