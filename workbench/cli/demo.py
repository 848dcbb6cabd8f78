"""The demo: traffic that a model can just answer one request at a time, with and without batching.

The average rate is what the model can do unbatched, as measured here and now, but requests come in
bursts, so that they queue up one at a time and do not in batches. Every time is a multiple of the
model's own, so that the demo shows the same on a fast machine and on a slow one.
"""

from workbench import findings
from workbench.batching.timer import BatchPolicy
from workbench.comparison import Comparison
from workbench.deployment import Local
from workbench.experiment import Experiment
from workbench.formatting import duration
from workbench.measuring.profile import Profile
from workbench.quantiles import SLO
from workbench.registry.model import Model
from workbench.traffic.patterns import bursty
from workbench.traffic.trace import Trace

MODEL = "digits-mlp-wide"
BATCH_SIZES = (1, 4, 16, 32)  # few: who tries the demo waits for them

SECONDS = 8.0
"""How long the traffic lasts at least."""

REQUESTS = 400
"""As many are sent at least, however slow the machine: p95 takes 200."""

SEED = 22
"""A seed whose bursts, five in all, take near a quarter of the time, as they do on average."""

_BURST = 10.0  # times the usual rate: plain to see
_DWELL = (3 / 16, 1 / 16)  # mean stays between bursts and in them, as shares of the duration
_MAX_WAIT_SERVICE_TIMES = 12  # service times that the first request of a batch waits for others
_TARGET_SERVICE_TIMES = 40  # service times within which to answer


def experiments(
    model: Model,
    profile: Profile,
    *,
    duration: float | None = None,
    seed: int = SEED,
    hourly_price: float = 0.0,
) -> dict[str, Experiment]:
    """Return the experiments without and with batching, by name.

    Raises:
        InvalidInput: A batch of 1 was not profiled, or an argument is out of range.
    """
    alone = profile.service_time(1)
    policies = {
        "no batching": BatchPolicy(),
        "batching": BatchPolicy(
            max_size=BATCH_SIZES[-1], max_wait=_round_significant(_MAX_WAIT_SERVICE_TIMES * alone)
        ),
    }
    return {
        name: Experiment(
            model=model,
            deployment=Local(hourly_price=hourly_price),
            trace=traffic(profile, duration=duration, seed=seed),
            policy=policy,
            slo=SLO(latency=_round_significant(_TARGET_SERVICE_TIMES * alone)),
        )
        for name, policy in policies.items()
    }


def traffic(profile: Profile, *, duration: float | None = None, seed: int = SEED) -> Trace:
    """Return bursty traffic at the rate that the profiled model can answer one at a time."""
    rate = _round_significant(profile.capacity())
    duration = duration or max(SECONDS, REQUESTS / rate)
    return bursty(
        rate=rate,
        burst=_BURST,
        dwell=(_DWELL[0] * duration, _DWELL[1] * duration),
        duration=duration,
        seed=seed,
    )


def explain(profile: Profile, experiment: Experiment) -> str:
    """Return in a few lines what the profile found and what is asked of the model."""
    most = BATCH_SIZES[-1]
    one, many = (duration(profile.service_time(size)) for size in (1, most))
    return (
        f"{profile.label} takes {one} for one request and {many} for {most} at once "
        "(measured just now),\n"
        f"so one worker can answer {profile.capacity():,.0f} requests a second one at a time "
        f"and {profile.capacity(most):,.0f} in batches of {most}.\n"
        f"Traffic: {experiment.trace.rate:,.0f} requests a second on average, in bursts; "
        f"{len(experiment.trace):,} in all."
    )


def conclude(comparison: Comparison, experiment: Experiment, profile: Profile) -> str:
    """Return what the two runs show, a line a finding."""
    trace, capacity = experiment.trace, profile.capacity()
    found = [
        findings.weigh_batching(profile, BATCH_SIZES[-1]),
        findings.outlast_bursts(comparison, trace, capacity),
        findings.compare_latency(comparison),
        findings.compare_cost(comparison),
    ]
    return "\n".join(map(repr, found))


def _round_significant(value: float) -> float:
    return float(f"{value:.2g}")
