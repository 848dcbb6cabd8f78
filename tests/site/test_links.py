"""A link that leads nowhere, and a thing that another host has, are found."""

import links
import pytest


@pytest.fixture
def site(tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "part/other.html").write_text('<h1 id="top">Top</h1><a href="../index.html">up</a>')
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [
        '<a href="part/other.html#top">there</a>',
        '<a href="#here">here</a><p id="here">',
        '<a href="https://example.org/page">afar, if somebody follows it</a>',
        '<img src="data:image/png;base64,AA==">',
        '<link rel="index" href="part/other.html">',
    ],
)
def test_these_are_no_faults(site, text):
    (site / "index.html").write_text(text)

    assert links.find_faults(site) == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('<a href="part/missing.html">x</a>', "part/missing.html"),
        ('<a href="part/other.html#bottom">x</a>', "no such place"),
        ('<a href="#nowhere">x</a>', "#nowhere"),
        ('<img src="picture.png">', "picture.png"),
        ('<script src="https://example.org/x.js"></script>', "https://example.org/x.js"),
        ('<script src="//example.org/x.js"></script>', "//example.org/x.js"),
        ('<link rel="stylesheet" href="https://example.org/x.css">', "https://example.org/x.css"),
    ],
)
def test_these_are_faults(site, text, named):
    (site / "index.html").write_text(text)

    (fault,) = links.find_faults(site)

    assert fault.startswith("index.html: ")
    assert named in fault


def test_a_style_that_loads_from_afar_is_a_fault(site):
    (site / "index.html").write_text("")
    (site / "site.css").write_text("a { background: url('https://example.org/a.png') }")

    assert links.find_faults(site) == ["site.css: loads https://example.org/a.png"]
