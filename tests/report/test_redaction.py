"""What looks like a credential is on no page, and what does not is."""

import pytest

from tests.refused import refused
from workbench.errors import Unfinished
from workbench.report.notebook import execute, page_of
from workbench.report.page import page_html
from workbench.report.redaction import MARK, redact
from workbench.report.runs import report_html
from workbench.run import Run

SECRET = "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"
"""The secret key of AWS's own examples."""


@pytest.mark.parametrize(
    "text",
    [
        f"aws_secret_access_key = {SECRET}",
        SECRET,
        "AKIAIOSFODNN7EXAMPLE",
        'password: "correct horse"',
        "{&#x27;db_password&#x27;: &#x27;hunter2&#x27;}",
        "<th>api_key</th><td>abc-def-ghi</td>",
        "\u2502 secret     \u2506 hunter2 \u2502",
        "passwd=123456",
        "<p>the password is <code>hunter2</code>.</p>",
        "with password hunter2 it opens",
        "Its password is swordfish, and the old password was <b>swordfish</b>.",
        "<table><tr><th>API key</th></tr><tr><td>abc-def-ghi",  # which nothing closes
        "The API token was abc-def-ghi-4, until May.",
        "<b>Password</b> is 123456",
        "<table><tr><th>API key</th></tr><tr><td>abc-def-ghi</td></tr></table>",
        "<table><tr><th></th><th>token</th></tr><tr><th>0</th><td><i>hunter2</i></td></tr></table>",
        "\u2502 token \u2506 rate\n\u255e\u2550\u2561\n\u2502 hunter2 \u2506 1.5",
        "| user | secret |\n|---|---|\n| joe | correct horse |",
        "<pre>user,token\njoe,abc-def-ghi</pre>",
        "<pre>user  token    n\na     hunter2  1,000</pre>",
        "<pre>      token  n\nuser          \na   hunter2  1</pre>",
        "<pre>    user    password\n0    joe      123456</pre>",
        "Authorization: Bearer abcdefghijklmnop",
        "https://joe:hunter2@example.org/",
        "?X-Amz-Signature=0a1b2c3d&amp;",
        "ghp_" + "a1" * 18,
        "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
        "from the environment: blue-42-bird",
    ],
)
def test_what_looks_like_a_credential_is_redacted(text):
    secrets = (
        SECRET,
        "AKIA",
        "horse",
        "hunter2",
        "swordfish",
        "abc-def-ghi",
        "123456",
        "abcdefgh",
        "0a1b2c3d",
    )
    more = ("a1a1", "eyJz", "MIIEow", "blue-42-bird")

    shown = redact(text, {"MY_TOKEN": "blue-42-bird", "HOME": "/srv/joe"})

    assert MARK in shown
    assert not [each for each in (*secrets, *more) if each in shown]
    assert redact(shown, {}) == shown


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=2048 at 12.5 tokens: 3,000",
        "a token is missing, the password is required, one token is 0.75 words, secretary: Barbara",
        "the password was wrong, her password is stored elsewhere, a password is longer",
        "tokenizer: wordpiece; tokens per second are 12.5k, a password without which nobody",
        "<table><tr><th>tokens</th><th>p95</th></tr><tr><td>1,024</td><td>125 ms</td></tr></table>",
        "<table><tr><th>tokens per second</th></tr><tr><td>unknown</td></tr></table>",
        "\u2502 tokens \u2506 latency \u2502\n\u2502 2048 \u2506 quicker \u2502",
        "<pre>  tokens  latency\n0   2048  quicker</pre>",
        "commit da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "sha256 " + "0a" * 32,
        "data:image/png;base64," + "iVBORw0KGgoAAAANSUhEUgAA" * 20,
        "https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html",
        "M0 0L10.5,20.25 see /srv/joe",
    ],
)
def test_what_is_none_stays(text):
    assert redact(text, {"HOME": "/srv/joe", "A_TOKEN": "short"}) == text


def test_no_page_of_any_kind_shows_one(tmp_path, monkeypatch):
    import nbformat

    code = nbformat.v4.new_code_cell
    cells = [
        code("api_key: str = ''", metadata={"tags": ["parameters"]}),
        code(f"print('key {SECRET}')\n1 / 0"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "mine.ipynb")
    run = Run.from_arrays(scheduled=[0], finished=[1], facts={"warnings": [f"denied: {SECRET}"]})

    with refused(Unfinished, "ZeroDivisionError") as failed:
        execute(tmp_path / "mine.ipynb", {"api_key": "blue-42-bird"})

    for page in (page_of(failed.value.notebook), report_html(run), page_html(SECRET, ["<p>x</p>"])):
        assert MARK in page
        assert SECRET not in page
        assert "blue-42-bird" not in page
