"""The name of a student, and what is drawn from it: the same on every machine."""

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import TypeVar

from workbench.errors import InvalidInput
from workbench.validation import unicode_text

T = TypeVar("T")

LONGEST_NAME = 100
"""The most characters of a name."""

_JOINERS = "\u200c\u200d"  # names in Persian or Bengali are spelled with them


class Student:
    """A student, known by name alone, in any script.

    Capitals, spaces around it and how a system writes accents make no difference, so that a name
    typed on another machine is the same.

    Raises:
        InvalidInput: It is no text, empty, of more than 100 characters, or holds what cannot be
            seen, such as a line's end.

    >>> Student("Zoë").key == Student(" ZOE\u0308 ").key
    True
    """

    def __init__(self, name: str) -> None:
        self.name = _clean(name)
        self.key = unicodedata.normalize("NFKC", self.name.casefold())

    def draw_seed(self, topic: str) -> int:
        """Return the seed of the student's traffic in a lesson.

        >>> Student("Ada").draw_seed("batching") == Student("ada").draw_seed("batching")
        True
        """
        return int.from_bytes(self._digest(topic)[:6])

    def pick(self, topic: str, options: Sequence[T]) -> T:
        """Return the one of some options that this student gets in a lesson.

        >>> Student("Ada").pick("batching", [4, 5, 6]) in {4, 5, 6}
        True
        """
        return options[self._digest(topic)[-1] % len(options)]

    def mark(self, salt: str) -> str:
        """Return what the student's own answers are found by again; without the name it says none.

        >>> Student("Ada").mark("1f") == Student("Ada").mark("2e")
        False
        """
        return self._digest(f"answers {salt}").hex()

    def _digest(self, what: str) -> bytes:
        return hashlib.sha256(f"{what}\n{self.key}".encode()).digest()


def _clean(name: str) -> str:
    """Return a name as it is shown: nothing in it turns or hides the text around it."""
    spaced = " ".join(unicodedata.normalize("NFKC", unicode_text("name", name)).split())
    if len(spaced) > LONGEST_NAME:
        raise InvalidInput(
            f"name must have at most {LONGEST_NAME} characters, got {len(spaced):,}: "
            "give the name that you are called by."
        )
    kinds = {each: unicodedata.category(each) for each in spaced}
    if hidden := [each for each, kind in kinds.items() if kind == "Cc"]:
        raise InvalidInput(f"name holds a character that cannot be seen, {hidden[0]!a}: leave it.")
    shown = "".join(each for each in spaced if kinds[each] != "Cf" or each in _JOINERS)
    if not shown.strip(_JOINERS):
        raise InvalidInput(f"name must be the name of a student, got {name!a}.")
    return shown
