"""What the controls say, as lines of code."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import workbench
from workbench.widgets.target_picker import Target, ThisMachine

if TYPE_CHECKING:
    from workbench.experiment import Experiment


def value_code(value: Any) -> str:  # noqa: ANN401 - of any class
    """Return the code of a value: what of its settings is not the default, public names by `wb.`.

    >>> from workbench.deployment import Hybrid, Lambda, RealTime
    >>> base = RealTime(instance_type="ml.m5.large")
    >>> print(value_code(Hybrid(base=base, overflow=Lambda(memory_mb=512, max_concurrency=9))))
    wb.Hybrid(base=wb.RealTime(instance_type='ml.m5.large'), \
overflow=wb.Lambda(memory_mb=512, max_concurrency=9))
    """
    if isinstance(value, tuple):
        inner = ", ".join(value_code(each) for each in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if not is_dataclass(value) or isinstance(value, type):
        return repr(value)
    name = type(value).__name__
    given = [each for each in fields(value) if each.init and each.repr]
    arguments = ", ".join(
        f"{each.name}={value_code(getattr(value, each.name))}"
        for each in given
        if each.default is MISSING or getattr(value, each.name) != each.default
    )
    return f"{_prefix(value)}{name}({arguments})"


def _prefix(value: object) -> str:
    """Return what stands before the name of a class: its module, where the name is not public."""
    if type(value).__name__ in workbench.__all__:
        return "wb."
    module = type(value).__module__.split(".")
    return "forecasts." if "forecasts" in module else ""


def code_of(
    *parts: str,
    way: str = "run",
    settings: Mapping[str, Any] | None = None,
    target: Target | None = None,
) -> str:
    """Return the code of an experiment and of one way to know its outcome.

    >>> print(code_of('wb.Registry()["digits-mlp-wide"]', "wb.Local()", way="simulate"))
    import workbench as wb
    <BLANKLINE>
    experiment = wb.Experiment(
        wb.Registry()["digits-mlp-wide"],
        wb.Local(),
    )
    run = experiment.simulate()
    """
    lines = ["experiment = wb.Experiment(", *(f"    {each}," for each in parts), ")"]
    named = {name: value_code(value) for name, value in (settings or {}).items()}
    if "scaling" in named:
        lines.append(f"scaling = {named['scaling']}")
        named["scaling"] = "scaling"
    arguments = [f"{name}={value}" for name, value in named.items()]
    found = "prediction" if way == "predict" else "run"
    call = f"{found} = experiment.{way}()"
    if way == "run":
        call = (target or ThisMachine()).code
    lines.append(_add_arguments(call, arguments))
    imports = ["import workbench as wb"]
    if any("forecasts." in line for line in lines):
        imports.append("from workbench import forecasts")
    return "\n".join([*imports, "", *lines])


def parts_code(made: "Experiment", registry: str, traffic: str) -> list[str]:
    """Return the code of an experiment's arguments.

    Args:
        made: The experiment.
        registry: The code that makes the registry of its models.
        traffic: That of its trace, without the name of the package.
    """
    traffic, slo = f"wb.{traffic}", f"wb.{made.slo!r}"
    if made.ensemble is None:
        model = f'{registry}["{made.model.name}"]'
        return [model, value_code(made.deployment), traffic, f"wb.{made.policy!r}", slo]
    members = [
        f'"{name}": wb.Member({registry}["{each.model.name}"], '
        f"{value_code(each.deployment)}, wb.{each.policy!r}),"
        for name, each in made.ensemble.members.items()
    ]
    lines = ["wb.Ensemble(", "    {", *(f"        {each}" for each in members), "    },"]
    lines += [f"    wb.{made.ensemble.router!r},", ")"]
    return ["\n    ".join(lines), f"trace={traffic}", f"slo={slo}"]


def decision_code(
    model: str, traffic: str, slo: object, today: tuple[object, object], lines: str
) -> str:
    """Return the lines that decide between inference types and draw the picture.

    Args:
        model: The code of the model.
        traffic: That of the trace, without the name of the package.
        slo: The target.
        today: Deployment and policy.
        lines: What decides, by these names.
    """
    deployment, policy = today
    return "\n".join(
        [
            *("import workbench as wb", "from workbench.plots import plot_decision", ""),
            *(f"model = {model}", f"trace = wb.{traffic}", f"slo = wb.{slo!r}"),
            *(f"deployment = {value_code(deployment)}", f"policy = wb.{policy!r}"),
            lines.replace("  # of workbench.plots", ""),
        ]
    )


def _add_arguments(call: str, arguments: Sequence[str]) -> str:
    """Return a call, which ends the code, with more arguments.

    >>> _add_arguments("run = experiment.run(cloud)", ["scaling=scaling"])
    'run = experiment.run(cloud, scaling=scaling)'
    """
    if not arguments:
        return call
    more = ", ".join(arguments)
    return f"{call[:-1]}{more})" if call.endswith("()") else f"{call[:-1]}, {more})"
