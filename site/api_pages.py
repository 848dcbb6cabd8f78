"""Pages of the Python reference: every public name once, in the order of the table of contents."""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

import workbench

_COMMENT = re.compile(r"^    # (.+)$")
MODULES = ("plots", "findings", "forecasts", "cloud.monitor", "errors")
"""Modules whose names are public without being in the table of contents."""


def read_groups() -> dict[str, list[str]]:
    """Return the public names below the comments that head them in the table of contents."""
    text = Path(workbench.__file__).read_text()
    table = next(
        node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_CONTENTS"
    )
    homes = {name: module for module, names in workbench._CONTENTS.items() for name in names}
    groups: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not table.lineno < number < table.end_lineno:
            continue
        if comment := _COMMENT.match(line):
            names = groups.setdefault(comment[1], [])
        else:
            names += [name for name in re.findall(r'"(\w+)"', line) if name in homes]
    return groups


def names_of(module: str) -> list[str]:
    """Return the public names of a module: its `__all__`, or what it defines."""
    found = import_module(f"workbench.{module}")
    defined = (
        name
        for name, value in vars(found).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == found.__name__
    )
    return list(getattr(found, "__all__", None) or defined)


def write_pages() -> Mapping[str, str]:
    """Return the pages, in reStructuredText, by file."""
    pages, listed = {}, []
    for title, names in read_groups().items():
        file = re.sub(r"\W+", "-", title.lower())
        pages[f"api/{file}.rst"] = _page(f"{title[0].upper()}{title[1:]}", "workbench", names)
        listed.append(file)
    for module in MODULES:
        pages[f"api/{module}.rst"] = _page(
            f"workbench.{module}", f"workbench.{module}", names_of(module)
        )
        listed.append(module)
    return pages | {"api/index.rst": "\n".join(_index(listed))}


def _index(files: list[str]) -> Iterator[str]:
    yield from _head("Python reference")
    yield "Each name below is one of ``import workbench as wb``, unless its module is named.\n"
    yield ".. toctree::\n"
    yield from (f"   {file}" for file in files)


def _head(title: str) -> list[str]:
    return [title, "=" * len(title), ""]


def _page(title: str, module: str, names: list[str]) -> str:
    lines = _head(title)
    if module != "workbench":
        lines += [inspect.getdoc(import_module(module)) or "", ""]
    lines += [f".. currentmodule:: {module}", ""]
    values = {name: getattr(import_module(module), name) for name in names}
    lines += [".. list-table::", "   :widths: auto", ""]
    for name, value in values.items():
        lines += [f"   * - :py:obj:`{name}`", f"     - {_sentence(value)}"]
    lines.append("")
    for name, value in values.items():
        lines += _entry(name, value)
    return "\n".join(lines)


def _sentence(value: object) -> str:
    """Return what a docstring begins with, up to its first full stop; of data there is none."""
    paragraph = (inspect.getdoc(value) or "").partition("\n\n")[0] if callable(value) else ""
    return re.split(r"(?<=\.)\s", " ".join(paragraph.split()))[0]


def _entry(name: str, value: object) -> Iterator[str]:
    kind = "class" if inspect.isclass(value) else "function" if callable(value) else "data"
    if kind == "class" and issubclass(value, BaseException):
        kind = "exception"
    yield f".. auto{kind}:: {name}"
    if kind == "class":
        yield "   :members:"
    if kind == "exception":
        yield "   :show-inheritance:"
    yield ""
