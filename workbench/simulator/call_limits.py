"""Which simulated calls a platform would have ended or refused."""

from bisect import bisect_right
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.deployment.base import Deployment
from workbench.quantiles import longest_within
from workbench.simulator.kernels import Batches
from workbench.units import MB

Mask = NDArray[np.bool_]


class BrokenCalls(NamedTuple):
    """By batch, whether it took too long and whether it carried too much, and both in words."""

    late: Mask
    heavy: Mask
    warnings: tuple[str, ...]


def find_broken_calls(
    batches: Batches, deployment: Deployment, content: NDArray[np.int64]
) -> BrokenCalls:
    """Return which batches break a limit of their deployment.

    Args:
        batches: What was simulated.
        deployment: Where.
        content: Bytes of each request, 0 where unknown.
    """
    late, heavy = np.zeros((2, len(batches.closed)), bool)
    if deployment.call_limit is not None:
        began = batches.closed if deployment.time_limit_from_sending else batches.started
        late = batches.finished - began - batches.init > longest_within(deployment.call_limit)
    most = _largest_content(deployment)
    if most is not None and content.max(initial=0) > 0:  # twice as fast as any()
        # of a job, whose calls the simulator does not know, that of one request
        join = np.maximum if deployment.by_job else np.add
        heavy = join.reduceat(content, batches.first[:-1]) > most
    warnings = []
    if late.any():
        warnings.append(
            f"{late.sum():,} batches took longer than the {deployment.call_limit:g} s after which "
            "AWS fails a call."
        )
    if heavy.any():
        warnings.append(
            f"{heavy.sum():,} batches carried more than the {(most or 0) / MB:.4g} MB that a "
            f"call to {deployment.kind} takes: AWS refuses them."
        )
    return BrokenCalls(late, heavy, tuple(warnings))


def _largest_content(deployment: Deployment) -> int | None:
    """Return the most bytes of content that a call may carry; None: any."""
    most = [
        # an encoding grows with its content, so that the greatest is found by halves
        bisect_right(range(part.payload_limit + 1), part.payload_limit, key=part.payload) - 1
        for part in deployment.simple_parts
        if part.payload_limit is not None
    ]
    return min(most, default=None)
