"""What the notebook around the controls gets and answers."""

import contextvars
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import anywidget
import traitlets

from workbench.errors import InvalidInput, WorkbenchError
from workbench.process import release_memory

Frontend = Literal["widgets", "static"]

_FRONTEND_VARIABLE = "WORKBENCH_FRONTEND"


def frontend() -> Frontend:
    """Return "widgets" where somebody can use them, else "static" (papermill, nbconvert, a script).

    $WORKBENCH_FRONTEND decides where it is set. Voila names itself; otherwise a kernel that may
    ask for input has somebody in front of it.

    Raises:
        InvalidInput: $WORKBENCH_FRONTEND is neither of the two.
    """
    match os.environ.get(_FRONTEND_VARIABLE):
        case "widgets":
            return "widgets"
        case "static":
            return "static"
        case None | "":
            return "widgets" if _is_voila() or _kernel_allows_input() else "static"
        case other:
            raise InvalidInput(
                f"{_FRONTEND_VARIABLE} must be 'widgets' or 'static', got {other!r}."
            )


def _is_voila() -> bool:
    return os.environ.get("SERVER_SOFTWARE", "").startswith("voila")


def _kernel_allows_input() -> bool:
    """Return whether input() works here; ipykernel keeps that in a private attribute."""
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython.get_ipython(), "kernel", None) if ipython else None
    return bool(getattr(kernel, "_allow_stdin", False))


def current_cell() -> tuple[str, str] | None:
    """Return which cell is being run and by which request, where the front end tells (Jupyter)."""
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython.get_ipython(), "kernel", None) if ipython else None
    request = kernel.get_parent("shell") if kernel else {}
    name = request.get("metadata", {}).get("cellId")
    return (name, request["header"]["msg_id"]) if name else None


def kernel_options() -> list[str]:
    """Return what has a Jupyter server encrypt what it and its kernels say, where both can.

    The kernels of ipykernel 7 warn on the server's terminal where it does not.
    """
    from jupyter_client.manager import KernelManager

    if "transport_encryption" not in KernelManager.class_traits():
        return []
    try:
        KernelManager(transport_encryption="auto")
    except traitlets.TraitError:  # this ZeroMQ cannot
        return []
    return ["--KernelManager.transport_encryption=auto"]


def describe_failure(failure: BaseException) -> str:
    """Return what went wrong in words; what the workbench did not raise itself with its kind.

    A view says so of whatever fails in a thread of its own, which reaches nobody otherwise.
    """
    known = isinstance(failure, WorkbenchError)
    return str(failure) if known else f"{type(failure).__name__}: {failure}"


def run_in_background(work: Callable[..., object], *arguments: object) -> threading.Thread:
    """Return a thread that has begun to do the work, and may set what widgets show.

    Their messages find the cell by context variables, which ipykernel 7 needs copied. What the work
    has freed, other visitors may have.
    """
    context = contextvars.copy_context()

    def work_and_release() -> None:
        try:
            work(*arguments)
        finally:
            release_memory()

    thread = threading.Thread(target=context.run, args=(work_and_release,), daemon=True)
    thread.start()
    return thread


def await_finish(
    finished: threading.Event, stop: Callable[[], object], timeout: float | None
) -> None:
    """Wait until work in the background is over, or for `timeout` seconds.

    Ctrl-C, and so the interrupt button of a notebook, stops it; its end is waited for.
    """
    try:
        finished.wait(timeout)
    except KeyboardInterrupt:
        stop()
        finished.wait()


class Keyboard(anywidget.AnyWidget):
    """Keeps the keys pressed in controls from JupyterLab, and the focus among them.

    In JupyterLab "d d" deletes a cell, also when a list or a button in its output has the focus.
    The attribute that stops this has to be on the very control. Keys with Ctrl or Cmd still reach
    JupyterLab. When a button that has the focus is disabled, one beside it gets the focus, the
    primary one first; it would be lost otherwise. The handle of a slider, which ipywidgets leaves
    without a name, gets that of the slider. A control has the help text of its label, which alone
    gets one from ipywidgets, and nothing has the "null" that it writes where there is none. A
    button that unfolds something says whether it has. All this holds in a box of the class `wb`.
    """

    _esm = Path(__file__).with_name("keyboard.js")


class Status(anywidget.AnyWidget):
    """A line of words that screen readers read out when it changes; `wrong` words stand out."""

    text = traitlets.Unicode().tag(sync=True)
    wrong = traitlets.Bool(default_value=False).tag(sync=True)

    _esm = """
    function render({ model, el }) {
      const line = document.createElement("div");
      line.className = "wb-status";
      line.setAttribute("role", "status");
      const show = () => {
        line.textContent = model.get("text");
        line.classList.toggle("wb-wrong", model.get("wrong"));
      };
      model.on("change", show);
      el.append(line);
      show();
      return () => model.off("change", show);
    }
    export default { render };
    """
    _css = """
    .wb-status {
      color: var(--jp-ui-font-color1); font-size: var(--jp-ui-font-size1);
      line-height: 1.4; min-height: 1.4em; padding: 2px; overflow-wrap: anywhere;
    }
    .wb-status.wb-wrong {
      border-left: 3px solid var(--jp-error-color1); font-weight: 600; padding-left: 6px;
    }
    .wb-error {
      border-left: 3px solid var(--jp-error-color1); color: var(--jp-ui-font-color1);
      font-size: var(--jp-ui-font-size1); font-weight: 600; line-height: 1.4;
      margin-left: 126px; overflow-wrap: anywhere; padding-left: 6px;
    }
    [data-jp-theme-light=false] .wb {
      --jp-widgets-dropdown-arrow: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'\
 viewBox='0 0 18 18'%3E%3Cpath fill='%23e0e0e0' d='M4 6.5h10L9 12z'/%3E%3C/svg%3E");
    }
    .wb-refused :is(input, select) { outline: 2px solid var(--jp-error-color1); }
    .jp-OutputArea:has(.wb) .jp-OutputArea-child:has(.wb-kept) { display: none; }
    .wb.jupyter-widgets-disconnected::before, .wb .jupyter-widgets-disconnected::before {
      content: none;
    }
    .wb.jupyter-widgets-disconnected:not(.wb .wb)::before {
      border-left: 3px solid var(--jp-error-color1); color: var(--jp-ui-font-color1);
      content: "The kernel behind these controls has ended: run this cell again. "
        "Rows that were measured are on disk, under Runs.";
      display: block; font: 600 var(--jp-ui-font-size1) / 1.4 var(--jp-ui-font-family);
      height: auto; padding: 2px 6px;
    }
    .wb.jupyter-widgets-disconnected:not(.wb .wb) > * { opacity: 0.5; }
    .wb .widget-inline-hbox:has(> .widget-label + :is(input, select)) {
      flex-wrap: wrap; height: auto;
    }
    .wb .widget-inline-hbox > .widget-label + :is(input, select) {
      flex: 1 1 72px; min-height: var(--jp-widgets-inline-height);
    }
    .wb-sketch { display: block; height: 56px; width: 100%; }
    .wb-sketch polygon { fill: #3399ee; stroke: none; }
    .wb-caption {
      color: var(--jp-ui-font-color2); font-size: 12px; line-height: 1.3;
    }
    """

    def say(self, text: str, *, wrong: bool = False) -> None:
        """Show these words instead, as one change."""
        with self.hold_sync():
            self.text, self.wrong = text, wrong
