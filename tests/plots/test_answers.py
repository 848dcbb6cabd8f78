"""Answers by panel: percentiles of what came back, and who is at work when."""

import numpy as np
import polars as pl
import pytest

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.papers.model_tables import load_capacities, serve
from workbench.plots import (
    answer_spread,
    node_load,
    plot_boxes,
    plot_effective_accuracy,
    plot_node_load,
    plot_spread,
)

FRAME = pl.DataFrame(
    {
        "start": [0.0, 1.0, 2.5],
        "latency": [2.0, 2.0, 1.0],
        "accuracy": [0.2, 0.4, 0.9],
        "node": [2, 2, 1],
    }
)
ANSWERS = {("scp", "random"): FRAME, ("mda", "random"): FRAME.reverse()}


def test_a_spread_is_the_percentiles_of_the_answers():
    spread = answer_spread(ANSWERS, "accuracy").filter(panel="mda")

    assert spread["share"].to_list() == pytest.approx(np.arange(101) / 100)
    assert spread["accuracy"][[0, 50, 100]].to_list() == [0.2, 0.4, 0.9]


def test_a_request_loads_its_node_from_its_start_to_its_end():
    load = node_load({"random": FRAME}, until=3.0)

    at = {row["seconds"]: row["requests"] for row in load.filter(node="node 2").rows(named=True)}
    assert [at[0.0], at[1.0], at[1.99], at[2.0]] == [1, 2, 2, 1]
    assert load.filter(node="node 1")["requests"].sum() == 50  # half a second of three, of 300


def test_each_use_case_has_its_panel_and_each_run_its_colour():
    for figure in (plot_spread(ANSWERS, "latency"), plot_boxes(ANSWERS, "latency")):
        spec = figure.spec()
        assert spec["facet"]["sort"] == ["scp", "mda"]
        assert "scp, random: 2" in figure.description


def test_nodes_and_strategies_are_drawn_with_their_means():
    figure = plot_node_load({"random": FRAME}, until=3.0)
    assert "random, node 1: 0.17" in figure.description

    hour = serve(load_capacities(), [20.0, 150.0], cpus=8, target=0.75)
    assert "switching 74.0%" in plot_effective_accuracy(hour).description


def test_nothing_to_show_is_refused():
    for nothing in ({}, {("scp", "random"): FRAME.clear()}):
        with refused(InvalidInput, "answers"):
            answer_spread(nothing, "latency")
