"""Runs side by side: figures, prices and the picture, without running anything."""

import json
import math
import re

import numpy as np
import pytest

from tests.refused import refused
from workbench.batching.timer import BatchPolicy
from workbench.comparison import Comparison, compare
from workbench.deployment import Local, RealTime
from workbench.errors import InvalidInput
from workbench.formatting import duration
from workbench.pricing.sheet import PriceSheet
from workbench.report.conclusion import conclude
from workbench.run import SLO, Run
from workbench.run.costs import cost
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.patterns import bursty

TARGET = SLO(latency=0.1)


def made(latencies, *, label, deployment=None, slo=TARGET):
    """A run whose requests are due every second and take so long."""
    scheduled = np.arange(len(latencies), dtype=float)
    facts = {"label": label, "origin": "simulated"}
    facts |= {"slo": {"latency": slo.latency, "quantile": slo.quantile}} if slo else {}
    facts |= {"deployment": deployment.to_dict()} if deployment else {}
    finished = scheduled + np.asarray(latencies)
    return Run.from_arrays(scheduled=scheduled, finished=finished, facts=facts)


@pytest.fixture
def slow():
    latencies = np.linspace(0.001, 0.4, 1000)
    return made(latencies, label="mlp:1, slow", deployment=Local(hourly_price=3.6))


@pytest.fixture
def fast():
    return made(np.full(1000, 0.02), label="mlp:1, fast", deployment=Local(hourly_price=7.2))


def test_figures_are_those_of_the_runs(slow, fast):
    first, second = compare([slow, fast]).frame.rows(named=True)

    assert [first["run"], second["run"]] == ["slow", "fast"]
    assert first["p95"] == slow.quantile(0.95)
    assert (first["p95_low"], first["p95_high"]) == slow.interval(0.95)
    assert first["attainment"] == slow.attainment()
    assert first["target"] == "p95 ≤ 100 ms"
    assert (first["verdict"], second["verdict"]) == ("missed", "met")


def test_costs_are_those_of_the_runs(slow, fast):
    compared = compare([slow, fast])

    assert compared.costs == {"slow": cost(slow), "fast": cost(fast)}
    assert compared.frame["per_million"].to_list() == pytest.approx(
        [cost(slow).per_million, cost(fast).per_million]
    )


def test_costs_follow_the_sheet_given():
    run = made([0.02] * 200, label="real", deployment=RealTime(instance_type="ml.m5.large"))
    sheet = PriceSheet.load()
    dearer = sheet.with_price("ml.m5.large", 100.0)

    usual, other = (compare(run, prices=each).frame["per_million"][0] for each in (sheet, dearer))

    assert other > 100 * usual


def test_a_run_that_was_not_deployed_has_no_cost():
    compared = compare(made([0.02] * 20, label="by hand"))

    assert compared.costs == {}
    assert compared.frame["per_million"].to_list() == [None]


def test_what_too_few_requests_cannot_tell_is_left_open():
    compared = compare(made([0.02] * 20, label="short", slo=None))
    (row,) = compared.frame.rows(named=True)

    assert row["p50"] == pytest.approx(0.02)
    open_figures = ("p95", "p95_low", "target", "attainment", "verdict")
    assert [row[key] for key in open_figures] == [None] * 5
    assert ["p95", "-"] in compared.table().rows


def test_a_share_just_reached_is_no_proof_that_the_target_is_met():
    latencies = ([0.02] * 19 + [0.2]) * 50

    assert compare(made(latencies, label="just")).frame["verdict"].to_list() == ["cannot tell"]


def test_failed_requests_are_infinitely_late_and_fit_into_json():
    compared = compare(made([0.02] * 100 + [math.nan] * 100, label="failing"))
    (row,) = compared.to_dict()["runs"]

    assert compared.frame["p90"].to_list() == [math.inf]
    assert (row["failed"], row["p90"]) == (100, None)
    assert json.loads(json.dumps(compared.to_dict(), allow_nan=False)) == compared.to_dict()


def test_the_table_tells_each_figure_with_its_unit(slow, fast):
    shown = compare([slow, fast]).table()
    table = {figure: values for figure, *values in shown.rows}

    assert shown.columns == ["", "slow", "fast"]
    assert table["p50"] == ["200 ms", "20 ms"]
    assert table["answered in time"] == ["24.8 %", "100 %"]
    assert table["verdict"] == ["missed", "met"]
    assert all(len(row) == 3 for row in shown.rows)


def test_what_spilled_over_and_where_figures_come_from_are_told():
    facts = {"label": "mix", "origin": "simulated", "places": ("base", "overflow")}
    mixed = Run.from_arrays(scheduled=[0, 1, 2], finished=[1, 2, 3], place=[0, 1, 0], facts=facts)
    compared = compare(mixed)

    assert compared.frame["spilled"].to_list() == [pytest.approx(1 / 3)]
    assert ["spilled over", "33.3 %"] in [list(row) for row in compared.table().rows]
    assert str(compared).endswith("\nSimulated.")


def test_the_table_says_what_not_to_rely_on(fast):
    stopped = fast.amend(complete=False, label="stopped")
    late = stopped.amend(valid=False, label="late")
    table = {figure: values for figure, *values in compare([fast, stopped, late]).table().rows}

    assert table["verdict"] == [
        "met",
        "invalid: stopped early",
        "invalid: stopped early, load was off schedule",
    ]


def test_nearly_all_is_not_all():
    latencies = [0.02] * 9999 + [0.2]
    table = dict(map(tuple, compare(made(latencies, label="nearly")).table().rows))

    assert table["answered in time"] == "99.99 %"


def test_a_warning_of_all_runs_names_none():
    runs = [made([0.02] * 20, label=label).amend(warnings=["It is slow."]) for label in "ab"]

    assert compare(runs).warnings[0] == "It is slow."
    assert [w for w in compare(runs).warnings if w.endswith("It is slow.")] == ["It is slow."]


def test_warnings_name_their_run_and_notes_come_once():
    runs = [made([0.02] * 20, label=label, deployment=Local()) for label in ("m, a", "m, b")]
    runs[1] = runs[1].amend(warnings=["The load was late."])
    first, *others = compare(runs).warnings

    assert first == "b: The load was late."
    assert len(others) == 1
    assert "counts as free" in others[0]


def test_the_chart_shows_every_run(slow, fast):
    assert set(compare([slow, fast]).figure.data["run"]) == {"slow", "fast"}


def test_a_notebook_shows_table_and_picture_without_internet(slow, fast):
    shown = compare([slow, fast])._repr_html_()

    assert "<table>" in shown
    assert 'src="data:image/svg+xml;base64,' in shown
    assert not re.search(r"https?://(?!www\.w3\.org)", shown)


def test_names_from_outside_are_escaped():
    shown = compare(made([0.02] * 20, label="<script>alert(1)</script>"))._repr_html_()

    assert "<script>" not in shown


def test_it_says_what_it_compares(slow, fast):
    assert repr(compare([slow, fast])) == "<Comparison: slow; fast>"


def test_a_dictionary_names_what_it_compares(slow, fast):
    compared = compare({"today": slow, "twice the traffic": fast})

    assert compared.frame["run"].to_list() == ["today", "twice the traffic"]
    assert list(compared.costs) == ["today", "twice the traffic"]
    assert compared.figure.data["run"].unique(maintain_order=True).to_list() == [
        "today",
        "twice the traffic",
    ]
    with refused(InvalidInput, "run", 1):
        compare({1: slow})


def test_nothing_to_compare_is_refused():
    with refused(InvalidInput, "run"):
        compare([])


def test_a_comparison_can_be_made_of_runs_and_costs(slow):
    assert Comparison({"one": slow}, {}).frame["run"].to_list() == ["one"]


def test_what_comes_from_repetitions_says_so():
    """A burst that a short trace has by chance is not what the run shows in the long run."""
    trace = bursty(rate=40, burst=6, duration=10, seed=1)
    times = ServiceTimes.affine(0.02, 0.0, largest=1)
    run = simulate(trace, BatchPolicy(1), Local(), times, seed=1, slo=TARGET)
    found = run.replications_for(0.95)
    row = compare(run).frame.row(0, named=True)

    assert row["p95_repetitions"] == found.count
    assert f"in {found.count} repetitions" in compare(run).table().text()
    few = simulate(trace.clip(0, 1), BatchPolicy(1), Local(), times, seed=1, slo=TARGET)
    assert few.verdict.word != "cannot tell"
    for one in (run, few):
        said = conclude(one)
        assert duration(one.replications_for(0.95).quantile(0.95)) in said
        assert "repetitions" in said
        assert f"{len(one)} requests" not in said
