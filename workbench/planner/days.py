"""Days of traffic, simulated two at a time: the loops release the interpreter."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

AT_ONCE = 2  # compiled loops let go of the interpreter's lock


@contextlib.contextmanager
def map_days() -> Iterator[Callable[..., Iterator[Any]]]:
    """Yield what `map` does, two calls at a time where the system has threads: a browser has none.

    >>> with map_days() as each_day:
    ...     list(each_day(abs, [-1, 2]))
    [1, 2]
    """
    if sys.platform == "emscripten":
        yield map
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield pool.map
