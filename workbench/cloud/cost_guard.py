"""What a deployment may cost and whether the account lets it run: asked before the first call."""

import math
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from workbench.cloud.aws import Cloud
from workbench.costing import Cost, Usage, bill
from workbench.deployment import Async, BatchTransform, Deployment, Lambda, RealTime, Serverless
from workbench.errors import CloudError, InvalidInput, NotAvailable, OverBudget
from workbench.formatting import dollars
from workbench.prices import PriceSheet
from workbench.validation import not_negative, positive

START_AND_STOP_SECONDS = 600.0
"""Seconds that an instance is allowed for starting and stopping, which are billed. Inferred."""

_HOUR = 3600.0
_MIN_UNRESERVED_CALLS = (
    100  # calls at once that must stay for functions without a reserve (Lambda quotas)
)
_MAX_INIT_SECONDS = 10.0  # seconds that an INIT of Lambda's may take


def hourly_cost(deployment: Deployment, *, prices: PriceSheet | None = None) -> float:
    """Return what a deployment costs an hour while nobody calls it, in US dollars.

    >>> hourly_cost(RealTime(instance_type="ml.m5.xlarge", count=2))
    0.46
    >>> hourly_cost(Serverless(memory_mb=2048, max_concurrency=20))
    0.0
    """
    items = bill(deployment, _estimate_usage(deployment, _HOUR), prices=prices)
    return float(sum(item.dollars for item in items))


def estimate_max_cost(
    deployment: Deployment,
    seconds: float,
    *,
    calls: int | None = None,
    bytes_in: float = 0.0,
    bytes_out: float = 0.0,
    prices: PriceSheet | None = None,
) -> Cost:
    """Return the most that a deployment can cost in `seconds` of traffic.

    Instances are billed for the time they take to start and stop, too. On serverless every place
    is taken all the time, unless `calls`, each as long as the type allows, come to less.

    >>> serverless = Serverless(memory_mb=2048, max_concurrency=10)
    >>> round(estimate_max_cost(serverless, 60, calls=5).total, 6)
    0.012
    """
    usage = _estimate_usage(deployment, seconds + START_AND_STOP_SECONDS)
    if isinstance(deployment, Serverless | Lambda):
        on_demand = deployment.max_concurrency - deployment.provisioned
        longest = math.inf if calls is None else calls * _max_billed_seconds(deployment)
        usage = Usage(
            enabled_seconds=usage.enabled_seconds,
            seconds=min(on_demand * seconds, longest),
            provisioned_seconds=min(deployment.provisioned * seconds, longest),
            calls=calls or 0,
        )
    if isinstance(deployment, Async):
        first = max(1, deployment.count)  # what is to have none starts with one
        usage = Usage(instance_seconds=first * (seconds + START_AND_STOP_SECONDS), calls=calls or 0)
    usage = Usage(**{**vars(usage), "bytes_in": bytes_in, "bytes_out": bytes_out})
    items = bill(deployment, usage, prices=prices)
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
        OverBudget: It may cost more than `budget` US dollars.
        NotAvailable: Nobody agreed.
    """
    budget = None if budget is None else not_negative("budget", budget, "US dollars")
    if not cloud.paid:
        return
    text = describe_cost(cost, deployment, cloud, budget=budget)
    (notify or _print_line)(text)
    if not yes:
        _ask_confirmation()


def describe_cost(
    cost: Cost, deployment: Deployment, cloud: Cloud, *, budget: float | None = None
) -> str:
    """Return in words what a deployment may cost.

    Raises:
        OverBudget: That is more than `budget` US dollars.
    """
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

    Args:
        deployment: What runs.
        cloud: Where.
        budget: US dollars that it may cost; None: any amount.
        launched: When it was launched, by `clock`.
        fleet: Gives the seconds of all instances together so far, where their count changes.
        clock: Gives seconds.
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
        if fleet is not None and isinstance(deployment, Async):
            deployment = replace(deployment, count=max(1, deployment.count))  # none has no price
        self._deployment = deployment
        self._budget = budget if cloud.paid else None
        self._launched = launched
        self._fleet = fleet
        self._clock = clock
        self._busy = 0.0
        self._hourly = hourly_cost(deployment)
        self._cost_per_second = _cost_per_second(deployment)
        self.warnings: list[str] = []

    @property
    def dollars(self) -> float:
        """What it has cost, about: bytes and what AWS rounds up apart."""
        up = self._clock() - self._launched
        if self._fleet is not None:
            up = self._fleet() / _instances(self._deployment)
        return up * self._hourly / _HOUR + self._busy * self._cost_per_second

    def add(self, rows: Mapping[str, Any], stopped: threading.Event) -> None:
        """Add the calls of these rows, and set `stopped` once the budget is spent."""
        _, first = np.unique(rows["batch"], return_index=True)
        seconds = (np.asarray(rows["finished"]) - np.asarray(rows["started"]))[first]
        self._busy += float(np.nansum(seconds))
        if self._budget is not None and self.dollars >= self._budget and not stopped.is_set():
            stopped.set()
            self.warnings.append(f"The budget of {dollars(self._budget)} was spent: stopped.")


def check_payload(deployment: Deployment, size: int) -> None:
    """Require that a request of `size` bytes fits the deployment.

    Raises:
        InvalidInput: It is too large.

    >>> check_payload(Serverless(memory_mb=2048, max_concurrency=20), 5_000_000)
    Traceback (most recent call last):
    workbench.errors.InvalidInput: The largest batch has 5,000,000 bytes, and serverless takes ...
    """
    limit = deployment.payload_limit
    if limit is not None and size > limit:
        raise InvalidInput(
            f"The largest batch has {size:,} bytes, and {deployment.kind} takes {limit:,} at most: "
            "lower the policy's max_size, or choose another inference type."
        )


def check_quota(deployment: Deployment, cloud: Cloud) -> None:
    """Require that the account may have that many instances or calls at once, where AWS tells.

    Nothing is known of a cloud that costs nothing, or where AWS may not be asked; what is too much
    is then refused when it is made.

    Raises:
        CloudError: The quota is too small.
    """
    if not cloud.paid:
        return
    if isinstance(deployment, Lambda):
        _check_concurrency(deployment, cloud)
    if not isinstance(deployment, RealTime | Async | BatchTransform):
        return
    use = "transform job" if isinstance(deployment, BatchTransform) else "endpoint"
    name = f"{deployment.instance_type} for {use} usage"  # the quota's name in Service Quotas
    quota = _quota(cloud, name)
    if quota is not None and quota < deployment.count:
        raise CloudError(
            f"The account's quota {name!r} in {cloud.region} is {quota:g}, and "
            f"{deployment.label} takes {deployment.count}: ask for more in Service Quotas, or "
            "choose another type.",
            "ResourceLimitExceeded",
        )


def _check_concurrency(deployment: Lambda, cloud: Cloud) -> None:
    client = cloud.client("lambda", attempts=3)
    try:
        with cloud.translate_errors("tell its limits"):
            limits = client.get_account_settings()["AccountLimit"]
    except (CloudError, NotAvailable):
        return  # whether it is allowed will be seen
    finally:
        client.close()
    left = limits["UnreservedConcurrentExecutions"] - _MIN_UNRESERVED_CALLS
    if left < deployment.max_concurrency:
        raise CloudError(
            f"The account in {cloud.region} has room for functions of {max(0, left)} calls at once "
            f"in all, and {deployment.label} takes {deployment.max_concurrency}: ask for more in "
            "Service Quotas (Concurrent executions), or choose less.",
            "ResourceLimitExceeded",
        )


def _quota(cloud: Cloud, name: str) -> float | None:
    client = cloud.client("service-quotas", attempts=3)
    try:
        with cloud.translate_errors("list the quotas"):
            pages = client.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
            for page in pages:
                for quota in page["Quotas"]:
                    if quota["QuotaName"] == name:
                        return float(quota["Value"])
    except (CloudError, NotAvailable):
        return None  # whether it is allowed will be seen
    finally:
        client.close()
    return None


def _estimate_usage(deployment: Deployment, seconds: float) -> Usage:
    """Return what is billed for being there."""
    seconds = positive("seconds", seconds, "seconds")
    if isinstance(deployment, RealTime | Async | BatchTransform):
        return Usage(instance_seconds=deployment.count * seconds)
    if isinstance(deployment, Serverless | Lambda):
        return Usage(enabled_seconds=deployment.provisioned * seconds)
    raise InvalidInput(f"A {deployment.kind} deployment is no endpoint to be estimated.")


def _instances(deployment: Deployment) -> int:
    """Return how many instances there are without scaling."""
    if isinstance(deployment, Serverless | Lambda):
        return deployment.provisioned
    return deployment.count if isinstance(deployment, RealTime | Async | BatchTransform) else 1


def _cost_per_second(deployment: Deployment) -> float:
    """Return what a second of a call costs."""
    if not isinstance(deployment, Serverless | Lambda):
        return 0.0
    return math.fsum(item.dollars for item in bill(deployment, Usage(seconds=1.0)))


def _max_billed_seconds(deployment: Serverless | Lambda) -> float:
    """Return the seconds that a call is billed at most, INIT included where that is billed."""
    return (
        deployment.time_limit
        if isinstance(deployment, Serverless)
        else deployment.timeout + _MAX_INIT_SECONDS
    )


def _ask_confirmation() -> None:
    if not sys.stdin.isatty():
        raise NotAvailable(
            "Nobody is there to confirm what it may cost: pass yes=True (--yes on the command line)"
            " if that is fine."
        )
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise NotAvailable("It was not confirmed: nothing was made, and nothing is billed.")


def _print_line(line: str) -> None:
    sys.stderr.write(f"{line}\n")
