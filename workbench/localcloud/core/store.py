"""Where a local cloud keeps what it must not forget: a folder with a database and files.

One process at a time has a folder. What was written is there again after a restart, and after the
process was killed: SQLite's journal and files that are written under a passing name see to that.
"""

import asyncio
import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar

from workbench.errors import Damaged, NotAvailable, StorageError

_APPLICATION = 0x57424C43  # marks the SQLite file as ours: "WBLC"
_VERSION = 1  # of the tables: a greater one is refused
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Store:
    """The folder of one local cloud, held until it is closed.

    Used from the thread of the loop. Writes are short, so that the loop does not wait.

    Attributes:
        path: The folder.
        db: The database; each part of the cloud makes its own tables there.
        folder: For files.

    Raises:
        NotAvailable: Another local cloud has the folder.
        StorageError: It cannot be written, or holds another program's database.
        Damaged: The database is corrupt.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.folder = self.path / "blobs"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = _acquire_lock(self.path / "lock")
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(
                f"A local cloud cannot write {self.path}: {error}. Choose another folder."
            ) from error
        try:
            self.db = _open(self.path / "cloud.db")
        except BaseException:
            self._lock.close()
            raise
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="aside")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: leaving with an error undoes it. One inside another is part of it."""
        if self.db.in_transaction:
            yield self.db
            return
        # the lock at once: who takes it when it first writes may be refused half way
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    async def run_in_thread(
        self, function: Callable[_P, _T], *args: _P.args, **options: _P.kwargs
    ) -> _T:
        """Return what a slow function returns, called in the one thread beside the loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: function(*args, **options))

    def run_later(self, function: Callable[..., object], *args: object) -> None:
        """Call a slow function in that thread, behind all that waits for it now."""
        self._thread.submit(function, *args)

    def announce(self, url: str) -> None:
        """Write down where the cloud answers, for whoever wants the same folder."""
        self._lock.seek(0)
        self._lock.truncate()
        self._lock.write(json.dumps({"url": url, "pid": os.getpid()}))
        self._lock.flush()

    def close(self) -> None:
        """Let go of the folder."""
        self._thread.shutdown()
        self.db.close()
        self._lock.close()


class StoreTable:
    """A table of a store, whose rows are dicts by column; some columns hold JSON.

    Conditions are columns with the values that they must have; None finds what has none.

    Args:
        store: Where the table is made, if it is not there.
        name: Of the table.
        columns: Definitions, as SQL has them.
        json: The columns whose values are written as JSON.
        options: Of the table, as SQL has them.

    >>> import tempfile
    >>> store = Store(Path(tempfile.mkdtemp()))
    >>> columns = "name TEXT PRIMARY KEY, content TEXT"
    >>> alarms = StoreTable(store, "alarms", columns, json=["content"])
    >>> alarms.put(name="slow", content={"Threshold": 100})
    >>> alarms.find(name="slow")
    {'name': 'slow', 'content': {'Threshold': 100}}
    >>> store.close()
    """

    def __init__(
        self,
        store: Store,
        name: str,
        columns: str,
        *,
        json: Collection[str] = (),
        options: str = "STRICT, WITHOUT ROWID",
    ) -> None:
        store.db.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns}) {options}")
        self._store = store
        self._name = name
        self._json = frozenset(json)
        self._columns = tuple(row[1] for row in store.db.execute(f"PRAGMA table_info({name})"))

    def find(
        self,
        columns: Collection[str] = (),
        **equal: Any,  # noqa: ANN401 - what columns hold
    ) -> dict[str, Any] | None:
        """Return the first row that meets the conditions, None if there is none; as `rows` does."""
        return next(self.rows(columns, **equal), None)

    def rows(
        self,
        columns: Collection[str] = (),
        *,
        order: str = "",
        **equal: Any,  # noqa: ANN401 - what columns hold
    ) -> Iterator[dict[str, Any]]:
        """Yield the rows that meet the conditions, with these columns (else all), in an order."""
        columns = columns or self._columns
        query = f"SELECT {', '.join(columns)} FROM {self._name}{_where(equal)}"  # noqa: S608 - ours
        query += f" ORDER BY {order}" if order else ""
        for row in self._store.db.execute(query, tuple(equal.values())):
            yield self.decode(columns, row)

    def put(self, **values: Any) -> None:  # noqa: ANN401 - what columns hold
        """Write a row in place of those with the same key."""
        self._insert("INSERT OR REPLACE", values)

    def add(self, **values: Any) -> int:  # noqa: ANN401 - what columns hold
        """Return the number of a new row, where the table numbers its rows.

        Raises:
            sqlite3.IntegrityError: There is one with the same key.
        """
        return self._insert("INSERT", values)

    def change(self, equal: Mapping[str, Any], **values: Any) -> None:  # noqa: ANN401 - what columns hold
        """Write new values into the rows that meet the conditions."""
        settings = ", ".join(f"{column} = ?" for column in values)
        statement = f"UPDATE {self._name} SET {settings}{_where(equal)}"  # noqa: S608 - ours
        with self._store.write() as db:
            db.execute(statement, (*self._encode(values), *equal.values()))

    def remove(self, **equal: Any) -> None:  # noqa: ANN401 - what columns hold
        """Remove the rows that meet the conditions."""
        with self._store.write() as db:
            db.execute(f"DELETE FROM {self._name}{_where(equal)}", tuple(equal.values()))  # noqa: S608 - ours

    def decode(self, columns: Collection[str], row: Collection[Any]) -> dict[str, Any]:
        """Return a row of these columns, as a query of one's own found it."""
        return {
            column: json.loads(value) if column in self._json and value is not None else value
            for column, value in zip(columns, row, strict=True)
        }

    def _insert(self, verb: str, values: Mapping[str, Any]) -> int:
        statement = _insert_statement(verb, self._name, tuple(values))
        with self._store.write() as db:
            return db.execute(statement, self._encode(values)).lastrowid or 0

    def _encode(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(
            json.dumps(value) if column in self._json and value is not None else value
            for column, value in values.items()
        )


@cache  # on the way of each asynchronous request
def _insert_statement(verb: str, table: str, columns: tuple[str, ...]) -> str:
    places = ", ".join("?" * len(columns))
    return f"{verb} INTO {table} ({', '.join(columns)}) VALUES ({places})"


def _where(equal: Mapping[str, Any]) -> str:
    conditions = " AND ".join(f"{column} IS ?" for column in equal)
    return f" WHERE {conditions}" if equal else ""


def _acquire_lock(path: Path) -> IO[str]:
    """Return the open file whose lock is ours; the system lets go of it when the process dies."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        where = ""
        with file, suppress(ValueError, KeyError):
            file.seek(0)
            facts = json.load(file)
            where = f", process {facts['pid']} at {facts['url']}"
        raise NotAvailable(
            f"Another local cloud{where} has the folder {path.parent}. Use that one, end it, or "
            "choose another folder."
        ) from None
    return file


def _open(path: Path) -> sqlite3.Connection:
    # transactions are begun by `write` alone, and the thread beside the loop reads
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db, path)
    except sqlite3.DatabaseError as error:
        db.close()
        raise Damaged(f"{path} is not a sound database: {error}. Choose another folder.") from error
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Make an empty database ours, and refuse one that is another's."""
    if _pragma(db, "application_id") != _APPLICATION:
        if db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
            raise StorageError(f"{path} belongs to another program; choose another folder.")
        db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute(f"PRAGMA user_version = {_VERSION}")
    if _pragma(db, "user_version") > _VERSION:
        raise StorageError(f"{path} was made by a newer workbench; update this one.")
    db.execute("PRAGMA journal_mode = WAL")
    # nothing is lost when the process is killed; a power cut takes the last writes, no more
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA foreign_keys = ON")


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])
