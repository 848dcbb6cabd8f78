"""What lets a report keep the Altair charts of a notebook: each hands its specification over.

Altair's own output is a script, which a page does not run.
"""

from typing import TYPE_CHECKING, Any

from workbench.plots.grammar import defer_grammar

if TYPE_CHECKING:
    import altair as alt

MIMETYPE = "application/vnd.vegalite.v6+json"
_MODULES = ("altair.vegalite.v5.api", "altair.vegalite.v6.api")  # of Altair 5, and from 6 on


def keep_specs() -> None:
    """Have this kernel show Altair's charts with their specification beside Altair's output.

    Altair need not be imported for it, and takes a second less where it is.
    """
    from IPython.core.getipython import get_ipython

    defer_grammar()
    shell: Any = get_ipython()
    for module in _MODULES:
        shell.display_formatter.mimebundle_formatter.for_type_by_name(
            module, "TopLevelMixin", _with_spec
        )


def _with_spec(chart: "alt.TopLevelMixin", **kinds: object) -> Any:  # noqa: ANN401 - a bundle
    shown = chart._repr_mimebundle_(**kinds) or {}
    data, metadata = shown if isinstance(shown, tuple) else (shown, {})
    return {**data, MIMETYPE: chart.to_dict()}, metadata
