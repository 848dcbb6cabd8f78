"""The table of results on a page: sorted by a click, each row with its name, note and buttons."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets


class RunsTable(anywidget.AnyWidget):
    """Rows to sort, name, note, pin, copy and delete; what is done goes to `on_act`.

    `columns` have a title and a hint, `rows` an id, a name, a note, code, whether they are the
    `baseline`, and `cells` of text, value, change and hint.

    Args:
        on_act: Called with what was done ("name", "note", "pin", "delete"), the row's id, and the
            new words.
    """

    columns: Any = traitlets.List().tag(sync=True)
    rows: Any = traitlets.List().tag(sync=True)
    caption = traitlets.Unicode().tag(sync=True)
    csv = traitlets.Unicode().tag(sync=True)

    _esm = Path(__file__).with_name("runs_table.js")
    _css = Path(__file__).with_name("runs_table.css")

    def __init__(self, on_act: Callable[[str, int, str], object]) -> None:
        super().__init__()
        self._on_act = on_act
        self.on_msg(self._handle)

    def _handle(self, _widget: object, message: Mapping[str, Any], _buffers: object) -> None:
        self._on_act(message["act"], message["id"], message.get("words", ""))
