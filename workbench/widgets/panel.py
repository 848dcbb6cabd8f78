"""The app: pickers, Run and Stop, and what came of the runs."""

import html
from functools import partial

import ipywidgets

from workbench.batching import BatchPolicy
from workbench.deployment import Deployment, Local
from workbench.errors import InvalidInput
from workbench.experiment import Experiment
from workbench.registry import Registry
from workbench.run import SLO, Run
from workbench.trace import Trace
from workbench.widgets.notebook import frontend
from workbench.widgets.pickers import (
    DeploymentPicker,
    ModelPicker,
    PolicyPicker,
    SLOPicker,
    TrafficPicker,
    draw_traffic,
)
from workbench.widgets.results import Results
from workbench.widgets.running import Live, RunPanel

_GROUP = "digits-mlp-wide"  # the ready-made model that batching helps most
_POLICY = BatchPolicy(max_size=8, max_wait=0.025)
_SLO = SLO(latency=0.1)


def app(registry: Registry | None = None) -> "App | StaticApp":
    """Return controls for an experiment on this machine; as a cell's last line they are shown.

    Everything they do is a line of code too: `code` gives those lines, `experiment` and `runs` the
    values. Where nobody can use controls (papermill, nbconvert) it is a text that says so.

    Args:
        registry: Where the models are, by default `Registry()`, which has ready-made ones.
    """
    where = "wb.Registry()" if registry is None else f"wb.Registry({str(registry.path)!r})"
    if frontend() == "static":
        known = registry.groups() if registry else []
        return StaticApp(where, _GROUP if _GROUP in known or not known else known[0])
    return App(Registry() if registry is None else registry, where)


class App(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Pickers of an experiment's parts, a panel that runs it, and results.

    The parts are there by name and can be set in code: `model`, `deployment`, `traffic`, `policy`
    and `slo` are pickers (`app.policy.max_size.value = 4`), `panel` and `results` the rest.

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
        self.panel = RunPanel()
        self.results = Results()
        self._code = ipywidgets.HTML()
        self.code_button = ipywidgets.ToggleButton(description="Show code")
        self.code_button.observe(self._show_code, "value")
        self._parts = (self.model, self.deployment, self.traffic, self.policy, self.slo)
        for part in self._parts:
            part.observe(self._changed, ["value", "error"])
        self.panel.observe(lambda change: self.results.add(change["new"]), "value")
        super().__init__([*self._rows(), self._code, self.results])
        self.add_class("wb")
        self._changed()
        self._show_code()

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
        return tuple(self.results.value)

    @property
    def code(self) -> str:
        """The lines that do what the controls say."""
        made = self.experiment
        parts = (made.deployment, made.trace, self.policy.value, self.slo.value)
        return code_of(self._where, made.model.name, *parts)

    def _rows(self) -> list[ipywidgets.DOMWidget]:
        """The pickers, in as many columns as there is room for, and what stands under them."""
        columns = [
            ipywidgets.VBox([self.model, self.deployment]),
            ipywidgets.VBox([self.traffic]),
            ipywidgets.VBox([self.policy, self.slo]),
        ]
        layout = ipywidgets.Layout(
            grid_template_columns="repeat(auto-fit, minmax(min(100%, 250px), 1fr))",
            grid_gap="0 24px",
        )
        return [ipywidgets.GridBox(columns, layout=layout), self.panel, self.code_button]

    def _changed(self, _change: object = None) -> None:
        """Give Run the experiment that the controls make now, or say why there is none."""
        try:
            experiment = self.experiment
        except InvalidInput as error:
            self.panel.offer(None, str(error))
            self._code.value = ""
            return
        needs = experiment.deployment.needs
        self.panel.offer(None if needs else partial(measure, experiment), needs)
        self._code.value = f"<pre>{html.escape(self.code)}</pre>"

    def _show_code(self, _change: object = None) -> None:
        self._code.layout.display = None if self.code_button.value else "none"


def measure(experiment: Experiment, live: Live) -> Run:
    """Return the experiment's run, measured on this machine, and tell `live` how it goes."""
    due = experiment.trace.arrivals
    return experiment.run(
        progress=live.progress,
        on_rows=lambda rows: live.add(rows["finished"] - due[rows["request"]]),
        stopped=live.stopped,
    )


def code_of(where: str, model: str, *parts: Deployment | Trace | BatchPolicy | SLO) -> str:
    """Return the code of an experiment and its run.

    >>> print(code_of("wb.Registry()", "digits-mlp-wide", Local(), SLO(latency=0.1)))
    import workbench as wb
    <BLANKLINE>
    experiment = wb.Experiment(
        wb.Registry()["digits-mlp-wide"],
        wb.Local(workers=1, threads=1, hourly_price=0.0),
        wb.SLO(latency=0.1, quantile=0.95),
    )
    run = experiment.run()
    """
    made = [part.name if isinstance(part, Trace) else repr(part) for part in parts]
    return "\n".join(
        [
            "import workbench as wb",
            "",
            "experiment = wb.Experiment(",
            *(f"    {each}," for each in [f'{where}["{model}"]', *(f"wb.{m}" for m in made)]),
            ")",
            "run = experiment.run()",
        ]
    )


class StaticApp:
    """What stands for the app where nobody can use controls: the same as lines of code."""

    def __init__(self, where: str, group: str) -> None:
        self.code = code_of(where, group, Local(), draw_traffic(), _POLICY, _SLO)

    def __repr__(self) -> str:
        return f"{_HINT}\n\n{self.code}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(_HINT)}</p><pre>{html.escape(self.code)}</pre>"


_HINT = (
    "wb.app() shows controls in a live notebook; nobody is in front of this one (set "
    "WORKBENCH_FRONTEND=widgets if somebody is). What it begins with, as code:"
)
