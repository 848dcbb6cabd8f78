"""Times as people write them are read, or asked about; none is guessed."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench as wb
from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.traffic.instants import seconds_since
from workbench.traffic.replay import read_counts


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2024-11-28 22:27:33,123", "2024-11-28T22:27:34.500"], [0, 1.377]),
        (["2024-10-27T02:59Z", "2024-10-27T03:00:01Z"], [0, 61]),
        (["2024-10-27 02:59", "2024-10-27 03:00"], [0, 60]),
        (["20241027T025900Z", "20241027T030000Z"], [0, 60]),
        (["20241027T025900,5", "20241027T0300"], [0, 59.5]),
        (["2024-10-27T02:59:00+0200", "2024-10-27T03:00:00+03"], [0, -3540]),
        (["2024-10-27T02:59:00.1234567-01:30", "2024-10-27T04:29:00.1234568Z"], [0, 1e-7]),
        (["2024-W44-1T00:00:00", "2024-10-29"], [0, 86400]),
        (["2024-10-27t02:59:00z", "2024-10-27 02:59:01 z"], [0, 1]),
    ],
)
def test_iso_8601_is_read_in_every_form(texts, expected):
    first = seconds_since([texts[0]])[0]
    assert (seconds_since(texts, origin=texts[0]) - first).tolist() == pytest.approx(
        expected, abs=1e-12
    )


FORMS = [
    lambda at: at.isoformat(),
    lambda at: at.isoformat(" "),
    lambda at: at.isoformat().replace("+00:00", "Z"),
    lambda at: at.strftime("%Y%m%dT%H%M%S,%f%z"),
    lambda at: at.astimezone(timezone(timedelta(hours=-5, minutes=-30))).isoformat(),
]


@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
            st.sampled_from(FORMS),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_an_instant_is_the_same_in_whatever_form_it_is_written(times):
    instants = [at.replace(tzinfo=UTC) for at, _ in times]
    texts = [form(at) for at, (_, form) in zip(instants, times, strict=True)]
    zero = datetime(1980, 1, 1, tzinfo=UTC)
    expected = [(at - zero) / timedelta(seconds=1) for at in instants]
    assert seconds_since(texts, origin=zero).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "times",
    [
        ["2026-01-31T12:00:00Z", "2026-01-31T12:00:01"],
        ["2026-01-31T12:00:00", "2026-01-31T12:00:01+01:00"],
        [datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 1, 31)],  # noqa: DTZ001
    ],
)
def test_instants_with_and_without_an_offset_do_not_mix(times):
    with refused(InvalidInput, "row 2", "offset"):
        wb.from_timestamps(times)


def test_datetimes_of_several_zones_are_one_line_of_time():
    there = timezone(timedelta(hours=1))
    times = [datetime(2026, 1, 31, 12, tzinfo=UTC), datetime(2026, 1, 31, 13, 0, 1, tzinfo=there)]
    assert wb.from_timestamps(times).arrivals.tolist() == [0, 1]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("kind", [list, np.array, pl.Series, lambda t: [str(each) for each in t]])
def test_time_since_1970_is_asked_about_and_read_in_its_unit(unit, kind):
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    times = kind([1_732_832_853 * per_second + each for each in (0, 1, 7)])
    with refused(InvalidInput, f"unit='{unit}'"):
        wb.from_timestamps(times)
    expected = [0, 1 / per_second, 7 / per_second]
    assert wb.from_timestamps(times, unit=unit).arrivals.tolist() == expected
    since = wb.from_timestamps(times, unit=unit, origin="2024-11-28T22:27:32Z")
    assert since.arrivals.tolist() == pytest.approx([1 + each for each in expected])


def test_a_unit_divides_numbers_from_the_start_of_a_trace():
    assert wb.from_timestamps([0, 1500], unit="ms").arrivals.tolist() == [0, 1.5]
    for times, unit in (([0, 1], "h"), (["2024-01-01", "2024-01-02"], "ms")):
        with refused(InvalidInput, "unit", unit):
            wb.from_timestamps(times, unit=unit)


def test_dates_without_hyphens_are_not_taken_for_seconds():
    with refused(InvalidInput, 20241127, "2024-11-28"):
        wb.from_timestamps(["20241127", "20241128"])


@pytest.mark.parametrize(
    ("times", "origin"),
    [([1672766933] * 3, 1672766933), ([0.0], None), (["2024-01-01 00:00:00"], None)],
)
def test_a_trace_of_one_instant_asks_for_its_duration(times, origin):
    with refused(InvalidInput, "duration="):
        wb.from_timestamps(times, origin=origin)
    trace = wb.from_timestamps(times, origin=origin, duration=5)
    assert (trace.arrivals.tolist(), trace.duration) == ([0.0] * len(times), 5)


# ------------------------------------------------------------------------------------------- files


def write(folder, text, name="times.csv"):
    (folder / name).write_text(text)
    return folder / name


def test_a_blank_last_line_is_no_request_and_no_count(tmp_path):
    for text in ("time,x\n0.5,1\n1.5,2\n\n", "time\n0.5\n1.5\n\n \n", "time\r\n0.5\r\n1.5\r\n\r\n"):
        assert wb.from_csv(write(tmp_path, text)).arrivals.tolist() == [0.5, 1.5]
    counts = write(tmp_path, "period,count\n2024-01-01 00:00,3\n2024-01-01 00:01,2\n\n")
    assert read_counts(counts).tolist() == [3, 2]


@pytest.mark.parametrize("text", ["0.5\n1.5\n", "2024-01-01 00:00:00,5\n2024-01-01 00:00:01\n"])
def test_a_first_line_of_times_is_a_request(tmp_path, text):
    with pytest.warns(UserWarning, match="taken as a row"):
        assert len(wb.from_csv(write(tmp_path, text), None if "," not in text else "x0")) == 2


def test_columns_that_are_no_part_of_a_trace_may_hold_anything(tmp_path):
    path = write(tmp_path, 'time,status,rows\n0.5,200,1\n1.5,"x, y",2\n')
    assert wb.from_csv(path).rows.tolist() == [1, 2]


def test_a_log_in_json_lines_is_read(tmp_path):
    text = '{"ts": 1732832853123, "rows": 2, "m": "GET"}\n{"ts": 1732832853623, "rows": 1}\n\n'
    trace = wb.from_jsonl(write(tmp_path, text, "log.json"), "ts", unit="ms")
    assert (trace.arrivals.tolist(), trace.rows.tolist()) == ([0, 0.5], [2, 1])
