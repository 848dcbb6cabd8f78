"""The decision's picture: what it shows, against the decision."""

import json
import re

import numpy as np
import polars as pl
import pytest

import workbench as wb
from tests.refused import refused
from workbench import plots
from workbench.errors import InvalidInput
from workbench.planner import Options, decide
from workbench.service_times import ServiceTimes

TIMES = ServiceTimes.affine(0.02, 0.004, largest=8)
TRACE = wb.poisson(rate=40, duration=60, seed=1)
OPTIONS = Options(unseen_draws=0, finalists=4, max_sizes=[1, 4, 8])


@pytest.fixture(scope="module")
def decision():
    return decide(
        TIMES, TRACE, wb.SLO(latency=0.3), OPTIONS, today=wb.RealTime(instance_type="ml.m5.large")
    )


def test_the_points_are_the_rows_and_the_front(decision):
    data = plots.decision_points(decision)

    assert data.filter(on="type")["kind"].to_list() == decision.frame["kind"].to_list()[:-1]
    assert data.filter(on="today")["cost_per_month"].item() == decision.today.cost_per_month
    months = data.filter(on="front")["cost_per_month"].to_list()
    assert months == decision.front["cost_per_month"].to_list()
    assert data.filter("winner")["cost"].item() == f"${decision.winner.cost_per_month:,.2f}"


def test_the_figure_draws_them_with_the_sentence_as_words(decision):
    figure = plots.plot_decision(decision)
    svg = figure.svg()

    assert json.dumps(figure.spec(), allow_nan=False)
    assert f"{figure.title}: {figure.subtitle[0]}".lower() == decision.sentence.lower()
    assert decision.today_sentence in figure.subtitle
    assert figure.description == decision.sentence
    rows = ("winner", decision.winner), ("today", decision.today)
    for name, row in rows:
        assert re.search(rf"{name}<.*>\${row.cost_per_month:,.2f}<", svg)
    assert "target p95 ≤ 300 ms" in svg


@pytest.mark.parametrize("latency", [0.03, 0.06, 0.1, 0.3, 1.0, 3.0])
def test_the_words_cross_neither_the_target_nor_the_ends(latency):
    slo, today = wb.SLO(latency=latency), wb.RealTime(instance_type="ml.m5.large")
    layers = plots.plot_decision(decide(TIMES, TRACE, slo, OPTIONS, today=today)).spec()["layer"]
    x = layers[0]["encoding"]["x"]["scale"]
    scale = np.log if x["type"] == "log" else np.asarray
    low, high = scale(x["domain"])
    target = (scale(latency) - low) / (high - low)
    noted = [each for each in layers if each["mark"].get("lineBreak")]
    assert len(noted) == 2
    for each in noted:
        (row,) = each["data"]["values"]
        at = min(1.0, (scale(row["latency"]) - low) / (high - low))
        left, right = (at - 0.1, at) if each["mark"]["align"] == "right" else (at, at + 0.1)
        assert not left < target < right
        assert left >= 0
        assert right <= 1


def test_what_is_far_slower_than_the_target_is_named_below_the_title(decision):
    slow = [row.kind for row in decision.rows if row.latency > 5 * 0.3]

    assert slow
    assert all(kind in plots.plot_decision(decision).subtitle[-1] for kind in slow)


def test_where_all_is_far_slower_nothing_stands_at_the_edge(decision):
    strict = wb.decide(TIMES, TRACE, wb.SLO(latency=1e-4), OPTIONS)

    assert "At the right edge" not in plots.plot_decision(strict).subtitle[-1]


def test_what_has_no_price_is_named_and_not_drawn():
    decision = decide(TIMES, TRACE, wb.SLO(latency=0.3), OPTIONS, today=wb.Local(workers=2))
    figure = plots.plot_decision(decision)

    assert figure.data.filter(pl.col("on") == "today").is_empty()
    assert f"no price is set: {decision.today.label}." in figure.subtitle[-1]


def test_where_nothing_has_a_cost_there_is_no_picture():
    free = Options(kinds=["local"], deployments=[wb.Local()], unseen_draws=0, max_sizes=[1])
    decision = decide(TIMES, TRACE, wb.SLO(latency=0.3), free)

    with refused(InvalidInput, "price"):
        plots.plot_decision(decision)
