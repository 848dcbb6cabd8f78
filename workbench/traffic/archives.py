"""Archives that Python cannot read: taken apart by a program that can, if one is installed."""

import contextlib
import shutil
import subprocess
from pathlib import Path
from typing import IO

from workbench.errors import Damaged, NotAvailable
from workbench.files import sha256 as digest
from workbench.files import write_file

_MAX_SECONDS = 3600.0  # of taking an archive apart
_READERS = (  # each writes what is in an archive to standard output; the reference first
    ("unrar", "p", "-inul", "-p-"),
    ("7zz", "e", "-so"),
    ("7z", "e", "-so"),
    ("bsdtar", "-xOf"),
)


def unpack(archive: Path, target: Path, *, sha256: str) -> Path:
    """Write the one file of a .rar archive to the target, and return the target.

    Of the programs that are installed, the first is taken whose output has the hash: decoders of
    the format differ.

    Raises:
        NotAvailable: no program that reads such archives is installed.
        Damaged: none of them gives the published file.
        StorageError: the target cannot be written.
    """
    found = [words for words in _READERS if shutil.which(words[0])]
    if not found:
        raise NotAvailable(
            f"{archive.name} is a .rar archive, and none of {', '.join(w[0] for w in _READERS)} is "
            "installed here. Get the format's own: `apt install unrar` (Debian's is in non-free), "
            "`brew install --cask rar`, or https://www.rarlab.com; or take the file out "
            "elsewhere, and pass path= with it."
        )
    for words in found:
        write_file(target, lambda out, words=words: _extract([*words, str(archive)], out))  # type: ignore[misc]
        if digest(target) == sha256:
            return target
        target.unlink()
    raise Damaged(
        f"{' and '.join(words[0] for words in found)} did not give the published file out of "
        f"{archive}: install unrar of https://www.rarlab.com, the format's own program."
    )


def _extract(command: list[str], out: IO[bytes]) -> None:
    """Write what the command prints; what it was worth, its hash tells."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(  # noqa: S603 - a program of the list above
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=_MAX_SECONDS,
        )
