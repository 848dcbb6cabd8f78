"""Controls for notebooks: each holds a value of the package and calls functions given to it."""

from workbench.widgets.notebook import frontend
from workbench.widgets.panel import App, app
from workbench.widgets.pickers import (
    DeploymentPicker,
    ModelPicker,
    Picker,
    PolicyPicker,
    SLOPicker,
    TrafficPicker,
)
from workbench.widgets.results import Results
from workbench.widgets.running import Live, RunPanel

__all__ = [
    "App",
    "DeploymentPicker",
    "Live",
    "ModelPicker",
    "Picker",
    "PolicyPicker",
    "Results",
    "RunPanel",
    "SLOPicker",
    "TrafficPicker",
    "app",
    "frontend",
]
