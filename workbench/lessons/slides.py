"""Slides of a lesson from its notebook, in one file that asks nobody for anything.

nbconvert makes the slides, reveal.js (MIT) shows them: it comes with the package sphinx-revealjs
(Apache 2.0), since nbconvert itself has it fetched from another host each time.
"""

import importlib.util
import os
from pathlib import Path
from typing import Any

from workbench.extras import require_extra
from workbench.files import as_path, make_folder, write_file
from workbench.lessons.notebooks import find_notebook
from workbench.report.printing import find_browser, print_page

_TEACHER = "the class"
"""The name whose traffic is on slides."""

_REVEAL = "_static/revealjs/dist"
_TEMPLATE = Path(__file__).with_name("slides.html.j2")


def write_slides(topic: str, folder: str | os.PathLike[str], *, pdf: bool = False) -> list[Path]:
    """Write the slides of a lesson, with all outcomes, and return what was written.

    That is TOPIC.slides.html, and where a PDF is wanted TOPIC.slides.pdf.

    Raises:
        NotAvailable: The extra `slides` is not installed, or no Chromium for the PDF.
        NotFound: There is no such lesson.
        StorageError: The file cannot be written.
    """
    from workbench.report.notebook import execute

    reveal = _read_reveal()
    if pdf:
        find_browser()
    make_folder(folder := as_path(folder))
    done = execute(find_notebook(topic), {"name": _TEACHER, "reveal": True})
    page = slides_of(done, reveal)
    path = write_file(folder / f"{topic}.slides.html", lambda file: file.write(page.encode()))
    if not pdf:
        return [path]
    return [path, print_page(path, path.with_suffix(".pdf"), query="print")]


def slides_of(notebook: Any, reveal: dict[str, str]) -> str:  # noqa: ANN401 - nbformat's node
    """Return an executed notebook as slides, without its code."""
    from nbconvert import SlidesExporter

    exporter = SlidesExporter(raw_template=_TEMPLATE.read_text(encoding="utf-8"))
    exporter.exclude_input = exporter.exclude_output_prompt = exporter.exclude_input_prompt = True
    exporter.embed_images = True
    page, _ = exporter.from_notebook_node(notebook, resources={"revealjs": reveal})
    return str(page)


def _read_reveal() -> dict[str, str]:
    """Return reveal.js and its styles, without importing the package that has them."""
    require_extra("slides", "A lesson on slides")
    spec = importlib.util.find_spec("sphinx_revealjs")
    (package,) = (spec and spec.submodule_search_locations) or [""]
    folder = Path(package) / _REVEAL
    return {
        name: (folder / file).read_text(encoding="utf-8").replace("</script", "<\\/script")
        for name, file in (("script", "reveal.js"), ("style", "reveal.css"))
    }
