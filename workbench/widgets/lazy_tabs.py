"""Parts of which one is shown, each made only when somebody asks for it."""

from collections.abc import Callable, Mapping, Sequence

import ipywidgets
import traitlets

from workbench.widgets.form import keep_in_order


class LazyTabs(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """What the chosen one of a row of buttons, `bar`, stands for; it is made the first time.

    `tabs["Registry"]` is the part of that name; `parts` are those made so far. The first part is
    shown at once; below it stands what several share.

    Args:
        factories: What makes each part, by the words on its button.
        about: The help text of each button.
        shared: Widgets, each with the names of the parts with which it is shown.
    """

    selected = traitlets.Unicode("", read_only=True)

    def __init__(
        self,
        factories: Mapping[str, Callable[[], ipywidgets.DOMWidget]],
        about: Mapping[str, str],
        shared: Sequence[tuple[ipywidgets.DOMWidget, Sequence[str]]] = (),
    ) -> None:
        self._factories, self._shared = dict(factories), shared
        self.parts: dict[str, ipywidgets.DOMWidget] = {}
        self.buttons = {
            name: ipywidgets.ToggleButton(description=name, tooltip=about[name])
            for name in factories
        }
        keep_in_order(*self.buttons.values())
        for name, button in self.buttons.items():
            button.observe(lambda _, name=name: self._press(name), "value")
        self.bar = ipywidgets.Box(list(self.buttons.values()))
        self.bar.add_class("wb-tabs")
        super().__init__()
        self.select(next(iter(factories)))

    def __getitem__(self, name: str) -> ipywidgets.DOMWidget:
        if name not in self.parts:
            self.parts.setdefault(name, self._factories[name]())  # a thread may have been faster
            self._show()
        return self.parts[name]

    def select(self, name: str) -> None:
        """Show the part of this name instead of the one before."""
        self.set_trait("selected", name)
        for each, button in self.buttons.items():
            button.value = each == name
        self[name]
        self._show()

    def _press(self, name: str) -> None:
        pressed = self.buttons[name].value
        if pressed and name != self.selected:
            self.select(name)
        elif not pressed and name == self.selected:
            self.buttons[name].value = True  # one of them is always shown

    def _show(self) -> None:
        """Show the chosen part and what is shared with it, and hide the others."""
        first, *others = [(self.parts[n], [n]) for n in self._factories if n in self.parts]
        shown = [first, *self._shared, *others]
        for part, names in shown:
            part.layout.display = None if self.selected in names else "none"
        self.children = tuple(part for part, _ in shown)
