"""What a cell shows: the app that it had, a new one, why there is none, or lines of code."""

import html
from collections.abc import Callable
from typing import TYPE_CHECKING

import ipywidgets

from workbench.errors import WorkbenchError
from workbench.registry.api import Registry
from workbench.widgets.code import code_of, value_code
from workbench.widgets.form import button
from workbench.widgets.notebook import Status, current_cell, frontend
from workbench.widgets.presets import DEFAULT_GROUP, Preset, preset_of

if TYPE_CHECKING:
    from workbench.widgets.app_view import App

_WAIT_TIMEOUT = 3.0  # seconds for another process that writes to the registry


def app(
    registry: Registry | None = None, *, preset: str | None = None
) -> "App | ClosedApp | StaticApp":
    """Return controls for an experiment; as a cell's last line they are shown.

    Everything they do is a line of code too: `code` gives those lines, `experiment` and `results`
    the values. Where nobody can use controls (papermill, nbconvert) it is a text that says so.

    A cell that is run again shows the app that it had, with the run under way and the results, as
    long as the kernel lives; another cell has another app. What was measured is on disk, too.
    Where the registry cannot be opened, the reason is shown with a button that tries again.

    Args:
        registry: Where the models are, by default `Registry()`, which has ready-made ones.
        preset: What the controls begin with: "batching", "bursts", "cold-starts", "limits",
            "spikes" or "hybrid".

    Raises:
        NotFound: There is no such preset.
    """
    begin = Preset(question="") if preset is None else preset_of(preset)
    where = "wb.Registry()" if registry is None else f"wb.Registry({str(registry.path)!r})"
    if frontend() == "static":
        known = registry.groups() if registry else []
        group = DEFAULT_GROUP if DEFAULT_GROUP in known or not known else known[0]
        return StaticApp(where, group, begin)

    def make() -> "App":
        from workbench.widgets.app_view import App

        found = (
            Registry(timeout=_WAIT_TIMEOUT)
            if registry is None
            else registry.with_timeout(_WAIT_TIMEOUT)
        )
        return App(found, where, begin)

    def make_or_tell() -> "App | ClosedApp":
        try:
            return make()
        except WorkbenchError as error:
            return ClosedApp(make, error)

    return get_or_create_app((where, preset), make_or_tell)


# Keyed by cell, position within it, and registry.
_apps: dict[tuple[object, ...], "App | ClosedApp"] = {}
_last_request = ("", 0)  # the request that made one last, and how many it has made


def get_or_create_app(what: object, make: Callable[[], "App | ClosedApp"]) -> "App | ClosedApp":
    """Return the app of the cell that is being run, which is made where it has none of `what`."""
    global _last_request  # noqa: PLW0603 - a kernel runs one cell at a time
    running = current_cell()
    if running is None:
        return make()
    name, request = running
    _last_request = request, _last_request[1] + 1 if _last_request[0] == request else 0
    key = name, _last_request[1], what
    if key in _apps:
        _apps[key].refresh()
    else:
        _apps[key] = make()
    return _apps[key]


class ClosedApp(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Why there is no app, with a button that makes it again; then the app, which is `app`."""

    def __init__(self, make: Callable[[], "App"], error: WorkbenchError) -> None:
        self._make = make
        self.app: App | None = None
        self.status = Status()
        self.again = button("Try again", "Open the registry again.", "primary")
        self.again.on_click(lambda _: self.refresh())
        super().__init__([self.status, self.again])
        self.add_class("wb")
        self.status.say(str(error), wrong=True)

    def refresh(self) -> None:
        """Try again, or have the app that is there read its registry again."""
        if self.app is not None:
            self.app.refresh()
            return
        try:
            self.app = self._make()
        except WorkbenchError as error:
            self.status.say(str(error), wrong=True)
        else:
            self.children = [self.app]
            self.app.decide()


class StaticApp:
    """What stands for the app where nobody can use controls: the same as lines of code."""

    def __init__(self, where: str, group: str, preset: Preset) -> None:
        made = preset.deployment
        parts = preset.trace.name, repr(preset.policy), repr(preset.slo)
        names = ("cold_start", "boot", "scaling")
        settings = {name: getattr(preset, name) for name in names}
        self.code = code_of(
            f'{where}["{group}"]',
            value_code(made),
            *(f"wb.{each}" for each in parts),
            way="simulate" if made.needs else "run",
            settings={name: value for name, value in settings.items() if value},
        )

    def __repr__(self) -> str:
        return f"{_HINT}\n\n{self.code}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(_HINT)}</p><pre>{html.escape(self.code)}</pre>"


_HINT = (
    "wb.app() shows controls in a live notebook; nobody is in front of this one (set "
    "WORKBENCH_FRONTEND=widgets if somebody is). What it begins with, as code:"
)
