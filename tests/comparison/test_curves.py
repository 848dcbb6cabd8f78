"""One setting at all its values: what is shown is what `simulate` and `cost` say of each."""

import dataclasses
import re

import pytest

import workbench as wb
from tests.graphs import linear
from tests.refused import refused
from workbench.errors import InvalidInput

TIMES = wb.ServiceTimes.affine(0.02, 0.001, largest=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return wb.Registry(tmp_path_factory.mktemp("registry")).register("net", linear())


def on(model, deployment, *, rate=20):
    return wb.Experiment(model, deployment, wb.poisson(rate, 60), wb.BatchPolicy(), wb.SLO(0.1))


def test_each_size_has_the_figures_of_its_simulation(model):
    function = wb.Lambda(1024, max_concurrency=100)
    curve = wb.memory_curve(on(model, function), TIMES, sizes=[512, 2048])
    run = on(model, dataclasses.replace(function, memory_mb=2048)).simulate(TIMES)
    row = curve.frame.row(1, named=True)

    assert curve.frame["value"].to_list() == [512, 2048]
    assert (row["p99"], row["attainment"]) == (run.p99, run.attainment())
    assert row["per_million"] == wb.cost(run).per_million
    assert row["per_month"] == wb.cost(run).per_month
    assert row["call"] == pytest.approx(0.021, rel=0.01)  # a vCPU at 1769 MB, like here


def test_a_function_below_one_vcpu_costs_alike_and_takes_longer(model):
    curve = wb.memory_curve(on(model, wb.Lambda(1024, max_concurrency=100)), TIMES)
    sizes = dict(curve.frame.select("value", "call").iter_rows())
    full = [size for size in sizes if size >= 1769]

    assert sizes[128] == pytest.approx(2 * sizes[256], rel=0.02)
    assert len({round(sizes[size], 6) for size in full}) == 1
    assert curve.fastest == min(full)
    assert curve.cheapest < curve.fastest


def test_more_instances_wait_less_and_cost_in_proportion(model):
    curve = wb.count_curve(on(model, wb.RealTime("ml.m5.large"), rate=40), TIMES, counts=[4, 1, 2])
    frame = curve.frame

    assert frame["value"].to_list() == [1, 2, 4]
    assert frame["p99"].is_sorted(descending=True)
    one, two, four = frame["per_month"]  # data costs the same, whoever answers
    assert four - two == pytest.approx(2 * (two - one))
    assert curve.cheapest == 1
    assert curve.fastest == 4


def test_the_chart_has_times_on_one_axis_and_cost_on_the_other(model):
    figure = wb.memory_curve(
        on(model, wb.Serverless(2048, max_concurrency=100)), TIMES, sizes=[1024, 2048]
    ).figure

    assert set(figure.data["run"]) == {"time of a call", "p99 latency", "cost of a million"}
    assert figure.spec()["resolve"] == {"scale": {"y": "independent"}}
    assert re.match("Cheapest: (1024|2048) .* Fastest: 2048 ", figure.description)
    assert "Simulated" in figure.subtitle[0]


def test_what_has_no_such_setting_is_refused(model):
    with refused(InvalidInput, "real-time 1 x ml.m5.large", "memory_mb"):
        wb.memory_curve(on(model, wb.RealTime("ml.m5.large")), TIMES)
    with refused(InvalidInput, "lambda 1024 MB", "count"):
        wb.count_curve(on(model, wb.Lambda(1024, max_concurrency=100)), TIMES)
    with refused(InvalidInput, "memory_mb", 128, 64):
        wb.memory_curve(on(model, wb.Lambda(1024, max_concurrency=100)), TIMES, sizes=[64])
    with refused(InvalidInput, "memory_mb", "no value"):
        wb.memory_curve(on(model, wb.Lambda(1024, max_concurrency=100)), TIMES, sizes=[])
