"""The planner: what it chooses, what it says of the rest, and that it can be trusted."""

import itertools
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import workbench as wb
from tests.graphs import one_node
from tests.refused import refused, unnamed
from workbench.batching.timer import BatchPolicy
from workbench.deployment import Lambda, Local, RealTime, Serverless
from workbench.errors import InvalidInput, NotFound
from workbench.measuring.profile import QUANTILE_LEVELS, Profile
from workbench.measuring.profile_cache import ensure_profile
from workbench.planner import Options, Plan, crossings, plan, replan
from workbench.quantiles import longest_within
from workbench.run import SLO
from workbench.run.costs import cost
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.map import MAP
from workbench.traffic.patterns import bursty, markovian, poisson
from workbench.traffic.trace import Trace

TIMES = ServiceTimes.affine(0.010, 0.005, largest=16)
TARGET = SLO(latency=0.2)
SMALL = Options(
    serverless_memory_mb=[1024, 2048],
    lambda_memory_mb=[1024, 1769],
    instance_types=["ml.c5.large", "ml.m5.xlarge"],
    max_sizes=[1, 2, 4, 8, 16],
    max_waits=[0.02, 0.05, 0.1, 0.15],
    periods=[60.0],
    cold_start=0.3,
    headroom=0.0,
    unseen_draws=0,
)
ON_DEMAND = replace(SMALL, kinds=["serverless", "lambda"])
NYS_3 = (  # A. Ali et al., BATCH (SC 2020), released with the solver
    [[-9.193680, 0], [0, -10.032671]],
    [[4.582001, 4.611679], [5.032529, 5.000142]],
)


@pytest.fixture(scope="module")
def trace() -> Trace:
    return bursty(rate=60, burst=4, dwell=(20, 10), duration=600, seed=1)


@pytest.fixture(scope="module")
def decided(trace: Trace) -> Plan:
    return plan(TIMES, trace, TARGET, SMALL)


# ---------------------------------------------------------------------- the choice


def test_what_costs_nothing_wins_and_the_others_are_dearer_by_no_ratio():
    free = [Local(), Local(workers=2), *(Serverless(memory_mb=1024, max_concurrency=4),)]
    found = plan(
        TIMES,
        poisson(rate=20, duration=60, seed=1),
        TARGET,
        Options(deployments=free, kinds=["local", "serverless"], unseen_draws=2, max_sizes=[1, 2]),
    )

    assert found.best.cost_per_million == found.surcharge == 0
    reasons = found.frame.filter(found.frame["cost_per_million"] > 0)["reason"]
    assert reasons.str.contains("above the winner's cost, which is 0|above the target").all()
    assert not found.frame["reason"].str.contains("inf|nan|NaN").any()


@pytest.mark.no_cover
def test_the_published_optimum_is_found():
    """NYS hour 3, 34 ms a request, p95 under 0.3 s: 4 requests and 0.17 s at 1.94 dollars."""
    process = MAP(*NYS_3)
    arrivals = markovian(*NYS_3, duration=12_000, seed=1)
    options = Options(
        kinds=["lambda"],
        lambda_memory_mb=[3008],
        max_sizes=[1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20],
        max_waits=np.arange(1, 50, 2) / 100,
        cold_start=0.0,
        headroom=0.0,
    )
    fast = ServiceTimes({size: 0.034 * size + 0.01 for size in range(1, 21)})
    found = plan(lambda _: fast, arrivals, SLO(latency=0.3), options, arrivals=process)
    assert found.best.policy == BatchPolicy(max_size=4, max_wait=0.17)
    assert found.best.cost_per_million == pytest.approx(1.94, rel=0.005)


def brute_force(trace: Trace, options: Options, slo: SLO) -> float:
    """The least cost that meets a target, every setting simulated."""
    from workbench.deployment.vcpu_rule import service_on

    costs = []
    places = [place for kind in options.kinds for place in options.places(kind)]
    for place, size, wait in itertools.product(places, options.max_sizes, options.max_waits):
        policy = BatchPolicy(max_size=size, max_wait=wait)
        times = service_on(TIMES, place)
        run = simulate(trace, policy, place, times, cold_start=options.cold_start, seed=0)
        if run.quantile(slo.quantile) <= longest_within(slo.latency):
            costs.append(cost(run).per_million)
    return min(costs)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("latency", [0.06, 0.15])
def test_the_winner_is_that_of_brute_force(seed, latency):
    trace = poisson(rate=50, duration=120, seed=seed)
    slo = SLO(latency=latency)
    found = plan(TIMES, trace, slo, ON_DEMAND)
    assert found.feasible
    assert found.best.latency <= longest_within(slo.latency)
    assert found.best.cost_per_million <= 1.005 * brute_force(trace, ON_DEMAND, slo)


def test_figures_are_those_of_simulate_and_cost(decided, trace):
    for candidate in decided.finalists:
        on_demand = isinstance(candidate.deployment, Serverless | Lambda)
        run = simulate(
            trace,
            candidate.policy,
            candidate.deployment,
            decided.task.service_on(candidate.deployment),
            cold_start=SMALL.cold_start if on_demand else SMALL.boot,
            scaling=candidate.scaling,
            seed=SMALL.seed,
        )
        assert candidate.latency == run.quantile(TARGET.quantile)
        assert candidate.attainment == run.attainment(TARGET)
        bill = cost(run)
        assert candidate.cost_per_million == pytest.approx(bill.per_million)
        assert candidate.cost_per_month == pytest.approx(bill.per_month)


def test_every_inference_type_is_in_the_plan(decided):
    assert set(decided.by_kind["kind"]) == set(SMALL.kinds)
    assert decided.by_kind["deployment"][0] == decided.best.deployment.label


def test_one_instance_fewer_would_miss_the_target(trace):
    slo = SLO(latency=0.08)
    options = replace(SMALL, kinds=["real-time"], instance_types=["ml.c5.large"])
    best = plan(TIMES, trace.scale(10), slo, options).best
    assert best.deployment.count > 1
    fewer = replace(best.deployment, count=best.deployment.count - 1)
    for size, wait in itertools.product(SMALL.max_sizes, SMALL.max_waits):
        policy = BatchPolicy(max_size=size, max_wait=wait)
        run = simulate(trace.scale(10), policy, fewer, TIMES, seed=0)
        assert run.quantile(slo.quantile) > slo.latency


def test_the_fastest_keeps_to_the_budget(trace):
    rich, poor = (plan(TIMES, trace, TARGET, SMALL, budget=dollars) for dollars in (5.0, 0.45))
    for found, budget in ((rich, 5.0), (poor, 0.45)):
        assert found.feasible
        assert found.best.cost_per_million <= budget
        within = found.front.filter(pl.col("cost_per_million") <= budget)
        assert found.best.latency <= 1.003 * within["latency"].min()
    assert rich.best.latency < poor.best.latency
    assert poor.frame["reason"].str.contains(r"above the budget of \$0.45$").any()


def test_nothing_is_cheap_enough_for_a_tiny_budget(trace):
    found = plan(TIMES, trace, TARGET, ON_DEMAND, budget=1e-4)
    assert not found.feasible
    assert "exceeds it least" in found.best.reason


def test_this_machine_takes_part_where_asked(trace):
    here = Local(workers=2, hourly_price=0.001)
    found = plan(TIMES, trace, TARGET, replace(ON_DEMAND, deployments=[here]))
    assert found.best.deployment == here
    assert "local" in set(found.frame["kind"])


def test_a_measurement_goes_before_the_rule(trace):
    slow = ServiceTimes.affine(0.5, 0.1, largest=16)
    options = replace(ON_DEMAND, kinds=["lambda"], measured={1769: slow})
    measured = plan(TIMES, trace, TARGET, options)
    assert measured.best.deployment.memory_mb == 1024
    assert set(measured.frame["service"]) == {
        slow.label + ", measured at 1769 MB",
        TIMES.label + ", x 1.73 by rule (0.579 vCPUs, 1024 MB)",
    }
    options = replace(options, measured=None)
    by_rule = plan(TIMES, trace, SLO(latency=0.02), options)
    assert by_rule.best.deployment.memory_mb == 1769
    assert by_rule.frame["service"].str.contains("by rule").all()


def test_random_service_times_are_planned_with(trace):
    law = np.linspace(0.8, 1.6, 11)
    times = ServiceTimes({size: (0.01 + 0.005 * size) * law for size in range(1, 17)})
    found = plan(times, trace, SLO(latency=0.1), ON_DEMAND)
    assert found.feasible
    assert found.best.latency == pytest.approx(found.best.predicted, rel=0.05)


def test_requests_of_several_rows_fill_smaller_batches():
    arrivals = poisson(rate=20, duration=120, seed=1).arrivals
    trace = Trace(arrivals, 120.0, rows=np.where(np.arange(len(arrivals)) % 2, 2, 4))
    found = plan(TIMES, trace, TARGET, replace(ON_DEMAND, max_sizes=None))
    assert found.frame["max_size"].max() == 4
    assert any("differ in rows" in note for note in found.notes)


# ---------------------------------------------------------------------- what is said of it


def test_each_row_says_which_engine_and_why_it_lost(decided):
    frame = decided.frame
    assert set(frame["engine"]) == {"simulator", "exact model", "screened out"}
    assert frame["reason"].str.len_chars().min() > 0
    assert frame["reason"][0] == "meets the target at the least cost"
    late = frame.filter((pl.col("kind") == "lambda") & (pl.col("latency") > 0.2))
    assert late["reason"].str.contains("^p95 .* above the target of 200 ms$").all()
    dear = frame.filter(pl.col("latency") <= 0.2)[1:]
    assert dear["reason"].str.contains("(times|% above) the winner's cost$|not simulated").all()
    engines = frame["engine"].to_list()
    assert engines[: len(decided.finalists)] == ["simulator"] * len(decided.finalists)


def test_the_front_has_what_nothing_beats(decided):
    front = decided.front
    assert front["latency"].is_sorted(descending=True)
    assert front["cost_per_million"].is_sorted()
    known = decided.frame.filter(pl.col("engine") != "screened out")
    for latency, dollars in front.select("latency", "cost_per_million").iter_rows():
        better = (pl.col("latency") < latency) & (pl.col("cost_per_million") <= dollars)
        assert known.filter(better).is_empty()


def test_a_target_that_nothing_meets_is_missed_by_so_much(trace):
    found = plan(TIMES, trace, SLO(latency=0.012), SMALL)
    assert not found.feasible
    assert found.best.latency == pytest.approx(0.015)
    assert not unnamed(found.best.reason, "target", "25 %")


def test_overload_is_told_from_slowness(trace):
    options = replace(ON_DEMAND, serverless_concurrency=1, lambda_concurrency=1, max_sizes=[1, 16])
    found = plan(TIMES, trace.scale(2), TARGET, options)
    reasons = found.frame.filter(pl.col("engine") == "screened out")["reason"]
    assert reasons.str.contains("unstable: .* at most 1 can be").all()
    with refused(InvalidInput, "unstable", "at most 1"):
        plan(TIMES, trace.scale(30), TARGET, options)


def test_fleets_that_cannot_keep_up_are_left_out(trace):
    kinds = ["lambda", "real-time", "async", "batch transform"]
    found = plan(TIMES, trace.scale(100), TARGET, replace(SMALL, kinds=kinds, max_count=1))
    assert {candidate.deployment.kind for candidate in found.finalists} == {"lambda"}
    fleets = found.frame.filter(pl.col("kind") != "lambda")
    assert fleets["reason"].str.contains("^unstable: ").all()


def test_time_and_money_spent_deciding_are_shown(trace):
    ticks = itertools.count()
    options = replace(ON_DEMAND, deciding_price=3600.0)
    found = plan(TIMES, trace, TARGET, options, clock=lambda: float(next(ticks)))
    assert found.spent == {"fit": 1.0, "screen and simulate": 1.0}
    assert (found.seconds, found.dollars) == (2.0, 2.0)
    for text in (repr(found), found._repr_html_()):
        assert "Decided in 2.00 s (fit" in text
        assert "Deciding took $2.00 of computing" in text


def test_assumptions_are_told(trace):
    known = replace(ON_DEMAND, row_bytes=100, answer_bytes=10, model_memory=1e6)
    assert plan(TIMES, trace, TARGET, known).notes == ()
    silent = plan(TIMES, trace.clip(0, 2), TARGET, replace(ON_DEMAND, cold_start=None))
    told = " ".join(silent.notes)
    assert not unnamed(told, "start without delay", "Too few requests", "noise")
    assert str(silent).splitlines()[2:] == list(silent.notes)


@pytest.mark.parametrize(("seconds", "told"), [(2.0, True), (60.0, False)])
def test_a_first_start_that_alone_misses_the_target_is_told(seconds, told):
    calm = poisson(rate=20, duration=seconds, seed=1)

    notes = plan(TIMES, calm, TARGET, replace(ON_DEMAND, cold_start=0.5, unseen_draws=0)).notes

    assert any("first start takes 500 ms of the 2 s" in note for note in notes) is told


def test_a_plan_becomes_an_experiment(decided, model, trace):
    experiment = decided.experiment(model)
    best = decided.best
    assert (experiment.deployment, experiment.policy) == (best.deployment, best.policy)
    assert (experiment.trace, experiment.slo) == (trace, TARGET)
    with refused(InvalidInput, "plan.experiment(model)"):
        decided.experiment()


def meter(model, batch_sizes, threads, progress):
    """Times of 10 ms and 5 ms a row, without measuring."""
    states = ("back to back", "after idle")
    rows = [
        (size, count, state, 1, t, t, t, t, [t] * len(QUANTILE_LEVELS))
        for size, count, state in itertools.product(batch_sizes, threads, states)
        for t in [0.01 + 0.005 * size]
    ]
    names = ("batch_size", "threads", "state", "repeats", "median", "low", "high", "mean")
    frame = pl.DataFrame(rows, schema=[*names, "quantiles"], orient="row")
    return Profile(frame.cast({"batch_size": pl.Int32, "threads": pl.Int32, "repeats": pl.Int32}))


def test_a_model_is_planned_for_by_its_cached_profile(model, trace, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    profile = ensure_profile(model, largest=16, measure=meter)
    of_model, of_profile, of_times = (
        plan(source, trace, TARGET, ON_DEMAND) for source in (model, profile, TIMES)
    )
    assert (
        of_model.best.configuration == of_profile.best.configuration == of_times.best.configuration
    )
    assert "profile" in of_model.spent
    assert of_model.experiment().model == model


# ---------------------------------------------------------------------- growing traffic


def test_instances_win_where_traffic_keeps_them_busy():
    options = Options(
        kinds=["lambda", "real-time", "batch transform"],
        lambda_memory_mb=[1769],
        instance_types=["ml.c5.large"],
        max_sizes=[1],
    )
    times = ServiceTimes({1: 0.01})
    found = plan(times, poisson(rate=20, duration=300, seed=1), SLO(latency=0.05), options)
    frame = found.break_even([0.5, 5, 80, 500])
    cheapest = frame.filter("cheapest").sort("rate")["kind"].to_list()
    assert cheapest == ["lambda", "lambda", "real-time", "real-time"]
    ((rate, before, after),) = crossings(frame)
    assert (before, after) == ("lambda", "real-time")
    # One instance at 0.102 dollars an hour costs what lambda does at this rate.
    lambda_cost = 0.01 * 1769 / 1024 * 1.66667e-5 + 2e-7
    assert rate == pytest.approx(0.102 / 3600 / lambda_cost, rel=0.02)
    jobs = frame.filter(pl.col("kind") == "batch transform")
    assert jobs["cost_per_million"].is_null().all()
    assert set(frame["engine"]) == {"simulator"}


def test_a_type_that_cannot_keep_up_has_no_cost(trace):
    options = replace(SMALL, kinds=["lambda", "real-time"], lambda_concurrency=1)
    frame = plan(TIMES, trace.scale(0.1), TARGET, options).break_even([1, 1000])
    costs = frame.filter(pl.col("kind") == "lambda").sort("rate")["cost_per_million"].to_list()
    assert costs[0] > 0
    assert costs[1] is None
    assert crossings(frame) == [(1000.0, "lambda", "real-time")]


def test_a_step_in_traffic_brings_a_decision_of_its_own():
    slow, fast = (poisson(rate=rate, duration=900, seed=rate).arrivals for rate in (10, 100))
    trace = Trace(np.concatenate([slow, 900 + fast]), 1800.0)
    found = replan(TIMES, trace, TARGET, ON_DEMAND, window=600)
    assert found.frame["cause"].to_list() == ["start", "window", "change", "window"]
    changed = found.frame["start"][2]
    assert 900 < changed <= 960
    assert found.frame["stop"][-1] == 1800
    assert found.frame["requests"].sum() == len(trace)
    assert found.misses[0] <= found.misses[1]
    anew, static = found.dollars
    assert found.saved_share == pytest.approx(1 - anew / static)
    assert found.spent > 0
    assert "decisions (1 on a change of rate)" in found._repr_html_()
    unwatched = replan(TIMES, trace, TARGET, ON_DEMAND, window=600, watch=False)
    assert unwatched.frame["cause"].to_list() == ["start", "window", "window"]


def test_deciding_again_of_what_costs_nothing_saves_nothing():
    traffic = poisson(rate=20, duration=60, seed=1)
    free = Options(kinds=["local"], deployments=[Local(workers=4)], unseen_draws=0)

    found = replan(TIMES, traffic, TARGET, free, window=30, watch=False)

    assert found.dollars == (0.0, 0.0)
    assert found.saved_share == 0.0
    assert "0 % saved" in repr(found)


def test_steady_traffic_brings_no_alarm():
    trace = poisson(rate=40, duration=3600, seed=5)
    found = replan(TIMES, trace, TARGET, ON_DEMAND, window=900)
    assert found.frame["cause"].to_list() == ["start", "window", "window", "window"]
    assert abs(found.saved_share) < 0.01


def test_silence_is_served_by_nobody():
    trace = Trace([*np.linspace(0, 9, 50), *np.linspace(31, 39, 50)], 40.0)
    found = replan(TIMES, trace, TARGET, ON_DEMAND, window=10, watch=False)
    assert found.frame["start"].to_list() == [0.0, 30.0]
    late = Trace(np.linspace(31, 39, 50), 45.0)
    found = replan(TIMES, late, TARGET, ON_DEMAND, window=10, watch=False)
    assert found.frame["start"].to_list() == [30.0]


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"kinds": []}, ["kinds", "[]"]),
        ({"kinds": "lambda"}, ["kinds", "'lambda'"]),
        ({"kinds": ["nosuch"]}, ["kinds", "nosuch"]),
        ({"kinds": ["on-premise"]}, ["deployments=[OnPremise(...)]"]),
        ({"local": True}, ["local", "max_sizes", "deployments=[Local"]),
        ({"max_sizes": [0]}, ["max_size", 0]),
        ({"max_waits": [-1.0]}, ["max_wait", -1.0]),
        ({"finalists": 0}, ["finalists", 0]),
        ({"boot": -1}, ["boot", -1]),
        ({"kinds": None}, ["kinds", None]),
        ({"periods": []}, ["periods", "[]"]),
        ({"periods": [0]}, ["period", 0]),
        ({"max_sizes": 8}, ["max_sizes", 8]),
        ({"lambda_memory_mb": ["1769"]}, ["memory_mb", 1769]),
        ({"serverless_memory_mb": [1000]}, ["memory_mb", 1000]),
        ({"instance_types": ["large"]}, ["instance_type", "'large'"]),
        ({"lambda_concurrency": 0}, ["max_concurrency", 0]),
        ({"keep_alive": "long"}, ["keep_alive", "long"]),
        ({"deployments": True}, ["deployments", True]),
        ({"deployments": [1]}, ["deployments", 1]),
        ({"measured": [1]}, ["measured", "[1]"]),
        ({"prices": "us-east-1"}, ["prices", "us-east-1"]),
        ({"deciding_price": -1}, ["deciding_price", -1]),
        ({"seed": None}, ["seed", None]),
    ],
)
def test_impossible_options_are_refused(options, named):
    with refused(InvalidInput, *named):
        Options(**options)


def test_a_kind_named_twice_is_searched_once():
    assert Options(kinds=["lambda", "lambda"]).kinds == ("lambda",)


def test_an_instance_type_without_known_vcpus_is_named_at_once():
    with refused(NotFound, "ml.m5.huge"):
        Options(instance_types=["ml.m5.huge"])


def test_a_grid_too_large_says_how_large_and_how_long(trace):
    options = Options(lambda_memory_mb=range(128, 10_000), max_waits=np.linspace(0, 1, 2000))
    with refused(InvalidInput, "296,160,000", "minutes", "2,000,000"):
        plan(TIMES, trace, TARGET, replace(options, kinds=["lambda"]))


def test_no_service_time_is_extrapolated(trace):
    found = plan(TIMES, trace, TARGET, replace(ON_DEMAND, max_sizes=[1, 16, 17, 64]))
    assert found.frame["max_size"].max() == 16
    assert [note for note in found.notes if not unnamed(note, "Batches", 16)]
    with refused(InvalidInput, 16, "max_sizes", 17):
        plan(TIMES, trace, TARGET, replace(ON_DEMAND, max_sizes=[17]))
    gap = ServiceTimes({1: 0.01, 2: 0.02, 8: 0.05})
    assert plan(gap, trace, TARGET, ON_DEMAND).frame["max_size"].max() == 2
    wide = Trace(trace.arrivals, trace.duration, rows=32)
    with refused(InvalidInput, 32):
        plan(TIMES, wide, TARGET, ON_DEMAND)


def test_wrong_arguments_are_refused(trace):
    with refused(InvalidInput, "trace", "[1.0]"):
        plan(TIMES, [1.0], TARGET)
    with refused(InvalidInput, "slo", 0.1):
        plan(TIMES, trace, 0.1)
    with refused(InvalidInput, "budget", 0):
        plan(TIMES, trace, TARGET, budget=0)
    with refused(InvalidInput, "plan", 3):
        plan(3, trace, TARGET)
    with refused(InvalidInput, "options", "all"):
        plan(TIMES, trace, TARGET, "all")
    with refused(InvalidInput, "arrivals", 40):
        plan(TIMES, trace, TARGET, arrivals=40)
    with refused(InvalidInput, "trace", "[1.0]"):
        replan(TIMES, [1.0], TARGET, window=600)
    with refused(InvalidInput, "rates", 5):
        plan(TIMES, trace, TARGET, ON_DEMAND).break_even(5)
    with refused(InvalidInput, "window", 600):
        replan(TIMES, trace, TARGET, window=600)


def test_plan_and_replan_are_public():
    assert wb.plan is plan
    assert wb.replan is replan
    assert isinstance(RealTime(instance_type="ml.c5.large"), wb.RealTime)


# ------------------------------------------- models whose answers depend on the batch


@pytest.fixture(name="changing", scope="module")
def _changing(tmp_path_factory):
    """A model that a row's neighbours give another answer, quick to profile."""
    registry = wb.Registry(tmp_path_factory.mktemp("registry"), progress=len)
    return registry.register("softmax", one_node("Softmax", axis=0), approval="Approved")


def test_requests_of_a_model_whose_answers_change_are_not_mixed(changing):
    options, note = replace(SMALL, kinds=["lambda", "batch transform"]).spare(changing)

    assert (options.max_sizes, options.kinds) == ((1,), ("lambda",))
    assert "Batching changes answers" in note
    assert "even_if_answers_change" in note


def test_they_are_mixed_if_that_is_asked_for_by_name(changing):
    asked = replace(SMALL, even_if_answers_change=True)

    assert asked.spare(changing) == (asked, "")


def test_jobs_alone_are_nothing_for_such_a_model(changing):
    with refused(InvalidInput, "even_if_answers_change=True"):
        replace(SMALL, kinds=["batch transform"]).spare(changing)


def test_a_plan_says_why_every_request_goes_alone(changing, trace, monkeypatch):
    monkeypatch.setattr("workbench.planner.search.load_profile", lambda *_: TIMES)

    found = plan(changing, trace, TARGET, ON_DEMAND)

    assert found.best.policy.max_size == 1
    assert any("goes alone" in note for note in found.notes)
