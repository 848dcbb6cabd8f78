"""Parts that are out of the way, and made, only when somebody asks for them."""

from collections.abc import Callable, Mapping

import ipywidgets


class LazyTabs(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A row of buttons, each of which shows and hides a part below; it is made the first time.

    `drawers["Registry"]` is the part of that name; `parts` are those made so far.

    Args:
        makes: What makes each part, by the words on its button.
    """

    def __init__(self, factories: Mapping[str, Callable[[], ipywidgets.DOMWidget]]) -> None:
        self._factories = dict(factories)
        self.parts: dict[str, ipywidgets.DOMWidget] = {}
        self.buttons = {name: ipywidgets.ToggleButton(description=name) for name in factories}
        for name, button in self.buttons.items():
            button.observe(lambda change, name=name: self._toggle(name, out=change["new"]), "value")
        row = ipywidgets.Box(
            list(self.buttons.values()), layout=ipywidgets.Layout(flex_flow="row wrap")
        )
        self._row = row
        super().__init__([row])

    def __getitem__(self, name: str) -> ipywidgets.DOMWidget:
        if name not in self.parts:
            self.parts[name] = self._factories[name]()
        return self.parts[name]

    def _toggle(self, name: str, *, out: bool) -> None:
        part = self[name] if out else self.parts[name]
        part.layout.display = None if out else "none"
        made = [self.parts[each] for each in self._factories if each in self.parts]
        self.children = (self._row, *made)
