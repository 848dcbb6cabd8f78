"""Cells of an executed notebook as parts of a page: what they say and show, still and offline.

Of each output the kind that a page can keep best is taken. Nothing is lost without a word: of what
only a script can draw, the page says that the notebook has it.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

from workbench.progress import PROGRESS
from workbench.report.parts import draw_spec, quote, tell, widen
from workbench.report.redaction import redact

_ACTIVE = "script|iframe|object|embed|applet|noscript|template"  # what a page does not run or load
_WITH_CONTENT = re.compile(rf"<({_ACTIVE})\b.*?(</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_WITHOUT = re.compile(r"<(link|meta|base)\b[^>]*>", re.IGNORECASE)
_VISIBLE = re.compile(r"<(img|svg|table|hr|progress|meter)\b", re.IGNORECASE)
_TAG_OR_STYLE = re.compile(r"<style\b.*?</style>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_ANCHOR = re.compile(r'<a class="anchor-link"[^>]*>.*?</a>')  # of headings, for a notebook's page
_INVISIBLE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
_LONGEST = 20_000  # characters of text that a cell may print on a page
_LARGEST = 20_000_000  # characters of an output, of which a chart may draw few
_LOST = (
    "An interactive output is not kept here, because a page runs no script: it is in the notebook."
)


def cell_parts(cell: Any, heading: str = "") -> Iterator[str]:  # noqa: ANN401 - nbformat's node
    """Yield what a cell says and shows; a picture that says nothing of itself has the heading."""
    tags = cell.metadata.get("tags", ())
    if cell.cell_type == "markdown":
        yield _read_markdown(cell.source)
    if cell.cell_type != "code":
        return
    if not {"remove-output", "remove_output"} & {*tags}:
        yield from filter(None, (_output_part(each, heading) for each in cell.outputs))


def code_of(cell: Any) -> str:  # noqa: ANN401
    """Return the code of a cell, "" of one that has none to show."""
    tags = {*cell.metadata.get("tags", ())}
    hidden = cell.cell_type != "code" or {"remove-input", "remove_input"} & tags
    return "" if hidden else str(cell.source)


def _output_part(output: Any, heading: str) -> str:  # noqa: ANN401
    """Return an output as a part, "" of one that is not for a page."""
    if output.output_type == "stream":
        return _quote_start(output.text) if output.name == "stdout" else ""
    if output.output_type == "error":
        return _quote_start(f"{output.ename}: {output.evalue}")
    data = output.get("data", {})
    if (size := len(str(data))) > _LARGEST:
        return tell(
            f"Left out: an output of {size / 1e6:,.0f} MB is too large for a page.", "lacking"
        )
    if spec := next((data[kind] for kind in data if "vnd.vegalite." in kind), None):
        return draw_spec(spec)
    if kind := next((kind for kind in _PICTURES if kind in data), ""):
        said = output.get("metadata", {}).get(kind, {}).get("alt")
        return _show_picture(kind, data[kind], said or heading or "A picture")
    return next(
        (taken for kind, read in _KINDS if kind in data and (taken := read(data[kind]))), ""
    )


def _quote_start(text: str) -> str:
    """Return text without a terminal's colours, the beginning of what no one would read whole."""
    text = _INVISIBLE.sub("", text)
    left = len(text) - _LONGEST
    return quote(f"{text[:_LONGEST]}\n... {left:,} characters more" if left > 0 else text)


def _read_html(text: str) -> str:
    """Return HTML without what a page must not run, and in a region where it may be wide."""
    if text.startswith(PROGRESS):
        return ""
    kept = _WITHOUT.sub("", _WITH_CONTENT.sub("", text))
    if not _TAG_OR_STYLE.sub("", kept).strip() and not _VISIBLE.search(kept):
        return tell(_LOST, "lacking")
    return widen(kept) if "<table" in kept and 'class="wide"' not in kept else kept


def _read_markdown(text: str) -> str:
    from nbconvert.filters.markdown import markdown2html

    return _read_html(_ANCHOR.sub("", markdown2html(text))) if text.strip() else ""


def _show_picture(kind: str, text: str, said: str) -> str:
    """Return a picture with what an SVG says of itself as its alternative text, else `said`."""
    svg = kind == "image/svg+xml"
    encoded = b64encode(redact(text).encode()).decode() if svg else text.strip()
    label = re.search(r'aria-label="([^"]*)"', text) if svg else None
    alt = label[1] if label else escape(said)
    return f'<figure><img alt="{alt}" src="data:{kind};base64,{escape(encoded)}"></figure>'


def _lose(_: object) -> str:
    return tell(_LOST, "lacking")


_PICTURES = ("image/svg+xml", "image/png", "image/jpeg", "image/gif", "image/webp")
_KINDS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("application/vnd.jupyter.widget-view+json", _lose),
    ("text/markdown", _read_markdown),
    ("text/html", _read_html),
    *((kind, _quote_start) for kind in ("text/latex", "text/plain")),
)
