"""What an argument must be: each check returns the value in one type, or raises an `InvalidInput`.

NumPy is imported where it is needed: values without arrays are made without it.
"""

import math
import re
from collections.abc import Iterable
from contextlib import suppress
from numbers import Integral, Real
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from workbench.errors import InvalidInput, RowMismatch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Seed: TypeAlias = "int | np.random.Generator"
T = TypeVar("T")

# how many of each are a second
_UNITS = {"us": 1e6, "ms": 1e3, "s": 1.0, "min": 1 / 60, "h": 1 / 3600, "d": 1 / 86_400}
_MAX_EXACT_INTEGER = 2**53  # up to here floats tell whole numbers apart


def positive(name: str, value: object, unit: str = "") -> float:
    """Return the value as a float, known to be finite and above 0.

    >>> positive("max_wait", 2, "seconds")
    2.0
    """
    number = _finite(value)
    if not number > 0:
        raise InvalidInput(f"{name} must be a finite number{_of(unit)} above 0, got {value!r}.")
    return number


def finite(name: str, value: object, unit: str = "") -> float:
    """Return the value as a float, known to be finite.

    >>> finite("origin", -2)
    -2.0
    """
    number = _finite(value)
    if math.isnan(number):
        raise InvalidInput(f"{name} must be a finite number{_of(unit)}, got {value!r}.")
    return number


def not_negative(name: str, value: object, unit: str = "") -> float:
    """Return the value as a float, known to be finite and at least 0.

    >>> not_negative("start", 0)
    0.0
    """
    number = _finite(value)
    if not number >= 0:
        raise InvalidInput(f"{name} must be a finite number{_of(unit)}, 0 or more, got {value!r}.")
    return number


def positive_share(name: str, value: object) -> float:
    """Return the share as a float, known to be above 0 and at most 1.

    >>> positive_share("share", 1)
    1.0
    """
    number = _finite(value)
    if not 0 < number <= 1:
        raise InvalidInput(f"{name} must lie above 0 and be at most 1, got {value!r}.")
    return number


def share(name: str, value: object) -> float:
    """Return the share as a float, known to be from 0 to 1.

    >>> share("explore", 0)
    0.0
    """
    number = _finite(value)
    if not 0 <= number <= 1:
        raise InvalidInput(f"{name} must be from 0 to 1, got {value!r}.")
    return number


def inner_share(name: str, value: object) -> float:
    """Return the share as a float, known to be above 0 and below 1.

    >>> inner_share("quantile", 0.5)
    0.5
    """
    number = _finite(value)
    if not 0 < number < 1:
        raise InvalidInput(f"{name} must lie between 0 and 1, got {value!r}.")
    return number


def whole_number(name: str, value: object, *, low: int, high: int | None = None) -> int:
    """Return the value as an int, known to be within bounds, both included; 2**53 bounds any.

    >>> import numpy as np
    >>> whole_number("workers", np.int32(3), low=1)
    3
    """
    number = None if isinstance(value, bool) or not isinstance(value, Integral) else int(value)
    most = _MAX_EXACT_INTEGER if high is None else high
    if number is None or not low <= number <= most:
        bounded = high is not None or (number or 0) > most
        wanted = f"from {low} to {most}" if bounded else f"of at least {low}"
        raise InvalidInput(f"{name} must be a whole number {wanted}, got {value!r}.")
    return number


def of_kind(name: str, value: T, kind: type[Any] | UnionType, wanted: str = "") -> T:
    """Return the value, known to be of a class; `wanted` says so in words, by default its name.

    >>> of_kind("name", "poisson", str)
    'poisson'
    """
    if not isinstance(value, kind):
        named = str(getattr(kind, "__name__", kind))
        wanted = wanted or f"{'an' if named[0] in 'AEIO' else 'a'} {named}"
        raise InvalidInput(f"{name} must be {wanted}, got {value!r}.")
    return value


def choose(name: str, value: object, choices: Iterable[T]) -> T:
    """Return the value, known to be one of a few.

    >>> choose("routing", "randm", ["shared", "random"])
    Traceback (most recent call last):
    workbench.errors.InvalidInput: routing must be one of shared, random; got 'randm'. \
Did you mean random?
    """
    known = list(choices)
    if value not in known or isinstance(value, bool):
        listed = ", ".join(map(str, known)) or "none"
        raise InvalidInput(f"{name} must be one of {listed}; got {value!r}.{suggest(value, known)}")
    return known[known.index(value)]  # not the value itself: 1024.0 equals 1024


def suggest(given: object, known: Iterable[object]) -> str:
    """Return a sentence, after a space, that asks for the known name nearest to another, if any.

    >>> suggest("Real time", ["real-time", "async"]), suggest("moon", ["real-time", "async"])
    (' Did you mean real-time?', '')
    """
    from difflib import get_close_matches

    names = {str(name).lower(): name for name in known}
    word = str(given).lower()
    cut_short = (name for name in names if len(word) > 1 and name.startswith(word))
    near = [*get_close_matches(word, names, n=1), *cut_short]
    return f" Did you mean {names[near[0]]}?" if near else ""


def flag(name: str, value: object) -> bool:
    """Return the value, known to be True or False: a text such as "no" would count as true.

    >>> flag("yes", "no")
    Traceback (most recent call last):
    workbench.errors.InvalidInput: yes must be True or False, got 'no'.
    """
    return bool(of_kind(name, value, bool, "True or False"))


def unicode_text(name: str, value: str) -> str:
    """Return the text, known to be one that can be written: without half of a surrogate pair.

    >>> unicode_text("name", "Bär")
    'Bär'
    """
    try:
        of_kind(name, value, str).encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{name} holds half of a character, got {value!a}.") from error
    return value


def parse_seconds(text: str) -> float:
    """Return a time in seconds, which is written with its unit: us, ms, s, min, h or d.

    Nothing and forever need none.

    >>> parse_seconds("25ms"), parse_seconds("2 min"), parse_seconds("0")
    (0.025, 120.0, 0.0)
    """
    match = re.fullmatch(rf"(\S*?[\d.]|[+-]?(?:nan|inf))\s*({'|'.join(_UNITS)}|)", text.strip())
    try:
        number, unit = float(match[1]), match[2]  # type: ignore[index]
    except (TypeError, ValueError):
        raise InvalidInput(f"{text!r} is not a valid time; examples: 25ms, 0.1s, 2min") from None
    if not unit and number and math.isfinite(number):
        bare = match[1]  # type: ignore[index]
        raise InvalidInput(f"{text!r} is a time without a unit: write {bare}ms or {bare}s")
    return number / _UNITS[unit or "s"]


def keep(value: object, **checked: object) -> None:
    """Set fields of a frozen value to what their checks returned: plain types, which JSON knows.

    Only its `__post_init__` may.
    """
    for name, each in checked.items():
        object.__setattr__(value, name, each)


def as_tuple(name: str, values: object) -> tuple[Any, ...]:
    """Return what a list, or anything else to go through, holds; a text is no list of its letters.

    >>> as_tuple("threads", range(1, 3))
    (1, 2)
    """
    if isinstance(values, Iterable) and not isinstance(values, str | bytes):
        with suppress(TypeError):  # an array without dimensions says it can be gone through
            return tuple(values)
    raise InvalidInput(f"{name} must be a list, got {values!r}.")


def as_pairs(name: str, values: object, what: str) -> tuple[tuple[Any, Any], ...]:
    """Return what a list of pairs holds; `what` says of what.

    >>> as_pairs("settings", [(0, "day"), [12, "night"]], "hours and a name")
    ((0, 'day'), (12, 'night'))
    """
    pairs = tuple(as_tuple(f"Each of {name}", each) for each in as_tuple(name, values))
    for pair in pairs:
        if len(pair) != 2:
            raise InvalidInput(f"Each of {name} must be {what}, got {pair!r}.")
    return pairs


def as_array(name: str, values: "ArrayLike") -> "NDArray[Any]":
    """Return the values as an array: lists in them must not differ in length.

    >>> as_array("times", [1, 2])
    array([1, 2])
    """
    import numpy as np

    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{name} must be one list of values: {error}") from error


def require_rows(outputs: "NDArray[Any]", rows: int) -> "NDArray[Any]":
    """Return the answers to so many rows.

    Raises:
        RowMismatch: They are not one a row.

    >>> import numpy as np
    >>> require_rows(np.zeros((2, 4)), 8)
    Traceback (most recent call last):
    ...
    workbench.errors.RowMismatch: 8 rows got 2 answers (an output of shape (2, 4)); one a row is \
wanted, in their order.
    """
    shape = outputs.shape if hasattr(outputs, "shape") else (len(outputs),)
    answers = shape[0] if shape else 0
    if answers != rows:
        counts = ((rows, "row"), (answers, "answer"))
        asked, got = (f"{count} {what}{'s' * (count != 1)}" for count, what in counts)
        raise RowMismatch(
            f"{asked} got {got} (an output of shape {shape}); one a row is wanted, in their order."
        )
    return outputs


def whole_numbers(
    name: str, values: "ArrayLike", count: int, dtype: "type[np.integer[Any]]", *, least: int = 0
) -> "NDArray[Any]":
    """Return an array of so many whole numbers, from one for all or one for each.

    It is a new one, unless such an array is given that nobody may write to.

    >>> import numpy as np
    >>> whole_numbers("rows", 1.0, 3, np.int32)
    array([1, 1, 1], dtype=int32)
    """
    import numpy as np

    given = as_array(name, values)
    if given.dtype.kind not in "iuf":
        raise InvalidInput(f"{name} must be whole numbers, got {given.dtype}.")
    if given.shape not in ((), (count,)):
        raise InvalidInput(
            f"{name} must be one number or {count}, one for each, got shape {given.shape}."
        )
    limit = 2 ** (8 * np.dtype(dtype).itemsize - 1)
    whole = given.dtype.kind != "f" or bool((given == np.floor(given)).all())
    if not (whole and given.min(initial=least) >= least and given.max(initial=least) < limit):
        wrong = ~((given >= least) & (given < limit) & (given == np.floor(given)))
        row = int(wrong.argmax())
        raise InvalidInput(
            f"{name} must be whole numbers of at least {least} and below {limit}, "
            f"got {given.flat[row]} in row {row + 1} (counted from 1)."
        )
    if given.shape == (count,) and given.flags.owndata and not given.flags.writeable:
        return given.astype(dtype, copy=False)
    return np.broadcast_to(given, (count,)).astype(dtype)


def as_context(values: "ArrayLike | None", count: int) -> "NDArray[np.str_] | None":
    """Return the kind of each of so many requests or rows; None where none has one.

    They are texts: one for all, or one for each.

    >>> as_context(["clean", ""], 2).tolist()
    ['clean', '']
    >>> as_context(["", ""], 2)
    """
    import numpy as np

    if values is None:
        return None
    given = as_array("context", values)
    if given.dtype.kind == "O" and all(isinstance(each, str) for each in given.flat):
        given = given.astype(str)
    if given.dtype.kind != "U":
        raise InvalidInput(f'context must be texts, "" where it is not known, got {given.dtype}.')
    if given.shape not in ((), (count,)):
        raise InvalidInput(
            f"context must be one text or {count}, one for each, got shape {given.shape}."
        )
    codes = np.ascontiguousarray(given).reshape(-1).view(np.uint32)
    if ((codes & 0xFFFFF800) == 0xD800).any():  # which no file takes
        raise InvalidInput("context holds half of a character (a lone surrogate).")
    if not given.astype(bool).any():
        return None
    if given.shape == (count,) and given.flags.owndata and not given.flags.writeable:
        return given
    context = np.broadcast_to(given, (count,)).copy()
    context.flags.writeable = False
    return context


def generator_from(seed: object) -> "np.random.Generator":
    """Return the generator itself, or a new one of a seed, which is a whole number of at least 0.

    >>> generator_from(1).integers(10), generator_from(1).integers(10)
    (np.int64(4), np.int64(4))
    """
    import numpy as np

    if isinstance(seed, np.random.Generator):
        return seed
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise InvalidInput(
            f"seed must be a whole number of at least 0 or a NumPy Generator, got {seed!r}."
        )
    return np.random.default_rng(int(seed))


def _finite(value: object) -> float:
    """Return the value as a float, NaN where it is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        number = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return math.nan
    return number if math.isfinite(number) else math.nan


def _of(unit: str) -> str:
    return f" of {unit}" if unit else ""
