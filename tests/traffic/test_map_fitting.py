"""Arrival processes against theory, and fits against the processes that made the trace."""

import csv
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from tests.refused import refused
from workbench.errors import InvalidInput, TooFewSamples
from workbench.traffic.map import MAP, _exponentials, mmpp, poisson_process, stationary_distribution
from workbench.traffic.map_fitting import fit
from workbench.traffic.patterns import bursty, constant, markovian, poisson
from workbench.traffic.replay import from_csv
from workbench.traffic.trace import Trace

DATA = Path(__file__).parents[3] / "shared" / "data"
ERLANG = MAP([[-20, 20], [0, -20]], [[0, 0], [20, 0]])
HYPER = MAP([[-1, 0], [0, -9]], [[0.2, 0.8], [1.8, 7.2]])  # renewal: phases drawn anew, 1 to 4
ALTERNATING = MAP([[-10.1, 0], [0, -202]], [[0.1, 10], [200, 2]])

rates = st.floats(0.01, 100)


@st.composite
def maps(draw):
    entries = draw(st.lists(rates, min_size=6, max_size=6))
    d0 = np.array([[0, entries[0]], [entries[1], 0]])
    d1 = np.array(entries[2:]).reshape(2, 2)
    return MAP(d0 - np.diag((d0 + d1).sum(axis=1)), d1)


# ---------------------------------------------------------------------- figures


def test_a_renewal_process_has_independent_gaps_and_the_dispersion_of_their_scv():
    shares, speeds = np.array([0.2, 0.8]), np.array([1.0, 9.0])
    mean, second = shares @ (1 / speeds), 2 * shares @ (1 / speeds**2)

    assert HYPER.rate == pytest.approx(1 / mean)
    assert HYPER.scv == pytest.approx(second / mean**2 - 1)
    assert HYPER.autocorrelation() == pytest.approx(0, abs=1e-12)
    assert HYPER.dispersion_limit == pytest.approx(HYPER.scv)


def test_erlang_gaps_have_their_moments_and_distribution():
    gaps = np.array([0.01, 0.1, 0.5])

    assert [ERLANG.gap_moment(k) for k in (1, 2, 3)] == pytest.approx([0.1, 0.015, 0.003])
    assert ERLANG.gap_cdf(gaps) == pytest.approx(1 - np.exp(-20 * gaps) * (1 + 20 * gaps))


def test_the_dispersion_of_a_switching_process_is_that_of_the_cookbook():
    # Fischer and Meier-Hellstern (1993), for rates 150 and 900, stays of 4 s and 1 s.
    share, speed, gap, rate = 0.2, 1.25, 750.0, 300.0
    windows = np.array([1e-4, 0.1, 3.0, 1e4])

    excess = 2 * gap**2 * share * (1 - share) / (speed * rate)
    expected = 1 + excess * (1 + np.expm1(-speed * windows) / (speed * windows))

    found = mmpp(rate=rate, burst=6, dwell=(4, 1))
    assert found.dispersion(windows) == pytest.approx(expected, rel=1e-6)
    assert found.dispersion_limit == pytest.approx(1 + excess)


def test_gaps_and_counts_of_a_generated_trace_are_those_of_its_process():
    trace = markovian(ALTERNATING.d0, ALTERNATING.d1, duration=3000, seed=1)
    gaps = trace.gaps
    away = gaps - gaps.mean()

    for lag in (1, 2):
        products = away[:-lag] * away[lag:] / gaps.var()
        blocks = np.array([part.mean() for part in np.array_split(products, 50)])
        error = blocks.std(ddof=1) / math.sqrt(50)
        assert abs(blocks.mean() - ALTERNATING.autocorrelation(lag)) < 5 * error
    for window in (0.2, 2.0):
        error = ALTERNATING.dispersion(window) * math.sqrt(2 * window / trace.duration)
        assert abs(trace.dispersion(window) - ALTERNATING.dispersion(window)) < 5 * error


@settings(max_examples=25, deadline=None)
@given(maps(), maps(), st.floats(0.001, 100))
def test_counts_of_a_superposition_add_in_mean_and_variance(one, other, window):
    both = one + other

    variance = one.rate * one.dispersion(window) + other.rate * other.dispersion(window)
    assert both.rate == pytest.approx(one.rate + other.rate)
    assert both.dispersion(window) * both.rate == pytest.approx(variance, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(maps(), st.floats(0.01, 100))
def test_a_scaled_process_is_the_same_in_a_scaled_window(process, factor):
    fast = process.scale(factor)

    assert fast.rate == pytest.approx(factor * process.rate)
    assert fast.scv == pytest.approx(process.scv)
    assert fast.dispersion(3.0) == pytest.approx(process.dispersion(3.0 * factor), rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(maps(), st.floats(0, 10))
def test_two_phase_exponentials_are_those_of_scipy(process, time):
    for rates in (process.d0, process.d0 + process.d1):
        found = _exponentials(rates, np.array([time]))[0]
        assert found == pytest.approx(expm(rates * time), abs=1e-11)


def test_long_run_shares_of_phases_that_hardly_meet_are_exact():
    rare = 1e-14
    chain = np.array([[0, 1, 0, 0], [3, 0, rare, 0], [0, rare, 0, 1], [0, 0, 1, 0]])

    expected = np.array([3, 1, 1, 1]) / 6

    assert stationary_distribution(chain) == pytest.approx(expected, rel=1e-12)
    assert stationary_distribution(np.array([chain, chain]))[1] == pytest.approx(
        expected, rel=1e-12
    )


def test_the_likelihood_is_the_product_of_the_densities_of_the_gaps():
    gaps = np.random.default_rng(1).exponential(0.05, size=37)
    vector = ALTERNATING.phases_after_arrival
    for gap in gaps:
        vector = vector @ expm(ALTERNATING.d0 * gap) @ ALTERNATING.d1

    assert ALTERNATING.log_likelihood(gaps) == pytest.approx(math.log(vector.sum()))
    assert poisson_process(3).log_likelihood(gaps) == pytest.approx(
        37 * math.log(3) - 3 * gaps.sum()
    )


def test_a_gap_far_too_long_for_the_process_has_a_finite_likelihood():
    assert poisson_process(1000).log_likelihood([100.0]) == pytest.approx(math.log(1000) - 1e5)

    strict = MAP([[-1, 0], [0, -100]], [[0, 1], [100, 0]])  # long and short gaps by turns
    assert -2000 < strict.log_likelihood([100.0, 100.0]) < -1000


def test_superposed_phases_multiply_and_their_gaps_have_a_distribution():
    both = ERLANG + HYPER
    gaps = np.linspace(0, 3, 50)

    assert both.phases == 4
    assert (np.diff(both.gap_cdf(gaps)) >= 0).all()
    assert both.gap_cdf(0.0) == pytest.approx(0, abs=1e-12)
    assert both.describe()["rate"] == pytest.approx(ERLANG.rate + HYPER.rate)


def test_a_process_is_a_value():
    again = pickle.loads(pickle.dumps(ERLANG))  # noqa: S301 - our own bytes

    assert again == ERLANG
    assert hash(again) == hash(ERLANG)
    assert ERLANG != HYPER
    assert ERLANG != "Erlang"
    with pytest.raises(ValueError, match="read-only"):
        again.d0[0, 0] = 1


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: MAP([[-1, 0], [0, -1]], [[1]]), ["(2, 2)", "(1, 1)"]),
        (lambda: MAP([[-2.0]], [[1.0]]), ["d0", "d1", "row 1", -1]),
        (lambda: MAP([[0.0]], [[0.0]]), ["d1", 0]),
        (lambda: MAP([[-1, 0], [0, -1]], [[1, 0], [0, 1]]), ["phase 2", "phase 1"]),
        (lambda: MAP([[-1, 2], [1, -2]], [[-1, 0], [0, 1]]), ["d1", -1]),
        (lambda: poisson_process(0), ["rate", 0]),
        (lambda: mmpp(rate=1, burst=0.5), ["burst", 0.5]),
        (lambda: ERLANG.scale(0), ["factor", 0]),
        (lambda: ERLANG.dispersion(0), ["window", 0]),
        (lambda: ERLANG.dispersion([1, np.inf]), ["window", "[1, inf]"]),
        (lambda: ERLANG.log_likelihood([]), ["gaps"]),
    ],
)
def test_what_is_no_process_is_refused(make, named):
    with refused(InvalidInput, *named):
        make()


# ---------------------------------------------------------------------- fits


def errors_of(found, process):
    """Distances of the fit from the process that made the trace, in standard errors."""
    windows = [float(name[len("dispersion_") : -1]) for name in found.trace if "dispersion" in name]
    moments = [process.scv, process.gap_moment(3) * process.rate**3, process.autocorrelation()]
    expected = [process.rate, *moments, *process.dispersion(windows)]
    fitted, errors = (np.array(list(f.values())) for f in (found.fitted, found.errors))
    return np.abs(fitted - expected) / np.hypot(errors, 0.01 * np.abs(expected))


def batch_maps():
    path = DATA / "batch_maps.csv"
    if not path.exists():
        return []
    with path.open() as file:
        rows = list(csv.DictReader(file))
    names = {d: [f"{d}_{i}{j}" for i in "12" for j in "12"] for d in ("D0", "D1")}
    return [
        MAP(*(np.array([float(row[n]) for n in names[d]]).reshape(2, 2) for d in names))
        for row in rows
    ]


@pytest.mark.parametrize(
    ("process", "kind"),
    [
        (poisson_process(50), "poisson"),
        (mmpp(rate=50, burst=6, dwell=(4, 1)), "mmpp2"),
        (mmpp(rate=50, burst=30, dwell=(0.2, 0.1)), "mmpp2"),
        (ERLANG.scale(5), "map2"),
        (ALTERNATING.scale(2.5), "map2"),
    ],
    ids=["poisson", "slow bursts", "fast bursts", "erlang", "alternating"],
)
def test_a_fit_finds_the_process_of_a_trace(process, kind):
    trace = markovian(process.d0, process.d1, duration=30_000 / process.rate, seed=1)

    found = fit(trace)

    assert found.kind == kind
    assert found.map.rate == pytest.approx(trace.rate)
    assert errors_of(found, process).max() < 5
    assert found.ks_distance < 0.02
    assert found.misfit < 2
    assert found.warnings == ()
    likelihood = process.log_likelihood(trace.gaps) / len(trace.gaps)
    assert found.log_likelihood == pytest.approx(likelihood, abs=0.05)


@pytest.mark.skipif(not batch_maps(), reason="needs shared/data beside the checkout")
def test_the_maps_published_with_batch_are_found_again():
    for number, process in enumerate(batch_maps()):
        trace = markovian(process.d0, process.d1, duration=12_000 / process.rate, seed=number)

        found = fit(trace)

        assert errors_of(found, process).max() < 5, number
        assert found.map.dispersion(10 / process.rate) == pytest.approx(
            process.dispersion(10 / process.rate), rel=0.15
        )
        assert found.map.scv == pytest.approx(process.scv, rel=0.1)


def test_a_fit_from_gaps_is_that_of_the_trace():
    trace = bursty(rate=100, burst=5, dwell=(1, 1), duration=100, seed=2)

    found = fit(trace.gaps, "mmpp2")

    assert found.map.rate == pytest.approx(fit(trace, "mmpp2").map.rate, rel=0.01)
    assert found.map.scv == pytest.approx(fit(trace, "mmpp2").map.scv, rel=0.02)


def test_burstiness_that_is_missed_in_the_window_that_matters_is_said():
    trace = bursty(rate=100, burst=8, dwell=(0.5, 0.25), duration=200, seed=3)

    missed, met = fit(trace, "poisson", window=0.2), fit(trace, window=0.2)

    assert any("200 ms" in w and "at the window that matters" in w for w in missed.warnings)
    assert met.warnings == ()
    assert met.map.dispersion(0.2) == pytest.approx(trace.dispersion(0.2), rel=0.1)


def test_a_trace_that_is_bursty_on_two_scales_is_met_on_one_and_the_other_is_named():
    fast = bursty(rate=100, burst=10, dwell=(0.02, 0.02), duration=2000, seed=4)
    slow = bursty(rate=20, burst=50, dwell=(60, 20), duration=2000, seed=5)

    found = fit(fast + slow)

    assert found.misfit > 2
    assert len(found.warnings) == 1
    assert "is missed: the index of dispersion is" in found.warnings[0]
    assert "that matters" not in found.warnings[0]


def test_even_gaps_are_fitted_by_the_least_variable_process_and_a_warning():
    found = fit(constant(rate=10, duration=100), "map2")

    assert found.map.scv == pytest.approx(0.5, abs=0.01)
    assert found.ks_distance > 0.3
    assert "The gaps are missed: up to some length" in found.warnings[-1]


@pytest.mark.parametrize("kind", ["mmpp2", "map2"])
def test_a_two_phase_fit_of_a_poisson_trace_is_nearly_poisson(kind):
    found = fit(poisson(rate=20, duration=1000, seed=1), kind)

    assert found.map.scv == pytest.approx(1, abs=0.05)
    assert found.map.dispersion([0.1, 1, 10]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("name", "window", "ks_distance"), [("conv", 0.5, 0.03), ("code", 0.5, 0.3)]
)
def test_real_inference_requests_are_met_at_the_batching_window(name, window, ks_distance):
    path = DATA / f"azure_llm_2023_{name}.csv"
    if not path.exists():
        pytest.skip("needs shared/data beside the checkout")

    trace = from_csv(path)
    found = fit(trace, window=window)

    assert found.map.dispersion(window) == pytest.approx(trace.dispersion(window), rel=0.1)
    assert found.ks_distance < ks_distance
    assert not any("that matters" in warning for warning in found.warnings)


def test_a_fit_shows_what_it_asked_and_reached():
    found = fit(poisson(rate=20, duration=100, seed=1), "poisson", window=0.33)

    assert found.frame.columns == ["figure", "trace", "fitted", "error"]
    assert {"rate", "scv", "autocorrelation_1", "dispersion_0.33s"} <= set(found.frame["figure"])
    assert repr(found).startswith("<Fit poisson, misfit ")


@pytest.mark.parametrize(
    ("error", "call", "named"),
    [
        (TooFewSamples, lambda: fit([1.0] * 199), [200, 199]),
        (InvalidInput, lambda: fit("often"), ["gaps"]),
        (InvalidInput, lambda: fit([1.0] * 300, window="1"), ["window", 1]),
        (TooFewSamples, lambda: fit([1.0] * 300, window=16), ["window", 20, 16]),
        (InvalidInput, lambda: fit([1.0] * 300, "mmpp3"), ["kind", "mmpp3"]),
        (InvalidInput, lambda: fit([0.0] * 300), ["gaps"]),
        (InvalidInput, lambda: fit([1.0, -1.0] * 300), ["gaps"]),
        (TooFewSamples, lambda: fit(Trace([0.0, 1.0], 2.0)), [200, 1]),
    ],
)
def test_what_cannot_be_fitted_is_refused(error, call, named):
    with refused(error, *named):
        call()


def test_a_window_close_to_one_of_the_grid_takes_its_place():
    trace = poisson(rate=100, duration=10, seed=2)

    fitted = fit(trace, window=10 / 20 * (1 - 1e-12))

    assert sum(name.startswith("dispersion_0.5s") for name in fitted.trace) == 1
