"""Widgets of which the page learns when something on it refers to them, not when they are made.

An app has a hundred controls in folds that most visitors leave closed. A late widget holds its
value and tells its observers as any other, but has neither layout nor style, and no message is
sent, until a box that is on the page, or a cell, takes it.
"""

from typing import Any

import ipywidgets
import traitlets


class Late(ipywidgets.Widget):  # type: ignore[misc]  # ipywidgets has no types
    """Base of late widgets, to stand before the usual one."""

    def open(self) -> None:
        """Do nothing yet: `model_id`, which every reference takes, opens it."""

    @property
    def model_id(self) -> str:
        """Its name on the page, which learns of it now if it has not yet."""
        if self.comm is None:
            super().open()
        return str(super().model_id)

    def _repr_mimebundle_(self, **asked: Any) -> Any:  # noqa: ANN401 - of ipywidgets
        assert self.model_id  # noqa: S101 - which the page learns by that
        return super()._repr_mimebundle_(**asked)


class _Layout(Late, ipywidgets.Layout):  # type: ignore[misc]
    pass


class LateElement(Late, ipywidgets.DOMWidget):  # type: ignore[misc]
    """Base of late widgets that have a place on the page."""

    @traitlets.default("layout")
    def _make_layout(self) -> ipywidgets.Layout:
        return _Layout()


class LateControl(LateElement):
    """Base of controls with a label, which is wide enough for each of ours."""

    label_width = "124px"
    """What it has when the page learns of it."""

    @traitlets.default("layout")
    def _make_layout(self) -> ipywidgets.Layout:
        return _Layout(width="auto")

    @traitlets.default("style")
    def _make_style(self) -> Any:  # noqa: ANN401 - of each control's own class
        return self.traits()["style"].klass(description_width=self.label_width)


class LateBox(LateElement, ipywidgets.VBox):  # type: ignore[misc]
    """A column of widgets."""


class LateRow(LateElement, ipywidgets.HBox):  # type: ignore[misc]
    """A row of widgets."""


class LateButton(LateElement, ipywidgets.Button):  # type: ignore[misc]
    """A button."""


class LateHTML(LateElement, ipywidgets.HTML):  # type: ignore[misc]
    """Some HTML."""
