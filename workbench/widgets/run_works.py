"""What each way to know an experiment's outcome does, for a run panel."""

from collections.abc import Callable
from functools import partial
from typing import Any

from workbench.cloud.deploy import DeployedModel
from workbench.experiment import Experiment
from workbench.measuring.load import Rows
from workbench.scaling.base import ScalingPolicy
from workbench.widgets.run_panel import LiveProgress, Result, Work
from workbench.widgets.target_picker import BeforeClose, Target, ThisMachine, choose_run_folder


def works(
    experiment: Experiment,
    target: Target | None,
    on_deployed: Callable[[DeployedModel], None] | None = None,
    before_close: BeforeClose = lambda: None,
    scaling: ScalingPolicy | None = None,
    **simulation: Any,  # noqa: ANN401 - of simulate
) -> dict[str, Work]:
    """Return what each way to know an experiment's outcome does."""
    scaled: dict[str, Any] = {} if scaling is None else {"scaling": scaling}
    where = target or ThisMachine()
    return {
        "predict": partial(_predict, experiment),
        "simulate": partial(_simulate, experiment, simulation | scaled),
        "run": partial(_measure, experiment, where, on_deployed, before_close, **scaled),
    }


def _predict(experiment: Experiment, live: LiveProgress) -> Result:
    profile = _load_profile(experiment, live)
    return experiment.predict(profile)


def _simulate(experiment: Experiment, settings: dict[str, Any], live: LiveProgress) -> Result:
    profile = _load_profile(experiment, live)
    return experiment.simulate(profile, **settings)


def _load_profile(experiment: Experiment, live: LiveProgress) -> Any:  # noqa: ANN401 - profiles
    if experiment.ensemble is not None:
        alone = {name: experiment.alone(name) for name in experiment.ensemble.names}
        return {name: _load_profile(each, live) for name, each in alone.items()}
    live.begin("Measuring how long batches take: once for this model and machine.")
    profile = experiment.ensure_profile(progress=live.go_on)
    live.begin("Computing.")
    live.go_on(0, 0)
    return profile


def _measure(
    experiment: Experiment,
    target: Target,
    on_deployed: Callable[[DeployedModel], None] | None,
    before_close: BeforeClose,
    live: LiveProgress,
    **scaled: Any,  # noqa: ANN401 - of run
) -> Result:
    due, folder = experiment.here.trace.arrivals, choose_run_folder(experiment)
    live.doing = f"Preparing: {target.preparing}."
    live.stopping = f"Stopping: {target.stopping}."

    def progress(done: int, total: int) -> None:
        live.doing = f"Running; rows are kept in {folder}."
        live.progress(done, total)

    names = experiment.record().places

    def add(rows: Rows) -> None:
        live.add(rows["finished"] - due[rows["request"]])
        if len(names) > 1:
            live.note_places(names[place] for place in rows["place"])

    return target.run(
        experiment,
        before_close,
        keep=folder,
        progress=progress,
        on_deployed=on_deployed,
        on_rows=add,
        stopped=live.stopped,
        **scaled,
    )
