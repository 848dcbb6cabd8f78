"""What a saved run was of: the parts of its experiment, checked against what is said beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.batching.timer import BatchPolicy
from workbench.errors import InvalidInput
from workbench.traffic.trace import Trace
from workbench.validation import of_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.registry.api import Registry
    from workbench.run import Run


def recall_parts(run: Run, models: Registry, given: Mapping[str, object]) -> dict[str, Any]:
    """Return the fields of the experiment that a run was of, those given where it does not say.

    Arguments and errors are those of `Experiment.of_run`.
    """
    from workbench.registry.api import Registry
    from workbench.run import Run

    of_kind("run", run, Run)
    of_kind("models", models, Registry)
    said = _read_parts(run, models)
    if unknown := sorted(given.keys() - said.keys()):
        raise InvalidInput(f"A run is not said to have {unknown}: choose of {[*said]}.")
    for name, value in given.items():
        known = said[name]
        alike = getattr(value, "sha256", value) == getattr(known, "sha256", known)
        if None not in (value, known) and not alike:
            there, here = (getattr(e, "label", getattr(e, "name", e)) for e in (known, value))
            raise InvalidInput(f"The run's {name} is {there}, not {here}: leave it out.")
    parts = {name: given.get(name) or value for name, value in said.items()}
    if lacking := [name for name in ("model", "deployment", "policy") if parts[name] is None]:
        raise InvalidInput(f"The run does not say its {', '.join(lacking)}: give it as well.")
    asked, rows = run.record.trace, run.frame.sort("scheduled", maintain_order=True)
    due, sizes = rows["scheduled"].to_numpy(), rows["rows"].to_numpy()
    duration = (asked and asked.duration) or float(due.max(initial=0.0))
    trace = Trace(due, duration, rows=sizes, name=asked.name if asked else "")
    return {**parts, "trace": trace}


def _read_parts(run: Run, models: Registry) -> dict[str, Any]:
    """Return model, deployment, policy and target of a run, None where it does not say them."""
    record = run.record
    model = models[record.model.name] if record.model else None
    if model and record.model and model.sha256 != record.model.sha256:
        raise InvalidInput(
            f"{record.model.name} of {models.path} is another file than the run's: "
            "name the registry that holds it."
        )
    policy = dict(record.policy or {"kind": ""})
    timed = policy.pop("kind") == "timed"
    return {
        "model": model,
        "deployment": record.deployment,
        "policy": BatchPolicy(**policy) if timed else None,
        "slo": record.slo,
    }
