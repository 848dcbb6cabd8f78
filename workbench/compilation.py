"""When a loop is compiled: not before there is work enough.

Numba and its compiled code take most of a second and 100 MB to load (some ten seconds where they
are compiled for the first time), which is longer than plain Python takes over a few thousand
requests. So a process runs its loops as they are written until they have taken `INTERPRETED_STEPS`
steps together, and compiled from then on. The numbers are the same, bit for bit.

A compiled loop is kept on disk: beside its file or, where that is read-only, in the user's cache
folder (NUMBA_CACHE_DIR overrides both). Where nothing can be written, it compiles in every process.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar, cast

import numpy as np

from workbench.drafts import lock_folder

P = ParamSpec("P")
R = TypeVar("R")
Function = TypeVar("Function", bound=Callable[..., Any])

INTERPRETED_STEPS = 100_000
"""Requests or batches, each in one loop: plain Python takes as long for them as Numba to load."""


class Budget:
    """Counts the steps that this process may still take in plain Python."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def take(self, steps: int) -> bool:
        """Take so many steps, if they are left: then return True."""
        self.steps -= steps
        return self.steps >= 0


BUDGET = Budget(INTERPRETED_STEPS)
_steps_of_loops: list[Callable[..., Any]] = []
_loops: "dict[str, Loop[..., Any]]" = {}  # by module and name


class Loop(Generic[P, R]):
    """A function over arrays, compiled once the budget of plain Python is spent, or at once."""

    def __init__(self, function: Callable[P, R], *, at_once: bool) -> None:
        functools.update_wrapper(self, function)
        self.py_func = function
        self.at_once = at_once
        self.dispatcher: Callable[P, R] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the loop."""
        if self.dispatcher is None:
            if not self.at_once and BUDGET.take(_length(args)):
                with np.errstate(all="ignore"):  # compiled code raises no warnings either
                    return self.py_func(*args, **kwargs)
            return self._call_first(*args, **kwargs)
        return self.dispatcher(*args, **kwargs)

    def _call_first(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compile the loop and run it."""
        try:
            self.dispatcher = _compile_for(self.py_func, args)
        except AttributeError:
            # Numba reads what an earlier version kept before it sees that it is stale, and fails
            # where an argument's type had another name then. See findings/.
            _remove_cache(_compile(self.py_func))
            self.dispatcher = _compile_for(self.py_func, args)
        return self.dispatcher(*args, **kwargs)


def compile_loop(loop: Callable[P, R], *, at_once: bool = False) -> Loop[P, R]:
    """Return the loop, compiled when that pays; at once where each of its steps is a long one."""
    made = Loop(loop, at_once=at_once)
    _loops[f"{loop.__module__}.{loop.__qualname__}"] = made
    return made


def compile_at_once() -> None:
    """Have this process run nothing in plain Python any more."""
    BUDGET.steps = 0


def find_compiled_types() -> dict[str, list[object]]:
    """Return for each loop that is compiled the types of arguments that it is compiled for."""
    compiled: dict[str, Any] = {name: loop.dispatcher for name, loop in _loops.items()}
    return {name: list(each.signatures) for name, each in compiled.items() if each is not None}


def load_compiled(types: Mapping[str, Iterable[object]]) -> None:
    """Load what another process has found to be needed, and run nothing in plain Python."""
    compile_at_once()
    for name in types.keys() & _loops.keys():
        dispatcher: Any = _compile(_loops[name].py_func)
        for each in types[name]:
            dispatcher.compile(each)
        _loops[name].dispatcher = dispatcher


def step(function: Function) -> Function:
    """Return the function, for loops to call: it is compiled into them."""
    _steps_of_loops.append(function)
    return function


def _length(args: tuple[object, ...]) -> int:
    """Return the entries of the longest array among arguments, or within them."""
    arrays = [each for arg in args for each in (arg if isinstance(arg, tuple) else (arg,))]
    return max(len(each) for each in arrays if isinstance(each, np.ndarray))


def _compile(loop: Callable[P, R]) -> Callable[P, R]:
    from numba import njit
    from numba.extending import register_jitable

    while _steps_of_loops:
        register_jitable(_steps_of_loops.pop())
    try:
        dispatcher: Callable[P, R] = njit(cache=True, nogil=True)(loop)
    except RuntimeError:  # Numba found no folder that it may write to
        dispatcher = njit(nogil=True)(loop)
    return dispatcher


def _compile_for(loop: Callable[P, R], args: tuple[object, ...]) -> Callable[P, R]:
    """Return a loop, compiled for such arguments; of processes that ask at once, one compiles."""
    from numba import typeof

    dispatcher: Any = _compile(loop)
    kept = dispatcher.stats.cache_path
    with nullcontext() if kept is None else lock_folder(Path(kept), alone=True):
        dispatcher.compile(tuple(map(typeof, args)))
    return cast("Callable[P, R]", dispatcher)


def _remove_cache(dispatcher: Any) -> None:  # noqa: ANN401 - Numba's, which has no types
    """Remove what is on disk of a compiled loop."""
    folder = dispatcher.stats.cache_path
    if folder is not None:
        for path in Path(folder).glob(f"*.{dispatcher.py_func.__name__}-*.nb[ic]"):
            path.unlink(missing_ok=True)
