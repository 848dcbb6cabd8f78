"""The page of claims: what each claim's cell said when it was last executed, and the verdict.

A claim is the cell of a notebook whose id is `claim-NAME`. Its sentence goes where the page has
``{came-out}`NAME` ``, and the verdict, by its first words, where ``{verdict}`NAME` `` is.
"""

import re
from pathlib import Path

import executed

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
PREFIX = "claim-"
TOKEN = re.compile(r"\{(came-out|verdict)\}`([^`]+)`")

_QUICK = " (Quick setting.)"
_UNKNOWN = "(the notebook was not executed for this site)"
_VERDICTS = {"Finding": "holds", "Not so here": "no longer holds", "Cannot tell": "cannot tell"}
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#$])")


def read_sentences(folder: Path = executed.FOLDER, notebooks: Path = NOTEBOOKS) -> dict[str, str]:
    """Return the sentence of each claim by name, from executed notebooks of the present sources."""
    found = {}
    for path in sorted(notebooks.glob("*.ipynb")):
        notebook = executed.find(path, folder)
        for cell in notebook.cells if notebook else ():
            texts = [each.get("data", {}).get("text/plain") for each in cell.get("outputs", ())]
            if cell.id.startswith(PREFIX) and texts and texts[-1]:
                quick = notebook.metadata[executed.MARK]["parameters"]
                found[cell.id.removeprefix(PREFIX)] = texts[-1] + _QUICK * bool(quick)
    return found


def judge(sentence: str) -> tuple[str, str]:
    """Return the verdict that a sentence begins with, and the rest of it.

    >>> judge("Only if fewer than 0.5 come. Up to 0.5 it is cheaper.")
    ('holds only if fewer than 0.5 come', 'Up to 0.5 it is cheaper.')
    >>> judge("Not so here. Both cost $2.00.")
    ('no longer holds', 'Both cost $2.00.')
    """
    title, _, text = sentence.partition(". ")
    if title.startswith("Only if "):
        return f"holds only if {title.removeprefix('Only if ')}", text
    return _VERDICTS[title], text


def fill(page: str, sentences: dict[str, str]) -> str:
    """Return the page with sentences and verdicts in it; what was not executed is said to be so."""

    def put(token: re.Match[str]) -> str:
        kind, name = token.groups()
        if name not in sentences:
            return _UNKNOWN if kind == "came-out" else "-"
        verdict, text = judge(sentences[name])
        return f"**{verdict}**" if kind == "verdict" else _MARKUP.sub(r"\\\1", text)

    return TOKEN.sub(put, page)
