import sys
import threading

import numpy as np
import polars as pl
import pytest

import workbench as wb
from tests.refused import refused
from workbench.errors import Damaged, InvalidInput, NotFound
from workbench.files import save_frame
from workbench.measuring.kept_calls import MAX_CALLS, delay_calls, thin_calls
from workbench.measuring.profile import (
    AFTER_IDLE,
    BACK_TO_BACK,
    QUANTILE_LEVELS,
    Profile,
    _figures,
    _profile_frame,
    fit_service_times,
)
from workbench.registry.value_times import ValueTimes

STATES = BACK_TO_BACK, AFTER_IDLE


@pytest.fixture(scope="module")
def measured(model):
    return wb.profile(model, batch_sizes=(1, 4, 16, 64), threads=(1, 2), budget=0.05, idle=0.001)


def test_every_cell_is_measured_in_both_states(measured):
    cells = measured.frame.select("batch_size", "threads", "state").rows()

    assert sorted(cells) == sorted(
        (size, threads, state)
        for size in (1, 4, 16, 64)
        for threads in (1, 2)
        for state in (BACK_TO_BACK, AFTER_IDLE)
    )


def test_the_figures_of_a_cell_fit_together(measured):
    for row in measured.frame.iter_rows(named=True):
        assert row["repeats"] >= 24
        assert 0 < row["low"] <= row["median"] <= row["high"]
        assert len(row["quantiles"]) == len(QUANTILE_LEVELS)
        assert row["quantiles"] == sorted(row["quantiles"])
        assert row["quantiles"][10] == pytest.approx(row["median"])


def test_a_measured_size_has_a_service_time_and_a_capacity(measured):
    time = measured.service_time(16, threads=2)

    assert time > 0
    assert measured.capacity(16, threads=2) == pytest.approx(16 / time)


def test_a_size_that_was_not_measured_is_not_guessed(measured):
    with refused(InvalidInput, 5, "[1, 4, 16, 64]", "fit()"):
        measured.service_time(5)
    with refused(InvalidInput, "3 threads"):
        measured.service_time(4, threads=3)


def test_a_fit_stays_within_the_measured_sizes(measured):
    fit = measured.fit()

    assert fit(np.array([2, 32])).shape == (2,)
    for size in (65, 0, np.nan, "8", [1, 65]):
        with refused(InvalidInput, 1, 64, size):
            fit(size)


def test_the_profile_says_where_it_comes_from(measured, model):
    assert measured.origin == "measured: this machine"
    assert measured.label == model.name
    assert measured.facts["model"]["sha256"] == model.sha256
    assert "8 rows" not in repr(measured)
    assert "16 rows" in repr(measured)


def test_saving_and_loading_gives_the_same_profile(measured, tmp_path):
    again = wb.load_profile(measured.save(tmp_path / "profile"))

    assert again.frame.equals(measured.frame)
    assert again.facts == measured.facts


def test_loading_what_is_no_profile(tmp_path):
    save_frame(tmp_path / "other", pl.DataFrame({"a": [1]}), {})

    with refused(Damaged, tmp_path / "other", "'batch_size'"):
        wb.load_profile(tmp_path / "other")
    with refused(NotFound, tmp_path, "facts.json"):
        wb.load_profile(tmp_path)


def test_stopping_keeps_the_rows_measured_so_far(model):
    stopped = threading.Event()
    told = []

    def stop_after_the_first(done, total):
        told.append((done, total))
        stopped.set()

    partial = wb.profile(
        model, batch_sizes=(1, 2), budget=60, progress=stop_after_the_first, stopped=stopped
    )

    assert told[0] == (1, 4)
    assert partial.frame.height >= 1
    assert partial.frame["repeats"].min() >= 24
    assert partial.frame["repeats"].min() < 1000


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"batch_sizes": ()}, ["batch_sizes"]),
        ({"batch_sizes": (0, 1)}, ["batch_sizes", 100000, 0]),
        ({"batch_sizes": [10**7]}, ["batch_sizes", 100000, 10**7]),
        ({"batch_sizes": ["8"]}, ["batch_sizes", "'8'"]),
        ({"batch_sizes": 8}, ["batch_sizes", 8]),
        ({"threads": (2000,)}, ["threads", 1024, 2000]),
        ({"precision": 0}, ["precision", 0]),
        ({"precision": "fine"}, ["precision", "fine"]),
        ({"budget": 0}, ["budget", 0]),
        ({"budget": float("nan")}, ["budget", "nan"]),
        ({"idle": -1}, ["idle", -1]),
        ({"idle": 3600}, ["idle", "60 s", 3600]),
        ({"batch_sizes": (1.5,)}, ["batch_sizes", 1.5]),
        ({"threads": (0,)}, ["threads", 1024, 0]),
    ],
)
def test_impossible_settings_are_refused(model, settings, named):
    with refused(InvalidInput, *named):
        wb.profile(model, **settings)


def test_a_profile_is_of_a_model():
    with refused(InvalidInput, "model", "digits-forest"):
        wb.profile("digits-forest")
    with refused(InvalidInput, "frame", None):
        Profile(None)


def test_a_size_given_twice_is_measured_once(model):
    profile = wb.profile(model, batch_sizes=[2, np.int64(2)], budget=0.001, idle=0)

    assert profile.frame.select("batch_size", "state").rows() == [(2, s) for s in STATES]


def test_a_profile_needs_its_columns():
    with refused(InvalidInput, "missing: ['threads'"):
        Profile(pl.DataFrame({"batch_size": [1]}))


SIZES = np.array([1, 2, 4, 8, 16, 32])


@pytest.mark.parametrize(
    ("kind", "curve"),
    [
        ("affine", lambda n: 2 + 0.5 * n),
        ("quadratic", lambda n: 2 + 0.5 * n + 0.1 * n**2),
        ("piecewise", lambda n: np.where(n <= 4, 3.0, 3 + 2 * (n - 4))),
    ],
)
def test_the_fit_finds_the_kind_of_the_curve(kind, curve):
    fit = fit_service_times(SIZES, curve(SIZES))

    assert fit.kind == kind
    assert fit(SIZES) == pytest.approx(curve(SIZES))


def test_the_error_of_a_fit_is_that_of_sizes_it_has_not_seen():
    bent = np.where(SIZES <= 4, 3.0, 3 + 2 * (SIZES - 4))

    assert fit_service_times(SIZES, bent, kind="affine").error > 0.3
    assert fit_service_times(SIZES, 1 + SIZES, kind="affine").error == pytest.approx(0, abs=1e-9)


def test_a_fit_needs_a_known_kind_and_enough_sizes():
    with refused(InvalidInput, "kind", "cubic"):
        fit_service_times(SIZES, SIZES, kind="cubic")
    with refused(InvalidInput, 4, 3):
        fit_service_times([1, 2, 3], [1, 2, 3])


def test_a_profile_keeps_its_slowest_call_and_the_order_of_calls(measured):
    row = measured.frame.sort("repeats").row(-1, named=True)

    assert row["tail"][-1] == pytest.approx(row["quantiles"][-1])
    assert len(row["samples"]) == len(row["gaps"])
    assert min(row["gaps"]) > 0
    assert measured.span == pytest.approx(max(map(sum, measured.frame["gaps"].to_list())), rel=1e-3)


def kept(count, rows):
    """A profile of many rows that were timed often: the noise of 5 %, and 2 % ten times as long."""
    random = np.random.default_rng(1)
    parts = []
    for size in range(1, rows // 2 + 1):
        for state in STATES:
            times = 0.01 * np.exp(0.05 * random.standard_normal(count))
            times[random.random(count) < 0.02] *= 10
            parts.append(
                {"batch_size": size, "threads": 1, "state": state}
                | _figures(np.cumsum(times) - times, times)
            )
    return Profile(thin_calls(_profile_frame(parts)))


def test_a_profile_with_full_tails_takes_no_more_than_64_kb(tmp_path):
    profile = kept(20_000, 12)

    folder = profile.save(tmp_path / "profile")

    assert sum(file.stat().st_size for file in folder.iterdir()) <= 64_000
    assert sum(map(len, profile.frame["samples"])) <= MAX_CALLS


def test_service_times_have_the_tail_that_was_measured():
    times = wb.ServiceTimes.from_profile(kept(20_000, 2))

    assert times.table.shape == (2, 1001)
    assert times.table[1, 970] < 0.02
    assert times.table[1, 990] > 0.08
    assert times.speed is None  # one by one


def test_rows_are_in_order_whichever_is_completed_first():
    figures = _figures(np.arange(50.0), np.full(50, 0.02))
    keys = [(threads, size, state) for threads in (1, 2) for size in (1, 2) for state in STATES]
    late = [
        {"threads": threads, "batch_size": size, "state": state} | figures
        for threads, size, state in reversed(keys)
    ]

    assert _profile_frame(late)["threads", "batch_size", "state"].rows() == keys


def test_few_calls_after_idle_have_the_tail_of_those_back_to_back():
    busy = kept(20_000, 2).frame.filter(state=BACK_TO_BACK)
    slept = {"batch_size": 1, "threads": 1, "state": AFTER_IDLE}
    idle = _profile_frame([slept | _figures(np.arange(50.0), np.full(50, 0.02))])

    times = wb.ServiceTimes.from_profile(Profile(pl.concat([busy, idle])))

    assert times.idle_table[1, 700] == pytest.approx(0.02, rel=1e-3)
    assert times.idle_table[1, 990] == pytest.approx(times.table[1, 990] + 0.01, rel=1e-2)


def test_the_note_says_how_long_a_slow_stretch_would_have_shown(measured):
    assert f"{measured.span / 4:.2g} s" in measured.note
    assert "tail" not in repr(measured)


def test_profiles_of_the_same_model_that_are_joined_follow_one_another():
    one = kept(100, 2)
    later = delay_calls(one.frame, 5.0)

    assert Profile(later).span == pytest.approx(one.span + 5)


def test_a_pool_with_slow_rows_is_told_by_the_profile(model, monkeypatch):
    found = ValueTimes(ordinary=1e-6, tiny=5e-5, slowest=4e-5, rows=99, slow=7, by_tiny=True)
    monkeypatch.setattr(sys.modules[Profile.__module__], "time_values", lambda *_: found)

    profiled = wb.profile(model, batch_sizes=[1], budget=0.01, idle=0.0, repeats=30)

    assert "7 of 99 rows" in profiled.note


def test_a_pool_of_ordinary_rows_is_not_mentioned(measured):
    assert measured.facts["slow_rows"] == ""
    assert "of the pool" not in measured.note
