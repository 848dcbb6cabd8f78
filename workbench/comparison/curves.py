"""One setting of a deployment, and what an experiment comes to at each of its values.

`memory_curve` is the picture of AWS Lambda Power Tuning: the time of a call, and what a million
cost, over memory. `count_curve` is the 99th percentile over the number of instances::

    sizes = memory_curve(experiment, profile)
    sizes.cheapest, sizes.fastest, sizes.figure
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from workbench.errors import InvalidInput
from workbench.experiment import Experiment
from workbench.plots.curves import best_row, plot_curve
from workbench.plots.figure import Figure
from workbench.run import Run
from workbench.run.costs import cost
from workbench.settings import settings_of
from workbench.validation import as_tuple, of_kind

if TYPE_CHECKING:
    import polars as pl

    from workbench.measuring.profile import Profile
    from workbench.pricing.sheet import PriceSheet
    from workbench.service_times import ServiceTimes

_FEW = 8  # values that are tried where a setting has many

_COLUMNS: dict[str, type[int] | type[float]] = {
    "value": int,
    **dict.fromkeys(("call", "p50", "p95", "p99", "attainment"), float),
    "failed": int,
    **dict.fromkeys(("per_million", "per_month"), float),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class SettingCurve:
    """Runs by the value of one setting of their deployment; in a notebook, their chart.

    `cheapest` and `fastest` raise an `InvalidInput` where at no value enough requests were answered
    for a time and a cost.

    Attributes:
        setting: Its name, such as "memory_mb".
        label: Its name for people, with the unit.
        runs: Simulated runs by value, all else being equal.
        prices: The sheet of the costs, by default that of us-east-1.
    """

    setting: str
    label: str
    runs: dict[int, Run]
    prices: "PriceSheet | None" = None

    @cached_property
    def frame(self) -> "pl.DataFrame":
        """One row a value: value, call (mean seconds of a batch), p50, p95, p99 (seconds), ...

        Then attainment and failed requests, per_million and per_month (US dollars). A percentile
        is null where too few requests tell it.
        """
        import polars as pl

        rows = [self._row(value, run) for value, run in self.runs.items()]
        return pl.DataFrame(rows, schema=_COLUMNS)

    @property
    def cheapest(self) -> int:
        """The value at which a million requests cost least; of several, the fastest."""
        return int(best_row(self.frame, "cheapest")["value"])

    @property
    def fastest(self) -> int:
        """The value with the lowest p99, or time of a call where that is unknown."""
        return int(best_row(self.frame, "fastest")["value"])

    @cached_property
    def figure(self) -> Figure:
        """Times on the left axis and the cost of a million requests on the right one."""
        slo = next(iter(self.runs.values())).slo
        return plot_curve(self.frame, self.label, slo)

    def __repr__(self) -> str:
        return f"<SettingCurve over {self.setting}: {', '.join(map(str, self.runs))}>"

    def _repr_html_(self) -> str:
        return self.figure.image()

    def _row(self, value: int, run: Run) -> dict[str, Any]:
        bill, batches = cost(run, prices=self.prices), run.batches()
        seconds = (batches["finished"] - batches["started"]).drop_nans().mean()
        own = {
            "value": value,
            "call": float("nan") if seconds is None else seconds,
            "per_million": bill.per_million,
            "per_month": bill.per_month,
        }
        known = {**run.summary(), **own}
        return {name: known[name] for name in _COLUMNS}


def memory_curve(
    experiment: Experiment,
    profile: "Profile | ServiceTimes | None" = None,
    *,
    sizes: Iterable[int] | None = None,
    prices: "PriceSheet | None" = None,
    **simulation: Any,  # noqa: ANN401 - of `Experiment.simulate`
) -> SettingCurve:
    """Return what an experiment on functions comes to at each memory size, simulated.

    Args:
        experiment: On a deployment that has a memory size, such as `Lambda` or `Serverless`.
        profile: Service times on this machine; by default those kept for it.
        sizes: MB of memory; by default about eight over all that the type has.
        prices: The price sheet, by default that of us-east-1.
        simulation: As for `Experiment.simulate`, for instance cold_start.

    Raises:
        InvalidInput: The deployment has no memory size, or not one of these.
    """
    return _trace_curve(experiment, "memory_mb", sizes, profile, prices=prices, **simulation)


def count_curve(
    experiment: Experiment,
    profile: "Profile | ServiceTimes | None" = None,
    *,
    counts: Iterable[int] | None = None,
    prices: "PriceSheet | None" = None,
    **simulation: Any,  # noqa: ANN401 - of `Experiment.simulate`
) -> SettingCurve:
    """Return what an experiment on a fleet comes to with each number of instances, simulated.

    By default these are 1 to 8; the other arguments are those of `memory_curve`.

    Raises:
        InvalidInput: The deployment has no number of instances, or not one of these.
    """
    of_kind("experiment", experiment, Experiment)
    counted = experiment.deployment.counted_by or "count"
    counts = range(1, _FEW + 1) if counts is None else counts
    return _trace_curve(experiment, counted, counts, profile, prices=prices, **simulation)


def _trace_curve(
    experiment: Experiment,
    setting: str,
    values: Iterable[int] | None,
    profile: "Profile | ServiceTimes | None",
    *,
    prices: "PriceSheet | None",
    **simulation: Any,  # noqa: ANN401 - of `Experiment.simulate`
) -> SettingCurve:
    deployment = of_kind("experiment", experiment, Experiment).deployment
    described = settings_of(type(deployment)).get(setting)
    if described is None:
        raise InvalidInput(
            f"{deployment.label} has no {setting}: choose another deployment, experiment.on(...)."
        )
    chosen = _few(described.steps) if values is None else as_tuple(setting, values)
    if not chosen:
        raise InvalidInput(f"There is no value of {setting} to try: pass at least one.")
    changed = {int(each): replace(deployment, **{setting: each}) for each in chosen}
    if profile is None:
        profile = experiment.ensure_profile()
    runs = {
        value: experiment.on(changed[value]).simulate(profile, **simulation)
        for value in sorted(changed)
    }
    return SettingCurve(setting=setting, label=described.label, runs=runs, prices=prices)


def _few(steps: Sequence[float]) -> tuple[int, ...]:
    """Return some of the steps of a setting, from end to end, each larger by the same factor.

    >>> _few(range(128, 10_241, 128))
    (128, 256, 384, 896, 1536, 2944, 5504, 10240)
    """
    first, last = int(steps[0]), int(steps[-1])
    wanted = [first * (last / first) ** (at / (_FEW - 1)) for at in range(_FEW)]
    nearest = (min(steps, key=lambda step: abs(step - each)) for each in wanted)
    return tuple(dict.fromkeys(map(int, nearest)))
