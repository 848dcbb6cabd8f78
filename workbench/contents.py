"""Names of a package that are there from their first use: importing it loads none of its parts."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def resolve_late(
    package: str, contents: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package with this table of contents.

    Args:
        package: Its name.
        contents: The names, by the module below it that has them.

    >>> get, names, public = resolve_late("workbench", {"quantiles": ["SLO"]})
    >>> get("SLO").__name__, names() == public == ["SLO"]
    ('SLO', True)
    """
    homes = {name: module for module, names in contents.items() for name in names}
    public = sorted(homes)

    def __getattr__(name: str) -> Any:  # noqa: ANN401, N807 - Python's, of modules
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{homes[name]}"), name)
        setattr(import_module(package), name, value)
        return value

    return __getattr__, lambda: public, public
