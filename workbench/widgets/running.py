"""Run and Stop: work in the background, and what is known of it while it goes on."""

import contextvars
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait

import ipywidgets
import numpy as np
import traitlets
from numpy.typing import ArrayLike, NDArray

from workbench.errors import TooFewSamples, WorkbenchError
from workbench.run import Run
from workbench.widgets.notebook import Keyboard, Status
from workbench.wording import milliseconds

FLUSH_EVERY = 0.2
"""Seconds between updates of the page: a notebook server drops messages when they are too many."""

_SAMPLES_ABOVE = 10  # as Run.quantile asks for


class Live:
    """What a run under way has told: filled by the thread that runs it, read by another.

    `stopped` is set when the run is to end early.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.stopped = threading.Event()
        self.done = 0
        self.total = 0
        self._clock = clock
        self._began = (math.nan, 0)
        self._latencies: list[NDArray[np.float64]] = []

    def progress(self, done: int, total: int) -> None:
        """Learn how many requests are over and done with, of how many."""
        if not self.total:
            self._began = (self._clock(), done)
        self.done, self.total = done, total

    def add(self, latencies: ArrayLike) -> None:
        """Learn the latencies of some more requests: seconds, NaN where they failed."""
        self._latencies.append(np.asarray(latencies, float))

    def quantile(self, q: float) -> float | None:
        """Return a quantile of the latencies so far, None where they are too few to tell it.

        Infinite when it falls among the failed requests.
        """
        parts = len(self._latencies)
        known = np.concatenate([np.empty(0), *self._latencies[:parts]])
        self._latencies[:parts] = [known]
        rank = math.ceil(q * len(known) - 1e-9)
        if len(known) - rank < _SAMPLES_ABOVE:
            return None
        latency = float(np.partition(known, rank - 1)[rank - 1])  # NaN comes last
        return math.inf if math.isnan(latency) else latency

    def words(self) -> str:
        """Return progress, pace and percentiles so far as text."""
        if not self.total:
            return ""
        percentiles = [
            f"p{100 * q:g} {milliseconds(latency)}"
            for q in (0.5, 0.95)
            if (latency := self.quantile(q)) is not None
        ]
        return " · ".join([f"{self.done:,} of {self.total:,}", *self._pace(), *percentiles])

    def _pace(self) -> list[str]:
        began, before = self._began
        elapsed = self._clock() - began
        if elapsed <= 0 or self.done == before:
            return []
        rate = (self.done - before) / elapsed
        left = (self.total - self.done) / rate
        return [f"{rate:,.0f} per second", *([f"about {left:.0f} s left"] if left >= 1 else [])]


Work = Callable[[Live], Run]
"""What a panel runs; it tells the `Live` how it goes and ends early when that is stopped."""


class RunPanel(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Run and Stop for work that goes on in a thread of its own; `value` is its latest `Run`.

    `running` tells whether it goes on and `error` why it failed, "" when it did not. The page is
    updated five times a second at most, and always at the end.

    Args:
        work: What Run does; None disables Run until `offer` gives it something to do.
        reason: Why there is nothing to do.
        flush_every: Seconds between updates of the page.
        clock: Gives seconds, for pace and time left.
    """

    value = traitlets.Instance(Run, allow_none=True, read_only=True)
    error = traitlets.Unicode("", read_only=True)
    running = traitlets.Bool(default_value=False, read_only=True)

    def __init__(
        self,
        work: Work | None = None,
        *,
        reason: str = "",
        flush_every: float = FLUSH_EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._flush_every = flush_every
        self._clock = clock
        self._live = Live(clock)
        self._settling = threading.Lock()  # a new offer and the end of a run may coincide
        self._thread: threading.Thread | None = None
        self.run_button = ipywidgets.Button(description="Run", button_style="primary")
        self.stop_button = ipywidgets.Button(description="Stop", disabled=True)
        self.bar = ipywidgets.IntProgress(layout=ipywidgets.Layout(width="160px"))
        self.figures = ipywidgets.HTML()
        self.status = Status()
        self.run_button.on_click(lambda _: self.start())
        self.stop_button.on_click(lambda _: self.stop())
        row = ipywidgets.Box(
            [self.run_button, self.stop_button, self.bar, self.figures],
            layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center"),
        )
        super().__init__([row, self.status, Keyboard()])
        self.add_class("wb")
        self.offer(work, reason)

    def offer(self, work: Work | None, reason: str = "") -> None:
        """Have Run do this work from now on; None disables it and shows the reason."""
        with self._settling:
            self._work, self._reason = work, reason
            if not self.running:
                self.run_button.disabled = work is None
                self.status.say(reason if work is None else "Ready.", wrong=work is None)

    def start(self) -> None:
        """Begin the work, unless it goes on already or there is none."""
        work = self._work
        if self.running or work is None:
            return
        self._live = Live(self._clock)
        self._switch(running=True)
        self._show(self._live)
        self.status.say("Preparing: the model is being loaded.")
        # Widgets' messages find their cell by context variables: ipykernel 7 needs them copied.
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._attend, work, self._live), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Ask the work to end; what it has found out until then is kept."""
        if self.running:
            self._live.stopped.set()
            self.status.say("Stopping.")

    def wait(self, timeout: float | None = None) -> Run | None:
        """Return `value` when the work has ended, or after `timeout` seconds."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self.value

    def _attend(self, work: Work, live: Live) -> None:
        """Show how the work goes while another thread does it, and then what came of it."""
        outcome: Future[Run] = Future()
        threading.Thread(target=_do, args=(work, live, outcome), daemon=True).start()
        while not wait([outcome], timeout=self._flush_every).done:
            self._show(live)
        self._show(live)
        try:
            words, error = self._keep(outcome.result(), live), ""
        except BaseException as failure:  # noqa: BLE001 - whatever failed has to be said, not lost
            known = isinstance(failure, WorkbenchError)
            words = error = str(failure) if known else f"{type(failure).__name__}: {failure}"
        self.set_trait("error", error)
        with self._settling:
            reason = "" if self._work else f" {self._reason}"
            self.status.say(words + reason, wrong=bool(error or reason))
            self._switch(running=False)

    def _keep(self, run: Run, live: Live) -> str:
        """Make the run the value, of which charts are drawn, and return what came of it."""
        if not len(run):
            return "Stopped before any request was answered: nothing is kept."
        self.status.say("Drawing the charts.")
        self.set_trait("value", run)
        return verdict(run, stopped=live.stopped.is_set())

    def _show(self, live: Live) -> None:
        if live.total and not live.stopped.is_set():
            self.status.say("Running.")
        self.bar.max, self.bar.value = max(live.total, 1), live.done
        self.figures.value = live.words()

    def _switch(self, *, running: bool) -> None:
        """Enable one button, then disable the other, whose focus goes to the first."""
        self.set_trait("running", running)
        if running:
            self.stop_button.disabled = False
            self.run_button.disabled = True
        else:
            self.run_button.disabled = self._work is None
            self.stop_button.disabled = True


def _do(work: Work, live: Live, outcome: "Future[Run]") -> None:
    try:
        outcome.set_result(work(live))
    except BaseException as error:  # noqa: BLE001 - a thread's failure reaches nobody otherwise
        outcome.set_exception(error)


def verdict(run: Run, *, stopped: bool) -> str:
    """Return in words how a run went: percentile, target, and what to know about its figures.

    >>> verdict(Run.from_arrays(scheduled=[0.0] * 200, finished=[0.004] * 200), stopped=False)
    'Finished: 200 requests, p95 4 ms.'
    """
    slo = run.slo
    quantile = slo.quantile if slo else 0.95
    words = [f"{'Stopped' if stopped else 'Finished'}: {len(run):,} requests"]
    try:
        words[0] += f", p{100 * quantile:g} {milliseconds(run.quantile(quantile))}."
    except TooFewSamples as error:
        words = [f"{words[0]}.", str(error)]
    if slo:
        share = run.attainment()
        met = "met" if share >= slo.quantile else "missed"
        in_time = math.floor(1000 * share + 1e-9) / 10  # one late request is not 100 % in time
        words.append(f"Target {slo.label} {met}: {in_time:g} % in time.")
    return " ".join([*words, *run.warnings])
