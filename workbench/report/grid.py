"""A grid of parameters in a TOML file: every combination of their values makes a report.

::

    rate = [10, 50, 200]                  # a list: a report for each
    model = ["digits-mlp-large", "digits-logistic"]
    latency = 0.1                         # a value: the same in every report
    types = [["lambda"], ["serverless"]]  # of a parameter that is a list, a list of lists
"""

import tomllib
from collections.abc import Mapping
from itertools import product
from pathlib import Path

from workbench.errors import InvalidInput, NotFound
from workbench.report.templates import Parameter, Template

_MOST = 1000  # reports of one grid: more is a slip of the hand, and a page of them is no overview


def read_grid(
    path: Path, template: Template, shared: Mapping[str, object]
) -> tuple[list[str], list[dict[str, object]]]:
    """Return the names of the parameters that vary, and the values of each report.

    All reports have the `shared` values besides.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is no grid of this template, or has too many combinations.
    """
    given = _read(path)
    if twice := [name for name in given if name in shared]:
        raise InvalidInput(f"{', '.join(twice)} stands in {path} and in the command: choose one.")
    values = {
        name: _list(template.parameters.get(name), name, each) for name, each in given.items()
    }
    varied = [name for name, each in values.items() if len(each) > 1]
    rows = [
        {**shared, **dict(zip(values, chosen, strict=True))} for chosen in product(*values.values())
    ]
    if len(rows) > _MOST:
        raise InvalidInput(f"{path} makes {len(rows):,} reports; at most {_MOST:,} are made.")
    for row in rows:
        template.check(row)
    return varied, rows


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotFound(f"No grid at {path}: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidInput(f"{path} is not TOML: {error}. A line is as rate = [10, 50].") from error


def _list(parameter: Parameter | None, name: str, given: object) -> list[object]:
    """Return the values of a parameter, of which one that is a list has lists."""
    nested = parameter is not None and parameter.kind == "list[str]"
    values: list[object] = [given]
    if isinstance(given, list) and (not nested or all(isinstance(each, list) for each in given)):
        values = given
    if not values:
        raise InvalidInput(f"{name} has no values: give it one, or leave it out.")
    return [each for number, each in enumerate(values) if each not in values[:number]]
