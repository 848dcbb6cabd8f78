import dataclasses
import json
import threading

import numpy as np
import polars as pl
import pytest

import workbench as wb
from tests.children import interrupt
from tests.graphs import linear, one_node
from tests.refused import refused, unnamed
from workbench.errors import InvalidInput, NotAvailable, NotPredictable, WorkbenchError
from workbench.measuring.profile import QUANTILE_LEVELS
from workbench.measuring.setup import find_largest
from workbench.registry.api import Samples
from workbench.scaling import Schedule
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.trace import Trace

TIMES = ServiceTimes({size: 0.001 + 0.0005 * size for size in range(1, 9)}, label="mine")


@pytest.fixture(scope="module")
def experiment(model):
    poisson = wb.poisson(rate=400, duration=1.0, seed=3)
    trace = dataclasses.replace(poisson, notice="cite the authors")
    policy = wb.BatchPolicy(max_size=4, max_wait=0.005)
    return wb.Experiment(
        model, wb.Local(hourly_price=0.1), trace, policy, wb.SLO(latency=0.5, quantile=0.9)
    )


@pytest.fixture(scope="module")
def run(experiment):
    return experiment.run()


def test_every_request_is_answered_by_the_real_model(run, experiment):
    pool = experiment.model.samples()
    session = experiment.model.session()
    right = experiment.model.correct(session.run(pool.inputs), pool.targets)

    assert run.complete
    assert run.answered == len(experiment.trace)
    expected = right[experiment.trace.sample % len(pool)].astype(float)
    assert run.frame["correct"].to_list() == expected.tolist()


def test_a_model_of_columns_runs_as_others_do(registry):
    model = registry["penguins-logistic"]
    trace = wb.constant(rate=40, duration=1)
    policy = wb.BatchPolicy(max_size=8, max_wait=0.1)

    run = wb.Experiment(model, wb.Local(), trace, policy).run()

    pool = model.samples()
    right = model.correct(model.session().run(pool.inputs), pool.targets)
    assert run.complete
    assert run.batches()["rows"].max() > 1
    assert run.frame["correct"].to_list() == right[trace.sample % len(pool)].tolist()


def test_latency_is_counted_from_the_schedule(run, experiment):
    frame = run.frame

    assert frame["scheduled"].to_numpy().tolist() == experiment.trace.arrivals.tolist()
    assert np.array_equal(frame["latency"], frame["finished"] - frame["scheduled"])
    assert (frame["sent"] >= frame["scheduled"]).all()


def test_batches_keep_the_policy(run, experiment):
    batches = run.batches()

    assert batches["batch_size"].max() <= experiment.policy.max_size
    assert batches["batch_size"].sum() == len(run)


def test_the_run_says_what_it_was_run_with(run, experiment):
    facts = run.facts

    assert facts["origin"] == "measured: this machine"
    assert facts["model"]["sha256"] == experiment.model.sha256
    assert facts["deployment"] == experiment.deployment.to_dict()
    assert facts["policy"] == {"kind": "timed", "max_size": 4, "max_wait": 0.005}
    assert facts["trace"]["sha256"] == experiment.trace.digest
    assert facts["trace"]["notice"] == "cite the authors"
    assert facts["slo"] == {"latency": 0.5, "quantile": 0.9}
    assert facts["environment"]["cores"] >= 1
    assert facts["lag"]["p99"] > 0
    assert json.loads(json.dumps(facts)) == facts


def test_what_was_run_survives_saving(run, tmp_path):
    again = wb.load_run(run.save(tmp_path / "run"))

    assert again.facts == run.facts
    assert again.quantile(0.9) == run.quantile(0.9)


def test_progress_and_rows_come_while_it_runs(experiment):
    told, rows = [], []

    experiment.run(progress=lambda done, total: told.append((done, total)), on_rows=rows.append)

    total = len(experiment.trace)
    assert len(told) > 1
    assert told == sorted(told)
    assert told[-1] == (total, total)
    assert sum(len(part["request"]) for part in rows) == total


def test_stopping_keeps_what_was_measured(model):
    trace = wb.constant(rate=100, duration=600)
    stopped = threading.Event()

    run = wb.Experiment(model, wb.Local(), trace).run(
        progress=lambda done, _: done and stopped.set(), stopped=stopped
    )

    assert not run.complete
    assert 0 < len(run) < len(trace)
    assert any("Stopped early" in warning for warning in run.warnings)


def test_stopping_before_the_first_answer_gives_an_empty_run(model):
    stopped = threading.Event()
    stopped.set()

    run = wb.Experiment(model, wb.Local(), wb.constant(rate=1, duration=60)).run(stopped=stopped)

    assert len(run) == 0
    assert not run.complete


def test_an_interrupt_keeps_what_was_measured(registry):
    script = f"""
import workbench as wb
model = wb.Registry({str(registry.path)!r})["digits-mlp-small"]
experiment = wb.Experiment(model, wb.Local(), wb.constant(rate=100, duration=600))
run = experiment.run(progress=lambda done, total: print("going", flush=True))
print(run.complete, 0 < len(run) < 60_000)
"""
    assert interrupt(script) == "False True"


def test_a_deployment_that_needs_a_cloud_says_so(experiment):
    serverless = experiment.on(wb.Serverless(memory_mb=2048, max_concurrency=20))

    with refused(NotAvailable, serverless.deployment.label, "experiment.run(cloud)"):
        serverless.run()


def test_on_changes_the_deployment_only(experiment):
    other = experiment.on(wb.Local(workers=2))

    assert other == dataclasses.replace(experiment, deployment=wb.Local(workers=2))


@pytest.mark.parametrize("part", ["model", "deployment", "trace", "policy", "slo"])
def test_parts_of_the_wrong_kind_are_refused(experiment, part):
    with refused(InvalidInput, part, "what"):
        dataclasses.replace(experiment, **{part: "what"})


def test_a_model_that_is_gone_is_reported(experiment, tmp_path):
    lost = dataclasses.replace(experiment.model, artifacts=tmp_path)

    with refused(WorkbenchError, lost.name, tmp_path):
        dataclasses.replace(experiment, model=lost).run()


def test_requests_without_a_kind_are_of_that_of_their_row(model, tmp_path):
    pool = model.samples()
    kinds = np.where(np.arange(len(pool)) % 2, "odd", "even")
    mine = wb.Registry(tmp_path)
    kept = mine.register("kinds", model.path, samples=Samples(pool.inputs, pool.targets, kinds))
    trace = wb.Trace([0.0, 1.0], 2.0, sample=[len(pool), 3])

    assert kept.samples().context_of(trace).tolist() == ["even", "odd"]
    own = dataclasses.replace(trace, context=["a", ""])
    assert kept.samples().context_of(own).tolist() == ["a", ""]
    assert pool.context_of(trace) is None


def test_a_model_without_right_answers_runs_without_accuracy(registry, model, tmp_path):
    own = wb.Registry(tmp_path)
    pool = Samples(model.samples().inputs)
    own.register("unlabelled", model.path, samples=pool)
    unlabelled = own.version("unlabelled", 1)

    run = wb.Experiment(unlabelled, wb.Local(), wb.constant(rate=50, duration=0.2)).run()

    assert run.answered == 10
    assert run.summary()["accuracy"] is None


def profile_of(experiment, cores=64):
    rows = [
        {
            "batch_size": size,
            "threads": 1,
            "state": state,
            "repeats": 99,
            **dict.fromkeys(("median", "low", "high", "mean"), 0.001 * size),
            "quantiles": [0.001 * size] * len(QUANTILE_LEVELS),
        }
        for size in (1, 2, 4, 8)
        for state in ("back to back", "after idle")
    ]
    facts = {"model": {"sha256": experiment.model.sha256}, "environment": {"cores": cores}}
    return wb.Profile(pl.DataFrame(rows), facts)


def test_simulating_is_the_simulators_run_with_the_experiments_facts(experiment):
    run = experiment.simulate(TIMES, seed=3)

    parts = experiment.trace, experiment.policy, experiment.deployment
    plain = simulate(*parts, TIMES, seed=3).frame  # of no model, whose answers are not known
    assert run.frame.drop("correct").equals(plain.drop("correct"))
    assert plain["correct"].is_nan().all()
    assert run.origin == "simulated"
    assert run.label == experiment.label
    assert run.slo == experiment.slo
    assert run.facts.items() >= experiment.facts().items()
    assert json.loads(json.dumps(run.facts)) == run.facts


def test_a_hybrid_is_simulated_with_the_times_of_each_part(experiment, tmp_path):
    base = wb.RealTime(instance_type="ml.m5.large", count=1)
    slow = wb.Lambda(memory_mb=884, max_concurrency=900)  # half a vCPU
    on = experiment.on(wb.Hybrid(base=base, overflow=slow, spill=wb.InFlight(1)))
    policy = Schedule([(0.0, 2), (0.5, 0)])
    times = ServiceTimes.affine(0.02, 0.0, largest=4)

    run = on.simulate(times, cold_start=0.5, boot=0.2, scaling=policy, seed=1)

    assert run.record.places == ("base", "overflow")
    assert run.record.scaling == policy.to_dict()
    calls = run.calls.with_columns(seconds=pl.col("finished") - pl.col("started") - pl.col("init"))
    for place, seconds in enumerate([0.02, 0.02 * 1769 / 884]):
        np.testing.assert_allclose(calls.filter(place=place)["seconds"], seconds)
    assert [len(each.instances or ()) for each in run.record.members] == [2, 0]
    run.save(tmp_path / "hybrid")
    again = wb.load_run(tmp_path / "hybrid")
    assert wb.cost(again).items == wb.cost(run).items


def test_simulated_and_measured_runs_stand_side_by_side(experiment, run):
    assert wb.compare([experiment.simulate(TIMES), run]).frame.height == 2


def test_a_profile_says_how_sure_sizes_between_are(experiment):
    run = experiment.simulate(profile_of(experiment))

    assert run.record.profile["between"]["error"] == pytest.approx(0, abs=1e-9)
    assert run.warnings == ()


def test_times_elsewhere_follow_the_rule_or_the_measurement(experiment):
    elsewhere = experiment.on(wb.Serverless(memory_mb=1024, max_concurrency=50))

    by_rule = elsewhere.simulate(TIMES, cold_start=0.1)
    measured = elsewhere.simulate(TIMES, cold_start=0.1, measured={1024: TIMES})

    assert "by rule (0.579 vCPUs, 1024 MB)" in by_rule.record.service["label"]
    assert measured.record.service["label"] == "mine, measured at 1024 MB"
    assert by_rule.quantile(0.5) > measured.quantile(0.5)


def test_more_workers_than_cores_are_warned_about(experiment):
    crowded = experiment.on(wb.Local(workers=3))

    (warning,) = crowded.simulate(profile_of(experiment, cores=2)).warnings
    assert not unnamed(warning, "3 workers", "3 cores", 2)


def test_another_models_profile_is_warned_about(experiment, registry):
    other = dataclasses.replace(experiment, model=registry["digits-mlp-wide"])

    (warning,) = other.simulate(profile_of(experiment)).warnings
    assert "The profile is of another model" in warning


def test_without_a_profile_it_is_measured_and_kept(experiment, monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    told = []
    unbatched = dataclasses.replace(experiment, policy=wb.BatchPolicy())

    first = unbatched.simulate(progress=lambda *step: told.append(step))
    known = list(told)
    again = unbatched.simulate(progress=lambda *step: told.append(step))

    assert told[:3] == [(0, 2), (1, 2), (2, 2)]  # of the profile, then rows of the pool
    assert told[-1] == (540, 540)
    assert told == known
    assert first.frame.equals(again.frame)
    assert first.record.profile["origin"] == "measured: this machine"


def test_a_prediction_and_a_simulation_agree(experiment):
    trace = wb.poisson(rate=200, duration=300, seed=2)
    function = wb.Lambda(memory_mb=1769, max_concurrency=900)
    steady = dataclasses.replace(experiment, trace=trace, deployment=function)

    found = steady.predict(TIMES)
    run = steady.simulate(TIMES, cold_start=0.0)

    assert found.origin == "predicted"
    low, high = run.interval(0.9, confidence=0.9999)
    assert low - 1e-9 <= found.quantile(0.9) <= high + 1e-9
    assert found.cost.per_million > 0


def test_a_prediction_passes_on_what_the_profile_cannot_know(experiment):
    trace = wb.poisson(rate=100, duration=60, seed=2)
    profile = profile_of(experiment, cores=1)
    alone = dataclasses.replace(
        experiment, trace=trace, policy=wb.BatchPolicy(), deployment=wb.Local(threads=1)
    )

    assert not any("cores" in note for note in alone.predict(profile).assumptions)


def test_where_no_formula_exists_prediction_points_to_simulation(experiment):
    with refused(NotPredictable, "simulate()"):
        experiment.predict(TIMES)


def test_a_profile_of_no_kind_is_refused(experiment):
    with refused(InvalidInput, "profile", 0.01):
        experiment.simulate(0.01)


@pytest.mark.parametrize("term", ["scaling", "spot", "measured", "cold_start", "seed"])
def test_terms_of_a_simulation_of_no_kind_are_refused(experiment, term):
    with refused(InvalidInput, term, "what"):
        experiment.simulate(TIMES, **{term: "what"})


@pytest.mark.parametrize("term", ["progress", "on_rows", "on_deployed", "stopped", "budget"])
def test_terms_of_a_run_of_no_kind_are_refused_before_it(experiment, term):
    with refused(InvalidInput, term, "what"):
        experiment.run(**{term: "what"})


def test_an_estimate_takes_seconds_to_drain(experiment):
    functions = experiment.on(wb.Lambda(memory_mb=1769, max_concurrency=9))

    with refused(InvalidInput, "drain", "60s"):
        functions.estimate(drain="60s")


def test_jobs_need_times_of_their_chunks(experiment):
    jobs = experiment.on(wb.BatchTransform(instance_type="ml.m5.large"))

    assert (find_largest(experiment), find_largest(jobs)) == (4, 32)


def test_a_run_of_a_model_whose_answers_change_says_so(tmp_path):
    registry = wb.Registry(tmp_path, progress=len)
    model = registry.register("softmax", one_node("Softmax", axis=0), approval="Approved")
    plain = registry.register("linear", linear(), approval="Approved")
    trace, policy = Trace(arrivals=[0.0] * 20, duration=1.0), wb.BatchPolicy(max_size=5, max_wait=1)

    changed, same = (
        wb.Experiment(each, wb.Local(), trace, policy).run(progress=False)
        for each in (model, plain)
    )

    assert changed.summary()["batch_invariance"] == "changes"
    assert "batching changes answers" in repr(changed)
    assert any(w.startswith("In this run 20 of 20 answers change") for w in changed.warnings)
    assert same.summary()["batch_invariance"] == "identical"
    assert "none of 20 rows looked at in this run changed" in same.record.batch_invariance
    assert not any("changes" in warning for warning in same.warnings)
    together = wb.compare([changed, same]).frame["batch_invariance"]
    assert together.to_list() == ["changes", "identical"]


def test_what_everyone_writes_first_needs_no_name():
    assert wb.poisson(20, 60) == wb.poisson(rate=20, duration=60, seed=0)
    assert wb.constant(20, 60) == wb.constant(rate=20, duration=60)
    assert wb.bursty(20, burst=2, duration=60) == wb.bursty(rate=20, burst=2, duration=60, seed=0)
    assert wb.SLO(0.1) == wb.SLO(latency=0.1)
    assert wb.BatchPolicy(8, 0.025) == wb.BatchPolicy(max_size=8, max_wait=0.025)
    for kind, first in {wb.RealTime: "ml.m5.large", wb.BatchTransform: "ml.c5.large"}.items():
        assert kind(first) == kind(instance_type=first)
    for kind in (wb.Serverless, wb.Lambda):
        assert kind(2048, max_concurrency=2) == kind(memory_mb=2048, max_concurrency=2)


def test_a_saved_run_says_its_experiment(experiment, run, registry, tmp_path):
    run.save(tmp_path / "run")

    again = wb.Experiment.of_run(wb.load_run(tmp_path / "run"), registry, slo=experiment.slo)

    assert again.trace.arrivals.tolist() == experiment.trace.arrivals.tolist()
    assert dataclasses.replace(again, trace=experiment.trace) == experiment


def test_what_is_said_beside_a_saved_run_must_not_contradict_it(run, registry):
    unnamed = run.amend(model=None, policy=None)

    with refused(InvalidInput, "local, 1 worker", "local, 2 workers"):
        wb.Experiment.of_run(run, registry, deployment=wb.Local(workers=2))
    with refused(InvalidInput, "model, policy"):
        wb.Experiment.of_run(unnamed, registry)


def test_an_experiment_is_of_a_run_and_a_registry(run, registry):
    with refused(InvalidInput, "run", "'runs/today'"):
        wb.Experiment.of_run("runs/today", registry)
    with refused(InvalidInput, "models", "None"):
        wb.Experiment.of_run(run, None)
