import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from tests.refused import refused
from tests.traces import requests, traces
from workbench.errors import InvalidInput, NotFound, StorageError
from workbench.traffic.patterns import poisson
from workbench.traffic.replay import (
    from_counts,
    from_csv,
    from_jsonl,
    from_parquet,
    from_timestamps,
    read_counts,
)
from workbench.traffic.trace import Trace

# ---------------------------------------------------------------------- counts


@given(hnp.arrays(np.int64, st.integers(1, 30), elements=st.integers(0, 50)), st.floats(0.01, 1e4))
def test_counts_come_back_as_they_were(counts, period):
    if not counts.any():
        with refused(InvalidInput, "counts", 0):
            from_counts(counts, period=period, seed=1)
        return

    trace = from_counts(counts, period=period, seed=1)

    assert (trace.counts(period) == counts).all()
    assert trace.duration == pytest.approx(len(counts) * period)


class Late(np.random.Generator):
    """Draws the last number below 1, every time."""

    def spawn(self, n_children):
        return [self] * n_children

    def random(self, size):
        return np.full(size, np.nextafter(1, 0))


def test_rounding_does_not_carry_a_counted_request_into_the_next_period():
    trace = from_counts([0, 0, 0, 5, 0], period=1, seed=Late(np.random.PCG64(1)))

    assert trace.counts(1).tolist() == [0, 0, 0, 5, 0]


def test_counts_between_blanks_are_read_from_a_text_file(tmp_path):
    (tmp_path / "counts.txt").write_text("3 0  2\n 1.0\t4\r\n\n")

    trace = from_counts(tmp_path / "counts.txt", period=1, seed=1)

    assert trace.counts(1).tolist() == [3, 0, 2, 1, 4]
    assert trace == from_counts([3, 0, 2, 1, 4], period=1, seed=1)
    assert "counts.txt" in trace.name


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"3 0 x 2", ["counts.txt", "word 3", "x"]),
        (b"3,0,2", ["counts.txt", "word 1", "3,0,2"]),
        (b"", ["counts.txt", "empty"]),
        (b"\x80\xff", ["counts.txt", "no text"]),
        (b"3 -1", ["counts", "row 2", -1.0]),
        (b"3 nan", ["counts", "row 2", "nan"]),
        (b"1.5", ["counts", "row 1", 1.5]),
        (b"0 0", ["counts", 0]),
    ],
)
def test_a_text_file_that_holds_no_counts_is_refused(tmp_path, content, named):
    (tmp_path / "counts.txt").write_bytes(content)

    with refused(InvalidInput, *named):
        from_counts(tmp_path / "counts.txt", period=1, seed=1)


def test_a_text_file_of_counts_that_is_not_there_is_not_found(tmp_path):
    with refused(NotFound, tmp_path / "none.txt"):
        from_counts(str(tmp_path / "none.txt"), period=1, seed=1)


def test_counted_requests_are_uniform_within_their_period():
    trace = from_counts([5000, 0, 5000], period=60, seed=1)

    assert stats.kstest(trace.arrivals % 60 / 60, "uniform").pvalue > 1e-6
    assert trace.name == "from_counts(3 periods of 60 s, seed=1)"


@pytest.mark.parametrize(
    ("counts", "named"),
    [
        ([], ["counts", 0]),
        ([1, -1], ["counts", "row 2", -1]),
        ([1.5], ["counts", "row 1", 1.5]),
        ([[1, 2]], ["counts", "(1, 2)"]),
        ([2**62, 2**62, 2**62], ["50,000,000"]),
    ],
)
def test_counts_that_are_none_are_refused(counts, named):
    with refused(InvalidInput, *named):
        from_counts(counts, period=60, seed=1)


# ---------------------------------------------------------------------- times


@pytest.mark.parametrize(
    "times",
    [
        ["2026-01-31T12:00:00Z", "2026-01-31T13:00:01.5+01:00", "2026-01-31 12:00:10Z"],
        [datetime(2026, 1, 31, 12, 0, s, u, UTC) for s, u in ((0, 0), (1, 500_000), (10, 0))],
        np.array(["2026-01-31T12:00:00.0", "2026-01-31T12:00:01.5", "2026-01-31T12:00:10.0"], "M8"),
        pl.Series([datetime(2026, 1, 31, 12, 0, s, u) for s, u in ((0, 0), (1, 500_000), (10, 0))]),  # noqa: DTZ001
        [0, 1.5, 10],
        ["0", "1.5", " 1e1"],
    ],
    ids=["ISO texts", "datetimes", "datetime64", "Polars", "seconds", "texts of seconds"],
)
def test_times_of_every_kind_become_seconds(times):
    trace = from_timestamps(times, duration=20)

    assert trace.arrivals.tolist() == [0.0, 1.5, 10.0]
    assert trace.duration == 20


def test_the_tenth_of_a_microsecond_survives():
    trace = from_timestamps(["2023-11-16 18:17:03.9799600", "2023-11-16 18:17:04.0000001"])

    assert trace.arrivals[1] == pytest.approx(0.0200401, abs=1e-12)


def test_the_origin_becomes_zero():
    assert from_timestamps([1.7e9, 1.7e9 + 2], origin=1.7e9).arrivals.tolist() == [0.0, 2.0]
    late = from_timestamps(["2026-01-02", "2026-01-03"], origin=datetime(2026, 1, 1, tzinfo=UTC))
    assert late.arrivals.tolist() == [86_400.0, 172_800.0]


def test_sorting_keeps_what_a_request_carries_beside_its_time():
    trace = from_timestamps([3.0, 1.0, 1.0], sort=True, rows=[3, 1, 2], bytes=[30, 10, 20])

    assert trace.arrivals.tolist() == [1.0, 1.0, 3.0]
    assert trace.rows.tolist() == [1, 2, 3]
    assert trace.bytes.tolist() == [10, 20, 30]
    assert trace.sample.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("times", "more", "named"),
    [
        ([], {}, ["times", "(0,)"]),
        (3.0, {}, ["times", "()"]),
        ([[1.0]], {}, ["times", "(1, 1)"]),
        ([True], {}, ["times", "Boolean"]),
        ([2.0, 1.0], {}, ["arrivals", "row 2", "1 s", "row 1", "2 s", "sort=True"]),
        ([1.0, math.nan], {}, ["row 2", "nan"]),
        ([1.0, None], {}, ["row 2", None]),
        (["2026-01-31", "tomorrow"], {}, ["row 2", "tomorrow"]),
        ([1.7e9, 1.7e9], {}, ["1,700,000,000", "unit='s'"]),
        ([1.0], {"origin": "2026-01-31"}, ["origin", "2026-01-31"]),
        ([1.0], {"origin": [0]}, ["origin", "[0]"]),
        ([1.0], {"origin": 10**400}, ["origin", 10**400]),
        (["2026-01-31"], {"origin": 3}, ["origin", 3]),
        (["2026-01-31"], {"origin": "noon"}, ["origin", "noon"]),
        (["2026-01-31"], {"origin": "2026-02-01"}, ["arrivals", "row 1", -86400]),
        (["2026-01-31"], {}, ["duration="]),
        ([1.0, 2.0], {"rows": [1, 0]}, ["rows", "row 2", 0]),
    ],
)
def test_times_that_cannot_be_replayed_are_refused(times, more, named):
    with refused(InvalidInput, *named):
        from_timestamps(times, **more)


# ---------------------------------------------------------------------- files


FORMATS = {"csv": from_csv, "parquet": from_parquet}


@given(traces(), st.sampled_from(sorted(FORMATS)), st.text())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_saved_trace_is_read_back_equal_with_its_name_and_notice(tmp_path, trace, form, notice):
    told = replace(trace, notice=notice)

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
    trace = from_csv(
        write(tmp_path, "TIMESTAMP,tokens\n2026-01-31 12:00:00,9\n2026-01-31 12:00:02,8")
    )

    assert trace.arrivals.tolist() == [0.0, 2.0]
    assert trace.name == "times.csv"


def test_columns_named_as_the_attributes_are_read_too(tmp_path):
    path = write(tmp_path, "when,rows,bytes,sample,context\n2,4,100,7,noisy\n1,3,0,9,\n")

    trace = from_csv(path, "when", sort=True, duration=5, name="mine")

    assert requests(trace) == [(1.0, 3, 0, 9, ""), (2.0, 4, 100, 7, "noisy")]
    assert (trace.duration, trace.name) == (5.0, "mine")


def test_kinds_of_requests_are_read_from_every_format(tmp_path):
    pl.DataFrame({"arrival": [1.0, 2.0], "context": [3, None]}).write_parquet(
        tmp_path / "t.parquet"
    )
    lines = write(tmp_path, '{"arrival": 1, "context": "3"}\n{"arrival": 2}\n', "t.jsonl")

    for trace in (from_parquet(tmp_path / "t.parquet"), from_jsonl(lines)):
        assert trace.context.tolist() == ["3", ""]


def test_the_only_column_is_the_one_of_the_times(tmp_path):
    pl.DataFrame({"t": [1.0, 2.0]}).write_parquet(tmp_path / "t.parquet")

    assert from_parquet(tmp_path / "t.parquet").arrivals.tolist() == [1.0, 2.0]


def test_a_file_without_columns_is_refused(tmp_path):
    pl.DataFrame().write_parquet(tmp_path / "t.parquet")
    lines = write(tmp_path, "{}\n{}\n", "t.jsonl")

    for read, path in ((from_parquet, tmp_path / "t.parquet"), (from_jsonl, lines)):
        with refused(InvalidInput, path, "columns"):
            read(path)


@pytest.mark.parametrize(
    ("text", "column", "named"),
    [
        ("", None, ["times.csv", "empty"]),
        ("time\n1,2,3\n", None, ["times.csv", "fields"]),
        ("a,b\n1,2\n", None, ["times.csv", "column=", "a, b"]),
        ("a,b\n1,2\n", "c", ["times.csv", "c", "a, b"]),
        ("time\n", None, ["times.csv", "(0,)"]),
        ("time\n1\nlater\n", None, ["times.csv", "row 2", "later"]),
        ("time,x\n1,1\n,1\n", None, ["times.csv", "row 2", None]),
        ("time\n1\nNaN\n", None, ["times.csv", "row 2", "NaN"]),
        ("time\n2\n1\n", None, ["times.csv", "arrivals", "row 2", "sort=True"]),
        ("time,rows\n1,1\n2,\n", None, ["times.csv", "rows", "row 2", "nan"]),
        ("time,bytes\n1,x\n", None, ["times.csv", "Row 1", "bytes", "x"]),
        ("# {broken\ntime\n1\n", None, ["times.csv"]),
    ],
)
def test_a_file_that_holds_no_trace_is_refused_by_name_and_row(tmp_path, text, column, named):
    with refused(InvalidInput, *named):
        from_csv(write(tmp_path, text), column)


@pytest.mark.parametrize("content", [b"", b"not parquet at all", b"PAR1" + bytes(40) + b"PAR1"])
def test_a_file_that_is_not_parquet_is_refused(tmp_path, content):
    (tmp_path / "x.parquet").write_bytes(content)

    with refused(InvalidInput, "x.parquet"):
        from_parquet(tmp_path / "x.parquet")


@pytest.mark.parametrize("read", [from_csv, from_parquet, read_counts])
def test_a_file_that_is_not_there_is_named(tmp_path, read):
    with refused(NotFound, tmp_path / "nowhere"):
        read(tmp_path / "nowhere")
    with refused(NotFound, tmp_path):
        read(tmp_path)


def test_a_file_that_gives_an_error_when_read_is_named():
    with refused(StorageError, "/proc/self/mem"):
        from_csv("/proc/self/mem")  # its first byte belongs to no one


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_a_disk_that_fills_leaves_the_file_that_was_there(tmp_path, form, full_after):
    path = tmp_path / f"trace.{form}"
    small, large = Trace([0.5], 1.0), poisson(rate=1000, duration=20, seed=1)
    getattr(small, f"to_{form}")(path)

    with full_after(20_000), refused(StorageError, path):
        getattr(large, f"to_{form}")(path)

    assert FORMATS[form](path) == small
    assert list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------------- files of counts


def test_counts_per_minute_are_read_with_zeros_where_a_row_is_missing(tmp_path):
    path = write(tmp_path, "period,count\n1998-04-30 21:30:00,2\n1998-04-30 21:33:00,7\n")

    assert read_counts(path).tolist() == [2, 0, 0, 7]


def test_counts_are_read_by_other_columns_and_periods(tmp_path):
    path = write(tmp_path, "start,n\n0,1\n10,2\n")

    assert read_counts(path, period=10, time="start", count="n").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("period,n\n0,1\n", ["times.csv", "count", "period, n"]),
        ("period,count\n0,1\n90,1\n", ["times.csv", "row 2", "60 s"]),
        ("period,count\n0,1\n0,1\n", ["times.csv", "row 2", "60 s"]),
        ("period,count\n60,1\n0,1\n", ["times.csv", "row 2", "60 s"]),
        ("period,count\n0,-1\n", ["count", -1]),
        ("period,count\n0,1\n6e12,1\n", ["50,000,000"]),
    ],
)
def test_a_file_that_holds_no_counts_is_refused(tmp_path, text, named):
    with refused(InvalidInput, *named):
        read_counts(write(tmp_path, text))
