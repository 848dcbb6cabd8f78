"""What came out: a table and charts, the latest beside the ones before it; notes, and export."""

import contextlib
import html
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ipywidgets
import traitlets

from workbench.comparison import Comparison, compare
from workbench.deployment.hybrid import Hybrid
from workbench.errors import NotFound, StorageError, WorkbenchError
from workbench.formatting import Table
from workbench.plots.batches import plot_batch_sizes
from workbench.plots.costs import plot_cost_by_item
from workbench.plots.latency import plot_latency_over_time
from workbench.plots.places import plot_answers_by_place
from workbench.plots.scaling import plot_scaling
from workbench.report.page import write_report
from workbench.run import Run, delete_run
from workbench.run_cost import cost
from workbench.widgets.form import show, text
from workbench.widgets.notebook import Keyboard, Status
from workbench.widgets.run_panel import Result
from workbench.widgets.saved_output import SavedOutput
from workbench.widgets.tables import frame_table

MAX_RUNS = 6
"""As many as the charts have colours."""

_NO_COST_HTML = (
    "<p>No cost is shown, since the price of this machine is 0 USD an hour: set it under "
    "<em>Inference type</em> for the next run.</p>"
)
_NO_ROWS = "Predictions have no rows to save."


@dataclass(frozen=True, eq=False)
class ResultRow:
    """A result, and the controls that go with it."""

    result: Result
    name: ipywidgets.HTML
    note: ipywidgets.Text
    delete_button: ipywidgets.Button
    row: ipywidgets.Box

    @property
    def run(self) -> Run | None:
        """The result with its note, where it is a run."""
        if not isinstance(self.result, Run):
            return None
        return self.result.amend(note=self.note.value) if self.note.value else self.result


class Results(SavedOutput, ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Table and charts of the results in `value`, the latest six.

    Each can have a note and be deleted; rows of it that are kept on disk go at the press of one
    more button. Runs are saved with their rows (Parquet) below a folder, or written into one report
    (HTML) there. A notebook that was saved still shows table and charts when it is opened without a
    kernel.
    """

    value = traitlets.Any((), read_only=True)

    def __init__(self) -> None:
        self._draw_lock = threading.Lock()
        self.entries: tuple[ResultRow, ...] = ()
        self.table = ipywidgets.HTML()
        scrolls = ipywidgets.Layout(overflow="auto hidden", max_width="100%")
        self.charts = {name: ipywidgets.HTML(layout=scrolls) for name in _CHARTS}
        self.list = ipywidgets.VBox()
        self.folder = text("Folder", "results")
        self.save_button = ipywidgets.Button(description="Save runs")
        self.report_button = ipywidgets.Button(description="Write report")
        self.clear_button = ipywidgets.Button(description="Clear results")
        self.erase_button = ipywidgets.Button(
            description="Delete from disk", button_style="warning"
        )
        self._saved_results: dict[Path, Result] = {}
        self._removed_folders: tuple[str, ...] = ()  # folders of runs that are shown no more
        self.status = Status()
        self.save_button.on_click(lambda _: self._set_status(self.save))
        self.report_button.on_click(lambda _: self._set_status(self.report))
        self.clear_button.on_click(lambda _: self.clear())
        self.erase_button.on_click(lambda _: self._set_status(self.erase))
        charts = ipywidgets.Box(
            list(self.charts.values()),
            layout=ipywidgets.Layout(flex_flow="row wrap", grid_gap="16px"),
        )
        buttons = [self.save_button, self.report_button, self.clear_button, self.erase_button]
        export = ipywidgets.Box(
            [self.folder, *buttons], layout=ipywidgets.Layout(flex_flow="row wrap")
        )
        parts = [self.table, self.list, export, self.status, charts, Keyboard()]
        super().__init__(parts)
        self.add_class("wb")
        self.add_class("wb-results")
        self._draw(())

    def add(self, result: Result) -> None:
        """Show one more result; the oldest of more than six goes."""
        self._draw((*self.entries, self._entry(result))[-MAX_RUNS:])

    def delete(self, entry: ResultRow) -> None:
        """Remove one result, and offer to remove its rows from disk."""
        self._remove((entry,))

    def clear(self) -> None:
        """Remove all results, and offer to remove their rows from disk."""
        self._remove(self.entries)

    def erase(self) -> str:
        """Remove the rows of the results that went last from disk, and return in words which.

        Raises:
            StorageError: A folder holds something else, too, or cannot be removed.
        """
        folders = self._removed_folders
        for at, folder in enumerate(folders, start=1):
            with contextlib.suppress(NotFound):  # somebody was faster
                delete_run(folder)
            self._offer_to_erase(folders[at:])
        return f"Deleted from disk: {', '.join(folders)}."

    def _remove(self, gone: tuple[ResultRow, ...]) -> None:
        kept = [entry.run.record.kept for entry in gone if entry.run]
        self._draw(tuple(each for each in self.entries if each not in gone))
        self._offer_to_erase(tuple(each for each in kept if each and Path(each).exists()))
        if self._removed_folders:
            self.layout.display = None
            self.status.say(f"Still on disk: {', '.join(self._removed_folders)}.")

    def _offer_to_erase(self, folders: tuple[str, ...]) -> None:
        self._removed_folders = folders
        show(self.erase_button, shown=bool(folders))

    @property
    def runs(self) -> list[Run]:
        """The runs among the results, with their notes."""
        return [run for entry in self.entries if (run := entry.run)]

    def save(self) -> str:
        """Save each run in a folder of its own, and return in words where.

        One that was saved from here is written again, with the note that it has now.

        Raises:
            StorageError: Another one is there already, or it cannot be written.
        """
        members = zip(compare(self.value).results, self.entries, strict=True)
        runs = [(name, run, entry.result) for name, entry in members if (run := entry.run)]
        if not runs:
            return _NO_ROWS
        folder, paths = self._make_folder(), []
        for name, run, result in runs:
            path = folder / _file_name(run, name)
            paths.append(run.save(path, overwrite=self._saved_results.get(path) is result))
            self._saved_results[path] = result
        missing = "" if len(paths) == len(self.entries) else f" {_NO_ROWS}"
        return f"Saved: {', '.join(map(str, paths))}; wb.load_run reads them.{missing}"

    def report(self) -> str:
        """Write one page on all runs, and return in words where.

        Raises:
            StorageError: It cannot be written.
        """
        runs = self.runs
        if not runs:
            return "Predictions have no rows to report on: simulate or run first."
        path = self._make_folder() / "report.html"
        write_report(runs, path, costs=[cost(run) for run in runs])
        return f"Written: {path}, which opens in any browser without internet."

    def _make_folder(self) -> Path:
        folder = Path(self.folder.value).expanduser().absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"The folder {folder} cannot be made ({error.strerror}): enter another."
            ) from error
        return folder

    def _set_status(self, done: Callable[[], str]) -> None:
        try:
            self.status.say(done())
        except (WorkbenchError, OSError) as error:
            self.status.say(str(error), wrong=True)

    def _entry(self, result: Result) -> ResultRow:
        note, name = text("Note", placeholder="for table and files"), ipywidgets.HTML()
        note.layout.flex = "1 1 200px"
        name.layout.flex = "1 1 300px"
        delete = ipywidgets.Button(description="Delete")
        layout = ipywidgets.Layout(flex_flow="row wrap", align_items="center")
        row = ipywidgets.Box([name, note, delete], layout=layout)
        entry = ResultRow(result, name, note, delete, row)
        note.observe(lambda _: self._update_notes(), "value")
        delete.on_click(lambda _: self.delete(entry))
        return entry

    def _draw(self, entries: tuple[ResultRow, ...]) -> None:
        with self._draw_lock:
            self.entries = entries
            self.set_trait("value", tuple(entry.result for entry in entries))
            self.layout.display = None if entries else "none"
            self.status.say("")
            self._offer_to_erase(())
            comparison = self._tabulate()
            self.list.children = tuple(entry.row for entry in entries)
            for name, chart in self.charts.items():
                chart.value = _CHARTS[name](comparison) if comparison else ""
            self._save_view(comparison)

    def _save_view(self, comparison: Comparison | None) -> None:
        """Leave table and charts in the notebook, as they are now."""
        shown = [chart.value for chart in self.charts.values()]
        if comparison:
            notes = [entry.note.value for entry in self.entries]
            table = comparison_table(comparison, notes)
            shown = [table.html(), _warnings(comparison), *shown]
        self.keep("".join(shown))

    def _update_notes(self) -> None:
        self._save_view(self._tabulate())

    def _tabulate(self) -> Comparison | None:
        comparison = compare(self.value) if self.value else None
        if comparison:
            notes = [entry.note.value for entry in self.entries]
            for name, entry in zip(comparison.results, self.entries, strict=True):
                entry.name.value = html.escape(f"{name} ({entry.result.origin})")
                entry.delete_button.tooltip = f"Delete {name}"
            table = comparison_table(comparison, notes)
            self.table.value = frame_table(table, "Runs") + _warnings(comparison)
        else:
            self.table.value = ""
        return comparison


def _file_name(run: Run, name: str) -> str:
    """Return what a run's folder is called: what sets it apart, and when it was made."""
    made = (run.record.created or "")[:19]
    return re.sub(r"[^a-z0-9]+", "-", f"{name} {made}".lower()).strip("-")


def comparison_table(comparison: Comparison, notes: Sequence[str] = ()) -> Table:
    """Return a table with a column a result, and rows of how it came to be known.

    >>> run = Run.from_arrays(scheduled=[0.0] * 200, finished=[0.004] * 200)
    >>> '<th scope="row">p95</th><td>4 ms</td>' in comparison_table(compare(run)).html()
    True
    """
    table = comparison.table()
    rows, caption = table.rows, table.caption
    results = comparison.results.values()
    traffic = [_traffic(each) for each in results]
    if len(known := {each for each in traffic if each}) == 1:
        caption += f" Traffic: {known.pop()}."
    else:
        rows = [["traffic", *(each or None for each in traffic)], *rows]
    rows = [["known by", *(each.origin for each in results)], *rows]
    if any(notes):
        rows = [["note", *(note or None for note in notes)], *rows]
    return Table(table.columns, rows, caption)


def _warnings(comparison: Comparison) -> str:
    return "".join(f"<p>{html.escape(warning)}</p>" for warning in comparison.warnings)


def _traffic(result: Result) -> str:
    return result.record.trace.name if isinstance(result, Run) and result.record.trace else ""


def _latency(comparison: Comparison) -> str:
    return comparison.figure.image()


def _cost(comparison: Comparison) -> str:
    if not any(bill.total for bill in comparison.costs.values()):
        return _NO_COST_HTML
    return plot_cost_by_item(comparison.costs).image()


def _over_time(comparison: Comparison) -> str:
    runs = list(comparison.runs.values())
    return plot_latency_over_time(runs).image() if runs else ""


def _batch_sizes(comparison: Comparison) -> str:
    runs = list(comparison.runs.values())
    return plot_batch_sizes(runs).image() if runs else ""


def _places(comparison: Comparison) -> str:
    routed = [run for run in comparison.runs.values() if len(run.record.places) > 1]
    return plot_answers_by_place(routed).image() if routed else ""


def _scaling(comparison: Comparison) -> str:
    """Return load and instances of the latest run whose fleet changed its size or had help."""
    latest = [run for run in comparison.runs.values() if _is_scaled(run)][-1:]
    return "".join(plot_scaling(run).image() for run in latest)


def _is_scaled(run: Run) -> bool:
    record = run.record
    known = record.instances or any(each.instances for each in record.members or ())
    return bool(known) and (record.scaling is not None or isinstance(record.deployment, Hybrid))


_CHARTS: Mapping[str, Callable[[Comparison], str]] = {
    "latency": _latency,
    "over time": _over_time,
    "places": _places,
    "scaling": _scaling,
    "batch sizes": _batch_sizes,
    "cost": _cost,
}
