"""A notebook that takes parameters: found, filled in, executed, and shown as a page.

Papermill executes it and nbconvert makes the page, both of the extra `report`.
"""

import ast
import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import workbench
from workbench.errors import InvalidInput, NotAvailable, NotFound, WorkbenchError
from workbench.files import as_path
from workbench.validation import of_kind

_PARAMETER_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "list[str]": (list, tuple),
}
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a template: its kind, as annotated, and what it is by default."""

    name: str
    kind: str
    default: object

    def check(self, value: object) -> object:
        """Return the value, which is of the parameter's kind.

        Raises:
            InvalidInput: It is not.

        >>> Parameter("size", "int", 8).check(16)
        16
        """
        kinds = _PARAMETER_KINDS[self.kind]
        fits = isinstance(value, kinds) and isinstance(value, bool) == (self.kind == "bool")
        if self.kind == "list[str]" and isinstance(value, list | tuple):
            fits, value = all(isinstance(each, str) for each in value), list(value)
        if not fits:
            raise InvalidInput(f"Parameter {self.name} must be {self.kind}, got {value!r}.")
        return value

    def read(self, text: str) -> object:
        """Return the value that a text writes; a list's members stand between commas.

        Raises:
            InvalidInput: The text writes none of the parameter's kind.

        >>> Parameter("runs", "list[str]", []).read("a,b"), Parameter("rate", "float", 1).read("2")
        (['a', 'b'], 2.0)
        """
        try:
            match self.kind:
                case "int":
                    return int(text)
                case "float":
                    return float(text)
                case "bool":
                    return _BOOLEANS[text.lower()]
                case "list[str]":
                    return [part for part in text.split(",") if part]
        except (ValueError, KeyError):
            raise InvalidInput(
                f"Parameter {self.name} must be {self.kind}, got {text!r}."
            ) from None
        return text


def find_template(name: str = "compare") -> Path:
    """Return the template of this name: of the checkout, or the one that is installed.

    Raises:
        NotFound: There is none of this name.

    >>> find_template().name
    'compare.ipynb'
    """
    package = Path(workbench.__file__).parent
    folders = [package.parent / "notebooks/reports", package / "notebooks/reports"]
    for folder in folders:
        if (path := folder / f"{name}.ipynb").is_file():
            return path
    raise NotFound(f"No template {name!r} in {' or '.join(map(str, folders))}.")


def parameters_of(template: Path) -> dict[str, Parameter]:
    """Return the parameters in a template's cell tagged `parameters`, by name.

    Raises:
        NotAvailable: The extra `report` is not installed.
        NotFound: There is no such file.
        InvalidInput: It is not a notebook, or has no such cell of lines `name: kind = default`.
    """
    return _parameters(_read(template), template)


def execute(template: Path, values: Mapping[str, object]) -> Any:  # noqa: ANN401 - nbformat's node
    """Return the template, executed with these parameters in a kernel of its own.

    The kernel works in the current folder; nothing is written.

    Raises:
        NotAvailable: The extra `report` is not installed.
        NotFound: There is no such template.
        InvalidInput: A parameter is unknown or of another kind, or the template is none.
        WorkbenchError: A cell failed.
    """
    notebook = _read(template)
    known = _parameters(notebook, template)
    if unknown := [name for name in values if name not in known]:
        raise InvalidInput(
            f"{template.name} has no parameter {', '.join(unknown)}: it has {', '.join(known)}."
        )
    checked = {name: known[name].check(value) for name, value in values.items()}
    with _require_extra():
        from papermill import execute_notebook
        from papermill.exceptions import PapermillException, PapermillExecutionError
    try:
        done = execute_notebook(
            notebook, None, checked, progress_bar=False, extra_arguments=["--log-level=ERROR"]
        )
    except PapermillExecutionError as error:
        raise WorkbenchError(
            f"Cell {error.cell_index + 1} of {template.name} failed: {error.ename}: {error.evalue}"
        ) from error
    except (PapermillException, RuntimeError) as error:  # the latter when the kernel died
        raise WorkbenchError(f"{template.name} cannot be executed: {error}") from error
    titles = [parameter.default for parameter in known.values() if parameter.name == "title"]
    done.metadata["title"] = str(checked.get("title", *titles or [template.stem]))
    return done


def page_of(notebook: Any, *, code: bool = False) -> str:  # noqa: ANN401 - nbformat's node
    """Return an executed notebook as one HTML page, which loads nothing and runs no script.

    Args:
        notebook: As `execute` returns it.
        code: Show the cells' code too.

    Raises:
        NotAvailable: The extra `report` is not installed.
    """
    with _require_extra():
        from nbconvert import HTMLExporter
    exporter = HTMLExporter(
        template_file="notebook.html.j2",
        extra_template_paths=[str(Path(__file__).parent)],
        exclude_input=not of_kind("code", code, bool),
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    page, _ = exporter.from_notebook_node(notebook)
    return re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)


def _read(template: Path) -> Any:  # noqa: ANN401 - nbformat's node
    with _require_extra():
        import nbformat
    template = as_path(template)
    try:
        notebook = nbformat.reads(template.read_text(encoding="utf-8"), as_version=4)
        nbformat.validate(notebook)  # reading one logs what is wrong, and goes on
    except OSError as error:
        raise NotFound(f"No template at {template}: {error.strerror}.") from error
    except Exception as error:  # nbformat raises whatever it stumbles over
        raise InvalidInput(f"{template} is not a notebook.") from error
    return notebook


def _parameters(notebook: Any, template: Path) -> dict[str, Parameter]:  # noqa: ANN401
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    try:
        (cell,) = tagged
        lines = ast.parse(cell.source).body
        found = [_parameter(line) for line in lines]
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise InvalidInput(
            f"{template} must have one cell tagged 'parameters', of lines as `size: int = 8`; "
            f"kinds are {', '.join(_PARAMETER_KINDS)}."
        ) from error
    return {each.name: each for each in found}


def _parameter(line: ast.stmt) -> Parameter:
    match line:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=ast.expr() as value):
            kinds = ast.unparse(kind)
            _PARAMETER_KINDS[kinds]
            return Parameter(name, kinds, ast.literal_eval(value))
    raise ValueError(ast.unparse(line))


@contextlib.contextmanager
def _require_extra() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise NotAvailable(
            "Reports as notebooks need papermill and nbconvert: "
            "pip install 'inference-workbench[report]'."
        ) from error
