"""Files that are written whole or not at all, and frames kept with the facts about them."""

import contextlib
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from workbench.drafts import lock, lock_folder, remove_drafts, replace
from workbench.errors import Damaged, InvalidInput, NotAvailable, NotFound, StorageError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

_SMALL_FILE = 2**16  # bytes: two pages of SQLite's shared memory

_READ_ATTEMPTS = 100  # of what is overwritten meanwhile

_FRAME, _FACTS, _CALLS = "rows.parquet", "facts.json", "calls.parquet"


def home() -> Path:
    """Return where the workbench keeps things: $WORKBENCH_HOME or the user's data directory."""
    from platformdirs import user_data_path

    folder = os.environ.get("WORKBENCH_HOME")
    return Path(folder) if folder else user_data_path("inference-workbench")


def find_notebooks() -> Path:
    """Return the folder of our notebooks: that of the checkout, or what was installed."""
    return _find_ours("notebooks")


def find_data() -> Path:
    """Return the folder of our data: that of the checkout, or what was installed.

    In the source's folder Python takes the source for the package, whatever is installed.
    """
    return _find_ours("data")


def _find_ours(name: str) -> Path:
    package = Path(__file__).parent
    installed = package / name
    return installed if installed.is_dir() else package.parent / name


def runs_folder() -> Path:
    """Return where the app keeps its runs."""
    return home() / "runs"


def list_runs() -> list[Path]:
    """Return the folders of the runs that the app keeps, the latest last."""
    found = {}
    for path in runs_folder().glob("[!.]*/facts.json"):
        with contextlib.suppress(FileNotFoundError):  # it was just deleted
            found[path.parent] = path.stat().st_mtime
    return sorted(found, key=found.__getitem__)


def as_path(path: object) -> Path:
    """Return the path that a text or a path-like value names, known to be one.

    >>> as_path("runs").name
    'runs'
    """
    if not (isinstance(path, str | os.PathLike) and str(path)) or "\0" in str(path):
        raise InvalidInput(f"A path must be a text or a Path, got {path!r}.")
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        raise InvalidInput(f"A path holds half of a character, got {str(path)!a}.") from error
    return Path(path)


def file_name(label: str) -> str:
    """Return a label as a file's name.

    >>> file_name("up to 8, 25 ms")
    'up-to-8-25-ms'
    """
    return re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-")


def to_pandas(frame: "pl.DataFrame") -> "pd.DataFrame":
    """Return a frame as one of pandas, or raise a `NotAvailable`."""
    try:
        return frame.to_pandas()
    except ImportError as error:
        raise NotAvailable(
            "to_pandas needs pandas and pyarrow: pip install pandas pyarrow."
        ) from error


def make_folder(path: Path) -> None:
    """Make a folder, and those that it lies in; raise a `StorageError` if it cannot be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {_reason(error)}.") from error


def write_file(path: str | os.PathLike[str], write: Callable[[IO[bytes]], object]) -> Path:
    """Return `path`, holding all that `write` put into the file it was given.

    Raises:
        InvalidInput: The path is none.
        StorageError: It cannot be written; what was there before is still there.
    """
    from polars.exceptions import PolarsError  # Polars hides a full disk behind its own errors

    path = as_path(path)
    draft = _draft_path(path)
    try:
        remove_drafts(path.parent)
        with draft.open("xb") as file, lock(file.fileno()):
            write(file)
            file.flush()
            # on the disk before it has its name: after a crash an empty file could have it
            os.fsync(file.fileno())
        draft.replace(path)
    except (OSError, PolarsError) as error:
        raise StorageError(f"{path} cannot be written: {_reason(error)}.") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
    return path


def is_full(path: Path) -> bool:
    """Return whether the disk of a folder has no room left for even a small file."""
    folder = next(each for each in (path, *path.parents) if each.exists())
    return shutil.disk_usage(folder).free < _SMALL_FILE


def sha256(path: Path) -> str:
    """Return the hash of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_frame(
    path: str | os.PathLike[str],
    frame: "pl.DataFrame",
    facts: Mapping[str, Any],
    *,
    calls: "pl.DataFrame | None" = None,
    overwrite: bool = False,
) -> Path:
    """Write a frame and its facts as a folder of a Parquet and a JSON file, and return its path.

    `calls` is a second frame, in a file beside the first. The folder is its owner's alone, and
    whoever loads it while it is overwritten gets what was there before or what comes, whole.

    Raises:
        InvalidInput: A fact is no JSON value.
        StorageError: The folder exists (unless `overwrite`), or cannot be written; what was there
            before is still there.
    """
    target = as_path(path)
    draft = _draft_path(target)
    if os.path.exists(target) and not overwrite:  # noqa: PTH110 - a name too long is no error yet
        raise StorageError(f"{target} exists already: choose another name or overwrite=True.")
    made = [folder for folder in draft.parents if not folder.exists()]  # the innermost first
    try:
        draft.parent.mkdir(parents=True, exist_ok=True)
        remove_drafts(draft.parent)
        draft.mkdir(0o700)
        with lock_folder(draft):
            write_file(draft / _FRAME, frame.write_parquet)
            hashes = {"sha256": sha256(draft / _FRAME)}
            if calls is not None:
                write_file(draft / _CALLS, calls.write_parquet)
                hashes["calls_sha256"] = sha256(draft / _CALLS)
            text = _json({**facts, **hashes})
            write_file(draft / _FACTS, lambda file: file.write(text.encode()))
            replace(draft, target, _draft_path(target))
    except OSError as error:
        cause = error.__cause__ or error  # of a file's own StorageError
        raise StorageError(f"{target} cannot be written: {_reason(cause)}.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()  # refused, and all is well, where the frame or another is in it
    return target


def load_frame(path: str | os.PathLike[str]) -> tuple["pl.DataFrame", dict[str, Any]]:
    """Return the frame and the facts that `save_frame` wrote.

    A second frame is among the facts, as `calls`.

    Raises:
        NotFound: There is no such folder.
        StorageError: It may not be read.
        Damaged: Its files are not what was saved.
    """
    folder = as_path(path)
    for _ in range(_READ_ATTEMPTS):
        facts, expected = _facts(folder)
        try:
            return _load(folder, dict(facts), expected)
        except Damaged:
            if _facts(folder) == (facts, expected):
                raise  # else it was overwritten meanwhile
    raise StorageError(f"{folder} cannot be read: it is being overwritten all the time.")


def _load(
    folder: Path, facts: dict[str, Any], expected: str
) -> tuple["pl.DataFrame", dict[str, Any]]:
    """Return the frame of a folder, and its facts with the frame of calls."""
    frame = _read_frame(folder / _FRAME, expected)
    if (expected := facts.pop("calls_sha256", "")) != "":
        facts["calls"] = _read_frame(folder / _CALLS, expected)
    return frame, facts


def _read_frame(path: Path, expected: str) -> "pl.DataFrame":
    """Return the frame of a file, or raise a `Damaged` if it is not what was saved."""
    import polars as pl

    try:
        content = path.read_bytes()
    except OSError as error:
        raise Damaged(
            f"{path} cannot be read: {error.strerror}. Restore it or run again."
        ) from error
    if hashlib.sha256(content).hexdigest() != expected:
        raise Damaged(f"{path} is not what was saved. Restore it or run again.")
    return pl.read_parquet(io.BytesIO(content))  # what was checked: the file may change


def load_facts(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the facts that `save_frame` wrote, without a look at the frame.

    Raises:
        NotFound: There is no such folder.
        StorageError: It may not be read.
        Damaged: They are not what was saved.
    """
    return _facts(as_path(path))[0]


def _facts(folder: Path) -> tuple[dict[str, Any], str]:
    """Return the facts in a folder, and the hash that its frame must have."""
    try:
        text = (folder / _FACTS).read_bytes()
    except PermissionError as error:
        raise StorageError(f"{folder} cannot be read: {error.strerror}.") from error
    except OSError as error:
        expected = f"expected a folder with {_FACTS} in it"
        raise NotFound(f"Nothing saved at {folder}: {expected}.") from error
    try:
        facts = dict(json.loads(text.decode()))
        json.dumps(facts, ensure_ascii=False).encode()  # half of a character was not saved
        return facts, str(facts.pop("sha256"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(
            f"{folder / _FACTS} cannot be read: it is not what was saved. Restore it or run again."
        ) from error


def delete_frame(path: str | os.PathLike[str]) -> None:
    """Remove a folder that `save_frame` wrote; damaged or not, but with nothing else in it.

    Raises:
        NotFound: There is no such folder.
        StorageError: It holds something else, too, or cannot be removed; nothing is.
    """
    folder = as_path(path)
    try:
        held = {each.name for each in folder.iterdir()}
    except OSError:
        held = set()
    if _FACTS not in held:
        raise NotFound(f"Nothing saved at {folder}: expected a folder with {_FACTS} in it.")
    if more := sorted(held - {_FACTS, _FRAME, _CALLS}):
        raise StorageError(f"{folder} is not removed: {', '.join(more)} in it was not saved there.")
    try:
        gone = folder.rename(_draft_path(folder))  # at once, or not at all
    except OSError as error:
        raise StorageError(f"{folder} cannot be removed: {error.strerror}.") from error
    shutil.rmtree(gone, ignore_errors=True)


def _reason(error: BaseException) -> str:
    """Return why a file was not written, in the words of the system where known."""
    number = re.search(r"os error (\d+)", str(error))  # as Polars words it
    if number:
        return os.strerror(int(number[1]))
    return str(getattr(error, "strerror", None) or error)


def _draft_path(path: Path) -> Path:
    """Return a new name in the folder of a path."""
    if not path.name:
        raise StorageError(f"{path} cannot be written: it is a folder; add a name.")
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")


def _json(facts: Mapping[str, Any]) -> str:
    try:
        return json.dumps(facts, indent=2, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"Facts must be JSON values to be saved: {error}.") from error


def read_and_verify(path: Path, sha256: str, name: str) -> bytes:
    """Return a file of the model `name`, or raise a `Damaged` if it is missing or has changed."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Damaged(f"{name}: {path} cannot be read: {error.strerror}.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise Damaged(f"{name}: {path} is not what was registered; register the model again.")
    return content
