"""The references: every public name, command and option, once each."""

import argparse
import re
from collections import Counter

import api_pages
import command_pages
import pytest

import workbench
from workbench.cli.commands import COMMANDS, make_parser

API = api_pages.write_pages()
PAGES = command_pages.write_pages()


def named_on(page):
    return re.findall(r"^\.\. auto\w+:: (\w+)$", page, re.MULTILINE)


def test_every_public_name_is_documented_once():
    groups = api_pages.read_groups()

    assert Counter(name for names in groups.values() for name in names) == Counter(
        workbench.__all__
    )
    pages = [page for page in API.values() if ".. currentmodule:: workbench\n" in page]
    assert sorted(name for page in pages for name in named_on(page)) == workbench.__all__


@pytest.mark.parametrize("module", api_pages.MODULES)
def test_every_name_of_a_public_module_is_on_its_page(module):
    names = named_on(API[f"api/{module}.rst"])

    assert names == api_pages.names_of(module) != []


def test_every_command_has_a_page_with_what_its_parser_says():
    parser = make_parser(None, argparse.ArgumentParser, "")
    listed = {name for name in PAGES if name != "commands/index.md"}

    assert listed == {f"commands/{name}.md" for name in COMMANDS}
    for name, command in command_pages._subcommands(parser).items():
        for each in [command, *command_pages._subcommands(command).values()]:
            for option in {o for action in each._actions for o in action.option_strings}:
                shown = option in ("-h", "--help") or f"`{option}" in PAGES[f"commands/{name}.md"]
                assert shown, f"{name} {option}"


def test_an_option_is_shown_with_its_value_and_what_it_means():
    assert "| `--slo TIME` | " in PAGES["commands/plan.md"]
    assert "| `--json` | print JSON instead of tables |" in PAGES["commands/plan.md"]
    assert "workbench registry approve [options] model" in PAGES["commands/registry.md"]
