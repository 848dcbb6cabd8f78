"""Tables in a notebook, which scroll in a frame of their own."""

import html
from collections.abc import Iterable

from workbench.formatting import Table
from workbench.widgets.form import name_fields

_STYLE = """
.wb-results .widget-html, .wb-results .widget-html-content { min-width: 0; }
.wb-chart { max-width: max(100%, 560px); }
.wb-runs { color: var(--jp-ui-font-color1); line-height: 1.4; }
.wb .widget-html-content p { line-height: 1.4; margin: 4px 0; }
.wb-runs div { overflow-x: auto; }
.wb-runs p { margin: 8px 0 0; }
.wb-runs table { border-collapse: collapse; }
.wb-runs caption { text-align: left; padding: 4px 0; }
.wb-runs th, .wb-runs td {
  border-bottom: 1px solid var(--jp-border-color2); padding: 2px 16px 2px 0; text-align: left;
}
.wb-runs tbody th { font-weight: normal; white-space: nowrap; }
.wb-runs td:nth-child(2):not([style]) { min-width: 130px; }  /* words, such as a deployment */
.wb-runs td:last-child:not([style]) { min-width: 240px; }  /* words, such as a reason */
.wb-runs td:not(:nth-child(2), :last-child) { white-space: nowrap; }  /* figures, not words */
"""


def frame_table(table: Table, label: str = "") -> str:
    """Return an HTML table that scrolls in a frame of its own, also by keyboard."""
    label = html.escape(label or table.caption)
    scrolls = f'<div role="region" aria-label="{label}" tabindex="0">'
    return f'<style>{_STYLE}</style><div class="wb-runs">{scrolls}{table.html()}</div></div>'


def list_notes(notes: Iterable[str]) -> str:
    """Return notes as paragraphs of HTML that name the app's fields.

    >>> list_notes(["a < b"])
    '<p>a &lt; b</p>'
    """
    return "".join(f"<p>{html.escape(name_fields(note))}</p>" for note in notes)


def fold_notes(notes: Iterable[str], summary: str, above: str = "") -> str:
    """Return notes, under more of HTML, folded away behind a line that says what they are."""
    return f"<details><summary>{summary}</summary>{above}{list_notes(notes)}</details>"
