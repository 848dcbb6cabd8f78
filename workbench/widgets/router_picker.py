"""Several models and a router: who else may answer, and how it is chosen who does."""

from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from typing import Any, NamedTuple

import ipywidgets

from workbench.batching.timer import Policy
from workbench.deployment.base import Deployment
from workbench.ensembles import Ensemble, Member
from workbench.registry.model import Model
from workbench.routing import ROUTING_POLICIES
from workbench.routing.base import RoutingRule
from workbench.settings import SettingDescription, settings_of
from workbench.widgets.form import Control, Form, choice, integer, make_control, number, show
from workbench.widgets.pickers import Picker

_FIRST = "round-robin"
_STEP = 4  # rows of the list of models that are seen at once


class RoutedModels(NamedTuple):
    """The models besides the first, and the router that chooses among all; None of one model."""

    others: tuple[Model, ...] = ()
    router: RoutingRule | None = None

    @property
    def label(self) -> str:
        """What the line under the controls says."""
        if self.router is None:
            return "One model answers everything."
        return f"{1 + len(self.others)} models, {self.router.label}."

    def ensemble(self, first: Model, deployment: Deployment, policy: Policy) -> Ensemble:
        """Return the models as an ensemble, each on a deployment of the same kind.

        Raises:
            InvalidInput: The models do not answer the same questions, or the router does not fit.
        """
        models = (first, *self.others)
        members = {each.group: Member(each, deployment, policy) for each in models}
        assert self.router is not None  # noqa: S101 - who asks has seen to it
        return Ensemble(members, self.router)


class RouterPicker(Picker):
    """Which models may answer besides the chosen one, and the router with its own settings.

    `value` is a `RoutedModels`. The models on offer are of the chosen one's task.
    """

    def __init__(self) -> None:
        about = "Models that may answer, too: a router chooses for each request."
        self.others = make_control(ipywidgets.SelectMultiple, "Other models", about, rows=_STEP)
        kinds = [_title(kind) for kind in _list_kinds()]
        self.kind = choice("Router", kinds, _FIRST, "How it is chosen who answers.")
        self._first: Model | None = None
        self._forms: dict[str, Form] = {}
        self._box = ipywidgets.VBox()
        super().__init__("Router", {"others": self.others, "kind": self.kind}, self._box)

    def __getitem__(self, name: str) -> Control:
        return self.form[name] if name in self.form.controls else self._settings[name]

    def offer(self, first: Model | None, models: Sequence[Model]) -> None:
        """Have these models to choose from, but for the first and those of other tasks."""
        task = first.traits.task if first else None
        options = [(e.group, e) for e in models if e != first and e.traits.task == task]
        if first == self._first and options == list(self.others.options):
            return
        kept = {each.group for each in self.others.value}
        self._first = first
        self._forms.clear()  # their lists of models are of before
        self.others.options = options
        self.others.value = tuple(each for group, each in options if group in kept)
        self._read()

    @property
    def _names(self) -> tuple[str, ...]:
        """The names of the members, as far as they are chosen."""
        models = [*([self._first] if self._first else []), *self.others.value]
        return tuple(each.group for each in models)

    @property
    def _settings(self) -> Form:
        kind = ROUTING_POLICIES[self.kind.value]
        names = self._names
        key = f"{kind.kind} {names}"
        if key not in self._forms:
            described = settings_of(kind)
            controls = {
                each.name: _control(described[each.name], each, position, names)
                for position, each in enumerate(_list_fields(kind))
            }
            self._forms[key] = Form(controls, self._read)
        return self._forms[key]

    def _make(self) -> RoutedModels:
        several = bool(self.others.value)
        self.form.show(["others", "kind"] if several else ["others"])
        show(self._box, shown=several)
        if not several:
            return RoutedModels()
        form = self._settings
        if self._box.children != (form,):
            self._box.children = (form,)
        kind = ROUTING_POLICIES[self.kind.value]
        every = {each.name: self._names for each in fields(kind) if _takes_all(each)}
        return RoutedModels(tuple(self.others.value), kind(**form.values, **every))

    def _show_error(self, error: str) -> str:
        return self._settings.refuse(error) if self.others.value else ""


def _title(kind: str) -> tuple[str, str]:
    return f"{kind[:1].upper()}{kind[1:]}".replace("-", " "), kind


def _list_kinds() -> list[str]:
    """Return the policies whose settings all have a default, or are names of models."""
    return [
        kind
        for kind, policy in ROUTING_POLICIES.items()
        if all(_is_name(e) or _takes_all(e) for e in fields(policy) if e.default is MISSING)
    ]


def _list_fields(kind: type[RoutingRule]) -> list[Field[Any]]:
    """Return the settings that have a control: numbers and names of models."""
    return [
        each
        for each in fields(kind)
        if each.name in settings_of(kind) and (_is_name(each) or type(each.default) in (int, float))
    ]


def _is_name(field: Field[Any]) -> bool:
    return field.default is MISSING and (field.type is str or "str, " in str(field.type))


def _takes_all(field: Field[Any]) -> bool:
    return field.default is MISSING and "Sequence[str]" in str(field.type)


def _control(
    described: SettingDescription, field: Field[Any], position: int, names: Sequence[str]
) -> Control:
    label, about = described.label, f"{described.label}: {described.about}."
    if _is_name(field):
        return choice(label, list(names), names[min(position, len(names) - 1)], about)
    default: Any = field.default
    make = integer if isinstance(default, int) else number
    return make(label, default, about)
