"""The app: pickers, ways to know, and what came out."""

import html
from functools import cached_property
from typing import TYPE_CHECKING, Any

import ipywidgets

from workbench.batching.timer import BatchPolicy
from workbench.cloud.aws import Cloud, aws
from workbench.deployment.base import Deployment
from workbench.deployment.hybrid import Hybrid
from workbench.errors import InvalidInput, WorkbenchError
from workbench.experiment import Experiment
from workbench.planner.candidates import Configuration
from workbench.planner.options import Options
from workbench.pricing.cost import total
from workbench.registry.api import Registry
from workbench.registry.model import Model
from workbench.scaling.base import ScalingPolicy
from workbench.units import HOUR
from workbench.widgets.app_shell import TABS, lay_out
from workbench.widgets.code import code_of, decision_code, parts_code
from workbench.widgets.deployment_picker import DeploymentPicker
from workbench.widgets.form import keep_in_order, show
from workbench.widgets.lazy_tabs import LazyTabs
from workbench.widgets.pickers import ModelPicker, Picker, SLOPicker
from workbench.widgets.policy_picker import PolicyPicker
from workbench.widgets.presets import DEFAULT_GROUP, Preset
from workbench.widgets.profile_picker import ProfilePicker
from workbench.widgets.router_picker import RouterPicker
from workbench.widgets.run_panel import RunPanel
from workbench.widgets.run_works import describe_length, find_obstacles, works
from workbench.widgets.saved_output import SavedOutput
from workbench.widgets.saved_runs import RunsView
from workbench.widgets.scaling_picker import ScalingPicker
from workbench.widgets.simulation_picker import SimulationPicker
from workbench.widgets.target_picker import OnAWS, TargetPicker, ThisMachine
from workbench.widgets.traffic_picker import TrafficPicker
from workbench.widgets.whatif import WhatIf

if TYPE_CHECKING:
    from workbench.cloud.deploy import DeployedModel
    from workbench.planner.plans import Candidate
    from workbench.run import Run
    from workbench.scaling.capacity import InstanceCapacity
    from workbench.selection.selections import Selection
    from workbench.widgets.monitor_view import MonitorView
    from workbench.widgets.plan_view import PlanView
    from workbench.widgets.registry_view import RegistryView
    from workbench.widgets.results import Results
    from workbench.widgets.selection_view import SelectionView

_WAIT_TIMEOUT = 3.0  # seconds for a reading that is under way


class App(SavedOutput, ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Pickers of an experiment's parts, a panel that finds out, and results.

    The parts are there by name and can be set in code: `model`, `deployment`, `traffic`, `policy`,
    `slo`, `simulation` and `target` are pickers (`app.policy["max_size"].value = 4`), `panel` and
    `results` the rest; `more["Registry"]` and the like are made when they are asked for. The
    sliders of `more["What if"]` leave the pickers as they are.

    `where` is the code that makes the registry, `preset` what the controls begin with.
    """

    def __init__(
        self, registry: Registry, where: str = "wb.Registry()", preset: Preset | None = None
    ) -> None:
        from workbench.widgets.decision_view import DecisionView

        preset = preset or Preset(question="")
        self._registry_code = where
        self._begun_code = ""  # of what the panel is at
        self._deployed: DeployedModel | None = None  # the latest
        self.model = ModelPicker(registry, DEFAULT_GROUP)
        self.profile = ProfilePicker()
        self.deployment = DeploymentPicker(_base_of(preset.deployment))
        self.scaling = ScalingPicker(find=self._find_capacity, time_call=self._time_call)
        self.scaling.set(preset.deployment, preset.scaling)
        self.traffic = TrafficPicker(preset.kind, **preset.settings)
        self.policy = PolicyPicker(preset.policy)
        self.slo = SLOPicker(preset.slo)
        self.simulation = SimulationPicker(preset.cold_start, preset.boot)
        self.router = RouterPicker()
        self._registry = registry
        self.target = TargetPicker()
        self.panel = RunPanel()
        self._is_shown = False
        self.decision = DecisionView(on_apply=self._apply_decision)
        self.more = self._make_tabs()
        self._code = ipywidgets.HTML()
        about = "Python that does the same as these controls."
        toggle = ipywidgets.ToggleButton(description="Show code", tooltip=about)
        self.code_button = keep_in_order(toggle)
        self._parts = (
            *(self.model, self.deployment, self.scaling, self.traffic),
            *(self.policy, self.slo, self.simulation, self.router),
        )
        self._follow_controls()
        question = [ipywidgets.HTML(html.escape(preset.question))] if preset.question else []
        rest = self.profile, self.policy, self.scaling, self.simulation, self.router, self.target
        page = lay_out(
            model=self.model,
            traffic=self.traffic,
            slo=self.slo,
            deployment=self.deployment,
            rest=rest,
            tabs=self.more,
            below=ipywidgets.VBox([self.code_button, self._code]),
        )
        super().__init__([*question, *page])
        self.add_class("wb")
        self.add_class("wb-app")
        self._update_panel()
        self._show_code()

    def _make_tabs(self) -> LazyTabs:
        """Return the tabs, of whose parts the decision alone is made at once."""
        makes = (
            *(lambda: self.decision, self._show_runs, WhatIf, self._show_plan),
            *(self._show_selection, self._show_monitor, self._show_registry),
        )
        with_runs = [(self.panel, ("Decision", "Runs", "Monitor"))]
        return LazyTabs(dict(zip(TABS, makes, strict=True)), TABS, with_runs)

    def _follow_controls(self) -> None:
        """Have each part learn of the changes that concern it."""
        self._offer_models()
        self.model.observe(self._offer_models, "value")
        self.profile.observe(self._update_after_run, "running")
        for part in (self.model, self.decision):  # a first reading waits for the first picture
            part.observe(lambda _: self.profile.offer(self.model.value), "value")
        self._offer_scaling()
        for part in (self.deployment, self.traffic):
            part.observe(self._offer_scaling, "value")
        for part in (*self._parts, self.target):
            part.observe(self._update_panel, ["value", "error"])
        for part in self._parts:
            part.observe(self._update_sliders, ["value", "error"])
        self.code_button.observe(self._show_code, "value")
        for update in (self._show_code, self._update_sliders, self._update_decision):
            self.more.observe(update, "selected")
        self.panel.observe(self._take_result, "value")
        self.panel.observe(self._update_panel, "way")
        self.panel.observe(self._update_after_run, "running")
        self.decision.observe(self._save_views, "kept")

    @property
    def experiment(self) -> Experiment:
        """The experiment that the controls make.

        Raises:
            InvalidInput: Some of them make no value.
        """
        if wrong := [f"{part.title}: {part.error}" for part in self._parts if part.error]:
            raise InvalidInput(" ".join(wrong))
        deployment = self.scaling.value.on(self.deployment.value)
        parts = self.model.value, deployment, self.policy.value
        if self.router.value.router is None:
            model, deployment, policy = parts
            return Experiment(model, deployment, self.traffic.value, policy, self.slo.value)
        ensemble = self.router.value.ensemble(*parts)
        return Experiment(ensemble, trace=self.traffic.value, slo=self.slo.value)

    @cached_property
    def results(self) -> "Results":
        """The results side by side, made when they are first asked for."""
        from workbench.widgets.results import Results

        made = Results()
        made.observe(self._save_views, "kept")
        first: Results = self.__dict__.setdefault("results", made)  # a thread may have been faster
        return first

    @property
    def runs(self) -> "tuple[Run, ...]":
        """The runs in the results, the latest last."""
        return tuple(self.results.runs)

    @property
    def way(self) -> str:
        """The way that the code takes: the latest one."""
        return str(self.panel.way)

    @property
    def code(self) -> str:
        """The lines that do what the controls say, and find out as the latest press did."""
        made = self.experiment
        return code_of(
            *parts_code(made, self._registry_code, self.traffic.code),
            way=self.way,
            settings=self._settings_of(self.way),
            target=self.target.value or ThisMachine(),
        )

    @property
    def decision_code(self) -> str:
        """The lines that find the answer for what the controls hold, and draw it."""
        made = self.experiment
        model = f'{self._registry_code}["{self.model.value.name}"]'
        today = self.deployment.value, self.policy.value
        return decision_code(model, self.traffic.code, made.slo, today, self.decision.code)

    def _settings_of(self, way: str) -> dict[str, Any]:
        """Return the arguments of a way that follow from the controls, besides the experiment."""
        assumed = self.simulation.value if way == "simulate" else {}
        return assumed | (self.scaling.value.settings if way in ("simulate", "run") else {})

    def decide(self) -> None:
        """Find the answer for what the controls hold, from now on whenever they change.

        What shows the app calls this; one that nobody sees computes nothing.
        """
        self._is_shown = True
        self._update_decision()

    def _repr_mimebundle_(self, **asked: Any) -> Any:  # noqa: ANN401 - of ipywidgets
        self.decide()
        return super()._repr_mimebundle_(**asked)

    def refresh(self) -> None:
        """Read the registry again."""
        self.model.refresh()
        self._offer_models()

    def _offer_models(self, _change: object = None) -> None:
        """Have the router's list hold the other models of the chosen one's task."""
        models = [] if self.model.value is None else self._registry.models()
        self.router.offer(self.model.value, models)

    def _offer_scaling(self, _change: object = None) -> None:
        """Have the scaling be of the fleet that is chosen; nothing scales anything else."""
        self.scaling.offer(self.deployment.value, self.traffic.value)

    def _find_capacity(self) -> "InstanceCapacity":
        from workbench.planner.instance_capacity import find_capacity

        if self._is_measuring():
            raise InvalidInput("A run is under way, which measuring would disturb: wait for it.")
        batches = self.policy.value if isinstance(self.policy.value, BatchPolicy) else None
        chosen = self.model.value, self.deployment.value, self.slo.value
        return find_capacity(*chosen, policy=batches)

    def _time_call(self, function: Deployment) -> float:
        """Return the seconds that a function takes for a request, in full batches."""
        experiment = self.experiment.on(function)
        size = getattr(experiment.policy, "max_size", 1)
        return float(experiment.service(experiment.ensure_profile()).means[size]) / size

    def _update_panel(self, _change: object = None) -> None:
        """Give the panel the experiment that the controls make now, or say why there is none."""
        if self.traffic.value is not None:
            self.deployment.rate = self.traffic.value.rate
        self._update_searches()
        try:
            experiment = self.experiment
        except InvalidInput as error:
            self.panel.offer({}, str(error))
            self._show_code()
            return
        self.target.cloud = bool(experiment.deployment.needs)
        offered = works(
            experiment,
            self.target.value,
            self._set_deployed,
            self._refresh_monitor,
            scaling=self.scaling.value.policy,
            **self.simulation.value,
        )
        try:
            terms, reason = self._terms(experiment), ""
        except WorkbenchError as error:
            del offered["run"]
            terms, reason = "", f"Run is not possible: {error}"
        self.panel.offer(
            offered,
            reason,
            terms={"run": terms} if terms else {},
            obstacles=find_obstacles(experiment),
        )
        self._show_code()

    def _terms(self, experiment: Experiment) -> str:
        """Return what a run would cost, "" for nothing, or raise why there can be none."""
        if self.target.value is None:
            raise InvalidInput(self.target.error)
        length = describe_length(experiment.here.trace.duration)
        terms = self.target.value.terms(experiment, self.scaling.value.policy)
        return f"{length} {terms}".strip()

    def _save_views(self, _change: object = None) -> None:
        """Leave in the notebook what results, plan and monitor show."""
        views = [
            *(self.decision, vars(self).get("results")),
            *(self.more.parts.get(each) for each in ("Plan", "Which model?", "Monitor")),
        ]
        self.keep("".join(view.kept for view in views if view is not None))

    def _show_plan(self) -> "PlanView":
        from workbench.widgets.plan_view import PlanView

        view = PlanView(on_apply=lambda plan: self._apply_decision(plan.best))
        view.observe(self._save_views, "kept")
        self._update_search(view)
        return view

    def _show_runs(self) -> RunsView:
        return RunsView(self._show_saved_run, above=(self.results,))

    def _take_result(self, change: dict[str, Any]) -> None:
        """Have the results hold what came out, and the monitor show its seconds."""
        self.results.add(change["new"], self._begun_code)
        if "Runs" in self.more.parts:
            self.more["Runs"].refresh()
        if "Monitor" in self.more.parts:
            self._show_seconds(self.more["Monitor"])

    def _show_seconds(self, view: "MonitorView") -> None:
        measured = [run for run in self.runs if run.origin.startswith("measured")]
        if self._deployed is not None and measured:
            view.show_run(measured[-1])

    def _show_monitor(self) -> "MonitorView":
        from workbench.widgets.monitor_view import MonitorView

        view = MonitorView(self._cloud)
        self._show_seconds(view)
        view.observe(self._save_views, "kept")
        if self._deployed is not None:
            view.offer(self._deployed)
        return view

    def _set_deployed(self, deployed: "DeployedModel") -> None:
        """Have the monitor read of the endpoint of a run."""
        if not deployed.is_endpoint:  # a function is no endpoint
            return
        self._deployed = deployed
        if "Monitor" in self.more.parts:
            self.more["Monitor"].offer(deployed)

    def _refresh_monitor(self) -> None:
        """Have the monitor read of a run that is over, before its cloud goes."""
        if self._deployed is not None:
            view = self.more["Monitor"]  # made now: whoever opens the tab later finds no cloud
            view.offer(self._deployed)
            view.wait(_WAIT_TIMEOUT)
            view.refresh()
            view.wait()

    def _cloud(self) -> Cloud:
        """Return where endpoints are of which no run here is known: the target's AWS."""
        target = self.target.value
        return target.cloud if isinstance(target, OnAWS) else aws()

    def _update_searches(self) -> None:
        """Have all that searches do so for what the controls hold, or say why it cannot."""
        self._update_decision()
        for name in {"Plan", "Which model?"} & self.more.parts.keys():
            self._update_search(self.more[name])

    def _update_decision(self, _change: object = None) -> None:
        if not self._is_shown or self.more.selected != "Decision":
            return
        asked = self.model, self.traffic, self.slo, self.simulation
        if reason := self._search_obstacle(*asked, self.deployment, self.policy):
            self.decision.withdraw(reason)
            self.profile.offer(self.model.value)
            return
        today = self.deployment.value, self.policy.value
        source = self.model.value, self.traffic.value, self.slo.value
        self.decision.offer(*source, self._options(), today=today)

    def _update_search(self, view: "PlanView | SelectionView") -> None:
        if reason := self._search_obstacle(self.model, self.traffic, self.slo, self.simulation):
            view.withdraw(reason)
            return
        model = self.model.value
        asked = model if view.kind == "plan" else model.traits.task
        view.offer(asked, self.traffic.value, self.slo.value, self._options())

    def _show_selection(self) -> "SelectionView":
        from workbench.widgets.selection_view import SelectionView

        view = SelectionView(self._registry, on_apply=self._apply_selection)
        view.observe(self._save_views, "kept")
        self._update_search(view)
        return view

    def _search_obstacle(self, *asked: Picker) -> str:
        """Return why nothing can be searched for now, "" where it can."""
        if self._is_measuring():
            return "A run is under way, which planning would disturb: plan when it has ended."
        if self.profile.running:
            return "How long batches take is being measured: plan when that has ended."
        return " ".join(f"{part.title}: {part.error}" for part in asked if part.error)

    def _options(self) -> Options:
        own = self.deployment.value
        deployments = [own] if _is_priced_machine(own) else []
        return Options(**self.simulation.value, deployments=deployments)

    def _apply_selection(self, found: "Selection") -> None:
        """Have the pickers hold the model that is first, and where and how it runs."""
        chosen = found.experiment
        if isinstance(chosen.model, Model):  # the candidates of the app are single models
            self.model.group.label = chosen.model.group
        self._deploy(chosen.deployment, None)
        self.policy.set(chosen.policy)

    def _apply_decision(self, chosen: "Configuration | Candidate") -> None:
        self._deploy(chosen.deployment, chosen.scaling)
        self.policy.set(chosen.policy)

    def _deploy(self, deployment: Deployment, scaling: ScalingPolicy | None) -> None:
        self.deployment.set(_base_of(deployment))
        self.scaling.set(deployment, scaling)

    def _show_saved_run(self, run: "Run") -> None:
        """Show a kept run, unless it is among the results."""
        if run.record.kept not in [each.record.kept or "" for each in self.runs]:
            self.results.add(run)

    def _show_registry(self) -> "RegistryView":
        from workbench.widgets.registry_view import RegistryView

        chosen = self.model.value
        view = RegistryView(self._registry, chosen.group if chosen else "")
        view.observe(lambda _: self.model.refresh(), "value")
        return view

    def _show_code(self, _change: object = None) -> None:
        """Show the lines of what is on the page, where they are asked for and there are any."""
        show(self._code, shown=self.code_button.value)
        try:
            code = self.decision_code if self.more.selected == "Decision" else self.code
        except InvalidInput:
            code = ""
        self._code.value = f"<pre>{html.escape(code)}</pre>" if code else ""

    def _update_sliders(self, _change: object = None) -> None:
        if self.more.selected != "What if":
            return
        sliders = self.more["What if"]
        if self.router.value is not None and self.router.value.router is not None:
            sliders.clear("Sliders are for one model: take the others out of the router's list.")
            return
        try:
            experiment = self.experiment
            if len(experiment.deployment.simple_parts) > 1:
                sliders.clear("Sliders are for one deployment: simulate a hybrid.")
                return
            settings = self._settings_of("simulate")
            sliders.prepare(experiment, busy=self._is_measuring, **settings)
        except InvalidInput as error:
            sliders.clear(str(error))

    def _is_measuring(self) -> bool:
        return bool(self.panel.running and self.way == "run")

    def _update_after_run(self, _change: object = None) -> None:
        """Have the sliders measure, and plan, what a run that is under way keeps from that."""
        self._update_searches()
        if self.panel.running:
            self._begun_code = self.code
        if self.panel.running and self.more.selected == "Decision":
            self.more.select("Runs")
        if self.more.selected == "What if" and self.more["What if"].value is None:
            self._update_sliders()


def _base_of(deployment: Deployment) -> Deployment:
    """Return the fleet of a hybrid, or the deployment itself."""
    return deployment.base if isinstance(deployment, Hybrid) else deployment


def _is_priced_machine(deployment: Deployment) -> bool:
    """Return whether it is a machine of the user's own that costs something; a plan may take it."""
    return not deployment.needs and total(deployment.bill(deployment.idle_usage(HOUR))) > 0
