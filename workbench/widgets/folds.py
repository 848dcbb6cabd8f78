"""Controls folded into a line that says what they hold."""

from typing import TYPE_CHECKING

import ipywidgets

from workbench.widgets.form import keep_in_order

if TYPE_CHECKING:
    from workbench.widgets.pickers import Picker


class Fold(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A picker as one line, its title and value in words; a press on it shows the controls.

    It unfolds by itself where one of them is refused. Where the picker hides itself, so does it.
    """

    def __init__(self, picker: "Picker") -> None:
        self.picker = picker
        about = f"Show or hide the settings: {picker.title}."
        self.button = keep_in_order(ipywidgets.ToggleButton(tooltip=about))
        picker.heading.layout.display = "none"
        super().__init__([self.button])
        self.add_class("wb-fold")
        picker.layout.observe(self._follow, "display")
        picker.observe(self._tell, "error")
        picker.status.observe(self._tell, "text")
        self.button.observe(self._unfold, "value")
        self._follow()
        self._tell()

    def _follow(self, _change: object = None) -> None:
        self.layout.display = self.picker.layout.display

    def _tell(self, _change: object = None) -> None:
        """Say what the controls hold, or what is wrong."""
        wrong = self.picker.error
        words = f"{self.picker.title}: {wrong or self.picker.status.text}"
        if self.button.description != words:
            self.button.description = words
        (self.add_class if wrong else self.remove_class)("wb-wrong")
        if wrong and not self.picker.wrong_above:
            self.button.value = True

    def _unfold(self, _change: object = None) -> None:
        """Show the controls, whose views are made the first time, or hide them."""
        if self.button.value:
            self.children = (self.button, self.picker)
            self.picker.remove_class("wb-folded")
        else:
            self.picker.add_class("wb-folded")
