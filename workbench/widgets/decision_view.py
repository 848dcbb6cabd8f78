"""The answer first: which inference type, what it costs a month, and the picture of both."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import ipywidgets
import traitlets

from workbench.formatting import dollars
from workbench.planner.options import Options
from workbench.plots.figure import Figure
from workbench.quantiles import SLO
from workbench.registry.model import Model
from workbench.traffic.trace import Trace
from workbench.widgets.chart_view import ChartView, Datum
from workbench.widgets.form import button, choice, keep_in_order, progress_bar, show, side_by_side
from workbench.widgets.last_decision import ShownDecision, keep_shown, key_of, recall_shown
from workbench.widgets.notebook import (
    Keyboard,
    Status,
    await_finish,
    describe_failure,
    run_in_background,
)
from workbench.widgets.saved_output import SavedOutput
from workbench.widgets.tables import fold_notes, frame_table

if TYPE_CHECKING:
    import polars as pl

    from workbench.planner.candidates import Configuration
    from workbench.planner.decisions import Decision, DecisionRow, Today
    from workbench.planner.service_sources import Measured

CODE = """decision = wb.decide(model, trace, slo, today=(deployment, policy))
plot_decision(decision)  # of workbench.plots"""
"""What the view does, as code."""

_HEIGHT = 230  # of the plot: with the sentence above it, it is seen without scrolling
_FIRST_REQUESTS = 20_000  # a first look takes no more of a trace
_FIRST_FINALISTS = 4  # and simulates no more of a type
_BY_COST, _BY_TRAFFIC = "Cost and latency", "Break-even by traffic"
_USE_WINNER = "Use the winner"
Check = Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class _DecisionRequest:
    """What is to be decided."""

    source: Model | Measured
    trace: Trace
    slo: SLO
    options: Options
    today: Today | None

    @cached_property
    def key(self) -> str:
        """A name for the question about a model; "" where it is about service times."""
        if not isinstance(self.source, Model):
            return ""
        parts = self.source.sha256, self.trace.digest, self.slo, self.options, self.today
        return key_of(parts)

    def repeats(self, other: _DecisionRequest) -> bool:
        """Return whether the other is the same question about the same model."""
        return self.key == other.key != "" and self.source == other.source

    def shorten(self) -> _DecisionRequest:
        """Return what a first look answers: fewer simulations, of the first requests only."""
        options = replace(
            self.options, unseen_draws=0, finalists=min(self.options.finalists, _FIRST_FINALISTS)
        )
        trace = self.trace
        if len(trace) > _FIRST_REQUESTS:
            trace = trace.clip(0.0, float(trace.arrivals[_FIRST_REQUESTS]))
        return replace(self, options=options, trace=trace)

    def answer(self, progress: Callable[[int, int], None]) -> Decision:
        """Return the decision."""
        from workbench.planner.decisions import decide

        return decide(
            self.source, self.trace, self.slo, self.options, today=self.today, progress=progress
        )


class DecisionView(SavedOutput, ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """The winner in a sentence over its picture; `value` is the latest `Decision`.

    What is offered is decided in a thread: a first look, then the whole of it; a later offer makes
    the former void. A click on a point, or a button, hands its configuration to `on_apply`.

    Args:
        on_apply: Called with the `Configuration` that is to be taken over; None: no buttons.
    """

    value = traitlets.Any(None, allow_none=True, read_only=True)
    error = traitlets.Unicode("", read_only=True)
    running = traitlets.Bool(default_value=False, read_only=True)
    code = CODE

    def __init__(self, *, on_apply: Callable[[Configuration], object] | None = None) -> None:
        self._on_apply = on_apply
        self._lock = threading.Lock()
        self._wanted: _DecisionRequest | None = None
        self._answered: _DecisionRequest | None = None
        self._costs: pl.DataFrame | None = None  # by rate, of `value`
        self._finished = threading.Event()
        self._finished.set()
        self.sentence, self.caption, self.table = (ipywidgets.HTML() for _ in range(3))
        self.bar = progress_bar("240px")
        self.status = Status()
        self.chart = ChartView(on_pick=self._pick, with_title=False, height=_HEIGHT)
        self.shown = keep_in_order(
            ipywidgets.ToggleButtons(
                options=[_BY_COST, _BY_TRAFFIC],
                style={"button_width": "auto"},
                tooltips=[
                    "A point an inference type: what it costs a month, and how fast it is",
                    "What each inference type costs a month as traffic grows",
                ],
            )
        )
        self.shown.observe(self._switch, "value")
        about = "Fill the form with what the sentence above names"
        self.winner_button = button(_USE_WINNER, about, "primary")
        about = "The best of each inference type, and what is chosen today"
        self.rows = choice("Or another", [], None, about)
        self.rows.style.description_width = "auto"
        self.rows.layout = ipywidgets.Layout(flex="1 1 0", min_width="240px")
        self.use_button = button("Use this", "Fill the form with what is selected beside it")
        self.winner_button.on_click(lambda _: self._take_row(self.value and self.value.winner))
        self.use_button.on_click(lambda _: self._take_row(self.rows.value))
        buttons = [self.winner_button, self.rows, self.use_button] if on_apply else []
        take = side_by_side(*buttons, align_items="center")
        self._found = ipywidgets.VBox([self.shown, self.chart, self.caption, take, self.table])
        show(self._found, shown=False)
        super().__init__([self.sentence, self.bar, self._found, self.status, Keyboard()])
        for name in ("wb-decision", "wb", "wb-results"):
            self.add_class(name)

    def offer(
        self,
        source: Model | Measured,
        trace: Trace,
        slo: SLO,
        options: Options | None = None,
        *,
        today: Today | None = None,
    ) -> None:
        """Decide this from now on; what is under way for another question is given up.

        A model's question that is decided already, or is about to be, is not decided again.
        """
        options = Options() if options is None else options
        asked = _DecisionRequest(source=source, trace=trace, slo=slo, options=options, today=today)
        if self._wanted is not None and asked.repeats(self._wanted) and not self.error:
            return
        self._wanted = asked
        self._start()

    def withdraw(self, reason: str) -> None:
        """Decide nothing, and say why; what was decided before stays in view."""
        self._wanted = self._answered = None
        self.status.say(reason)

    def wait(self, timeout: float | None = None) -> Decision | None:
        """Return `value` when nothing is under way any more, or after `timeout` seconds."""
        await_finish(self._finished, lambda: self.withdraw("Stopped."), timeout)
        found: Decision | None = self.value
        return found

    def take(self, configuration: Configuration) -> None:
        """Hand a configuration to whoever holds the form."""
        if self._on_apply is not None:
            self._on_apply(configuration)
            label = f"{configuration.place}, {configuration.batching_label}"
            self.status.say(f"Taken over into the form: {label}.")

    def _start(self) -> None:
        """Have a thread at work; one that is so already sees for itself what is asked."""
        with self._lock:
            if self.running:
                return
            self._finished.clear()
            self.set_trait("running", True)  # noqa: FBT003 - a trait's value
        run_in_background(self._work)

    def _work(self) -> None:
        while True:
            with self._lock:
                asked, step = self._wanted, self._next_step()
                if step is None:
                    self.set_trait("running", False)  # noqa: FBT003 - a trait's value
                    self._finished.set()
                    return
            try:
                step(partial(self._check, asked))
            except _LaterOffer:
                continue
            except Exception as failure:  # noqa: BLE001 - a thread's failure reaches nobody
                words = describe_failure(failure)
                self.set_trait("error", words)
                self.status.say(words, wrong=True)

    def _check(self, asked: _DecisionRequest | None, _done: int = 0, _total: int = 0) -> None:
        """End work whose question is not asked any more; called as a progress is."""
        if self._wanted is not asked:
            raise _LaterOffer

    def _next_step(self) -> Callable[[Check], None] | None:
        if self._wanted is not None and self._wanted is not self._answered:
            self._answered = self._wanted
            return partial(self._decide, self._wanted)
        if self.shown.value == _BY_TRAFFIC and self.value is not None and self._costs is None:
            return partial(self._break_even, self.value)
        return None

    def _decide(self, asked: _DecisionRequest, check: Check) -> None:
        """Show the last decision or a first look, then the whole decision."""
        self.status.say("Deciding.")
        last = self._recall(asked)
        self._measure(asked, check)
        if last is None:
            self._present(asked.shorten().answer(check), check)
            self.status.say("A first look. Now with all requests, and tried on other days.")
        found = asked.answer(check)
        self._present(found, check)
        self.status.say(found.plan.effort)
        if asked.key and self.shown.value == _BY_COST:
            words = {name: control.value for name, control in self._kept_parts.items()}
            keep_shown(asked.key, ShownDecision(spec=self.chart.spec, **words))

    def _recall(self, asked: _DecisionRequest) -> ShownDecision | None:
        """Show what the same question came to the last time, where nothing is shown yet."""
        last = recall_shown(asked.key) if self.value is None and asked.key else None
        if last is not None:
            for name, control in self._kept_parts.items():
                control.value = getattr(last, name)
            show(self._found, shown=True)
            self.chart.show_spec(last.spec)
            self.status.say("As it was decided last time; deciding again.")
        return last

    @property
    def _kept_parts(self) -> dict[str, ipywidgets.HTML]:
        return {"sentence": self.sentence, "caption": self.caption, "table": self.table}

    def _measure(self, asked: _DecisionRequest, check: Check) -> None:
        """Have the profile of a model, with a bar while it is measured."""

        def progress(done: int, total: int) -> None:
            check(done, total)
            self.bar.max, self.bar.value = total, done
            show(self.bar, shown=True)
            words = "Measuring how long batches take, once for this model and machine"
            self.status.say(f"{words}: {done} of {total}.")

        try:
            if isinstance(asked.source, Model):
                from workbench.planner.service_sources import load_profile

                options, _ = asked.options.spare(asked.source)
                load_profile(asked.source, asked.trace, options, progress)
        finally:
            show(self.bar, shown=False)

    def _break_even(self, found: Decision, check: Check) -> None:
        """Show what each type costs as traffic grows: a first look, then rate by rate."""
        from workbench.planner.break_even import break_even

        self.status.say("Planning for a hundredth of the traffic to ten times as much.")
        costs = break_even(replace(found.plan.task, days=None), None)
        check()
        self._draw_costs(costs)
        rates = costs["rate"].unique().sort().to_list()
        for done, rate in enumerate(rates):
            self.status.say(f"A first look. Tried on other days: {done} of {len(rates)} rates.")
            better = found.plan.break_even([rate])
            check()
            if self.shown.value != _BY_TRAFFIC or self.value is not found:
                return
            costs = costs.filter(costs["rate"] != rate).vstack(better.select(costs.columns))
            costs = costs.sort("rate", maintain_order=True)
            self._draw_costs(costs)
        self._costs = costs
        self.status.say("Each rate is planned for as the present one.")

    def _present(self, found: Decision, check: Check) -> None:
        """Show a decision, unless another question came meanwhile."""
        from workbench.plots.decision import plot_decision

        figure = plot_decision(found)
        check()
        more = f"<p>{html.escape(found.today_sentence)}</p>" if found.today_sentence else ""
        sentence = f'<p class="wb-sentence">{html.escape(found.sentence)}</p>{more}'
        table = frame_table(replace(found.table(), caption="Simulated."), "Decision")
        self._costs, self.sentence.value = None, sentence
        words = "As a table, and what it takes for granted"
        made_of = " ".join(filter(None, (found.cost_sentence, found.batching_sentence)))
        about = f"<p>{html.escape(made_of)}</p>" if made_of else ""
        self.table.value = about + fold_notes(found.notes, words, table)
        self.rows.options = [(_describe(row), row) for row in found.rows if not row.winner]
        self.rows.value = next((row for _, row in self.rows.options), None)  # the runner-up
        show(self._found, shown=True)
        self.winner_button.description = _USE_WINNER if found.feasible else "Use the nearest"
        self.winner_button.button_style = "primary" if found.feasible else ""
        if self.shown.value == _BY_COST:
            self._draw(figure)
        self.set_trait("error", "")
        self.set_trait("value", found)
        self.keep(sentence + about + table)

    def _draw(self, figure: Figure) -> None:
        self.chart.figure = figure
        self.caption.value = f'<p class="wb-caption">{html.escape(figure.subtitle[-1])}</p>'

    def _draw_costs(self, costs: pl.DataFrame) -> None:
        from workbench.plots.plans import plot_break_even

        figure = plot_break_even(costs, per="month")
        if self.shown.value == _BY_TRAFFIC:
            self._draw(figure)

    def _switch(self, _change: object = None) -> None:
        """Draw the view that is asked for, once it is known."""
        from workbench.plots.decision import plot_decision

        if self.value is None:
            return
        if self.shown.value == _BY_COST:
            self._draw(plot_decision(self.value))
        elif self._costs is not None:
            self._draw_costs(self._costs)
        else:
            self._start()

    def _pick(self, datum: Datum) -> None:
        """Take over what a point stands for, where it is planned for this traffic."""
        names = [str(datum.get(name, "")) for name in ("run", "deployment", "policy")]
        found = self.value.find(*names) if self.value else None
        if found is not None:
            self.take(found)

    def _take_row(self, row: DecisionRow | None) -> None:
        if row is not None:
            self.take(row.configuration)


class _LaterOffer(Exception):
    """Another question has come."""


def _describe(row: DecisionRow) -> str:
    cost = f"{dollars(row.cost_per_month)} a month, " if row.possible else ""
    return f"{'today: ' if row.today else ''}{row.label}: {cost}target {row.verdict.word}"
