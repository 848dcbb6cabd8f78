"""The one page that every report is: an HTML file that loads nothing and runs no script.

Its own policy forbids it both. What stands in it are `workbench.report.parts`.
"""

import re
from collections.abc import Iterable
from itertools import count

from workbench.report.redaction import redact

LARGEST = 3_000_000
"""Characters that the parts of a page may have together: what is sent around and opened at once."""


def page_html(title: str, parts: Iterable[str]) -> str:
    """Return the page of this title, an HTML file, with these parts of HTML one below the other.

    What looks like a credential is not in it.

    >>> page_html("A < B", ["<p>Both.</p>"]).count("A &lt; B")
    2
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    engine = Environment(
        loader=PackageLoader("workbench.report", ""), undefined=StrictUndefined, autoescape=True
    )
    body = _number_clips(redact("\n".join(parts)))
    page = engine.get_template("page.html.j2").render(title=redact(title), body=body)
    return page.encode(errors="replace").decode()  # of a file's name there may be half a character


def _number_clips(body: str) -> str:
    """Return the page with each drawing's clip paths named apart: Vega numbers all from zero."""
    numbers = count()
    drawings = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
    return drawings.sub(lambda found: _name_clips(found[0], next(numbers)), body)


def _name_clips(svg: str, number: int) -> str:
    return re.sub(r'(<clipPath id="|clip-path="url\(#)', rf"\g<1>f{number}-", svg)
