"""When a model's service times were measured, and a button that measures them again."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import ipywidgets
import traitlets

from workbench.errors import WorkbenchError
from workbench.measuring.profile_cache import recall_profile
from workbench.registry.model import Model
from workbench.widgets.form import button, progress_bar, show
from workbench.widgets.notebook import run_in_background
from workbench.widgets.pickers import Picker

if TYPE_CHECKING:
    from workbench.measuring.profile import Profile

Remeasure = Callable[[Model, list[int], Callable[[int, int], None]], object]
"""Measures a model's batches of these sizes, keeps them, and reports rows done, of how many."""


def remeasure(model: Model, sizes: list[int], progress: Callable[[int, int], None]) -> object:
    """Measure the service times of a model again, and keep them in place of those that were."""
    from workbench.measuring.profile import profile

    return profile(model, batch_sizes=sizes, progress=progress, fresh=True)


class ProfilePicker(Picker):
    """The kept service times of a model on this machine; `value` is a `Profile`, None if none.

    `running` tells whether they are being measured, in a thread of its own; plans and simulations
    read them afterwards.
    """

    running = traitlets.Bool(default_value=False, read_only=True)

    def __init__(self, measure: Remeasure = remeasure) -> None:
        self._measure, self._model = measure, None  # type: Remeasure, Model | None
        self.measure_button = button(
            "Measure again", "Measure how long batches take, for when the machine was busy before."
        )
        self.measure_button.on_click(lambda _: self.measure())
        self.bar = progress_bar("120px")
        super().__init__("Service times", {}, ipywidgets.HBox([self.measure_button, self.bar]))

    def offer(self, model: Model | None) -> None:
        """Tell of this model's service times from now on."""
        self._model = model
        self._read()

    def measure(self) -> None:
        """Begin to measure them again, unless that goes on already."""
        if self.running or self._model is None:
            return
        sizes = [1, 2, 4, 8, 16, 32]
        if self.value is not None:
            sizes = sorted(set(self.value.frame["batch_size"].to_list()))
        self._switch(running=True)
        run_in_background(self._measure_to_end, self._model, sizes)

    def _measure_to_end(self, model: Model, sizes: list[int]) -> None:
        failed = ""
        try:
            self._measure(model, sizes, self._show_progress)
        except WorkbenchError as error:
            failed = str(error)
        finally:
            self._read()
            if failed:
                self.status.say(failed, wrong=True)
            self._switch(running=False)  # last: who waits for it reads what is said above

    def _show_progress(self, done: int, total: int) -> None:
        self.bar.max, self.bar.value = total, done
        self.status.say(f"being measured, {done} of {total}")

    def _switch(self, *, running: bool) -> None:
        self.measure_button.disabled = running
        self.bar.value = 0
        show(self.bar, shown=running)
        self.set_trait("running", running)

    def _make(self) -> "Profile | None":
        return None if self._model is None else recall_profile(self._model)

    def _describe(self, value: "Profile | None") -> str:
        if self._model is None:
            return "read with the first decision."
        if value is None:
            return "not measured yet, which is done once and takes some seconds."
        quality = value.quality
        words = f"measured on {quality.date[:10]}." if quality.date else "measured."
        return f"{words} {' '.join(quality.doubts)}".strip()
