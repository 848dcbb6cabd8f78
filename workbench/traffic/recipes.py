"""A trace's name read as what it is: the expression that made it, which can be made once more."""

import ast
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np

from workbench.errors import WorkbenchError
from workbench.traffic.patterns import bursty, constant, diurnal, flash_crowd, markovian, poisson
from workbench.traffic.trace import Trace
from workbench.validation import Seed

_MAKERS: dict[str, Callable[..., Trace]] = {
    each.__name__: each for each in (poisson, constant, bursty, diurnal, flash_crowd, markovian)
}
_STATIONARY = ("poisson", "constant", "bursty", "markovian")
_METHODS = ("scale", "clip", "thin")
Draws = Iterator[Seed] | None


def can_redraw(trace: Trace) -> bool:
    """Return whether the trace is what its name says, so that others like it can be drawn.

    Its rows may all take some bytes, of which its name says nothing. One drawn from a NumPy
    generator cannot be checked, and counts.

    >>> can_redraw(poisson(rate=5, duration=10, seed=1)), can_redraw(Trace([1.0], 2.0))
    (True, False)
    """
    if "Generator" in trace.name:
        return _parse(trace.name) is not None
    return _make_like(trace, None, 1.0) == trace


def is_stationary(trace: Trace) -> bool:
    """Return whether the process of a trace that can be redrawn is the same at every instant.

    >>> is_stationary(poisson(rate=5, duration=10, seed=1).scale(2))
    True
    """
    node = _parse(trace.name)
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        node = None if node.func.attr == "clip" else node.func.value
    named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return named and node.func.id in _STATIONARY  # type: ignore[union-attr]


def redraw(trace: Trace, seed: np.random.Generator, *, stretch: float = 1.0) -> Trace | None:
    """Return another trace of the same process, None where it cannot be; see `can_redraw`.

    It is `stretch` times as long. Its draws are those of the generator's children.

    >>> another = redraw(poisson(rate=5, duration=10, seed=1), np.random.default_rng(1), stretch=2)
    >>> another.duration
    20.0
    """
    draws = (seed.spawn(1)[0] for _ in iter(int, 1))
    return _make_like(trace, draws, stretch)


def make(name: str, draws: Draws = None, stretch: float = 1.0) -> Trace | None:
    """Return the trace that a name tells, None where it tells none; a name is no program.

    Args:
        name: What `Trace.name` may be.
        draws: What takes the place of each seed in it.
        stretch: How many times as long as it says the trace is.
    """
    with suppress(WorkbenchError, TypeError, ValueError, LookupError, AttributeError):
        node = _parse(name)
        return None if node is None else _evaluate(node, draws, stretch)
    return None


@lru_cache(maxsize=64)
def _parse(name: str) -> ast.expr | None:
    with suppress(SyntaxError, ValueError):
        return ast.parse(name, mode="eval").body
    return None


def _make_like(trace: Trace, draws: Draws, stretch: float) -> Trace | None:
    """Return what a trace's name makes, with as many bytes a row as the trace has."""
    made = make(trace.name, draws, stretch)
    if made is None or not trace.bytes.any():
        return made
    return made.with_content(float(trace.bytes.sum() / trace.rows.sum()))


def _evaluate(node: ast.expr, draws: Draws, stretch: float) -> Trace:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _evaluate(node.left, draws, stretch) + _evaluate(node.right, draws, stretch)
    if not isinstance(node, ast.Call):
        raise TypeError(ast.dump(node))
    given = {str(each.arg): _value(each, draws, stretch) for each in node.keywords}
    if isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS:
        base = _evaluate(node.func.value, draws, stretch)
        made: Any = getattr(base, node.func.attr)(*map(ast.literal_eval, node.args), **given)
    else:
        made = _MAKERS[ast.unparse(node.func)](**given)
    if not isinstance(made, Trace):
        raise TypeError(made)
    return made


def _value(keyword: ast.keyword, draws: Draws, stretch: float) -> Any:  # noqa: ANN401
    if keyword.arg == "seed" and draws is not None:
        return next(draws)
    value = ast.literal_eval(keyword.value)
    return value * stretch if keyword.arg == "duration" else value
