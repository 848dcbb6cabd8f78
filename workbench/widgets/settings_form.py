"""Controls for the settings of a value: made from what its class says of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets

from workbench.errors import InvalidInput
from workbench.settings import SettingDescription, settings_of
from workbench.widgets.form import Control, Form, choice, integer, number, text

Choices = Mapping[str, Callable[[Any], Sequence[Any]]]
"""What a list offers for a setting, given the present value."""


class SettingsForm(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A list of kinds of values, and the controls of the chosen kind's settings alone.

    Args:
        label: Of the list.
        examples: The value that each kind's controls begin with, by kind; None for none at all.
        changed: Called when a control holds something else.
        begin: The kind that is chosen at first, by default the first.
        choices: Of the settings that are chosen from a list.
        about: Help text of the list.
    """

    def __init__(
        self,
        label: str,
        examples: Mapping[str, Any],
        changed: Callable[[object], object],
        *,
        begin: str | None = None,
        choices: Choices | None = None,
        about: str = "",
    ) -> None:
        self._examples, self._choices = dict(examples), choices or {}
        self._changed, self._forms = changed, {}  # type: tuple[Any, dict[str, Form]]
        names = [(name_of_kind(kind), kind) for kind in examples]
        self.kind = choice(label, names, begin or next(iter(examples)), about)
        self.kind.observe(changed, "value")
        self._above: tuple[Control, ...] = (self.kind,)
        super().__init__(self._above)

    def __getitem__(self, name: str) -> Control:
        return self.kind if name == "kind" else self.form[name]

    @property
    def form(self) -> Form:
        """The controls of the chosen kind."""
        kind = self.kind.value
        if kind not in self._forms:
            self._forms[kind] = self._build(self._examples[kind])
        return self._forms[kind]

    def _build(self, value: Any) -> Form:  # noqa: ANN401 - of any class with settings
        described = {} if value is None else settings_of(value.__class__)
        controls = {
            name: self._control(each, name, getattr(value, name))
            for name, each in described.items()
        }
        return Form(controls, self._changed)

    def _control(self, described: SettingDescription, name: str, now: Any) -> Control:  # noqa: ANN401 - of any setting
        label, about = described.label, f"{described.label}: {described.about}."
        if described.empty:
            return text(label, "" if now is None else f"{now:g}", described.empty, about)
        if name in self._choices:
            return choice(label, self._choices[name](now), now, about)
        if described.choices:
            return choice(label, described.choices, now, about)
        if isinstance(now, bool):
            return choice(label, [("Yes", True), ("No", False)], now, about)
        if isinstance(now, tuple):
            held = ", ".join(now) if _are_words(now) else format_numbers(now)
            return text(label, held, about=about)
        make = integer if isinstance(now, int) else number
        return make(label, now, about)

    def lift_kind(self) -> Control:
        """Return the list of kinds, to be shown elsewhere from now on."""
        (lifted,), self._above = self._above, ()
        self.show()
        return lifted

    def set(self, kind: str, value: Any) -> None:  # noqa: ANN401 - of the kind's class
        """Have the controls hold this value."""
        self._examples[kind], self._forms[kind] = value, self._build(value)
        self.kind.value = kind
        self.show()

    def show(self) -> None:
        """Show the controls of the chosen kind."""
        shown = (*self._above, self.form) if self.form.controls else self._above
        if getattr(self, "children", ()) != shown:
            self.children = shown

    def make(self) -> Any:  # noqa: ANN401 - of the chosen kind's class
        """Return the value that the controls hold, None of the kind that has none.

        Raises:
            InvalidInput: A setting is out of its limits.
        """
        self.show()
        example = self._examples[self.kind.value]
        if example is None:
            return None
        described = settings_of(example.__class__)
        held = {
            name: _parse(name, value, described[name], getattr(example, name))
            for name, value in self.form.values.items()
        }
        return type(example)(**held)

    def refuse(self, error: str) -> str:
        """Say what is wrong beside the control that it is about: see `Form.refuse`."""
        return self.form.refuse(error)


def name_of_kind(kind: str) -> str:
    """Return what a kind is called in a list.

    >>> name_of_kind("target tracking"), name_of_kind("mark released")
    ('Target tracking', 'MArk released')
    """
    return f"{kind[:1].upper()}{kind[1:]}".replace("Mark ", "MArk ")


def _parse(name: str, held: Any, described: SettingDescription, before: object) -> Any:  # noqa: ANN401 - of any setting
    if described.empty:
        return _parse_optional(name, held, described.empty)
    numbers = isinstance(before, tuple) and not _are_words(before)
    return parse_numbers(name, held) if numbers else held  # words are parted by their check


def _are_words(values: tuple[Any, ...]) -> bool:
    return any(isinstance(each, str) for each in values)


def _parse_optional(name: str, entered: str, empty: str) -> float | int | None:
    if not entered.strip():
        return None
    try:
        return _number(entered)
    except ValueError:
        raise InvalidInput(
            f"{name} must be a number, or nothing ({empty}), got {entered!r}."
        ) from None


Numbers = tuple[Any, ...]


def format_numbers(values: Numbers) -> str:
    """Return numbers, or tuples of them, as a control holds them.

    >>> format_numbers(((0.0, 4), (60.0, 1))), format_numbers((0.01, 0.02))
    ('0 4, 60 1', '0.01, 0.02')
    """
    rows = [each if isinstance(each, tuple) else (each,) for each in values]
    return ", ".join(" ".join(f"{number:g}" for number in row) for row in rows)


def parse_numbers(name: str, entered: str) -> Numbers:
    """Return what `format_numbers` wrote.

    Raises:
        InvalidInput: There is something else than numbers.

    >>> parse_numbers("changes", "0 4, 60 1"), parse_numbers("service", "0.01, 0.02")
    (((0, 4), (60, 1)), (0.01, 0.02))
    """
    try:
        rows = [tuple(_number(each) for each in row.split()) for row in entered.split(",")]
    except ValueError:
        rows = []
    if not rows or not all(rows):
        raise InvalidInput(
            f"{name} must be numbers with commas between them, or pairs as in '0 4, 60 1', "
            f"got {entered!r}."
        )
    return tuple(row[0] if len(row) == 1 else row for row in rows)


def _number(entered: str) -> float:
    number = float(entered)
    return int(number) if number.is_integer() else number
