"""A plan, a simulation and a formula count the same bytes, and come to the same bill."""

from dataclasses import replace

import pytest

import workbench as wb
from tests.refused import unnamed
from workbench.planner import Options, plan
from workbench.planner.options import CLOUD_KINDS, SELF_SCALED
from workbench.quantiles import SLO
from workbench.run import Run
from workbench.run.costs import cost
from workbench.service_times import ServiceTimes
from workbench.traffic.trace import Trace

TIMES = ServiceTimes.affine(0.02, 0.004, largest=8)
TRACE = wb.bursty(rate=40, burst=4, dwell=(4, 1), duration=60, seed=3)
TARGET = SLO(latency=0.3)
CHOICES = Options(
    instance_types=["ml.c5.large"],
    max_sizes=[1, 4, 8],
    max_waits=[0.02, 0.1],
    cold_start=0.2,
    unseen_draws=0,
    seed=5,
)
TYPES = [*CLOUD_KINDS, *SELF_SCALED, "hybrid", "scaled real-time"]


def bytes_billed(found: wb.Cost) -> dict[str, float]:
    return {item.what: item.quantity for item in found.items if "data" in item.what}


@pytest.mark.parametrize("kind", TYPES)
def test_a_plan_costs_what_its_experiment_does(kind, model):
    options = replace(CHOICES, kinds=[kind], row_bytes=5e5, answer_bytes=2e4)
    made = plan(TIMES, TRACE, TARGET, options)
    best, terms = made.best, {"cold_start": options.cold_start, "boot": options.boot}

    experiment = made.experiment(model)
    run = experiment.simulate(TIMES, scaling=best.scaling, seed=options.seed, **terms)
    bill = cost(run)

    assert run.quantile(0.95) == best.latency
    assert bill.per_million == pytest.approx(best.cost_per_million, rel=1e-9)
    assert bill.per_month == pytest.approx(best.cost_per_month, rel=1e-9)
    assert [each.items for each in wb.compare([run]).costs.values()] == [bill.items]
    assert bool(bytes_billed(bill)) == best.deployment.bills_data


def test_what_a_model_takes_and_answers_is_counted_by_all(model):
    row, answer = model.samples().inputs[:1].nbytes, model.session().run(model.samples().inputs[:1])
    sent, given = len(TRACE) * row / 2**30, len(TRACE) * answer.nbytes / 2**30
    there = wb.Serverless(memory_mb=2048, max_concurrency=200)
    experiment = wb.Experiment(model, there, TRACE)

    ways = [cost(experiment.simulate(TIMES)), experiment.predict(TIMES).cost]

    for bill in ways:
        assert list(bytes_billed(bill).values()) == pytest.approx([sent, given])
        assert not any("not known" in note for note in bill.notes)


def test_a_trace_that_tells_its_bytes_goes_before_the_model(model):
    told = Trace(TRACE.arrivals, TRACE.duration, bytes=[1000] * len(TRACE))
    there = wb.Serverless(memory_mb=2048, max_concurrency=200)
    run = wb.Experiment(model, there, told, row_bytes=7).simulate(TIMES)

    assert run.record.row_bytes == 1000
    assert run.record.trace.sha256 == told.digest


def test_requests_too_large_for_a_call_are_told_by_a_simulation_too(model):
    there = wb.Lambda(memory_mb=1769, max_concurrency=100)
    run = wb.Experiment(model, there, TRACE, row_bytes=2e7).simulate(TIMES)
    assert any("carried more than the" in each for each in run.record.warnings)


def test_answers_that_never_came_are_not_billed(model):
    there = wb.Serverless(memory_mb=2048, max_concurrency=1)  # most are throttled
    run = wb.Experiment(model, there, TRACE, row_bytes=100, answer_bytes=50).simulate(TIMES)
    sent, given = bytes_billed(cost(run)).values()
    assert (sent, given) == pytest.approx((100 * len(run) / 2**30, 50 * run.answered / 2**30))
    assert run.answered < len(run)


def test_what_is_not_known_is_said_and_can_be_given():
    run = Run.from_arrays(scheduled=[0.0], finished=[1.0])
    run = run.amend(deployment=wb.RealTime(instance_type="ml.m5.large"))
    sent, given = (note for note in cost(run).notes if "data" in note)
    assert not unnamed(sent, "requests", "data in")
    assert not unnamed(given, "answers", "data out")
    assert not any("data" in note for note in cost(run, bytes_in=1, bytes_out=0).notes)


def test_a_text_as_an_answer_has_no_size(registry):
    model = registry["digits-logistic"]
    answer = replace(model.traits.output_schema[0], dtype="str", shape=())
    texts = replace(model, traits=replace(model.traits, output_schema=(answer,)))
    assert (model.answer_bytes, texts.answer_bytes) == (40, None)
