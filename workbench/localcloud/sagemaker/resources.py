"""Models, endpoint configurations, endpoints and jobs by name: rows of the store's database."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from workbench.localcloud.core.protocol import AwsError, arn, now, validation_error
from workbench.localcloud.core.store import Store, StoreTable
from workbench.localcloud.core.tags import Tags

Kind = Literal["model", "endpoint-config", "endpoint", "transform-job"]
"""The kinds, as ARNs name them."""

_COLUMNS = """
kind TEXT NOT NULL, name TEXT NOT NULL COLLATE NOCASE, arn TEXT NOT NULL, created REAL NOT NULL,
facts TEXT NOT NULL, PRIMARY KEY (kind, name)
"""


@dataclass(frozen=True, slots=True)
class Resource:
    """A model, endpoint configuration, endpoint or job: `facts` are what is kept about it."""

    name: str
    arn: str
    created: float
    facts: dict[str, Any]


class Resources:
    """What a local cloud hosts, or is ready to host.

    Errors are worded as AWS words them, because programs read them.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tags = Tags(store)
        self._table = StoreTable(store, "resources", _COLUMNS, json=["facts"])

    def get(self, kind: Kind, name: str) -> Resource:
        """Return the one of that name.

        Raises:
            AwsError: There is none.
        """
        found = self._table.find(kind=kind, name=name)
        if found is None:
            raise not_found_error(kind, name)
        return _resource(found)

    def all(self, kind: Kind) -> list[Resource]:
        """Return all of a kind, by name."""
        return [_resource(row) for row in self._table.rows(kind=kind, order="name")]

    def add(
        self,
        kind: Kind,
        name: str,
        facts: Mapping[str, Any],
        tags: Iterable[Mapping[str, str]] = (),
    ) -> Resource:
        """Return a new one.

        Raises:
            AwsError: The name is taken, or the tags cannot be.
        """
        if self._table.find(kind=kind, name=name):
            raise validation_error(f"Cannot create already existing {_describe(kind, name)}.")
        made = Resource(name, _arn(kind, name), now(), dict(facts))
        with self._store.write():
            self._table.add(kind=kind, **asdict(made))
            self._tags.begin(made.arn, tags)
        return made

    def change(self, kind: Kind, name: str, facts: Mapping[str, Any]) -> None:
        """Replace what is kept about one."""
        self._table.change({"kind": kind, "name": name}, facts=facts)

    def remove(self, kind: Kind, name: str) -> None:
        """Forget one, and its tags.

        Raises:
            AwsError: There is none.
        """
        found = self.get(kind, name)
        with self._store.write():
            self._table.remove(kind=kind, name=name)
            self._tags.end(found.arn)


def _resource(row: Mapping[str, Any]) -> Resource:
    return Resource(row["name"], row["arn"], row["created"], row["facts"])


def not_found_error(kind: Kind, name: str) -> AwsError:
    """Return AWS's error for a name that it does not know."""
    return validation_error(f"Could not find {_describe(kind, name)}.")


def _describe(kind: Kind, name: str) -> str:
    words = kind.replace("-", " ").replace("config", "configuration")
    return f'{words} "{_arn(kind, name)}"'


def _arn(kind: Kind, name: str) -> str:
    return arn("sagemaker", f"{kind}/{name.lower()}")  # as AWS has written names there
