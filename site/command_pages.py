"""Pages of the command reference, made from the parsers of the commands."""

import argparse
from collections.abc import Iterator, Mapping

from workbench.cli.commands import COMMANDS, EXAMPLES, STATUSES, make_parser, sentence


def write_pages() -> Mapping[str, str]:
    """Return the pages, in Markdown, by file: one of each command, and their list."""
    parser = make_parser(None, argparse.ArgumentParser, "")
    pages = {
        f"commands/{name}.md": "\n".join(_page(f"workbench {name}", each))
        for name, each in _subcommands(parser).items()
    }
    return pages | {"commands/index.md": "\n".join(_index(parser))}


def _index(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield "# Command reference\n"
    yield f"{parser.description}\n"
    yield "| command | what it does |\n|---|---|"
    yield from (f"| [`{name}`]({name}.md) | {sentence(c.about)} |" for name, c in COMMANDS.items())
    yield _block(EXAMPLES.strip("\n"), "sh")
    yield f"## Exit status\n{_block(STATUSES.strip().partition(chr(10))[2])}"
    yield ":::{toctree}\n:hidden:\n"
    yield from COMMANDS
    yield ":::"


def _page(title: str, parser: argparse.ArgumentParser, depth: int = 1) -> Iterator[str]:
    yield f"{'#' * depth} {title}\n"
    yield f"{parser.description or ''}\n"
    yield _block(_usage(parser))
    for group in parser._action_groups:
        if rows := [_row(each) for each in group._group_actions if _is_shown(each)]:
            yield f"**{(group.title or 'options').capitalize()}**\n"
            yield f"{group.description or ''}\n"
            yield "| argument | meaning |\n|---|---|"
            yield from rows
            yield ""
    if parser.epilog:
        examples = parser.epilog.partition("examples:")[2].strip("\n")
        yield f"**Examples**\n{_block(examples, 'sh')}"
    for name, inner in _subcommands(parser).items():
        yield from _page(f"{title} {name}", inner, depth + 1)


def _subcommands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    kind = argparse._SubParsersAction
    return next((each.choices for each in parser._actions if isinstance(each, kind)), {})


def _is_shown(action: argparse.Action) -> bool:
    inner = isinstance(action, argparse._SubParsersAction | argparse._HelpAction)
    return not inner and action.help != argparse.SUPPRESS


def _row(action: argparse.Action) -> str:
    formatter = argparse.HelpFormatter("workbench")
    value = formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
    names = action.option_strings or [""]
    shown = [f"`{name} {'' if action.nargs == 0 else value}`".replace(" `", "`") for name in names]
    words = ", ".join(shown).replace("` ", "`")
    return f"| {_cell(words)} | {_cell(_text(formatter._expand_help(action)))} |"


def _text(words: str) -> str:
    """Return a help text as Markdown that shows it as it stands."""
    for special in "\\`*_<>[]{}$":
        words = words.replace(special, f"\\{special}")
    return words


def _cell(words: str) -> str:
    return " ".join(words.replace("|", "\\|").split())


def _usage(parser: argparse.ArgumentParser) -> str:
    """Return the usage without the options, which are in the tables below it."""
    formatter = argparse.HelpFormatter(parser.prog, width=10_000)
    formatter.add_usage(None, parser._get_positional_actions(), [], prefix="")
    options = " [options]" if any(map(_is_shown, parser._get_optional_actions())) else ""
    return parser.prog + options + formatter.format_help().strip().removeprefix(parser.prog)


def _block(text: str, language: str = "text") -> str:
    return f"\n```{language}\n{text}\n```\n"
