"""Ready-made settings of the app, and what serving it refuses."""

import os
import socket
import subprocess
import sys

import pytest

from tests.refused import refused
from workbench.errors import InvalidInput, NotAvailable, NotFound
from workbench.widgets import app
from workbench.widgets.presets import PRESETS
from workbench.widgets.voila import _source, serve


@pytest.fixture
def frontend(monkeypatch):
    return lambda kind: monkeypatch.setenv("WORKBENCH_FRONTEND", kind)


@pytest.mark.parametrize("name", PRESETS)
def test_the_controls_begin_with_a_preset(name, registry, frontend):
    frontend("widgets")
    opened, preset = app(registry, preset=name), PRESETS[name]

    made = opened.experiment
    assert (made.deployment, made.policy, made.slo) == (
        preset.deployment,
        preset.policy,
        preset.slo,
    )
    assert made.trace.name == preset.trace.name
    assert opened.simulation.value.get("cold_start", 0.0) == preset.cold_start
    assert preset.question in opened.children[0].value
    opened.close()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_the_same_as_code_where_nobody_can_use_controls(name, registry, frontend):
    frontend("widgets")
    opened = app(registry, preset=name)
    frontend("static")

    made, found = app(registry, preset=name).code.split("\n)\n")
    assert made == opened.code.split("\n)\n")[0].replace("digits-mlp-wide:1", "digits-mlp-wide")
    assert ("simulate" in found) == bool(PRESETS[name].deployment.needs)
    opened.close()


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize("name", ["batching", "bursts", "limits", "spikes"])
def test_a_second_of_a_preset_is_run(name, registry, frontend):
    frontend("widgets")
    opened = app(registry, preset=name)
    opened.model.group.label = "digits-mlp-small"
    opened.traffic["duration"].value = 1.0

    opened.panel.start("run")
    run = opened.panel.wait()

    assert opened.panel.error == ""
    assert (run.complete, len(run)) == (True, len(opened.traffic.value))
    assert opened.results.value == (run,)
    opened.close()


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_simulated_whole(name, registry, frontend):
    frontend("widgets")
    opened, preset = app(registry, preset=name), PRESETS[name]
    opened.model.group.label = "digits-mlp-small"

    opened.panel.start("simulate")
    run = opened.panel.wait()

    assert opened.panel.error == ""
    assert run.record.trace.duration == preset.trace.duration
    if name == "cold-starts":
        assert 0.1 < run.frame["cold"].mean() < 0.9  # who waits, and who does not
    opened.close()


def test_presets_differ_in_what_they_ask():
    assert len({preset.question for preset in PRESETS.values()}) == len(PRESETS)


def test_an_unknown_preset_is_refused_with_those_there_are(registry):
    for open_it in (app, serve):
        with refused(NotFound, "'nope'", *PRESETS):
            open_it(registry, preset="nope")


def test_a_port_that_is_taken_is_said(registry):
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        refused(NotAvailable, "127.0.0.1", taken.getsockname()[1]),
    ):
        serve(registry, port=taken.getsockname()[1])


@pytest.mark.parametrize("port", [-1, 65536, "80"])
def test_what_is_no_port_is_refused(port, registry):
    with refused(InvalidInput, "port", repr(port)):
        serve(registry, port=port)


def test_a_missing_voila_is_named(registry, monkeypatch):
    monkeypatch.setitem(sys.modules, "voila", None)

    with pytest.raises(NotAvailable, match=r"pip install 'inference-workbench\[voila\]'"):
        serve(registry, port=0)


def test_a_visitor_has_no_credentials_of_who_serves(registry, tmp_path):
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id=a\naws_secret_access_key=b\n"
    )
    theirs = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }
    *before, _ = _source(registry, None).splitlines()
    ask = "import botocore.session; print(botocore.session.Session().get_credentials())"
    told = subprocess.run(
        [sys.executable, "-c", "\n".join([*before, ask])],
        env=os.environ | theirs,
        check=True,
        capture_output=True,
        text=True,
    )

    assert told.stdout == "None\n"
