"""The registry with buttons: what there is, what became of it, approve, reject, register."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets
import traitlets

from workbench.errors import InvalidInput, InvalidModel, NotFound, WorkbenchError
from workbench.formatting import Table
from workbench.registry.agreement import NOT_CHECKED
from workbench.registry.api import Registry
from workbench.registry.model import Model
from workbench.widgets.form import Form, button, choice, side_by_side, text
from workbench.widgets.notebook import Keyboard, Status
from workbench.widgets.pickers import describe_accuracy
from workbench.widgets.tables import frame_table

_BUTTONS = {  # each does what the method of its name does
    "Approve": "Have this version be the one that is taken.",
    "Reject": "Have nobody take this version.",
    "Refresh": "Read the registry again.",
    "Register": "Copy the file into the registry as a new version.",
}


class RegistryView(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Register a model's file, approve and reject versions, and read their history.

    `value` is the version that is selected, a `Model`, or None where there is none. `error` says
    why the latest press came to nothing, "" when it did not. What a button does, a method does.
    It begins with the given group, where there is one of that name.
    """

    value = traitlets.Any(None, allow_none=True, read_only=True)
    error = traitlets.Unicode("", read_only=True)

    def __init__(self, registry: Registry, group: str = "") -> None:
        self._registry = registry
        self._filling = False
        chosen = {
            "group": choice("Group", [], None, "A model's name."),
            "version": choice("Version", [], None, "The newest approved one is taken."),
        }
        decision = {"why": text("Reason", "", "kept in the history", "Why it is so decided.")}
        new = {
            "path": text("ONNX file", "", "model.onnx", "The model to register."),
            "into": text("Into group", "", "a new or a known name", "Where it becomes a version."),
            "task": text("Task", "", "what it is for", "Models of one task are compared."),
        }
        self.chosen = Form(chosen, self._show_selection)
        self.decision, self.new = Form(decision), Form(new)  # they count when a button is pressed
        self.history = ipywidgets.HTML()
        self.status = Status()
        self.buttons = {name: button(name, about) for name, about in _BUTTONS.items()}
        for name, pressed in self.buttons.items():
            pressed.on_click(lambda _, name=name: getattr(self, name.lower())())
        super().__init__([*self._rows(), Keyboard()])
        self.add_class("wb")
        self.refresh(group)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - ipywidgets has no types
        parts = self.chosen.controls | self.decision.controls | self.new.controls
        return parts[name]

    def refresh(self, group: str = "", version: int | None = None) -> None:
        """Read the registry again; the choice stays, unless another one is asked for."""
        kept = self["version"].value if not group else version
        self._run_action(lambda: self._fill(group or self["group"].value or "", kept))

    def approve(self) -> None:
        """Approve the version that is selected, for the reason that was entered."""
        self._run_action(lambda: self._set_approval("Approved"), "why")

    def reject(self) -> None:
        """Reject the version that is selected; that takes a reason."""
        self._run_action(lambda: self._set_approval("Rejected"), "why")

    def register(self) -> None:
        """Register the file that was entered as the next version of a group; it is pending."""
        self._run_action(self._register, "path")

    def _rows(self) -> list[ipywidgets.DOMWidget]:
        *decide, register = self.buttons.values()
        versions = _make_heading("Versions"), self.chosen, self.decision, side_by_side(*decide)
        new = _make_heading("New version"), self.new, register
        layout = ipywidgets.Layout(
            grid_template_columns="repeat(auto-fit, minmax(min(100%, 250px), 1fr))",
            grid_gap="0 24px",
        )
        columns = [ipywidgets.VBox(each) for each in (versions, new)]
        return [ipywidgets.GridBox(columns, layout=layout), self.status, self.history]

    def _show_selection(self, change: Any) -> None:  # noqa: ANN401 - of traitlets
        if not self._filling:
            version = None if change["owner"] is self["group"] else self["version"].value
            self._run_action(lambda: self._fill(self["group"].value or "", version))

    def _run_action(self, action: Callable[[], str], about: str = "") -> None:
        """Do it, and say what came of it, or what is wrong beside the control it is about."""
        try:
            words, error = action(), ""
        except (InvalidModel, NotFound) as failure:
            words, error = "", str(failure)
        except InvalidInput as failure:
            words, error = "", str(failure)
            about = "into" if "A group's name" in error else error.split(maxsplit=1)[0]
        except WorkbenchError as failure:  # of the registry as a whole: locked, damaged, read only
            words, error, about = "", str(failure), ""
        said = "".join(form.refuse(error, about) for form in (self.decision, self.new))
        self.status.say(words or ("" if said else error), wrong=bool(error) and not said)
        self.set_trait("error", said or error)

    def _fill(self, group: str, version: int | None) -> str:
        """Show the group and version, or the newest one, and say which it is."""
        groups = self._registry.groups()
        group = group if group in groups else next(iter(groups), "")
        versions = self._registry.versions(group) if group else []
        known = {each.version: each for each in versions}
        selected = known.get(version or 0, versions[-1] if versions else None)
        self._filling = True
        try:
            self["group"].options = groups
            self["group"].value = group or None
            self["version"].options = [
                (f"{each.version} ({_APPROVALS[each.approval]})", each.version) for each in versions
            ]
            self["version"].value = selected.version if selected else None
        finally:
            self._filling = False
        for name in ("Approve", "Reject"):
            self.buttons[name].disabled = selected is None
        self.history.value = history_table(self._registry, selected) if selected else ""
        self.set_trait("value", selected)
        if selected is None:
            return f"There is no model in {self._registry.path} yet: register a file."
        return _describe_model(selected)

    def _set_approval(self, approval: Any) -> str:  # noqa: ANN401 - an Approval
        model = self.value
        why = self["why"].value.strip()
        if model is None:
            raise NotFound("There is no version to decide on: register a file first.")
        if approval == "Rejected" and not why:
            raise InvalidInput("why must be given for a rejection: enter a reason.")
        decided = self._registry.decide(model.group, model.version, approval, why=why)
        self["why"].value = ""
        return self._fill(decided.group, decided.version)

    def _register(self) -> str:
        path, group = self["path"].value.strip(), self["into"].value.strip()
        if not path:
            raise InvalidInput("path must name a file, got nothing.")
        made = self._registry.register(group, Path(path), task=self["task"].value.strip())
        return f"Registered. {self._fill(made.group, made.version)}"


def history_table(registry: Registry, model: Model) -> str:
    """Return what became of a version as an HTML table, the latest on top."""
    changes = registry.history(model.group, model.version)
    rows = [
        [each.at[:19].replace("T", " "), each.who, f"{each.field}: {each.value}", each.why]
        for each in reversed(changes)
    ]
    columns = ["when (UTC)", "who", "what", "why"]
    return frame_table(Table(columns, rows, f"History of {model.name}"))


def _describe_model(model: Model) -> str:
    traits = model.traits
    words = f"{model.name} is {_APPROVALS[model.approval]}: {traits.size_bytes:,} bytes"
    words += f", takes {traits.input_schema}, answers in a batch: {traits.batches}"
    words += f", file against estimator: {traits.agreement or NOT_CHECKED}"
    words += "".join(f", {name}: {value}" for name, value in traits.user.items())
    return f"{words}{describe_accuracy(model)}."


_APPROVALS = {
    "Approved": "approved",
    "PendingManualApproval": "pending",
    "Rejected": "rejected",
}


def _make_heading(title: str) -> ipywidgets.HTML:
    return ipywidgets.HTML(f"<strong>{title}</strong>")
