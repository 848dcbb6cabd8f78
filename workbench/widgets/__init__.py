"""Controls for notebooks: each holds a value of the package and calls functions given to it."""

from workbench.contents import resolve_late

__getattr__, __dir__, __all__ = resolve_late(
    __name__,
    {
        "app_entry": ["app"],
        "app_view": ["App"],
        "chart_view": ["ChartView", "chart_grid"],
        "decision_view": ["DecisionView"],
        "deployment_picker": ["DeploymentPicker"],
        "live_progress": ["LiveProgress"],
        "monitor_view": ["MonitorView", "Observation", "observe"],
        "notebook": ["frontend"],
        "pickers": ["ModelPicker", "Picker", "SLOPicker"],
        "plan_view": ["PlanView"],
        "policy_picker": ["PolicyPicker"],
        "registry_view": ["RegistryView"],
        "results": ["Results"],
        "router_picker": ["RouterPicker"],
        "run_panel": ["RunPanel"],
        "saved_runs": ["RunsView"],
        "scaling_picker": ["ScalingPicker"],
        "selection_view": ["SelectionView"],
        "simulation_picker": ["SimulationPicker"],
        "traffic_picker": ["TrafficPicker"],
        "whatif": ["WhatIf"],
    },
)
