"""What each way to know an experiment's outcome does, for a run panel."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench.experiment import Experiment
from workbench.files import home
from workbench.formatting import duration
from workbench.measuring.load import Rows
from workbench.measuring.setup import record_of
from workbench.prediction import find_obstacle
from workbench.scaling.base import ScalingPolicy
from workbench.widgets.live_progress import LiveProgress
from workbench.widgets.run_panel import Result, Work
from workbench.widgets.run_queue import RunQueue, Turn
from workbench.widgets.target_picker import (
    BeforeClose,
    OnAWS,
    Target,
    ThisMachine,
    choose_run_folder,
)

if TYPE_CHECKING:
    from workbench.cloud.deploy import DeployedModel


def works(
    experiment: Experiment,
    target: Target | None,
    on_deployed: Callable[["DeployedModel"], None] | None = None,
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
        "run": partial(
            _measure, experiment, where, before_close, {"on_deployed": on_deployed, **scaled}
        ),
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


@contextlib.contextmanager
def take_turn(target: Target, live: LiveProgress) -> Iterator[Turn | None]:
    """Wait until no other visitor's run is under way on this machine; none waits for AWS."""
    if isinstance(target, OnAWS):
        yield None
        return

    def say(ahead: int) -> None:
        before = "1 other run" if ahead == 1 else f"{ahead} other runs"
        live.doing = f"Waiting: {before} on this machine would disturb this one."

    live.stopping = "Stopping: nothing was run yet."
    with RunQueue(home() / "queue").turn(live.stopped, say) as turn:
        yield turn


def _measure(
    experiment: Experiment,
    target: Target,
    before_close: BeforeClose,
    settings: dict[str, Any],
    live: LiveProgress,
) -> Result:
    due, names = experiment.here.trace.arrivals, record_of(experiment).places

    def add(rows: Rows) -> None:
        live.add(rows["finished"] - due[rows["request"]])
        if len(names) > 1:
            live.note_places(names[place] for place in rows["place"])

    with take_turn(target, live) as turn:
        folder = choose_run_folder(experiment)
        live.doing = f"Preparing: {target.preparing}."
        live.stopping = f"Stopping: {target.stopping}."

        def progress(done: int, total: int) -> None:
            waiting = turn.count(before=False) if turn else 0
            others = f" Waiting behind it: {waiting}." if waiting else ""
            live.doing = f"Running; rows are kept in {folder}.{others}"
            live.progress(done, total)

        how = {"keep": folder, "progress": progress, "on_rows": add, "stopped": live.stopped}
        return target.run(experiment, before_close, **how, **settings)


def find_obstacles(experiment: Experiment) -> dict[str, str]:
    """Return which ways cannot be gone, and why: a formula does not exist for everything."""
    if experiment.ensemble is not None or len(experiment.deployment.simple_parts) > 1:
        return {}  # whose formulas say so when they are asked
    obstacle = find_obstacle(experiment.trace, experiment.policy, experiment.deployment)
    return {"predict": f"{obstacle} Here: press Simulate."} if obstacle else {}


_LONG = 300.0  # seconds from which on a run is asked for twice


def describe_length(seconds: float) -> str:
    """Return what somebody agrees to who starts so long a run, "" where it is short.

    >>> describe_length(60), describe_length(864_000)
    ('', 'This run takes 10 days, as long as its traffic; Simulate takes seconds.')
    """
    lasts = duration(seconds)
    words = f"This run takes {lasts}, as long as its traffic; Simulate takes seconds."
    return words if seconds > _LONG else ""
