"""The directory of a registry: `registry.db` (SQLite) says what there is, `artifacts/` holds files.

Each file is named by its sha256, and kept before the row that names it, so that a crash leaves a
whole version or none.
"""

import errno
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import Damaged, StorageError
from workbench.files import is_full, sha256

_APPLICATION = 0x57424D52  # marks the SQLite file as ours: "WBMR"
_SCHEMA_VERSION = 1  # of the tables: a greater one is refused
_FOREIGN_MESSAGE = "registry.db belongs to another program; choose another directory."
_SCHEMA = """
CREATE TABLE versions (
    group_name TEXT NOT NULL, version INTEGER NOT NULL, created TEXT NOT NULL,
    sha256 TEXT NOT NULL, samples_sha256 TEXT NOT NULL, traits TEXT NOT NULL, lineage TEXT NOT NULL,
    PRIMARY KEY (group_name, version)
) STRICT;
CREATE TABLE history (
    id INTEGER PRIMARY KEY, group_name TEXT NOT NULL, version INTEGER NOT NULL, at TEXT NOT NULL,
    who TEXT NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL, why TEXT NOT NULL,
    FOREIGN KEY (group_name, version) REFERENCES versions
) STRICT;
CREATE INDEX history_of ON history (group_name, version, field, id);
CREATE TRIGGER versions_stay BEFORE UPDATE ON versions BEGIN SELECT RAISE(ABORT, 'fixed'); END;
CREATE TRIGGER history_stays BEFORE UPDATE ON history BEGIN SELECT RAISE(ABORT, 'fixed'); END;
CREATE TRIGGER history_remains BEFORE DELETE ON history BEGIN SELECT RAISE(ABORT, 'fixed'); END;
CREATE VIEW models AS SELECT v.*,
    (SELECT value FROM history h WHERE h.group_name = v.group_name AND h.version = v.version
        AND field = 'approval' ORDER BY id DESC LIMIT 1) AS approval,
    (SELECT value FROM history h WHERE h.group_name = v.group_name AND h.version = v.version
        AND field = 'stage' ORDER BY id DESC LIMIT 1) AS stage
FROM versions v;
"""


@dataclass(frozen=True)
class RegistryStore:
    """The directory of a registry, in which nothing is made for a reader.

    Attributes:
        path: The directory.
        timeout: Seconds to wait for another process that is writing.
    """

    path: Path
    timeout: float

    def check(self) -> None:
        """Raise the errors of `Registry` if this cannot be the directory of one."""
        with _translate_errors(self.path):
            ground = next(each for each in (self.path, *self.path.parents) if each.exists())
            if not ground.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            with closing(self.connect()) as database:
                _check_ours(database)

    @property
    def artifacts(self) -> Path:
        """Where the files are."""
        return self.path / "artifacts"

    @contextmanager
    def alone(self, timeout: float) -> Iterator[None]:
        """Hold off every other process that asks the same of this directory."""
        self._prepare_to_write()
        # SQLite's lock on a file of its own: the system lets go of it when the process dies.
        with closing(_connect(self.path / "alone.lock", timeout)) as lock:
            with _translate_errors(self.path):
                lock.execute("BEGIN EXCLUSIVE")
            yield

    @property
    def writable(self) -> bool:
        """Whether this process may change what is there."""
        return not self._database.exists() or all(
            os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
            for path in (self.path, self._database)
        )

    @property
    def _database(self) -> Path:
        return self.path / "registry.db"

    def connect(self) -> sqlite3.Connection:
        """Return a connection to the database, or to an empty one where there is none."""
        if not (self._database.exists() and self._database.stat().st_size):
            database = _connect(Path(":memory:"), self.timeout)
            _create(database)
            return database
        if not self.writable:
            return _connect_to_read(self._database, self.timeout)
        database = _connect(self._database, self.timeout)
        try:
            _pragma(database, "schema_version")
        except sqlite3.OperationalError:
            database.close()
            if not is_full(self.path):
                raise
            # There is no room for the file by which processes share the log of changes, but this
            # one can read alone, with what would be in that file in its memory.
            database = _connect(self._database, self.timeout)
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
        return database

    def _prepare_to_write(self) -> None:
        if not self.writable:
            raise StorageError(
                f"The registry in {self.path} can only be read here: this process may not write "
                "there. Register into another one, Registry(path), or ask for the permission."
            )
        if is_full(self.path):
            raise _no_room(self.path)
        with _translate_errors(self.path):
            self.artifacts.mkdir(parents=True, exist_ok=True)
            with closing(_connect(self._database, self.timeout)) as database:
                _create(database)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Open the database while the block lasts."""
        with _translate_errors(self.path), closing(self.connect()) as database:
            yield database

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Hold the only write lock for one transaction; an error rolls it back."""
        self._prepare_to_write()
        with self.read() as database:
            database.execute("PRAGMA foreign_keys = ON")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")

    def keep(self, content: bytes, suffix: str) -> str:
        """Store a file among the artifacts, whole and on the disk, and return its sha256."""
        digest = hashlib.sha256(content).hexdigest()
        path = self.artifacts / f"{digest}{suffix}"
        if path.exists() and sha256(path) == digest:
            return digest
        # One name is enough, as the write lock is held; what a crash leaves is overwritten.
        incoming = self.artifacts / "incoming"
        try:
            with incoming.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            incoming.replace(path)
        except OSError:
            with suppress(OSError):
                incoming.unlink(missing_ok=True)
            raise
        descriptor = os.open(self.artifacts, os.O_RDONLY)  # its new name is to last, too
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return digest


def _connect(path: Path, timeout: float) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=timeout, isolation_level=None)


def _connect_to_read(path: Path, timeout: float) -> sqlite3.Connection:
    """Open a database whose folder may not be written."""
    # Where a writer is at work, the files of its log are there to be read along; else SQLite would
    # want to make them, unless opened as immutable.
    there = path.with_name(f"{path.name}-shm").exists()
    how = "mode=ro" if there else "mode=ro&immutable=1"
    address = f"{path.absolute().as_uri()}?{how}"
    return sqlite3.connect(address, uri=True, timeout=timeout, isolation_level=None)


def _create(database: sqlite3.Connection) -> None:
    """Make an empty database ours, and refuse one that is another's."""
    if _pragma(database, "application_id") != _APPLICATION:
        database.execute("BEGIN IMMEDIATE")
        if _pragma(database, "application_id") != _APPLICATION:
            if database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
                raise StorageError(_FOREIGN_MESSAGE)
            for statement in _SCHEMA.split(";\n"):  # `executescript` would end the transaction
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {_APPLICATION}")
            database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        database.execute("COMMIT")
    _check_ours(database)
    # Fails while another process is in there for the first time too; that one switches it.
    with suppress(sqlite3.OperationalError):
        database.execute("PRAGMA journal_mode = WAL")


def _check_ours(database: sqlite3.Connection) -> None:
    if _pragma(database, "application_id") != _APPLICATION:
        raise StorageError(_FOREIGN_MESSAGE)
    if _pragma(database, "user_version") > _SCHEMA_VERSION:
        raise StorageError("The registry was made by a newer workbench; update this one.")


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into the workbench's own errors."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _storage_error(error, path) from error
    except StorageError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"The registry in {path} cannot be used: {reason}.") from error


def _storage_error(error: sqlite3.DatabaseError, path: Path) -> StorageError:
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StorageError(
            f"Another process is writing to the registry in {path} and did not finish in time; "
            "try again."
        )
    if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return Damaged(
            f"{path / 'registry.db'} is not a sound database ({error}); restore it from a copy, "
            "or move it away to start afresh."
        )
    if code.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN")) and is_full(path):
        return _no_room(path)
    return StorageError(f"The registry in {path} cannot be used: {error}.")


def _no_room(path: Path) -> StorageError:
    return StorageError(
        f"The disk is full, and the registry in {path} is as it was: free some space and try again."
    )
