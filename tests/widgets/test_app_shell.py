"""The app's page: an answer first, five fields beside it, the rest folded, tabs at the top."""

import re

import ipywidgets
import pytest

from workbench.widgets import App
from workbench.widgets.app_shell import TABS
from workbench.widgets.folds import Fold

CONTROLS = (
    ipywidgets.widget_string._String,
    ipywidgets.widget_int._Int,
    ipywidgets.widget_float._Float,
    ipywidgets.widget_selection._Selection,
    ipywidgets.widget_selection._MultipleSelection,
    *(ipywidgets.Button, ipywidgets.ToggleButton),
)
SILENT = (
    *(ipywidgets.HTML, ipywidgets.Label, ipywidgets.IntProgress),
    ipywidgets.ToggleButtons,  # each of its buttons has one
)


@pytest.fixture(scope="module")
def made(registry):
    return App(registry)


@pytest.fixture
def app(made):
    """The app, as it was at first."""
    made.more.select("Decision")
    return made


def below(widget):
    """All widgets within a widget, itself included."""
    yield widget
    for each in getattr(widget, "children", ()):
        yield from below(each)


def label_of(control):
    return re.sub("<.*?>", "", control.description)


def folds_of(app):
    return {each.picker.title: each for each in below(app) if isinstance(each, Fold)}


def test_five_fields_stand_beside_the_answer(app):
    (fields,) = (each for each in below(app) if "wb-fields" in getattr(each, "_dom_classes", ()))

    labels = [label_of(each) for each in below(fields) if isinstance(each, CONTROLS)]
    assert labels == ["Model", "Traffic", "Rate (1/s)", "Target", "within (ms)", "Where"]


def test_every_field_and_button_has_a_help_text(app):
    for name in TABS:
        app.more.select(name)
    for fold in folds_of(app).values():
        fold.button.value = True
    for kind in [value for _, value in app.deployment.kind.options]:
        app.deployment.kind.value = kind

        controls = [each for each in below(app) if isinstance(each, CONTROLS)]

        mute = [each for each in controls if not each.tooltip and not isinstance(each, SILENT)]
        assert [label_of(each) for each in mute] == []
    app.deployment.kind.value = "local"


def test_what_is_folded_is_told_in_words(app):
    folds = folds_of(app)

    assert folds["Batching"].button.description == "Batching: up to 8, 25 ms"
    app.policy["max_size"].value = 4
    assert folds["Batching"].button.description == "Batching: up to 4, 25 ms"
    app.policy["max_size"].value = 8
    assert folds["Scaling"].layout.display == "none"
    app.deployment.kind.value = "real-time"
    assert folds["Scaling"].layout.display is None
    app.deployment.kind.value = "local"


def test_what_is_refused_unfolds_but_a_field_does_not(registry):
    app = App(registry)
    folds = folds_of(app)

    app.traffic["rate"].value = -1.0
    assert app.traffic.error
    assert not folds["Traffic"].button.value
    assert "-1" in folds["Traffic"].button.description

    app.traffic["rate"].value, app.traffic["burst"].value = 300.0, 0.0
    assert folds["Traffic"].button.value
    assert app.traffic in folds["Traffic"].children
    app.traffic["burst"].value = 6.0
    assert folds["Traffic"].button.description.startswith("Traffic: 2,152 requests")


def test_one_tab_is_shown_and_pressing_it_again_leaves_it(app):
    app.more.buttons["Registry"].click()

    pressed = [n for n, each in app.more.buttons.items() if "mod-active" in each._dom_classes]
    assert pressed == [app.more.selected] == ["Registry"]
    assert app.more["Registry"].layout.display is None
    assert {app.panel.layout.display, app.decision.layout.display} == {"none"}

    app.more.buttons["Registry"].click()

    assert app.more.selected == "Registry"


def test_work_that_begins_shows_the_runs_and_keeps_other_tabs(app):
    app.traffic.set("poisson", rate=40, duration=1)
    app.panel.start("simulate")
    app.panel.wait()

    assert app.more.selected == "Runs"
    assert app.panel.layout.display is app.results.layout.display is None
    app.more.select("Monitor")
    app.panel.start("simulate")
    app.panel.wait()
    assert app.more.selected == "Monitor"


def test_an_app_that_nobody_sees_decides_nothing(registry, monkeypatch):
    offered = []
    monkeypatch.setattr(
        "workbench.widgets.decision_view.DecisionView.offer",
        lambda *given, **_: offered.append(given),
    )
    app = App(registry)
    app.slo["latency"].value = 50.0
    assert offered == []

    app.decide()
    app.more.select("Registry")
    app.slo["latency"].value = 40.0

    assert [given[3].latency for given in offered] == [0.05]
    app.more.select("Decision")
    assert [given[3].latency for given in offered] == [0.05, 0.04]
