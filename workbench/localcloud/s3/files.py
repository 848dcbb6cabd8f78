"""Files of S3's bodies, which never change: linked, copied, joined and hashed, all of it slow."""

import hashlib
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from workbench.localcloud.s3.checksums import CHECKSUMS, encode

_PIECE = 1024 * 1024  # bytes that are read at once


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file that never changes a second name; a copy where that cannot be had."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def copy_range(
    source: Path, target: Path, first: int, length: int, algorithms: Collection[str]
) -> tuple[int, str, dict[str, str]]:
    """Copy bytes of a file; return how many they are, their MD5 and other checksums."""
    md5 = hashlib.md5(usedforsecurity=False)
    left = length
    with source.open("rb") as read, target.open("xb") as write:
        read.seek(first)
        while left and (piece := read.read(min(left, _PIECE))):
            md5.update(piece)
            write.write(piece)
            left -= len(piece)
        write.flush()
        os.fsync(write.fileno())
    return length - left, md5.hexdigest(), compute_checksums(target, algorithms)


def join(sources: list[Path], target: Path, algorithms: Collection[str]) -> dict[str, str]:
    """Write files behind one another; return checksums of the whole."""
    with target.open("xb") as write:
        for source in sources:
            with source.open("rb") as read:
                shutil.copyfileobj(read, write, _PIECE)
        write.flush()
        os.fsync(write.fileno())
    return compute_checksums(target, algorithms)


def compute_checksums(path: Path, algorithms: Collection[str]) -> dict[str, str]:
    """Return checksums of a file by algorithm."""
    made = {name: CHECKSUMS[name]() for name in algorithms}
    if made:
        with path.open("rb") as read:
            while piece := read.read(_PIECE):
                for each in made.values():
                    each.update(piece)
    return {name: encode(each) for name, each in made.items()}
