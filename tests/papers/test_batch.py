"""BATCH's evaluation computed again: what was published, and what was known to follow from it."""

import csv

import numpy as np
import pytest

from tests.refused import refused
from workbench.batching.timer import BatchPolicy
from workbench.errors import Damaged, InvalidInput, NotFound
from workbench.papers.batch import (
    CITED_MAPS,
    FAST,
    batch_dollars,
    bisect_quantile,
    inception_resnet_v2,
    inception_v4,
    load_maps,
    mape,
    model_errors,
    optima,
    simulate_buffer,
)
from workbench.queueing import mm1
from workbench.run import SLO
from workbench.traffic.trace import Trace

COLUMNS = ["trace", "hour", *(f"{d}_{i}{j}" for d in ("D0", "D1") for i in "12" for j in "12")]


def table_of(path, rows, columns=COLUMNS):
    with (path / "batch_maps.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


@pytest.fixture(autouse=True)
def no_folder(monkeypatch):
    monkeypatch.delenv("WORKBENCH_BATCH_MAPS", raising=False)


def test_service_times_are_those_of_the_regressions():
    slow, slower = inception_v4([3008, 1280]), inception_resnet_v2(3008)

    sizes = np.array([1, 2, 5, 10, 15, 20]) - 1
    assert slow[0, sizes] == pytest.approx([1.008, 1.514, 3.080, 5.797, 8.560, 11.267], abs=6e-4)
    assert slow[1, sizes] == pytest.approx([1.920, 3.055, 6.556, 12.67, 19.03, 25.54], abs=6e-3)
    assert slower[0, sizes] == pytest.approx([1.527, 2.095, 3.771, 6.534, 9.371, 12.41], abs=6e-3)
    assert FAST[0, 9] == pytest.approx(0.35)


def test_a_batch_costs_its_gigabyte_seconds_and_its_call():
    assert batch_dollars([[2.0]], 1024).item() == pytest.approx(2 * 1.66667e-5 + 2e-7)


def test_without_a_folder_there_are_the_three_cited():
    assert load_maps() == CITED_MAPS


@pytest.mark.parametrize("named", [True, False])
def test_a_folder_has_its_own(tmp_path, monkeypatch, named):
    table_of(tmp_path, [("NYS", 1, -3, 1, 2, -4, 2, 0, 1, 1)])
    monkeypatch.setenv("WORKBENCH_BATCH_MAPS", "" if named else str(tmp_path))

    maps = load_maps(tmp_path if named else None)

    assert list(maps) == ["NYS 1"]
    assert maps["NYS 1"].d0.tolist() == [[-3, 1], [2, -4]]
    assert maps["NYS 1"].d1.tolist() == [[2, 0], [1, 1]]


def test_a_folder_without_maps_is_a_clear_error(tmp_path):
    with refused(NotFound, "batch_maps.csv", tmp_path):
        load_maps(tmp_path)
    table_of(tmp_path, [("NYS", 1)], COLUMNS[:2])
    with refused(Damaged, tmp_path / "batch_maps.csv", "D0_11"):
        load_maps(tmp_path)


def test_the_solver_takes_percentiles_to_a_hundredth_of_a_second():
    prediction = mm1(rate=1, service=0.5)

    assert bisect_quantile(prediction, 0.95) == pytest.approx(-np.log(0.05), abs=0.01)


def test_mape_is_the_mean_of_the_amounts():
    assert mape([1, 3], [2, 2]) == pytest.approx(0.5)


def test_latencies_and_cost_follow_from_waits_and_sizes():
    played = simulate_buffer(Trace([0.0, 0.25, 1.0], 2.0), BatchPolicy(max_size=2, max_wait=0.5))

    assert played.latencies(np.array([0.1, 0.2])) == pytest.approx([0.45, 0.2, 0.6])
    assert played.cost(np.array([1.0, 3.0])) == pytest.approx((1.5 + 1.5 + 1) / 3)


@pytest.mark.parametrize(
    ("name", "settings", "published", "bias"),
    [
        ("NYS 3", (10, 0.20), (0.0221, 0.388), (-0.099, -0.052)),
        ("Twitter 1", (20, 0.30), (0.0042, 0.215), (-0.015, -0.011)),
    ],
)
def test_the_models_errors_are_those_known(name, settings, published, bias):
    """As found by a simulation of another make, of 200,000 arrivals."""
    size, wait = settings
    found = model_errors({name: CITED_MAPS[name]}, max_size=size, max_wait=wait, seed=3)

    assert found["service"].to_list() == ["slow", "fast"]
    assert found["released"].to_list() == pytest.approx(published, rel=0.08, abs=0.005)
    assert found["cost_bias"].to_list() == pytest.approx(bias, abs=0.006)
    assert found["exact"].max() < 0.004


def test_the_optimum_is_the_one_known():
    """NYS 3, fast, 0.3 s: 4 requests in 0.17 s at 1.94 dollars, where BATCH misses the target."""
    found = optima(CITED_MAPS["NYS 3"], FAST, [3008], SLO(latency=0.3), requests=100_000)

    exact, batch, alone = found.iter_rows(named=True)
    assert (exact["max_size"], exact["max_wait"]) == (4, 0.17)
    assert exact["cost"] == pytest.approx(1.94, rel=0.01)
    assert exact["promised"] == pytest.approx(exact["cost"], rel=0.005)
    assert (batch["max_size"], batch["max_wait"]) == (8, 0.29)
    assert batch["latency"] == pytest.approx(0.504, rel=0.01)
    assert batch["promised"] == pytest.approx(1.76, rel=0.005)
    assert alone["cost"] == pytest.approx(2.354, rel=1e-3)
    assert found["met"].to_list() == [True, False, True]


def test_memory_is_chosen_too():
    """NYS 3, Inception-ResNet-v2, 5 s, of three memory sizes."""
    memories = [2240, 2496, 3008]

    found = optima(
        CITED_MAPS["NYS 3"],
        inception_resnet_v2(memories),
        memories,
        SLO(latency=5),
        requests=100_000,
    )

    chosen = found.select("memory_mb", "max_size", "max_wait").rows()
    assert chosen[:2] == [(2240, 5, 0.47), (2496, 6, 0.21)]
    assert found["cost"].to_list()[:2] == pytest.approx([34.68, 40.0], rel=0.01)


@pytest.mark.parametrize("latency", [0.03, 0.0442])
def test_a_target_that_nothing_meets_is_refused(latency):
    with refused(InvalidInput, "p95", f"{1000 * latency:g} ms"):
        optima(CITED_MAPS["NYS 3"], FAST + 0.01, [3008], SLO(latency=latency))
