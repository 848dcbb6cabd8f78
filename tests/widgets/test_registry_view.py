"""The registry with buttons, without a browser: what is pressed is in the registry."""

import re
import sqlite3
from contextlib import closing

import pytest

from tests.refused import unnamed
from workbench.registry.api import Registry
from workbench.widgets import App, RegistryView


@pytest.fixture
def shelf(tmp_path, registry):
    """A registry of one pending version."""
    own = Registry(tmp_path / "own", timeout=0.0)
    own.register("digits", registry["digits-logistic"].path)
    return own


@pytest.fixture
def folder(tmp_path, registry):
    """A folder with a file that is a model and one that is not."""
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "model.onnx").write_bytes(registry["digits-logistic"].path.read_bytes())
    return tmp_path


def beside(view, name):
    """What is said beside a control."""
    (line,) = [knobs._lines[name] for knobs in (view.decision, view.new) if name in knobs._lines]
    return re.sub("<[^>]*>", "", line.value)


def test_the_value_is_the_version_that_is_selected(registry):
    view = RegistryView(registry, "digits-forest")

    assert view.value == registry["digits-forest"]
    assert view.status.text.startswith("digits-forest:1 is approved: ")

    view["group"].value = "diabetes-ridge"

    assert view.value == registry["diabetes-ridge"]


def test_traits_of_the_users_own_are_shown(tmp_path, registry):
    own = Registry(tmp_path)
    own.register("digits", registry["digits-logistic"].path, traits={"licence": "MIT <1.0>"})

    assert "licence: MIT <1.0>" in RegistryView(own, "digits").status.text


def test_a_version_is_rejected_with_a_reason_alone_and_then_approved(shelf):
    view = RegistryView(shelf)
    view.buttons["Reject"].click()

    assert beside(view, "why") == view.error
    assert not unnamed(view.error, "rejection", "reason")
    assert shelf.version("digits", 1).approval == "PendingManualApproval"

    view["why"].value = "too slow <for us>"
    view.buttons["Reject"].click()

    assert (view.error, beside(view, "why"), view["why"].value) == ("", "", "")
    assert view.value.approval == "Rejected"
    assert "too slow &lt;for us&gt;" in view.history.value
    assert shelf.history("digits", 1)[-1].why == "too slow <for us>"

    view.buttons["Approve"].click()

    assert shelf["digits"].version == 1
    assert view.value == shelf["digits"]


def test_a_file_becomes_the_next_version_and_is_selected(shelf, registry):
    view = RegistryView(shelf)
    view["path"].value = str(registry["digits-logistic"].path)
    view["into"].value = "digits"
    view["task"].value = "digits"
    view.buttons["Register"].click()

    assert (view.value.name, view.value.traits.task) == ("digits:2", "digits")
    assert view.status.text.startswith("Registered. digits:2 is pending")

    view["version"].value = 1

    assert view.value.name == "digits:1"


@pytest.mark.parametrize(
    ("entered", "control", "named"),
    [
        (("", "digits"), "path", "ONNX file"),
        (("none.onnx", "digits"), "path", "none.onnx"),
        (("text.onnx", "digits"), "path", "text.onnx"),
        (("model.onnx", "-digits"), "into", "'-digits'"),
        (("model.onnx", ""), "into", "''"),
    ],
)
def test_what_cannot_be_registered_is_refused_beside_its_control(
    shelf, folder, entered, control, named
):
    path, group = entered
    view = RegistryView(shelf)
    view["path"].value = str(folder / path) if path else ""
    view["into"].value = group
    view.buttons["Register"].click()

    assert not unnamed(view.error, named)
    assert beside(view, control)
    assert len(shelf.versions("digits")) == 1


def test_an_empty_registry_says_the_way_out(tmp_path):
    view = RegistryView(Registry(tmp_path))

    assert view.value is None
    assert not unnamed(view.status.text, tmp_path)
    assert view.buttons["Approve"].disabled


def test_a_registry_that_another_process_holds_is_said_and_can_be_tried_again(shelf):
    view = RegistryView(shelf)
    with closing(sqlite3.connect(shelf.path / "registry.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        view.buttons["Approve"].click()

        assert "Another process is writing to the registry" in view.status.text
        assert view.status.wrong

    view.buttons["Approve"].click()

    assert (view.error, view.value.approval) == ("", "Approved")


def test_what_others_changed_is_there_after_a_refresh(shelf):
    view = RegistryView(shelf)
    shelf.approve("digits", 1, why="elsewhere")
    view.buttons["Refresh"].click()

    assert view.value.approval == "Approved"
    assert "elsewhere" in view.history.value


def test_what_is_approved_in_the_app_can_be_picked_there_at_once(shelf):
    shown = App(shelf)
    assert shown.model.value is None
    assert "Registry" not in shown.more.parts

    shown.more.buttons["Registry"].click()
    shown.more["Registry"].buttons["Approve"].click()

    assert shown.model.value == shelf["digits"]

    shelf.register("more", shelf["digits"].path)
    shelf.approve("more", 1, why="as good")
    shelf.reject("digits", 1, why="too slow")
    shown.more["Registry"].buttons["Refresh"].click()

    assert shown.model.value == shelf["more"]
    assert shown.model.status.text.startswith("digits has no approved version any more. Now more:1")

    shown.more.buttons["Runs"].click()

    assert shown.more["Registry"].layout.display == "none"
