"""A scaling policy that a run carries out itself, where Application Auto Scaling has none like it.

Predictive scaling there is for ECS and EC2 only (Application Auto Scaling's user guide, "Predictive
scaling"), so that SageMaker's endpoints are scaled by UpdateEndpointWeightsAndCapacities, from the
process of the run: the scaler is the one that a simulation asks.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from workbench.backends.shared_counts import FleetCounts, SharedCounts
from workbench.cloud.adapters.endpoint import VARIANT
from workbench.cloud.client import CloudClient
from workbench.cloud.deploy import DeployedModel
from workbench.deployment.base import Deployment
from workbench.errors import CloudError, WorkbenchError
from workbench.scaling.base import (
    Reading,
    ScalingPolicy,
    TypeCount,
    count_by_type,
    require_later,
)

_LOOK = 0.02  # seconds between two looks at the clock, and at what was not allowed before
_PATIENCE = 900.0  # seconds that putting the counts back may have to wait for another update


class FleetController:
    """Has an endpoint follow a policy while a `with` block lasts, in a thread of its own.

    It begins when the counts say that the trace has. SageMaker takes no change while it carries out
    another: what was decided meanwhile is asked for as soon as it may be, unless something else was
    decided by then. An endpoint keeps one instance of each type at least.

    Where the policy or the cloud fails, the counts at the beginning are put back, and `warnings`
    say so. They are put back at the end of the block, too, if the endpoint `stays`.

    `fleet` are the variants of the endpoint, one for each instance type, each with its counter,
    `arrivals` when the requests of the trace are due, in seconds, and `clock` tells the time as
    that of the counts does.

    Attributes:
        activities: What was asked for, as JSON values, oldest first.
        warnings: What went wrong.
    """

    def __init__(
        self,
        fleet: Sequence[DeployedModel],
        policy: ScalingPolicy,
        counts: SharedCounts,
        arrivals: NDArray[np.float64],
        *,
        stays: bool = True,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._types = {str(each.deployment.size): each for each in fleet}
        self._endpoint = fleet[0]
        self._scaler = policy.scaler()
        self._counts = counts
        self._arrivals = arrivals
        self._stays = stays
        self._clock = clock
        self._first = {
            name: each.deployment.platform.idle_instances for name, each in self._types.items()
        }
        self._asked = dict(self._first)
        self._wanted = dict(self._first)
        self._cause = ""
        self._ask_at = 0.0
        self._seen = _Seen(FleetCounts(), 0, 0)
        self._late = 0
        self._latency_target = getattr(self._scaler, "latency_target", None)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="controller", daemon=True)
        self.activities: list[dict[str, Any]] = []
        self.warnings: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def add(self, latencies: NDArray[np.float64]) -> None:
        """Add the latencies of answered requests, in seconds."""
        if self._latency_target is not None:
            self._late += int((latencies > self._latency_target).sum())

    # ---------------------------------------------------------------- in the thread

    def _follow(self) -> None:
        with CloudClient(self._endpoint.cloud) as aws:
            try:
                while not self._over.wait(_LOOK):
                    self._decide()
                    self._apply(aws)
            except Exception as error:  # noqa: BLE001 - a policy may raise anything
                self._report(f"Scaling ended early, at {self._now():.1f} s: {error}")
                self._put_back(aws)
            else:
                if self._stays:
                    self._put_back(aws)

    def _now(self) -> float:
        return self._clock() - self._counts.read().begun

    def _decide(self) -> None:
        """Ask the scaler, if it is due."""
        counts = self._counts.read()
        if not counts.begun:
            return
        while (due := require_later(self._scaler.due, -math.inf)) <= self._clock() - counts.begun:
            wanted = count_by_type(self._scaler.decide(self._read(due), due), list(self._types))
            require_later(self._scaler.due, due)
            self._cause = f"The policy decided so for {due:g} s."
            for name, each in self._types.items():  # AWS may not have had what was asked for
                if each.fleet is not None:
                    self._asked[name] = each.fleet.desired
            self._wanted = {name: self._keep_one(name, count) for name, count in wanted.items()}

    def _keep_one(self, name: str, count: int) -> int:
        """Return a count that an endpoint can have, and warn at the first that it cannot."""
        warning = f"The policy wanted no {name} at times: an endpoint keeps 1 of each type."
        if count < 1 and warning not in self.warnings:
            self.warnings.append(warning)
        return max(1, count)

    def _read(self, now: float) -> Reading:
        """Return what happened since the last reading, and how things stand."""
        counts, late = self._counts.read(), self._late
        requests = int(np.searchsorted(self._arrivals, now))
        before = self._seen
        self._seen = _Seen(counts, requests, late)
        types = {name: TypeCount(*count_instances(each)) for name, each in self._types.items()}
        ready = sum(each.ready for each in types.values())
        room = sum(
            types[name].ready * each.deployment.instance_workers
            for name, each in self._types.items()
        )
        return Reading(
            arrived=int(counts.arrived - before.counts.arrived),
            done=int(counts.done - before.counts.done),
            waiting=max(0, int(counts.in_flight) - room),
            serving=min(int(counts.in_flight), room),
            ready=ready,
            starting=sum(each.starting for each in types.values()),
            requests=requests - before.requests,
            spilled=int(counts.spilled - before.counts.spilled),
            late=late - before.late,
            types=types if len(types) > 1 else MappingProxyType({}),
        )

    def _apply(self, aws: CloudClient) -> bool:
        """Ask for what is wanted, and return whether that is what there is or was asked for."""
        if self._wanted == self._asked:
            return True
        if time.monotonic() < self._ask_at or not self._is_changeable(aws):
            return False
        changes = [self._change(*wanted) for wanted in self._wanted.items()]
        try:
            aws.sagemaker(
                "update_endpoint_weights_and_capacities",
                EndpointName=self._endpoint.name,
                DesiredWeightsAndCapacities=changes,
            )
        except CloudError as error:
            if "in-progress" in str(error):
                return False  # another update came first
            raise
        self._asked = dict(self._wanted)
        for name, count in self._asked.items():
            if (fleet := self._types[name].fleet) is not None:
                fleet.expect(count)
        what = ", ".join(f"{count} x {name}" for name, count in self._asked.items())
        if len(self._asked) == 1:
            what = str(*self._asked.values())
        self.activities.append(
            {
                "description": f"Setting desired instance count to {what}.",
                "cause": self._cause,
                "started": datetime.now(UTC).isoformat(),
            }
        )
        return True

    def _is_changeable(self, aws: CloudClient) -> bool:
        endpoint = aws.sagemaker("describe_endpoint", EndpointName=self._endpoint.name)
        self._ask_at = time.monotonic() + aws.cloud.poll  # AWS throttles who asks more often
        return bool(endpoint["EndpointStatus"] == "InService")

    def _change(self, name: str, count: int) -> dict[str, Any]:
        each = self._types[name]
        change = {"VariantName": each.variant or VARIANT, "DesiredInstanceCount": count}
        weight = {"DesiredWeight": variant_weight(each.deployment, count)}
        return change | (weight if len(self._types) > 1 else {})

    def _put_back(self, aws: CloudClient) -> None:
        self._wanted, self._cause = dict(self._first), "Scaling ended."
        until = time.monotonic() + _PATIENCE
        try:
            while not self._apply(aws):
                if time.monotonic() > until:
                    raise CloudError(f"{self._endpoint.name} is still being updated.")
                time.sleep(max(_LOOK, aws.cloud.poll))
        except WorkbenchError as error:
            self._report(f"The instances of {self._endpoint.name} were not put back: {error}")

    def _report(self, text: str) -> None:
        self._endpoint.note(text)
        self.warnings.append(text)


class _Seen(NamedTuple):
    counts: FleetCounts
    requests: int
    late: int


def count_instances(deployed: DeployedModel) -> tuple[int, int]:
    """Return the instances in service and those that boot: of a fleet that nobody counts, all."""
    if deployed.fleet is None:
        return deployed.deployment.platform.idle_instances, 0
    return deployed.fleet.ready_and_starting


def variant_weight(deployment: Deployment, count: int) -> float:
    """Return the share of requests that so many instances get: by their vCPUs, all together."""
    return count * (deployment.vcpus or 1.0)
