"""The demo's traffic, batching and target, and that they decide on any machine."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.cli import demo
from workbench.measuring.profile import AFTER_IDLE, BACK_TO_BACK, QUANTILE_LEVELS, Profile


def seconds(alone, size):
    """What a batch takes on a model like the slow one: 32 at once little over 3 times one alone."""
    return alone * (1 + 0.07 * (size - 1))


def wide(alone):
    """A profile of such a model."""
    rows = [
        {"batch_size": size, "threads": 1, "state": state, "repeats": 100}
        | dict.fromkeys(("median", "low", "high", "mean"), seconds(alone, size))
        | {"quantiles": [seconds(alone, size)] * len(QUANTILE_LEVELS)}
        for size in demo.BATCH_SIZES
        for state in (BACK_TO_BACK, AFTER_IDLE)
    ]
    return Profile(pl.DataFrame(rows), {"model": {"name": demo.MODEL}})


def latencies(experiment, alone):
    """How long each request takes with one worker that needs so long for one alone."""
    arrivals = experiment.trace.arrivals
    batcher = experiment.policy.batcher()
    free = 0.0
    found = np.full(len(arrivals), np.nan)

    def serve(batches, now):
        nonlocal free
        for batch in batches:
            free = max(free, now) + seconds(alone, len(batch))
            found[batch] = free - arrivals[batch]

    for request, now in enumerate([*arrivals, np.inf]):
        due = batcher.due
        if due < now:
            serve(batcher.wake(due), due)
        if request < len(arrivals):
            serve(batcher.add(request, now), now)
    return found


@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("alone", [0.0025, 0.01])
def test_batching_decides_even_if_the_machine_slows_or_quickens_meanwhile(model, alone, speed):
    unbatched, batched = demo.experiments(model, wide(alone)).values()
    target = batched.slo

    slow, fast = (
        np.quantile(latencies(each, alone / speed), target.quantile)
        for each in (unbatched, batched)
    )

    assert slow > 1.1 * target.latency
    assert fast < 0.8 * target.latency


@given(alone=st.floats(min_value=1e-3, max_value=0.05))
def test_the_rate_is_what_the_model_can_do_unbatched(alone):
    profile = wide(alone)

    assert 0.8 < demo.traffic(profile).rate / profile.capacity() < 1.2


def test_both_experiments_get_the_same_traffic_and_target(model):
    unbatched, batched = demo.experiments(model, wide(0.0025), hourly_price=0.5).values()

    assert unbatched.trace == batched.trace
    assert unbatched.deployment == batched.deployment
    assert unbatched.slo == batched.slo
    assert batched.slo.label == "p95 ≤ 100 ms"
    assert (unbatched.policy.label, batched.policy.label) == ("no batching", "up to 32, 30 ms")


def test_a_shorter_demo_has_the_same_bursts_in_less_time():
    profile = wide(0.0025)
    short, long = (demo.traffic(profile, duration=duration) for duration in (5.0, 10.0))
    shares = [each.counts(each.duration / 16) / len(each) for each in (short, long)]

    assert np.corrcoef(*shares)[0, 1] > 0.9


@pytest.mark.parametrize(("alone", "seconds"), [(0.001, 8.0), (0.05, 20.0)])
def test_a_slow_machine_gets_enough_requests_for_a_percentile(alone, seconds):
    assert demo.traffic(wide(alone)).duration == seconds


def test_the_bursts_take_about_a_quarter_of_the_time():
    trace = demo.traffic(wide(0.0025))
    counts = trace.counts(0.1)
    busy = counts > 2 * trace.rate * 0.1

    assert busy.mean() == pytest.approx(0.25, abs=0.05)


def test_the_explanation_tells_what_was_measured(model):
    profile = wide(0.0025)
    told = demo.explain(profile, demo.experiments(model, profile)["batching"])

    assert "2.5 ms for one request and 7.93 ms for 32 at once" in told
    assert "400 requests a second one at a time and 4,038 in batches of 32" in told
