"""What is said where an extra is missing, and that it is the extra which brings what is missing."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.refused import refused
from workbench.errors import NotAvailable
from workbench.extras import MODULES, require_extra

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def distributions_of(extra):
    """Return the names of what an extra brings, with what the extras it includes bring."""
    for text in EXTRAS[extra]:
        each = Requirement(text)
        yield canonicalize_name(each.name)
        for included in each.extras if each.name == "inference-workbench" else ():
            yield from distributions_of(included)


def test_an_extra_brings_each_module_that_is_looked_for():
    owners = packages_distributions()

    for extra, modules in MODULES.items():
        brought = set(distributions_of(extra))
        for module in modules:
            assert brought & {canonicalize_name(name) for name in owners[module]}, module


@pytest.mark.parametrize("extra", MODULES)
def test_what_is_missing_is_named_with_the_line_that_brings_it(extra, monkeypatch):
    missing = MODULES[extra][-1]
    monkeypatch.setitem(sys.modules, missing, None)

    with refused(NotAvailable, "It", missing, f"pip install 'inference-workbench[{extra}]'"):
        require_extra(extra, "It")


def test_every_line_that_installs_an_extra_quotes_it():
    """Zsh takes brackets for a pattern, and says "no matches found"."""
    texts = [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "site").glob("[!_]*/*.md"),
        *ROOT.glob("notebooks/**/*"),
    ]
    texts += [path for path in ROOT.glob("workbench/**/*.py") if path.name != "extras.py"]

    found = {
        f"{path.name}: {line}"
        for path in texts
        if path.suffix in (".md", ".py", ".ipynb")
        for line in path.read_text().splitlines()
        if re.search(r"pip install [^'\"]*inference-workbench\[", line)
    }

    assert not found
