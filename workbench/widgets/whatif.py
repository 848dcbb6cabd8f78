"""What if: sliders that redraw latency, cost and verdict at once."""

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from workbench.batching.timer import BatchPolicy
from workbench.errors import WorkbenchError
from workbench.experiment import Experiment
from workbench.measuring.profile import Profile
from workbench.progress import Progress
from workbench.service_times import ServiceTimes
from workbench.widgets.form import name_labels
from workbench.widgets.notebook import describe_failure, run_in_background
from workbench.widgets.parameters import TunableParameters
from workbench.widgets.preview import SimulationSummary, describe_outcome, summarize_simulation

SimulatePreview = Callable[..., tuple[Experiment, SimulationSummary]]
"""Given values of sliders by name, an experiment and what it comes to."""

_BUSY_NOTE = (
    "A run is under way, which would be disturbed by measuring how long batches take; that is done "
    "when it has ended."
)
# requests in a batch that the slider reaches, where the profile is measured here
_MAX_SLIDER_BATCH = 32


class WhatIf(anywidget.AnyWidget):
    """Sliders for load, batching and place of an experiment; `value` is the experiment they make.

    The page draws the share of requests answered within a latency, and tells cost and verdict, by
    the simulator. While one drawing is under way the page keeps the latest place of the sliders
    only: none waits behind another. Without an experiment it is empty until one is offered.

    Args:
        experiment: The one to begin with.
        profile: Service times on this machine. By default those kept for the model: what is
            missing in them is measured first, which takes some seconds once.
        settings: cold_start, scaling and seed, as for `Experiment.simulate`.

    Raises:
        WorkbenchError: The service times are no good, or cannot be had.
    """

    value = traitlets.Instance(Experiment, allow_none=True, read_only=True)
    dials = traitlets.List(traitlets.Dict(), read_only=True).tag(sync=True)
    note = traitlets.Unicode("", read_only=True).tag(sync=True)

    _esm = Path(__file__).with_name("whatif.js")
    _css = Path(__file__).with_name("whatif.css")

    def __init__(
        self,
        experiment: Experiment | None = None,
        profile: Profile | ServiceTimes | None = None,
        **settings: Any,  # noqa: ANN401 - as for simulate
    ) -> None:
        super().__init__()
        self._simulate_preview: SimulatePreview = _reject_preview
        self._measuring = threading.Lock()
        self._latest: object = None
        self.add_class("wb")
        self.on_msg(self._handle_request)
        if experiment is not None:
            self.offer(
                experiment, _load_profile(experiment) if profile is None else profile, **settings
            )

    def offer(
        self,
        experiment: Experiment,
        profile: Profile | ServiceTimes,
        **settings: Any,  # noqa: ANN401 - as for simulate
    ) -> None:
        """Begin again with this experiment, service times, and settings of `Experiment.simulate`.

        Raises:
            InvalidInput: The service times are none.
        """
        most = experiment.service(profile).largest // int(experiment.trace.rows.max())
        parameters = TunableParameters(experiment, largest=max(most, 1))

        def simulate_values(**values: float) -> tuple[Experiment, SimulationSummary]:
            made = parameters.vary(**values)
            return made, summarize_simulation(made, profile, **settings)

        self._simulate_preview = simulate_values
        self.set_trait("value", experiment)
        with self.hold_sync():
            self.set_trait("note", "")
            self.set_trait("dials", [each.to_dict() for each in parameters])

    def prepare(
        self,
        experiment: Experiment,
        *,
        busy: Callable[[], bool] = lambda: False,
        **settings: Any,  # noqa: ANN401 - as for simulate
    ) -> threading.Thread:
        """Offer an experiment when its service times are there, which a thread sees to.

        A later call, or `clear`, makes it void. What goes wrong is said on the page. While this
        machine is `busy` with a run, nothing is measured: both would be wrong.
        """
        self.clear("Getting the model's service times here.")
        latest = self._latest

        def work() -> None:
            with self._measuring:
                try:
                    if not self._is_latest(latest):
                        return
                    profile = _load_profile(experiment, self._progress(latest, busy))
                    if self._is_latest(latest):
                        self.offer(experiment, profile, **settings)
                except _Superseded:
                    return
                except Exception as error:  # noqa: BLE001 - a thread's failure reaches nobody
                    if self._is_latest(latest):
                        self.set_trait("note", describe_failure(error))

        return run_in_background(work)

    def clear(self, note: str = "") -> None:
        """Show no experiment, and this note."""
        self._latest, self._simulate_preview = object(), _reject_preview
        self.set_trait("value", None)
        with self.hold_sync():
            self.set_trait("dials", [])
            self.set_trait("note", note)

    def turn(self, **values: float) -> SimulationSummary:
        """Return what the experiment comes to with sliders at these values, and make it the value.

        See `TunableParameters.vary` for the values; a wait is in seconds.

        Raises:
            WorkbenchError: There is no experiment, no such slider, or a value is out of its limits.
        """
        experiment, found = self._simulate_preview(**values)
        self.set_trait("value", experiment)
        return found

    def _is_latest(self, latest: object) -> bool:
        return self._latest is latest

    def _progress(self, latest: object, busy: Callable[[], bool]) -> Progress:
        def progress(done: int, total: int) -> None:
            if not self._is_latest(latest):
                raise _Superseded
            if busy():
                self.set_trait("note", _BUSY_NOTE)
                raise _Superseded
            note = f"Measuring how long batches take, once for this model: {done} of {total}."
            self.set_trait("note", note)

        return progress

    def _handle_request(self, _widget: object, asked: dict[str, Any], _buffers: object) -> None:
        """Answer the page, whatever happens: it asks nothing more until then."""
        number = asked.get("number")
        try:
            experiment, found = self._simulate_preview(**asked["values"])
            self.send({"number": number, **_format_preview(found, experiment)})
            self.set_trait("value", experiment)  # afterwards: traitlets compare whole traces
        except Exception as error:  # noqa: BLE001 - said on the page
            wrong = describe_failure(error)
            about = re.split(r"\W", wrong, maxsplit=1)[0]
            labels = {each["name"]: f"{each['label']} ({each['unit']})" for each in self.dials}
            said = name_labels(wrong, labels)
            self.send({"number": number, "error": said, "about": about})


class _Superseded(Exception):
    """A measurement for an experiment that is not shown any more."""


def _reject_preview(**_values: float) -> tuple[Experiment, SimulationSummary]:
    raise WorkbenchError("There is no experiment yet: offer one.")


def _load_profile(experiment: Experiment, progress: Progress | None = None) -> Profile:
    """Return the kept profile, which reaches up to where the slider for the batch size does."""
    policy = experiment.policy
    if isinstance(policy, BatchPolicy):
        policy = replace(policy, max_size=max(policy.max_size, _MAX_SLIDER_BATCH))
    return replace(experiment, policy=policy).ensure_profile(progress=progress)


def _format_preview(found: SimulationSummary, experiment: Experiment) -> dict[str, Any]:
    """Return an outlook for the page: milliseconds, and words."""
    slo, total = experiment.slo, len(experiment.trace)
    figures = found.latency, found.attainment, found.requests, found.per_million
    words, missed = describe_outcome(*figures, slo)
    part = "" if found.requests == total else f"The first {found.requests:,} of "
    return {
        "lines": [{"x": (1000 * found.seconds).tolist(), "y": found.shares.tolist()}],
        "guide": [1000 * slo.latency, slo.quantile] if slo else None,
        "missed": missed,
        "words": f"{words} {part}{total:,} requests, {found.rate:,.4g} per second.",
    }
