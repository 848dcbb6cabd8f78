"""Links of a built site: each leads to a page and a place on it; no other host is asked."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

_LOADED = {"src", "srcset", "poster", "data"}
_IMPORTED = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""")


class _Page(HTMLParser):
    """What a page links to, loads, and can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.ids |= {told.get("id", ""), told.get("name", "") if tag == "a" else ""}
        self.loads += [value for name, value in told.items() if name in _LOADED]
        if "href" in told:
            (self.loads if tag == "link" else self.links).append(told["href"])


def find_faults(folder: Path) -> list[str]:
    """Return a line for each link that leads nowhere and each thing loaded from another host."""
    pages = {path: _Page(path.read_text()) for path in sorted(folder.rglob("*.html"))}
    faults = [
        f"{path.relative_to(folder)}: {what}"
        for path, page in pages.items()
        for what in _faults_of(path, page, pages)
    ]
    for path in folder.rglob("*.css"):
        found = _IMPORTED.findall(path.read_text())
        faults += [f"{path.relative_to(folder)}: loads {address}" for address in found]
    return faults


def _faults_of(path: Path, page: _Page, pages: dict[Path, _Page]) -> Iterator[str]:
    for address in page.loads:
        if not address.startswith("data:") and (urlsplit(address).netloc or not address):
            yield f"loads {address}"
    for link in page.links + [each for each in page.loads if not urlsplit(each).netloc]:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target, place = urldefrag(link)
        target = target.partition("?")[0]
        aim = (path.parent / unquote(target)).resolve() if target else path
        known = pages.get(aim)
        if not aim.exists():
            yield f"leads to {link}, which is not there"
        elif place and known and unquote(place) not in known.ids:
            yield f"leads to {link}, and the page has no such place"
