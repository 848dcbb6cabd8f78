"""What is said of a model of one's own is what was found, and can come out otherwise."""

from dataclasses import replace

import numpy as np
import pytest

from workbench import findings
from workbench.cloud.aws import Cloud
from workbench.cloud.doctor import Check, Diagnosis, PayloadFit
from workbench.cloud.ledger import LedgerEntry
from workbench.comparison import compare
from workbench.errors import InvalidInput
from workbench.formatting import percent
from workbench.planner.decisions import decide
from workbench.planner.options import Options
from workbench.pricing.cost import Cost, CostItem
from workbench.quantiles import SLO
from workbench.registry.agreement import Agreement
from workbench.run import Run
from workbench.service_times import ServiceTimes
from workbench.traffic.patterns import poisson


@pytest.mark.parametrize(("share", "holds"), [(1.0, True), (0.995, False)])
def test_a_file_answers_as_its_estimator_where_all_rows_are_equal(model, share, holds):
    agreement = Agreement(rows=200, share=share)
    found = findings.check_import(replace(model, traits=replace(model.traits, agreement=agreement)))

    assert found.holds is holds
    assert found.text.startswith(f"{100 * share:g} % of 200 rows")
    assert (
        f"{len(model.samples().inputs)} held-out rows {100 * model.traits.accuracy:.1f} % ("
        in found.text
    )


def test_a_file_without_its_estimator_cannot_be_compared(model):
    bare = replace(model, traits=replace(model.traits, agreement=None))

    assert findings.check_import(bare).holds is None


@pytest.mark.parametrize("ok", [True, False])
def test_a_model_can_be_served_where_all_checks_are_well(ok):
    checks = (Check(name="/ping", ok=True, finding=""), Check(name="memory", ok=ok, finding="full"))
    fits = [
        PayloadFit(kind=kind, rows=n, finding="") for kind, n in (("async", 900), ("lambda", 30))
    ]
    found = findings.check_service(Diagnosis(model="m:1", checks=checks, fits=tuple(fits)))

    assert found.holds is ok
    assert found.text.startswith("2 of 2" if ok else "1 of 2")
    assert ("memory: full" in found.text) is not ok
    assert "30 rows as lambda, the fewest, and up to 900 as async" in found.text


@pytest.mark.parametrize(("latency", "feasible"), [(0.3, True), (0.001, False)])
def test_a_type_is_chosen_where_one_keeps_the_target(latency, feasible):
    times = ServiceTimes.affine(0.02, 0.004, largest=4)
    few = Options(kinds=["lambda"], lambda_memory_mb=[1769], max_sizes=[1])
    decision = decide(times, poisson(rate=20, duration=30, seed=1), SLO(latency=latency), few)
    found = findings.choose_type(decision)

    assert found.holds is feasible
    assert found.text == decision.sentence


def run_of(origin, latencies):
    due = np.arange(len(latencies), dtype=float)
    facts = {"label": origin, "origin": origin}
    return Run.from_arrays(scheduled=due, finished=due + latencies, facts=facts)


@pytest.mark.parametrize(("factor", "holds"), [(1.0, True), (2.0, False)])
def test_a_simulation_is_right_within_the_interval_of_the_measured(factor, holds):
    latencies = np.random.default_rng(1).uniform(0.1, 0.2, 4000)
    simulated, measured = (
        run_of("simulated", factor * latencies),
        run_of("measured: here", latencies),
    )
    found = findings.compare_origins(compare([simulated, measured]))

    assert found.holds is holds
    assert f"{1000 * np.sort(latencies)[3799]:.0f} ms measured" in found.text


def test_few_measured_requests_tell_nothing_of_a_simulation():
    pair = [run_of(origin, np.full(20, 0.1)) for origin in ("simulated", "measured: here")]

    with pytest.raises(InvalidInput):
        findings.compare_origins(compare(pair[:1]))
    assert findings.compare_origins(compare(pair)).holds is None


@pytest.mark.parametrize(("paid", "holds"), [(0.5, True), (2.5, False)])
def test_an_estimate_holds_where_no_more_was_paid(paid, holds):
    found = findings.compare_estimate(cost_of(paid), cost_of(2.0))

    assert found.holds is holds
    assert f"{percent(paid / 2)} of that" in found.text


@pytest.mark.parametrize("left", [0, 1])
def test_a_teardown_is_told_by_what_it_left(left):
    entry = LedgerEntry(name="a", bucket="b", what="c", hourly=0.5, cloud=Cloud())
    found = findings.count_leftovers([entry, entry], [entry] * left)

    assert found.holds is not bool(left)
    assert "$1.00 an hour" in found.text
    assert f"{left} left" in found.text


def cost_of(dollars):
    item = CostItem(
        what="work", quantity=dollars, unit="second", unit_price=1, mark="verified", source="here"
    )
    return Cost(items=(item,), answered=1, origin="estimated")
