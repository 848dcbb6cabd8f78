"""Many reports from one template, side by side: pages in a folder, and an index of them.

A page that is there is not made again, so a sweep that was interrupted goes on where it was. Its
name ends with a hash of what it hangs on: the template, the parameters, and this version.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path

from workbench.errors import Unfinished
from workbench.files import file_name, sha256, write_file
from workbench.formatting import format_fact
from workbench.progress import Progress
from workbench.report.notebook import make_page, path_of_failed
from workbench.report.page import LARGEST, page_html
from workbench.report.parts import tell, widen
from workbench.report.templates import Template
from workbench.validation import whole_number

_ANSWER = re.compile(r'<div class="answer"><p>(.*?)</p>(?:<p class="amount">(.*?)</p>)?')
_CHART = re.compile(r"<figure>.*?(<svg\b.*?</svg>)", re.DOTALL)
_FAILED = re.compile('<p class="failed">(.*?)</p>')
_LONGEST = 60  # characters of a page's name, besides the hash


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """A report of a sweep: its template, its values, and the file that its page is or will be."""

    template: Template
    values: Mapping[str, object]
    page: Path

    @property
    def error(self) -> str:
        """Why it was not finished, as HTML; "" where it was, or has not begun."""
        kept = path_of_failed(self.page)
        found = _FAILED.search(kept.read_text(encoding="utf-8")) if kept.exists() else None
        return found[1] if found else ""

    def make(self, timeout: float | None) -> None:
        """Make the page; where a cell fails, the one of what was made until then."""
        with suppress(Unfinished):
            make_page(self.template, self.values, self.page, timeout=timeout)

    def row(self, varied: Sequence[str], room: int) -> str:
        """Return its row in the index, whose chart has `room` characters."""
        cells = [escape(format_fact(self.values[name])) for name in varied]
        page = self.page.read_text(encoding="utf-8") if self.page.exists() else ""
        answer, chart = _ANSWER.search(page), _CHART.search(page)
        said = "<br>".join(filter(None, answer.groups())) if answer else self.error
        small = chart[1] if chart and len(chart[1]) < room else ""
        link = self.page if page else path_of_failed(self.page)
        about = escape(", ".join(f"{name} {format_fact(self.values[name])}" for name in varied))
        opens = f'<a href="{link.name}" aria-label="The page: {about or "all"}">open</a>'
        more = said or ("" if page else "Not made yet."), small, opens if link.exists() else ""
        return f"<tr>{''.join(f'<td>{cell}</td>' for cell in (*cells, *more))}</tr>"


def list_reports(
    template: Template, varied: Sequence[str], rows: Sequence[Mapping[str, object]], folder: Path
) -> list[SweepReport]:
    """Return the reports of a sweep, those that are there already with the page that they have."""
    made_by = sha256(template.path), version("inference-workbench")
    found = []
    for values in rows:
        facts = json.dumps([*made_by, template.fill(values)], sort_keys=True)
        key = hashlib.sha256(facts.encode()).hexdigest()[:12]
        label = " ".join(f"{name} {format_fact(values[name])}" for name in varied)
        new = folder / f"{file_name(label)[:_LONGEST] or template.path.stem}-{key}.html"
        there = sorted(folder.glob(f"*-{key}.html"))
        found.append(SweepReport(template=template, values=values, page=(there or [new])[0]))
    return found


def make_reports(
    reports: Sequence[SweepReport],
    processes: int = 1,
    *,
    timeout: float | None = None,
    progress: Progress | None = None,
) -> None:
    """Make the pages that are not there, so many at a time, each in a kernel of its own.

    Ctrl-C ends it once those in hand are done.

    Raises:
        WorkbenchError: One cannot be executed at all, or its page not be written.
    """
    whole_number("processes", processes, low=1)
    left = [each for each in reports if not each.page.exists()]
    with ThreadPoolExecutor(processes) as pool:  # a kernel is a process: a thread waits for it
        futures = [pool.submit(each.make, timeout) for each in left]
        try:
            for done, future in enumerate(as_completed(futures), len(reports) - len(left) + 1):
                future.result()
                if progress:
                    progress(done, len(reports))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def write_index(
    reports: Sequence[SweepReport], varied: Sequence[str], title: str, folder: Path
) -> Path:
    """Write the page that lists the reports, a row and a small chart each, and return its path."""
    page = page_html(title, _parts(reports, varied))
    return write_file(folder / "index.html", lambda file: file.write(page.encode()))


def _parts(reports: Sequence[SweepReport], varied: Sequence[str]) -> Iterator[str]:
    made = sum(each.page.exists() for each in reports)
    failed = sum(bool(each.error) for each in reports)
    yield tell(
        f"{made:,} of {len(reports):,} reports" + f", {failed:,} failed" * bool(failed) + "."
    )
    heads = [
        f'<th scope="col">{escape(name)}</th>' for name in (*varied, "answer", "chart", "page")
    ]
    rows = [each.row(varied, LARGEST // len(reports) - 2000) for each in reports]
    caption = "<caption>The reports, in the order of the grid</caption>"
    yield widen(
        f'<table class="reports">{caption}<thead><tr>{"".join(heads)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
