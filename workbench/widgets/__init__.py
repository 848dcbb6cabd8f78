"""Controls for notebooks: each holds a value of the package and calls functions given to it."""

from workbench.widgets.batching import PolicyPicker
from workbench.widgets.deploying import DeploymentPicker
from workbench.widgets.monitoring import MonitorView, Observation, observe
from workbench.widgets.notebook import frontend
from workbench.widgets.panel import App, SimulationPicker, app
from workbench.widgets.pickers import ModelPicker, Picker, SLOPicker
from workbench.widgets.planning import PlanView
from workbench.widgets.recalling import RunsView
from workbench.widgets.registering import RegistryView
from workbench.widgets.results import Results
from workbench.widgets.running import Live, RunPanel
from workbench.widgets.traffic import TrafficPicker
from workbench.widgets.whatif import WhatIf

__all__ = [
    "App",
    "DeploymentPicker",
    "Live",
    "ModelPicker",
    "MonitorView",
    "Observation",
    "Picker",
    "PlanView",
    "PolicyPicker",
    "RegistryView",
    "Results",
    "RunPanel",
    "RunsView",
    "SLOPicker",
    "SimulationPicker",
    "TrafficPicker",
    "WhatIf",
    "app",
    "frontend",
    "observe",
]
