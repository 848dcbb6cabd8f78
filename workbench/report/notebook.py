"""A template executed in a kernel of this Python, with papermill's parameters, and its page."""

import asyncio
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from textwrap import shorten
from typing import Any

from workbench.errors import Unfinished
from workbench.files import sha256, write_file
from workbench.formatting import duration
from workbench.provenance import circumstances
from workbench.report.cells import cell_parts, code_of
from workbench.report.origin import origin_parts
from workbench.report.page import LARGEST, page_html
from workbench.report.parts import fold, quote, tell
from workbench.report.templates import Parameter, Template, drop_notes, read_template

_KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
_KEEP_CHARTS = "from workbench.report.altair_charts import keep_specs; keep_specs()"
_LONGEST_CELL = 2e6  # seconds: in milliseconds, what ZeroMQ's 31 bits hold
_PATIENCE = 600  # seconds that a kernel may take to start, and what it wrote to arrive
_LONGEST_REASON = 400  # characters of what a cell failed of


def execute(
    template: Template | Path,
    values: Mapping[str, object] | None = None,
    *,
    timeout: float | None = None,
) -> Any:  # noqa: ANN401 - nbformat's node
    """Return the template, executed with these parameters in a kernel of its own.

    The kernel is one of this Python, whatever the template was written with, and works in the
    current folder; nothing is written. All cells together may take `timeout` seconds.

    Raises:
        NotAvailable: The extra `report` is not installed.
        NotFound: There is no such template.
        InvalidInput: A parameter is unknown or of another kind, or the template is none.
        Unfinished: A cell failed or there was no time left; the error holds what was made.
    """
    template = template if isinstance(template, Template) else read_template(template)
    checked = template.check(values or {})
    began = datetime.now(UTC)
    notebook = _prepare(template, checked)
    failed = _execute(notebook, template.path.name, timeout)
    title = template.parameters.get("title", Parameter("title", "str", template.title)).default
    notebook.metadata["title"] = str(checked.get("title", title))
    notebook.metadata["origin"] = {
        "template": f"{template.path.name} (sha256 {sha256(template.path)[:12]})",
        "parameters": template.fill(checked),
        **circumstances(began),
    }
    if failed:
        notebook.metadata["failed"] = failed
        raise Unfinished(failed, notebook)
    return notebook


def _prepare(template: Template, values: dict[str, object]) -> Any:  # noqa: ANN401 - a node
    from nbformat import NotebookNode
    from papermill.parameterize import parameterize_notebook

    notebook = deepcopy(template.notebook)
    notebook.metadata["kernelspec"] = dict(_KERNEL)
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["papermill"] = NotebookNode()
    for cell in notebook.cells:
        cell.metadata.setdefault("tags", [])  # papermill reads them of each
    return parameterize_notebook(notebook, values) if values else notebook


def _execute(notebook: Any, name: str, timeout: float | None) -> str:  # noqa: ANN401
    """Execute the cells in their place, and return why not all were, "" where they were."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    cell = _CellCount()
    client = NotebookClient(
        notebook,
        kernel_manager_class=_own_kernel(),
        extra_arguments=["--log-level=CRITICAL", f"--IPKernelApp.exec_lines={_KEEP_CHARTS}"],
        timeout_func=_until(timeout),
        startup_timeout=_PATIENCE,
        iopub_timeout=_PATIENCE,  # after 4 seconds nbclient would leave out what a cell shows
        on_cell_start=cell.count,
        record_timing=False,
    )
    client.log.setLevel("CRITICAL")
    try:
        _run(client)
    except CellExecutionError as error:
        reason = shorten(f"{error.ename}: {error.evalue}", _LONGEST_REASON).rstrip(".")
        return f"Cell {cell.number} of {name} failed: {reason}."
    except CellTimeoutError:
        spent = f"was not done after {duration(timeout or 0)}, the --timeout."
        return f"Cell {cell.number} of {name} {spent}"
    except RuntimeError as error:  # when the kernel died
        return f"{name} cannot be executed: at cell {cell.number}, {error}."
    return ""


def _run(client: Any) -> None:  # noqa: ANN401 - a NotebookClient
    """Execute the cells: in the main thread so that Ctrl-C ends it, else in a loop that is closed.

    nbclient leaves the loop of a thread open.
    """
    if threading.current_thread() is threading.main_thread():
        client.execute()
    else:
        asyncio.run(client.async_execute())


class _CellCount:
    """The number of the cell in hand, among those that the template has."""

    def __init__(self) -> None:
        self.number = 0
        self._extra = 0  # papermill's own cell

    def count(self, cell: Any, cell_index: int) -> None:  # noqa: ANN401 - as nbclient calls it
        self._extra += "injected-parameters" in cell.metadata.get("tags", ())
        self.number = cell_index + 1 - self._extra


def _until(timeout: float | None) -> Callable[[object], float | None]:
    """Return what tells how many seconds a cell has, if all together have `timeout`."""
    end = None if timeout is None else time.monotonic() + timeout
    return lambda _: None if end is None else min(max(0.001, end - time.monotonic()), _LONGEST_CELL)


def _own_kernel() -> type:
    """Return what starts kernels of this Python: a user's kernels may be of another."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    class OwnKernel(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=start, **{k: v for k, v in _KERNEL.items() if k != "name"})

    return OwnKernel


def make_page(
    template: Template,
    values: Mapping[str, object],
    path: Path,
    *,
    timeout: float | None = None,
    title: str | None = None,
) -> Any:  # noqa: ANN401
    """Write the page of a template with these parameters, and return the executed notebook.

    Raises:
        Unfinished: A cell failed or there was no time left. What was made until then is a page at
            `path_of_failed(path)`.
        WorkbenchError: As of `execute`, or the page cannot be written.
    """
    failed = path_of_failed(path)
    try:
        done = execute(template, values, timeout=timeout)
    except Unfinished as error:
        _write_page(failed, page_of(error.notebook))
        raise Unfinished(f"{error} What was made until then: {failed}", error.notebook) from error
    done.metadata["title"] = title or done.metadata["title"]
    _write_page(path, page_of(done))
    failed.unlink(missing_ok=True)
    return done


def find_answer(notebook: Any) -> tuple[str, bool]:  # noqa: ANN401
    """Return what the first recommendation of an executed notebook says, and whether it is one.

    A notebook without any answers nothing, and misses nothing.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "met" in (said := output.get("metadata", {}).get("text/html", {})):
                return said["sentence"], said["met"]
    return "", True


def path_of_failed(path: Path) -> Path:
    """Return where a page that was not finished is kept: beside the one that there may be."""
    return path.with_name(f"{path.stem}.failed{path.suffix}")


def _write_page(path: Path, page: str) -> None:
    write_file(path, lambda file: file.write(page.encode()))


def page_of(notebook: Any) -> str:  # noqa: ANN401 - nbformat's node
    """Return an executed notebook as one HTML page, which loads nothing and runs no script.

    It ends with what it was made from; the code is folded away.

    Raises:
        NotAvailable: The extra `report` is not installed.
    """
    title, failed = notebook.metadata["title"], notebook.metadata.get("failed", "")
    return page_html(f"Failed: {title}" if failed else title, _fit(_parts(notebook, failed)))


def _parts(notebook: Any, failed: str) -> Iterator[str]:  # noqa: ANN401
    if failed:
        yield tell(f"This page is not finished. {failed}", "failed")
    cells = drop_notes(notebook)
    heading = ""
    for cell in cells:
        if cell.cell_type == "markdown" and (found := re.findall(r"(?m)^#+ +(.+)", cell.source)):
            heading = found[-1]
        yield from cell_parts(cell, heading)
    code = "\n\n".join(filter(None, map(code_of, cells)))
    yield from origin_parts(notebook.metadata.get("origin", {}))
    if code:
        yield fold("The code behind this page", quote(code))


def _fit(parts: Iterator[str]) -> Iterator[str]:
    """Yield parts as long as the page has room for them, else what was left out."""
    room = LARGEST
    for part in parts:
        if len(part) > room:
            size = f"{len(part) / 1e6:,.1f} MB"
            yield tell(
                f"Left out: an output of {size}, because a page holds {LARGEST / 1e6:g} MB. "
                "It is in the notebook (--notebook FILE).",
                "lacking",
            )
        else:
            room -= len(part)
            yield part
