import json
import math
import pickle
import resource
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import linalg, stats

from workbench import trace as tr
from workbench.errors import InvalidInput, NotFound, StorageError
from workbench.trace import Trace

DATA = Path(__file__).parents[2] / "shared" / "data"

MMPP = {"rate": 500.0, "burst": 5.0, "dwell": (0.4, 0.1)}
FLASH = {"rate": 40.0, "peak": 8.0, "start": 20.0, "ramp": 10.0, "hold": 15.0, "decay": 8.0}
WAVE = {"rate": 100.0, "swing": 0.9, "period": 40.0}
ERLANG3 = ([[-300, 300, 0], [0, -300, 300], [0, 0, -300]], [[0, 0, 0], [0, 0, 0], [300, 0, 0]])
MAPS = {
    "switched": ([[-202.0, 2.0], [10.0, -1010.0]], [[200.0, 0.0], [0.0, 1000.0]]),
    "full": ([[-120.0, 20.0], [5.0, -900.0]], [[90.0, 10.0], [15.0, 880.0]]),
    "alternating": ([[-50.0, 0.0], [0.0, -1000.0]], [[5.0, 45.0], [900.0, 100.0]]),
    "Erlang": ERLANG3,
}
GENERATORS = {
    "poisson": lambda **kw: tr.poisson(rate=50, duration=20, **kw),
    "bursty": lambda **kw: tr.bursty(rate=50, burst=4, dwell=(1, 0.2), duration=20, **kw),
    "diurnal": lambda **kw: tr.diurnal(rate=50, swing=0.5, period=10, duration=20, **kw),
    "flash crowd": lambda **kw: tr.flash_crowd(**FLASH, duration=80, **kw),
    "markovian": lambda **kw: tr.markovian(*MAPS["full"], duration=20, **kw),
    "from_counts": lambda **kw: tr.from_counts([40, 0, 7], period=60, **kw),
}


def assert_mean(samples, expected, standard_errors=5.0):
    """The mean of independent samples lies within so many standard errors of the theory."""
    samples = np.asarray(samples, float)
    error = samples.std(ddof=1) / math.sqrt(len(samples))
    assert abs(samples.mean() - expected) <= standard_errors * error, (samples.mean(), expected)


def assert_poisson_counts(trace, rate_at, bins):
    """Counts in equal bins: each within 5 standard errors of its integral, and chi-square too."""
    edges = np.linspace(0, trace.duration, bins + 1)
    inside = (edges[:-1, None] + (np.arange(400) + 0.5) / 400 * (edges[1] - edges[0])).T
    expected = rate_at(inside).mean(axis=0) * (edges[1] - edges[0])
    z = (trace.counts(edges[1]) - expected) / np.sqrt(expected)
    assert np.abs(z).max() < 5
    assert abs((z**2).sum() - bins) < 5 * math.sqrt(2 * bins)


# ---------------------------------------------------------------------- the value


def test_a_trace_keeps_copies_that_cannot_be_written():
    times = np.array([0.0, 1.0, 2.0])

    trace = Trace(times, 3.0)
    times[0] = 0.5

    assert trace.arrivals.tolist() == [0.0, 1.0, 2.0]
    for array in (trace.arrivals, trace.rows, trace.bytes, trace.sample):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(AttributeError):
        trace.duration = 4.0


def test_a_request_carries_one_row_no_known_bytes_and_its_own_number_by_default():
    trace = Trace([0, 1, 1], 3)

    assert trace.frame.to_dict(as_series=False) == {
        "arrival": [0.0, 1.0, 1.0],
        "rows": [1, 1, 1],
        "bytes": [0, 0, 0],
        "sample": [0, 1, 2],
    }
    assert [a.dtype for a in (trace.arrivals, trace.rows, trace.bytes, trace.sample)] == [
        np.float64,
        np.int32,
        np.int64,
        np.int64,
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"arrivals": []}, "at least one request, got none"),
        ({"arrivals": 3.0}, r"one dimension, got shape \(\)"),
        ({"arrivals": [[1.0]]}, r"one dimension, got shape \(1, 1\)"),
        ({"arrivals": [[1.0], [1.0, 2.0]]}, "must be one list of values"),
        ({"arrivals": ["soon"]}, "numbers of seconds, got <U4: for instants"),
        ({"arrivals": [0.0, math.nan]}, "finite and at least 0, got nan in row 2"),
        ({"arrivals": [0.0, math.inf]}, "finite and at least 0, got inf in row 2"),
        ({"arrivals": [-1.0]}, "finite and at least 0, got -1 in row 1"),
        ({"arrivals": [0.0, 2.0, 1.0]}, "sorted, but row 3 .* at 1 s comes before row 2 at 2 s"),
        ({"duration": 0.5}, "at least the last arrival, 1 s, got 0.5"),
        ({"duration": math.inf}, "duration must be a finite number above 0, got inf"),
        ({"duration": "long"}, "duration must be a finite number above 0, got 'long'"),
        ({"arrivals": [0.0], "duration": 0}, "duration must be a finite number above 0, got 0"),
        ({"rows": [1, 0]}, "rows must be whole numbers of at least 1 .* got 0 in row 2"),
        ({"rows": 1.5}, "rows must be whole numbers of at least 1 .* got 1.5 in row 1"),
        ({"rows": 2**31}, "below 2147483648, got 2147483648"),
        ({"rows": [1, 2, 3]}, r"rows must be one number or 2, one for each, got shape \(3,\)"),
        ({"rows": ["a", "b"]}, "rows must be whole numbers, got <U1"),
        ({"bytes": [0, -1]}, "bytes must be whole numbers of at least 0 .* got -1 in row 2"),
        ({"sample": [0, math.nan]}, "sample must be whole numbers .* got nan in row 2"),
    ],
)
def test_what_is_not_a_trace_is_refused(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        Trace(**{"arrivals": [0.0, 1.0], "duration": 2.0} | arguments)


def test_traces_of_the_same_content_are_equal_whatever_their_name():
    first, same = Trace([0.0, 1.0], 2.0, name="a"), Trace([0, 1], 2, name="b")

    assert first == same
    assert len({first, same}) == 1
    assert first != "a"


@pytest.mark.parametrize(
    "other",
    [{"arrivals": [0.0, 1.5]}, {"duration": 3.0}, {"rows": 2}, {"bytes": 9}, {"sample": [1, 0]}],
)
def test_the_digest_tells_every_part_of_the_content_apart(other):
    base = {"arrivals": [0.0, 1.0], "duration": 2.0}

    assert Trace(**base).digest != Trace(**base | other).digest
    assert len(Trace(**base).digest) == 64


def test_a_trace_that_travelled_is_equal_and_still_cannot_be_written():
    trace = Trace([0.0, 1.0], 2.0, rows=[3, 4], name="a", notice="terms")

    arrived = pickle.loads(pickle.dumps(trace))  # noqa: S301 - our own bytes

    assert arrived == trace
    assert (arrived.name, arrived.notice) == ("a", "terms")
    assert not arrived.arrivals.flags.writeable


def test_a_trace_says_what_it_is():
    assert repr(Trace([0.0], 2.0)) == "<Trace: 1 request in 2 s, 0.5 per second>"
    assert repr(tr.constant(rate=2, duration=10)) == (
        "<Trace constant(rate=2, duration=10): 20 requests in 10 s, 2 per second>"
    )
    assert tr.bursty(rate=300, burst=6, dwell=(5, 1.5), duration=60, seed=1, rows=(1, 8)).name == (
        "bursty(rate=300, burst=6, dwell=(5, 1.5), duration=60, seed=1, rows=(1, 8))"
    )
    assert tr.markovian([[-3]], [[3]], duration=9, seed=np.random.default_rng(1)).name == (
        "markovian(d0=[[-3]], d1=[[3]], duration=9, seed=Generator)"
    )


def test_the_rich_display_escapes_what_it_shows():
    page = Trace([0.0, 1.0], 2.0, name="<b>", notice="A & B")._repr_html_()

    assert "&lt;b&gt;" in page
    assert "<pre>A &amp; B</pre>" in page
    assert ">requests</th><td style='text-align: right'>2</td>" in page


# ---------------------------------------------------------------------- its figures


def test_counts_are_of_whole_windows_and_the_last_one_has_its_end():
    trace = Trace([0.0, 1.0, 1.5, 2.0, 5.0, 6.0], 6.0)

    assert trace.counts(2.0).tolist() == [3, 1, 2]
    assert trace.counts(2.5).tolist() == [4, 0]
    assert trace.counts(7.0).tolist() == []


def test_describe_gives_the_figures_of_a_trace_worked_by_hand():
    trace = Trace([0.5, 1.25, 1.5, 3.5], 4.0)  # per second: 1, 2, 0, 1; gaps 0.75, 0.25, 2

    assert trace.gaps.tolist() == [0.75, 0.25, 2.0]
    figures = trace.describe()
    assert figures.pop("scv") == pytest.approx(np.var([0.75, 0.25, 2.0]) / 1.0)
    assert figures == {
        "requests": 4,
        "duration": 4.0,
        "rate": 1.0,
        "dispersion_1s": pytest.approx(2 / 3),
        "dispersion_10s": None,
        "dispersion_60s": None,
        "peak_to_mean": 2.0,
    }


@pytest.mark.parametrize("trace", [Trace([0.0], 0.5), Trace([0.1, 0.1, 0.1], 0.5)])
def test_figures_a_short_trace_does_not_carry_are_none(trace):
    figures = trace.describe()

    assert [k for k, v in figures.items() if v is not None] == ["requests", "duration", "rate"]
    assert json.loads(json.dumps(figures)) == figures


@pytest.mark.parametrize("window", [0, -1.0, math.nan])
def test_a_window_that_is_not_above_zero_is_refused(window):
    with pytest.raises(InvalidInput, match="window must be a finite number above 0"):
        Trace([0.0], 1.0).counts(window)


# ---------------------------------------------------------------------- composing


@st.composite
def traces(draw):
    times = np.sort(draw(hnp.arrays(float, st.integers(1, 20), elements=st.floats(0, 100))))
    carried = {
        name: draw(hnp.arrays(np.int64, len(times), elements=st.integers(least, 1000)))
        for name, least in (("rows", 1), ("bytes", 0), ("sample", 0))
    }
    longer = draw(st.floats(0, 10))
    return Trace(times, max(float(times[-1]) + longer, 1e-3), **carried, name=draw(st.text()))


def requests(trace):
    return list(trace.frame.iter_rows())


@given(traces(), traces())
def test_superposed_traces_keep_every_request_with_what_it_carries(a, b):
    both = a + b

    assert requests(both) == sorted(requests(a) + requests(b), key=lambda request: request[0])
    assert both.duration == max(a.duration, b.duration)


@given(traces(), st.floats(1e-3, 1e3))
def test_scaling_divides_times_and_nothing_else(trace, factor):
    fast = trace.scale(factor)

    assert (fast.arrivals == trace.arrivals / factor).all()
    assert fast.duration == trace.duration / factor
    assert [r[1:] for r in requests(fast)] == [r[1:] for r in requests(trace)]


@given(traces(), st.floats(0.01, 0.99))
def test_two_clips_part_the_requests_between_them(trace, share):
    cut = trace.duration * share
    first, second = trace.arrivals < cut, trace.arrivals >= cut

    for kept, start, stop in ((first, 0.0, cut), (second, cut, None)):
        if not kept.any():
            with pytest.raises(InvalidInput, match="may not be empty"):
                trace.clip(start, stop)
            continue
        part = trace.clip(start, stop)
        assert (part.arrivals == trace.arrivals[kept] - start).all()
        assert (part.rows == trace.rows[kept]).all()
        assert (part.sample == trace.sample[kept]).all()
        assert part.duration == (trace.duration if stop is None else stop) - start


@given(traces())
def test_a_clip_of_everything_changes_nothing(trace):
    assert trace.clip() == trace
    assert trace.clip(0, trace.duration) == trace


def test_the_names_of_composed_traces_read_as_they_were_made():
    a, b = Trace([0.0], 1.0, name="a"), Trace([0.0], 1.0, name="b")

    assert (a + b).scale(2).name == "(a + b).scale(2)"
    assert (a + Trace([0.0], 1.0)).name == "a + trace"
    assert a.clip(0, 0.5).name == "a.clip(0, 0.5)"
    assert a.thin(1, seed=3).name == "a.thin(1, seed=3)"


def test_notices_travel_with_the_data_and_are_said_once():
    a, b = Trace([0.0], 1.0, notice="A"), Trace([0.0], 1.0, notice="B")

    assert (a + b).notice == "A\n\nB"
    assert (a + a + Trace([0.0], 1.0)).scale(2).clip(0, 0.1).thin(1, seed=1).notice == "A"


@pytest.mark.parametrize("factor", [0, -1, math.inf, "fast"])
def test_a_factor_that_is_not_above_zero_is_refused(factor):
    with pytest.raises(InvalidInput, match="factor must be a finite number above 0"):
        Trace([0.0], 1.0).scale(factor)


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ((-1, 1), "start must be a finite number of at least 0, got -1"),
        ((0, math.nan), "stop must be a finite number above 0, got nan"),
        ((1, 1), "start < stop <= 2, the duration in seconds, got start=1 and stop=1"),
        ((0, 3), "start < stop <= 2, the duration in seconds, got start=0 and stop=3"),
        ((0.5, 1), "No request arrives from 0.5 to 1 s"),
    ],
)
def test_a_clip_outside_the_trace_or_without_requests_is_refused(window, message):
    with pytest.raises(InvalidInput, match=message):
        Trace([0.0, 1.0], 2.0).clip(*window)


def test_a_trace_adds_to_traces_alone():
    with pytest.raises(TypeError, match="unsupported operand"):
        Trace([0.0], 1.0) + 1


def test_thinning_keeps_the_asked_share():
    trace = tr.poisson(rate=1000, duration=20, seed=1)

    kept = [len(trace.thin(0.2, seed=seed)) / len(trace) for seed in range(30)]

    assert_mean(kept, 0.2)
    assert set(trace.thin(0.2, seed=1).sample) < set(trace.sample)
    assert trace.thin(0.2, seed=1).duration == trace.duration


@pytest.mark.parametrize(
    ("share", "message"),
    [
        (0, "share must be a finite number above 0"),
        (1.1, "at most 1, got 1.1"),
        (1e-9, "left none"),
    ],
)
def test_a_share_that_is_none_or_leaves_none_is_refused(share, message):
    with pytest.raises(InvalidInput, match=message):
        Trace([0.0, 1.0], 2.0).thin(share, seed=1)


# ---------------------------------------------------------------------- every generator


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_the_same_seed_gives_the_same_trace_and_another_seed_another(make):
    assert make(seed=1) == make(seed=1)
    assert make(seed=1) == make(seed=np.random.default_rng(1))
    assert make(seed=1) != make(seed=2)


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_rows_are_drawn_evenly_and_leave_the_times_as_they_are(make):
    plain, several = make(seed=1), make(seed=1, rows=(2, 4))

    assert (plain.arrivals == several.arrivals).all()
    assert (plain.rows == 1).all()
    assert set(several.rows) == {2, 3, 4}
    assert abs(several.rows.mean() - 3) < 5 * math.sqrt(2 / 3 / len(several))
    assert (make(seed=1, rows=7).rows == 7).all()


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": -1}, "seed must be a whole number of at least 0 or a NumPy Generator, got -1"),
        (
            {"seed": None},
            "seed must be a whole number of at least 0 or a NumPy Generator, got None",
        ),
        ({"seed": 1, "rows": 0}, "rows must be whole numbers of at least 1"),
        ({"seed": 1, "rows": (3, 2)}, r"\(low, high\) with low <= high, got \(3, 2\)"),
        ({"seed": 1, "rows": (1, 2, 3)}, r"rows must be one number or 2, one for each"),
    ],
)
def test_a_seed_or_rows_out_of_range_are_refused(make, wrong, message):
    with pytest.raises(InvalidInput, match=message):
        make(**wrong)


GOOD = {
    tr.poisson: {"rate": 10, "duration": 9, "seed": 1},
    tr.constant: {"rate": 10, "duration": 9},
    tr.bursty: {"rate": 10, "burst": 2, "duration": 9, "seed": 1},
    tr.diurnal: {"rate": 10, "swing": 0.5, "duration": 9, "seed": 1},
    tr.flash_crowd: {**FLASH, "duration": 9, "seed": 1},
}


@pytest.mark.parametrize("make", GOOD, ids=lambda make: make.__name__)
@pytest.mark.parametrize("wrong", [0, -1.0, math.nan, math.inf, "many"])
@pytest.mark.parametrize("knob", ["rate", "duration"])
def test_a_rate_or_duration_that_is_not_above_zero_is_refused(make, wrong, knob):
    with pytest.raises(InvalidInput, match=f"{knob} must be a finite number above 0"):
        make(**GOOD[make] | {knob: wrong})


@pytest.mark.parametrize("make", GOOD, ids=lambda make: make.__name__)
def test_more_requests_than_fit_are_refused_before_they_are_drawn(make):
    with pytest.raises(InvalidInput, match="at most 50,000,000 fit"):
        make(**GOOD[make] | {"rate": 1e15})


@pytest.mark.parametrize("make", [m for m in GOOD if m is not tr.constant])
def test_a_draw_of_no_requests_is_refused(make):
    with pytest.raises(InvalidInput, match="drew no request, and a trace may not be empty"):
        make(**GOOD[make] | {"rate": 1e-9})


@pytest.mark.parametrize(
    ("make", "wrong", "message"),
    [
        (tr.bursty, {"burst": 0.5}, "burst is the high rate over the low one, at least 1, got 0.5"),
        (tr.bursty, {"dwell": (1, 0)}, "dwell must be a finite number above 0, got 0"),
        (tr.bursty, {"dwell": (1, 2, 3)}, "dwell must be two mean stays in seconds"),
        (tr.bursty, {"dwell": 3}, "dwell must be two mean stays in seconds"),
        (tr.bursty, {"dwell": (1e-9, 1e-9)}, "at most 50,000,000"),
        (tr.diurnal, {"swing": 1.5}, "swing must be from 0 to 1, got 1.5"),
        (tr.diurnal, {"swing": -0.5}, "swing must be a finite number of at least 0"),
        (tr.diurnal, {"period": 0}, "period must be a finite number above 0"),
        (tr.flash_crowd, {"peak": 0.5}, "peak is the highest rate over the base rate, at least 1"),
        (tr.flash_crowd, {"hold": -1}, "hold must be a finite number of at least 0, got -1"),
    ],
)
def test_a_shape_out_of_range_is_refused(make, wrong, message):
    with pytest.raises(InvalidInput, match=message):
        make(**GOOD[make] | wrong)


# ---------------------------------------------------------------------- against theory


def test_poisson_counts_have_the_mean_and_the_variance_of_theory():
    counts = np.array([len(tr.poisson(rate=50, duration=10, seed=s)) for s in range(400)])

    assert_mean(counts, 500)
    assert abs(counts.var(ddof=1) / 500 - 1) < 5 * math.sqrt(2 / 399)


def test_poisson_gaps_are_exponential_and_do_not_remember():
    trace = tr.poisson(rate=200, duration=500, seed=2)
    gaps, count = trace.gaps, len(trace)

    assert stats.kstest(gaps, stats.expon(scale=1 / 200).cdf).pvalue > 1e-6
    assert abs(trace.describe()["scv"] - 1) < 5 * 2 / math.sqrt(count)
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 5 / math.sqrt(count)
    assert abs(trace.dispersion(1.0) - 1) < 5 * math.sqrt(2 / 499)


def test_constant_arrivals_are_exactly_apart():
    trace = tr.constant(rate=0.1, duration=30, rows=2)

    assert trace.arrivals.tolist() == [0.0, 10.0, 20.0]
    assert trace.rows.tolist() == [2, 2, 2]
    assert tr.constant(rate=1000, duration=60).describe()["scv"] == pytest.approx(0, abs=1e-12)
    assert len(tr.constant(rate=0.01, duration=5)) == 1
    assert len(tr.constant(rate=1.1, duration=100)) == 110


def mmpp_matrices(rate, burst, dwell):
    low, high = tr.bursty_rates(rate=rate, burst=burst, dwell=dwell)
    leave = 1 / np.array(dwell)
    switch = np.array([[-leave[0], leave[0]], [leave[1], -leave[1]]])
    return switch - np.diag([low, high]), np.diag([low, high])


def mmpp_dispersion(rate, burst, dwell, window):
    """Closed form of the MMPP(2): Fischer and Meier-Hellstern (1993), index of dispersion."""
    low, high = tr.bursty_rates(rate=rate, burst=burst, dwell=dwell)
    up, down = 1 / dwell[0], 1 / dwell[1]
    pace = up + down
    spread = 2 * (low - high) ** 2 * up * down / (pace**2 * (low * down + high * up))
    return 1 + spread * (1 - (1 - math.exp(-pace * window)) / (pace * window))


def long_run(rates):
    """The distribution that a matrix of rates, or of probabilities minus 1, leaves as it is."""
    equations = np.vstack([rates.T, np.ones(len(rates))])
    return np.linalg.lstsq(equations, np.eye(len(rates) + 1)[-1])[0]


def map_theory(d0, d1):
    """Rate, squared CV and lag-1 autocorrelation of the gaps of a MAP (Neuts 1979)."""
    d0, d1 = np.array(d0, float), np.array(d1, float)
    ones, inverse = np.ones(len(d0)), np.linalg.inv(-d0)
    phases = inverse @ d1
    seen = long_run(phases - np.eye(len(d0)))
    mean = seen @ inverse @ ones
    variance = 2 * seen @ inverse @ inverse @ ones - mean**2
    lag1 = seen @ inverse @ phases @ inverse @ ones - mean**2
    return 1 / mean, variance / mean**2, lag1 / variance


def map_dispersion(d0, d1, window):
    """Var N(t) / E N(t) of a MAP started in its long-run phase (Narayana and Neuts 1992)."""
    d0, d1 = np.array(d0, float), np.array(d1, float)
    generator, ones = d0 + d1, np.ones(len(d0))
    share = long_run(generator)
    rate = share @ d1 @ ones
    inverse = np.linalg.inv(np.outer(ones, share) - generator)
    slope = rate - 2 * rate**2 + 2 * share @ d1 @ inverse @ d1 @ ones
    settled = np.eye(len(d0)) - linalg.expm(generator * window)
    start = 2 * share @ d1 @ settled @ inverse @ inverse @ d1 @ ones
    return (slope * window - start) / (rate * window)


@pytest.fixture(scope="module")
def bursts():
    return [tr.bursty(**MMPP, duration=100, seed=seed) for seed in range(30)]


def test_bursty_traffic_has_the_asked_rate_on_average(bursts):
    low, high = tr.bursty_rates(**MMPP)

    assert high / low == pytest.approx(5)
    assert (0.4 * low + 0.1 * high) / 0.5 == pytest.approx(500)
    assert_mean([t.rate for t in bursts], 500)


@pytest.mark.parametrize("window", [0.05, 0.25])
def test_bursty_traffic_has_the_dispersion_of_the_closed_form(bursts, window):
    expected = mmpp_dispersion(**MMPP, window=window)

    assert expected == pytest.approx(map_dispersion(*mmpp_matrices(**MMPP), window))
    assert_mean([t.dispersion(window) for t in bursts], expected)


def test_bursty_gaps_have_the_moments_of_their_map(bursts):
    _, scv, lag1 = map_theory(*mmpp_matrices(**MMPP))

    assert scv > 1.5
    assert_mean([t.describe()["scv"] for t in bursts], scv)
    assert_mean([np.corrcoef(t.gaps[:-1], t.gaps[1:])[0, 1] for t in bursts], lag1)


def test_a_burst_of_one_is_poisson():
    trace = tr.bursty(rate=200, burst=1, dwell=(0.5, 0.1), duration=300, seed=3)

    assert stats.kstest(trace.gaps, stats.expon(scale=1 / 200).cdf).pvalue > 1e-6


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: tr.bursty(rate=200, burst=9, dwell=(5, 2), duration=0.5, seed=seed),
        lambda seed: tr.markovian(
            *mmpp_matrices(rate=200, burst=9, dwell=(5, 2)), duration=0.5, seed=seed
        ),
    ],
    ids=["bursty", "markovian"],
)
def test_the_rate_is_the_same_from_the_first_instant(make):
    assert_mean([len(make(seed)) / 0.5 for seed in range(500)], 200)


@pytest.mark.parametrize("matrices", MAPS.values(), ids=MAPS)
def test_a_map_has_the_rate_the_gaps_and_the_dispersion_of_theory(matrices):
    drawn = [tr.markovian(*matrices, duration=100, seed=seed) for seed in range(16)]
    rate, scv, lag1 = map_theory(*matrices)

    assert_mean([t.rate for t in drawn], rate)
    assert_mean([t.describe()["scv"] for t in drawn], scv)
    assert_mean([np.corrcoef(t.gaps[:-1], t.gaps[1:])[0, 1] for t in drawn], lag1)
    assert_mean([t.dispersion(0.05) for t in drawn], map_dispersion(*matrices, 0.05))


def test_a_map_longer_than_one_chunk_goes_on_where_it_stopped():
    trace = tr.markovian([[-1.0]], [[1.0]], duration=1.2e6, seed=1)

    halves = trace.clip(0, 6e5), trace.clip(6e5)
    assert abs(len(trace) / 1.2e6 - 1) < 5 / math.sqrt(1.2e6)
    assert abs(len(halves[0]) - len(halves[1])) < 5 * math.sqrt(1.2e6)
    assert trace.gaps.max() < 40  # exp(-40) times a million gaps


@pytest.mark.parametrize("row", [0, 2, 24, 43])
def test_published_maps_are_drawn_as_their_matrices_say(row):
    if not DATA.exists():
        pytest.skip("no shared/data beside the checkout: 48 published MAPs not checked")
    numbers = pl.read_csv(DATA / "batch_maps.csv").row(row)[2:]
    d0, d1 = tr.check_map(*np.array(numbers).reshape(2, 2, 2))
    rate, scv, lag1 = map_theory(d0, d1)

    drawn = [tr.markovian(d0, d1, duration=5000 / rate, seed=seed) for seed in range(10)]

    assert_mean([t.rate for t in drawn], rate)
    assert_mean([t.describe()["scv"] for t in drawn], scv)
    assert_mean([np.corrcoef(t.gaps[:-1], t.gaps[1:])[0, 1] for t in drawn], lag1)


@pytest.mark.parametrize(
    ("d0", "d1", "message"),
    [
        ([[-1.0, 1.0]], [[0.0]], "d0 must be a square matrix of finite numbers"),
        ([[-1.0]], [[math.nan]], "d1 must be a square matrix of finite numbers"),
        ([["a"]], [[1.0]], "d0 must be a square matrix of finite numbers"),
        ([], [], "d0 must be a square matrix"),
        ([[-1.0]], np.eye(2), r"one shape, got \(1, 1\) and \(2, 2\)"),
        (
            [[-1, -1], [0, -1]],
            np.eye(2),
            "d0 holds rates, at least 0 outside the diagonal, got -1 in",
        ),
        ([[-1, 0], [0, -1]], [[1, 0], [-1, 2]], "d1 holds rates, .* got -1 in row 2, column 1"),
        ([[-1.0]], [[2.0]], "Each row of d0 . d1 must sum to 0, row 1 sums to 1"),
        ([[1.0]], [[-1.0]], "d1 holds rates"),
        ([[0.0]], [[0.0]], "no request would ever arrive"),
        ([[-1, 1], [1, -1]], np.zeros((2, 2)), "no request would ever arrive"),
        ([[-1, 0], [1, -2]], [[1, 0], [0, 1]], "reducible: phase 2 is never reached from phase 1"),
        ([[0, 0], [1, -2]], [[0, 0], [0, 1]], "reducible: phase 2 is never reached from phase 1"),
    ],
)
def test_matrices_that_are_no_map_are_refused(d0, d1, message):
    with pytest.raises(InvalidInput, match=message):
        tr.markovian(d0, d1, duration=1, seed=1)


def test_printed_matrices_may_miss_zero_by_their_rounding():
    d0, d1 = tr.check_map([[-10.820851]], [[10.82085]])

    assert (d0 + d1).tolist() == [[0.0]]


def test_diurnal_counts_follow_the_wave():
    trace = tr.diurnal(**WAVE, duration=400, seed=1)

    def rate(t):
        return 100 * (1 - 0.9 * np.cos(2 * np.pi * t / 40))

    assert_poisson_counts(trace, rate, bins=100)
    assert abs(len(trace) - 40_000) < 5 * math.sqrt(40_000)


def test_a_flash_crowd_climbs_stays_and_fades_as_told():
    trace = tr.flash_crowd(**FLASH, duration=90, seed=1)

    def rate(t):
        crowd = np.interp(t, [20, 30], [0, 7]) * np.exp(-np.maximum(t - 45, 0) / 8)
        return 40 * (1 + crowd)

    assert_poisson_counts(trace, rate, bins=90)


def test_a_crowd_may_jump_and_end_at_once_and_be_cut_off():
    shape = {"rate": 50, "peak": 5, "start": 10, "ramp": 0, "decay": 0}

    over = tr.flash_crowd(**shape, hold=10, duration=30, seed=1)
    cut = tr.flash_crowd(**shape, hold=100, duration=30, seed=1)

    for trace, expected in ((over, (500, 2500, 500)), (cut, (500, 2500, 2500))):
        assert (np.abs(trace.counts(10) - expected) < 5 * np.sqrt(expected)).all()


@given(hnp.arrays(np.int64, st.integers(1, 30), elements=st.integers(0, 50)), st.floats(0.01, 1e4))
def test_counts_come_back_as_they_were(counts, period):
    if not counts.any():
        with pytest.raises(InvalidInput, match="counts are all 0"):
            tr.from_counts(counts, period=period, seed=1)
        return

    trace = tr.from_counts(counts, period=period, seed=1)

    assert (trace.counts(period) == counts).all()
    assert trace.duration == pytest.approx(len(counts) * period)


class Late(np.random.Generator):
    """Draws the last number below 1, every time."""

    def spawn(self, n_children):
        return [self] * n_children

    def random(self, size):
        return np.full(size, np.nextafter(1, 0))


def test_rounding_does_not_carry_a_counted_request_into_the_next_period():
    trace = tr.from_counts([0, 0, 0, 5, 0], period=1, seed=Late(np.random.PCG64(1)))

    assert trace.counts(1).tolist() == [0, 0, 0, 5, 0]


def test_counted_requests_are_uniform_within_their_period():
    trace = tr.from_counts([5000, 0, 5000], period=60, seed=1)

    assert stats.kstest(trace.arrivals % 60 / 60, "uniform").pvalue > 1e-6
    assert trace.name == "from_counts(3 periods of 60 s, seed=1)"


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([], "counts are all 0"),
        ([1, -1], "counts must be whole numbers of at least 0 .* got -1 in row 2"),
        ([1.5], "counts must be whole numbers"),
        ([[1, 2]], "counts must be one number or 2"),
        ([2**62, 2**62, 2**62], "at most 50,000,000 fit"),
    ],
)
def test_counts_that_are_none_are_refused(counts, message):
    with pytest.raises(InvalidInput, match=message):
        tr.from_counts(counts, period=60, seed=1)


# ---------------------------------------------------------------------- replayed times


@pytest.mark.parametrize(
    "times",
    [
        ["2026-01-31T12:00:00Z", "2026-01-31T13:00:01.5+01:00", "2026-01-31 12:00:10"],
        [datetime(2026, 1, 31, 12, 0, s, u, UTC) for s, u in ((0, 0), (1, 500_000), (10, 0))],
        np.array(["2026-01-31T12:00:00.0", "2026-01-31T12:00:01.5", "2026-01-31T12:00:10.0"], "M8"),
        pl.Series([datetime(2026, 1, 31, 12, 0, s, u) for s, u in ((0, 0), (1, 500_000), (10, 0))]),  # noqa: DTZ001
        [0, 1.5, 10],
        ["0", "1.5", " 1e1"],
    ],
    ids=["ISO texts", "datetimes", "datetime64", "Polars", "seconds", "texts of seconds"],
)
def test_times_of_every_kind_become_seconds(times):
    trace = tr.from_timestamps(times, duration=20)

    assert trace.arrivals.tolist() == [0.0, 1.5, 10.0]
    assert trace.duration == 20


def test_the_tenth_of_a_microsecond_survives():
    trace = tr.from_timestamps(["2023-11-16 18:17:03.9799600", "2023-11-16 18:17:04.0000001"])

    assert trace.arrivals[1] == pytest.approx(0.0200401, abs=1e-12)


def test_the_origin_becomes_zero():
    assert tr.from_timestamps([1.7e9, 1.7e9 + 2], origin=1.7e9).arrivals.tolist() == [0.0, 2.0]
    late = tr.from_timestamps(["2026-01-02", "2026-01-03"], origin=datetime(2026, 1, 1, tzinfo=UTC))
    assert late.arrivals.tolist() == [86_400.0, 172_800.0]


def test_sorting_keeps_what_a_request_carries_beside_its_time():
    trace = tr.from_timestamps([3.0, 1.0, 1.0], sort=True, rows=[3, 1, 2], bytes=[30, 10, 20])

    assert trace.arrivals.tolist() == [1.0, 1.0, 3.0]
    assert trace.rows.tolist() == [1, 2, 3]
    assert trace.bytes.tolist() == [10, 20, 30]
    assert trace.sample.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("times", "more", "message"),
    [
        ([], {}, "at least one"),
        (3.0, {}, r"list of at least one, got shape \(\)"),
        ([[1.0]], {}, r"list of at least one, got shape \(1, 1\)"),
        ([True], {}, "seconds or instants, got Boolean"),
        ([2.0, 1.0], {}, "row 2 .* at 1 s comes before row 1 at 2 s.* pass sort=True"),
        ([1.0, math.nan], {}, "row 2 .* is nan: it must be a number of seconds or an ISO 8601"),
        ([1.0, None], {}, "row 2 .* is None"),
        (["2026-01-31", "tomorrow"], {}, "row 2 .* is 'tomorrow'"),
        ([1.7e9, 1.7e9], {}, "these begin at 1,700,000,000: pass origin="),
        ([1.0], {"origin": "2026-01-31"}, "origin must be one too, got '2026-01-31'"),
        (["2026-01-31"], {"origin": 3}, "origin must be an instant, .* got 3"),
        (["2026-01-31"], {"origin": "noon"}, "origin must be an instant, .* got 'noon'"),
        (["2026-01-31"], {"origin": "2026-02-01"}, "at least 0, got -86400 in row 1"),
        (["2026-01-31"], {}, "duration must be a finite number above 0, got 0.0"),
        ([1.0, 2.0], {"rows": [1, 0]}, "rows must be whole numbers of at least 1"),
    ],
)
def test_times_that_cannot_be_replayed_are_refused(times, more, message):
    with pytest.raises(InvalidInput, match=message):
        tr.from_timestamps(times, **more)


# ---------------------------------------------------------------------- files

FORMATS = {"csv": tr.from_csv, "parquet": tr.from_parquet}


@given(traces(), st.sampled_from(sorted(FORMATS)), st.text())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_saved_trace_is_read_back_equal_with_its_name_and_notice(tmp_path, trace, form, notice):
    told = Trace(
        trace.arrivals,
        trace.duration,
        rows=trace.rows,
        bytes=trace.bytes,
        sample=trace.sample,
        name=trace.name,
        notice=notice,
    )

    path = getattr(told, f"to_{form}")(tmp_path / f"trace.{form}")
    back = FORMATS[form](path)

    assert back == told
    assert (back.name, back.notice) == (told.name, notice)
    assert [p.name for p in tmp_path.glob(f"*.{form}*")] == [f"trace.{form}"]


def write(tmp_path, text, name="times.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_column_of_times_is_enough(tmp_path):
    trace = tr.from_csv(
        write(tmp_path, "TIMESTAMP,tokens\n2026-01-31 12:00:00,9\n2026-01-31 12:00:02,8")
    )

    assert trace.arrivals.tolist() == [0.0, 2.0]
    assert trace.name == "times.csv"


def test_columns_named_as_the_attributes_are_read_too(tmp_path):
    path = write(tmp_path, "when,rows,bytes,sample\n2,4,100,7\n1,3,0,9\n")

    trace = tr.from_csv(path, "when", sort=True, duration=5, name="mine")

    assert requests(trace) == [(1.0, 3, 0, 9), (2.0, 4, 100, 7)]
    assert (trace.duration, trace.name) == (5.0, "mine")


def test_the_only_column_is_the_one_of_the_times(tmp_path):
    pl.DataFrame({"t": [1.0, 2.0]}).write_parquet(tmp_path / "t.parquet")

    assert tr.from_parquet(tmp_path / "t.parquet").arrivals.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", None, "times.csv cannot be read as a table"),
        ("time\n1,2,3\n", None, "times.csv cannot be read as a table"),
        ("a,b\n1,2\n", None, "times.csv: pass column= with the one of the times: a, b"),
        ("a,b\n1,2\n", "c", "times.csv: there is no column 'c', only a, b"),
        ("time\n", None, "times.csv: times must be a list of at least one"),
        ("time\n1\nlater\n", None, "times.csv: the time in row 2 .* is 'later'"),
        ("time,x\n1,1\n,1\n", None, "times.csv: the time in row 2 .* is None"),
        ("time\n1\nNaN\n", None, "times.csv: the time in row 2 .* is nan"),
        ("time\n2\n1\n", None, "times.csv: arrivals must be sorted, but row 2 .* pass sort=True"),
        ("time,rows\n1,1\n2,\n", None, "times.csv: rows must be whole numbers .* got nan in row 2"),
        ("time,bytes\n1,x\n", None, "times.csv: bytes must be whole numbers, got"),
        ("# {broken\ntime\n1\n", None, "times.csv: "),
    ],
)
def test_a_file_that_holds_no_trace_is_refused_by_name_and_row(tmp_path, text, column, message):
    with pytest.raises(InvalidInput, match=message):
        tr.from_csv(write(tmp_path, text), column)


@pytest.mark.parametrize("content", [b"", b"not parquet at all", b"PAR1" + bytes(40) + b"PAR1"])
def test_a_file_that_is_not_parquet_is_refused(tmp_path, content):
    (tmp_path / "x.parquet").write_bytes(content)

    with pytest.raises(InvalidInput, match=r"x.parquet cannot be read as a table"):
        tr.from_parquet(tmp_path / "x.parquet")


@pytest.mark.parametrize("read", [tr.from_csv, tr.from_parquet, tr.read_counts])
def test_a_file_that_is_not_there_is_named(tmp_path, read):
    with pytest.raises(NotFound, match=r"There is no file .*nowhere"):
        read(tmp_path / "nowhere")
    with pytest.raises(NotFound, match="There is no file"):
        read(tmp_path)


def test_a_file_that_gives_an_error_when_read_is_named():
    with pytest.raises(StorageError, match="/proc/self/mem cannot be read"):
        tr.from_csv("/proc/self/mem")  # its first byte belongs to no one


@contextmanager
def disk_of(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_a_disk_that_fills_leaves_the_file_that_was_there(tmp_path, form):
    path = tmp_path / f"trace.{form}"
    small, large = Trace([0.5], 1.0), tr.poisson(rate=1000, duration=20, seed=1)
    getattr(small, f"to_{form}")(path)

    with disk_of(20_000), pytest.raises(StorageError, match=f"trace.{form} cannot be written"):
        getattr(large, f"to_{form}")(path)

    assert FORMATS[form](path) == small
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"gone/trace.csv cannot be written: No such file"):
        Trace([0.0], 1.0).to_csv(tmp_path / "gone" / "trace.csv")


def test_counts_per_minute_are_read_with_zeros_where_a_row_is_missing(tmp_path):
    path = write(tmp_path, "period,count\n1998-04-30 21:30:00,2\n1998-04-30 21:33:00,7\n")

    assert tr.read_counts(path).tolist() == [2, 0, 0, 7]


def test_counts_are_read_by_other_columns_and_periods(tmp_path):
    path = write(tmp_path, "start,n\n0,1\n10,2\n")

    assert tr.read_counts(path, period=10, time="start", count="n").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("period,n\n0,1\n", "there is no column 'count', only period, n"),
        ("period,count\n0,1\n90,1\n", "row 2 .* does not begin a whole number of periods of 60 s"),
        ("period,count\n0,1\n0,1\n", "row 2 .* does not begin a whole number of periods of 60 s"),
        ("period,count\n60,1\n0,1\n", "row 2 .* does not begin a whole number of periods of 60 s"),
        ("period,count\n0,-1\n", "count must be whole numbers of at least 0"),
        ("period,count\n0,1\n6e12,1\n", "at most 50,000,000"),
    ],
)
def test_a_file_that_holds_no_counts_is_refused(tmp_path, text, message):
    with pytest.raises(InvalidInput, match=message):
        tr.read_counts(write(tmp_path, text))
