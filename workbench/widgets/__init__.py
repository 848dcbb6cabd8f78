"""Controls for notebooks: each holds a value of the package and calls functions given to it."""

from workbench.widgets.app_entry import app
from workbench.widgets.app_view import App
from workbench.widgets.chart_view import ChartView, chart_grid
from workbench.widgets.decision_view import DecisionView
from workbench.widgets.deployment_picker import DeploymentPicker
from workbench.widgets.live_progress import LiveProgress
from workbench.widgets.monitor_view import MonitorView, Observation, observe
from workbench.widgets.notebook import frontend
from workbench.widgets.pickers import ModelPicker, Picker, SLOPicker
from workbench.widgets.plan_view import PlanView
from workbench.widgets.policy_picker import PolicyPicker
from workbench.widgets.registry_view import RegistryView
from workbench.widgets.results import Results
from workbench.widgets.router_picker import RouterPicker
from workbench.widgets.run_panel import RunPanel
from workbench.widgets.saved_runs import RunsView
from workbench.widgets.scaling_picker import ScalingPicker
from workbench.widgets.selection_view import SelectionView
from workbench.widgets.simulation_picker import SimulationPicker
from workbench.widgets.traffic_picker import TrafficPicker
from workbench.widgets.whatif import WhatIf

__all__ = [
    "App",
    "ChartView",
    "DecisionView",
    "DeploymentPicker",
    "LiveProgress",
    "ModelPicker",
    "MonitorView",
    "Observation",
    "Picker",
    "PlanView",
    "PolicyPicker",
    "RegistryView",
    "Results",
    "RouterPicker",
    "RunPanel",
    "RunsView",
    "SLOPicker",
    "ScalingPicker",
    "SelectionView",
    "SimulationPicker",
    "TrafficPicker",
    "WhatIf",
    "app",
    "chart_grid",
    "frontend",
    "observe",
]
