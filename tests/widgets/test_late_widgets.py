"""Late widgets: the page learns of them when something there refers to them."""

import ipywidgets
import pytest

from workbench.batching.timer import BatchPolicy
from workbench.widgets import PolicyPicker
from workbench.widgets.form import number
from workbench.widgets.late_widgets import LateBox


def test_a_control_holds_its_value_and_tells_it_before_the_page_knows_it():
    control, told = number("Rate", 3.0), []
    control.observe(lambda change: told.append(change["new"]), "value")
    control.value = 4.0

    assert (told, control.comm) == ([4.0], None)


def test_a_control_reaches_the_page_as_it_is_by_then():
    control = number("Rate", 3.0)
    control.value = 4.0
    box = ipywidgets.VBox([control])

    assert box.get_state("children")["children"] == [f"IPY_MODEL_{control.comm.comm_id}"]
    assert control.get_state("value") == {"value": 4.0}
    assert (control.style.description_width, control.layout.width) == ("124px", "auto")


def test_what_stands_in_a_late_box_waits_with_it():
    inner = number("Rate", 3.0)
    box = LateBox([inner])
    assert inner.comm is None

    assert box.model_id
    assert inner.comm is not None


@pytest.mark.parametrize("make", [PolicyPicker, lambda: number("Rate", 3.0)])
def test_a_cell_that_shows_one_has_it(make):
    shown = make()
    bundle = shown._repr_mimebundle_()

    view = bundle["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == shown.comm.comm_id


def test_a_picker_is_used_without_any_page():
    picker = PolicyPicker()
    picker["kind"].value, picker["max_size"].value = "timed", 4

    assert picker.value == BatchPolicy(max_size=4, max_wait=0.025)
    assert picker.comm is picker["max_size"].comm is None
