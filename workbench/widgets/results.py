"""What runs came to: a table and charts, the latest beside the ones before it."""

import base64
import html
import threading

import ipywidgets
import traitlets

from workbench.comparison import Comparison, compare
from workbench.plots import (
    Figure,
    plot_batch_sizes,
    plot_cost_by_item,
    plot_latency_over_time,
)
from workbench.plots.series import caption
from workbench.run import Run
from workbench.table import html_table
from workbench.widgets.notebook import Keyboard

MOST_RUNS = 6
"""As many as the charts have colours."""

_FREE = (
    "<p>No cost is shown, since the price of this machine is 0 USD an hour: set it under "
    "<em>Inference type</em> for the next run.</p>"
)

Runs = tuple[Run, ...]


class Results(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Table and charts of the runs in `value`, the latest six; Clear removes them."""

    value = traitlets.Any((), read_only=True)

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self.table = ipywidgets.HTML()
        scrolls = ipywidgets.Layout(overflow="auto hidden", max_width="100%")
        self.charts = {name: ipywidgets.HTML(layout=scrolls) for name in _CHARTS}
        self.clear_button = ipywidgets.Button(description="Clear results")
        self.clear_button.on_click(lambda _: self.clear())
        charts = ipywidgets.Box(
            list(self.charts.values()),
            layout=ipywidgets.Layout(flex_flow="row wrap", grid_gap="16px"),
        )
        super().__init__([self.table, self.clear_button, charts, Keyboard()])
        self.add_class("wb")
        self.add_class("wb-results")
        self._draw(())

    def add(self, run: Run) -> None:
        """Show one more run; the oldest of more than six goes."""
        self._draw((*self.value, run)[-MOST_RUNS:])

    def clear(self) -> None:
        """Remove all runs."""
        self._draw(())

    def _draw(self, runs: Runs) -> None:
        with self._one_at_a_time:
            self.set_trait("value", runs)
            self.layout.display = None if runs else "none"
            compared = compare(runs) if runs else None
            self.table.value = runs_table(compared) if compared else ""
            for name, chart in self.charts.items():
                chart.value = _CHARTS[name](compared) if compared else ""


def runs_table(compared: Comparison) -> str:
    """Return an HTML table, a column a run, and what a reader has to know of the runs.

    >>> run = Run.from_arrays(scheduled=[0.0] * 200, finished=[0.004] * 200)
    >>> '<th scope="row">p95</th><td>4 ms</td>' in runs_table(compare(run))
    True
    """
    columns, rows = compared.table()
    words = caption(dict(compared.runs))
    traffic = [run.facts.get("trace", {}).get("name", "-") for run in compared.runs.values()]
    if len(set(traffic)) == 1:
        words += f" Traffic: {traffic[0]}."
    else:
        rows = [["traffic", *traffic], *rows]
    table = html_table(words, columns, rows)
    warnings = "".join(f"<p>{html.escape(warning)}</p>" for warning in compared.warnings)
    scrolls = '<div role="region" aria-label="Runs" tabindex="0">'
    return f'<style>{_STYLE}</style><div class="wb-runs">{scrolls}{table}</div>{warnings}</div>'


def picture(figure: Figure) -> str:
    """Return a chart as an HTML image that brings its data along and needs no script."""
    data = base64.b64encode(figure.svg().encode()).decode()
    words = html.escape(f"{figure.title}. {figure.description}")
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{words}" class="wb-chart">'


def _cost(compared: Comparison) -> str:
    if not any(bill.total for bill in compared.costs.values()):
        return _FREE
    return picture(plot_cost_by_item(compared.costs))


_CHARTS = {
    "latency": lambda compared: picture(compared.figure),
    "over time": lambda compared: picture(plot_latency_over_time(list(compared.runs.values()))),
    "batch sizes": lambda compared: picture(plot_batch_sizes(list(compared.runs.values()))),
    "cost": _cost,
}

_STYLE = """
.wb-results .widget-html, .wb-results .widget-html-content { min-width: 0; }
.wb-chart { max-width: max(100%, 560px); }
.wb-runs { color: var(--jp-ui-font-color1); line-height: 1.4; }
.wb-runs div { overflow-x: auto; }
.wb-runs p { margin: 8px 0 0; }
.wb-runs table { border-collapse: collapse; }
.wb-runs caption { text-align: left; padding: 4px 0; }
.wb-runs th, .wb-runs td {
  border-bottom: 1px solid var(--jp-border-color2); padding: 2px 16px 2px 0; text-align: left;
}
.wb-runs tbody th { font-weight: normal; white-space: nowrap; }
"""
