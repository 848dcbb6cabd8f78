"""Build the site: stage its pages, let Sphinx write them, and check every link.

`make site` runs it. Notebooks that the tests have executed since they last changed are taken as
they are; the rest is executed first, in the quick setting of the tests.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import api_pages
import command_pages
import executed
import nbformat
from sphinx.cmd.build import build_main

SITE = Path(__file__).parent
ROOT = SITE.parent
BUILD = SITE / "_build"
NOTEBOOKS = ROOT / "notebooks"


def main(argv: Sequence[str] | None = None) -> int:
    """Build the site as the arguments say, and return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=BUILD / "html", help="folder of the site")
    parser.add_argument(
        "--leave", action="store_true", help="show what was not executed without outputs"
    )
    options = parser.parse_args(argv)
    if not options.leave:
        execute_missing()
    source = BUILD / "source"
    stage(source)
    arguments = ["-q", "-W", "--keep-going", "-b", "html", "-c", SITE, "-d", BUILD / "doctrees"]
    if status := build_main([*map(str, arguments), str(source), str(options.out)]):
        return status
    print(f"{options.out / 'index.html'}: open it in a browser; it needs no internet.")
    return 0


def execute_missing() -> None:
    """Let the tests execute the notebooks that have changed since they last did."""
    missing = [path for path in _notebooks() if executed.find(path) is None]
    if missing:
        print(f"Executing in the quick setting: {', '.join(path.name for path in missing)}")
        words = " or ".join(path.stem for path in missing)
        tests = ["-m", "pytest", "-q", "tests/test_notebooks.py", "-k", f"findings and ({words})"]
        subprocess.run([sys.executable, *tests], cwd=ROOT, check=False)


def _notebooks() -> list[Path]:
    return sorted(NOTEBOOKS.glob("*.ipynb"))


def stage(folder: Path) -> None:
    """Put everything that Sphinx reads into a folder; what is unchanged keeps its time."""
    pages: dict[str, bytes] = {}
    for path in SITE.rglob("*"):
        inner = path.relative_to(SITE)
        if path.is_file() and path.suffix != ".py" and inner.parts[0] not in ("_build", "_static"):
            pages[str(inner)] = path.read_bytes()
    for path in _notebooks():
        notebook = executed.find(path) or nbformat.read(path, as_version=4)
        text = nbformat.writes(executed.prepare(notebook, path.name))
        pages[f"notebooks/{path.name}"] = text.encode()
    for path in (NOTEBOOKS / "images").iterdir():
        pages[f"notebooks/images/{path.name}"] = path.read_bytes()
    pages["changelog.md"] = (ROOT / "CHANGELOG.md").read_bytes()
    made = {"notebooks/index.md": _list()} | api_pages.write_pages() | command_pages.write_pages()
    pages |= {name: text.encode() for name, text in made.items()}
    _write(folder, pages)


def _list() -> str:
    names = "\n".join(path.stem for path in _notebooks())
    return f"# Notebooks\n\n:::{{toctree}}\n{names}\n:::\n"


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
