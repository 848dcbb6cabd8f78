"""A directive of Sphinx that puts a figure with sliders on a page, with no kernel behind it.

::

    ```{explorable} cold-starts
    ```

Table, script and style stand in the page itself, because a browser loads no module and no table
from a folder. Tables are kept in the build folder until the code changes.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from explorable_tables import make_explorable
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import workbench
from workbench.files import write_file

PACKAGE = Path(workbench.__file__).parent
ROOT = Path(__file__).parents[1]
KEPT = Path(__file__).parent / "_build/explorables"
_EXPORT = "export default { render, fromTable };"
_STYLE = """.wb-explorable {
  --jp-ui-font-color1: var(--color-foreground-primary); --jp-ui-font-size1: 0.9rem;
  --jp-ui-font-color2: var(--color-foreground-secondary);
  --jp-layout-color1: var(--color-background-primary);
  --jp-border-color1: var(--color-foreground-muted); --jp-error-color1: #d9363e;
  margin: 1rem 0;
}
.wb-explorable .wb-dial { grid-template-columns: 84px 1fr 76px 52px; }
"""


@cache
def _fingerprint() -> str:
    """Return a hash of all that a table depends on: code, prices, versions of libraries."""
    others = "site/explorable_tables.py", "data/prices/us-east-1.csv", "constraints.txt"
    paths = [*sorted(PACKAGE.rglob("*.py")), *(ROOT / name for name in others)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def load_table(name: str, models: Path = KEPT / "models") -> dict[str, Any]:
    """Return the table of an explorable, computed unless it is kept.

    Models that it needs are taken from a registry's folder, and trained if they are not there.

    Raises:
        KeyError: There is no explorable of this name.
    """
    kept = KEPT / f"{name}-{_fingerprint()}.json"
    if not kept.exists():
        table = make_explorable(name, models).table()
        KEPT.mkdir(parents=True, exist_ok=True)
        for old in KEPT.glob(f"{name}-????????????????.json"):
            old.unlink(missing_ok=True)
        text = json.dumps(table, separators=(",", ":"), allow_nan=False)
        write_file(kept, lambda file: file.write(text.encode()))
    return json.loads(kept.read_text())


def write_html(name: str, table: dict[str, Any]) -> str:
    """Return a figure as HTML that needs no other file."""
    at = 0
    for dial in table["dials"]:
        at = at * len(dial["values"]) + dial["at"]
    inline = json.dumps(table, separators=(",", ":")).replace("<", "\\u003c")
    source, found, _ = (PACKAGE / "widgets/whatif.js").read_text().partition(_EXPORT)
    if not found:
        raise ValueError(f"whatif.js has no line {_EXPORT!r} any more.")
    style = (PACKAGE / "widgets/whatif.css").read_text()
    return f"""<style>{style}{_STYLE}</style>
<div class="wb-explorable" id="explorable-{name}"><p>{table["answers"][at][0]}</p></div>
<script>(() => {{
{source}
const el = document.getElementById("explorable-{name}");
el.replaceChildren();
render({{ model: fromTable({inline}), el }});
}})();</script>"""


class ExplorableDirective(SphinxDirective):
    """Put the explorable that it names on the page."""

    required_arguments = 1
    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        """Return the figure as a node of HTML."""
        (name,) = self.arguments
        for path in (Path(__file__), PACKAGE / "widgets/whatif.js", PACKAGE / "widgets/whatif.css"):
            self.env.note_dependency(path)
        return [nodes.raw("", write_html(name, load_table(name)), format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known."""
    app.add_directive("explorable", ExplorableDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
