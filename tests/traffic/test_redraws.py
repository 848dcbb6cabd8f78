"""Other days of the same traffic: where they come from, and what stays the same."""

import numpy as np
import pytest

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.traffic.map import mmpp, poisson_process
from workbench.traffic.patterns import bursty, constant, flash_crowd, markovian, poisson
from workbench.traffic.redraws import redraw
from workbench.traffic.trace import Trace

NAMED = {
    "poisson": poisson(rate=20, duration=50, seed=1),
    "changed": flash_crowd(
        rate=40, peak=8, start=60, ramp=10, hold=30, decay=20, duration=300, seed=1
    )
    .clip(10, 200)
    .scale(2),
    "thinned": bursty(rate=60, burst=4, duration=100, seed=1).thin(0.5, seed=2),
    "map": markovian([[-20, 20], [0, -20]], [[0, 0], [20, 0]], duration=50, seed=1),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_trace_of_a_pattern_is_drawn_from_it_with_other_seeds(name):
    trace = NAMED[name]
    days = redraw(trace, None)
    assert "with other seeds" in days.source
    assert "seed=" not in days.source
    assert days[0] == days[0]
    assert len({days[number] for number in range(4)} | {trace}) == 5
    counts = [len(days[number]) for number in range(20)]
    assert np.mean(counts) == pytest.approx(len(trace), rel=0.3)


def test_a_name_that_tells_another_trace_is_not_believed():
    liar = Trace([0.0, 1.0, 2.5], 10.0, name=poisson(rate=20, duration=50, seed=1).name)
    assert "parts of the trace" in redraw(liar, None).source


def test_the_parts_of_a_day_are_told_in_hours():
    day = Trace(np.arange(0.0, 86_400.0, 60.0), 86_400.0)
    assert "parts of the trace of 2.4 h, " in redraw(day, None).source


def test_a_name_is_no_program():
    sly = Trace([0.0, 1.0], 10.0, name="__import__('os').getcwd()")
    assert "parts of the trace" in redraw(sly, None).source


@pytest.mark.parametrize("process", [poisson_process(50.0), mmpp(rate=50, burst=4)])
def test_a_fitted_process_is_drawn_with_the_error_of_its_rate(process):
    trace = Trace(np.sort(np.random.default_rng(1).random(5000)) * 100, 100.0)
    fitted, known = (redraw(trace, process, known=known) for known in (False, True))
    spread, least = (np.std([len(days[n]) for n in range(60)]) for days in (fitted, known))
    assert spread == pytest.approx(np.sqrt(2) * least, rel=0.4)


def test_what_no_process_explains_is_put_together_from_its_parts():
    trace = Trace(np.concatenate([np.linspace(0, 90, 10), np.linspace(90, 100, 500)]), 100.0)
    days = redraw(trace, poisson_process(5.0), explained=False)
    counts = [len(days[n]) for n in range(200)]
    assert np.mean(counts) == pytest.approx(len(trace), rel=0.15)
    assert min(counts) < 100
    assert max(counts) > 700


def test_rows_and_bytes_come_from_the_trace():
    trace = Trace(np.arange(100.0), 100.0, rows=[1, 4] * 50, bytes=[10, 40] * 50)
    day = redraw(trace, poisson_process(1.0))[3]
    assert set(day.rows) == {1, 4}
    assert (day.bytes == 10 * day.rows).all()


def test_days_can_be_played_faster():
    days = redraw(NAMED["poisson"], None)
    assert days.scale(2)[1].arrivals.tolist() == (days[1].arrivals / 2).tolist()


def test_one_instant_has_no_other_days():
    assert redraw(Trace([3.0, 3.0], 5.0), poisson_process(0.4)).source == ""


def test_a_pattern_without_chance_stays_as_it_is():
    trace = constant(rate=4, duration=5)
    assert redraw(trace, None)[1] == trace


def test_a_number_that_is_none_is_refused():
    with refused(InvalidInput, "number", -1):
        redraw(NAMED["poisson"], None)[-1]


@pytest.mark.parametrize("source", ["blocks", "process"])
def test_requests_of_another_day_keep_their_kind_with_their_row(source):
    """Kinds come in turns of five seconds: blocks keep the turns, a process the shares."""
    arrivals = np.arange(0, 60, 0.05)
    kinds = np.where(arrivals % 10 < 5, "clean", "noisy")
    sample = np.where(kinds == "clean", 0, 1)
    trace = Trace(arrivals, 60.0, rows=np.full(1200, 2), sample=sample, context=kinds)
    process = poisson_process(20) if source == "process" else None
    day = redraw(trace, process)[0]

    assert (day.sample == (day.context == "noisy")).all()
    assert (day.rows == 2).all()
    assert np.mean(day.context == "noisy") == pytest.approx(0.5, abs=0.2)
    changes = int((day.context[1:] != day.context[:-1]).sum())
    assert (changes < 40) if source == "blocks" else (changes > 400)


def test_a_day_on_which_nobody_comes_is_drawn_again():
    days = redraw(poisson(rate=0.1, duration=10, seed=3), None)

    assert all(days[number].duration == 10 for number in range(40))


def test_the_parts_of_a_sum_are_drawn_apart():
    days = redraw(poisson(rate=5, duration=50, seed=1) + poisson(rate=5, duration=50, seed=2), None)

    assert "with other seeds" in days.source
    assert len(set(days[0].arrivals)) == len(days[0])
