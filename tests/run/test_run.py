import dataclasses
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.refused import refused
from workbench import SLO, Run, load_run
from workbench.errors import Damaged, InvalidInput, NotFound, StorageError, TooFewSamples
from workbench.run import COLUMNS
from workbench.run.columns import has_column, with_optional_columns


def run_of(latencies, *, apart=1.0, **settings):
    """A run of requests so many seconds apart with these latencies; NaN is a failure."""
    scheduled = apart * np.arange(len(latencies), dtype=float)
    settings.setdefault("origin", "simulated")
    return Run.from_arrays(scheduled=scheduled, finished=scheduled + latencies, **settings)


def test_a_quantile_is_the_least_latency_that_enough_requests_do_not_exceed():
    run = run_of(np.arange(1, 101) / 64)

    assert run.quantile(0.5) == 50 / 64
    assert run.quantile(0.9) == 90 / 64
    assert run.cdf(run.quantile(0.9)) == 0.9


@given(st.lists(st.floats(0.001, 10), min_size=40, max_size=200), st.floats(0.05, 0.7))
def test_quantile_and_cdf_are_inverse(latencies, q):
    run = run_of(np.array(latencies))

    at = run.quantile(q)

    assert run.cdf(at) >= q - 1e-9
    assert run.cdf(at - 2e-8) < q + 1e-9  # what is off by rounding is in time


def test_a_quantile_with_too_few_samples_above_is_refused():
    run = run_of(np.ones(100))

    with refused(TooFewSamples, "95th", 200, 100):
        run.quantile(0.95)


def test_failures_count_as_infinitely_late_and_as_misses():
    latencies = np.ones(100)
    latencies[50:] = math.nan
    run = run_of(latencies, facts={"slo": {"latency": 2.0, "quantile": 0.9}})

    assert run.quantile(0.5) == 1.0
    assert run.quantile(0.6) == math.inf
    assert run.attainment() == 0.5
    assert run.answered == 50


def test_attainment_needs_a_target():
    with refused(InvalidInput, "SLO"):
        run_of(np.ones(3)).attainment()


def test_the_interval_of_independent_requests_covers_the_truth():
    rng = np.random.default_rng(7)
    truth = -math.log(0.1)
    covered = 0
    for _ in range(200):
        low, high = run_of(rng.exponential(1.0, 1000), apart=20.0).interval(0.9)
        covered += low <= truth <= high

    assert covered >= 180  # 95 % of 200 less 3 standard errors


def test_the_interval_of_correlated_requests_is_wider():
    rng = np.random.default_rng(7)
    blocks = np.repeat(rng.exponential(1.0, 40), 50)
    scattered = rng.permutation(blocks)

    correlated, independent = (
        run_of(latencies, apart=20.0).interval(0.5) for latencies in (blocks, scattered)
    )

    assert correlated[1] - correlated[0] > 2 * (independent[1] - independent[0])


def test_an_interval_needs_enough_requests():
    with refused(TooFewSamples, "95th", 200, 150):
        run_of(np.full(150, 0.01)).interval(0.95)
    with refused(TooFewSamples, "50th", 90, 100):
        run_of(np.full(90, 0.01)).interval(0.5)


def test_throughput_counts_the_answered_up_to_the_last_answer():
    run = Run.from_arrays(
        scheduled=[0, 1, 2], finished=[1, math.nan, 4], origin="measured: this machine"
    )

    assert run.throughput == 0.5


def test_a_run_in_which_nothing_was_answered_has_no_throughput():
    run = run_of(np.full(3, math.nan))

    assert run.throughput == 0.0
    assert run.answered == 0


def test_the_summary_holds_the_main_figures():
    run = run_of(
        np.ones(400),
        batch=np.repeat(np.arange(200), 2),
        batch_size=np.full(400, 2),
        rows=np.full(400, 3),
        correct=np.r_[np.zeros(100), np.ones(300)],
        cold=np.r_[[True, True], np.zeros(398, bool)],
        facts={"slo": {"latency": 1.0, "quantile": 0.9}, "label": "two by two"},
    )

    summary = run.summary()

    assert summary["run"] == "two by two"
    assert summary["p95"] == 1.0
    assert summary["p99"] is None
    assert summary["attainment"] == 1.0
    assert (summary["batches"], summary["mean_batch_size"]) == (200, 2.0)
    assert (summary["cold_starts"], summary["accuracy"]) == (1, 0.75)
    assert (summary["failed"], summary["complete"], summary["valid"]) == (0, True, True)


def test_an_empty_run_has_a_summary():
    summary = Run.from_arrays(scheduled=[], finished=[]).summary()

    assert summary["requests"] == 0
    assert summary["p50"] is None


def test_batches_are_one_row_each():
    run = run_of(np.ones(4), batch=[0, 0, 1, 1], batch_size=[2, 2, 2, 2], rows=[1, 2, 3, 4])

    assert run.batches()["rows"].to_list() == [3, 7]


def test_a_failed_request_is_nan_in_the_frame_and_infinite_for_those_who_compute():
    run = Run.from_arrays(scheduled=[1.0, 0.0, 2.0], finished=[np.nan, 0.25, 3.0])

    assert np.isnan(run.frame["latency"][0])
    assert run.latencies_or_inf.tolist() == [np.inf, 0.25, 1.0]
    assert run.latencies.tolist() == [0.25, np.inf, 1.0]


def test_latencies_are_in_order_of_schedule():
    run = Run.from_arrays(scheduled=[2.0, 1.0], finished=[2.5, 1.25])

    assert run.latencies.tolist() == [0.25, 0.5]


def test_saving_and_loading_gives_the_same_run(tmp_path):
    run = run_of(np.array([1.0, math.nan]), error=[None, "late"], facts={"label": "saved"})

    again = load_run(run.save(tmp_path / "folder" / "run"))

    assert again.frame.equals(run.frame, null_equal=True)
    assert again.facts == run.facts


def test_saving_does_not_overwrite_unasked(tmp_path):
    run_of(np.ones(3)).save(tmp_path / "run")

    with refused(StorageError, tmp_path / "run", "overwrite=True"):
        run_of(np.ones(4)).save(tmp_path / "run")
    run_of(np.ones(4)).save(tmp_path / "run", overwrite=True)

    assert len(load_run(tmp_path / "run")) == 4


def test_loading_what_is_not_there(tmp_path):
    with refused(NotFound, tmp_path, "facts.json"):
        load_run(tmp_path)


def test_loading_something_else(tmp_path):
    from workbench.files import save_frame

    save_frame(tmp_path / "other", pl.DataFrame({"a": [1]}), {})

    with refused(Damaged, tmp_path / "other", "'scheduled'"):
        load_run(tmp_path / "other")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"latency": 0}, ["latency", 0]),
        ({"latency": math.nan}, ["latency", "nan"]),
        ({"latency": 1, "quantile": 1}, ["quantile", 1]),
        ({"latency": 1, "quantile": "0.9"}, ["quantile", 0.9]),
    ],
)
def test_impossible_targets_are_refused(settings, named):
    with refused(InvalidInput, *named):
        SLO(**settings)


def test_a_target_holds_plain_numbers_that_json_can_keep(tmp_path):
    slo = SLO(latency=np.int64(2), quantile=np.float32(0.5))
    run = run_of(np.ones(2), facts={"slo": dataclasses.asdict(slo)})

    assert load_run(run.save(tmp_path / "run")).slo == SLO(latency=2, quantile=0.5)


def test_columns_must_be_known_and_of_one_length():
    with refused(InvalidInput, "['speed']"):
        run_of(np.ones(2), speed=[1, 2])
    with refused(InvalidInput, 2, "{'rows': 3}"):
        run_of(np.ones(2), rows=[1, 1, 1])
    with refused(InvalidInput, "missing: ['scheduled'"):
        Run(pl.DataFrame({"request": [1]}))


def test_a_run_says_which_place_answered_each_request(tmp_path):
    facts = {"places": ["local", "serverless"]}
    run = run_of(np.ones(4), place=[0, 1, 1, 0], batch=[0, 1, 1, 2], facts=facts)

    again = load_run(run.save(tmp_path / "run"))

    assert [again.record.places[at] for at in again.frame["place"]] == [
        "local", "serverless", "serverless", "local",
    ]  # fmt: skip
    assert again.batches()["place"].to_list() == [0, 1, 0]
    with refused(InvalidInput, "place 1", 1):
        run.amend(places=["local"])


def test_a_run_with_another_record_keeps_its_rows():
    run = run_of(np.ones(2), facts={"label": "first"})

    noted = run.amend(note="a slow day", complete=False)

    assert (noted.record.note, noted.complete, noted.label) == ("a slow day", False, "first")
    assert noted.frame is run.frame
    assert run.complete


@pytest.mark.parametrize(
    ("column", "named"),
    [
        (pl.lit("first").alias("server"), ["{'server': 'String'}"]),
        (pl.lit(1.0).alias("mood"), ["['mood']"]),
        (pl.lit(1).alias("init"), ["{'init': 'Int32'}"]),
    ],
)
def test_every_column_is_declared_with_its_type(column, named):
    run = run_of(np.ones(2))

    with refused(InvalidInput, *named):
        Run(run.frame.with_columns(column), run.record)


def test_optional_columns_are_asked_for_by_their_declared_names():
    frame = run_of(np.ones(2)).frame
    timed = frame.with_columns(model_latency=pl.Series([0.5, math.nan]))

    assert [has_column(each, "model_latency") for each in (frame, timed)] == [False, True]
    with pytest.raises(KeyError):
        has_column(frame, "model_latencies")
    full = with_optional_columns(timed)
    assert full.columns == [*COLUMNS, "model_latency", "overhead_latency", "init"]
    assert full["init"].to_list() == [0.0, 0.0]
    assert np.isnan(full["overhead_latency"].to_numpy()).all()
    Run(full)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Run("rows"), ["frame", "rows"]),
        (lambda: Run.from_arrays(scheduled=5, finished=[1]), ["scheduled", "array(5.)"]),
        (lambda: Run.from_arrays(scheduled=[0], finished=["1"]), ["finished", "['1']"]),
        (lambda: run_of(np.ones(2), rows=1), ["rows", 1]),
        (lambda: run_of(np.ones(2), cold=["a", "b"]), ["cold", "Boolean"]),
        (lambda: run_of(np.ones(2), rows=[object(), 1]), ["rows", "Int32"]),
    ],
)
def test_what_is_no_run_is_refused(make, named):
    with refused(InvalidInput, *named):
        make()


def test_figures_asked_for_amiss_are_refused():
    run = run_of(np.full(300, 0.5))

    for q in (1.5, "0.5", None, True):
        with refused(InvalidInput, "quantile", q):
            run.quantile(q)
    with refused(InvalidInput, "confidence", 3):
        run.interval(0.5, confidence=3)
    with refused(InvalidInput, "latency", None):
        run.cdf(None)
    with refused(InvalidInput, "slo", 0.1):
        run.attainment("0.1")


def test_attainment_takes_seconds_as_a_prediction_does():
    run = run_of(np.array([1.0, 2.0]))

    assert run.attainment(1.5) == run.attainment(SLO(latency=1.5)) == 0.5


def test_pandas_gets_the_same_rows():
    frame = run_of(np.ones(3)).to_pandas()

    assert frame["latency"].tolist() == [1.0, 1.0, 1.0]


def test_a_csv_file_has_the_rows_and_their_header(tmp_path):
    run = run_of(np.ones(3))
    path = run.to_csv(tmp_path / "run.csv")

    assert pl.read_csv(path, schema=run.frame.schema).equals(run.frame)


def test_the_percentiles_that_people_name_are_quantiles():
    run = run_of(np.arange(2000.0))

    assert [run.p50, run.p95, run.p99] == [run.quantile(q) for q in (0.5, 0.95, 0.99)]
    with pytest.raises(TooFewSamples):
        _ = run_of(np.ones(100)).p95


def test_the_representation_says_what_matters():
    run = run_of(np.ones(2), facts={"label": "a run", "complete": False, "valid": False})

    assert (
        repr(run)
        == "<Run a run: 2 requests, simulated, invalid: stopped early, load was off schedule>"
    )
