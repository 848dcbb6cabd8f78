"""Asynchronous requests that are not over yet, on the disk: they outlive the local cloud.

A request is a row from its 202 until its result lies in S3 and its notification was sent. The row
and the result are in one database, so that one transaction makes the result and ends the request.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from workbench.localcloud.core.store import Store

_SCHEMA = """
CREATE TABLE IF NOT EXISTS async_requests (
    number INTEGER PRIMARY KEY AUTOINCREMENT, endpoint TEXT NOT NULL, received REAL NOT NULL,
    facts TEXT NOT NULL, body BLOB, notice TEXT
) STRICT;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncRequest:
    """What an asynchronous request asks for, as it was when it came.

    Attributes:
        id: Its InferenceId.
        endpoint: Whose it is.
        input: The S3 address of its body; "" where the body came along.
        output, failure: The S3 addresses of its result and of what is written in place of one; the
            latter may be "".
        headers: For the container.
        ttl, timeout: Seconds that it may wait, and that its answer may take.
        topics: Of SNS, by the status that they are told of: "Completed", "Failed".
    """

    id: str
    endpoint: str
    input: str
    output: str
    failure: str
    headers: Mapping[str, str]
    ttl: int
    timeout: int
    topics: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Notice:
    """A notification that is to be sent; without a topic there is none."""

    topic: str
    message: str


class AsyncQueue:
    """The requests that are not over yet, by the number that each has."""

    def __init__(self, store: Store) -> None:
        self.store = store
        store.db.executescript(_SCHEMA)

    def add(self, async_request: AsyncRequest, received: float, body: bytes | None) -> int:
        """Return the number of a new request, which is on the disk."""
        with self.store.write() as db:
            row = (async_request.endpoint, received, json.dumps(asdict(async_request)), body)
            added = db.execute(
                "INSERT INTO async_requests (endpoint, received, facts, body) VALUES (?, ?, ?, ?)",
                row,
            )
        return int(added.lastrowid or 0)

    def waiting(self) -> Iterator[tuple[int, float, AsyncRequest]]:
        """Return number, time of arrival and content of each that has no result, oldest first."""
        query = "SELECT number, received, facts FROM async_requests WHERE notice IS NULL"
        for number, received, facts in self.store.db.execute(f"{query} ORDER BY number"):
            yield number, received, AsyncRequest(**json.loads(facts))

    def body(self, number: int) -> bytes | None:
        """Return the body that came along with a request."""
        query = "SELECT body FROM async_requests WHERE number = ?"
        row: tuple[Any] = self.store.db.execute(query, (number,)).fetchone()
        return None if row[0] is None else bytes(row[0])

    def answered(self, number: int, notice: Notice) -> None:
        """Note that a request has its result, and what is to be told of it."""
        with self.store.write() as db:
            db.execute(
                "UPDATE async_requests SET notice = ?, body = NULL WHERE number = ?",
                (json.dumps(asdict(notice)), number),
            )

    def list_unsent(self) -> list[tuple[int, Notice]]:
        """Return the notifications that were not sent, oldest first."""
        query = "SELECT number, notice FROM async_requests WHERE notice IS NOT NULL ORDER BY number"
        rows = self.store.db.execute(query).fetchall()
        return [(number, Notice(**json.loads(notice))) for number, notice in rows]

    def remove(self, number: int) -> None:
        """Forget a request."""
        with self.store.write() as db:
            db.execute("DELETE FROM async_requests WHERE number = ?", (number,))
