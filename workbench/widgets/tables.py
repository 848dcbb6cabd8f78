"""Tables in a notebook, which scroll in a frame of their own."""

import html

from workbench.formatting import Table

_STYLE = """
.wb-results .widget-html, .wb-results .widget-html-content { min-width: 0; }
.wb-chart { max-width: max(100%, 560px); }
.wb-runs { color: var(--jp-ui-font-color1); line-height: 1.4; }
.wb-runs div { overflow-x: auto; }
.wb-runs p { margin: 8px 0 0; }
.wb-runs table { border-collapse: collapse; }
.wb-runs caption { text-align: left; padding: 4px 0; }
.wb-runs th, .wb-runs td {
  border-bottom: 1px solid var(--jp-border-color2); padding: 2px 16px 2px 0; text-align: left;
}
.wb-runs tbody th { font-weight: normal; white-space: nowrap; }
"""


def frame_table(table: Table, label: str = "") -> str:
    """Return an HTML table that scrolls in a frame of its own, also by keyboard."""
    label = html.escape(label or table.caption)
    scrolls = f'<div role="region" aria-label="{label}" tabindex="0">'
    return f'<style>{_STYLE}</style><div class="wb-runs">{scrolls}{table.html()}</div></div>'
