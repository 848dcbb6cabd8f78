"""What looks like a credential, kept off every page.

Whoever gets a page has no use of a password, and a notebook prints one sooner than its author
thinks: in a message of boto3, in an address, in a frame of settings.
"""

import os
import re
from collections.abc import Mapping
from html import escape

MARK = "[redacted]"
"""What stands in a credential's place."""

_SHORTEST = 8  # characters of a value of the environment that is looked for
_NAME = (
    r"(?:passw(?:or)?d|passphrase|secret|token|credentials?"
    r"|(?:api|access|account|private|storage)[_-]?key)"
)
_QUOTE = r"(?:&quot;|&#x27;|&#39;|[\"'])"
_CELLS = r"</t[hd]>\s*<td[^>]*>|\s*[│┆|]\s*"  # of a table, as HTML and as text
_BARE = r"[^\s<>\"'&,;)}\]]"
_AFTER = rf"{_NAME}[\w-]{{0,40}}{_QUOTE}?(?:\s*[:=]=?>?\s*|{_CELLS})"  # which value is one
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
        r"(\bpassw(?:or)?d\s*[:=]\s*)\d{4,}",  # numbers of tokens are none, of passwords are
        r"(\b(?:Bearer|Basic)\s+)[\w.~+/-]{12,}=*",
        r"(\bX-Amz-(?:Signature|Security-Token|Credential)=)[^&\s\"'<>]+",
    )
)


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Return a text, or HTML, with a mark where something looks like a credential.

    What looks so: keys and tokens in the forms of AWS and of others, private keys, what follows
    a name such as `password`, users' passwords in addresses, and whatever stands in a variable of
    the environment (by default that of this process) with such a name.

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
    return text


def _values_of(environment: Mapping[str, str]) -> list[str]:
    """Return what stands in variables whose name says that it is secret, as text and in HTML."""
    names = re.compile(_NAME, re.IGNORECASE)
    values = {each for name, each in environment.items() if names.search(name)}
    long = [each for each in values if len(each) >= _SHORTEST]
    return sorted({*long, *map(escape, long)}, key=len, reverse=True)
