"""Which model, with buttons: needs as controls, weights as sliders, and why one is first."""

import html
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import ipywidgets

from workbench.errors import InvalidInput
from workbench.formatting import Table, dollars, duration
from workbench.planner.options import Options
from workbench.progress import Progress
from workbench.quantiles import SLO
from workbench.registry.api import Registry
from workbench.selection.needs import Bounds, at_least, at_most, describe_need
from workbench.selection.search import select
from workbench.selection.selections import Selection
from workbench.traffic.trace import Trace
from workbench.widgets.form import choice, number, slider, text
from workbench.widgets.pickers import Picker
from workbench.widgets.search_view import SearchView, wide_chart
from workbench.widgets.tables import fold_notes, frame_table

CRITERIA = ("accuracy", "latency", "cost")
_MAX_ROWS = 12  # candidates that are shown
_NEED = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|=)\s*(.+?)\s*")
_TRUTH = {"true": True, "false": False}


class NeedsPicker(Picker):
    """What a model must be; `value` holds `needs` and `budget`, as `workbench.select` takes them.

    One of `tasks`, at first `task`, is what the model is for.
    """

    def __init__(self, tasks: Sequence[str], task: str = "") -> None:
        chosen = task if task in tasks else next(iter(tasks), "")
        controls = {
            "task": choice("Task", list(tasks) or [""], chosen, "What the models are for."),
            "accuracy": number("Least accuracy", 0.0, "Share of right answers it must have."),
            "budget": text("Most $ a million", "", "any", "What a million requests may cost."),
            "others": text(
                "Other traits",
                "",
                "size_bytes<=1e6",
                "More that a model must have: size_bytes<=1e6, licence=MIT.",
            ),
        }
        super().__init__("Needs", controls)

    def offer(self, tasks: Sequence[str], task: str) -> None:
        """Have these tasks to choose from, and this one chosen."""
        control = self["task"]
        if list(control.options) != list(tasks):
            control.options = list(tasks)
        if task in tasks:
            control.value = task

    def _make(self) -> dict[str, Any]:
        needs: dict[str, Any] = {"task": self["task"].value} if self["task"].value else {}
        least = self["accuracy"].value
        if least > 1:
            raise InvalidInput(f"accuracy must be a share of 1 at most, got {least:g}.")
        if least > 0:
            needs["accuracy"] = at_least(least)
        entered = self["budget"].value.strip().lstrip("$")
        return {
            "needs": needs | read_needs(self["others"].value),
            "budget": _amount("budget", entered) if entered else None,
        }

    def _describe(self, value: dict[str, Any]) -> str:
        needs = [describe_need(name, need) for name, need in value["needs"].items()]
        budget = value["budget"]
        needs += [] if budget is None else [f"at most {dollars(budget)} a million requests"]
        return f"Wanted: {', '.join(needs)}." if needs else "Any model will do."


def read_needs(entered: str) -> dict[str, Any]:
    """Return needs written as traits and limits: "size_bytes<=1e6, licence=MIT".

    Raises:
        InvalidInput: A part is not so written.

    >>> read_needs("size_bytes<=1e6, licence=MIT, reading_age=12")
    {'size_bytes': Bounds(low=None, high=1000000.0), 'licence': 'MIT', 'reading_age': 12.0}
    """
    needs: dict[str, Any] = {}
    for part in filter(str.strip, entered.split(",")):
        match = _NEED.fullmatch(part)
        if match is None:
            raise InvalidInput(
                f"others must be traits with =, <= or >= and a value, with commas between; "
                f"got {part.strip()!r}."
            )
        name, sign, value = match.groups()
        if sign == "=":
            needs[name] = _read_value(value)
        else:
            limit = _amount("others", value)
            needs[name] = _join(needs.get(name), (at_most if sign == "<=" else at_least)(limit))
    return needs


def _join(one: object, other: Bounds) -> Bounds:
    if not isinstance(one, Bounds):
        return other
    low, high = (one.low if other.low is None else other.low), other.high
    return Bounds(low=low, high=one.high if high is None else high)


def _read_value(entered: str) -> bool | float | str:
    if entered.lower() in _TRUTH:
        return _TRUTH[entered.lower()]
    try:
        return float(entered)
    except ValueError:
        return entered


def _amount(name: str, entered: str) -> float:
    try:
        return float(entered)
    except ValueError:
        raise InvalidInput(f"{name} must be a number there, got {entered!r}.") from None


class SelectionView(SearchView[Selection]):
    """Needs, sliders of weights and a search; `value` is the latest `Selection`.

    Moving a slider says at once who is first by the new weights, without another search. `on_apply`
    is called with the selection when its winner is to be taken over.
    """

    kind = "selection"

    def __init__(
        self, registry: Registry, *, on_apply: Callable[[Selection], object] | None = None
    ) -> None:
        self._registry = registry
        self._question: Callable[[], Mapping[str, Any]] | None = None
        self.needs = NeedsPicker([])
        self.weights = {name: _weight(name) for name in CRITERIA}
        sliders = ipywidgets.VBox(
            [ipywidgets.HTML("<strong>What counts</strong>"), *self.weights.values()]
        )
        self.found, self.chart, self.regions = ipywidgets.HTML(), wide_chart(), wide_chart()
        layout = ipywidgets.Layout(
            grid_template_columns="repeat(auto-fit, minmax(min(100%, 250px), 1fr))",
            grid_gap="0 24px",
        )
        super().__init__(
            find="Find a model",
            apply="Use this one",
            doing="Selecting.",
            on_apply=on_apply,
            above=(ipywidgets.GridBox([self.needs, sliders], layout=layout),),
            below=(self.found, self.regions, self.chart),
        )
        self.needs.observe(self._renew, ["value", "error"])
        for each in self.weights.values():
            each.observe(self._weigh, "value")
        self.withdraw("A selection takes traffic and a target.")

    @property
    def shares(self) -> dict[str, float]:
        """The weights that are above 0."""
        return {name: each.value for name, each in self.weights.items() if each.value > 0}

    def offer(self, task: str, trace: Trace, slo: SLO, options: Options | None = None) -> None:
        """Have the button select for this traffic and target from now on."""
        models = self._registry.models()
        self.needs.offer(sorted({each.traits.task for each in models}), task)
        self._question = lambda: {"trace": trace, "slo": slo, "options": options}
        self._renew()

    def withdraw(self, reason: str) -> None:
        """Have nothing to select for, and say why."""
        self._question = None
        super().withdraw(reason)

    def _renew(self, _change: object = None) -> None:
        """Have the button search by what the controls hold now, or say what is wrong."""
        if self._question is None:
            return
        if self.needs.error:
            super().withdraw(f"Needs: {self.needs.error}")
            return
        self.search_by(partial(self._select, {**self._question(), **self.needs.value}))

    def _select(self, question: Mapping[str, Any], progress: Progress) -> Selection:
        task = question["needs"].get("task")
        models = [each for each in self._registry.models() if each.traits.task == task]
        weights = self._read_weights()
        return select(models, weights=weights, progress=progress, doing=self.begin, **question)

    def _read_weights(self) -> dict[str, float]:
        if not self.shares:
            raise InvalidInput("All weights are 0: move a slider, so that something counts.")
        return self.shares

    def _weigh(self, _change: object = None) -> None:
        """Show who is first by what the sliders say now."""
        if self.value is None or self.running:
            return
        try:
            found = self.value.weigh(self._read_weights())
        except InvalidInput as error:
            self.status.say(str(error), wrong=True)
            return
        self.draw(found)
        self.set_trait("value", found)
        self.status.say(self.describe(found))

    def describe(self, found: Selection) -> str:
        """Return what deciding took."""
        return found.effort

    def describe_taken(self, found: Selection) -> str:
        """Return the winner."""
        return f"{found.best.name}."

    def take(self) -> None:
        """Take the winner over, where anything passes."""
        if self.value is not None and not self.value.feasible:
            self.status.say("Nothing passes: there is no model to take over.", wrong=True)
            return
        super().take()

    def draw(self, found: Selection) -> None:
        """Show winner, sentences, who is first by which weights, and accuracy against cost."""
        self.found.value = selection_tables(found)
        self.regions.value = found.regions_chart().image() if found.feasible else ""
        try:
            self.chart.value = found.chart().image()
        except InvalidInput:  # nothing has both an accuracy and a cost: the table says so
            self.chart.value = ""
        self.keep(self.found.value + self.regions.value + self.chart.value)


def _weight(name: str) -> ipywidgets.FloatSlider:
    return slider(
        name.capitalize(),
        f"How much {name} counts, beside the others.",
        value=1.0,
        min=0.0,
        max=1.0,
        step=0.05,
        continuous_update=False,
        readout_format=".2f",
    )


def selection_tables(found: Selection) -> str:
    """Return a selection's winner and reason, its candidates, and what would change it, as HTML."""
    words = "".join(f"<li>{html.escape(flip.sentence)}</li>" for flip in found.flips)
    changes = f"<p>What would change it:</p><ul>{words}</ul>" if words else ""
    titles = ["model", "where", "state", "accuracy", "in time and right"]
    titles += [found.question.slo.percentile, "$ a month", "$ a million"]
    table = frame_table(Table(titles, _rows(found), "Candidates, the winner first"))
    whys = fold_notes(found.table["sentence"].head(_MAX_ROWS)[1:], "Why the others are behind")
    return f"<p><strong>{html.escape(found.sentence)}</strong></p>{table}{whys}{changes}"


def _rows(found: Selection) -> list[list[object]]:
    shown = found.table.head(_MAX_ROWS).select(
        *("candidate", "inference_type", "deployment", "state", "accuracy", "effective_accuracy"),
        *("latency", "cost_per_month", "cost_per_million"),
    )
    return [
        [
            *(model, where or kind or "any", state),
            *("unknown" if share is None else f"{share:.3f}" for share in (accuracy, in_time)),
            "unknown" if latency is None else duration(latency),
            *("unknown" if cost is None else dollars(cost) for cost in costs),
        ]
        for model, kind, where, state, accuracy, in_time, latency, *costs in shown.iter_rows()
    ]
