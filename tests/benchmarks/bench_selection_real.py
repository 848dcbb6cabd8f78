"""Switching and a cascade against single models, in real runs on this machine and in simulation.

The load saturates the largest model. Each model, alone or as member of an ensemble, has a worker on
each core but one, which is left to the load generator. All runs answer the same trace, so that
differences are paired: each is over blocks of requests, since neighbours wait in the same queue.
"""

import os

import numpy as np

import workbench as wb
from workbench.measuring.cascade_promise import promise_cascade
from workbench.measuring.outcomes import find_outcomes
from workbench.registry import zoo
from workbench.routing import (
    EffectiveAccuracy,
    LowestNetworkLatency,
    MuLambda,
    RandomChoice,
    RoundRobin,
)

TASK = "framed-digits"
NAMES = tuple(
    f"{TASK}-{size}"
    for size in ("logistic", "mlp-large", "patches-medium", "patches-large", "patches-wide")
)
CASCADE = NAMES[-2:]
SECONDS = 10.0  # of each run
LOAD = 1.3  # of the largest model's capacity
TARGET = 100  # service times of the largest model: the machine is shared
BLOCKS = 40
LOSS, CONFIDENCE = 0.005, 0.95
THESIS = {"scp": (-1, 0), "mda": (0, 1), "psa": (-0.5, 0.5)}  # weights of its use cases


def find_effective(run, target):
    """Return of each request the share that is answered right, and in time."""
    in_time = run.frame["latency"].fill_nan(np.inf).to_numpy() <= target
    return np.nan_to_num(run.frame["correct"].to_numpy()) * in_time


def estimate_gain(ours, theirs):
    """Return the mean difference and its 95 % interval, by resampling blocks of requests."""
    blocks = [part.mean() for part in np.array_split(ours - theirs, BLOCKS)]
    draws = np.random.default_rng(1).choice(blocks, (10_000, BLOCKS)).mean(axis=1)
    return float(np.mean(blocks)), *np.quantile(draws, [0.025, 0.975])


def find_busy(run):
    """Return the seconds that models computed, over all calls."""
    frame = run.frame if run.calls is None else run.calls
    batches = frame.drop_nans("finished").unique(["place", "batch"])
    return float((batches["finished"] - batches["started"]).sum())


def switching(models, profiles):
    """Print effective accuracy of each model and of each policy, measured and simulated."""
    workers = max(1, (os.cpu_count() or 1) - 1)
    largest = profiles[max(profiles, key=lambda name: 1 / profiles[name].capacity(1))]
    target = TARGET / largest.capacity(1)
    rate = LOAD * workers * largest.capacity(1)
    trace = wb.poisson(rate=rate, duration=SECONDS, seed=1)
    some = next(iter(models.values()))
    trace = trace.draw_samples(some.samples(), seed=2)
    slo = wb.SLO(latency=target, quantile=0.95)
    everywhere = wb.Local(workers=workers)
    members = {name: wb.Member(model, everywhere) for name, model in models.items()}
    policies = {
        "effective accuracy": EffectiveAccuracy(target=target),
        **{f"thesis {use}": MuLambda(latency=a, accuracy=b) for use, (a, b) in THESIS.items()},
        "round-robin": RoundRobin(),
        "random": RandomChoice(),
        "lowest network latency": LowestNetworkLatency(),
    }
    experiments = {
        **{
            f"only {name}": wb.Experiment(model, everywhere, trace, slo=slo)
            for name, model in models.items()
        },
        **{
            name: wb.Experiment(wb.Ensemble(members, policy), trace=trace, slo=slo)
            for name, policy in policies.items()
        },
    }
    print(f"{rate:,.0f} requests/s, {len(trace):,} in all, within {1000 * target:.1f} ms")
    measured = {}
    for name, each in experiments.items():
        run = each.run()
        given = profiles if each.ensemble is not None else profiles[name.removeprefix("only ")]
        simulated = find_effective(each.simulate(given), target).mean()
        measured[name] = find_effective(run, target)
        answered = np.nanmean(run.frame["correct"].to_numpy())
        print(
            f"  {name:32} measured {measured[name].mean():.3f}  simulated {simulated:.3f}"
            f"  (right {answered:.3f}, in time {run.attainment(target):.3f})"
        )
    for name, theirs in measured.items():
        if name != "effective accuracy":
            gain, low, high = estimate_gain(measured["effective accuracy"], theirs)
            print(f"  above {name:32} by {gain:+.3f} ({low:+.3f} to {high:+.3f})")


def cascade(models, profiles):
    """Print what a cascade with a promise loses and computes against its large model."""
    small, large = (models[name] for name in CASCADE)
    promise = promise_cascade(small, large, loss=LOSS, confidence=CONFIDENCE)
    print(f"  {promise.sentence}")
    rate = 0.3 * profiles[CASCADE[1]].capacity(1)
    trace = wb.poisson(rate=rate, duration=SECONDS, seed=3)
    trace = trace.draw_samples(small.samples(), seed=4)
    members = {name: wb.Member(models[name], wb.Local()) for name in CASCADE}
    runs = [
        wb.Experiment(large, wb.Local(), trace).run(),
        wb.Experiment(wb.Ensemble(members, promise.cascade(*CASCADE)), trace=trace).run(),
    ]
    right = [run.frame["correct"].to_numpy() for run in runs]
    busy = [find_busy(run) for run in runs]
    gain, low, high = estimate_gain(right[1], right[0])
    print(
        f"  measured, {len(trace):,} requests: right {right[1].mean():.3f}, the large model "
        f"{right[0].mean():.3f} ({gain:+.3f}, {low:+.3f} to {high:+.3f}); computing "
        f"{busy[1]:.2f} s of {busy[0]:.2f} s: {busy[1] / busy[0]:.2f}"
    )


def main():
    registry = wb.Registry()
    zoo.build(registry, names=NAMES)
    models = {name: registry[name] for name in dict.fromkeys((*NAMES, *CASCADE))}
    profiles = {name: wb.profile(model, batch_sizes=[1]) for name, model in models.items()}
    for name, model in models.items():
        outcomes = find_outcomes(model)
        print(f"  {name:32} {1e6 / profiles[name].capacity(1):8,.0f} us  {outcomes.accuracy}")
    switching({name: models[name] for name in NAMES}, profiles)
    cascade(models, profiles)


if __name__ == "__main__":
    main()
