"""The settings of an experiment that sliders can change, and the experiments they give."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.batching.timer import BatchPolicy
from workbench.errors import InvalidInput
from workbench.experiment import Experiment
from workbench.settings import settings_of
from workbench.traffic.trace import Trace
from workbench.validation import not_negative, positive, whole_number


@dataclass(frozen=True, kw_only=True)
class TunableParameter:
    """Something that can be changed: the setting's name, a label, the values that a slider has.

    `shown` is what a value is multiplied with to be shown in `unit`.
    """

    name: str
    label: str
    values: Sequence[float]
    value: float
    unit: str = ""
    shown: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values, and the place of the present value.

        >>> load = TunableParameter(name="load", label="Load", values=(0.5, 1.0), value=1.0)
        >>> load.to_dict()["at"]
        1
        """
        values = list(self.values)
        return {**self.__dict__, "values": values, "at": values.index(self.value)}


class TunableParameters:
    """The parameters of an experiment: load, batch size (to the largest), wait, memory or count."""

    def __init__(self, experiment: Experiment, *, largest: int) -> None:
        self.experiment = experiment
        self._largest = largest
        self._latest_trace = (1.0, experiment.trace)
        self._parameters = {
            parameter.name: parameter for parameter in _list_parameters(experiment, largest)
        }

    def __iter__(self) -> Iterator[TunableParameter]:
        """Yield the parameters, in the order in which they are shown."""
        return iter(self._parameters.values())

    def vary(self, **values: float) -> Experiment:
        """Return the experiment with parameters at these values, and the others where they were.

        Values need not be among the slider's: `load` is in times of the trace's rate, `max_wait`
        in seconds.

        Raises:
            InvalidInput: There is no such parameter, or a value is out of its limits; the text
                begins with the parameter's name.
        """
        if unknown := [name for name in values if name not in self._parameters]:
            raise InvalidInput(
                f"{unknown[0]} cannot be changed here: {', '.join(self._parameters)} can."
            )
        remaining: dict[str, Any] = dict(values)
        changed: dict[str, Any] = {"trace": self._trace(remaining.pop("load", 1.0))}
        policy = self.experiment.policy
        if isinstance(policy, BatchPolicy):
            size = remaining.pop("max_size", policy.max_size)
            wait = not_negative("max_wait", remaining.pop("max_wait", policy.max_wait), "seconds")
            whole_number("max_size", size, low=1, high=max(self._largest, policy.max_size))
            changed["policy"] = BatchPolicy(max_size=size, max_wait=wait)
        if remaining:
            changed["deployment"] = replace(self.experiment.deployment, **remaining)
        return replace(self.experiment, **changed)

    def _trace(self, load: float) -> Trace:
        """Return the trace at a load; the latest is kept, since scaling a long one takes long."""
        load = positive("load", load)
        if not _LOADS[0] <= load <= _LOADS[-1]:
            raise InvalidInput(f"load must be from {_LOADS[0]:g} to {_LOADS[-1]:g}, got {load:g}.")
        if load == 1.0:
            return self.experiment.trace
        if load != self._latest_trace[0]:
            self._latest_trace = (load, self.experiment.trace.scale(load))
        return self._latest_trace[1]


# times the trace's rate: fine up to twice, then coarser
_LOADS = (*(step / 10 for step in range(1, 21)), 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_WAIT_STEPS = 40  # steps of the slider from no wait to the target


def _list_parameters(experiment: Experiment, largest: int) -> Iterator[TunableParameter]:
    policy, on, slo = experiment.policy, experiment.deployment, experiment.slo
    yield _make_parameter("load", "Load", _LOADS, 1.0, unit="times")
    if isinstance(policy, BatchPolicy) and not on.by_job:
        longest = slo.latency if slo else 0.1
        waits = [round(longest * step / _WAIT_STEPS, 6) for step in range(_WAIT_STEPS + 1)]
        yield from list_batching(policy, range(1, largest + 1), waits)
    for name, described in settings_of(type(on)).items():
        if described.steps:
            label, _, unit = described.label.rstrip(")").partition(" (")
            yield _make_parameter(name, label, described.steps, getattr(on, name), unit=unit)


def list_batching(
    policy: BatchPolicy, sizes: Sequence[int], waits: Sequence[float]
) -> tuple[TunableParameter, TunableParameter]:
    """Return the parameters of a policy that waits for others, which takes `waits` in seconds.

    >>> [each.label for each in list_batching(BatchPolicy(), (1, 8), (0, 0.025))]
    ['Batch size', 'Max wait']
    """
    return (
        _make_parameter("max_size", "Batch size", sizes, policy.max_size),
        _make_parameter("max_wait", "Max wait", waits, policy.max_wait, unit="ms", shown=1000),
    )


def _make_parameter(
    name: str,
    label: str,
    values: Sequence[float],
    value: float,
    **more: Any,  # noqa: ANN401 - what the control takes
) -> TunableParameter:
    """Return a parameter whose values include the present one."""
    return TunableParameter(
        name=name, label=label, values=sorted({*values, value}), value=value, **more
    )
