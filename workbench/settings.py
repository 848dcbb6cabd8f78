"""Settings of values: what each is called, what it takes, and how it is checked and saved.

A setting is a field of a frozen dataclass, an inference type or a routing policy, whose metadata
describe it once for constructor, controls and command line::

    workers: int = optional(1, "Workers", "of each instance", whole(1))
    memory_mb: int = field(metadata=setting("Memory (MB)", "MB of memory", whole(128, 10_240)))
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache, partial
from typing import Any, TypeVar

from workbench.errors import InvalidInput
from workbench.validation import (
    choose,
    keep,
    not_negative,
    of_kind,
    positive,
    suggest,
    whole_number,
)

T = TypeVar("T")

Check = Callable[[str, Any], Any]
"""Takes a setting's name and value; returns the value in its plain type or raises InvalidInput."""


@dataclass(frozen=True, kw_only=True)
class SettingDescription:
    """What is known of a setting beside its name, type and default.

    Attributes:
        label: For a control, with the unit; of times that is "(s)".
        about: A phrase for the command line's help.
        check: Returns a value in its plain type, or raises InvalidInput.
        choices: The values it may take, where these are few.
        steps: Values that a slider offers; a setting without is turned by no slider.
        empty: What None stands for; "" where the setting must have a value.
        only_simulated: Whether it is an assumption of the simulator, unknown to any cloud.
    """

    label: str
    about: str
    check: Check
    choices: tuple[Any, ...] = ()
    steps: Sequence[float] = ()
    empty: str = ""
    only_simulated: bool = False

    @property
    def is_time(self) -> bool:
        """Whether it is a time, which the command line takes with a unit."""
        return self.label.endswith("(s)")

    def validate(self, name: str, value: object) -> object:
        """Return the value in its plain type; raise an InvalidInput beyond the setting's limits."""
        return None if value is None and self.empty else self.check(name, value)


def setting(
    label: str,
    about: str,
    check: Check,
    *,
    steps: Sequence[float] = (),
    empty: str = "",
    only_simulated: bool = False,
) -> Mapping[str, SettingDescription]:
    """Return the metadata of a dataclass field that is a setting: see `SettingDescription`."""
    described = SettingDescription(
        label=label,
        about=about,
        check=check,
        choices=getattr(check, "keywords", {}).get("choices", ()),
        steps=steps,
        empty=empty,
        only_simulated=only_simulated,
    )
    return {"setting": described}


def optional(default: object, *described: Any, **more: Any) -> Any:  # noqa: ANN401 - a field
    """Return a dataclass field with a default that is a setting; the rest is as in `setting`."""
    return field(default=default, metadata=setting(*described, **more))


@cache
def settings_of(kind: type[Any]) -> Mapping[str, SettingDescription]:
    """Return the settings of a class of values by name, in their order."""
    return {
        each.name: each.metadata["setting"] for each in fields(kind) if "setting" in each.metadata
    }


def check_settings(value: Any) -> None:  # noqa: ANN401 - of any class with settings
    """Check each setting of a frozen value, and keep it in its plain type: NumPy's are no JSON."""
    for name, described in settings_of(value.__class__).items():
        given = getattr(value, name)
        plain = described.validate(name, given)
        if plain is not given:
            keep(value, **{name: plain})


def build_from_dict(what: str, kinds: Mapping[str, type[T]], data: Mapping[str, Any]) -> T:
    """Return the value that a dictionary of kind and settings describes; `what` names its sort."""
    kind = choose("kind", data.get("kind"), kinds)
    given = {name: value for name, value in data.items() if name != "kind"}
    of_kind: Any = kinds[kind]  # a dataclass
    required = {each.name: each.default is MISSING for each in fields(of_kind)}
    wrong = [f"no {name}" for name in given if name not in required]
    wrong += [f"to have {name}" for name, must in required.items() if must and name not in given]
    if wrong:
        unknown = next((name for name in given if name not in required), "")
        raise InvalidInput(
            f"A {what} of kind {kind!r} has {', '.join(wrong)}; its settings are "
            f"{', '.join(required) or 'none'}.{suggest(unknown, required)}"
        )
    return kinds[kind](**given)


def settings_to_dict(value: Any) -> dict[str, Any]:  # noqa: ANN401 - of any class with settings
    """Return kind and settings of a value as JSON values: what `build_from_dict` reads."""
    return {
        "kind": value.kind,
        **{each.name: _to_json(getattr(value, each.name)) for each in fields(value)},
    }


def _to_json(value: Any) -> Any:  # noqa: ANN401 - a setting, which may be a value with settings
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return [_to_json(each) for each in value] if isinstance(value, tuple) else value


def whole(low: int, high: int | None = None) -> Check:
    """Return a check for whole numbers within bounds, both included."""
    return partial(whole_number, low=low, high=high)


def amount(unit: str) -> Check:
    """Return a check for finite numbers of 0 or more."""
    return partial(not_negative, unit=unit)


def positive_amount(unit: str) -> Check:
    """Return a check for finite numbers above 0."""
    return partial(positive, unit=unit)


def flag(name: str, value: object) -> bool:
    """Require true or false: a check."""
    return bool(of_kind(name, value, bool, "true or false"))


def one_of(*choices: object) -> Check:
    """Return a check for one of a few values.

    >>> one_of("reject", "queue")("on_limit", "drop")
    Traceback (most recent call last):
    workbench.errors.InvalidInput: on_limit must be one of reject, queue; got 'drop'.
    """
    return partial(choose, choices=choices)
