"""What a deployment may cost, asked before the first call, and what it has cost so far."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.cloud.aws import Cloud
from workbench.cloud.consent import agree_to
from workbench.errors import InvalidInput, OverBudget
from workbench.formatting import dollars
from workbench.pricing.cost import Cost, total
from workbench.pricing.usage import Usage
from workbench.units import HOUR
from workbench.validation import flag, not_negative, positive

if TYPE_CHECKING:
    from workbench.deployment import Deployment

START_AND_STOP_SECONDS = 600.0
"""Seconds that an instance is allowed for starting and stopping, which are billed. Inferred."""


def hourly_cost(deployment: Deployment) -> float:
    """Return what a deployment costs an hour while nobody calls it, in US dollars.

    >>> from workbench.deployment import RealTime, Serverless
    >>> hourly_cost(RealTime(instance_type="ml.m5.xlarge", count=2))
    0.46
    >>> hourly_cost(Serverless(memory_mb=2048, max_concurrency=20))
    0.0
    """
    _require_cloud(deployment)
    return total(deployment.bill(deployment.idle_usage(HOUR)))


def estimate_max_cost(
    deployment: Deployment, seconds: float, *, calls: int | None = None, bytes_in: float = 0.0
) -> Cost:
    """Return the most that a deployment can cost in `seconds` of traffic.

    Instances are billed for the time they take to start and stop, too. On serverless every place
    is taken all the time, unless `calls`, each as long as the type allows, come to less.

    >>> from workbench.deployment import Serverless
    >>> serverless = Serverless(memory_mb=2048, max_concurrency=10)
    >>> round(estimate_max_cost(serverless, 60, calls=5).total, 6)
    0.012
    """
    _require_cloud(deployment)
    seconds = positive("seconds", seconds, "seconds")
    usage = deployment.usage_at_most(seconds, calls=calls, up_and_down=START_AND_STOP_SECONDS)
    items = deployment.bill(replace(usage, bytes_in=bytes_in))
    return Cost(items=items, answered=calls or 0, origin="estimated, at most")


def confirm_cost(
    cost: Cost,
    deployment: Deployment,
    cloud: Cloud,
    *,
    budget: float | None = None,
    yes: bool = False,
    notify: Callable[[str], object] | None = None,
) -> None:
    """Return once it is agreed that the deployment may cost as much.

    Where it costs something, the amount is shown, and a person at a terminal is asked unless `yes`.

    Raises:
        InvalidInput: `yes` is neither True nor False.
        OverBudget: It may cost more than `budget` US dollars.
        NotAvailable: Nobody agreed.
    """
    flag("yes", yes)
    budget = None if budget is None else not_negative("budget", budget, "US dollars")
    if not cloud.paid:
        return
    agree_to(describe_cost(cost, deployment, cloud, budget=budget), yes=yes, notify=notify)


def describe_cost(
    cost: Cost, deployment: Deployment, cloud: Cloud, *, budget: float | None = None
) -> str:
    """Return in words what a deployment may cost; raise `OverBudget` where `budget` is less."""
    text = f"{deployment.label} on {cloud.name} {cloud.region} costs at most {dollars(cost.total)}"
    text += f" ({cost.mark} prices), and {dollars(hourly_cost(deployment))} an hour while it stays."
    if budget is not None and cost.total > budget:
        raise OverBudget(
            f"{text} The budget is {dollars(budget)}: raise it, send a shorter trace, or deploy "
            "less."
        )
    return text


class CostMeter:
    """What a deployment has cost since it was launched, by what its calls took so far.

    It may cost `budget` US dollars, any where that is None. It was `launched` at a time of `clock`,
    in seconds. `fleet` gives the seconds of all instances together, where their count changes.
    """

    def __init__(
        self,
        deployment: Deployment,
        cloud: Cloud,
        budget: float | None,
        *,
        launched: float,
        fleet: Callable[[], float] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if fleet is not None:
            deployment = deployment.with_scale(1)  # none has no price
        self._deployment = deployment
        self._budget = budget if cloud.paid else None
        self._launched = launched
        self._fleet = fleet
        self._clock = clock
        self._busy = 0.0
        self._hourly = hourly_cost(deployment)
        self._cost_per_second = total(deployment.bill(Usage(seconds=1.0)))
        self.warnings: list[str] = []

    @property
    def dollars(self) -> float:
        """What it has cost, about: bytes and what AWS rounds up apart."""
        up = self._clock() - self._launched
        if self._fleet is not None:
            up = self._fleet() / self._deployment.platform.idle_instances
        return up * self._hourly / HOUR + self._busy * self._cost_per_second

    def add(self, rows: Mapping[str, Any], stopped: threading.Event) -> None:
        """Add the calls of these rows, and set `stopped` once the budget is spent."""
        _, first = np.unique(rows["batch"], return_index=True)
        seconds = (np.asarray(rows["finished"]) - np.asarray(rows["started"]))[first]
        self._busy += float(np.nansum(seconds))
        if self._budget is not None and self.dollars >= self._budget and not stopped.is_set():
            stopped.set()
            self.warnings.append(f"The budget of {dollars(self._budget)} was spent: stopped.")


def check_payload(deployment: Deployment, size: int) -> None:
    """Raise `InvalidInput` unless `size` bytes of content fit a request to every part.

    >>> from workbench.deployment import Serverless
    >>> check_payload(Serverless(memory_mb=2048, max_concurrency=20), 5_000_000)
    Traceback (most recent call last):
    workbench.errors.InvalidInput: The largest batch has 5,000,000 bytes, and serverless takes ...
    """
    for part in deployment.simple_parts:
        sent, limit = part.payload(size), part.payload_limit
        if limit is not None and sent > limit:
            raise InvalidInput(
                f"The largest batch has {sent:,} bytes, and {part.kind} takes {limit:,} at most: "
                "lower the policy's max_size, or choose another inference type."
            )


def _require_cloud(deployment: Deployment) -> None:
    if not deployment.needs:
        raise InvalidInput(f"{deployment.label} is no endpoint to be estimated.")
