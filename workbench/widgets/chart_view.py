"""A figure in the app: the same look, tooltips and menu as in a notebook's next cell."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import traitlets

from workbench.plots.figure import Figure

Datum = dict[str, Any]


class ChartView(anywidget.AnyWidget):
    """A place for a chart, as wide as there is room; `figure` is what it shows, None for nothing.

    JupyterLab and Voila draw it with the Vega that they bring, and so this kernel loads none; the
    pages of others get an image.

    Args:
        figure: What to show first.
        on_pick: Called with the row of the figure's data when somebody clicks on its point.
        with_title: Whether the chart has its title, rather than the page around it.
        height: Units from top to bottom of the plot, without axes and legend, where the figure has
            no panels or rows; None: the figure's own.
        keeps: Whether the page hands its drawing back, for a notebook that is saved.
    """

    figure = traitlets.Instance(Figure, allow_none=True)
    spec = traitlets.Dict(read_only=True).tag(sync=True)
    keeps = traitlets.Bool(default_value=False, read_only=True).tag(sync=True)
    picture = traitlets.Unicode().tag(sync=True)
    """The chart as the page has drawn it, an SVG, where it `keeps` pictures."""
    pickable = traitlets.Bool(default_value=False, read_only=True).tag(sync=True)

    _esm = Path(__file__).with_name("chart_view.js")
    _css = Path(__file__).with_name("chart_view.css")

    def __init__(
        self,
        figure: Figure | None = None,
        *,
        on_pick: Callable[[Datum], object] | None = None,
        with_title: bool = True,
        height: int | None = None,
        keeps: bool = False,
    ) -> None:
        super().__init__()
        self._on_pick, self._with_title, self._height = on_pick, with_title, height
        self.set_trait("pickable", on_pick is not None)
        self.set_trait("keeps", keeps)
        self.on_msg(self._handle)
        self.observe(self._show, "figure")
        self.figure = figure
        self._show()

    def _show(self, _change: object = None) -> None:
        shown = self.figure
        spec = {} if shown is None else shown.spec(ink="currentColor", with_title=self._with_title)
        if isinstance(spec.get("height"), int) and self._height is not None:
            spec["height"] = self._height
        self.layout.display = None if shown else "none"
        if spec != self.spec:  # else the page draws nothing again
            self.picture = ""
        self.set_trait("spec", spec)

    @property
    def image(self) -> str:
        """The page's drawing as an HTML image that needs no script, "" where there is none."""
        return self.figure.image_of(self.picture) if self.figure and self.picture else ""

    def show_spec(self, spec: dict[str, Any]) -> None:
        """Show what a `ChartView` like this one had as its `spec`, until there is a figure."""
        self.layout.display = None
        self.set_trait("spec", spec)

    def _handle(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        if "datum" in message and self._on_pick is not None:
            self._on_pick(message["datum"])
        elif self.figure is not None and message.get("ask") == "image":
            self.send({"image": self.figure.image()})


def chart_grid(views: Sequence[ChartView]) -> ipywidgets.Box:
    """Return charts two by two where there is room, else one below the other."""
    grid = ipywidgets.Box(list(views))
    grid.add_class("wb-charts")
    return grid
