"""A sentence on a result, and whether what was expected of it is so."""

from dataclasses import dataclass
from html import escape

from workbench.formatting import NO_FORMULA


@dataclass(frozen=True)
class Conclusion:
    """A sentence on a result; `holds` says whether what was expected is so.

    It is None where the result cannot tell; `only_if` is what it holds under, where that is not
    always. In a notebook it shows itself.

    >>> Conclusion("A batch of 8 takes 8 times as long as a request.", holds=False)
    Not so here. A batch of 8 takes 8 times as long as a request.
    """

    text: str
    holds: bool | None = True
    only_if: str = ""

    @property
    def title(self) -> str:
        """What the sentence is: a finding, or that there is none."""
        found = f"Only if {self.only_if}." if self.only_if else "Finding."
        return {True: found, False: "Not so here.", None: "Cannot tell."}[self.holds]

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"{self.title} {self.text}"

    def _repr_html_(self) -> str:
        text = f"<strong>{self.title}</strong> {escape(self.text)}"
        return f'<p class="{NO_FORMULA}">{text}</p>'
