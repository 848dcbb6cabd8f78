"""Pages printed as PDF by a Chromium that is on this machine."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from workbench.errors import NotAvailable, WorkbenchError
from workbench.files import write_file

_BROWSERS = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"

_PATIENCE = 120  # seconds


def find_browser() -> str:
    """Return the path of the Chromium that prints.

    Raises:
        NotAvailable: There is none.
    """
    if browser := next(filter(None, map(shutil.which, _BROWSERS)), None):
        return browser
    raise NotAvailable(
        f"A PDF needs Chromium or Chrome ({', '.join(_BROWSERS[:3])} on the path): install one, "
        "or open the page in a browser and print it."
    )


def print_page(page: Path, pdf: Path, *, query: str = "") -> Path:
    """Write a page that is a file as PDF, and return its path.

    `query` stands behind "?" in the page's address.

    Raises:
        NotAvailable: There is no Chromium.
        WorkbenchError: It could not print the page.
        StorageError: The PDF cannot be written.
    """
    browser = find_browser()
    address = page.absolute().as_uri() + (f"?{query}" if query else "")
    with tempfile.TemporaryDirectory(prefix="print-") as folder:
        made = Path(folder) / "page.pdf"
        command = [
            *(browser, "--headless", "--disable-gpu", "--no-first-run", "--no-pdf-header-footer"),
            *(f"--user-data-dir={folder}/profile", "--virtual-time-budget=10000"),
            *(["--no-sandbox"] if os.geteuid() == 0 else []),  # Chromium's own rule for root
            *(f"--print-to-pdf={made}", address),
        ]
        try:
            subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=True)  # noqa: S603 - its own words
            content = made.read_bytes()
        except (OSError, subprocess.SubprocessError) as error:
            raise WorkbenchError(f"{browser} could not print {page}: {error}") from error
    return write_file(pdf, lambda file: file.write(content))
