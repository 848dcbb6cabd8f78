"""The command lines that a notebook shows, run at its end and compared with its cells.

A notebook shows them as code in its text, and tests/notebooks/STEM.toml has an entry for each::

    [[shell]]
    line = "workbench traces --rate 50 --duration 1h"   # as it stands in the notebook
    with = { "--rate" = "rate", "--duration" = "f'{duration}s'" }
    same = { requests = "len(trace)" }
    within = 0.1
    before = "keep_profile(model, profile)"

`with` says which options, or words, are others in the quick setting, `same` which number that the
line prints (a path in its JSON, as "runs.0.p95") is the value of which expression, `within` by
which share it may be another, and `before` what is done first. All are Python, in the notebook's
names. A line with `why` in place of `same` must be one that its command accepts, and is not run,
for that reason.
"""

import contextlib
import io
import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.cli import main
from workbench.cli.arguments import Parser
from workbench.cli.commands import make_parser
from workbench.measuring.profile_cache import keep_profile

AT_THE_END = """
import sys
sys.path.insert(0, {root!r})
from tests.shell_lines import compare_lines
assert not (differ := compare_lines({entries!r}, globals())), differ
"""
"""The cell that runs the lines in the notebook's own kernel, where all is imported already."""


def list_lines(text: str) -> list[str]:
    """Return the command lines that a text shows as code: indented, or fenced as sh.

    >>> list_lines("So:\\n\\n    workbench run \\\\\\n        --rate 5\\n\\n`workbench app`")
    ['workbench run --rate 5']
    """
    found, fence = [], ""
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        if line.startswith("```"):
            fence = "" if fence else line
        elif (fence == "```sh" or line.startswith("    ")) and line.split()[:1] == ["workbench"]:
            found.append(line.strip())
    return found


def compare_lines(entries: Sequence[Mapping[str, Any]], names: dict[str, Any]) -> list[str]:
    """Run the lines; return for each number that is another what was expected."""
    return [each for entry in entries for each in _compare(entry, names)]


def _compare(entry: Mapping[str, Any], names: dict[str, Any]) -> list[str]:
    words = _fill(shlex.split(entry["line"])[1:], entry.get("with", {}), names)
    if "same" not in entry:
        make_parser(words[0], Parser, "").parse_args(words)
        return []
    exec(entry.get("before", ""), names | {"keep_profile": keep_profile})  # noqa: S102
    facts = _run(words)
    found = {path: _at(facts, path) for path in entry["same"]}
    wanted = {path: eval(each, names) for path, each in entry["same"].items()}  # noqa: S307
    return [
        f"{shlex.join(words)}: {path} is {found[path]!r}, and the notebook has {wanted[path]!r}"
        for path in found
        if not _agree(found[path], wanted[path], entry.get("within", 1e-9))
    ]


def _fill(words: list[str], options: Mapping[str, str], names: dict[str, Any]) -> list[str]:
    """Return the words of a line, with these words and the values of these options replaced."""
    for word, expression in options.items():
        place = words.index(word) + word.startswith("-")
        words[place] = str(eval(expression, names))  # noqa: S307
    return words


def _run(words: list[str]) -> Any:
    printed, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told):
        status = main([*words, "--json"])
    assert status == 0, f"{shlex.join(words)} ended with {status}: {told.getvalue()}"
    return json.loads(printed.getvalue())


def _at(facts: Any, path: str) -> Any:
    for step in path.split("."):
        facts = facts[int(step) if isinstance(facts, list) else step]
    return facts


def _agree(found: object, wanted: object, within: float) -> bool:
    if isinstance(found, bool) or not isinstance(found, int | float):
        return found == wanted
    return isinstance(wanted, int | float) and math.isclose(found, wanted, rel_tol=within)
