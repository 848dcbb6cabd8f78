"""What looks like a credential, kept off every page.

Whoever gets a page has no use of a password, and a notebook prints one sooner than its author
thinks: in a message of boto3, in an address, in a frame of settings.
"""

import os
import re
from collections.abc import Mapping
from html import escape
from itertools import chain, pairwise, repeat

MARK = "[redacted]"
"""What stands in a credential's place."""

_FEWEST = 4  # characters of what is hidden for the name above or beside it
_SHORTEST = 8  # characters of a value of the environment that is looked for
_NAME = (
    r"(?:passw(?:or)?d|passphrase|secret(?!ar)|token(?!i[sz]|s[\s_]*(?:/|per))|credentials?"
    r"|(?:api|access|account|private|storage)[_ -]?key)"
)
_QUOTE = r"(?:&quot;|&#x27;|&#39;|[\"'])"
_TAGS = r"(?:<\w[^<>]*>)*"
_BARE = r"[^\s<>\"'&,;)}\]]"
_AFTER = rf"{_NAME}[\w-]{{0,40}}{_QUOTE}?(?:\s*[:=]=?>?\s*|</t[hd]>\s*<td[^<>]*>){_TAGS}"
_SAID = rf"(?:</\w+>)?\s+(?:is|was|equals)\s+{_TAGS}{_QUOTE}?"  # in a sentence
_FIGURE = rf"(?:\[redacted\]|[\d.,]+[a-z%]{{0,3}}(?!{_BARE}))"
_LETTER = r"[^\W\d_]"
_ODD = rf"(?={_LETTER}{_BARE}*\d|\d{_BARE}*{_LETTER}|\w{_BARE}*[!#$%^*+=@?]\w)"  # no plain word
_STATES = (  # what a sentence says of a password that it does not tell
    r"\w+ed|accepted|also|always|asked|correct|default|different|empty|encrypted|from|given|hidden|"
    r"identical|incorrect|invalid|just|kept|known|long|longer|made|missing|needed|never|none|null|"
    r"only|optional|read|same|secret|sent|short|shorter|shown|still|strong|taken|that|their|there|"
    r"they|this|true|false|typed|under|unknown|unsafe|valid|weak|what|when|where|which|with|without|"
    r"written|wrong|your"
)
_MIXED = "".join(rf"(?=[\w/+]{{0,39}}{kind})" for kind in ("[a-z]", "[A-Z]", r"\d"))
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
        r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",  # AWS's ids of keys
        rf"(?<![\w/+=.-]){_MIXED}[A-Za-z0-9/+]{{40}}(?![\w/+=-])",  # AWS's secret keys
        r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[a-z]-|sk-|hf_|npm_|pypi-|AIza)[\w-]{16,}",
        r"\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*",  # a JSON web token
        r"(?<=://)[^\s/:@<>]{1,200}:[^\s/@<>]{1,200}(?=@)",  # user and password in an address
    )
)
_NAMED = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"({_AFTER}{_QUOTE})(?:(?!{_QUOTE}).){{4,}}",
        rf"({_AFTER})(?!\[redacted\]|[\d.,]+\b(?!{_BARE})){_BARE}{{4,}}",
        rf"(\bpassw(?:or)?d(?:\s*[:=]\s*|{_SAID}))\d{{4,}}",  # numbers of tokens are none
        rf"({_NAME}{_SAID})(?!{_FIGURE}){_ODD}{_BARE}{{4,}}",
        rf"(\bpassw(?:or)?d{_SAID})(?!\[redacted\]|(?:{_STATES})\b){_BARE}{{4,}}",
        rf"(\bpassw(?:or)?d\s+{_TAGS}){_ODD}{_BARE}{{4,}}",
        r"(\b(?:Bearer|Basic)\s+)[\w.~+/-]{12,}=*",
        r"(\bX-Amz-(?:Signature|Security-Token|Credential)=)[^&\s\"'<>]+",
    )
)

_HEAD = re.compile(rf"[\w .(-]{{0,40}}{_NAME}[\w .)-]{{0,40}}", re.IGNORECASE)
_PLAIN = re.compile(r"\W*(?:[\d.,]+(?:\s.*|[a-z%]{0,3})|none|null|true|false)\W*", re.IGNORECASE)
_TABLE, _PRE, _ROW = (  # one that nothing closes goes on to the end: it is looked at once
    re.compile(rf"(?<=<{tag})\b.*?(?=</{tag}>|\Z)", re.DOTALL) for tag in ("table", "pre", "tr")
)
_CELL = re.compile(r"(?<=<t[hd])(\b[^<>]*>)(.*?)(?=</t[hd]>|\Z)", re.DOTALL)
_EDGES = tuple(map(re.compile, (r"([│┆|])", r"(\t)", r"(\s{2,})", r"(?<=\S)([,;])(?=\S)")))


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Return a text, or HTML, with a mark where something looks like a credential.

    What looks so: keys and tokens in the forms of AWS and of others, private keys, what follows
    a name such as `password` or below it in a table, users' passwords in addresses, and whatever
    stands in a variable of the environment (by default that of this process) with such a name.

    >>> redact("db_password = 'hunter2!' at https://joe:hunter2@host")
    "db_password = '[redacted]' at https://[redacted]@host"
    >>> redact("max_tokens=2048")
    'max_tokens=2048'
    """
    for value in _values_of(os.environ if environment is None else environment):
        text = text.replace(value, MARK)
    for pattern in _PATTERNS:
        text = pattern.sub(MARK, text)
    for pattern in _NAMED:
        text = pattern.sub(rf"\g<1>{MARK}", text)
    if "</" not in text:
        return _redact_lines(text)
    text = _TABLE.sub(lambda table: _redact_columns(table[0]), text)
    return _PRE.sub(lambda lines: _redact_lines(lines[0]), text)


def _values_of(environment: Mapping[str, str]) -> list[str]:
    """Return what stands in variables whose name says that it is secret, as text and in HTML."""
    names = re.compile(_NAME, re.IGNORECASE)
    values = {each for name, each in environment.items() if names.search(name)}
    long = [each for each in values if len(each) >= _SHORTEST]
    return sorted({*long, *map(escape, long)}, key=len, reverse=True)


def _redact_columns(table: str) -> str:
    """Return a table of HTML without what stands below the name of a credential."""
    first = _ROW.search(table)
    if first is None or "<td" in first[0]:
        return table
    heads = [_words(cell[2]) for cell in _CELL.finditer(first[0])]

    def redact_row(row: re.Match[str]) -> str:
        above = chain(heads, repeat(""))
        return _CELL.sub(lambda cell: cell[1] + _hide(cell[2], next(above)), row[0])

    return table[: first.end()] + _ROW.sub(redact_row, table[first.end() :])


def _redact_lines(text: str) -> str:
    """Return lines without what stands below or right of the name of a credential.

    A table is lines that are cut into as many cells; rules between them are none of its rows.
    """
    lines, heads = text.split("\n"), [""]
    for number, line in enumerate(lines):
        if not re.search(r"\w", line):
            continue
        parts = next((edge for edge in _EDGES if edge.search(line)), _EDGES[-1]).split(line)
        cells, first = parts[::2], len(parts) != 2 * len(heads) - 1
        if len(cells) > 1 and not "".join(cells[1:]).strip():
            continue  # pandas' name of the rows
        heads = [_words(cell) for cell in cells] if first else heads
        if not first:
            parts[::2] = map(_hide, cells, heads)
        for at, (left, right) in enumerate(pairwise(cells)):
            if not first or re.match(_ODD, right.strip()):
                parts[2 * at + 2] = _hide(parts[2 * at + 2], _words(left))
        lines[number] = "".join(parts)
    return "\n".join(lines)


def _hide(cell: str, name: str) -> str:
    """Return a mark in a cell's place, if its name is a credential's and it is no plain figure."""
    inner = _words(cell)
    plain = MARK in inner or (_PLAIN.fullmatch(inner) and "passw" not in name.lower())
    if plain or len(inner) < _FEWEST or not _HEAD.fullmatch(name):
        return cell
    return cell.replace(cell.strip(), MARK)


def _words(cell: str) -> str:
    return re.sub(r"<[^<>]*>", "", cell).strip()
