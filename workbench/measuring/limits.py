"""What a run can send and cost at most, known before it begins."""

from workbench.cloud.autoscaling import estimate_scaled
from workbench.cloud.cost_guard import START_AND_STOP_SECONDS, check_payload, estimate_max_cost
from workbench.deployment.platforms import JobPlatform
from workbench.measuring.setup import AnySetup, Setup, find_largest, list_plain
from workbench.measuring.transform_run import jobs_of
from workbench.pricing.cost import Cost
from workbench.scaling.base import ScalingPolicy
from workbench.validation import positive

_HEADER_BYTES = 128  # NumPy's format puts this much before the rows of a batch


def estimate_cost(setup: AnySetup, *, drain: float, scaling: ScalingPolicy | None) -> Cost:
    """Return the most that a run can cost on a cloud that costs money.

    Each member of an ensemble is counted as if it got all requests. Arguments and errors are those
    of `Experiment.estimate`.
    """
    deployment, trace = setup.deployment, setup.trace
    positive("drain", drain, "seconds")
    if deployment.by_job:
        return estimate_max_cost(deployment, seconds_of_jobs(setup))
    bytes_in = sum(map(bytes_of_trace, list_plain(setup)))
    seconds = trace.duration + drain
    return estimate_scaled(deployment, scaling, seconds, calls=len(trace), bytes_in=bytes_in)


def seconds_of_jobs(setup: AnySetup) -> float:
    """Return the seconds for which the instances of a trace's transform jobs can be up."""
    platform = setup.deployment.platform
    period = platform.period if isinstance(platform, JobPlatform) else None
    jobs = len(jobs_of(setup.trace, period))
    return setup.trace.duration + (jobs - 1) * START_AND_STOP_SECONDS


def bytes_of_trace(setup: Setup) -> float:
    """Return the bytes of all rows of a trace."""
    return float(setup.trace.rows.sum()) * setup.model.row_bytes


def check_batches(setup: Setup) -> None:
    """Require that the largest batch fits a request to the deployment."""
    size = find_largest(setup) * int(setup.model.row_bytes) + _HEADER_BYTES
    check_payload(setup.deployment, size)
