"""The app: pickers, ways to know, and what came out."""

import html
from functools import partial
from typing import Any

import ipywidgets

from workbench.batching import BatchPolicy, Policy
from workbench.deployment import Deployment, Local
from workbench.errors import InvalidInput
from workbench.experiment import Experiment
from workbench.registry import Registry
from workbench.run import SLO, Run
from workbench.widgets.batching import PolicyPicker
from workbench.widgets.controls import show, text, whole
from workbench.widgets.deploying import DeploymentPicker
from workbench.widgets.notebook import frontend
from workbench.widgets.pickers import ModelPicker, Picker, SLOPicker
from workbench.widgets.results import Results
from workbench.widgets.running import Live, Result, RunPanel, Work
from workbench.widgets.traffic import TrafficPicker, draw_traffic
from workbench.widgets.whatif import WhatIf

_GROUP = "digits-mlp-wide"  # the ready-made model that batching helps most
_POLICY = BatchPolicy(max_size=8, max_wait=0.025)
_SLO = SLO(latency=0.1)


def app(registry: Registry | None = None) -> "App | StaticApp":
    """Return controls for an experiment; as a cell's last line they are shown.

    Everything they do is a line of code too: `code` gives those lines, `experiment` and `results`
    the values. Where nobody can use controls (papermill, nbconvert) it is a text that says so.

    Args:
        registry: Where the models are, by default `Registry()`, which has ready-made ones.
    """
    where = "wb.Registry()" if registry is None else f"wb.Registry({str(registry.path)!r})"
    if frontend() == "static":
        known = registry.groups() if registry else []
        return StaticApp(where, _GROUP if _GROUP in known or not known else known[0])
    return App(Registry() if registry is None else registry, where)


class SimulationPicker(Picker):
    """What a simulation takes for granted; `value` holds arguments of `Experiment.simulate`."""

    def __init__(self) -> None:
        controls = {
            "cold_start": text("Cold start (s)", placeholder="no time"),
            "seed": whole("Seed", 0),
        }
        super().__init__("Simulation", controls)

    def _make(self) -> dict[str, Any]:
        seed, entered = self["seed"].value, self["cold_start"].value.strip()
        if seed < 0:
            raise InvalidInput(f"seed must be a whole number of at least 0, got {seed}.")
        settings = {"seed": seed} if seed else {}
        return settings | ({"cold_start": _seconds(entered)} if entered else {})

    def _words(self, value: dict[str, Any]) -> str:
        if "cold_start" in value:
            return f"A new instance takes {value['cold_start']:g} s to start."
        return "New instances start in no time."


def _seconds(entered: str) -> float:
    try:
        seconds = float(entered)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise InvalidInput(f"cold_start must be seconds, 0 or more, or nothing, got {entered!r}.")
    return seconds


class App(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Pickers of an experiment's parts, a panel that finds out, and results.

    The parts are there by name and can be set in code: `model`, `deployment`, `traffic`, `policy`,
    `slo` and `simulation` are pickers (`app.policy["max_size"].value = 4`), `panel` and `results`
    the rest. `whatif` has sliders for the same experiment, which leave the pickers as they are.

    Args:
        registry: Where the models are.
        where: The code that makes the registry.
    """

    def __init__(self, registry: Registry, where: str = "wb.Registry()") -> None:
        self._where = where
        self.model = ModelPicker(registry, _GROUP)
        self.deployment = DeploymentPicker()
        self.traffic = TrafficPicker()
        self.policy = PolicyPicker(_POLICY)
        self.slo = SLOPicker(_SLO)
        self.simulation = SimulationPicker()
        self.panel = RunPanel()
        self.results = Results()
        self.whatif = WhatIf()
        self.whatif_button = ipywidgets.ToggleButton(description="What if")
        self.whatif_button.observe(self._show_whatif, "value")
        self._code = ipywidgets.HTML()
        self.code_button = ipywidgets.ToggleButton(description="Show code")
        self.code_button.observe(self._show_code, "value")
        self._parts = (
            *(self.model, self.deployment, self.traffic),
            *(self.policy, self.slo, self.simulation),
        )
        for part in self._parts:
            part.observe(self._changed, ["value", "error"])
            part.observe(self._show_whatif, ["value", "error"])
        self.panel.observe(lambda change: self.results.add(change["new"]), "value")
        self.panel.observe(self._changed, "way")
        super().__init__([*self._rows(), self._code, self.whatif, self.results])
        self.add_class("wb")
        self._changed()
        self._show_code()
        self._show_whatif()

    @property
    def experiment(self) -> Experiment:
        """The experiment that the controls make.

        Raises:
            InvalidInput: Some of them make no value.
        """
        if wrong := [f"{part.title}: {part.error}" for part in self._parts if part.error]:
            raise InvalidInput(" ".join(wrong))
        return Experiment(
            self.model.value,
            self.deployment.value,
            self.traffic.value,
            self.policy.value,
            self.slo.value,
        )

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs in the results, the latest last."""
        return tuple(self.results.runs)

    @property
    def way(self) -> str:
        """The way that the code takes: the latest one, or another where that one does not work."""
        latest = str(self.panel.way)
        return latest if latest != "run" or not self.deployment.value.needs else "simulate"

    @property
    def code(self) -> str:
        """The lines that do what the controls say, and find out as the latest press did."""
        made = self.experiment
        return code_of(
            f'{self._where}["{made.model.name}"]',
            *(repr(made.deployment), self.traffic.code, repr(made.policy), repr(made.slo)),
            way=self.way,
            settings=self.simulation.value if self.way == "simulate" else {},
        )

    def _rows(self) -> list[ipywidgets.DOMWidget]:
        """The pickers, in as many columns as there is room for, and what stands under them."""
        columns = [
            ipywidgets.VBox([self.model, self.deployment]),
            ipywidgets.VBox([self.traffic]),
            ipywidgets.VBox([self.policy, self.slo, self.simulation]),
        ]
        layout = ipywidgets.Layout(
            grid_template_columns="repeat(auto-fit, minmax(min(100%, 250px), 1fr))",
            grid_gap="0 24px",
        )
        buttons = ipywidgets.HBox([self.code_button, self.whatif_button])
        return [ipywidgets.GridBox(columns, layout=layout), self.panel, buttons]

    def _changed(self, _change: object = None) -> None:
        """Give the panel the experiment that the controls make now, or say why there is none."""
        if self.traffic.value is not None:
            self.deployment.rate = self.traffic.value.rate
        try:
            experiment = self.experiment
        except InvalidInput as error:
            self.panel.offer({}, str(error))
            self._code.value = ""
            return
        needs = experiment.deployment.needs
        told = f"{needs} Predict and Simulate work without." if needs else ""
        self.panel.offer(works(experiment, **self.simulation.value), told)
        self._code.value = f"<pre>{html.escape(self.code)}</pre>"

    def _show_code(self, _change: object = None) -> None:
        self._code.layout.display = None if self.code_button.value else "none"

    def _show_whatif(self, _change: object = None) -> None:
        show(self.whatif, shown=self.whatif_button.value)
        if not self.whatif_button.value:
            return
        try:
            self.whatif.prepare(self.experiment, **self.simulation.value)
        except InvalidInput as error:
            self.whatif.clear(str(error))


def works(experiment: Experiment, **simulation: Any) -> dict[str, Work]:  # noqa: ANN401 - of simulate
    """Return what each way to know an experiment's outcome does, without those that cannot be."""
    known: dict[str, Work] = {
        "predict": partial(_predicted, experiment),
        "simulate": partial(_simulated, experiment, simulation),
    }
    return (
        known if experiment.deployment.needs else {**known, "run": partial(_measured, experiment)}
    )


def _predicted(experiment: Experiment, live: Live) -> Result:
    profile = _profiled(experiment, live)
    return experiment.predict(profile)


def _simulated(experiment: Experiment, settings: dict[str, Any], live: Live) -> Result:
    profile = _profiled(experiment, live)
    return experiment.simulate(profile, **settings)


def _profiled(experiment: Experiment, live: Live) -> Any:  # noqa: ANN401 - a profile
    live.begin("Measuring how long batches take: once for this model and machine.")
    profile = experiment.kept_profile(progress=live.go_on)
    live.begin("Computing.")
    live.go_on(0, 0)
    return profile


def _measured(experiment: Experiment, live: Live) -> Result:
    due = experiment.trace.arrivals
    live.doing = "Preparing: the model is being loaded."

    def progress(done: int, total: int) -> None:
        live.doing = "Running."
        live.progress(done, total)

    return experiment.run(
        progress=progress,
        on_rows=lambda rows: live.add(rows["finished"] - due[rows["request"]]),
        stopped=live.stopped,
    )


def code_of(
    model: str, *parts: str, way: str = "run", settings: dict[str, Any] | None = None
) -> str:
    """Return the code of an experiment and of one way to know its outcome.

    >>> print(code_of('wb.Registry()["digits-mlp-wide"]', "Local()", way="simulate"))
    import workbench as wb
    <BLANKLINE>
    experiment = wb.Experiment(
        wb.Registry()["digits-mlp-wide"],
        wb.Local(),
    )
    run = experiment.simulate()
    """
    arguments = ", ".join(f"{name}={value!r}" for name, value in (settings or {}).items())
    found = "prediction" if way == "predict" else "run"
    return "\n".join(
        [
            "import workbench as wb",
            "",
            "experiment = wb.Experiment(",
            *(f"    {each}," for each in [model, *(f"wb.{part}" for part in parts)]),
            ")",
            f"{found} = experiment.{way}({arguments})",
        ]
    )


class StaticApp:
    """What stands for the app where nobody can use controls: the same as lines of code."""

    def __init__(self, where: str, group: str) -> None:
        parts: tuple[Deployment | Policy | SLO, ...] = (Local(), _POLICY, _SLO)
        local, policy, slo = map(repr, parts)
        self.code = code_of(f'{where}["{group}"]', local, draw_traffic().name, policy, slo)

    def __repr__(self) -> str:
        return f"{_HINT}\n\n{self.code}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(_HINT)}</p><pre>{html.escape(self.code)}</pre>"


_HINT = (
    "wb.app() shows controls in a live notebook; nobody is in front of this one (set "
    "WORKBENCH_FRONTEND=widgets if somebody is). What it begins with, as code:"
)
