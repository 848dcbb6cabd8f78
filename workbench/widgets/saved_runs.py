"""The runs that are kept on disk, of this kernel or another: choose one, and have it shown."""

from collections.abc import Callable
from pathlib import Path

import ipywidgets
import traitlets

from workbench.errors import WorkbenchError
from workbench.files import list_runs, runs_folder
from workbench.run import Run, load_record, load_run
from workbench.widgets.form import button, make_control, show, side_by_side
from workbench.widgets.notebook import Keyboard, Status

_MAX_LISTED = 100  # that the list has


class RunsView(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A list of the runs that the app keeps, the latest first; `value` is the one shown last.

    `error` says why the latest press came to nothing, "" when it did not. A run that is to be shown
    goes to `on_show`; `above` stands over the list, as the results do.
    """

    value = traitlets.Any(None, allow_none=True, read_only=True)
    error = traitlets.Unicode("", read_only=True)

    def __init__(
        self, on_show: Callable[[Run], object], above: tuple[ipywidgets.DOMWidget, ...] = ()
    ) -> None:
        self._on_show = on_show
        about = "Runs on this disk, the latest first."
        self.list = make_control(ipywidgets.Select, "Kept runs", about, rows=6)
        self.show_button = button("Show", "Put this run among the results.", "primary")
        self.refresh_button = button("Refresh", "Look for runs on this disk again.")
        self.status = Status()
        self.show_button.on_click(lambda _: self.show())
        self.refresh_button.on_click(lambda _: self.refresh())
        buttons = side_by_side(self.show_button, self.refresh_button)
        super().__init__([*above, self.list, buttons, self.status, Keyboard()])
        self.add_class("wb")
        self.refresh()

    def refresh(self) -> None:
        """Look again what there is; the choice stays."""
        chosen, found = self.list.value, list_runs()[::-1]
        listed = found[:_MAX_LISTED]
        self.list.options = [(_line(path), path) for path in listed]
        self.list.value = chosen if chosen in listed else next(iter(listed), None)
        for control in (self.list, self.show_button):
            show(control, shown=bool(found))
        folder = runs_folder()
        if not found:
            self._set_status(f"No runs in {folder} yet: Run keeps its rows there.")
        elif len(found) > _MAX_LISTED:
            self._set_status(
                f"The latest {_MAX_LISTED} of {len(found):,} in {folder}: workbench runs has all."
            )
        else:
            self._set_status(f"{len(found)} in {folder}; wb.load_run reads them in code.")

    def show(self) -> None:
        """Have the run that is chosen shown."""
        path = self.list.value
        if path is None:
            return
        try:
            run = load_run(path)
        except WorkbenchError as error:
            self._set_status(str(error), wrong=True)
            return
        self._on_show(run)
        self.set_trait("value", run)
        self._set_status(f"Shown: {path.name}.")

    def _set_status(self, words: str, *, wrong: bool = False) -> None:
        self.set_trait("error", words if wrong else "")
        self.status.say(words, wrong=wrong)


def _line(path: Path) -> str:
    """Return when a run was made, and what it is."""
    try:
        record = load_record(path)
    except WorkbenchError:
        return f"{path.name}: damaged"
    when = (record.created or "")[:16].replace("T", " ")
    state = [] if record.complete else ["not complete"]
    known = [when, record.label, record.origin, *state]
    return " · ".join(str(each) for each in known if each)
