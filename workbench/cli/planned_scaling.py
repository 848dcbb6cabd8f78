"""Scaling policies that plan ahead, as words: what one instance can do is found per experiment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.batching.timer import BatchPolicy
from workbench.errors import InvalidInput
from workbench.experiment import Experiment
from workbench.scaling.base import ScalingPolicy
from workbench.scaling.capacity import InstanceCapacity


def policies_ahead() -> dict[str, Any]:
    """Return the policies by kind."""
    from workbench.scaling.mark import MArkDescribed, MArkReleased
    from workbench.scaling.predictive import Predictive

    return {each.kind: each for each in (Predictive, MArkReleased, MArkDescribed)}


@dataclass(frozen=True)
class PlannedScaling:
    """Kind and settings of a policy that plans by what one instance can do, before that is known.

    The setting `capacity` is the requests that an instance serves in a second.
    """

    kind: str
    settings: Mapping[str, Any]

    def policy(self, experiment: Experiment) -> ScalingPolicy:
        """Return the policy for an experiment; what is not said is found by its target.

        A call on functions costs what it would if all were there, simulated.

        Raises:
            InvalidInput: A setting is not what it must be, or neither capacity nor target is given.
        """
        from workbench.forecasts.naive import Persistence
        from workbench.run.costs import cost
        from workbench.scaling.predictive import Predictive

        settings = {**self.settings, "capacity": self._capacity(experiment)}
        functions = getattr(experiment.deployment, "overflow", None)
        if self.kind == Predictive.kind:
            settings.setdefault("forecaster", Persistence())
            if functions is not None and "call_price" not in settings:
                every = cost(experiment.on(functions).simulate())
                settings["call_price"] = every.per_million / 1e6
        made: ScalingPolicy = policies_ahead()[self.kind](**settings)
        return made

    def _capacity(self, experiment: Experiment) -> InstanceCapacity:
        from workbench.planner.instance_capacity import find_capacity, price_instance

        base = experiment.deployment.simple_parts[0]
        if (rate := self.settings.get("capacity")) is not None:
            return price_instance(base, rate)
        if experiment.slo is None:
            raise InvalidInput(
                f"{self.kind} plans by what one instance can do: give --slo, by which it is found, "
                "or capacity=REQUESTS_PER_SECOND."
            )
        batches = experiment.policy if isinstance(experiment.policy, BatchPolicy) else None
        return find_capacity(experiment.model, base, experiment.slo, policy=batches)  # type: ignore[arg-type]
