"""Messages of Python's, in which options take the place of the names that Python has for them."""

import re
from argparse import Namespace

from workbench.cli.commands import COMMANDS
from workbench.measuring.profile_quality import MEASURE_AGAIN


def option_of(name: str) -> str:
    """Return the option for a setting of Python's.

    >>> option_of("memory_mb")
    '--memory-mb'
    """
    return f"--{name.replace('_', '-')}"


def word_of(kind: str) -> str:
    """Return the kind of a value as it is written in a shell.

    >>> word_of("batch transform"), word_of("MArk's network")
    ('batch-transform', 'marks-network')
    """
    return kind.replace(" ", "-").replace("'", "").lower()


_ANY = r"\w+=[^()]*"  # Options(boot=..., scaled=True)
_OPEN = r"\w+=\.\.\.(?:, \w+=\.\.\.)*"  # aws(role=...), but not bursty(rate=50), a trace's name
_CALL = re.compile(rf"\b(?:workbench\.|wb\.)?(?:[A-Z]\w*\(({_ANY})\)|[a-z]\w*\(({_OPEN})\))")
_PAIR = re.compile(r"\b(\w+)=(\S*)")
_SET = re.compile(r"\b(\w+)=(\.\.\.|True\b|False\b|'[\w-]+'|(?=[\s.,;:]|$))")
_NEED = re.compile(r"\bneeds=\{'(\w+)': '([^']*)'\}")
_COMMAND = re.compile(rf"\b({'|'.join(COMMANDS)})\(\)")
_NAME = re.compile(r"(?<![-\w./])[a-z]\w*\b(?![(/])")
_OTHERWISE = {"latency": "slo", "kinds": "on", "output": "out", "profile": "aws_profile"}
_TIMES = {"cold_start": "2s", "boot": "3min"}  # options of a time, which is written with its unit


def name_options(text: str, arguments: Namespace) -> str:
    """Return a message of Python's with the options of this command in the place of its names.

    >>> asked = Namespace(hourly_price=0.0, rate=None, cold_start=None, column=None)
    >>> name_options("rate must be positive, got -1.0", asked)
    '--rate must be positive, got -1.0'
    >>> name_options("give Options(cold_start=...), or Local(hourly_price=0.1)", asked)
    'give --cold-start 2s, or --hourly-price 0.1'
    >>> name_options("No formula is known: use simulate().", asked)
    'No formula is known: use workbench simulate.'
    >>> name_options("pass column= with the one of the times", asked)
    'pass --column with the one of the times'
    >>> name_options("pass column=True or column=False", asked)
    'pass --column or --no-column'
    """
    known = {name: name for name in vars(arguments)}
    known = {name: each for name, each in _OTHERWISE.items() if each in known} | known
    given = [name for name, value in vars(arguments).items() if value is not None]

    def find_option(word: str) -> str | None:
        longer = [name for name in given if name.endswith(f"_{word}")]  # lambda_memory_mb
        return word if word in known else longer[0] if len(longer) == 1 and "_" in word else None

    def option(name: str, value: str) -> str:
        plain = value.strip(",'")
        if plain == "False":
            return option_of(f"no_{known[name]}")
        shown = _TIMES.get(name, "") if plain in ("", "...") else plain.removesuffix("True")
        return f"{option_of(known[name])} {shown}".strip()

    def rewrite_call(match: re.Match[str]) -> str:
        pairs = _PAIR.findall(match[1] or match[2])
        whole = all(name in known for name, _ in pairs)
        return " ".join(option(*pair) for pair in pairs) if whole else match[0]

    def rewrite_set(match: re.Match[str]) -> str:
        return option(*match.groups()) if match[1] in known else match[0]

    def rewrite_name(match: re.Match[str]) -> str:
        found = find_option(match[0])
        begins = text[: match.start()] in ("", "Each of ")
        said = begins or "_" in match[0]  # not "rate" within a sentence
        return option_of(known[found]) if found and said else match[0]

    text = text.replace("=, in seconds", "=").replace("=...), in seconds", "=...)")
    model = getattr(arguments, "model", None) or "MODEL"
    text = text.replace(MEASURE_AGAIN, f"workbench profile {model} --again")
    text = _NEED.sub(r"--need \1=\2", text)
    text = _COMMAND.sub(r"workbench \1", _SET.sub(rewrite_set, _CALL.sub(rewrite_call, text)))
    return _NAME.sub(rewrite_name, text)
