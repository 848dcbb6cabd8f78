import json
import math
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.refused import refused
from tests.traces import requests, traces
from workbench.errors import InvalidInput, StorageError
from workbench.traffic.patterns import poisson
from workbench.traffic.trace import Trace

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
    ("arguments", "named"),
    [
        ({"arrivals": []}, ["trace", "none"]),
        ({"arrivals": 3.0}, ["arrivals", "()"]),
        ({"arrivals": [[1.0]]}, ["arrivals", "(1, 1)"]),
        ({"arrivals": [[1.0], [1.0, 2.0]]}, ["arrivals", "one list"]),
        ({"arrivals": ["soon"]}, ["arrivals", "<U4"]),
        ({"arrivals": [0.0, math.nan]}, ["arrivals", "row 2", "nan"]),
        ({"arrivals": [0.0, math.inf]}, ["arrivals", "row 2", "inf"]),
        ({"arrivals": [-1.0]}, ["arrivals", "row 1", -1]),
        ({"arrivals": [0.0, 2.0, 1.0]}, ["arrivals", "row 3", "1 s", "row 2", "2 s"]),
        ({"duration": 0.5}, ["duration", "1 s", 0.5]),
        ({"duration": math.inf}, ["duration", "inf"]),
        ({"duration": "long"}, ["duration", "long"]),
        ({"arrivals": [0.0], "duration": 0}, ["duration", 0]),
        ({"rows": [1, 0]}, ["rows", "row 2", 0]),
        ({"rows": 1.5}, ["rows", "row 1", 1.5]),
        ({"rows": 2**31}, ["rows", 2147483648]),
        ({"rows": [1, 2, 3]}, ["rows", 2, "(3,)"]),
        ({"rows": ["a", "b"]}, ["rows", "<U1"]),
        ({"bytes": [0, -1]}, ["bytes", "row 2", -1]),
        ({"name": 5}, ["name", 5]),
        ({"notice": None}, ["notice", None]),
        ({"sample": [0, math.nan]}, ["sample", "row 2", "nan"]),
    ],
)
def test_what_is_not_a_trace_is_refused(arguments, named):
    with refused(InvalidInput, *named):
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
    assert repr(Trace([0.0, 1.0], 8.0, name="a")) == "<Trace a: 2 requests in 8 s, 0.25 per second>"


def test_the_rich_display_escapes_what_it_shows():
    page = Trace([0.0, 1.0], 2.0, name="<b>", notice="A & B")._repr_html_()

    assert "&lt;b&gt;" in page
    assert "<pre>A &amp; B</pre>" in page
    assert re.search(">requests</th><td[^>]*>2</td>", page)


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
    with refused(InvalidInput, "window", window):
        Trace([0.0], 1.0).counts(window)


# ---------------------------------------------------------------------- composing


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
            with refused(InvalidInput, "start", "stop"):
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
    with refused(InvalidInput, "factor", factor):
        Trace([0.0], 1.0).scale(factor)


@pytest.mark.parametrize(
    ("window", "named"),
    [
        ((-1, 1), ["start", -1]),
        ((0, math.nan), ["stop", "nan"]),
        ((1, 1), ["clip", 2, "start=1", "stop=1"]),
        ((0, 3), ["clip", 2, "start=0", "stop=3"]),
        ((0.5, 1), [0.5, "1 s"]),
    ],
)
def test_a_clip_outside_the_trace_or_without_requests_is_refused(window, named):
    with refused(InvalidInput, *named):
        Trace([0.0, 1.0], 2.0).clip(*window)


def test_a_trace_adds_to_traces_alone():
    with refused(TypeError, "Trace", "int"):
        Trace([0.0], 1.0) + 1


def test_thinning_keeps_the_asked_share():
    trace = poisson(rate=1000, duration=20, seed=1)

    kept = np.mean([len(trace.thin(0.2, seed=seed)) / len(trace) for seed in range(30)])

    assert abs(kept - 0.2) < 5 * math.sqrt(0.2 * 0.8 / (30 * len(trace)))  # 5 standard errors
    assert set(trace.thin(0.2, seed=1).sample) < set(trace.sample)
    assert trace.thin(0.2, seed=1).duration == trace.duration


@pytest.mark.parametrize(
    ("share", "named"),
    [
        (0, ["share", 0]),
        (1.1, ["share", 1.1]),
        (1e-9, ["share=1e-09"]),
    ],
)
def test_a_share_that_is_none_or_leaves_none_is_refused(share, named):
    with refused(InvalidInput, *named):
        Trace([0.0, 1.0], 2.0).thin(share, seed=1)


# ---------------------------------------------------------------------- files


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with refused(StorageError, "gone/trace.csv"):
        Trace([0.0], 1.0).to_csv(tmp_path / "gone" / "trace.csv")


def test_pandas_gets_a_row_a_request():
    frame = Trace([0.0, 0.5], 1.0, rows=[1, 8]).to_pandas()

    assert frame["rows"].tolist() == [1, 8]
    assert frame["arrival"].tolist() == [0.0, 0.5]
