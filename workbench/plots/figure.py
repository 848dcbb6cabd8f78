"""What every plot returns: its numbers, its chart, its words, and ways to show and save it.

A figure needs no internet and leaves Altair's renderers alone. In JupyterLab it is interactive:
Lab bundles Vega-Lite 5, Altair writes version 6, so the specification is handed over under the
mimetype Lab knows and kept to what Vega-Lite 5.6 understands. Elsewhere it is an SVG.
"""

import base64
import html
import json
import os
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InvalidInput
from workbench.files import write_file
from workbench.plots.theme import HEIGHT, INK, WIDTH, config
from workbench.validation import keep

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

MIMETYPE = "application/vnd.vegalite.v5+json"
_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
_PLACEHOLDER = "the specification goes here"
_SUBTITLE_WIDTH = 84  # characters of a subtitle that the chart has room for, in a wide font
_PAPER_INK = "#222222"
_PAGE_STYLE = "<style>:root{color-scheme:light dark}body{font-family:sans-serif}</style>"


@dataclass(frozen=True, kw_only=True, eq=False)
class Figure:
    """A chart with the frame it shows (`data`), its title, subtitle lines and alternative text.

    In a notebook it displays itself. `save` writes it to a file. Empty lines of a subtitle are
    left out. A chart that has to be there soon is a specification written by hand: importing
    Altair takes a second.
    """

    data: "pl.DataFrame"
    chart: "alt.TopLevelMixin | Mapping[str, Any]"
    title: str
    subtitle: tuple[str, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        keep(self, subtitle=tuple(filter(None, self.subtitle)))

    def spec(self, *, ink: str = INK, with_title: bool = True) -> dict[str, Any]:
        """Return the Vega-Lite specification, data included, with text in the colour `ink`.

        `ink="currentColor"` takes the colour of the surrounding page. `with_title=False` leaves the
        title to that page.
        """
        spec = _specify(self.chart)
        spec |= {"$schema": _SCHEMA, "config": config(ink), "description": self.description}
        if with_title:
            lines = [
                part for line in self.subtitle for part in textwrap.wrap(line, _SUBTITLE_WIDTH)
            ]
            spec["title"] = {"text": self.title, **({"subtitle": lines} if lines else {})}
        if "facet" in spec and with_title:
            spec["title"]["frame"] = "bounds"  # long names at the left leave the group little room
        if "layer" in spec or "mark" in spec:
            spec = {"width": WIDTH, "height": HEIGHT} | spec
            spec["autosize"] = {"type": "fit", "contains": "padding"}
        return spec

    def retitle(self, title: str) -> "Figure":
        """Return the figure with another title, for a page that says its first sentence itself."""
        return replace(self, title=title, subtitle=self.subtitle[1:])

    def svg(self, *, ink: str = INK, with_title: bool = True) -> str:
        """Return the chart as an SVG image with its alternative text; `ink` as in `spec`."""
        spec = self.spec(ink=ink, with_title=with_title)
        return draw_svg(spec, f"{self.title}. {self.description}")

    def image(self) -> str:
        """Return the chart as an HTML image that brings its data along and needs no script."""
        # Not inline SVG: JupyterLab strips that from notebooks it does not trust.
        return self.image_of(self.svg())

    def image_of(self, svg: str) -> str:
        """Return a drawing of the chart as such an HTML image."""
        data = base64.b64encode(svg.encode()).decode()
        text = html.escape(f"{self.title}. {self.description}")
        return f'<img src="data:image/svg+xml;base64,{data}" alt="{text}" class="wb-chart">'

    def html(self) -> str:
        """Return an interactive page that needs no internet (0.9 MB: it brings Vega along)."""
        page: str = _converter().vegalite_to_html(
            {"description": _PLACEHOLDER}, vl_version=_version(), bundle=True
        )
        # a text of the user's must not end the script that it stands in
        spec = json.dumps(self.spec(ink="currentColor")).replace("<", "\\u003c")
        head = f"<title>{html.escape(self.title)}</title>{_PAGE_STYLE}"
        page = page.replace("<html>", '<html lang="en">', 1)
        page = page.replace("<title>Chart</title>", head, 1)
        return page.replace(f'{{"description":"{_PLACEHOLDER}"}}', spec)

    def save(self, path: str | os.PathLike[str], *, scale: float = 2.0) -> Path:
        """Write the chart whole or not at all, as its name's ending says, and return the path.

        `.svg` is an image without a background, for light and dark pages; `.png` (`scale` pixels
        to a unit of the chart) and `.pdf` are on white; `.html` is an interactive page, `.json`
        the Vega-Lite specification with the data.

        Raises:
            InvalidInput: The ending is none of these.
            StorageError: The file cannot be written.
        """
        target = Path(path)
        writers: dict[str, Callable[[], bytes]] = {
            ".png": lambda: self._png(scale),
            ".svg": lambda: self.svg().encode(),
            ".pdf": self._pdf,
            ".html": lambda: self.html().encode(),
            ".json": lambda: json.dumps(self.spec(), indent=1).encode(),
        }
        if target.suffix.lower() not in writers:
            raise InvalidInput(
                f"A figure cannot be saved as {target.name!r}: end the name in "
                f"{', '.join(writers)}."
            )
        content = writers[target.suffix.lower()]()
        return write_file(target, lambda file: file.write(content))

    def _png(self, scale: float) -> bytes:
        image: bytes = _converter().vegalite_to_png(
            self._paper_spec(), vl_version=_version(), scale=scale
        )
        return image

    def _pdf(self) -> bytes:
        document: bytes = _converter().vegalite_to_pdf(self._paper_spec(), vl_version=_version())
        return document

    def _paper_spec(self) -> dict[str, Any]:
        """Return the specification on white: vl-convert greys translucent marks on no ground."""
        return self.spec(ink=_PAPER_INK) | {"background": "white"}

    def _repr_mimebundle_(
        self,
        include: object = None,  # noqa: ARG002 - IPython's protocol
        exclude: object = None,  # noqa: ARG002
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = {
            MIMETYPE: self.spec(ink="currentColor"),
            "image/svg+xml": self.svg(),
            "text/plain": f"{self!r}\n{self.description}",
        }
        return bundle, {MIMETYPE: {"embed_options": {"renderer": "svg"}}}

    def __repr__(self) -> str:
        return f"<Figure {self.title!r}: {self.data.height} rows>"


def _specify(chart: "alt.TopLevelMixin | Mapping[str, Any]") -> dict[str, Any]:
    """Return a chart's specification: the figure stays as it is whatever the user has set."""
    if isinstance(chart, Mapping):
        return dict(chart)
    import altair as alt

    with alt.data_transformers.enable("default", max_rows=None), alt.theme.enable("none"):
        return chart.to_dict()


def draw_svg(spec: Mapping[str, Any], text: str, **options: object) -> str:
    """Return a Vega-Lite specification as an SVG image with this alternative text.

    Args:
        spec: It; a figure's own, or one that Altair wrote.
        text: What the image shows.
        options: For vl-convert, such as `allowed_base_urls`.

    Raises:
        ValueError: It cannot be drawn.
    """
    version = _version(str(spec.get("$schema", _SCHEMA)))
    drawn: str = _converter().vegalite_to_svg(dict(spec), vl_version=version, **options)
    drawn = re.sub("<[^>]+>", _strip_roles, drawn)  # one image, not a tree of marks
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{html.escape(text)}" ', 1)


def _converter() -> Any:  # noqa: ANN401 - a module
    import vl_convert

    return vl_convert


def _strip_roles(tag: re.Match[str]) -> str:
    return re.sub(' (role|aria-[a-z]+)="[^"]*"', "", tag[0])


def _version(schema: str = _SCHEMA) -> str:
    """Return the oldest Vega-Lite at hand of the schema's kind.

    Of figures that is the nearest to what JupyterLab draws with.
    """
    known = sorted(_converter().get_vegalite_versions(), key=lambda v: [*map(int, v.split("."))])
    major = re.search(r"/v(\d+)", schema)
    fitting = [each for each in known if major and each.startswith(f"{major[1]}.")]
    return str(fitting[0] if schema == _SCHEMA and fitting else (fitting or known)[-1])
