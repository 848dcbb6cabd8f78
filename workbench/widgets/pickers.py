"""Controls that together hold one value of the package: a model, a deployment, a trace, ..."""

from collections.abc import Mapping
from typing import Any

import ipywidgets
import traitlets

from workbench.errors import NotFound, WorkbenchError
from workbench.formatting import file_size, percentile
from workbench.quantiles import SLO
from workbench.registry.api import Registry
from workbench.registry.model import Model
from workbench.widgets.form import Control, Form, button, choice, number, show
from workbench.widgets.notebook import Keyboard, Status


class Picker(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Base of the pickers: a title, labelled controls, and a line that says what they make.

    `value` is None while the controls make no value; `error` then says why. So does a line beside
    the control that it is about, or the one under all of them. The controls can be had by the name
    of the setting that each holds: `picker["max_size"].value = 4`.
    """

    value = traitlets.Any(None, allow_none=True, read_only=True)
    error = traitlets.Unicode("", read_only=True)

    def __init__(
        self, title: str, controls: Mapping[str, Control], *below: ipywidgets.DOMWidget
    ) -> None:
        self.title = title
        self.status = Status()
        self.form = Form(controls, self._read)
        self.heading = ipywidgets.HTML(f"<strong>{title}</strong>")
        super().__init__([self.heading, self.form, *below, self.status, Keyboard()])
        self.add_class("wb")
        self._read()

    def __getitem__(self, name: str) -> Control:
        return self.form[name]

    @property
    def wrong_above(self) -> bool:
        """Whether what is wrong is about a control that is shown elsewhere."""
        return self.form.wrong_above

    def _read(self, _change: object = None) -> None:
        try:
            value, error = self._make(), ""
            words = self._describe(value)
        except WorkbenchError as failure:
            value, words, error = None, "", str(failure)
        beside = self._show_error(error)
        self.status.say(words or ("" if beside else error), wrong=bool(error) and not beside)
        self.set_trait("error", beside or error)
        self.set_trait("value", value)

    def _show_error(self, error: str) -> str:
        """Say what is wrong beside a control, and return it as it is said there, "" where not."""
        return self.form.refuse(error)

    def _make(self) -> Any:  # noqa: ANN401 - each picker's own
        """Return the value that the controls make, or raise what is wrong with them."""
        raise NotImplementedError

    def _describe(self, value: Any) -> str:  # noqa: ANN401 - each picker's own
        """Return what the value is, for the line under the controls."""
        return str(value.label)


class ModelPicker(Picker):
    """The newest approved version of a group, at first of the given one; `value` is a `Model`."""

    def __init__(self, registry: Registry, group: str = "") -> None:
        self._registry = registry
        self._initial_group = group
        self._problem: WorkbenchError | None = None
        self._removed_group: str | None = None  # what was chosen and is there no more
        self.group = choice(
            "Model", [], None, "The newest approved version of which model answers."
        )
        self.again = button("Read again", "Look into the registry again for approved models.")
        self.again.on_click(lambda _: self.refresh())
        self._fill(group)
        super().__init__("Model", {"group": self.group}, self.again)

    def refresh(self) -> None:
        """Read the registry again, and keep the choice where it is still there."""
        before = self.group.label
        self._fill(before or self._initial_group)
        self._removed_group = before if self.group.label != before else None
        self._read()
        self._removed_group = None

    def _fill(self, group: str) -> None:
        try:
            models = {model.group: model for model in self._registry.models()}
            self._problem = None
        except WorkbenchError as error:
            models, self._problem = {}, error
        names = sorted(models)
        show(self.again, shown=not names)
        if [(name, models[name]) for name in names] == list(self.group.options):
            return
        self.group.options = [(name, models[name]) for name in names]
        if names:
            self.group.label = group if group in names else names[0]

    def _make(self) -> Model:
        model = self.group.value
        if self._problem:
            raise self._problem
        if not isinstance(model, Model):
            raise NotFound(
                f"There is no approved model in {self._registry.path}: register one and approve "
                "it, or take wb.Registry(), which has ready-made ones."
            )
        return model

    def _describe(self, value: Model) -> str:
        lost = f"{self._removed_group} has no approved version any more. Now "
        words = lost if self._removed_group else ""
        words += f"{value.name}, {file_size(value.traits.size_bytes)}"
        words += ", batching changes answers" if value.traits.batches == "changes" else ""
        return words + describe_accuracy(value)


def describe_accuracy(model: Model) -> str:
    """Return how often a model is right, as the end of a sentence; "" where it is not known."""
    traits = model.traits
    if traits.accuracy is None:
        return ""
    return f", {traits.metric} {traits.accuracy:.3f} on {traits.accuracy_data}"


class SLOPicker(Picker):
    """A latency target; `value` is an `SLO`."""

    def __init__(self, value: SLO) -> None:
        quantiles = sorted({*_QUANTILES, value.quantile})
        options = [(percentile(each), each) for each in quantiles]
        controls = {
            "quantile": choice(
                "Target", options, value.quantile, "The percentile of latency that counts."
            ),
            "latency": number(
                "within (ms)", 1000 * value.latency, "The latency it may have at most."
            ),
        }
        super().__init__("Target", controls)

    def set(self, value: SLO) -> None:
        """Have the controls hold this target."""
        if value.quantile not in [each for _, each in self["quantile"].options]:
            added = (percentile(value.quantile), value.quantile)
            self["quantile"].options = (*self["quantile"].options, added)
        self["quantile"].value = value.quantile
        self["latency"].value = 1000 * value.latency

    def _make(self) -> SLO:
        return SLO(latency=self["latency"].value / 1000, quantile=self["quantile"].value)


_QUANTILES = (0.5, 0.9, 0.95, 0.99)  # those that targets name
