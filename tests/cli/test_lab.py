"""`workbench lab` brings the notebooks, and keeps what was changed."""

import json
import os
import sys
import tomllib
from pathlib import Path

import pytest

from tests.refused import refused
from workbench.cli import installation, lab, main
from workbench.cli.installation import name_command
from workbench.errors import InvalidInput, StorageError
from workbench.files import find_notebooks

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ours(tmp_path, monkeypatch):
    """Notebooks to be copied; the folder of their copies is beside them."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "ours"
    (folder / "reports").mkdir(parents=True)
    (folder / ".ipynb_checkpoints").mkdir()
    for name in ("00-quickstart.ipynb", "reports/scaling.ipynb", ".ipynb_checkpoints/x.ipynb"):
        (folder / name).write_text(name)
    monkeypatch.setattr(lab, "find_notebooks", lambda: folder)
    return folder


def test_notebooks_and_templates_are_copied(ours):
    copies = lab.copy_notebooks(Path("mine/of/them"))

    assert copies.written == ("00-quickstart.ipynb", "reports/scaling.ipynb")
    assert Path("mine/of/them/reports/scaling.ipynb").read_text() == "reports/scaling.ipynb"
    assert lab.copy_notebooks(Path("mine/of/them")) == lab.Copies(written=(), kept=())


def test_what_was_changed_is_kept_and_what_was_not_follows_ours(ours):
    lab.copy_notebooks(Path("mine"))
    Path("mine/00-quickstart.ipynb").write_text("my work")
    for path in ours.rglob("*.ipynb"):
        path.write_text("newer")

    copies = lab.copy_notebooks(Path("mine"))

    assert copies == lab.Copies(written=("reports/scaling.ipynb",), kept=("00-quickstart.ipynb",))
    assert Path("mine/00-quickstart.ipynb").read_text() == "my work"
    assert Path("mine/reports/scaling.ipynb").read_text() == "newer"


@pytest.mark.parametrize("record", ["{", "[]"])
def test_a_notebook_of_which_nothing_is_known_is_kept(ours, record):
    Path("mine").mkdir()
    Path("mine/00-quickstart.ipynb").write_text("from elsewhere")
    Path("mine/.workbench-lab.json").write_text(record)

    assert lab.copy_notebooks(Path("mine")).kept == ("00-quickstart.ipynb",)


def test_our_own_folder_is_only_opened(ours):
    assert lab.copy_notebooks(ours) == lab.Copies(written=(), kept=())
    assert not (ours / ".workbench-lab.json").exists()


def test_a_folder_that_cannot_be_written_is_told(ours):
    with refused(InvalidInput, "00-quickstart.ipynb"):
        lab.copy_notebooks(ours / "00-quickstart.ipynb")
    with refused(StorageError, "/proc/notebooks"):
        lab.copy_notebooks(Path("/proc/notebooks"))


def test_jupyterlab_opens_the_first_notebook_there(ours, monkeypatch, capsys):
    started = []
    monkeypatch.setattr(os, "execv", lambda *words: started.append(words))

    assert main(["lab", "mine"]) == 0
    ((program, words),) = started
    assert program == sys.executable
    assert words[1:3] == ["-m", "jupyterlab"]
    assert "--KernelManager.transport_encryption=auto" in words
    assert words[-1] == "mine/00-quickstart.ipynb"

    capsys.readouterr()
    assert main(["lab", "mine", "--copy", "--json"]) == 0
    assert len(started) == 1
    assert json.loads(capsys.readouterr().out) == {"folder": "mine", "written": [], "kept": []}


def test_each_folder_of_notebooks_travels_with_the_package():
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent for path in find_notebooks().rglob("*.ipynb")}
    folders = {path for path in folders if path.name != ".ipynb_checkpoints"}
    names = {".".join(("workbench", *path.relative_to(ROOT).parts)): path for path in folders}

    assert names.keys() <= set(shipped["packages"])
    assert all(ROOT / shipped["package-dir"][name] == path for name, path in names.items())
    assert all("*.ipynb" in shipped["package-data"][name] for name in names)


def test_a_command_is_named_as_it_is_typed(tmp_path, monkeypatch):
    command = tmp_path / "bin/workbench"
    command.parent.mkdir()
    command.touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(command)])
    monkeypatch.setenv("PATH", "/usr/bin")

    assert name_command() == "bin/workbench"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert name_command() == str(command)
    monkeypatch.setenv("PATH", str(command.parent))
    assert name_command() == "workbench"


def test_who_lacks_what_a_notebook_needs_is_told_the_line(ours, monkeypatch, capsys):
    main(["lab", "mine", "--copy"])
    assert "pip install" not in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "moto", None)

    main(["lab", "mine", "--copy"])

    assert "pip install 'inference-workbench[cloud]'" in capsys.readouterr().out


def test_who_installed_with_pip_is_told_the_command(monkeypatch, tmp_path):
    assert installation.is_checkout()
    monkeypatch.setattr(installation, "find_notebooks", lambda: tmp_path / "notebooks")
    assert not installation.is_checkout()
