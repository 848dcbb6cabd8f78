"""Asynchronous requests that are not over yet, on the disk: they outlive the local cloud.

A request is a row from its 202 until its result lies in S3 and its notification was sent. The row
and the result are in one database, so that one transaction makes the result and ends the request.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from workbench.localcloud.core.store import Store, StoreTable

_COLUMNS = """
number INTEGER PRIMARY KEY AUTOINCREMENT, endpoint TEXT NOT NULL, received REAL NOT NULL,
facts TEXT NOT NULL, body BLOB, notice TEXT
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
        topics: Of SNS, by the status that they announce: "Completed", "Failed".
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
        self._table = StoreTable(
            store, "async_requests", _COLUMNS, json=["facts", "notice"], options="STRICT"
        )

    def add(self, async_request: AsyncRequest, received: float, body: bytes | None) -> int:
        """Return the number of a new request, which is on the disk."""
        return self._table.add(
            endpoint=async_request.endpoint,
            received=received,
            facts=asdict(async_request),
            body=body,
        )

    def list_unanswered(self) -> Iterator[tuple[int, float, AsyncRequest]]:
        """Return number, time of arrival and content of each that has no result, oldest first."""
        columns = ("number", "received", "facts")
        for row in self._table.rows(columns, notice=None, order="number"):
            yield row["number"], row["received"], AsyncRequest(**row["facts"])

    def body(self, number: int) -> bytes | None:
        """Return the body that came along with a request."""
        (row,) = self._table.rows(["body"], number=number)
        return None if row["body"] is None else bytes(row["body"])

    def set_notice(self, number: int, notice: Notice) -> None:
        """Note that a request has its result, and the notification about it."""
        # the body goes: it is not sent again once there is a result
        self._table.change({"number": number}, notice=asdict(notice), body=None)

    def list_unsent(self) -> list[tuple[int, Notice]]:
        """Return the notifications that were not sent, oldest first."""
        rows = self._table.rows(["number", "notice"], order="number")
        return [(row["number"], Notice(**row["notice"])) for row in rows if row["notice"]]

    def remove(self, number: int) -> None:
        """Forget a request."""
        self._table.remove(number=number)
