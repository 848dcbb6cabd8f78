"""The answer first, without a browser: what is decided, in which order, and what is taken over."""

import threading

import pytest

import workbench as wb
from workbench.planner import Options, decide
from workbench.service_times import ServiceTimes
from workbench.widgets import DecisionView
from workbench.widgets.last_decision import ShownDecision, keep_shown, recall_shown

TIMES = ServiceTimes.affine(0.02, 0.004, largest=8)
TRACE = wb.poisson(rate=40, duration=60, seed=1)
TARGET = wb.SLO(latency=0.3)
OPTIONS = Options(kinds=["lambda", "real-time"], unseen_draws=2, finalists=4, max_sizes=[1, 8])
TODAY = (wb.RealTime(instance_type="ml.m5.large"), wb.BatchPolicy())


@pytest.fixture(scope="module")
def decision():
    return decide(TIMES, TRACE, TARGET, OPTIONS, today=TODAY)


@pytest.fixture
def view():
    return DecisionView(on_apply=lambda _: None)


def test_the_value_is_the_decision_and_its_sentence_and_picture_are_shown(view, decision):
    view.offer(TIMES, TRACE, TARGET, OPTIONS, today=TODAY)
    found = view.wait()

    assert (found.sentence, found.frame.rows()) == (decision.sentence, decision.frame.rows())
    assert found.sentence in view.sentence.value.replace("&#x27;", "'")
    assert view.chart.figure.description == found.sentence
    for words in (found.cost_sentence, found.batching_sentence):
        assert words
        assert words in view.table.value
    assert [row for _, row in view.rows.options] == [row for row in found.rows if not row.winner]
    assert view.rows.value is found.runner_up
    assert (view.error, view.running, view.bar.layout.display) == ("", False, "none")


def test_a_first_look_comes_before_the_whole_decision(view):
    looks = []
    view.observe(lambda change: looks.append(change["new"].plan.task), "value")

    view.offer(TIMES, TRACE, TARGET, OPTIONS)
    view.wait()

    assert [task.days is None for task in looks] == [True, False]


def test_of_a_long_trace_the_first_look_takes_the_beginning(view):
    looks, long = [], wb.poisson(rate=400, duration=120, seed=1)
    view.observe(lambda change: looks.append(len(change["new"].plan.task.trace)), "value")

    view.offer(TIMES, long, TARGET, OPTIONS)
    view.wait()

    assert looks == [20_000, len(long)]


def test_the_latest_question_wins_over_the_one_under_way(view):
    at_it, go_on = threading.Event(), threading.Event()

    def slow(_):
        at_it.set()
        go_on.wait(60)
        return TIMES

    view.offer(slow, TRACE, TARGET, OPTIONS)
    assert at_it.wait(60)
    seen = []
    view.observe(lambda change: seen.append(change["new"].slo.latency), "value")
    for latency in (0.4, 0.5):
        view.offer(TIMES, TRACE, wb.SLO(latency=latency), OPTIONS)
    go_on.set()
    view.wait()

    assert set(seen) == {0.5}


def test_a_question_that_is_withdrawn_leaves_what_was_decided_in_view(view):
    view.offer(TIMES, TRACE, TARGET, OPTIONS)
    before = view.wait()

    view.withdraw("A run is under way.")

    assert view.value is before
    assert view.status.text == "A run is under way."


def test_what_cannot_be_decided_is_said_and_the_next_question_is_answered(view):
    few = wb.Trace([0.0], 1.0, rows=[20])
    view.offer(TIMES, few, TARGET, OPTIONS)
    view.wait()
    assert "profile" in view.error
    assert view.status.wrong

    view.offer(TIMES, TRACE, TARGET, OPTIONS)

    assert view.wait() is not None
    assert view.error == ""


def test_winner_row_and_point_are_taken_over(decision):
    taken = []
    view = DecisionView(on_apply=taken.append)
    view.winner_button.click()
    assert taken == []
    view.offer(TIMES, TRACE, TARGET, OPTIONS, today=TODAY)
    found = view.wait()

    view.winner_button.click()
    view.rows.value = found.rows[1]
    view.use_button.click()
    row = view.chart.figure.data.filter(on="today").to_dicts()[0]
    view.chart._handle(view.chart, {"datum": row}, [])

    assert taken == [found.winner.configuration, found.rows[1].configuration, (*TODAY, None)]


def test_break_even_is_computed_when_it_is_looked_at_and_drawn_once_known(view):
    view.offer(TIMES, TRACE, TARGET, OPTIONS)
    found = view.wait()

    view.shown.value = view.shown.options[1]
    view.wait()
    assert view.chart.figure.title == "The least cost that meets the target, by rate"
    costs = found.plan.break_even()
    assert view.chart.figure.data.drop_nulls().rows() == costs.drop_nulls().rows()

    view.shown.value = view.shown.options[0]
    assert view.chart.figure.description == found.sentence


def test_a_saved_notebook_keeps_the_sentence_and_the_table(view):
    view.offer(TIMES, TRACE, TARGET, OPTIONS)
    found = view.wait()

    assert found.winner.configuration.place in view.kept
    assert "<table>" in view.kept


def test_what_was_decided_last_of_a_model_is_shown_until_it_is_decided_again(registry):
    model = registry["digits-mlp-small"]
    first, later, told = DecisionView(), DecisionView(), []
    first.offer(model, TRACE, TARGET, OPTIONS, today=TODAY)
    first.wait()
    later.sentence.observe(lambda change: told.append((change["new"], later.value)), "value")

    later.offer(model, TRACE, TARGET, OPTIONS, today=TODAY)
    later.wait()

    assert told[0] == (first.sentence.value, None)
    assert later.value.sentence == first.value.sentence
    assert later.chart.spec == first.chart.spec


def test_a_question_about_a_model_is_decided_again_only_after_it_was_withdrawn(registry):
    view, seen = DecisionView(), []
    view.observe(lambda change: seen.append(change["new"]), "value")

    def count_after_offer():
        view.offer(registry["digits-mlp-small"], TRACE, TARGET, OPTIONS, today=TODAY)
        view.wait()
        return len(seen)

    once = count_after_offer()
    assert once
    assert count_after_offer() == once
    view.withdraw("A run is under way.")
    assert count_after_offer() > once


def test_another_question_is_not_answered_by_the_last(registry):
    model, view = registry["digits-mlp-small"], DecisionView()
    asked = [(0.3, TODAY), (0.31, TODAY), (0.3, None)]
    keys = set()
    for latency, today in asked:
        view.offer(model, TRACE, wb.SLO(latency=latency), OPTIONS, today=today)
        view.wait()
        keys.add(view._wanted.key)

    assert len(keys) == len(asked)


def test_a_last_decision_that_is_damaged_is_none(at_home):
    shown = ShownDecision(sentence="s", caption="c", table="t", spec={})
    keep_shown("some", shown)
    assert recall_shown("some") == shown

    (at_home / "decisions" / "some.json").write_text("{")

    assert recall_shown("some") is None
