"""Build the site: stage its pages, let Sphinx write them, and check every link.

`make site` runs it. Notebooks that the tests have executed since they last changed are taken as
they are; the rest is executed first, in the quick setting of the tests.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import api_pages
import claims
import command_pages
import executed
import links
import nbformat
from sphinx.cmd.build import build_main

from workbench.errors import StorageError
from workbench.files import make_folder

SITE = Path(__file__).parent
ROOT = SITE.parent
BUILD = SITE / "_build"
NOTEBOOKS = ROOT / "notebooks"
CLAIMS = "notebooks/00-claims.md"
CLASSROOM = "notebooks/classroom"
LISTS = {
    "howto": "# How to ...",
    "notebooks": "# Notebooks",
    CLASSROOM: "# Lessons for a class\n\nEach takes 45 minutes, and its page shows no outcome: "
    "whoever takes it guesses first. Beside it stands the instructor's sheet. "
    "[](../../howto/classroom.md) says how a class takes them.",
}
"""The parts whose pages are listed, and how the list begins."""

EXECUTING = "tests/test_notebooks.py", "tests/lessons/test_slides.py"
LOCAL_CLOUD = "workbench/localcloud/README.md"
LINKS = {
    f"](../../{LOCAL_CLOUD}".encode(): b"](local-cloud.md",
    b"](../../notebooks/": b"](../notebooks/",
}
"""Of how-to pages, which lead there in the repository, and here on the site."""

NO_PAGES = {"_build", "_static", "__pycache__", "lite"}  # folders


def main(argv: Sequence[str] | None = None) -> int:
    """Build the site as the arguments say, and return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=BUILD / "html", help="folder of the site")
    parser.add_argument("--work", type=Path, default=BUILD, help="folder of what is between")
    parser.add_argument(
        "--leave", action="store_true", help="show what was not executed without outputs"
    )
    options = parser.parse_args(argv)
    try:
        for folder in (options.out, options.work):
            make_folder(folder)
    except StorageError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    if not options.leave:
        execute_missing()
    source, trees = options.work / "source", options.work / "doctrees"
    stage(source)
    arguments = ["-q", "-W", "--keep-going", "-b", "html", "-c", SITE, "-d", trees, source]
    if status := build_main([*map(str, arguments), str(options.out)]):
        return status
    faults = links.find_faults(options.out.resolve())
    print(*faults, sep="\n", end="\n" * bool(faults))
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    pages = len(list(options.out.rglob("*.html")))
    print(f"{pages} pages, {size / 1e6:.1f} MB, {len(faults)} broken links.")
    print(f"Open {options.out / 'index.html'} in a browser; it needs no internet.")
    return int(bool(faults))


def execute_missing() -> None:
    """Let the tests execute the notebooks that have changed since they last did."""
    missing = [path for path in _notebooks() if executed.find(path) is None]
    if missing:
        print(f"Executing in the quick setting: {', '.join(path.name for path in missing)}")
        words = " or ".join(f"[{path.name}]" for path in missing)
        tests = ["-n2", *EXECUTING, "-k", words]
        subprocess.run([sys.executable, "-m", "pytest", "-q", *tests], cwd=ROOT, check=False)


def _notebooks() -> list[Path]:
    """Return the notebooks and those of the lessons, but no template of a report."""
    return [*sorted(NOTEBOOKS.glob("*.ipynb")), *sorted((ROOT / CLASSROOM).glob("*.ipynb"))]


def stage(folder: Path) -> None:
    """Put everything that Sphinx reads into a folder; what is unchanged keeps its time."""
    pages: dict[str, bytes] = {"changelog.md": (ROOT / "CHANGELOG.md").read_bytes()}
    for path in SITE.rglob("*"):
        inner = path.relative_to(SITE)
        if path.is_file() and path.suffix != ".py" and inner.parts[0] not in NO_PAGES:
            pages[str(inner)] = path.read_bytes()
    for path in [*NOTEBOOKS.glob("*.md"), *NOTEBOOKS.glob("images/*")]:
        pages[f"notebooks/{path.relative_to(NOTEBOOKS)}"] = path.read_bytes()
    table = claims.fill(pages[CLAIMS].decode(), claims.read_sentences())
    pages[CLAIMS] = table.encode()
    for path in _notebooks():
        notebook = executed.find(path) or nbformat.read(path, as_version=4)
        name = str(path.relative_to(ROOT))
        pages[name] = nbformat.writes(executed.prepare(notebook, name)).encode()
    for path in (ROOT / CLASSROOM).glob("*.md"):  # beside the notebook of the same name
        pages[f"{CLASSROOM}/{path.stem}-sheet.md"] = path.read_bytes()
    pages["howto/local-cloud.md"] = (ROOT / LOCAL_CLOUD).read_bytes()
    for name in filter(re.compile("howto/").match, pages):
        for there, here in LINKS.items():
            pages[name] = pages[name].replace(there, here)
    made = api_pages.write_pages() | command_pages.write_pages()
    made |= {f"{part}/index.md": _list(part, head, pages) for part, head in LISTS.items()}
    _write(folder, pages | {name: text.encode() for name, text in made.items()})


def _list(part: str, head: str, pages: Iterable[str]) -> str:
    """Return the page that lists those of a part, and the parts within it."""
    names = {Path(page).stem for page in pages if re.fullmatch(rf"{part}/[^/]+\.(md|ipynb)", page)}
    inner = [f"{Path(other).name}/index" for other in LISTS if str(Path(other).parent) == part]
    tree = [":::{toctree}", ":maxdepth: 2\n", *sorted(names), *inner, ":::\n"]
    return "\n".join([f"{head}\n", *tree])


def _write(folder: Path, pages: Mapping[str, bytes]) -> None:
    for name, content in pages.items():
        target = folder / name
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    for path in folder.rglob("*"):
        if path.is_file() and str(path.relative_to(folder)) not in pages:
            path.unlink()


if __name__ == "__main__":
    sys.exit(main())
