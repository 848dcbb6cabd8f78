"""Which model, without a browser: needs, sliders, reasons, and taking the winner over."""

import html

import pytest

from tests.refused import refused, unnamed
from workbench.errors import InvalidInput
from workbench.planner.options import Options
from workbench.quantiles import SLO
from workbench.selection.needs import Bounds
from workbench.traffic.patterns import poisson
from workbench.widgets import App, SelectionView
from workbench.widgets.selection_view import NeedsPicker, read_needs

TRACE = poisson(rate=40, duration=30, seed=1)
TARGET = SLO(latency=0.3)
SMALL = Options(kinds=["lambda"], lambda_memory_mb=[1769], max_sizes=[1, 4], finalists=2)


@pytest.fixture(scope="module")
def view(registry):
    view = SelectionView(registry)
    view.offer("digits", TRACE, TARGET, SMALL)
    view.start()
    view.wait()
    return view


def test_the_winner_its_reason_and_the_others_are_shown(view):
    assert view.error == ""
    assert view.value.sentence in view.found.value.replace("&#x27;", "'").replace("&gt;", ">")
    assert "Candidates, the winner first" in view.found.value
    folded = view.found.value.partition("<details>")[2].partition("</details>")[0]
    assert folded.count("<p>") == min(view.value.table.height, 12) - 1
    assert html.unescape(folded).count(view.value.table["sentence"][1]) == 1
    assert 'alt="' in view.regions.value
    assert {row.model.traits.task for row in view.value.rows} == {"digits"}


def test_what_is_measured_is_said_and_can_be_stopped(registry, monkeypatch):
    view, said = SelectionView(registry), []

    def measure(model, progress):
        progress(0, 1)
        said.append((view.status.text, view.figures.value, view.bar.max))
        view.stop()
        progress(1, 1)

    monkeypatch.setattr("workbench.selection.knowledge.find_outcomes", measure)
    view.offer("digits", TRACE, TARGET, SMALL)
    view.start()
    view.wait()

    (words, count, top) = said[0]
    assert words.startswith("Measuring what digits-")
    assert (count, len(said)) == (f"0 of {top}", 1)
    assert view.status.text.startswith("Stopped")


def test_a_slider_says_at_once_who_is_first_by_other_weights(view):
    costly = view.value
    for name in ("latency", "accuracy"):
        view.weights[name].value = 0.0

    assert view.value.question.weights.shares == (0, 0, 1)
    assert view.value.rows is costly.rows
    cheapest = min(row.cost for row in view.value.rows if not row.misses)
    assert view.value.best.cost == cheapest
    for slider in view.weights.values():
        slider.value = 1.0


def test_without_any_weight_the_selection_before_stays(view):
    before = view.value
    for slider in view.weights.values():
        slider.value = 0.0

    assert view.status.wrong
    assert not unnamed(view.status.text, "weights", 0)
    for slider in view.weights.values():
        slider.value = 1.0
    assert view.value.best.name == before.best.name


def test_needs_are_controls():
    picker = NeedsPicker(["digits", "diabetes"], "digits")
    picker["accuracy"].value = 0.9
    picker["budget"].value = "$ 5"
    picker["others"].value = "size_bytes <= 1e6, licence=MIT, free=true"

    assert picker.value == {
        "needs": {
            "task": "digits",
            "accuracy": Bounds(low=0.9),
            "size_bytes": Bounds(high=1e6),
            "licence": "MIT",
            "free": True,
        },
        "budget": 5.0,
    }


def test_two_limits_of_a_trait_are_a_range():
    assert read_needs("opset>=13,opset<=20") == {"opset": Bounds(low=13, high=20)}


@pytest.mark.parametrize(
    ("name", "entered", "reason"),
    [
        ("others", "licence", "Other traits must be traits with"),
        ("others", "size_bytes<=small", "Other traits must be a number"),
        ("budget", "much", "Most $ a million must be a number"),
        ("accuracy", 2.0, "Least accuracy must be a share of 1 at most"),
    ],
)
def test_what_is_no_need_is_said_beside_its_control(name, entered, reason):
    picker = NeedsPicker(["digits"])
    picker[name].value = entered

    assert picker.value is None
    assert picker.error.startswith(reason)


def test_an_unknown_trait_is_refused_in_a_sentence(registry):
    view = SelectionView(registry)
    view.offer("digits", TRACE, TARGET, SMALL)
    view.needs["others"].value = "reading_age<=12"
    view.start()

    assert view.wait() is None
    assert "reading_age" in view.error
    assert not view.find_button.disabled


def test_where_nothing_passes_no_model_is_taken_over(registry):
    taken = []
    view = SelectionView(registry, on_apply=taken.append)
    view.offer("digits", TRACE, SLO(latency=1e-6), SMALL)
    view.start()
    assert not view.wait().feasible

    view.apply_button.click()

    assert (taken, view.status.wrong) == ([], True)


def test_the_app_selects_for_its_pickers_and_they_take_the_winner_over(registry, view):
    shown = App(registry)
    shown.more.buttons["Which model?"].click()
    asked = shown.more["Which model?"]
    assert not asked.find_button.disabled
    assert asked.needs["task"].value == shown.model.value.traits.task

    shown.traffic["rate"].value = -1
    assert asked.find_button.disabled
    shown.traffic["rate"].value = 40

    asked.set_trait("value", view.value)
    asked.take()

    best = view.value.experiment
    made = shown.experiment
    assert (made.model, made.deployment, made.policy) == (best.model, best.deployment, best.policy)


def test_a_selection_by_a_target_has_no_weights(view):
    from dataclasses import replace

    found = replace(view.value, question=replace(view.value.question, target=0.9))

    with refused(InvalidInput, "target", "weights"):
        found.weigh({"cost": 1.0})
