"""A template executed by papermill in a kernel of this Python, and its page."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.errors import InvalidInput, WorkbenchError
from workbench.report.cells import cell_parts
from workbench.report.page import page_html
from workbench.report.templates import (
    Parameter,
    Template,
    drop_notes,
    read_template,
    require_extra,
)
from workbench.validation import of_kind

_KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
_KEEP_CHARTS = "from workbench.report.altair_charts import keep_specs; keep_specs()"


def execute(template: Template | Path, values: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401 - nbformat's node
    """Return the template, executed with these parameters in a kernel of its own.

    The kernel is one of this Python, whatever the template was written with, and works in the
    current folder; nothing is written.

    Raises:
        NotAvailable: The extra `report` is not installed.
        NotFound: There is no such template.
        InvalidInput: A parameter is unknown or of another kind, or the template is none.
        WorkbenchError: A cell failed.
    """
    template = template if isinstance(template, Template) else read_template(template)
    checked = _check(template, values or {})
    notebook = template.notebook
    notebook.metadata["kernelspec"] = dict(_KERNEL)
    notebook.metadata["language_info"] = {"name": "python"}
    done = _execute(notebook, checked, template.path.name)
    title = template.parameters.get("title", Parameter("title", "str", template.title)).default
    done.metadata["title"] = str(checked.get("title", title))
    return done


def _check(template: Template, values: Mapping[str, object]) -> dict[str, object]:
    known = template.parameters
    if unknown := [name for name in values if name not in known]:
        there = ", ".join(known) or "none: a cell tagged 'parameters' gives it some"
        raise InvalidInput(
            f"{template.path.name} has no parameter {', '.join(unknown)}: it has {there}."
        )
    return {name: known[name].check(value) for name, value in values.items()}


def _execute(notebook: Any, values: Mapping[str, object], name: str) -> Any:  # noqa: ANN401
    with require_extra():
        from papermill import execute_notebook
        from papermill.exceptions import PapermillException, PapermillExecutionError
    try:
        return execute_notebook(
            notebook,
            None,
            values,
            progress_bar=False,
            kernel_manager_class=_own_kernel(),
            extra_arguments=["--log-level=CRITICAL", f"--IPKernelApp.exec_lines={_KEEP_CHARTS}"],
        )
    except PapermillExecutionError as error:
        raise WorkbenchError(
            f"Cell {error.cell_index + 1} of {name} failed: {error.ename}: {error.evalue}"
        ) from error
    except (PapermillException, RuntimeError) as error:  # the latter when the kernel died
        raise WorkbenchError(f"{name} cannot be executed: {error}") from error


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


def page_of(notebook: Any, *, code: bool = False) -> str:  # noqa: ANN401 - nbformat's node
    """Return an executed notebook as one HTML page, which loads nothing and runs no script.

    Args:
        notebook: As `execute` returns it.
        code: Show the cells' code too.

    Raises:
        NotAvailable: The extra `report` is not installed.
    """
    of_kind("code", code, bool)
    parts = [part for cell in drop_notes(notebook) for part in cell_parts(cell, code=code)]
    return page_html(notebook.metadata["title"], parts)
