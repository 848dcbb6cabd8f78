"""Pages on paper: a PDF of one, which a Chromium on this machine prints."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from workbench.errors import NotAvailable
from workbench.files import write_file

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PATIENCE = 120  # seconds


def find_browser() -> str:
    """Return the Chromium of this machine that prints pages.

    Raises:
        NotAvailable: There is none on the path.
    """
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        raise NotAvailable(
            f"A PDF needs a Chromium on the path, one of {', '.join(_NAMES)}: install one "
            "(apt-get install chromium), or leave --pdf out and print the page in any browser."
        )
    return found


def write_pdf(page: Path) -> Path:
    """Write the PDF of a page beside it, whole or not at all, and return its path.

    Raises:
        NotAvailable: There is no Chromium, or it prints nothing.
        StorageError: The file cannot be written.
    """
    browser = find_browser()
    with tempfile.TemporaryDirectory(dir=page.parent, prefix="pdf-") as folder:
        made = Path(folder, "page.pdf")
        # Chromium has no sandbox for root; a page runs no script and loads nothing in any case.
        sandbox = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
        options = [*sandbox, "--headless", "--disable-gpu", "--no-pdf-header-footer"]
        where = [f"--user-data-dir={folder}/profile", f"--print-to-pdf={made}"]
        try:
            subprocess.run(  # noqa: S603 - the user's own browser
                [browser, *options, *where, page.absolute().as_uri()],
                check=True,
                capture_output=True,
                timeout=_PATIENCE,
            )
            content = made.read_bytes()
        except (OSError, subprocess.SubprocessError) as error:
            raise NotAvailable(
                f"{browser} made no PDF of {page}: print the page in a browser. ({error})"
            ) from error
    return write_file(page.with_suffix(".pdf"), lambda file: file.write(content))
