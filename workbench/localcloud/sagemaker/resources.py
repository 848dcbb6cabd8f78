"""Models, endpoint configurations, endpoints and jobs by name: rows of the store's database."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from workbench.localcloud.core.protocol import AwsError, arn, now, validation_error
from workbench.localcloud.core.store import Store
from workbench.localcloud.core.tags import Tags

Kind = Literal["model", "endpoint-config", "endpoint", "transform-job"]
"""The kinds, as ARNs name them."""

_KIND_NAMES = {
    "model": "model",
    "endpoint-config": "endpoint configuration",
    "endpoint": "endpoint",
    "transform-job": "transform job",
}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    kind TEXT NOT NULL, name TEXT NOT NULL COLLATE NOCASE, arn TEXT NOT NULL,
    created REAL NOT NULL, facts TEXT NOT NULL, PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
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

    Refusals are worded as AWS words them, because programs read them.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tags = Tags(store)
        store.db.executescript(_SCHEMA)

    def get(self, kind: Kind, name: str) -> Resource:
        """Return the one of that name.

        Raises:
            AwsError: There is none.
        """
        for found in self._rows("WHERE kind = ? AND name = ?", kind, name):
            return found
        raise not_found_error(kind, name)

    def all(self, kind: Kind) -> list[Resource]:
        """Return all of a kind, by name."""
        return self._rows("WHERE kind = ? ORDER BY name", kind)

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
        if self._rows("WHERE kind = ? AND name = ?", kind, name):
            raise validation_error(
                f'Cannot create already existing {_KIND_NAMES[kind]} "{_arn(kind, name)}".'
            )
        made = Resource(name, _arn(kind, name), now(), dict(facts))
        with self._store.write() as db:
            row = (kind, name, made.arn, made.created, json.dumps(made.facts))
            db.execute("INSERT INTO resources VALUES (?, ?, ?, ?, ?)", row)
            self._tags.begin(made.arn, tags)
        return made

    def change(self, kind: Kind, name: str, facts: Mapping[str, Any]) -> None:
        """Replace what is kept about one."""
        with self._store.write() as db:
            statement = "UPDATE resources SET facts = ? WHERE kind = ? AND name = ?"
            db.execute(statement, (json.dumps(facts), kind, name))

    def remove(self, kind: Kind, name: str) -> None:
        """Forget one, and its tags.

        Raises:
            AwsError: There is none.
        """
        found = self.get(kind, name)
        with self._store.write() as db:
            db.execute("DELETE FROM resources WHERE kind = ? AND name = ?", (kind, name))
            self._tags.end(found.arn)

    def _rows(self, where: str, *values: str) -> list[Resource]:
        query = f"SELECT name, arn, created, facts FROM resources {where}"  # noqa: S608 - ours
        return [
            Resource(name, its_arn, created, json.loads(facts))
            for name, its_arn, created, facts in self._store.db.execute(query, values)
        ]


def not_found_error(kind: Kind, name: str) -> AwsError:
    """Return AWS's refusal of a name that it does not know."""
    return validation_error(f'Could not find {_KIND_NAMES[kind]} "{_arn(kind, name)}".')


def _arn(kind: Kind, name: str) -> str:
    return arn("sagemaker", f"{kind}/{name.lower()}")
