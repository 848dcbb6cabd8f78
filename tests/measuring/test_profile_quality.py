"""A profile that was taken on a busy machine says so, wherever it is used."""

import numpy as np
import polars as pl
import pytest

import workbench as wb
from workbench.measuring.profile import Profile
from workbench.measuring.profile_cache import ensure_profile
from workbench.measuring.profile_quality import read_load
from workbench.planner import Options, plan

CALM = {"created": "2026-11-28T10:00:00+00:00", "load": 0.3, "environment": {"cores": 2}}


def profile_of(medians, *, spread=0.0, facts=CALM):
    """A profile of these medians by size, whose quartiles lie so many medians apart."""
    levels = np.linspace(-spread, spread, 21)
    rows = [
        {
            "batch_size": size,
            "threads": 1,
            "state": state,
            "repeats": 1000,
            "median": median,
            "low": 0.99 * median,
            "high": 1.01 * median,
            "mean": median,
            "quantiles": (median * (1 + levels)).tolist(),
        }
        for size, median in medians.items()
        for state in ("back to back", "after idle")
    ]
    return Profile(pl.DataFrame(rows), facts)


RISING = {1: 0.010, 2: 0.012, 4: 0.016, 8: 0.024, 16: 0.040}


def test_a_profile_of_a_calm_machine_raises_no_doubt():
    quality = profile_of(RISING, spread=0.2).quality

    assert quality.inversion is None
    assert quality.spread == pytest.approx(0.2)
    assert (quality.date, quality.load, quality.doubts) == (CALM["created"], 0.3, ())
    assert quality.caveat == ""


@pytest.mark.parametrize(
    ("busy", "words"),
    [
        (profile_of(RISING | {16: 0.020}), "A batch of 16 took less time than one of 8"),
        (profile_of(RISING, spread=0.3), "spread over 30 % of their median"),
        (profile_of(RISING, facts=CALM | {"load": 2.5}), "The load was 2.5 on 2 cores"),
    ],
    ids=["falling", "spread", "load"],
)
def test_a_profile_of_a_busy_machine_is_used_with_a_warning(busy, words, model):
    (doubt,) = busy.quality.doubts
    assert words in doubt
    assert "2026-11-28" in busy.quality.caveat
    assert "wb.profile(model, fresh=True)" in busy.quality.caveat

    traffic = wb.poisson(rate=5, duration=60, seed=1)
    options = Options(kinds=["lambda"], lambda_memory_mb=[1769], max_sizes=[1], unseen_draws=0)
    assert plan(busy, traffic, wb.SLO(latency=0.2), options).notes[0] == busy.quality.caveat
    experiment = wb.Experiment(model, wb.Local(), traffic)
    assert busy.quality.caveat in experiment.simulate(busy).warnings
    assert busy.quality.caveat in repr(busy)


def test_equal_times_and_those_of_a_thread_handing_over_are_no_doubt():
    """A model of microseconds takes as long for 16 rows as for 8, more or less."""
    quick = dict.fromkeys(RISING, 2e-5) | {16: 1.985e-5}

    assert profile_of(quick, spread=1.5).quality.doubts == ()


def test_a_profile_of_an_earlier_version_is_not_doubted_for_what_it_does_not_know():
    quality = profile_of(RISING, facts={}).quality

    assert (quality.date, quality.load, quality.cores, quality.doubts) == ("", None, None, ())


def test_a_measured_profile_knows_its_circumstances_and_is_kept_if_asked(
    model, tmp_path, monkeypatch
):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    quick = {"batch_sizes": [1, 2], "budget": 0.01, "repeats": 24, "idle": 0.0}

    found = wb.profile(model, **quick)
    assert found.quality.date.startswith("20")
    assert found.quality.cores >= 1
    assert (found.quality.load is None) == (read_load() is None)
    assert not list(tmp_path.glob("profiles/*"))

    fresh = wb.profile(model, fresh=True, **quick)
    assert ensure_profile(model, largest=2).frame.equals(fresh.frame)
