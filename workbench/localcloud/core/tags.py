"""Tags of whatever has an ARN: what makes, lists and ends them, for services to answer with."""

from collections.abc import Iterable, Mapping
from typing import Any

from workbench.localcloud.core.protocol import AwsError, Operation, validation_error
from workbench.localcloud.core.store import Store

_MAX_TAGS = 50  # SageMaker API Reference, AddTags
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

    def operations(
        self,
        names: tuple[str, str, str] = ("AddTags", "ListTags", "DeleteTags"),
        *,
        member: str = "ResourceArn",
        missing: tuple[str, int] = ("ResourceNotFound", 400),
    ) -> dict[str, Operation]:
        """Return a service's operations that this answers, by name.

        Args:
            names: What it calls adding, listing and deleting.
            member: Where a request has the ARN.
            missing: Code and status of the error that there is no such resource.
        """

        def find(params: Mapping[str, Any]) -> str:
            arn = str(params[member])
            query = "SELECT 1 FROM tagged WHERE arn = ?"
            if self._store.db.execute(query, (arn,)).fetchone() is None:
                code, status = missing
                raise AwsError(code, f"Could not find the resource {arn}.", status)
            return arn

        async def add(params: dict[str, Any]) -> dict[str, Any]:
            arn = find(params)
            with self._store.write():
                self._put(arn, params["Tags"])
            return {"Tags": self.of(arn)}

        async def list_all(params: dict[str, Any]) -> dict[str, Any]:
            return {"Tags": self.of(find(params))}

        async def delete(params: dict[str, Any]) -> dict[str, Any]:
            arn = find(params)
            with self._store.write() as db:
                pairs = [(arn, key) for key in params["TagKeys"]]
                db.executemany("DELETE FROM tags WHERE arn = ? AND key = ?", pairs)
            return {}

        return dict(zip(names, (add, list_all, delete), strict=True))

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
