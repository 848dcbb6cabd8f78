"""How tests ask for an error: its kind and the values that it must name, not its words."""

import re
from contextlib import contextmanager

import pytest


@contextmanager
def refused(kind, *named):
    """Check that the block raises this kind of error, and that its message names each value.

    Yields:
        what pytest.raises yields, for whoever asks for more than the message.
    """
    with pytest.raises(kind) as caught:
        yield caught
    message = str(caught.value)
    assert not (missing := unnamed(message, *named)), f"{missing} not named in: {message}"


def unnamed(text, *named):
    """Return the values that a text does not name, as `str` writes them.

    Each is looked for as a whole: 10 is not in 100, -10, 10.5 or 10,000, nor size in max_size
    or size-2. What is empty is in every text: ask for `repr("")`.
    """
    return [value for value in map(str, named) if not re.search(_whole(value), text)]


def _whole(value):
    assert value, "an empty text is in every message"
    before = r"(?<![\w.+-])(?<!\d,)" if re.match(r"[\w+-]", value) else ""
    after = r"(?!\w|[.,-]\w)" if re.search(r"\w$", value) else ""
    return f"{before}{re.escape(value)}{after}"
