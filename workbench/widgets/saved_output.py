"""What a saved notebook shows of a widget when it is opened without a kernel."""

import re
import secrets
from typing import Any

import traitlets
from IPython.core.getipython import get_ipython
from IPython.display import display

from workbench.formatting import NO_FORMULA


class SavedOutput(traitlets.HasTraits):
    """Base of widgets that leave their results in the notebook as HTML, beside themselves.

    `kept` is that HTML. It is an output of its own, hidden while the widget is alive, and replaced
    when `keep` is called. JupyterLab takes styles, scripts and inline SVG out of a notebook that
    it does not trust: tables and images that bring their data along remain.
    """

    kept = traitlets.Unicode("", read_only=True)
    _display_id = ""

    def keep(self, kept: str) -> None:
        """Have the notebook hold this, without styles, from now on, where the widget is shown."""
        self.set_trait("kept", re.sub("<style>.*?</style>", "", kept, flags=re.DOTALL))
        if self._display_id:
            self._show(update=True)

    def _show(self, *, update: bool) -> None:
        output = {"text/html": f'<div class="wb-kept {NO_FORMULA}">{self.kept}</div>'}
        display(output, raw=True, display_id=self._display_id, update=update)  # type: ignore[no-untyped-call]

    def _repr_mimebundle_(self, **asked: Any) -> Any:  # noqa: ANN401 - of ipywidgets
        bundle = super()._repr_mimebundle_(**asked)  # type: ignore[misc]  # of the widget
        if get_ipython() is None:
            return bundle
        self._display_id = self._display_id or f"workbench-{secrets.token_hex(8)}"
        self._show(update=False)
        # Without a kernel this is shown in place of the controls.
        return bundle | {"text/html": "<p>Run this cell to use the controls.</p>"}
