import dataclasses
import json
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

import workbench as wb
from tests.refused import refused, unnamed
from tests.tasks import Deadly
from workbench.errors import InvalidInput
from workbench.experiment.sweeps import sweep
from workbench.queueing import Prediction
from workbench.scaling import Schedule
from workbench.service_times import ServiceTimes

TIMES = ServiceTimes({size: 0.001 + 0.0005 * size for size in range(1, 9)})
QUIET = {"profile": TIMES, "progress": False}


@pytest.fixture(scope="module")
def experiment(model):
    return wb.Experiment(model, wb.Local(), wb.poisson(rate=100, duration=3, seed=3))


@pytest.fixture(scope="module")
def grid(experiment):
    return [
        dataclasses.replace(experiment, policy=wb.BatchPolicy(max_size=size, max_wait=0.01))
        for size in (1, 2, 4, 8)
    ]


def frames(findings):
    return [finding.result.frame for finding in findings]


def same(findings, others):
    return all(map(lambda a, b: a.equals(b), frames(findings), frames(others)))


def deadly(experiment, name):
    trace = dataclasses.replace(experiment.trace, name=name)
    return Deadly(experiment.model, experiment.deployment, trace, experiment.policy)


def test_findings_are_those_of_the_experiments_in_their_order(grid):
    findings = sweep(grid, seed=5, **QUIET)

    alone = [each.simulate(TIMES, seed=5).frame for each in grid]
    assert all(map(lambda a, b: a.equals(b), frames(findings), alone))
    assert [(each.number, each.attempts, each.error) for each in findings] == [
        (number, 1, None) for number in range(4)
    ]


def test_threads_find_the_same(grid):
    with ThreadPoolExecutor(2) as pool:
        assert same(sweep(grid, pool, **QUIET), sweep(grid, **QUIET))


def test_findings_and_progress_come_as_they_are_made(grid):
    came, told = [], []

    sweep(
        grid,
        profile=TIMES,
        on_finding=came.append,
        progress=lambda done, total: told.append((done, total, len(came))),
    )

    assert [each.number for each in came] == [0, 1, 2, 3]
    assert told == [(1, 4, 1), (2, 4, 2), (3, 4, 3), (4, 4, 4)]


def test_progress_is_told_on_standard_error(grid, capsys):
    sweep(grid[:2], profile=TIMES)

    assert capsys.readouterr().err == "\r1 of 2 experiments\r2 of 2 experiments\n"


def test_one_that_fails_does_not_stop_the_others(grid):
    too_large = dataclasses.replace(grid[0], policy=wb.BatchPolicy(max_size=99, max_wait=0.5))

    first, second = sweep([too_large, grid[0]], **QUIET)

    assert first.result is None
    assert not unnamed(first.error, "InvalidInput", 8)
    assert second.error is None


def test_predictions_can_be_swept(experiment):
    trace = wb.poisson(rate=100, duration=60, seed=3)
    function = wb.Lambda(memory_mb=1769, max_concurrency=99)
    predictable = dataclasses.replace(experiment, trace=trace, deployment=function)

    fine, not_so = sweep([predictable, predictable.on(wb.Local(workers=2))], how="predict", **QUIET)

    assert isinstance(fine.result, Prediction)
    assert not unnamed(not_so.error, "NotPredictable", "2 servers")


def test_real_runs_can_be_swept(experiment):
    short = dataclasses.replace(experiment, trace=experiment.trace.clip(0, 0.2))

    (finding,) = sweep([short], how="run", progress=False)

    assert finding.result.origin == "measured: this machine"


def test_a_sweep_goes_on_where_it_was(grid, tmp_path):
    first = sweep(grid[:2], folder=tmp_path, **QUIET)
    came = []

    again = sweep(grid, folder=tmp_path, on_finding=came.append, **QUIET)

    assert [each.restored for each in again] == [True, True, False, False]
    assert [each.attempts for each in again] == [0, 0, 1, 1]
    assert same(again[:2], first)
    assert [each.number for each in came] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"profile": TIMES.scale(2)},
        {"cold_start": [0.5, 0.6]},
        {"cold_start": np.array([0.5, 0.6])},
        {"progress": False, "scaling": Schedule([(1.0, 2)])},
        {"measured": {1024: TIMES}},
        {"scaling": None},
    ],
)
def test_what_a_result_hangs_on_tells_results_apart(grid, tmp_path, change):
    settings = {**QUIET, "seed": 1, "folder": tmp_path}
    sweep(grid[:1], **settings)

    (again,) = sweep(grid[:1], **(settings | change))

    assert not again.restored


def test_what_a_result_does_not_hang_on_makes_no_difference(grid, tmp_path):
    sweep(grid[:1], profile=TIMES, folder=tmp_path, progress=False)
    longer = ServiceTimes({size: 0.001 + 0.0005 * size for size in range(1, 20)}, label="longer")

    (again,) = sweep(grid[:1], profile=longer, folder=tmp_path, progress=False)

    assert again.restored


def test_one_that_has_no_service_times_is_reported_with_a_folder_too(grid, tmp_path):
    unknown = grid[0].on(wb.RealTime(instance_type="ml.m9.large"))

    (finding,) = sweep([unknown], folder=tmp_path, **QUIET)

    assert "NotFound: The vCPUs of 'ml.m9.large' are not known" in finding.error


def test_leaving_early_drops_what_has_not_begun(grid):
    handed = []

    class Counting(ThreadPoolExecutor):
        def submit(self, work, task):
            handed.append(task)
            return super().submit(work, task)

    def stop(finding):
        raise KeyboardInterrupt

    with Counting(1) as pool, pytest.raises(KeyboardInterrupt):
        sweep(grid * 5, pool, on_finding=stop, **QUIET)

    assert len(handed) == 2  # one in hand, one to go on with


def test_a_pool_that_cannot_be_replaced_is_reported(grid):
    def refuse():
        raise RuntimeError("no")

    with ThreadPoolExecutor(1, initializer=refuse) as pool:
        findings = sweep(grid[:2], pool, retries=1, **QUIET)

    assert all("Its worker died" in each.error for each in findings)


def test_what_a_cluster_cancels_is_reported(grid):
    class Cancelling(ThreadPoolExecutor):
        def submit(self, *_):
            future = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with Cancelling(1) as pool:
        (finding,) = sweep(grid[:1], pool, **QUIET)

    assert "CancelledError" in finding.error


def test_a_damaged_result_is_made_again(grid, tmp_path):
    sweep(grid[:1], folder=tmp_path, **QUIET)
    (facts,) = tmp_path.glob("*/facts.json")
    facts.write_text("{}")

    (again,) = sweep(grid[:1], folder=tmp_path, **QUIET)

    assert not again.restored
    assert "sha256" in json.loads(facts.read_text())


def test_a_profile_is_measured_before_work_begins(experiment, monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))

    with ThreadPoolExecutor(2) as pool:
        findings = sweep([experiment, experiment], pool, progress=False)

    assert len(list(tmp_path.glob("profiles/*/facts.json"))) == 1
    assert findings[0].result.record.profile == findings[1].result.record.profile


def test_a_workers_death_costs_another_attempt(grid, tmp_path):
    once, always = deadly(grid[0], str(tmp_path / "died")), deadly(grid[0], "")

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        findings = sweep([grid[0], always, once, grid[1]], pool, retries=1, **QUIET)

    assert [each.error is None for each in findings] == [True, False, True, True]
    assert "Its worker died, 2 times" in findings[1].error
    assert findings[2].attempts > 1
    assert same([findings[0], findings[3]], sweep(grid[:2], **QUIET))


def test_a_pool_that_forks_is_refused(grid):
    with (
        ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool,
        refused(InvalidInput, "ProcessPoolExecutor", "spawn"),
    ):
        sweep(grid, pool)


def test_a_dask_cluster_finds_the_same_and_survives_a_death(grid, tmp_path):
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        findings = sweep([*grid, deadly(grid[0], str(tmp_path / "died"))], client, **QUIET)

    assert same(findings, sweep([*grid, grid[0]], **QUIET))
    assert findings[-1].attempts == 2
    assert [each.attempts for each in findings[:-3]] == [1] * (len(grid) - 2)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"experiments": []}, ["no experiment"]),
        ({"experiments": None}, ["experiments", None]),
        ({"experiments": ["what"]}, ["experiments", "what"]),
        ({"executor": map}, ["executor", "concurrent.futures.Executor", "map"]),
        ({"how": "guess"}, ["how", "guess"]),
        ({"folder": 5}, ["path", 5]),
        ({"retries": -1}, ["retries", -1]),
    ],
)
def test_sweeps_that_make_no_sense_are_refused(grid, arguments, named):
    with refused(InvalidInput, *named):
        sweep(**({"experiments": grid} | QUIET | arguments))
