"""Two published tables: what is cited and read, and what follows, worked by hand."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.refused import refused
from workbench.errors import Damaged, InvalidInput, NotFound
from workbench.papers.model_tables import (
    learn,
    load_capacities,
    load_hits,
    load_rates,
    serve,
    value_context,
)
from workbench.routing import RandomChoice, RoundRobin

SHARED = Path(__file__).parents[3] / "shared" / "data"
CAPACITIES = pl.DataFrame(
    {
        "layers": [18, 18, 152, 152],
        "cpus": [1, 4, 1, 4],
        "target": [0.5] * 4,
        "capacity": [20.0, 100.0, 5.0, 20.0],
        "accuracy": [0.69758, 0.69758, 0.78312, 0.78312],
    }
)


@pytest.fixture(autouse=True)
def no_folder(monkeypatch):
    monkeypatch.delenv("WORKBENCH_MODEL_TABLES", raising=False)


def strategies(rates, cpus):
    found = serve(CAPACITIES, rates, cpus=cpus, target=0.5)
    return {name: rows for (name,), rows in found.group_by("strategy", maintain_order=True)}


def test_what_exceeds_the_capacity_of_one_variant_is_late():
    found = strategies([40.0], cpus=4)

    assert found["ResNet-152"].row(0)[3:] == (4, 0.5, pytest.approx(0.5 * 0.78312))
    assert found["ResNet-18"].row(0)[3:] == (4, 1.0, pytest.approx(0.69758))


def test_switching_takes_the_accurate_one_while_it_keeps_up_and_fewer_cpus_of_equals():
    found = strategies([4.0, 15.0, 90.0], cpus=4)["switching"]

    assert found["effective"].to_list() == pytest.approx([0.78312, 0.78312, 0.69758])
    assert found["cpus"].to_list() == [1, 4, 4]


def test_a_set_fills_the_most_accurate_first():
    found = strategies([25.0], cpus=5)["sets"]

    assert found["cpus"].to_list() == [5]
    assert found["effective"].to_list() == pytest.approx([(20 * 0.78312 + 5 * 0.69758) / 25])


def test_a_set_is_never_worse_than_switching_nor_that_than_one_variant():
    rates = np.linspace(1, 200, 30)
    found = {name: rows["effective"].to_numpy() for name, rows in strategies(rates, 8).items()}

    assert np.all(found["sets"] >= found["switching"] - 1e-9)
    assert np.all(found["switching"] >= found["ResNet-152"] - 1e-9)


def test_a_target_that_was_not_measured_is_refused():
    with refused(InvalidInput, 0.7, "[0.5]"):
        serve(CAPACITIES, [1.0], cpus=4, target=0.7)
    with refused(InvalidInput, 0.5, "0 CPUs"):
        serve(CAPACITIES, [1.0], cpus=0, target=0.5)


def test_context_is_worth_the_best_of_each_class_over_the_best_of_all():
    hits = pl.DataFrame(
        {"class": ["a", "b"], "NASNetMobile": [50, 0], "MobileNet": [10, 30], "X": [0, 50]}
    )

    assert value_context(hits) == pytest.approx(
        {"best single": 0.5, "best by class": 1.0, "smallest by class": 0.8}
    )


def test_a_router_gets_what_the_models_are_worth_on_the_classes_drawn():
    hits = pl.DataFrame({"class": ["a", "b"], "X": [50, 50], "Y": [0, 0]})

    assert learn(hits, RoundRobin(), requests=4).tolist() == [1.0, 0.0, 1.0, 0.0]
    drawn = learn(hits, RandomChoice(), requests=4000, seed=2)
    assert drawn.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(4000))
    with refused(InvalidInput, "requests", 0):
        learn(hits, RandomChoice(), requests=0)


def test_without_a_folder_three_rows_of_each_are_cited():
    assert load_capacities().height == 3
    assert load_hits().shape == (3, 4)
    assert load_rates(100.0).max() == 100.0


def test_a_folder_without_the_files_is_a_clear_error(tmp_path):
    for load in (load_capacities, load_hits, lambda folder: load_rates(1.0, folder)):
        with refused(NotFound, tmp_path):
            load(tmp_path)
    (tmp_path / "infadapter_capacity.csv").write_text("CPU,ARCH\n1,18\n")
    with refused(Damaged, "infadapter_capacity.csv", "SLA"):
        load_capacities(tmp_path)
    (tmp_path / "cocktail_class_hits.csv").write_text("A,n1,5\nB,n2,5\n")
    with refused(Damaged, "cocktail_class_hits.csv", "classes"):
        load_hits(tmp_path)


@pytest.mark.skipif(not SHARED.exists(), reason="needs shared/data beside the checkout")
def test_the_files_hold_what_was_published(monkeypatch):
    monkeypatch.setenv("WORKBENCH_MODEL_TABLES", str(SHARED))
    capacities, cited = load_capacities(), load_capacities

    assert capacities.height == 400
    monkeypatch.delenv("WORKBENCH_MODEL_TABLES")
    assert cited().join(capacities, on=cited().columns, how="anti").is_empty()
    found = value_context(load_hits(SHARED))
    assert [round(100 * share, 1) for share in found.values()] == [73.6, 77.5, 73.1]
    rates = load_rates(500.0, SHARED)
    assert rates.max() == 500.0
    assert rates[50:].max() < 200  # the match is over
