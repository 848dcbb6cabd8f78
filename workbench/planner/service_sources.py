"""Where a plan's service times come from: a model, a profile, times of this machine, a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.deployment.base import Deployment
from workbench.deployment.vcpu_rule import service_on
from workbench.errors import InvalidInput
from workbench.registry.model import Model
from workbench.service_times import ProfileLike, ServiceTimes
from workbench.traffic.trace import Trace

if TYPE_CHECKING:
    from workbench.measuring.profile import Profile
    from workbench.planner.options import Options
    from workbench.progress import Progress

ServiceOn = Callable[[Deployment], ServiceTimes]
"""Service times on a deployment."""

Measured = ProfileLike | ServiceTimes | ServiceOn
"""A profile, service times on this machine, or a function from deployment to service times."""


def load_profile(
    model: Model, trace: Trace, options: Options, progress: Progress | None = None
) -> Profile:
    """Return the profile of a model up to the largest batch that a trace can make."""
    from workbench.measuring.profile_cache import ensure_profile

    sizes, _ = options.sizes(max(options.max_sizes or (32,)))
    largest = max(sizes) * int(trace.rows.max())
    return ensure_profile(model, largest=largest, threads=options.threads, progress=progress)


def resolve_service(source: Measured, trace: Trace, options: Options) -> tuple[ServiceOn, int]:
    """Return service times by deployment, and the most requests in a batch that they cover."""
    least, most = int(trace.rows.min()), int(trace.rows.max())
    on = _make_service_on(source, options, largest=most * max(options.size_choices))
    covered = min(
        _find_largest_covered(on(deployment), least)
        for kind in options.kinds
        for deployment in options.places(kind)
    )
    if covered < most:
        raise InvalidInput(
            f"Service times cover batches of up to {covered} rows without a gap from {least}, and "
            f"requests carry up to {most}: profile those sizes too; nothing is extrapolated."
        )
    return on, covered // most


def _make_service_on(source: Measured, options: Options, largest: int) -> ServiceOn:
    if isinstance(source, ServiceTimes):
        times = source
    elif callable(source):
        return source
    elif hasattr(source, "times"):
        times = ServiceTimes.from_profile(source, threads=options.threads, largest=largest)
    else:
        raise InvalidInput(
            f"plan needs a model, a profile, ServiceTimes or a function, got {source!r}."
        )
    return partial(service_on, times, measured=options.measured, threads=options.threads)


def _find_largest_covered(times: ServiceTimes, least: int) -> int:
    """Return the largest size up to which, from `least` on, every size is covered."""
    sizes = np.array(times.sizes)
    sizes = sizes[sizes >= least]
    run = np.flatnonzero(sizes == np.arange(least, least + len(sizes)))
    return int(sizes[run[-1]]) if len(run) else 0


def describe_model(model: Model, options: Options) -> Options:
    """Return options with the bytes that a model's rows, answers and file have, where not given."""
    sizes: dict[str, Any] = {
        "row_bytes": model.row_bytes,
        "answer_bytes": model.answer_bytes,
        "model_memory": float(model.size_bytes),
    }
    missing = {name: size for name, size in sizes.items() if getattr(options, name) is None}
    return replace(options, **missing)
