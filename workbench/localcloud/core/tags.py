"""Tags of SageMaker's resources: AddTags, ListTags, DeleteTags, and what makes and ends them."""

from collections.abc import Iterable, Mapping
from typing import Any

from workbench.localcloud.core.protocol import AwsError, Operation, validation_error
from workbench.localcloud.core.store import Store

_MAX_TAGS = 50
_SCHEMA = """
CREATE TABLE IF NOT EXISTS tagged (arn TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tags (
    arn TEXT NOT NULL REFERENCES tagged ON DELETE CASCADE, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (arn, key)
) STRICT, WITHOUT ROWID;
"""


class Tags:
    """The tags of everything that has an ARN. Makers of a resource call `begin` and `end`.

    Limits are those of the SageMaker API Reference, "AddTags": 50 tags, none that begins with
    "aws:".
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        store.db.executescript(_SCHEMA)

    def operations(self) -> dict[str, Operation]:
        """Return the operations that this answers, by name."""
        return {"AddTags": self._add, "ListTags": self._list, "DeleteTags": self._delete}

    def begin(self, arn: str, tags: Iterable[Mapping[str, str]] = ()) -> None:
        """Take in a new resource with its tags; call it in the transaction that makes it.

        Raises:
            AwsError: These tags cannot be.
        """
        with self._store.write() as db:
            db.execute("INSERT OR REPLACE INTO tagged VALUES (?)", (arn,))
            self._put(arn, tags)

    def end(self, arn: str) -> None:
        """Forget a resource and its tags."""
        with self._store.write() as db:
            db.execute("DELETE FROM tagged WHERE arn = ?", (arn,))

    def of(self, arn: str) -> list[dict[str, str]]:
        """Return the tags of a resource, sorted by key."""
        rows = self._store.db.execute(
            "SELECT key, value FROM tags WHERE arn = ? ORDER BY key", (arn,)
        )
        return [{"Key": key, "Value": value} for key, value in rows]

    async def _add(self, parameters: dict[str, Any]) -> dict[str, Any]:
        arn = self._check_arn(parameters)
        with self._store.write():
            self._put(arn, parameters["Tags"])
        return {"Tags": self.of(arn)}

    async def _list(self, parameters: dict[str, Any]) -> dict[str, Any]:
        return {"Tags": self.of(self._check_arn(parameters))}

    async def _delete(self, parameters: dict[str, Any]) -> dict[str, Any]:
        arn = self._check_arn(parameters)
        with self._store.write() as db:
            pairs = [(arn, key) for key in parameters["TagKeys"]]
            db.executemany("DELETE FROM tags WHERE arn = ? AND key = ?", pairs)
        return {}

    def _check_arn(self, parameters: Mapping[str, Any]) -> str:
        arn = str(parameters["ResourceArn"])
        if self._store.db.execute("SELECT 1 FROM tagged WHERE arn = ?", (arn,)).fetchone() is None:
            raise AwsError("ResourceNotFound", f"Could not find the resource {arn}.")
        return arn

    def _put(self, arn: str, tags: Iterable[Mapping[str, str]]) -> None:
        pairs = [(tag["Key"], tag["Value"]) for tag in tags]
        if len({key for key, _ in pairs}) < len(pairs):
            raise validation_error("Tag keys must be unique.")
        if reserved := [key for key, _ in pairs if key.lower().startswith("aws:")]:
            raise validation_error(f"Tag keys must not begin with aws:, got {reserved[0]!r}.")
        with self._store.write() as db:
            rows = [(arn, *pair) for pair in pairs]
            db.executemany("INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", rows)
            if len(self.of(arn)) > _MAX_TAGS:
                raise validation_error(f"A resource has at most {_MAX_TAGS} tags.")
