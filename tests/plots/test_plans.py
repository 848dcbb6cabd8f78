"""What a plan chose from, its break-even and its grid: the numbers, and that they can be drawn."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import workbench as wb
from tests.refused import refused
from workbench import plots
from workbench.errors import InvalidInput
from workbench.papers.batch import CITED_MAPS, FAST, MAX_SIZES, WAITS, batch_dollars
from workbench.planner import Options, Plan, plan
from workbench.plots.axes import log_ticks
from workbench.pricing.cost import MONTH
from workbench.queueing import predict_buffer, screen
from workbench.service_times import ServiceTimes

TIMES = ServiceTimes.affine(0.010, 0.005, largest=16)
TARGET = wb.SLO(latency=0.2)
OPTIONS = Options(
    serverless_memory_mb=[1024],
    lambda_memory_mb=[1024, 1769],
    instance_types=["ml.c5.large"],
    max_sizes=[1, 2, 8],
    max_waits=[0.0, 0.05, 0.1, 0.2],
    periods=[60.0],
    cold_start=0.3,
)


@pytest.fixture(scope="module")
def decided() -> Plan:
    trace = wb.bursty(rate=60, burst=4, dwell=(20, 10), duration=300, seed=1)
    return plan(TIMES, trace, TARGET, OPTIONS)


def drawn(figure):
    """Check what holds for every figure, and return its SVG."""
    svg = figure.svg()
    assert svg.startswith(f'<svg role="img" aria-label="{figure.title}. ')
    assert figure.description
    assert figure.spec(ink="currentColor")["config"]["background"] == "transparent"
    assert json.dumps(figure.spec(), allow_nan=False)
    return svg


# ------------------------------------------------------------------- latency against cost


def test_none_of_the_front_is_beaten_and_all_others_are(decided):
    frame = plots.plan_candidates(decided)
    front, others = (frame.filter(pl.col("front") == on) for on in (True, False))

    assert front.height == decided.front.height
    assert frame.filter("best")["deployment"].to_list() == [decided.best.configuration.place]
    for latency, cost in others.select("latency", "cost_per_million").iter_rows():
        beaten = (front["latency"] <= latency) & (front["cost_per_million"] <= cost)
        assert beaten.any()


def test_the_beaten_are_thinned_evenly_and_the_front_is_kept(decided):
    every, few = (plots.plan_candidates(decided, max_beaten=most) for most in (10**6, 5))
    kept = pl.col("front") | pl.col("best")

    assert few.filter(~kept).height == 5
    assert few.filter(kept).rows() == every.filter(kept).rows()
    for end in ("min", "max"):
        assert getattr(few["cost_per_million"], end)() == getattr(every["cost_per_million"], end)()
    with refused(InvalidInput, "max_beaten", 0):
        plots.plan_candidates(decided, max_beaten=0)


def test_the_figure_names_the_winner_and_the_target(decided):
    figure = plots.plot_plan(decided)

    assert f"Ringed: {decided.best.label}" in figure.subtitle[0]
    assert "target p95 ≤ 200 ms" in drawn(figure)
    assert "On the line: " in figure.description
    assert "slower than 20 times the target" in figure.subtitle[-1]  # jobs of a minute


def test_a_budget_is_a_line_of_its_own(decided):
    dear = replace(decided, task=replace(decided.task, budget=5.0))

    without, with_budget = (len(plots.plot_plan(one).spec()["layer"]) for one in (decided, dear))

    assert with_budget == without + 1
    drawn(plots.plot_plan(dear))


# -------------------------------------------------------------------------- break-even


def costs_of(**kinds):
    """What `Plan.break_even` returns, of costs a million at 1 and 100 requests a second."""
    rows = [
        (rate, kind, "there", "so", 0.1, cost, cost and cost * rate * MONTH / 1e6, "simulator")
        for kind, costs in kinds.items()
        for rate, cost in zip((1.0, 100.0), costs, strict=True)
    ]
    numbers = dict.fromkeys(("latency", "cost_per_million", "cost_per_month"), pl.Float64)
    texts = dict.fromkeys(("kind", "deployment", "policy"), pl.String)
    schema = {"rate": pl.Float64, **texts, **numbers, "engine": pl.String}
    cheapest = pl.col("cost_per_million") == pl.col("cost_per_million").min().over("rate")
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(cheapest=cheapest)


def test_lines_cross_where_logarithms_do():
    costs = costs_of(lambda_=(2, 2), fleet=(20, 0.2), never=(None, None))
    (row,) = plots.break_even_points(costs).rows()

    assert row[1:3] == ("lambda_", "fleet")
    assert row[0] == pytest.approx(10)
    assert row[3:] == pytest.approx((2, 2 * 10 * MONTH / 1e6))


@pytest.mark.parametrize("per", ["million", "month"])
def test_the_figure_tells_where_lines_cross_and_what_never_meets(per):
    figure = plots.plot_break_even(
        costs_of(lambda_=(2, 2), fleet=(20, 0.2), never=(None, None)), per=per
    )

    assert f"US dollars a {per}" in drawn(figure)
    assert figure.subtitle == (
        "Below 10 requests a second (864,000 a day) lambda_ is the cheapest, above it fleet.",
        "Never meets the target: never.",
    )


def test_without_a_crossing_the_cheapest_is_told():
    figure = plots.plot_break_even(costs_of(one=(1, 1), other=(2, 2)))

    assert figure.description == "The cheapest throughout: one."
    drawn(figure)


def test_a_plan_finds_its_costs_itself(decided):
    on_demand = replace(
        decided, task=replace(decided.task, options=replace(OPTIONS, kinds=["lambda"]))
    )

    assert plots.plot_break_even(on_demand).data["kind"].unique().to_list() == ["lambda"]


def test_lines_that_cannot_be_drawn_are_refused():
    with refused(InvalidInput, "per", "million", "month", "'day'"):
        plots.plot_break_even(costs_of(one=(1, 1)), per="day")
    with refused(InvalidInput, "target"):
        plots.plot_break_even(costs_of(one=(None, None)))


# -------------------------------------------------------------------------- the grid


@pytest.fixture(scope="module")
def screened():
    return screen(CITED_MAPS["NYS 3"], max_sizes=MAX_SIZES, max_waits=WAITS, service=FAST)


def test_the_grid_of_a_screen_is_the_exact_model(screened):
    (each,) = batch_dollars(FAST, 3008)
    frame = plots.batching_grid(screened, each=each)
    found = predict_buffer(CITED_MAPS["NYS 3"], max_size=8, max_wait=0.19, service=FAST[0].tolist())

    assert frame.height == len(MAX_SIZES) * len(WAITS)
    (row,) = frame.filter(max_size=8, max_wait=0.19).rows()
    assert row[2] == pytest.approx(float(found.quantile(0.95)), rel=1e-3)
    assert row[3] == pytest.approx(1e6 * found.cost_per_request(lambda n: each[n - 1]), rel=1e-4)


def test_the_grid_of_a_plan_has_every_cell(decided):
    place = decided.best.deployment
    frame = plots.batching_grid(decided)
    known = decided.frame.filter(deployment=place.label, policy="up to 8, 100 ms")

    assert frame.select("max_size", "max_wait").rows() == [
        (size, wait) for size in (1, 2, 8) for wait in (0.0, 0.05, 0.1, 0.2)
    ]
    alone = frame.filter((pl.col("max_size") == 1) | (pl.col("max_wait") == 0))
    assert alone.select("latency", "cost_per_million").unique().height == 1
    (row,) = frame.filter(max_size=8, max_wait=0.1).rows()
    assert row[2] == known["predicted"][0]


def test_the_contour_parts_what_meets_from_what_does_not(screened):
    (each,) = batch_dollars(FAST, 3008)
    figure = plots.plot_batching_grid(screened, wb.SLO(latency=0.3), each=each)
    data = figure.data.with_columns(met=pl.col("latency") <= 0.3).sort("max_size", "max_wait")
    met = data["met"].to_numpy().reshape(len(MAX_SIZES), len(WAITS))
    edges = [
        rows
        for rows in figure.spec()["datasets"].values()
        if "x2" in rows[0] and "met" not in rows[0]
    ]

    upright = {(edge["x"], edge["y"]) for edge in edges[0] if edge["x"] == edge["x2"]}
    assert upright == {(x + 1, y) for y, x in np.argwhere(met[:, 1:] != met[:, :-1]).tolist()}
    assert "up to 4, 170 ms, $1.94 a million" in figure.subtitle[-1]
    assert "target p95 ≤ 300 ms" in drawn(figure)


def test_a_plan_brings_its_target_along(decided):
    figure = plots.plot_batching_grid(decided)

    assert "lambda" in figure.subtitle[0].lower()
    assert "target p95 ≤ 200 ms" in drawn(figure)


def test_a_target_that_no_setting_meets_has_no_contour(screened):
    (each,) = batch_dollars(FAST, 3008)
    figure = plots.plot_batching_grid(screened, wb.SLO(latency=0.01), each=each)

    assert figure.subtitle[-1] == "No setting meets it."
    drawn(figure)


def test_grids_that_cannot_be_made_are_refused(screened, decided):
    fleet = replace(decided, fields=tuple(f for f in decided.fields if f.kind == "real-time"))

    with refused(InvalidInput, "each"):
        plots.batching_grid(screened)
    with refused(InvalidInput, "slo"):
        plots.plot_batching_grid(screened, each=batch_dollars(FAST, 3008)[0])
    with refused(InvalidInput, "serverless", "Lambda"):
        plots.batching_grid(fleet)


def test_ticks_are_1_2_5_and_over_many_decades_powers_of_ten():
    assert log_ticks(0.9, 60) == pytest.approx([1, 2, 5, 10, 20, 50])
    assert log_ticks(0.5, 20_000) == pytest.approx([1, 10, 100, 1000, 10_000])
