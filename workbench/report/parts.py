"""The parts that a page is put together from, as HTML: texts, tables and still charts.

Everything that comes from outside is escaped. Cells of a notebook become parts in
`workbench.report.cells`; `workbench.report.page` makes them one page.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from workbench.formatting import Table
from workbench.measuring.profile_quality import MEASURE_AGAIN
from workbench.plots.descriptions import describe_spec
from workbench.plots.figure import Figure, draw_svg

_ADVICE = re.compile(r": give [^.]*\(\w+=\.\.\.\)[^.]*(?=\.)| Give [^.]*\(\w+=\.\.\.\)[^.]*\.")
_NOWHERE = ("https://nowhere.invalid/",)  # the only address that a chart's data may come from


@dataclass(frozen=True)
class Recommendation:
    """What a report says first: a sentence, US dollars a month where they are known, and the rest.

    In a notebook it shows itself, and `workbench report` tells it. Where what was asked for is not
    `met`, the amount is that of nothing one should take, and is not shown.

    >>> Recommendation("Take the small one.", "$12.30 a month").html()
    '<div class="answer"><p>Take the small one.</p><p class="amount">$12.30 a month</p></div>'
    """

    sentence: str
    amount: str = ""
    more: Sequence[str] = ()
    met: bool = True

    def html(self) -> str:
        """Return it as a part of a page."""
        amount = f'<p class="amount">{escape(self.amount)}</p>' * bool(self.met and self.amount)
        more = "".join(f"<p>{escape(each)}</p>" for each in self.more if each)
        return f'<div class="answer"><p>{escape(self.sentence)}</p>{amount}{more}</div>'

    def __str__(self) -> str:
        return "\n".join(filter(None, (self.sentence, self.amount, *self.more)))

    def _repr_html_(self) -> tuple[str, dict[str, Any]]:
        return self.html(), {"sentence": self.sentence, "met": self.met}


def name_parameters(notes: Iterable[str], *names: str) -> list[str]:
    """Return notes with the names of a template's parameters, for who does not write code.

    What it has no parameter for cannot be given: the note then says only what is so.

    >>> notes = ["It takes no time: give Options(boot=...), in seconds."]
    >>> name_parameters(notes, "boot"), name_parameters(notes)
    (['It takes no time: give the parameter boot, in seconds.'], ['It takes no time.'])
    """
    notes = [note.replace(MEASURE_AGAIN, "workbench profile MODEL --again") for note in notes]
    for name in names:
        notes = [note.replace(f"Options({name}=...)", f"the parameter {name}") for note in notes]
    return [_ADVICE.sub("", note) for note in notes]


def head(text: str) -> str:
    """Return the head of a section."""
    return f"<h2>{escape(text)}</h2>"


def tell(text: str, kind: str = "") -> str:
    """Return a paragraph, of a class of the page's style where a kind is given."""
    style = f' class="{kind}"' if kind else ""
    return f"<p{style}>{escape(text)}</p>"


def itemize(texts: Iterable[str]) -> str:
    """Return texts as a list."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


def define(terms: Mapping[str, str]) -> str:
    """Return terms, each with what it means."""
    pairs = (f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in terms.items())
    return f"<dl>{''.join(pairs)}</dl>"


def quote(text: str) -> str:
    """Return text as it stands, such as code or what a program printed."""
    return f"<pre>{escape(text)}</pre>"


def fold(summary: str, *parts: str, kind: str = "") -> str:
    """Return parts of which a reader sees the summary first, of a class as in `tell`."""
    style = f' class="{kind}"' if kind else ""
    return f"<details{style}><summary>{escape(summary)}</summary>{''.join(parts)}</details>"


def widen(content: str) -> str:
    """Return a table that scrolls within itself where the page is too narrow for it."""
    caption = re.search(r"<caption[^>]*>(.*?)</caption>", content, re.DOTALL)
    label = caption[1] if caption else "A table"
    return f'<div class="wide" role="region" aria-label="{label}" tabindex="0">{content}</div>'


def tabulate(table: Table) -> str:
    """Return a table."""
    return widen(table.html())


def draw(figure: Figure) -> str:
    """Return a figure, its title above and its subtitle below, in the colours of the page."""
    return draw_spec(figure.spec(ink="currentColor"))


def draw_spec(spec: Mapping[str, Any]) -> str:
    """Return a still chart of a Vega-Lite specification that brings its data along.

    Data elsewhere are not loaded: the part says so in its place.
    """
    title, subtitle = _split_title(spec.get("title"))
    bare = {key: value for key, value in spec.items() if key != "title"}
    label = ". ".join(filter(None, (title, spec.get("description") or describe_spec(spec))))
    try:
        svg = draw_svg(bare, label, allowed_base_urls=[*_NOWHERE])
    except ValueError as error:
        return tell(f"Not drawn: {title or 'a chart'}. {_explain(error)}", "lacking")
    above = f"<h3>{escape(title)}</h3>" * bool(title)
    below = f"<figcaption>{escape(subtitle)}</figcaption>" * bool(subtitle)
    return f"<figure>{above}{svg}{below}</figure>"


def _split_title(title: Any) -> tuple[str, str]:  # noqa: ANN401 - Vega-Lite's kinds of title
    parts = title if isinstance(title, Mapping) else {"text": title}
    return _join(parts.get("text")), _join(parts.get("subtitle"))


def _join(lines: object) -> str:
    return " ".join(map(str, lines)) if isinstance(lines, list | tuple) else str(lines or "")


def _explain(error: ValueError) -> str:
    said = re.search(r"(?<=data url not allowed: )\S+", str(error))
    if said:
        return (
            f"Its data are at {said[0]}, and a report loads nothing: read them in the cell and "
            "pass the frame."
        )
    return str(error).splitlines()[-1].strip()
