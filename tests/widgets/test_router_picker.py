"""Several models in the app: who else may answer, the router, and who answered."""

import pytest

from tests.refused import refused
from workbench import plots
from workbench.errors import InvalidInput
from workbench.run import Run
from workbench.widgets import App, LiveProgress, RouterPicker
from workbench.widgets.run_panel import draw_shares


@pytest.fixture
def picker(registry):
    picker = RouterPicker()
    picker.offer(registry["digits-logistic"], registry.models())
    return picker


def choose(picker, *groups):
    picker.others.value = [each for group, each in picker.others.options if group in groups]


def test_one_model_needs_no_router(picker):
    assert picker.value.router is None
    assert picker.status.text == "One model answers everything."


def test_models_on_offer_are_of_the_task_and_not_the_first(picker):
    groups = [group for group, _ in picker.others.options]

    assert "digits-logistic" not in groups
    assert all(group.startswith("digits") for group in groups)


def test_a_cascade_names_its_models_in_order(picker):
    choose(picker, "digits-mlp-wide")
    picker.kind.value = "cascade"
    picker["threshold"].value = 0.8

    router = picker.value.router
    assert (router.small, router.large) == ("digits-logistic", "digits-mlp-wide")
    assert router.threshold == 0.8


def test_a_vote_takes_all_models(picker):
    choose(picker, "digits-mlp-wide", "digits-mlp-small")
    picker.kind.value = "vote"

    assert set(picker.value.router.names) == {
        *("digits-logistic", "digits-mlp-wide", "digits-mlp-small")
    }


def test_every_router_on_offer_makes_an_ensemble(picker, registry):
    from workbench.batching.timer import BatchPolicy
    from workbench.deployment import Local

    choose(picker, "digits-mlp-wide", "digits-mlp-small")
    for _, kind in picker.kind.options:
        picker.kind.value = kind
        assert picker.error == "", kind
        ensemble = picker.value.ensemble(registry["digits-logistic"], Local(), BatchPolicy())
        ensemble.router.router(ensemble.places())


def test_what_a_router_refuses_is_said_beside_its_control(picker):
    choose(picker, "digits-mlp-wide")
    picker.kind.value = "cascade"
    picker["threshold"].value = 2.0

    assert picker.value is None
    assert picker.error.startswith("Threshold must")


def test_the_choice_is_kept_where_the_first_model_changes(picker, registry):
    choose(picker, "digits-mlp-wide", "digits-mlp-small")
    picker.offer(registry["digits-mlp-small"], registry.models())

    assert [each.group for each in picker.value.others] == ["digits-mlp-wide"]


@pytest.mark.no_cover
def test_the_app_simulates_an_ensemble_and_shows_its_code(registry):
    app = App(registry)
    app.traffic["rate"].value, app.traffic["duration"].value = 200, 10
    app.deployment.kind.value = "local"
    choose(app.router, "digits-logistic")
    app.router.kind.value = "random"
    app.panel.start("simulate")
    run = app.panel.wait()

    assert app.panel.error == ""
    assert set(run.record.places) == {"digits-mlp-wide", "digits-logistic"}
    assert app.results.charts["places"].figure.title.startswith("Who answered")
    names = {}
    exec(app.code.replace("wb.Registry()", "REGISTRY"), names | {"REGISTRY": registry}, names)  # noqa: S102 - ours
    assert names["experiment"] == app.experiment


def test_sliders_are_for_one_model(registry):
    app = App(registry)
    app.more.buttons["What if"].click()
    choose(app.router, "digits-logistic")

    assert "one model" in app.more["What if"].note


def test_shares_of_who_answered_are_counted_while_a_run_is_under_way():
    live = LiveProgress()
    assert draw_shares(live.shares) == ""

    live.note_places(["small", "small"])
    live.note_places(["small", "<large>"])

    assert live.shares == {"small": 0.75, "<large>": 0.25}
    assert "&lt;large&gt; 25 %" in draw_shares(live.shares)


def test_shares_over_time_are_of_requests_that_were_answered():
    run = Run.from_arrays(
        scheduled=[0, 1, 2, 3],
        finished=[1, 2, float("nan"), 4],
        place=[0, 1, 0, 1],
        error=[None, None, "lost", None],
        facts={"places": ("small", "large")},
    )
    counted = plots.answers_by_place(run, bins=2)

    assert counted["requests"].to_list() == [1, 1, 0, 1]
    assert counted["share"].to_list() == [0.5, 0.5, 0.0, 1.0]


def test_a_plain_run_has_no_places_to_draw():
    run = Run.from_arrays(scheduled=[0], finished=[1])

    with refused(InvalidInput, "ensemble"):
        plots.plot_answers_by_place(run)
