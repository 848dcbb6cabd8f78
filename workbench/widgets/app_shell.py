"""The app's page: five fields, the rest folded, and tabs whose parts stand beside them."""

from collections.abc import Sequence
from pathlib import Path

import ipywidgets

from workbench.widgets.deployment_picker import DeploymentPicker
from workbench.widgets.folds import Fold
from workbench.widgets.lazy_tabs import LazyTabs
from workbench.widgets.notebook import Keyboard
from workbench.widgets.pickers import ModelPicker, Picker, SLOPicker
from workbench.widgets.traffic_picker import TrafficPicker

_LABEL_WIDTH = "72px"
_SECOND_LABEL_WIDTH = "78px"  # of the latency, beside its percentile

TABS = {
    "Decision": "Which inference type is the cheapest that meets the target.",
    "Runs": "Results side by side, and runs kept on this disk.",
    "What if": "Sliders that redraw a simulation while they move.",
    "Plan": "The whole search: the winner, near misses, and why they lost.",
    "Which model?": "Compare the approved models of this task.",
    "Monitor": "What a deployed endpoint reports.",
    "Registry": "Models, versions and approvals.",
}
"""The tabs, in order, with their help texts."""


class PageStyle(Keyboard):
    """The keyboard of the app's page, and where its boxes go by the width there is."""

    _css = Path(__file__).with_name("app_shell.css")


def lay_out(
    *,
    model: ModelPicker,
    traffic: TrafficPicker,
    slo: SLOPicker,
    deployment: DeploymentPicker,
    rest: Sequence[Picker],
    tabs: LazyTabs,
    below: ipywidgets.DOMWidget,
) -> list[ipywidgets.DOMWidget]:
    """Return the page: the tabs' row, then the fields, the chosen tab, and the rest in folds.

    The two share the row from 900 pixels on; below that they stand one under another.
    """
    fields = ipywidgets.VBox(
        [
            *(model.form.lift("group"), traffic.form.lift("kind"), traffic.form.lift("rate")),
            ipywidgets.HBox([slo.form.lift("quantile"), slo.form.lift("latency")]),
            deployment.lift_kind(),
        ]
    )
    controls = (model.group, traffic["kind"], traffic["rate"], deployment.kind)
    for control in (*controls, *slo.form.controls.values()):
        control.style.description_width = _LABEL_WIDTH
    slo["latency"].style.description_width = _SECOND_LABEL_WIDTH
    folds = ipywidgets.VBox([Fold(each) for each in (model, traffic, deployment, *rest)])
    shown = ipywidgets.VBox([tabs, below])
    body = ipywidgets.Box([fields, shown, folds])
    for box, name in ((fields, "fields"), (shown, "shown"), (folds, "folds"), (body, "body")):
        box.add_class(f"wb-{name}")
    return [tabs.bar, body, PageStyle()]
