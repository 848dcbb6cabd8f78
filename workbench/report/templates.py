"""Templates of reports: notebooks that take parameters, ours and one's own.

What stands before the cell tagged `parameters` is for who fills the template in, and so is a cell
tagged `remove-cell`: a page has neither. A template without such a cell takes no parameters.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.errors import InvalidInput, NotFound
from workbench.extras import require_extra
from workbench.files import as_path, find_notebooks
from workbench.validation import parse_seconds, suggest

_PARAMETER_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "list[str]": (list, tuple),
}
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}
_HEADING = re.compile(r"^# +(.+?)\s*#*$", re.MULTILINE)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a template: its kind, as annotated, what it is by default, and its help."""

    name: str
    kind: str
    default: object
    help: str = ""

    @property
    def is_time(self) -> bool:
        """Whether it is a time, which a text gives with its unit: its help begins with "seconds".

        >>> Parameter("latency", "float", 0.1, "seconds, the target").is_time
        True
        """
        return self.kind in ("float", "int") and self.help.startswith("seconds")

    def check(self, value: object) -> object:
        """Return the value, which is of the parameter's kind; of a time, also of a text as 100ms.

        A number of NumPy's is the number of Python's that it is: papermill writes others as texts.

        Raises:
            InvalidInput: It is not.

        >>> Parameter("size", "int", 8).check(16), Parameter("size", "int", 8).check(np.int64(16))
        (16, 16)
        >>> Parameter("warm", "bool", True).check(np.bool_(False))
        False
        """
        if self.is_time and isinstance(value, str):
            return self.read(value)
        value = value.item() if isinstance(value, np.number | np.bool_) else value
        kinds = _PARAMETER_KINDS[self.kind]
        fits = isinstance(value, kinds) and isinstance(value, bool) == (self.kind == "bool")
        if self.kind == "list[str]" and isinstance(value, list | tuple):
            fits, value = all(isinstance(each, str) for each in value), list(value)
        if not fits:
            raise InvalidInput(f"Parameter {self.name} must be {self.kind}, got {value!r}.")
        return value

    def read(self, text: str) -> object:
        """Return the value that a text writes; a list's members stand between commas.

        A time has its unit, as 100ms.

        Raises:
            InvalidInput: The text writes none of the parameter's kind.

        >>> Parameter("runs", "list[str]", []).read("a,b"), Parameter("rate", "float", 1).read("2")
        (['a', 'b'], 2.0)
        """
        if self.is_time:
            return self._read_time(text)
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

    def _read_time(self, text: str) -> object:
        try:
            seconds = parse_seconds(text)
        except InvalidInput as error:
            raise InvalidInput(f"Parameter {self.name}: {error}.") from None
        if self.kind == "int" and not seconds.is_integer():
            raise InvalidInput(f"Parameter {self.name} must be whole seconds, got {text!r}.")
        return int(seconds) if self.kind == "int" else seconds


@dataclass(frozen=True, eq=False)
class Template:
    """A notebook that takes parameters.

    Attributes:
        path: Its file.
        notebook: nbformat's node.
        parameters: By name, in their order.
        title: Of its page, unless a parameter `title` says another: its first heading, or its name.
        about: What it is for: the first sentence under that heading, "" where there is none.
    """

    path: Path
    notebook: Any
    parameters: Mapping[str, Parameter]
    title: str
    about: str = ""

    def check(self, values: Mapping[str, object]) -> dict[str, object]:
        """Return these values, each of its parameter's kind.

        Raises:
            InvalidInput: A parameter is unknown or of another kind.
        """
        known = self.parameters
        if unknown := [name for name in values if name not in known]:
            there = ", ".join(known) or "none: a cell tagged 'parameters' gives it some"
            raise InvalidInput(
                f"{self.path.name} has no parameter {', '.join(unknown)}: it has {there}."
                f"{suggest(unknown[0], known)}"
            )
        return {name: known[name].check(value) for name, value in values.items()}

    def fill(self, values: Mapping[str, object]) -> dict[str, object]:
        """Return all parameters: these values, and the defaults of the others."""
        return {name: values.get(name, each.default) for name, each in self.parameters.items()}


def find_template(name: str = "compare") -> Path:
    """Return the template of this name, one of ours or a file of one's own, NAME.ipynb.

    Raises:
        NotFound: There is none of this name.

    >>> find_template().name
    'compare.ipynb'
    """
    ours = {path.stem: path for path in our_templates()}
    path = ours.get(name, as_path(name))
    if path.suffix != ".ipynb":
        raise NotFound(
            f"No template {name!r}: there are {', '.join(ours)}, or a file NAME.ipynb."
            f"{suggest(name, ours)}"
        )
    return path


def our_templates() -> list[Path]:
    """Return our templates: those of the checkout, or those that are installed.

    >>> [path.stem for path in our_templates()][:2]
    ['capacity', 'choice']
    """
    return sorted((find_notebooks() / "reports").glob("*.ipynb"))


def read_template(path: Path) -> Template:
    """Return the template in a file.

    Raises:
        NotAvailable: The extra `report` is not installed.
        NotFound: There is no such file.
        InvalidInput: It is not a notebook of Python, or has several cells tagged `parameters`, or
            one of other lines than `name: kind = default`.
    """
    path = as_path(path)
    notebook = _read(path)
    language = str(notebook.metadata.get("kernelspec", {}).get("language") or "python")
    if language.lower() != "python":
        raise InvalidInput(f"{path} is a notebook of {language}: a template is one of Python.")
    title, about = _introduce(notebook)
    return Template(path, notebook, _parameters(notebook, path), title or path.stem, about)


def drop_notes(notebook: Any) -> list[Any]:  # noqa: ANN401 - nbformat's node
    """Return the cells that a page shows: none that is for who fills the template in."""
    tags = [frozenset(cell.metadata.get("tags", ())) for cell in notebook.cells]
    first = next((n + 1 for n, each in enumerate(tags) if "parameters" in each), 0)
    hidden = {"remove-cell", "remove_cell", "injected-parameters"}
    shown = zip(notebook.cells[first:], tags[first:], strict=True)
    return [cell for cell, each in shown if not each & hidden]


def _introduce(notebook: Any) -> tuple[str, str]:  # noqa: ANN401
    """Return the first heading of a notebook and the first sentence under it."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (found := _HEADING.search(cell.source)):
            under = " ".join(cell.source[found.end() :].split())
            return found[1], re.split(r"(?<=[.:?!]) ", under)[0].rstrip(":")
    return "", ""


def _read(path: Path) -> Any:  # noqa: ANN401 - nbformat's node
    require_extra("report", "A report as a notebook")
    import nbformat

    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        nbformat.validate(notebook)  # reading one logs what is wrong, and goes on
    except OSError as error:
        raise NotFound(f"No template at {path}: {error.strerror}.") from error
    except Exception as error:  # nbformat raises whatever it stumbles over
        raise InvalidInput(f"{path} is not a notebook.") from error
    return notebook


def _parameters(notebook: Any, path: Path) -> dict[str, Parameter]:  # noqa: ANN401
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    if not tagged:
        return {}
    try:
        (cell,) = tagged
        comments = cell.source.splitlines()
        found = [_parameter(line, comments) for line in ast.parse(cell.source).body]
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise InvalidInput(
            f"{path} must have one cell tagged 'parameters', of lines as `size: int = 8`; "
            f"kinds are {', '.join(_PARAMETER_KINDS)}."
        ) from error
    return {each.name: each for each in found}


def _parameter(line: ast.stmt, lines: list[str]) -> Parameter:
    match line:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=ast.expr() as value):
            kinds = ast.unparse(kind)
            _PARAMETER_KINDS[kinds]
            rest = lines[(line.end_lineno or 1) - 1].encode()[line.end_col_offset :].decode()
            return Parameter(name, kinds, ast.literal_eval(value), rest.strip(" #"))
    raise ValueError(ast.unparse(line))
