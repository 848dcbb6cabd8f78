"""Ways to damage what is valid: bytes, text and JSON."""

import copy
import json

TOKENS = [
    *(b"\0", b"\xff", b"\xed\xa0\x80", b"\r\n", b"\n\n", b" ", b"-", b"0", b"1e999", b"NaN"),
    *(b"null", b"true", b"[", b"]]", b"{", b'"', b"\\ud800", b"\\u0000", b",", b";", b":", b"&"),
    *(b"=", b"%00", b"%", b"../", b"<", b"</", b"<!DOCTYPE a>", b"&lt;", b"9" * 400, b"-1"),
    *(b"18446744073709551616", b"0x10", b"1_0", b"'", b"{}", b"[" * 3000, b"inf", b"9999-99-99"),
]
VALUES = [
    *(None, True, False, "", "\0", "\ud800", "a\udfffb", "é", "x" * 3000, " ", "a b", "a/b", "..."),
    *(0, -1, 1.5, 2**31, 2**53 + 1, 2**63, 2**64, -(2**64), 10**400, 1e308, -1e308, float("nan")),
    *(
        float("inf"),
        [],
        {},
        [[]],
        [None],
        {"": ""},
        {"a": {"a": 1}},
        "2026-99-99",
        "1e999",
        "../..",
    ),
    *("<a>", "*", "%", "$", "arn:", "arn:aws:::::", "s3://", "NaN", "-1", "9" * 400, "{", "[1,"),
    *(
        "\U0010ffff",
        "\x85",
        "\u2028",
        "\u0661",
        "\u00b2",
        "1_0",
        " 1",
        "+1",
        "cron(",
        "rate()",
        "at()",
    ),
]


def damage_bytes(rng, data):
    """Return bytes with one to three accidents: flipped, cut, doubled, moved or put in."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice([1, 1, 2, 4, 16, 64, 1000]))
        before, there, behind = data[:start], data[start:end], data[end:]
        data = rng.choice(ACCIDENTS)(rng, before, there, behind)
    return data


ACCIDENTS = [
    lambda rng, a, b, c: a + bytes(each ^ 1 << rng.randrange(8) for each in b[:1]) + b[1:] + c,
    lambda rng, a, b, c: a + bytes(rng.randrange(256) for _ in b[:1]) + b[1:] + c,
    lambda _, a, _b, c: a + c,
    lambda _, a, *_behind: a,
    lambda _, a, b, c: a + b + b + c,
    lambda rng, a, _, c: a + rng.choice(TOKENS) + c,
    lambda rng, a, b, c: a + rng.choice(TOKENS) + b + c,
]


def damage_text(rng, text):
    """Return text with an accident."""
    at = rng.randrange(len(text) + 1)
    other = str(rng.choice(VALUES))
    return rng.choice([text[:at], text[:at] + other + text[at:], other, text + text])


def damage_json(rng, value):
    """Return a JSON value in which some members are other than they should be, gone or too many."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        value = _damage_one(rng, value)
    return value


def _damage_one(rng, value):
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        if rng.random() < 0.6 and isinstance(value[key], dict | list):
            value[key] = _damage_one(rng, value[key])
        elif rng.random() < 0.1:
            del value[key]
        elif isinstance(value, list) and rng.random() < 0.2:
            value *= rng.choice([2, 30])
        else:
            value[key] = _replace(rng, value[key])
        return value
    return _replace(rng, value)


def _replace(rng, value):
    if isinstance(value, str) and rng.random() < 0.3:
        return damage_text(rng, value)
    alike = [each for each in VALUES if type(each) is type(value)]
    return copy.deepcopy(rng.choice(alike if alike and rng.random() < 0.6 else VALUES))


def encode(rng, value):
    """Return JSON, now and then damaged once more as bytes."""
    body = json.dumps(value).encode()
    return damage_bytes(rng, body) if rng.random() < 0.1 else body
