"""Service times in the app: when they were measured, and how they are measured again."""

import threading

import pytest

from tests.measuring.test_profile_cache import Meter
from workbench.errors import InvocationError
from workbench.measuring.profile import Profile
from workbench.measuring.profile_cache import keep_profile
from workbench.widgets import App
from workbench.widgets.decision_view import DecisionView
from workbench.widgets.profile_picker import ProfilePicker


@pytest.fixture
def model(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    return registry["digits-mlp-small"]


@pytest.fixture
def kept(model):
    """A model with service times of sizes 1 and 4, taken on a busy machine."""
    frame = Meter()(model, batch_sizes=[1, 4], threads=(1,)).frame
    facts = {"created": "2026-11-01T10:00:00+00:00", "load": 9.0, "environment": {"cores": 2}}
    keep_profile(model, Profile(frame, facts))
    return model


def wait(picker):
    """Wait until a picker measures no more."""
    over = threading.Event()
    picker.observe(lambda change: change["new"] or over.set(), "running")
    assert not picker.running or over.wait(60)


def test_the_date_and_the_doubts_of_kept_service_times_are_told(kept):
    picker = ProfilePicker()

    picker.offer(kept)

    assert picker.status.text.startswith("measured on 2026-11-01. The load was 9 on 2 cores.")


def test_measuring_again_takes_the_sizes_that_were_known(kept):
    asked, go_on = [], threading.Event()

    def measure(*given):
        asked.append(given[:2])
        given[2](1, 2)
        go_on.wait(60)

    picker = ProfilePicker(measure)
    picker.offer(kept)
    picker.measure_button.click()
    assert picker.running
    assert picker.measure_button.disabled
    picker.measure()
    go_on.set()
    wait(picker)

    assert asked == [(kept, [1, 4])]
    assert not picker.measure_button.disabled


def test_a_failure_is_told_and_leaves_the_button(model):
    def measure(*_):
        raise InvocationError("no answer")

    picker = ProfilePicker(measure)
    picker.offer(model)
    picker.measure()
    wait(picker)

    assert picker.status.text == "no answer"
    assert not picker.measure_button.disabled


def test_nothing_is_decided_while_service_times_are_measured(registry, monkeypatch):
    told = []
    for name in ("offer", "withdraw"):
        monkeypatch.setattr(DecisionView, name, lambda _, what, *__, **___: told.append(what))
    app = App(registry)
    app.decide()

    app.profile.set_trait("running", True)
    app.profile.set_trait("running", False)

    assert [getattr(each, "name", each) for each in told] == [
        "digits-mlp-wide:1",
        "How long batches take is being measured: plan when that has ended.",
        "digits-mlp-wide:1",
    ]
