"""The planner with buttons: what to deploy and how to batch, why, and what was nearly chosen."""

import html
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import ipywidgets
import traitlets

from workbench.errors import Stopped, WorkbenchError
from workbench.formatting import Table, milliseconds
from workbench.planner.options import Options
from workbench.planner.plans import Candidate, Plan
from workbench.planner.search import Measured, plan
from workbench.plots.plans import plot_plan
from workbench.quantiles import SLO
from workbench.registry.model import Model
from workbench.traffic.trace import Trace
from workbench.widgets.notebook import Keyboard, Status, await_finish, run_in_background
from workbench.widgets.run_panel import FLUSH_INTERVAL, LiveProgress
from workbench.widgets.saved_output import SavedOutput
from workbench.widgets.tables import frame_table

if TYPE_CHECKING:
    import polars as pl

_MAX_NEAR_MISSES = 6  # near misses that are shown


class PlanView(SavedOutput, ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Plan and Stop; `value` is the latest `Plan`, of which winner, reason and chart are shown.

    Planning goes on in a thread of its own. `running` tells whether it does, and `error` why it
    came to nothing, "" when it did not. A saved notebook still shows the plan without a kernel.

    Args:
        source: A model, or service times, as `workbench.plan` takes it.
        trace: The traffic.
        slo: The target.
        options: What to choose from.
        take: Called with the plan when its winner is to be taken over; None: no button for that.
        clock: Gives seconds.
    """

    value = traitlets.Any(None, allow_none=True, read_only=True)
    error = traitlets.Unicode("", read_only=True)
    running = traitlets.Bool(default_value=False, read_only=True)

    def __init__(
        self,
        source: Model | Measured | None = None,
        trace: Trace | None = None,
        slo: SLO | None = None,
        options: Options | None = None,
        *,
        on_apply: Callable[[Plan], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_apply, self._clock = on_apply, clock
        self._live, self._last_update = LiveProgress(clock), 0.0
        self._finished = threading.Event()
        self._finished.set()
        self._make_plan: Callable[[LiveProgress], Plan] | None = None
        self.plan_button = ipywidgets.Button(description="Find a plan", button_style="primary")
        self.stop_button = ipywidgets.Button(description="Stop", disabled=True)
        self.apply_button = ipywidgets.Button(description="Use this plan", disabled=True)
        self.bar = ipywidgets.IntProgress(layout=ipywidgets.Layout(width="160px"))
        self.figures, self.found = ipywidgets.HTML(), ipywidgets.HTML()
        self.chart = ipywidgets.HTML(
            layout=ipywidgets.Layout(overflow="auto hidden", max_width="100%")
        )
        self.status = Status()
        self.plan_button.on_click(lambda _: self.start())
        self.stop_button.on_click(lambda _: self.stop())
        self.apply_button.on_click(lambda _: self.take())
        buttons = [self.plan_button, self.stop_button, *([self.apply_button] if on_apply else [])]
        row = ipywidgets.Box(
            [*buttons, self.bar, self.figures],
            layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center"),
        )
        super().__init__([row, self.status, self.found, self.chart, Keyboard()])
        self.add_class("wb")
        self.add_class("wb-results")
        if source is None or trace is None or slo is None:
            self.withdraw("A plan takes a model, traffic and a target.")
        else:
            self.offer(source, trace, slo, options)

    def offer(
        self, source: Model | Measured, trace: Trace, slo: SLO, options: Options | None = None
    ) -> None:
        """Have the button plan for these from now on."""

        def make_plan(live: LiveProgress) -> Plan:
            return plan(source, trace, slo, options, progress=self._report_progress(live))

        self._make_plan = make_plan
        self._ready("Ready.")

    def withdraw(self, reason: str) -> None:
        """Have nothing to plan for, and say why."""
        self._make_plan = None
        self._ready(reason)

    def start(self) -> None:
        """Begin to plan, unless that goes on already or there is nothing to plan for."""
        make_plan = self._make_plan
        if self.running or make_plan is None:
            return
        self._live = LiveProgress(self._clock)
        self.set_trait("running", True)  # noqa: FBT003 - a trait's value
        self.stop_button.disabled = False
        self.plan_button.disabled = self.apply_button.disabled = True
        self.status.say("Planning; the first time, how long batches take is measured.")
        self._finished.clear()
        run_in_background(self._run_to_end, make_plan, self._live)

    def stop(self) -> None:
        """Ask the planning to end; the plan before it stays."""
        if self.running:
            self._live.stopped.set()
            self.status.say("Stopping.")

    def wait(self, timeout: float | None = None) -> Plan | None:
        """Return `value` when the planning has ended, or after `timeout` seconds.

        Ctrl-C, and so the interrupt button of a notebook, ends the planning as Stop does.
        """
        await_finish(self._finished, self.stop, timeout)
        found: Plan | None = self.value
        return found

    def take(self) -> None:
        """Take the winner over to where it can be simulated and run."""
        if self._on_apply is None or self.value is None:
            return
        self._on_apply(self.value)
        self.status.say(
            f"Taken over: {self.value.best.label}.{_describe_missing_controls(self.value.best)}"
        )

    def _report_progress(self, live: LiveProgress) -> Callable[[int, int], None]:
        """Return what learns of progress, and shows it a few times a second at most."""

        def progress(done: int, total: int) -> None:
            live.go_on(done, total)
            now = self._clock()
            if done == total or now - self._last_update >= FLUSH_INTERVAL:
                self._last_update = now
                self.bar.max, self.bar.value = max(total, 1), done
                self.figures.value = f"{done:,} of {total:,}"

        return progress

    def _run_to_end(self, make_plan: Callable[[LiveProgress], Plan], live: LiveProgress) -> None:
        try:
            self._find(make_plan, live)
        finally:
            self._finished.set()

    def _find(self, make_plan: Callable[[LiveProgress], Plan], live: LiveProgress) -> None:
        words, error = "", ""
        try:
            found = make_plan(live)
            self._draw(found)
            self.set_trait("value", found)
            words = " ".join([found.effort, *found.notes])
        except Stopped:
            words = "Stopped: the plan before stays, where there was one."
        except WorkbenchError as failure:
            error = str(failure)
        except Exception as failure:  # noqa: BLE001 - whatever failed has to be said, not lost
            error = f"{type(failure).__name__}: {failure}"
        self.set_trait("error", error)
        self.set_trait("running", False)  # noqa: FBT003 - a trait's value
        self._ready(words or error, wrong=bool(error))

    def _ready(self, words: str, *, wrong: bool = False) -> None:
        """Enable what can be pressed, then disable Stop, and say this."""
        if self.running:
            return
        self.plan_button.disabled = self._make_plan is None
        self.apply_button.disabled = self.value is None
        self.stop_button.disabled = True
        self.status.say(words, wrong=wrong or self._make_plan is None)

    def _draw(self, found: Plan) -> None:
        chart = plot_plan(found).image()
        self.found.value, self.chart.value = plan_tables(found), chart
        self.keep(self.found.value + chart)


def plan_tables(found: Plan) -> str:
    """Return a plan's winner and reason, near misses, and the best of each type, as HTML."""
    quantile = f"p{100 * found.slo.quantile:g}"
    near = _rows(found.frame.slice(1, _MAX_NEAR_MISSES))
    columns = ["type", "deployment and policy", quantile, "$ per million", "other days", "why"]
    word = "Winner" if found.feasible else "Nothing meets the target; the nearest"
    winner = f"<p><strong>{word}</strong>: {html.escape(found.label)}.</p>"
    misses = frame_table(Table(columns, near, "Near misses")) if near else ""
    best = frame_table(Table(columns, _rows(found.by_kind), "The best of each type"))
    return winner + misses + best


def _rows(candidates: "pl.DataFrame") -> list[list[object]]:
    chosen = candidates.select(
        "kind", "deployment", "policy", "latency", "cost_per_million", "unseen", "reason"
    )
    return [
        [kind, f"{place}, {policy}", milliseconds(latency), cost, unseen or "not tried", reason]
        for kind, place, policy, latency, cost, unseen, reason in chosen.iter_rows()
    ]


def _describe_missing_controls(best: Candidate) -> str:
    """Return what of a winner the pickers do not hold."""
    if best.scaling is None:
        return ""
    return " It also changes its size, which a simulation here does not."
