"""What versions of a group show, and their pictures: the numbers are the registry's own."""

import shutil

import numpy as np
import pytest

from tests.refused import refused
from workbench import findings
from workbench.errors import InvalidInput
from workbench.measuring.outcomes import Accuracy
from workbench.plots import event_times, plot_accuracies, plot_timeline
from workbench.registry.api import Registry
from workbench.registry.model import Samples
from workbench.run import Run

FACTS = {"places": ("g:1", "g:3"), "slo": {"latency": 0.1, "quantile": 0.9}}


@pytest.fixture
def group(tmp_path, registry):
    """A registry whose group "g" has two models of digits, registered with the same rows."""
    mine = Registry(tmp_path / "mine")
    pool = registry["digits-logistic"].samples()
    for name in ("digits-mlp-small", "digits-mlp-large"):
        mine.register("g", registry[name].path, samples=pool)
    return mine


def test_versions_count_from_1_and_give_no_model_before_an_approval(group):
    assert findings.list_versions(group, "g").holds
    group.approve("g", 2, why="better")
    found = findings.list_versions(group, "g")

    assert found.holds is False
    assert "is g:2" in str(found)


def test_a_registry_that_gives_what_nobody_approved_is_found_out(group, monkeypatch):
    monkeypatch.setattr(type(group), "__getitem__", lambda self, name: self.versions(name)[0])
    found = findings.list_versions(group, "g")

    assert found.holds is False
    assert "is g:1" in str(found)


def test_a_version_is_better_by_the_rows_that_one_of_the_two_alone_has_right(group):
    old, new = group.versions("g")
    pool = old.samples()
    right = [each.labels(each.session().run(pool.inputs)) == pool.targets for each in (old, new)]
    found = findings.compare_versions(old, new)

    assert f"right on {(right[1] & ~right[0]).sum()} that g:1 misses" in str(found)
    assert f"misses {(right[0] & ~right[1]).sum()} that it has" in str(found)


def test_a_version_is_no_better_than_itself(group):
    (old, _) = group.versions("g")
    assert findings.compare_versions(old, old).holds is None


def test_versions_of_other_rows_are_not_compared(group, registry):
    (old, _) = group.versions("g")
    pool = old.samples()
    fewer = Samples(pool.inputs[:100], pool.targets[:100])
    other = group.register("other", old.path, samples=fewer)

    with refused(InvalidInput, "g:1", "other:1"):
        findings.compare_versions(old, other)


def canary(late, count=40):
    """A run of which every other request goes to a version that answers so late."""
    place = np.arange(count) % 2
    due = np.arange(count, dtype=float)
    taken = np.where(place == 1, late, 0.02)
    right = np.where(place == 1, 1.0, 0.5)
    return Run.from_arrays(
        scheduled=due, finished=due + taken, place=place, correct=right, facts=FACTS
    )


@pytest.mark.parametrize(("late", "holds"), [(0.3, True), (0.05, False)])
def test_a_canary_is_late_where_more_than_the_allowed_share_is(late, holds):
    found = findings.judge_canary(canary(late), "g:3")

    assert found.holds is holds
    assert f"g:3 got 50 % of the requests: {'100' if holds else '0'} % late" in str(found)


def test_few_requests_tell_nothing_of_a_canary():
    assert findings.judge_canary(canary(0.3, count=20), "g:3").holds is None


def test_a_canary_is_one_of_two():
    with refused(InvalidInput, "g:2", "('g:1', 'g:3')"):
        findings.judge_canary(canary(0.3), "g:2")


def test_decisions_are_followed_in_order_of_time(group):
    group.approve("g", 1, why="first")
    group.approve("g", 2, why="better")
    group.reject("g", 2, why="slow")
    found = findings.follow_decisions(group, "g")
    assert found.holds
    assert "none, version 1, version 2, version 1; 3 decisions" in str(found)

    group.approve("g", 2)
    assert findings.follow_decisions(group, "g").holds is False


def test_a_copy_has_the_files_and_the_approval(group, tmp_path):
    other = Registry(shutil.copytree(group.path, tmp_path / "other"))
    assert findings.check_copies(group, other, ["g"]).holds

    group.approve("g", 2, why="better")
    found = findings.check_copies(group, other, ["g"])
    assert found.holds is False
    assert "g:2" in str(found)


def test_accuracies_are_drawn_with_their_intervals():
    figure = plot_accuracies({"g:1": Accuracy.of(90, 100), "g:2": Accuracy.of(50, 100)})

    assert figure.data["share"].to_list() == [0.9, 0.5]
    assert "g:1: 90.0 % (82.6 to 94.5 %)" in figure.description
    assert "<svg" in figure.svg()
    with pytest.raises(InvalidInput):
        plot_accuracies({})


def test_events_are_drawn_by_the_seconds_since_the_first():
    events = {
        "g:2": [("2026-11-29T13:00:04+01:00", "Approved")],
        "g:1": [("2026-11-29T12:00:01+00:00", "Rejected")],
    }

    assert event_times(events).drop("time").rows() == [
        (0, "g:1", "Rejected"),
        (3, "g:2", "Approved"),
    ]
    assert "3 s, g:2: Approved" in plot_timeline(events).description
    for bad in ({}, {"g": [("noon", "x")]}):
        with pytest.raises(InvalidInput):
            plot_timeline(bad)
