import numpy as np
import polars as pl
import pytest

from tests.refused import refused
from workbench.errors import Damaged, InvalidInput
from workbench.measuring.profile import QUANTILE_LEVELS, Profile
from workbench.measuring.profile_cache import (
    ensure_profile,
    keep_profile,
    read_service_times,
    sizes_up_to,
)
from workbench.provenance import machine_key
from workbench.service_times import ServiceTimes, digest_of


def row(size, threads, seconds, state):
    return {
        "batch_size": size,
        "threads": threads,
        "state": state,
        "repeats": 100,
        "median": seconds,
        "low": seconds,
        "high": seconds,
        "mean": seconds,
        "quantiles": [seconds] * len(QUANTILE_LEVELS),
    }


class Meter:
    """Measures by a formula, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, model, *, batch_sizes, threads, progress=None):
        self.asked.append((list(batch_sizes), *threads))
        if progress:
            progress(1, 1)
        rows = [
            row(size, threads[0], 0.01 + 0.001 * size, state)
            for size in batch_sizes
            for state in ("back to back", "after idle")
        ]
        facts = {"model": {"sha256": model.sha256}, "created": f"call {len(self.asked)}"}
        return Profile(pl.DataFrame(rows), facts)


@pytest.fixture(name="meter")
def _meter(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    return Meter()


def test_a_profile_is_measured_once(meter, model):
    first = ensure_profile(model, largest=8, measure=meter)
    again = ensure_profile(model, largest=8, measure=meter)

    assert meter.asked == [([1, 2, 4, 8], 1)]
    assert again.frame.sort("batch_size", "state").equals(first.frame.sort("batch_size", "state"))


def test_a_profile_from_before_the_machine_was_started_is_measured_again(meter, model, monkeypatch):
    ensure_profile(model, largest=2, measure=meter)
    ensure_profile(model, largest=2, measure=meter)
    assert len(meter.asked) == 1

    monkeypatch.setattr("workbench.measuring.profile_cache.boot_date", lambda: "call 1+")
    again = ensure_profile(model, largest=2, measure=meter)

    assert len(meter.asked) == 2
    assert again.quality.date == "call 2"


def test_what_is_kept_by_hand_takes_the_place_of_what_was_kept(meter, model):
    ensure_profile(model, largest=2, measure=meter)
    fresh = Profile(pl.DataFrame([row(size, 1, 0.5, "back to back") for size in (1, 2)]))

    assert keep_profile(model, fresh) is fresh
    kept = ensure_profile(model, largest=2, measure=meter)

    assert kept.service_time(2) == 0.5
    assert len(meter.asked) == 1


def test_a_profile_of_two_measurements_is_as_old_and_as_busy_as_either(
    model, tmp_path, monkeypatch
):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    circumstances = iter([("2026-11-02", 9.0), ("2026-11-03", 1.0)])

    def measure(model, *, batch_sizes, threads, progress=None):
        found = Meter()(model, batch_sizes=batch_sizes, threads=threads)
        date, load = next(circumstances)
        return Profile(found.frame, {"created": date, "load": load})

    monkeypatch.setattr("workbench.measuring.profile_cache.boot_date", lambda: "")
    ensure_profile(model, largest=1, measure=measure)
    both = ensure_profile(model, largest=2, measure=measure).quality

    assert (both.date, both.load) == ("2026-11-02", 9.0)


def test_only_missing_sizes_are_measured(meter, model):
    ensure_profile(model, largest=4, measure=meter)
    grown = ensure_profile(model, largest=12, measure=meter)

    assert meter.asked == [([1, 2, 3, 4], 1), ([8, 12], 1)]
    assert grown.times()["batch_size"].to_list() == [1, 2, 3, 4, 8, 12]
    assert ensure_profile(model, largest=10, measure=meter).frame.height == grown.frame.height


def test_threads_are_measured_apart(meter, model):
    ensure_profile(model, largest=2, measure=meter)
    both = ensure_profile(model, largest=2, threads=2, measure=meter)

    assert meter.asked == [([1, 2], 1), ([1, 2], 2)]
    assert both.times(threads=1).height == both.times(threads=2).height == 2


def test_models_are_kept_apart(meter, model, registry):
    ensure_profile(model, largest=1, measure=meter)
    ensure_profile(registry["digits-mlp-wide"], largest=1, measure=meter)

    assert len(meter.asked) == 2


def test_progress_is_told_of_a_measurement(meter, model):
    told = []

    ensure_profile(model, largest=1, measure=meter, progress=lambda *step: told.append(step))

    assert told == [(0, 2), (1, 1)]  # before anything is measured, it can be given up


def test_a_damaged_profile_is_reported(meter, model, tmp_path):
    ensure_profile(model, largest=1, measure=meter)
    (facts,) = tmp_path.glob("profiles/*/facts.json")
    facts.write_text("{")

    with refused(Damaged, facts):
        ensure_profile(model, largest=1, measure=meter)


def test_another_processor_is_another_machine():
    facts = {"cpu": "a", "cores": 2, "versions": {"onnxruntime": "1.22"}}

    keys = {
        machine_key(facts),
        machine_key(facts | {"cpu": "b"}),
        machine_key(facts | {"cores": 4}),
    }

    assert len(keys) == 3


@pytest.mark.parametrize("largest", range(1, 70))
def test_sizes_reach_from_one_to_the_largest_and_can_be_fitted(largest):
    sizes = sizes_up_to(largest)

    assert sizes[0] == 1
    assert sizes[-1] == largest
    assert len(sizes) >= min(4, largest)


def test_the_error_between_sizes_is_told():
    seconds = {1: 0.010, 2: 0.020, 4: 0.030, 8: 0.100}
    rows = [
        row(s, 1, t, state) for s, t in seconds.items() for state in ("back to back", "after idle")
    ]

    times, facts = read_service_times(Profile(pl.DataFrame(rows), {"created": "today"}))

    assert times.means[3] == pytest.approx(0.025)
    between_1_and_4, between_2_and_8 = 0.010 + 0.020 / 3, 0.020 + 0.080 / 3
    error = np.mean([1 - between_1_and_4 / 0.020, between_2_and_8 / 0.030 - 1])
    assert facts["between"] == {"kind": "piecewise", "error": pytest.approx(error)}
    assert facts["measured_sizes"] == [1, 2, 4, 8]
    assert facts["created"] == "today"


def test_too_few_sizes_have_no_error():
    rows = [row(1, 1, 0.01, state) for state in ("back to back", "after idle")]

    assert read_service_times(Profile(pl.DataFrame(rows)))[1]["between"]["error"] is None


def test_the_digest_hangs_on_the_sizes_in_question_only():
    short, long = ServiceTimes({1: 0.1, 2: 0.2}), ServiceTimes({1: 0.1, 2: 0.2, 3: 0.3})

    assert digest_of(short, 2) == digest_of(long, 2) != digest_of(long, 3)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"largest": 0}, ["largest", 0]),
        ({"threads": 0}, ["threads", 0]),
    ],
)
def test_impossible_sizes_are_refused(meter, model, settings, named):
    with refused(InvalidInput, *named):
        ensure_profile(model, measure=meter, **settings)
