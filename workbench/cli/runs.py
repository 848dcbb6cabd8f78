"""The command that lists and deletes the runs that the app keeps."""

import argparse
from pathlib import Path
from typing import Any

from workbench.cli.output import Arguments, print_json, print_text, show
from workbench.errors import NotFound, WorkbenchError
from workbench.files import list_runs, runs_folder
from workbench.formatting import Table
from workbench.run import delete_run, load_run


def _runs(arguments: Arguments) -> int:
    return _delete(arguments) if arguments.delete else _list(arguments)


def _list(arguments: Arguments) -> int:
    folder = runs_folder()
    facts = [_facts(path) for path in list_runs()]
    total = sum(each["size_bytes"] for each in facts) / 1e6
    table = Table(["run", "what", "requests", "size"], list(map(_row, facts)))
    text = f"{table}\n\n{total:.1f} MB in {folder}; workbench compare NAME shows them."
    text = text if facts else f"No runs in {folder} yet."
    return show(arguments, text, {"folder": str(folder), "runs": facts})


def _delete(arguments: Arguments) -> int:
    """Delete the runs of these names, or none where one is not there."""
    kept = {path.name: path for path in list_runs()}
    if missing := [name for name in arguments.delete if name not in kept]:
        raise NotFound(f"No run {missing[0]!r} is kept in {runs_folder()}: see workbench runs.")
    names = list(dict.fromkeys(arguments.delete))
    for name in names:
        delete_run(kept[name])
        print_text(arguments, f"Deleted: {kept[name]}")  # one by one: the next may fail
    if arguments.json:
        print_json({"deleted": names})
    return 0


def _facts(path: Path) -> dict[str, Any]:
    size = sum(each.stat().st_size for each in path.iterdir())
    facts = {"name": path.name, "size_bytes": size}
    try:
        run = load_run(path)
    except WorkbenchError as error:
        return facts | {"error": str(error)}
    return facts | {"origin": run.origin, "requests": len(run), "complete": run.complete}


def _row(facts: dict[str, Any]) -> list[object]:
    size = f"{facts['size_bytes'] / 1e6:.1f} MB"
    if "error" in facts:
        return [facts["name"], "damaged", None, size]
    what = facts["origin"] + ("" if facts["complete"] else ", stopped early")
    return [facts["name"], what, facts["requests"], size]


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add `workbench runs`."""
    parser.add_argument(
        "--delete", nargs="+", metavar="RUN", help="remove these from disk, for good"
    )
    parser.set_defaults(command=_runs)
