"""What a run can send and cost at most, known before it begins."""

from workbench.cloud.cost_guard import START_AND_STOP_SECONDS, check_payload, estimate_max_cost
from workbench.deployment.platforms import JobPlatform
from workbench.measuring.setup import Setup
from workbench.measuring.transform_run import jobs_of
from workbench.pricing.cost import Cost

_HEADER_BYTES = 128  # NumPy's format puts this much before the rows of a batch


def estimate_cost(setup: Setup, *, drain: float) -> Cost:
    """Return the most that a run can cost on a cloud that costs money.

    Args:
        setup: What is measured.
        drain: Seconds that answers are awaited after the end of the trace.

    Raises:
        InvalidInput: The deployment does not go on a cloud.
    """
    if setup.deployment.by_job:
        return estimate_max_cost(setup.deployment, seconds_of_jobs(setup))
    return estimate_max_cost(
        setup.deployment,
        setup.trace.duration + drain,
        calls=len(setup.trace),
        bytes_in=bytes_of_trace(setup),
    )


def seconds_of_jobs(setup: Setup) -> float:
    """Return the seconds for which the instances of a trace's transform jobs can be up."""
    platform = setup.deployment.platform
    period = platform.period if isinstance(platform, JobPlatform) else None
    jobs = len(jobs_of(setup.trace, period))
    return setup.trace.duration + (jobs - 1) * START_AND_STOP_SECONDS


def bytes_of_trace(setup: Setup) -> float:
    """Return the bytes of all rows of a trace."""
    return float(setup.trace.rows.sum()) * _bytes_of_row(setup)


def check_batches(setup: Setup) -> None:
    """Require that the largest batch fits a request to the deployment.

    Raises:
        InvalidInput: It does not.
    """
    size = setup.largest * _bytes_of_row(setup) + _HEADER_BYTES
    check_payload(setup.deployment, size)


def _bytes_of_row(setup: Setup) -> int:
    return int(setup.model.samples().inputs[:1].nbytes)
