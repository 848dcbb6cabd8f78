"""Parts of which one is shown, each made only when somebody asks for it."""

from collections.abc import Callable, Mapping, Sequence

import ipywidgets
import traitlets

from workbench.widgets.form import button


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
        # No toggle buttons: where the kernel is slow, the page would take a press for a release.
        self.buttons = {name: button(name, about[name]) for name in factories}
        for name, each in self.buttons.items():
            each.on_click(lambda _, name=name: self.select(name))
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
        for each in self.buttons.values():
            each.remove_class("mod-active")
        self.buttons[name].add_class("mod-active")
        self[name]
        self._show()

    def _show(self) -> None:
        """Show the chosen part and what is shared with it, and hide the others."""
        first, *others = [(self.parts[n], [n]) for n in self._factories if n in self.parts]
        shown = [first, *self._shared, *others]
        for part, names in shown:
            part.layout.display = None if self.selected in names else "none"
        self.children = tuple(part for part, _ in shown)
