"""From memory or instance type to service time: a stated rule, which measurements override.

The rule: `threads` compute threads keep as many vCPUs busy, so a deployment with at least as many
serves as fast as the machine that was measured, and one with fewer is slower by threads / vCPUs. A
model of one thread gains nothing beyond one vCPU. Lambda publishes its vCPUs (one at 1769 MB, in
proportion to memory); that SageMaker serverless does the same is inferred; an instance's are in
data/instances.csv. Two things the rule does not know: how fast the provider's vCPU is compared to
the core that was measured, and that a call shorter than the scheduler's period may finish before
its share is used up::

    service_on(times, Serverless(memory_mb=1024, max_concurrency=20))      # 1.73 times as long
    service_on(times, Serverless(...), measured={1024: times_at_1024_mb})  # as measured
"""

from collections.abc import Mapping

from workbench.deployment.base import Deployment, Size
from workbench.service_times import ServiceTimes
from workbench.validation import of_kind, whole_number


def slowdown(deployment: Deployment, *, threads: int = 1) -> float:
    """Return how many times longer than on cores of their own `threads` take, by the rule.

    The workers of an instance share its vCPUs: the factor is that of all of them being busy.
    A machine whose vCPUs are not known counts as the one that was measured: 1.

    Raises:
        InvalidInput: threads is below 1.
        NotFound: The vCPUs of the instance type are not known.

    >>> from workbench.deployment import Lambda, RealTime
    >>> slowdown(Lambda(memory_mb=884, max_concurrency=9)).__round__(3)
    2.001
    >>> slowdown(Lambda(memory_mb=10240, max_concurrency=9))
    1.0
    >>> slowdown(RealTime(instance_type="ml.m5.large", workers=4))
    2.0
    """
    whole_number("threads", threads, low=1)
    vcpus = deployment.vcpus
    return 1.0 if vcpus is None else max(1.0, threads * deployment.instance_workers / vcpus)


def service_on(
    service: ServiceTimes,
    deployment: Deployment,
    *,
    measured: Mapping[Size, ServiceTimes] | None = None,
    threads: int = 1,
) -> ServiceTimes:
    """Return the service times on a deployment: measured ones where given, else by the rule.

    Args:
        service: Times on this machine, each thread on a core of its own.
        deployment: Where batches are to be served.
        measured: Times by memory in MB or instance type; only the very size takes precedence.
        threads: Compute threads of a batch.

    The label says which of the two it was.

    Raises:
        InvalidInput: measured holds something else than service times, or threads is below 1.
        NotFound: The vCPUs of the instance type are not known.

    >>> from workbench.deployment import Serverless
    >>> times = ServiceTimes({1: 0.010}, label="mine")
    >>> on = Serverless(memory_mb=1024, max_concurrency=20)
    >>> service_on(times, on)
    <ServiceTimes mine, x 1.73 by rule (0.579 vCPUs, 1024 MB): of 1 rows, constant>
    >>> service_on(times, on, measured={1024: ServiceTimes({1: 0.02})})
    <ServiceTimes measured at 1024 MB: of 1 rows, constant>
    """
    size = deployment.size
    own = {} if measured is None else of_kind("measured", measured, Mapping, "times by size")
    for key, times in own.items():
        of_kind(f"measured[{key!r}]", times, ServiceTimes, "ServiceTimes")
    if size is not None and size in own:
        return _label_measured(own[size], size)
    factor = slowdown(deployment, threads=threads)
    if size is None:
        return service
    rule = f"x {factor:.3g} by rule ({deployment.vcpus:.3g} vCPUs, {_format_size(size)})"
    return service.scale(factor, label=f"{service.label}, {rule}" if service.label else rule)


def _label_measured(times: ServiceTimes, size: Size) -> ServiceTimes:
    where = f"measured at {_format_size(size)}"
    return times.scale(1.0, label=f"{times.label}, {where}" if times.label else where)


def _format_size(size: Size) -> str:
    return f"{size} MB" if isinstance(size, int) else size
