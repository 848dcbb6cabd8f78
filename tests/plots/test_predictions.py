"""Predictions beside runs: in figures, in tables, and how far they lie apart."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.refused import refused
from workbench import plots
from workbench.comparison import compare
from workbench.deployment import Local
from workbench.errors import InvalidInput, TooFewSamples
from workbench.pricing.cost import Cost
from workbench.pricing.usage import Usage
from workbench.queueing import mm1, predict_buffer
from workbench.run import SLO, Run

TARGET = SLO(latency=0.5)


def run_of(latencies, *, origin="simulated", label="model, alone", **columns):
    scheduled = np.arange(len(latencies)) / 10
    facts = {"label": label, "slo": {"latency": TARGET.latency, "quantile": TARGET.quantile}}
    finished = scheduled + np.asarray(latencies)
    return Run.from_arrays(
        scheduled=scheduled, finished=finished, origin=origin, facts=facts, **columns
    )


@pytest.fixture(scope="module")
def predicted():
    """Latencies are exponential, of mean 0.1 s."""
    return replace(mm1(rate=10, service=0.05), label="model, alone", slo=TARGET)


@pytest.fixture(scope="module")
def drawn():
    return np.random.default_rng(1).exponential(0.1, 20_000)


@pytest.fixture(scope="module")
def three(predicted, drawn):
    return [predicted, run_of(drawn), run_of(1.1 * drawn, origin="measured: this machine")]


def test_a_prediction_is_named_by_its_formula_unless_told_otherwise():
    assert mm1(rate=10, service=0.05).label == "M/M/1"
    assert compare(mm1(rate=10, service=0.05)).frame["run"].to_list() == ["M/M/1"]


def test_the_law_of_a_prediction_lies_on_its_distribution(predicted):
    frame = plots.latency_ecdf(predicted)

    assert frame["origin"].unique().to_list() == ["predicted"]
    assert frame["share"].to_numpy() == pytest.approx(1 - np.exp(-10 * frame["latency"].to_numpy()))
    assert frame["share"].to_list()[:: frame.height - 1] == pytest.approx([0.001, 0.999])


def test_one_chart_has_predicted_simulated_and_measured(three):
    figure = plots.plot_latency_ecdf(three)

    assert set(figure.data["run"]) == {"predicted", "simulated", "measured"}
    assert figure.subtitle[0] == "model, alone. Predicted, simulated, measured: this machine."
    assert "predicted: p50 69.3 ms" in figure.description
    assert "target p95 ≤ 500 ms" in figure.svg()


def test_batch_sizes_of_a_prediction_are_shares():
    predicted = buffered_of_two()
    frame = plots.batch_sizes(predicted)

    alone = np.exp(-1)
    assert frame.select("batch_size", "batches").rows() == [(1, None), (2, None)]
    assert frame["share"].to_list() == pytest.approx([alone, 1 - alone])


def buffered_of_two():
    from workbench.traffic.map import poisson_process

    return predict_buffer(poisson_process(10), max_size=2, max_wait=0.1, service=[0.1, 0.2])


def test_predicted_batch_sizes_are_points_on_the_bars_of_each_run():
    pairs = [run_of([0.1] * 4, batch=[0, 0, 1, 1], batch_size=[2] * 4, label=name) for name in "ab"]
    figure = plots.plot_batch_sizes([buffered_of_two(), *pairs])
    (rows,) = figure.spec()["datasets"].values()

    points = [(row["panel"], row["batch_size"]) for row in rows if not row["bar"]]
    heads = [f"{name}, simulated: mean 2" for name in "ab"]
    assert sorted(points) == [(head, size) for head in heads for size in (1, 2)]
    assert "mean 1.63" in figure.subtitle[-1]
    assert figure.svg()
    assert plots.plot_batch_sizes(buffered_of_two()).svg()


def test_errors_are_those_of_each_quantile(predicted):
    slower = mm1(rate=5, service=2 / 15)  # of mean 0.4 s
    frame = plots.latency_errors([slower, replace(predicted, label="same")], predicted)

    assert frame.columns == ["run", "origin", "quantile", "latency", "reference", "error"]
    assert frame.height == 2 * 99
    assert frame["error"].to_numpy() == pytest.approx([3.0] * 99 + [0.0] * 99)
    assert frame.row(98)[2:5] == pytest.approx((0.99, -0.4 * np.log(0.01), -0.1 * np.log(0.01)))


def test_the_figure_of_errors_tells_their_mean(three):
    figure = plots.plot_latency_errors(three[:2], three[2])

    means = figure.data.group_by("run", maintain_order=True).agg(pl.col("error").abs().mean())
    assert means["run"].to_list() == ["predicted", "simulated"]
    assert means["error"].to_list() == pytest.approx([1 - 1 / 1.1] * 2, rel=0.05)
    assert figure.subtitle[1] == "Against: measured."
    assert "simulated: 9.09 %" in figure.description
    assert figure.svg()


def test_quantiles_that_cannot_be_told_are_left_out(predicted):
    short = run_of(np.linspace(0.01, 1, 100))

    assert plots.latency_errors(predicted, short)["quantile"].max() == 0.9


def test_what_cannot_be_compared_is_refused(predicted):
    with refused(TooFewSamples, "percentile"):
        plots.latency_errors(predicted, run_of([0.1] * 9))
    with refused(InvalidInput, "run"):
        plots.latency_errors([], predicted)


def test_a_table_has_predictions_too(three):
    bill = Cost(items=Local(hourly_price=0.5).bill(Usage(seconds=3600)), answered=1000)
    compared = compare([replace(three[0], cost=bill), *three[1:]])
    row = compared.frame.row(0, named=True)
    table = {figure: values for figure, *values in compared.table().rows}

    assert (row["run"], row["requests"], row["complete"]) == ("predicted", None, None)
    assert row["p95"] == pytest.approx(-0.1 * np.log(0.05))
    assert row["attainment"] == pytest.approx(1 - np.exp(-5))
    assert (row["verdict"], row["per_million"]) == ("met", 500.0)
    assert table["requests"] == ["-", "20,000", "20,000"]
    assert compared.warnings[0].startswith("predicted: M/M/1. ")
    assert list(compared.runs) == ["simulated", "measured"]
    assert compared.to_dict()["runs"][0]["failed"] is None
    assert "Share of requests" in compared._repr_html_()
