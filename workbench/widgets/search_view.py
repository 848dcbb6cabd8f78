"""A search in the background with buttons: begin, stop, and take over what it found."""

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import ipywidgets
import traitlets

from workbench.errors import Stopped
from workbench.progress import Progress
from workbench.widgets.form import button, progress_bar, show, side_by_side
from workbench.widgets.live_progress import FLUSH_INTERVAL, LiveProgress
from workbench.widgets.notebook import (
    Keyboard,
    Status,
    await_finish,
    describe_failure,
    run_in_background,
)
from workbench.widgets.saved_output import SavedOutput

Found = TypeVar("Found")


class SearchView(SavedOutput, ipywidgets.VBox, Generic[Found]):  # type: ignore[misc]  # ipywidgets has no types
    """Base of views with a button that finds something; `value` is what was found last.

    The search goes on in a thread of its own. `running` tells whether it does, and `error` why it
    came to nothing, "" when it did not. A saved notebook still shows what was found without a
    kernel. A subclass shows what was found (`draw`) and says so (`describe`).

    Args:
        find: The words on the button that begins; `doing` is said meanwhile.
        apply: The words on the button that takes over what was found.
        on_apply: Called with what was found when it is to be taken over; None: no button for that.
        above: What stands above the buttons; `below` stands under the line of status.
    """

    value = traitlets.Any(None, allow_none=True, read_only=True)
    error = traitlets.Unicode("", read_only=True)
    running = traitlets.Bool(default_value=False, read_only=True)
    kind = "result"
    """What is found, in a word."""

    def __init__(
        self,
        *,
        find: str,
        apply: str,
        doing: str,
        on_apply: Callable[[Found], object] | None,
        above: tuple[ipywidgets.DOMWidget, ...] = (),
        below: tuple[ipywidgets.DOMWidget, ...] = (),
    ) -> None:
        self._on_apply, self._doing = on_apply, doing
        self._live, self._last_update = LiveProgress(), 0.0
        self._finished = threading.Event()
        self._finished.set()
        self._search: Callable[[Progress], Found] | None = None
        self.find_button = button(find, "Search for what the controls hold.", "primary")
        self.stop_button = button("Stop", "End the search; what was found before stays.")
        self.apply_button = button(apply, "Have the controls hold what was found.")
        self.stop_button.disabled = self.apply_button.disabled = True
        self.bar = progress_bar("160px")
        self.figures = ipywidgets.HTML()
        self.status = Status()
        self.find_button.on_click(lambda _: self.start())
        self.stop_button.on_click(lambda _: self.stop())
        self.apply_button.on_click(lambda _: self.take())
        buttons = [self.find_button, self.stop_button, *([self.apply_button] if on_apply else [])]
        row = side_by_side(*buttons, self.bar, self.figures, align_items="center")
        super().__init__([*above, row, self.status, *below, Keyboard()])
        self.add_class("wb")
        self.add_class("wb-results")

    def draw(self, found: Found) -> None:
        """Show what was found."""
        raise NotImplementedError

    def describe(self, found: Found) -> str:
        """Return what is said when it was found."""
        raise NotImplementedError

    def describe_taken(self, found: Found) -> str:
        """Return what is said when it was taken over."""
        raise NotImplementedError

    def search_by(self, search: Callable[[Progress], Found]) -> None:
        """Have the button do this search from now on."""
        self._search = search
        self._ready("Ready.")

    def withdraw(self, reason: str) -> None:
        """Have nothing to search for, and say why."""
        self._search = None
        self._ready(reason)

    def start(self) -> None:
        """Begin, unless that goes on already or there is nothing to search for."""
        search = self._search
        if self.running or search is None:
            return
        self._live = LiveProgress()
        self._switch(running=True)
        self.stop_button.disabled = False
        self.find_button.disabled = self.apply_button.disabled = True
        self.status.say(self._doing)
        self._finished.clear()
        run_in_background(self._find, search, self._live)

    def stop(self) -> None:
        """Ask the search to end; what was found before it stays."""
        if self.running:
            self._live.stopped.set()
            self.status.say("Stopping.")

    def wait(self, timeout: float | None = None) -> Found | None:
        """Return `value` when the search has ended, or after `timeout` seconds.

        Ctrl-C, and so the interrupt button of a notebook, ends the search as Stop does.
        """
        await_finish(self._finished, self.stop, timeout)
        found: Found | None = self.value
        return found

    def begin(self, doing: str) -> None:
        """Say what the search is at from now on."""
        if not self._live.stopped.is_set():
            self.status.say(f"{doing}.")

    def take(self) -> None:
        """Take what was found over to where it can be simulated and run."""
        if self._on_apply is None or self.value is None:
            return
        self._on_apply(self.value)
        self.status.say(f"Taken over: {self.describe_taken(self.value)}")

    def _report_progress(self, live: LiveProgress) -> Progress:
        """Return what learns of progress, and shows it a few times a second at most."""

        def progress(done: int, total: int) -> None:
            live.go_on(done, total)
            now = time.monotonic()
            if done == total or now - self._last_update >= FLUSH_INTERVAL:
                self._last_update = now
                self.bar.max, self.bar.value = max(total, 1), done
                self.figures.value = f"{done:,} of {total:,}"

        return progress

    def _find(self, search: Callable[[Progress], Found], live: LiveProgress) -> None:
        words, error = "", ""
        try:
            found = search(self._report_progress(live))
            self.draw(found)
            self.set_trait("value", found)
            words = self.describe(found)
        except Stopped:
            words = f"Stopped: the {self.kind} before stays, where there was one."
        except Exception as failure:  # noqa: BLE001 - whatever failed has to be said, not lost
            error = describe_failure(failure)
        finally:
            self.set_trait("error", error)
            self._switch(running=False)
            self._ready(words or error, wrong=bool(error))
            self._finished.set()

    def _switch(self, *, running: bool) -> None:
        self.set_trait("running", running)
        for each in (self.bar, self.figures):
            show(each, shown=running)

    def _ready(self, words: str, *, wrong: bool = False) -> None:
        """Enable what can be pressed, then disable Stop, and say this."""
        if self.running:
            return
        self.find_button.disabled = self._search is None
        self.apply_button.disabled = self.value is None
        self.stop_button.disabled = True
        self.status.say(words, wrong=wrong or self._search is None)


def wide_chart(**settings: Any) -> ipywidgets.HTML:  # noqa: ANN401 - ipywidgets has no types
    """Return a place for a chart, which scrolls where it is wider than its box."""
    layout = ipywidgets.Layout(overflow="auto hidden", max_width="100%", **settings)
    return ipywidgets.HTML(layout=layout)
