"""Drafts: what is written beside its place, to be put there in one step, or never."""

import contextlib
import ctypes
import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

_DRAFT = re.compile(r"\..*\.[0-9a-f]{8}\.draft")
_DRAFT_AGE = 60.0  # seconds: one that is younger may not have its lock yet
_RENAME_EXCHANGE = 2  # of linux/fs.h; renameat2(2), Linux 3.15 and later
_CANNOT_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


@contextlib.contextmanager
def lock(descriptor: int, *, alone: bool = False) -> Iterator[None]:
    """Hold a draft's lock, which the system lets go of when this process dies; or wait for it."""
    with contextlib.suppress(OSError, ImportError):  # not every disk knows locks, no browser does
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
    yield


@contextlib.contextmanager
def lock_folder(folder: Path, *, alone: bool = False) -> Iterator[None]:
    """Hold the lock of a folder, such as a draft."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with lock(descriptor, alone=alone):
            yield
    finally:
        os.close(descriptor)


def remove_drafts(folder: Path) -> None:
    """Remove what processes that were killed have left of their drafts in a folder."""
    for entry in os.scandir(folder):
        if not _DRAFT.fullmatch(entry.name):
            continue
        # It is another's, in use, or already gone; and who cannot lock has no drafts of others.
        with contextlib.suppress(OSError, ImportError):
            if time.time() - entry.stat().st_mtime > _DRAFT_AGE:
                _remove_unused(Path(entry.path))


def _remove_unused(draft: Path) -> None:
    """Remove a draft, or raise an OSError if a process is at work on it."""
    import fcntl

    descriptor = os.open(draft, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if draft.is_dir():
            shutil.rmtree(draft)
        else:
            draft.unlink()
    finally:
        os.close(descriptor)


def replace(draft: Path, target: Path, spare: Path) -> None:
    """Put a draft in the place of the target, which may exist and goes last.

    Where the system cannot exchange two folders, the target is under the spare name meanwhile.

    Raises:
        OSError: It cannot be put there; the target is where it was.
    """
    if not target.exists():
        draft.rename(target)
    elif not _exchange(draft, target):  # then for a moment there is none
        target.rename(spare)
        try:
            draft.rename(target)
        except OSError:
            spare.rename(target)
            raise
        shutil.rmtree(spare, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; return False where the system or the disk cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    here = -100  # AT_FDCWD of linux/fcntl.h
    if rename(here, os.fsencode(one), here, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number))
