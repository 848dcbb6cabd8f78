"""When scheduled actions are due: AWS's expressions `at(...)`, `rate(...)` and `cron(...)`.

Their grammar is that of the Application Auto Scaling user guide, "Schedule expressions"; of cron's
characters these are known: `*`, `?`, `,`, `-`, `/` and the names of months and days.
"""

import re
from collections.abc import Sequence
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from workbench.localcloud.core.protocol import validation_error

_UNITS = {"minute": 60, "hour": 3600, "day": 86_400}  # seconds
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
# minute, hour, day of month, month, day of week and year: the range and names of each (user guide)
_FIELDS: Sequence[tuple[int, int, Sequence[str]]] = (
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, _MONTHS),
    (1, 7, _DAYS),
    (1970, 2199, ()),
)


def is_due(expression: str, *, zone: str, begin: float, before: float, now: float) -> bool:
    """Return whether an action is due at an instant in (before, now], two looks close together.

    Args:
        expression: Such as "at(2026-11-26T08:00:00)", "rate(5 minutes)" or "cron(0 8 * * ? *)".
        zone: The time zone that `at` and `cron` mean.
        begin: What `rate` counts from, in seconds since 1970.
        before: The look before this one.
        now: This look.

    Raises:
        AwsError: It is no such expression.

    >>> is_due("rate(2 minutes)", zone="UTC", begin=0.0, before=119.0, now=120.0)
    True
    >>> is_due("cron(30 8 ? * MON-FRI *)", zone="UTC", begin=0.0, before=30599.5, now=30600.5)
    True
    """
    kind, _, rest = expression.partition("(")
    inner, place = rest.removesuffix(")"), _parse_zone(zone)
    match kind:
        case "at":
            return before < _parse_instant(inner, place) <= now
        case "rate":
            every = _parse_rate(inner)
            return (now - begin) // every > max(0, (before - begin) // every)
        case "cron":
            parts = inner.upper().split()
            if len(parts) != len(_FIELDS):
                raise validation_error(f"cron(...) takes six fields, got {inner!r}.")
            at = datetime.fromtimestamp(now, place)
            # AWS's week begins with Sunday, which is 1
            values = (at.minute, at.hour, at.day, at.month, at.isoweekday() % 7 + 1, at.year)
            fields = zip(parts, _FIELDS, values, strict=True)
            allowed = [value in _parse_field(part, *limits) for part, limits, value in fields]
            # once in its minute: the look before was earlier
            return all(allowed) and before < now // 60 * 60
    raise validation_error(f"Schedule must be at(...), rate(...) or cron(...), got {expression!r}.")


def _parse_zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        raise validation_error(
            f"Timezone must be one such as Europe/Berlin, got {name!r}."
        ) from error


def _parse_instant(text: str, zone: tzinfo) -> float:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=zone).timestamp()
    except ValueError as error:
        raise validation_error(f"at(...) takes yyyy-mm-ddThh:mm:ss, got {text!r}.") from error


def _parse_rate(text: str) -> int:
    found = re.fullmatch(r"([1-9]\d*) (minute|hour|day)s?", text)
    if found is None:
        raise validation_error(
            f"rate(...) takes a whole number and minutes, hours or days, got {text!r}."
        )
    return int(found[1]) * _UNITS[found[2]]


def _parse_field(text: str, low: int, high: int, names: Sequence[str]) -> set[int]:
    """Return the numbers that a field of cron's allows."""
    allowed: set[int] = set()
    for name in names:
        text = text.replace(name, str(names.index(name) + 1))
    for part in text.split(","):
        found = re.fullmatch(r"(\*|\?|\d+)(?:-(\d+))?(?:/([1-9]\d*))?", part)
        if found is None:
            raise validation_error(f"A field of cron(...) cannot be {text!r} on the local cloud.")
        first = low if found[1] in "*?" else int(found[1])
        alone = found[1] not in "*?" and not found[3]
        last = int(found[2]) if found[2] else first if alone else high
        if not low <= first <= last <= high:
            raise validation_error(f"A field of cron(...) lies in {low}-{high}, got {text!r}.")
        allowed.update(range(first, last + 1, int(found[3] or 1)))
    return allowed
