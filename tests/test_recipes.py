"""Recipes for a class, read without JupyterHub and without Docker: what they say is there."""

import ast
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from traitlets.config import Config

import workbench

ROOT = Path(__file__).parents[1]
BINDER = ROOT / ".binder"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """What the recipe configures of a hub."""
    monkeypatch.setenv("CLASS_FOLDER", str(tmp_path / "class"))
    monkeypatch.setenv("CLASS_PASSWORD", "a password")
    config = Config()
    runpy.run_path(str(ROOT / "recipes/jupyterhub_config.py"), {"get_config": lambda: config})
    return config


@pytest.mark.parametrize(
    "name",
    [
        "ada",
        "ada lovelace",
        "o'neil",
        "50%",
        "עדה",
        "李",
        "प्रिया",
        "zoe\u0308",
    ],
)
def test_a_name_of_any_script_may_log_in(hub, name):
    assert re.match(hub.Authenticator.username_pattern, name)


@pytest.mark.parametrize(
    "name",
    [
        *("a/b", "a\\b", "..", ".ssh", "-rf", "_a", " ada", "ada\n", "ada\0", "a\x1b[2J"),
        *("\u202eada", "ada\u202e", "\u2066ada", "a" * 64, "a" * 200, ""),
    ],
)
def test_a_name_that_is_no_folder_s_or_shows_as_another_may_not(hub, name):
    assert not re.match(hub.Authenticator.username_pattern, name)


@pytest.mark.parametrize("letter", ["a", "ע", "\U0001d49c"])
def test_the_longest_name_has_a_folder_with_notebooks(hub, letter, tmp_path):
    name = letter * 63
    assert re.match(hub.Authenticator.username_pattern, name)
    assert "at most 63 characters" in hub.JupyterHub.template_vars["announcement_login"]

    class Spawner:
        class user:  # noqa: N801 - as JupyterHub has it
            pass

    Spawner.user.name = name
    hub.Spawner.pre_spawn_hook(Spawner)

    home = Path(hub.SimpleLocalProcessSpawner.home_dir_template.format(username=name))
    assert home == tmp_path / "class/students" / name
    assert (home / Path(hub.Spawner.default_url).name).is_file()


def test_binder_installs_extras_that_there_are_with_versions_that_are_tested():
    lines = (BINDER / "requirements.txt").read_text().splitlines()
    constraint, project = (line for line in lines if not line.startswith("#"))

    assert (BINDER / constraint.removeprefix("-c ")).samefile(ROOT / "constraints.txt")
    (extras,) = re.fullmatch(r"\.\[(.+)\]", project).groups()
    assert {*extras.split(",")} <= {*PROJECT["optional-dependencies"]}


def test_data_are_found_where_the_source_hides_the_installed_package():
    """As on Binder, whose folder holds the source: there is no `workbench.data` then."""
    script = (
        "import sys; sys.modules['workbench.data'] = None; import workbench as wb;"
        "from workbench.registry import zoo;"
        "wb.PriceSheet.load(); wb.RealTime(instance_type='ml.m5.large');"
        "print(len(wb.public_traces()), len(zoo._read_penguins(return_X_y=True)[1]))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)

    assert min(map(int, done.stdout.split())) > 1


def test_binder_has_a_python_that_will_do_and_code_that_runs():
    runtime = (BINDER / "runtime.txt").read_text().strip().removeprefix("python-")
    least = PROJECT["requires-python"].removeprefix(">=")
    found, needed = ([*map(int, text.split("."))] for text in (runtime, least))
    assert found >= needed

    assert (BINDER / "postBuild").stat().st_mode & 0o111
    (line,) = re.findall("^python -c .*", (BINDER / "postBuild").read_text(), re.MULTILINE)
    for node in ast.walk(ast.parse(shlex.split(line)[-1])):
        assert not isinstance(node, ast.Attribute) or node.attr in workbench.__all__
