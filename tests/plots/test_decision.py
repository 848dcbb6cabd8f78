"""The decision's picture: what it shows, against the decision."""

import json

import polars as pl
import pytest

import workbench as wb
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
    assert f"winner, ${decision.winner.cost_per_month:,.2f}" in svg
    assert f"today, ${decision.today.cost_per_month:,.2f}" in svg
    assert "target p95 ≤ 300 ms" in svg


def test_what_is_far_slower_than_the_target_is_named_below_the_title(decision):
    slow = [row.kind for row in decision.rows if row.latency > 20 * 0.3]

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

    with pytest.raises(InvalidInput, match="give the machine a price"):
        plots.plot_decision(decision)
