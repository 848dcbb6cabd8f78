"""What is still running on clouds, written down before it is made, so that a crash loses nothing.

The ledger is one SQLite file in the workbench's home. An entry names everything that a deployment
consists of, is written before the first call that creates some of it, and is struck out when all
of it is gone. Whatever ends a process in between, the entry stays, and `teardown` ends the rest.
"""

import json
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from workbench.cloud.aws import Cloud
from workbench.errors import StorageError
from workbench.files import home
from workbench.formatting import dollars

_SCHEMA = "CREATE TABLE IF NOT EXISTS entries (id TEXT PRIMARY KEY, facts TEXT NOT NULL) STRICT"


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """A deployment that may be running.

    Attributes:
        name: Of its endpoint, endpoint configuration and model alike, or of its function.
        bucket: Where the model's archive lies; `key` is its name in there.
        what: The deployment in a few words.
        hourly: What it costs an hour while nobody calls it, in US dollars.
        cloud: Where it is.
        kind: What it is: an "endpoint" of SageMaker, "asynchronous" for one with a topic and a
            queue, a "function" of Lambda, or "transform jobs" whose names begin with its own.
        scales: What Application Auto Scaling calls that which it changes; "" where it does not.
        id: What its tag says.
        since: When it was begun.
        pid: The process that began it.
        note: What went wrong with it, if anything.
    """

    name: str
    bucket: str
    what: str
    hourly: float
    cloud: Cloud
    kind: str = "endpoint"
    scales: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    pid: int = field(default_factory=os.getpid)
    note: str = ""

    @property
    def folder(self) -> str:
        """What the names of everything in the bucket begin with."""
        return f"workbench/{self.id}"

    @property
    def key(self) -> str:
        """The name of the model's archive in the bucket."""
        return f"{self.folder}/model.tar.gz"

    @property
    def tags(self) -> list[dict[str, str]]:
        """What everything that belongs to the entry is tagged with."""
        return [{"Key": "workbench", "Value": self.id}]

    @property
    def label(self) -> str:
        """The entry in a few words."""
        price = f"{dollars(self.hourly)} an hour" if self.cloud.paid else "free"
        label = f"{self.name} ({self.what}) on {self.cloud.name} {self.cloud.region}, {price}"
        return label + (f". {self.note}" if self.note else "")


class Ledger:
    """The entries of what may still be running.

    Args:
        path: Its file, made where missing; by default `ledger.db` in the workbench's home.

    Raises:
        StorageError: It cannot be read or written, or a later version wrote an entry.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path) if path is not None else home() / "ledger.db"

    def __repr__(self) -> str:
        return f"Ledger({str(self.path)!r})"

    def entries(self) -> list[LedgerEntry]:
        """Return every entry, oldest first."""
        with self._open() as database:
            rows = database.execute("SELECT facts FROM entries ORDER BY rowid").fetchall()
        try:
            return [_entry(text) for (text,) in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(
                f"The ledger {self.path} has an entry that this version cannot read: update the "
                "workbench before anything is torn down."
            ) from error

    def write(self, entry: LedgerEntry) -> None:
        """Write an entry, which is on the disk when this returns."""
        with self._open() as database:
            database.execute("INSERT INTO entries VALUES (?, ?)", (entry.id, _text(entry)))

    def annotate(self, entry: LedgerEntry, note: str) -> None:
        """Note what went wrong last with an entry, if it is still there."""
        text = _text(replace(entry, note=note))
        with self._open() as database:
            database.execute("UPDATE entries SET facts = ? WHERE id = ?", (text, entry.id))

    def strike(self, entry: LedgerEntry) -> None:
        """Strike an entry out; doing so twice is harmless."""
        with self._open() as database:
            database.execute("DELETE FROM entries WHERE id = ?", (entry.id,))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch(0o600)  # it may hold a local cloud's key: no other user reads it
            if self.path.stat().st_mode & 0o077:  # made by an older version
                self.path.chmod(0o600)
            with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as database:
                database.execute(_SCHEMA)
                yield database
        except (sqlite3.DatabaseError, OSError) as error:
            raise StorageError(f"The ledger {self.path} cannot be used: {error}.") from error


def _text(entry: LedgerEntry) -> str:
    facts = asdict(entry) | {"cloud": asdict(entry.cloud.value())}
    if entry.cloud.paid:
        # A secret that outlives the cloud's process. A local cloud's key ends with it; until then
        # another process needs it to end what a crash left there.
        facts["cloud"]["keys"] = None
    return json.dumps(facts)


def _entry(text: str) -> LedgerEntry:
    facts = json.loads(text)
    lists = {name: tuple(each) for name, each in facts["cloud"].items() if isinstance(each, list)}
    return LedgerEntry(**facts | {"cloud": Cloud(**facts["cloud"] | lists)})
