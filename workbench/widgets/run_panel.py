"""Predict, Simulate, Run and Stop: work in the background, and what is known of it meanwhile."""

import html
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from itertools import cycle

import ipywidgets
import traitlets

from workbench.errors import NotPredictable, Stopped, TooFewSamples
from workbench.formatting import duration, percent, percentile
from workbench.plots.live import plot_live_latency
from workbench.plots.theme import PALETTE
from workbench.queueing.predictions import Prediction
from workbench.run import Run
from workbench.widgets.chart_view import ChartView
from workbench.widgets.form import button, name_fields, progress_bar, show, side_by_side
from workbench.widgets.live_progress import FLUSH_INTERVAL, LiveProgress
from workbench.widgets.notebook import (
    Keyboard,
    Status,
    await_finish,
    describe_failure,
    run_in_background,
)

Result = Run | Prediction


Work = Callable[[LiveProgress], Result]
"""What a panel does; it tells the `LiveProgress` how it goes and ends early when that is "
"stopped."""

WAYS = {"predict": "Predict", "simulate": "Simulate", "run": "Run"}
"""The ways to know an outcome: by a formula, in virtual time, by doing it."""


class RunPanel(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Predict, Simulate, Run and Stop; `value` is the latest `Run` or `Prediction`.

    The work goes on in a thread of its own. `running` tells whether it does, `way` which one it
    was, and `error` why it failed, "" when it did not. The page is updated five times a second at
    most, and always at the end.

    Args:
        works: What each way does; the buttons of those missing are disabled.
        reason: What to know before pressing one, or why there is nothing to do.
        flush_interval: Seconds between updates of the page.
    """

    value = traitlets.Any(None, allow_none=True, read_only=True)
    error = traitlets.Unicode("", read_only=True)
    running = traitlets.Bool(default_value=False, read_only=True)
    way = traitlets.Enum(list(WAYS), "run", read_only=True)

    def __init__(
        self,
        works: Mapping[str, Work] | None = None,
        *,
        reason: str = "",
        flush_interval: float = FLUSH_INTERVAL,
    ) -> None:
        self._flush_interval = flush_interval
        self._live = LiveProgress()
        self._lock = threading.Lock()  # a new offer and the end of a run may coincide
        self._finished = threading.Event()  # an interrupted join believes that the thread has ended
        self._finished.set()
        self.buttons = {way: button(name, _HINTS[way]) for way, name in WAYS.items()}
        self.stop_button = button("Stop", "End the work; what was measured is kept")
        self.stop_button.disabled = True
        self.confirm_button = button("Confirm", "Agree to what is said below", "warning")
        self._points_shown = 0  # in the live chart
        self._pending_way = ""  # the way that waits for a confirmation
        show(self.confirm_button, shown=False)
        self.bar = progress_bar("160px")
        self.figures = ipywidgets.HTML()
        self.shares = ipywidgets.HTML()
        self.chart = ChartView()
        self.status = Status()
        for way, each in self.buttons.items():
            each.on_click(lambda _, way=way: self.start(way))
        self.stop_button.on_click(lambda _: self.stop())
        self.confirm_button.on_click(lambda _: self.confirm())
        presses = *self.buttons.values(), self.confirm_button, self.stop_button
        row = side_by_side(*presses, self.bar, self.figures, align_items="center")
        super().__init__([row, self.status, self.shares, self.chart, Keyboard()])
        self.add_class("wb")
        self.add_class("wb-panel")
        self.offer(works or {}, reason)

    def offer(
        self,
        works: Mapping[str, Work],
        reason: str = "",
        *,
        terms: Mapping[str, str] | None = None,
        obstacles: Mapping[str, str] | None = None,
    ) -> None:
        """Have the buttons do this from now on, and show the reason where there is one.

        A way with `terms`, which say what it may cost or how long it takes, begins once they are
        confirmed; one with an obstacle is disabled, and its tooltip says why. The button of the
        sensible way stands out: Run where nothing has to be confirmed first, else Simulate.
        """
        with self._lock:
            self._terms, self._obstacles = dict(terms or {}), dict(obstacles or {})
            self._works = {way: work for way, work in works.items() if way not in self._obstacles}
            self._reason = reason
            if not self.running:
                self._await_confirmation("")
                self._enable()
                self.status.say(reason or "Ready.", wrong=not works)

    def start(self, way: str = "run") -> None:
        """Begin the work of this way, unless some goes on already or there is none.

        Where it may cost something, the terms are shown, and `confirm` begins it.
        """
        if self.running or way not in self._works:
            return
        if way in self._terms:
            self._await_confirmation(way)
            self.status.say(f"{self._terms[way]} Confirm to go on, or press Stop.")
        else:
            self._begin(way)

    def confirm(self) -> None:
        """Begin what waits for a confirmation."""
        if self._pending_way and not self.running:
            self._begin(self._pending_way)

    def _await_confirmation(self, way: str) -> None:
        """Wait for a confirmation of this way; "": of none."""
        self._pending_way = way
        show(self.confirm_button, shown=bool(way))
        self.stop_button.disabled = not way

    def _begin(self, way: str) -> None:
        work = self._works[way]
        self._await_confirmation("")
        self._live = LiveProgress()
        self.set_trait("way", way)
        self._switch(running=True)
        self._show(self._live)
        self._finished.clear()
        run_in_background(self._follow, work, self._live)

    def stop(self) -> None:
        """Ask the work to end; what it has found out until then is kept."""
        if self.running:
            self._live.stopped.set()
            self.status.say(self._live.stopping)
        elif self._pending_way:
            self._await_confirmation("")
            self.status.say("Not confirmed: nothing was made, and nothing is billed.")

    def wait(self, timeout: float | None = None) -> Result | None:
        """Return `value` when the work has ended, or after `timeout` seconds.

        Ctrl-C, and so the interrupt button of a notebook, ends the work as Stop does.
        """
        await_finish(self._finished, self.stop, timeout)
        result: Result | None = self.value
        return result

    def _follow(self, work: Work, live: LiveProgress) -> None:
        """Show how the work goes while another thread does it, and then what came of it."""
        outcome: Future[Result] = Future()
        threading.Thread(target=_run_work, args=(work, live, outcome), daemon=True).start()
        try:
            while not wait([outcome], timeout=self._flush_interval).done:
                self._show(live)
            self._show(live)
            self._end(outcome, live)
        finally:
            self._finished.set()

    def _end(self, outcome: "Future[Result]", live: LiveProgress) -> None:
        try:
            words, error = self._set_result(outcome.result(), live), ""
        except Stopped as end:
            words, error = str(end), ""
        except BaseException as failure:  # noqa: BLE001 - whatever failed has to be said, not lost
            words = error = _describe_failure(failure)
        self.set_trait("error", error)
        with self._lock:
            reason = "" if self._works else f" {self._reason}"
            self.status.say(words + reason, wrong=bool(error or reason))
            self._switch(running=False)

    def _set_result(self, result: Result, live: LiveProgress) -> str:
        """Make the result the value, of which charts are drawn, and return what came of it."""
        if isinstance(result, Run) and not len(result):
            return "Stopped before any request was answered: nothing is kept."
        self.status.say("Drawing the charts.")
        self.set_trait("value", result)
        return describe(result, stopped=live.stopped.is_set())

    def _show(self, live: LiveProgress) -> None:
        if not live.stopped.is_set():
            self.status.say(live.doing)
        self.bar.max, self.bar.value = max(live.total, 1), live.done
        self.figures.value = live.words()
        self.shares.value = draw_shares(live.shares)
        if self.way == "run" and len(points := live.points()) != self._points_shown:
            self._points_shown = len(points)
            self.chart.figure = plot_live_latency(points) if len(points) > 1 else None

    def _switch(self, *, running: bool) -> None:
        """Enable some buttons, then disable the others, whose focus goes to the first of those."""
        self.set_trait("running", running)
        show(self.bar, shown=running)
        if running:
            self.stop_button.disabled = False
            self._enable()
        else:
            self._enable()
            self.stop_button.disabled = True
            self.chart.figure, self._points_shown = None, 0

    def _enable(self) -> None:
        ready = [way for way in ("run", "simulate", "predict") if way in self._works]
        sensible = next((way for way in ready if way not in self._terms), None)
        for way, each in self.buttons.items():
            each.tooltip = self._obstacles.get(way, _HINTS[way])
            each.button_style = "primary" if way == sensible else ""
            each.disabled = self.running or way not in self._works


_HINTS = {
    "predict": "By a formula, where there is one: milliseconds",
    "simulate": "In virtual time, with cold starts and limits: seconds",
    "run": "The real model in real time: as long as the traffic lasts",
}


def draw_shares(shares: Mapping[str, float]) -> str:
    """Return who answered so far as a bar of as many parts, each named under it, as HTML.

    >>> draw_shares({})
    ''
    """
    if not shares:
        return ""
    colours = dict(zip(shares, cycle(PALETTE), strict=False))
    parts = "".join(
        f'<div style="width:{100 * share:.2f}%;background:{colours[name]}"></div>'
        for name, share in shares.items()
    )
    names = " · ".join(
        f'<span style="color:{colours[name]}">■</span> {html.escape(name)} {percent(share)}'
        for name, share in shares.items()
    )
    bar = f'<div style="display:flex;height:14px;max-width:480px">{parts}</div>'
    return f'<div role="img" aria-label="Who answered so far">{bar}</div><div>{names}</div>'


def _run_work(work: Work, live: LiveProgress, outcome: "Future[Result]") -> None:
    try:
        outcome.set_result(work(live))
    except BaseException as error:  # noqa: BLE001 - a thread's failure reaches nobody otherwise
        outcome.set_exception(error)


def _describe_failure(failure: BaseException) -> str:
    """Return what went wrong in words, with the way out that a button is."""
    way_out = " Here: press Simulate." if isinstance(failure, NotPredictable) else ""
    return describe_failure(failure) + way_out


def describe(result: Result, *, stopped: bool = False) -> str:
    """Return in words what came out: percentile, target, and what to know about the figures.

    >>> describe(Run.from_arrays(scheduled=[0.0] * 200, finished=[0.004] * 200))
    'Finished: 200 requests, p95 4 ms.'
    """
    slo = result.slo
    quantile = slo.quantile if slo else 0.95
    words = [_head(result, stopped=stopped)]
    try:
        words[0] += f", {percentile(quantile)} {duration(float(result.quantile(quantile)))}."
    except TooFewSamples:
        words[0] += f", too few for {percentile(quantile)} of their own."
    if slo:
        in_time = percent(result.attainment(slo))
        words.append(f"Target {slo.label} {result.verdict}: {in_time} in time.")
    words += map(name_fields, result.warnings)
    known = result.record if isinstance(result, Run) else result
    if known.past_errors:
        words.append(f"{str(known.past_errors)[:1].upper()}{str(known.past_errors)[1:]}.")
    if isinstance(result, Run) and result.record.kept:
        words.append(f"Kept: wb.load_run({result.record.kept!r}).")
    return " ".join(words)


def _head(result: Result, *, stopped: bool) -> str:
    if isinstance(result, Prediction):
        return f"Predicted by {result.formula}"
    done = "Stopped" if stopped else "Simulated" if result.origin == "simulated" else "Finished"
    return f"{done}: {len(result):,} requests"
