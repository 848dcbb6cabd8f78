"""What a deployment ships: the archive of a model, and the zip of a function."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from workbench.errors import Damaged, InvalidInput, StorageError, WorkbenchError
from workbench.files import read_and_verify, write_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from workbench.registry.model import Model

MODEL_FILE = "model.onnx"
"""The ONNX file in an archive: what the container looks for."""

FACTS_FILE = "model.json"
"""What the registry knew of the model, in an archive."""

MAX_UNPACKED = 10 * 1024**3
"""Bytes that an archive may unpack to, unless the caller says otherwise."""

MAX_ZIP = 50 * 1024**2
"""Bytes of a Lambda function's zip that is sent with the call; a larger one goes through S3."""

MAX_UNZIPPED = 250 * 1024**2
"""Bytes that a Lambda function's zip may unpack to (developer guide, "Lambda quotas")."""

HANDLER = "workbench.modelserver.function.handler"
"""What answers a Lambda function's events, in a zip and in an image alike."""

_SAMPLE_BYTES = 32 * 1024  # bytes on either side of the middle that are tried
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold
_CONTAINER_MODULES = (
    "casts chunks engine errors failures formats function inputs records runtime_env tiny_numbers"
)


def archive(model: Model, path: str | Path) -> Path:
    """Return `path`, a `model.tar.gz` as SageMaker unpacks it to /opt/ml/model.

    One model always gives the same bytes: no times, owners or names of this machine are in it.

    Raises:
        Damaged: The model's file is missing or is not what was registered.
        StorageError: The archive cannot be written.
    """
    content = read_and_verify(model.path, model.sha256, model.name)
    members = {FACTS_FILE: _describe(model), MODEL_FILE: content}
    return write_file(Path(path), lambda file: _pack(file, members))


def function_zip(model: Model, path: str | Path, *, libraries: str | Path | None = None) -> Path:
    """Return `path`, a zip for AWS Lambda: our handler, the model and the libraries.

    The handler is `HANDLER`, and needs NumPy, ONNX Runtime and orjson. AWS's Python has none of
    them: put them into a folder (`pip install --target`, for Lambda's Python and architecture), or
    deploy an image, which may have 10 GB instead of 250 MB. A local cloud has them.

    One model always gives the same bytes.

    Raises:
        Damaged: The model's file is missing or is not what was registered.
        InvalidInput: It would unpack to more than 250 MB.
        StorageError: A file cannot be read, or the zip not be written.
    """
    members = {
        f"model/{MODEL_FILE}": read_and_verify(model.path, model.sha256, model.name),
        f"model/{FACTS_FILE}": _describe(model),
    }
    try:
        members |= _program() | ({} if libraries is None else _read_tree(Path(libraries)))
    except OSError as error:
        raise StorageError(f"The zip of {model.name} cannot be packed: {error}.") from error
    size = sum(map(len, members.values()))
    if size > MAX_UNZIPPED:
        raise InvalidInput(
            f"The zip would unpack to {size:,} bytes, and Lambda takes {MAX_UNZIPPED:,}: deploy an "
            "image, which may have 10 GB."
        )
    return write_file(Path(path), lambda file: _zip(file, members))


def unzip(
    source: str | Path | IO[bytes], folder: str | Path, *, max_bytes: int = MAX_UNZIPPED
) -> Path:
    """Return `folder`, a new one with the files of a zip in it; it raises what `unpack` does."""
    with _make_folder(Path(folder), source, "zip") as target, zipfile.ZipFile(source) as file:
        _extract("zip", _list_zip(file), target, max_bytes)
    return target


def unpack(source: str | Path, folder: str | Path, *, max_bytes: int = MAX_UNPACKED) -> Path:
    """Return `folder`, a new one with the files of an archive in it.

    Links, devices and paths that lead out of the folder are refused: an archive may come from
    anywhere.

    Raises:
        Damaged: It is not a whole `tar.gz`.
        StorageError: It cannot be read, or the folder not be written.
        InvalidInput: A member is refused, the archive unpacks to more than `max_bytes`, or the
            folder is there already; nothing is left of what was unpacked.
    """
    with (
        _make_folder(Path(folder), source, "tar.gz") as target,
        tarfile.open(source, "r:gz") as tar,
    ):
        _extract("archive", _list_tar(tar), target, max_bytes)
    return target


@contextlib.contextmanager
def _make_folder(target: Path, source: object, kind: str) -> Iterator[Path]:
    """Make a folder to unpack into, of which nothing is left when that fails.

    Python's readers of archives raise most of what there is over one that is damaged: besides
    their own errors ValueError, KeyError, IndexError, UnicodeError, struct.error and more.
    """
    if target.exists():
        raise InvalidInput(f"{target} is there already: choose a new folder to unpack into.")
    target.mkdir(parents=True)
    try:
        yield target
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, WorkbenchError) or not isinstance(error, Exception):
            raise
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            why = error.strerror or error
            raise StorageError(f"{source} cannot be unpacked: {why}.") from error
        raise Damaged(f"{source} is not a whole {kind}: {error}.") from error


def _describe(model: Model) -> bytes:
    facts: dict[str, Any] = {
        "name": model.name,
        "sha256": model.sha256,
        "traits": asdict(model.traits),
        "batch_invariance": model.traits.batches,  # for the model server's queue
    }
    if model.traits.input_schema.fields:  # for its readers, which refuse what is missing otherwise
        facts["gaps"] = _has_gaps(model.samples().inputs)
    return json.dumps(facts, indent=2, sort_keys=True).encode()


def _has_gaps(rows: NDArray[Any]) -> bool:
    """Return whether the samples lack a number somewhere: then the model takes NaN."""
    columns = [rows[name] for name in rows.dtype.names or ()]
    import numpy as np  # here, as a local cloud imports this module and never packs

    return any(each.dtype.kind == "f" and bool(np.isnan(each).any()) for each in columns)


def _pack(file: IO[bytes], members: dict[str, bytes]) -> None:
    level = _compression_level(max(members.values(), key=len))
    with (
        gzip.GzipFile("", "wb", compresslevel=level, fileobj=file, mtime=0) as archive_file,
        tarfile.open(fileobj=archive_file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name, content in sorted(members.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _compression_level(content: bytes) -> int:
    """Return how hard to compress: not at all what hardly gets smaller, as weights, in seconds."""
    middle = len(content) // 2
    sample = content[max(middle - _SAMPLE_BYTES, 0) : middle + _SAMPLE_BYTES]
    return 1 if len(zlib.compress(sample, 1)) < 0.8 * len(sample) else 0


class _Member(NamedTuple):
    name: str
    size: int
    sound: bool  # a file or a folder, and nothing else
    read: Callable[[], IO[bytes] | None] | None  # None: it is a folder


def _list_tar(tar: tarfile.TarFile) -> Iterator[_Member]:
    for each in tar:
        read = None if each.isdir() else partial(tar.extractfile, each)
        yield _Member(each.name, each.size, each.isreg() or each.isdir(), read)


def _list_zip(file: zipfile.ZipFile) -> Iterator[_Member]:
    for each in file.infolist():
        sound = stat.S_IFMT(each.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
        read = None if each.is_dir() else partial(file.open, each)
        yield _Member(each.filename, each.file_size, sound, read)


def _extract(kind: str, members: Iterator[_Member], target: Path, max_bytes: int) -> None:
    left = max_bytes
    for member in members:
        if not member.sound:
            raise InvalidInput(f"The {kind} holds {member.name!r}, neither a file nor a folder.")
        inside = PurePosixPath(member.name)
        if inside.is_absolute() or ".." in inside.parts:
            raise InvalidInput(f"The {kind} holds {member.name!r}, which leads out of its folder.")
        left -= member.size
        if left < 0:
            raise InvalidInput(f"The {kind} unpacks to more than {max_bytes:,} bytes.")
        path = target / inside
        (path if member.read is None else path.parent).mkdir(parents=True, exist_ok=True)
        if member.read is not None and (content := member.read()) is not None:
            with content, path.open("xb") as file:
                shutil.copyfileobj(content, file)


def _program() -> dict[str, bytes]:
    """Return the modules that answer events, in packages of their own."""
    here = Path(__file__).parents[1] / "modelserver"
    packages = ("workbench", "workbench/modelserver")
    return {f"{each}/__init__.py": b"" for each in packages} | {
        f"workbench/modelserver/{name}.py": (here / f"{name}.py").read_bytes()
        for name in _CONTAINER_MODULES.split()
    }


def _read_tree(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder, without what Python makes of them."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def _zip(file: IO[bytes], members: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w") as archive_file:
        for name, content in sorted(members.items()):
            member = zipfile.ZipInfo(name, _EPOCH)
            # what Unix knows of a file are the upper 16 bits
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            member.compress_type = (
                zipfile.ZIP_DEFLATED if _compression_level(content) else zipfile.ZIP_STORED
            )
            archive_file.writestr(member, content, compresslevel=1)
