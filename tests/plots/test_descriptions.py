"""A chart that nobody has described is described by what it draws."""

import altair as alt
import polars as pl
import pytest

from workbench.plots.descriptions import describe_spec
from workbench.report.parts import draw_spec

FRAME = pl.DataFrame({"day": [1, 2, 3], "rate": [5.0, 8.0, 9.0]})
BASE = alt.Chart(FRAME).encode(x="day:O")


@pytest.mark.parametrize(
    ("chart", "said"),
    [
        (BASE.mark_line().encode(y="rate:Q"), "Lines: rate by day, 3 rows"),
        (BASE.mark_bar().encode(y="count()"), "Bars: count of rows by day, 3 rows"),
        (BASE.mark_bar().encode(y="mean(rate):Q"), "Bars: mean of rate by day, 3 rows"),
        (
            BASE.mark_bar().encode(y=alt.Y("rate:Q", title="A second")),
            "Bars: A second by day, 3 rows",
        ),
        (BASE.mark_area(), "Areas: day, 3 rows"),
        (BASE.mark_circle() + BASE.mark_line(), "Points: day, 3 rows"),
        (BASE.mark_tick() | BASE.mark_line(), "Ticks: day, 3 rows"),
        (BASE.mark_rect().facet("rate:Q"), "Tiles: day, 3 rows"),
        (alt.Chart(FRAME.head(1)).mark_arc(), "Sectors: 1 row"),
        (alt.Chart("there.csv").mark_bar().encode(x="day:O"), "Bars: day"),
    ],
)
def test_a_chart_is_described_by_its_mark_its_axes_and_its_rows(chart, said):
    assert describe_spec(chart.to_dict()) == said


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"layer": [], "data": None, "encoding": None, "datasets": 3},
        {"mark": ["bar"], "encoding": {"x": [1], "y": None}, "data": {"name": []}},
        {"layer": [7], "data": {"values": "1,2"}},
    ],
)
def test_what_says_nothing_of_itself_is_a_chart(spec):
    assert describe_spec(spec) == "A chart"


def test_a_description_of_the_author_s_own_is_kept():
    spec = BASE.mark_bar().to_dict() | {"description": "What we sold."}

    assert 'aria-label="What we sold."' in draw_spec(spec)
    assert 'aria-label="Bars: day, 3 rows"' in draw_spec(BASE.mark_bar().to_dict())
