"""Runs that are kept on disk, listed and shown again, without a browser."""

import os

import numpy as np
import pytest

from tests.refused import unnamed
from workbench.run import Run
from workbench.widgets import App, RunsView, saved_runs


def made_run(**facts):
    """A run that did not happen."""
    scheduled = np.arange(400) / 100
    return Run.from_arrays(
        scheduled=scheduled, finished=scheduled + 0.004, origin="simulated", facts=facts
    )


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Where runs are kept: three of them, the last one damaged."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    folder = tmp_path / "runs"
    for name, facts in {
        "one": {"label": "mlp:1, local", "created": "2026-11-27T01:02:03+00:00"},
        "two": {"label": "mlp:2, local", "complete": False},
        "three": {},
    }.items():
        path = folder / name
        made_run(**facts, kept=str(path)).save(path)
        made_at = 1000 + len(list(folder.iterdir()))
        os.utime(path / "facts.json", (made_at, made_at))
    (folder / "three" / "facts.json").write_text("no facts")
    os.utime(folder / "three" / "facts.json", (2000, 2000))
    return folder


def test_the_latest_comes_first_and_says_what_it_is(runs):
    view = RunsView(print)

    assert [label for label, _ in view.list.options] == [
        "three: damaged",
        "mlp:2, local · simulated · not complete",
        "2026-11-27 01:02 · mlp:1, local · simulated",
    ]
    assert view.status.text.startswith(f"3 in {runs}")


def test_a_run_is_shown_at_a_press_and_a_damaged_one_is_refused(runs):
    taken = []
    view = RunsView(taken.append)
    view.show_button.click()

    assert str(runs / "three") in view.error
    assert (taken, view.value, view.status.wrong) == ([], None, True)

    view.list.value = runs / "one"
    view.show_button.click()

    assert (view.error, view.status.wrong) == ("", False)
    assert taken == [view.value]
    assert view.value.frame.equals(made_run().frame)


def test_what_is_deleted_or_new_meanwhile_is_seen_at_a_refresh(runs):
    view = RunsView(print)
    view.list.value = runs / "two"
    made_run().save(runs / "four")
    view.refresh_button.click()

    assert len(view.list.options) == 4
    assert view.list.value == runs / "two"

    for each in ("rows.parquet", "facts.json"):
        (runs / "two" / each).unlink()
    view.show()
    assert not unnamed(view.error, runs / "two")
    view.refresh()
    assert runs / "two" not in [path for _, path in view.list.options]


def test_no_runs_and_too_many_are_said(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_runs, "_MAX_LISTED", 2)
    assert RunsView(print).status.text.startswith(f"The latest 2 of 3 in {runs}: workbench runs")

    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "nowhere"))
    view = RunsView(print)
    view.show()

    assert view.show_button.layout.display == view.list.layout.display == "none"
    assert view.status.text.startswith(f"No runs in {tmp_path / 'nowhere' / 'runs'} yet")


def test_the_app_shows_a_kept_run_once(runs, registry):
    app = App(registry)
    view = app.more["Runs"]
    view.list.value = runs / "one"
    for _ in range(2):
        view.show_button.click()

    assert [run.label for run in app.runs] == ["mlp:1, local"]
    app.results.delete(app.results.entries[0])
    app.results.erase_button.click()
    assert not (runs / "one").exists()
