"""What came out: a table and charts, the latest beside the ones before it; notes, and export."""

import contextlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import ipywidgets
import traitlets

from workbench.comparison import Comparison, compare
from workbench.errors import NotFound, StorageError, WorkbenchError
from workbench.plots.series import make_unique, name_results
from workbench.plots.theme import PALETTE
from workbench.run import Run, delete_run
from workbench.widgets.chart_view import ChartView, chart_grid
from workbench.widgets.form import button, show, side_by_side, text
from workbench.widgets.notebook import Keyboard, Status
from workbench.widgets.result_charts import CHARTS
from workbench.widgets.result_rows import COLUMNS, describe_shared, results_table, tabulate
from workbench.widgets.run_panel import Result
from workbench.widgets.runs_table import RunsTable
from workbench.widgets.saved_output import SavedOutput
from workbench.widgets.tables import list_notes

MAX_RUNS = len(PALETTE)
"""As many as the charts have colours."""

_NO_ROWS = "Predictions have no rows to save."
_HEIGHT = 240  # of a plot, so that two rows of charts are seen at once
_numbers = count()


@dataclass(frozen=True, eq=False)
class Entry:
    """A result among others, with what somebody called it and noted, and the code that made it."""

    result: Result
    name: str = ""
    note: str = ""
    code: str = ""
    id: int = field(default_factory=lambda: next(_numbers))

    @property
    def run(self) -> Run | None:
        """The result with its name and note, where it is a run."""
        if not isinstance(self.result, Run):
            return None
        known = {"label": self.name, "note": self.note}
        return self.result.amend(**{key: words for key, words in known.items() if words})


class Results(SavedOutput, ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Table and charts of the results in `value`: a row each, up to as many as there are colours.

    The first is the baseline that the others are compared with, until another is pinned; it stays
    when the oldest goes to make room. Each can be named, noted and deleted, and `undo`
    brings back what went; rows that are kept on disk go at the press of one more button. Runs are
    saved with their rows (Parquet) below a folder, or written into one report (HTML) there. A
    notebook that was saved still shows table and charts when it is opened without a kernel.
    """

    value = traitlets.Any((), read_only=True)

    def __init__(self) -> None:
        self._draw_lock = threading.Lock()
        self.entries: tuple[Entry, ...] = ()
        self.baseline: Entry | None = None
        self._comparison: Comparison | None = None
        self._former: tuple[tuple[Entry, ...], Entry | None] | None = None
        self.table = RunsTable(self._act)
        self.charts = {name: ChartView(keeps=True, height=_HEIGHT) for name in CHARTS}
        self.notes = ipywidgets.HTML()
        self.folder = text("Folder", "results", about="Where runs and reports are written")
        buttons = {name: button(*words) for name, words in _BUTTONS.items()}
        self.save_button, self.report_button = buttons["save"], buttons["report"]
        self.undo_button, self.clear_button = buttons["undo"], buttons["clear"]
        self.erase_button = buttons["erase"]
        self._saved_results: dict[Path, Result] = {}
        self._removed_folders: tuple[str, ...] = ()  # folders of runs that are shown no more
        self.status = Status()
        self.save_button.on_click(lambda _: self._set_status(self.save))
        self.report_button.on_click(lambda _: self._set_status(self.report))
        self.undo_button.on_click(lambda _: self.undo())
        self.clear_button.on_click(lambda _: self.clear())
        self.erase_button.on_click(lambda _: self._set_status(self.erase))
        export = side_by_side(self.folder, *buttons.values())
        for chart in self.charts.values():
            chart.observe(self._keep_pictures, "picture")
        charts = chart_grid(list(self.charts.values()))
        super().__init__([self.table, export, self.status, charts, self.notes, Keyboard()])
        self.add_class("wb")
        self.add_class("wb-results")
        self._draw((), None)

    @property
    def names(self) -> list[str]:
        """What the results are called: as somebody named them, else by what tells them apart."""
        if not self.entries:
            return []
        names: list[str] = []
        results: list[Result] = [entry.result for entry in self.entries]
        for entry, usual in zip(self.entries, name_results(results), strict=True):
            names.append(make_unique(entry.name or usual, names))
        return names

    def add(self, result: Result, code: str = "") -> None:
        """Show one more result, made by these lines; the oldest makes room where there is none."""
        entry = Entry(result, code=code or _code_of(result))
        entries = [*self.entries, entry]
        gone = None
        if len(entries) > MAX_RUNS:
            gone = next(each for each in entries if each is not self.baseline)
            entries.remove(gone)
        name = "" if gone is None else self.names[self.entries.index(gone)]
        self._change(tuple(entries), self.baseline or entry, undo=gone is not None)
        if gone is not None:
            self.status.say(f"{MAX_RUNS} results fit: {name} made room. Undo brings it back.")

    def delete(self, entry: Entry) -> None:
        """Remove one result, and offer to remove its rows from disk."""
        self._remove((entry,))

    def clear(self) -> None:
        """Remove all results, and offer to remove their rows from disk."""
        self._remove(self.entries)

    def undo(self) -> None:
        """Bring back what the latest press took away."""
        if self._former is not None:
            before, self._former = self._former, None
            self._draw(*before)

    def pin(self, entry: Entry) -> None:
        """Count differences from this result; from none, if they are counted from it already."""
        self._draw(self.entries, None if entry is self.baseline else entry)

    def edit(self, entry: Entry, *, name: str | None = None, note: str | None = None) -> None:
        """Give a result another name or note."""
        words = (entry.name if name is None else name, entry.note if note is None else note)
        changed = replace(entry, name=words[0], note=words[1])
        entries = tuple(changed if each is entry else each for each in self.entries)
        self._draw(entries, changed if entry is self.baseline else self.baseline)

    def _act(self, act: str, number: int, words: str) -> None:
        entry = next((each for each in self.entries if each.id == number), None)
        if entry is None:  # it went while the message was under way
            return
        match act:
            case "pin":
                self.pin(entry)
            case "delete":
                self.delete(entry)
            case "name":
                self.edit(entry, name=words.strip())
            case "note":
                self.edit(entry, note=words.strip())

    def _change(
        self, entries: tuple[Entry, ...], baseline: Entry | None, *, undo: bool = True
    ) -> None:
        """Show other results, and keep those before for `undo`."""
        before = self.entries, self.baseline
        self._draw(entries, baseline)
        self._former = before if undo else None
        self.undo_button.disabled = not undo

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

    def _remove(self, gone: tuple[Entry, ...]) -> None:
        kept = [each.result.record.kept for each in gone if isinstance(each.result, Run)]
        left = tuple(each for each in self.entries if each not in gone)
        self._change(left, self.baseline if self.baseline in left else next(iter(left), None))
        self.layout.display = None  # Undo stays at hand
        self._offer_to_erase(tuple(each for each in kept if each and Path(each).exists()))
        if self._removed_folders:
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
        members = zip(self.names, self.entries, strict=True)
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
        from workbench.report.runs import write_report

        runs = self.runs
        if not runs:
            return "Predictions have no rows to report on: simulate or run first."
        path = self._make_folder() / "report.html"
        write_report(runs, path)
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

    def _draw(self, entries: tuple[Entry, ...], baseline: Entry | None) -> None:
        with self._draw_lock:
            self.entries, self.baseline = entries, baseline
            self._former, self.undo_button.disabled = None, True
            self.set_trait("value", tuple(entry.result for entry in entries))
            self.layout.display = None if entries else "none"
            self.status.say("")
            self._offer_to_erase(())
            results = dict(zip(self.names, self.value, strict=True))
            comparison = compare(results) if results else None
            self._tabulate(comparison)
            for name, chart in self.charts.items():
                chart.figure = CHARTS[name](comparison) if comparison else None
            self._comparison = comparison
            self._save_view()

    def _tabulate(self, comparison: Comparison | None) -> None:
        keys, rows = tabulate(comparison, self._baseline_name) if comparison else ([], [])
        columns = [
            {"key": key, "title": COLUMNS[key].title, "hint": COLUMNS[key].hint} for key in keys
        ]
        members = zip(self.entries, self.names, rows, strict=True)
        with self.table.hold_sync():
            self.table.columns = columns
            self.table.caption = describe_shared(comparison) if comparison else ""
            self.table.csv = comparison.frame.write_csv() if comparison else ""
            self.table.rows = [
                {
                    "id": entry.id,
                    "name": name,
                    "note": entry.note,
                    "code": entry.code,
                    "baseline": entry is self.baseline,
                    "cells": [vars(cell) for cell in cells],
                }
                for entry, name, cells in members
            ]
        self.notes.value = list_notes(comparison.warnings) if comparison else ""

    @property
    def _baseline_name(self) -> str:
        where = self.entries.index(self.baseline) if self.baseline in self.entries else None
        return "" if where is None else self.names[where]

    def _keep_pictures(self, _change: object) -> None:
        """Leave the charts in the notebook, too, once the page has drawn all of them."""
        if all(chart.picture for chart in self.charts.values() if chart.figure):
            self._save_view()

    def _save_view(self) -> None:
        if (comparison := self._comparison) is None:
            self.keep("")
            return
        members = zip(self.names, self.entries, strict=True)
        notes = {name: entry.note for name, entry in members if entry.note}
        table = results_table(comparison, notes, self._baseline_name)
        images = [chart.image for chart in self.charts.values()]
        self.keep("".join([table.html(), list_notes(comparison.warnings), *images]))


_BUTTONS = {
    "save": ("Save runs", "Write each run with its rows into the folder", ""),
    "report": ("Write report", "Write one page on all runs into the folder", ""),
    "undo": ("Undo", "Bring back what was deleted or cleared last", ""),
    "clear": ("Clear results", "Take all results from table and charts; Undo brings them back", ""),
    "erase": ("Delete from disk", "Delete the rows of what was taken away; for good", "warning"),
}


def _code_of(result: Result) -> str:
    """Return the line that gets a run back, where one is known."""
    kept = result.record.kept if isinstance(result, Run) else None
    return f"import workbench as wb\n\nrun = wb.load_run({kept!r})" if kept else ""


def _file_name(run: Run, name: str) -> str:
    """Return what a run's folder is called: what sets it apart, and when it was made."""
    made = (run.record.created or "")[:19]
    return re.sub(r"[^a-z0-9]+", "-", f"{name} {made}".lower()).strip("-")
