"""What a deployment ships: the archive of a model, and the files that an image is built from."""

import gzip
import io
import json
import shutil
import tarfile
import zlib
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import IO

from workbench.errors import Damaged, InvalidInput, StorageError
from workbench.model import Model, read_checked
from workbench.storage import write_file

MODEL_FILE = "model.onnx"
"""The ONNX file in an archive: what the container looks for."""

FACTS_FILE = "model.json"
"""What the registry knew of the model, in an archive."""

MAX_UNPACKED = 10 * 1024**3
"""Bytes that an archive may unpack to, unless the caller says otherwise."""


def archive(model: Model, path: str | Path) -> Path:
    """Return `path`, a `model.tar.gz` as SageMaker unpacks it to /opt/ml/model.

    One model always gives the same bytes: no times, owners or names of this machine are in it.

    Raises:
        Damaged: The model's file is missing or is not what was registered.
        StorageError: The archive cannot be written.
    """
    content = read_checked(model.path, model.sha256, model.name)
    facts = {"name": model.name, "sha256": model.sha256, "traits": asdict(model.traits)}
    members = {
        FACTS_FILE: json.dumps(facts, indent=2, sort_keys=True).encode(),
        MODEL_FILE: content,
    }
    return write_file(Path(path), lambda file: _pack(file, members))


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
    target = Path(folder)
    if target.exists():
        raise InvalidInput(f"{target} is there already: choose a new folder to unpack into.")
    target.mkdir(parents=True)
    try:
        with tarfile.open(source, "r:gz") as tar:
            _unpack(tar, target, max_bytes)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        shutil.rmtree(target)
        raise Damaged(f"{source} is not a whole tar.gz: {error}.") from error
    except OSError as error:
        shutil.rmtree(target)
        raise StorageError(f"{source} cannot be unpacked: {error.strerror or error}.") from error
    except InvalidInput:
        shutil.rmtree(target)
        raise
    return target


def _pack(file: IO[bytes], members: dict[str, bytes]) -> None:
    # The weakest compression: weights hardly get smaller by a stronger one, which takes seconds.
    with (
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name, content in sorted(members.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _unpack(tar: tarfile.TarFile, target: Path, max_bytes: int) -> None:
    left = max_bytes
    for member in tar:
        path = target / _checked(member)
        left -= member.size
        if left < 0:
            raise InvalidInput(f"The archive unpacks to more than {max_bytes:,} bytes.")
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        content = tar.extractfile(member)
        assert content is not None  # noqa: S101 - it is a file, as was checked
        with content, path.open("xb") as file:
            shutil.copyfileobj(content, file)


def _checked(member: tarfile.TarInfo) -> PurePosixPath:
    path = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()):
        raise InvalidInput(f"The archive holds {member.name!r}, neither a file nor a folder.")
    if path.is_absolute() or ".." in path.parts:
        raise InvalidInput(f"The archive holds {member.name!r}, which leads out of its folder.")
    return path
