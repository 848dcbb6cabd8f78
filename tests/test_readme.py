"""What the README and the how-to pages show runs, and the map of the package is complete."""

import re
from pathlib import Path
from unittest.mock import create_autospec

import pytest

import workbench as wb
from workbench.measuring.profile_cache import recall_profile

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "site" / "howto").glob("*.md"))]


def examples_of(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if examples_of(page)], ids=lambda page: page.stem
)
@pytest.mark.usefixtures("at_home")
def test_the_examples_run(page, monkeypatch, tmp_path):
    known = create_autospec(wb.profile, side_effect=lambda model, **_: recall_profile(model))
    monkeypatch.setattr(wb, "profile", known)
    monkeypatch.chdir(tmp_path)
    namespace = {}

    for example in examples_of(page):
        exec(compile(example, page.name, "exec"), namespace)  # noqa: S102 - our own text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_within_the_checkout_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)|(?:src|srcset)=\"([^\"]+)", page.read_text())
    near = [link for pair in links for link in pair if link and "://" not in link]

    assert [link for link in near if not (page.parent / link).exists()] == []


def test_what_is_said_of_other_tools_has_a_date():
    table = PAGES[0].read_text().split("| tool |")[1].split("\n\n")[0]
    rows = table.splitlines()[2:]

    assert len(rows) >= 10
    assert [row for row in rows if not re.search(r"20\d\d-\d\d[^|]*\|$", row)] == []


def test_the_map_names_every_module():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    cells = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", text, re.MULTILINE)
    mapped = re.findall(r"\w+", " ".join(cells))
    modules = (ROOT / "workbench").iterdir()

    assert sorted(mapped) == sorted(
        path.stem
        for path in modules
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.stem != "__init__"
    )
