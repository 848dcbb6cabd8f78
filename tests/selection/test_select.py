"""Selecting: the choice, its reasons, its figures, and what it refuses."""

import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import workbench as wb
from tests.refused import refused
from workbench.deployment import Lambda, Local, Serverless
from workbench.errors import InvalidInput
from workbench.measuring.outcomes import Outcomes
from workbench.planner import Options, plan
from workbench.planner.service_sources import describe_model
from workbench.quantiles import longest_within
from workbench.selection import at_least, at_most
from workbench.selection.sensitivity import find_price
from workbench.service_times import ServiceTimes

ROWS = 540  # of the pool of digits
TRACE = wb.poisson(rate=50, duration=60, seed=1)
TARGET = wb.SLO(latency=0.1)
OPTIONS = Options(
    kinds=["serverless", "lambda", "real-time"],
    serverless_memory_mb=[1024, 2048],
    lambda_memory_mb=[1769],
    instance_types=["ml.c5.large"],
    max_sizes=[1, 4, 16],
    max_waits=[0.0, 0.02, 0.05],
    cold_start=0.2,
    unseen_draws=0,
)


def answers(*, wrong, skip=0):
    """Outcomes that are wrong in so many rows, from row `skip` on."""
    correct = np.ones(ROWS)
    correct[skip : skip + wrong] = 0
    return Outcomes(correct, correct, correct)


def times(each):
    return ServiceTimes.affine(0.002 + each, each, largest=16)


KNOWN = {  # wrong answers, seconds a row
    "large": (10, 0.008),
    "middle": (60, 0.002),
    "small": (200, 0.0003),
    "worse": (210, 0.009),  # than large in all
}


@pytest.fixture(scope="module")
def models(model):
    return [replace(model, group=name, version=1) for name in KNOWN]


def ask(models, **settings):
    profiles = {f"{name}:1": times(each) for name, (_, each) in KNOWN.items()}
    outcomes = {f"{name}:1": answers(wrong=wrong) for name, (wrong, _) in KNOWN.items()}
    known = {
        "trace": TRACE,
        "slo": TARGET,
        "options": OPTIONS,
        "profiles": profiles,
        "outcomes": outcomes,
    }
    return wb.select(models, **(known | settings))


@pytest.fixture(scope="module")
def found(models):
    return ask(models, weights={"accuracy": 0.6, "latency": 0.1, "cost": 0.3})


# ------------------------------------------------------------------------ the choice


@pytest.mark.parametrize(
    ("weights", "first"),
    [({"accuracy": 1}, "large"), ({"cost": 1}, "small"), ({"accuracy": 9, "cost": 1}, "large")],
    ids=str,
)
def test_the_weights_decide(models, weights, first):
    assert ask(models, weights=weights).best.model.group == first


def test_every_model_is_rated_on_every_inference_type(found):
    assert sum(not row.unbatched for row in found.rows) == len(KNOWN) * len(OPTIONS.kinds)
    assert set(found.table["inference_type"]) == set(OPTIONS.kinds)
    assert found.table["state"][0] == "first"


def test_a_model_is_not_first_because_it_alone_cannot_be_batched(models):
    """A plan takes the cheapest settings: batches, which wait, for whoever can be batched."""
    shown = ask(models, weights={"latency": 0.9, "cost": 0.1})
    assert shown.best.unbatched
    assert shown.experiment.policy.max_size == 1
    batched = next(
        row
        for row in shown.rows
        if (row.title, row.kind) == (shown.best.title, shown.best.kind) and not row.unbatched
    )
    assert batched.cost < shown.best.cost
    assert batched.latency > shown.best.latency


def test_a_machine_that_is_free_is_first_by_cost_and_said_so(models):
    found = ask(models, weights={"cost": 1}, deployments=[Local(), "serverless"])

    assert (found.best.kind, found.best.cost) == ("local", 0.0)
    json.dumps(found.to_dict(), allow_nan=False)
    assert "$0 per million" in str(found)


def test_what_no_plan_can_be_made_for_is_dropped_with_the_reason(models):
    """Of 500 requests at once no formula says how long a buffer holds them."""
    burst = ask(models[:1], trace=wb.Trace([0.0] * 500, 1.0))

    assert not burst.feasible
    assert "simulate" in burst.rows[0].misses[0].reason


def test_answers_to_pools_of_other_lengths_are_not_compared(models):
    short = np.ones(5)
    outcomes = {"large:1": answers(wrong=6), "middle:1": Outcomes(short, short, short)}
    pair = ask(models[:2], weights={"accuracy": 99, "cost": 1}, outcomes=outcomes)

    assert math.isnan(pair.standings.compare(0, len(pair.rows) - 1))


def test_traffic_that_only_batches_can_serve_is_no_error(models):
    profiles = {"large:1": ServiceTimes.affine(0.05, 0.0001, largest=16)}
    options = replace(OPTIONS, kinds=["real-time"], max_count=1)
    settings = {"slo": wb.SLO(latency=0.4), "weights": {"latency": 1}}
    found = ask(models[:1], options=options, profiles=profiles, **settings)
    assert found.best.found.policy.max_size > 1
    assert not any(row.unbatched for row in found.rows)


def test_latency_and_cost_are_those_of_the_plan(found):
    row = next(each for each in found.rows if each.found and not each.unbatched)
    options = describe_model(row.model, OPTIONS)
    planned = plan(times(KNOWN[row.model.group][1]), TRACE, TARGET, options)
    best = next(each for each in planned.finalists if each.deployment.kind == row.kind)

    assert (row.latency, row.cost) == (best.latency, best.cost_per_million)


def test_scores_and_winners_of_other_weights_need_no_search(found, models):
    searches = len(found.planned)
    for weights in ({"cost": 1.0}, {"latency": 1.0}, {"accuracy": 0.5, "cost": 0.5}):
        again = ask(models, weights=weights)
        assert found.winner(weights).name == again.best.name
        assert found.scores(weights) == pytest.approx(again.decision.scores)
    assert len(found.planned) == searches


def test_the_worse_never_wins_and_no_price_short_of_a_gift_makes_it(found):
    assert "worse:1" not in {row[0] for row in found.front.select("candidate").rows()}
    assert not found.regions(10)["first"].str.starts_with("worse").any()


def test_what_cannot_be_told_apart_goes_to_the_cheaper(models):
    """6 rows of 540 against 10: of the 16 that one alone gets right, chance gives as many."""
    outcomes = {"large:1": answers(wrong=6), "middle:1": answers(wrong=10, skip=200)}
    pair = ask(models[:2], weights={"accuracy": 99, "cost": 1}, outcomes=outcomes)

    assert pair.rows[pair.decision.leader].model.group == "large"
    assert pair.best.model.group == "middle"
    assert pair.decision.p > 0.05
    assert "McNemar" in pair.sentence
    assert any("may be chance" in each for each in pair.sentences)
    apart = {"large:1": answers(wrong=6), "middle:1": answers(wrong=40, skip=200)}
    assert ask(
        models[:2], weights={"accuracy": 99, "cost": 1}, outcomes=apart
    ).best.model.group == ("large")


def test_a_cheaper_twin_of_the_leader_does_not_pass_one_that_is_surely_better(models):
    """Small may be as good as large for all its rows tell, but middle surely is better than it."""
    correct = np.ones((3, ROWS))
    correct[0, :20] = 0  # large
    correct[1, :24] = 0  # middle: alike with large
    correct[2, :24] = 0  # small: what middle gets wrong, and seven rows more
    correct[2, 24:31] = 0
    outcomes = {
        f"{name}:1": Outcomes(each, each, each)
        for name, each in zip(("large", "middle", "small"), correct, strict=True)
    }
    trio = ask(models[:3], weights={"accuracy": 999, "cost": 1}, outcomes=outcomes)

    assert trio.best.model.group == "middle"


def test_a_target_takes_the_cheapest_that_is_sure_to_reach_it(models):
    sure = ask(models, target=0.85)
    assert sure.best.model.group == "middle"  # 480 of 540: 0.889, surely 0.85
    assert sure.best.bound >= 0.85
    assert ask(models, target=0.88).best.model.group == "large"  # middle's bound is below
    none = ask(models, target=0.99)
    assert not none.feasible
    assert "large:1" in none.sentence


def test_more_than_twenty_models_are_searched_only_where_they_could_win(model):
    rng = np.random.default_rng(1)
    wrong, seconds = rng.integers(5, 300, 60), rng.uniform(0.0005, 0.02, 60)
    models = [replace(model, group=f"m{number}", version=1) for number in range(60)]
    settings = {
        "profiles": {m.name: times(s) for m, s in zip(models, seconds, strict=True)},
        "outcomes": {
            m.name: answers(wrong=int(w), skip=int(rng.integers(200)))
            for m, w in zip(models, wrong, strict=True)
        },
    }
    for question in ({"weights": {"accuracy": 0.7, "cost": 0.3}}, {"target": 0.6}):
        few = ask(models, **settings, **question)
        everything = few.again(few.question, most=60)

        assert few.best.name == everything.best.name
        assert len(few.planned) < 40
        assert len(everything.planned) <= 60
        assert "screened out" in set(few.table["state"])
        assert few.conclusive
    hasty = ask(models, **settings, weights={"latency": 1}, searches=1)
    assert not hasty.conclusive
    assert "could still be first" in hasty.effort


# ------------------------------------------------------------------- effective accuracy


def test_effective_accuracy_is_a_sum_over_the_rows_of_the_experiment(found):
    """Recomputed from the simulated run of the winner by one line."""
    chosen, name = found.experiment, found.best.model.name
    profile = times(KNOWN[found.best.model.group][1])
    run = chosen.simulate(profile, cold_start=OPTIONS.cold_start, seed=OPTIONS.seed)
    correct = answers(wrong=KNOWN[name.partition(":")[0]][0]).of_requests(TRACE).correct
    rows = run.frame.with_columns(right=pl.Series(correct))

    assert found.best.effective_accuracy == pytest.approx(
        rows.select(
            (pl.col("right") * (pl.col("latency") <= longest_within(TARGET.latency))).mean()
        ).item()
    )


def test_effective_accuracy_is_no_product_where_late_requests_are_the_easy_ones(models):
    """Half of the rows are wrong, and only requests of the other half come in bursts, late."""
    calm = np.arange(0, 60, 0.5)
    bursts = np.repeat(np.arange(0.25, 60, 10), 12)
    arrivals = np.r_[calm, bursts]
    sample = np.r_[np.zeros(len(calm)), np.full(len(bursts), ROWS - 1)].astype(int)
    order = np.argsort(arrivals, kind="stable")
    trace = wb.Trace(arrivals[order], 60.0, sample=sample[order])
    one = ask(
        models[:1],
        trace=trace,
        slo=wb.SLO(latency=0.1, quantile=0.5),
        deployments=[Local(hourly_price=0.1)],
        options=replace(OPTIONS, max_sizes=[1]),
        profiles={"large:1": ServiceTimes({1: 0.03})},
        outcomes={"large:1": answers(wrong=1)},  # row 0, that of the calm requests
    ).rows[0]
    right = len(bursts) / len(trace)
    assert one.found.attainment < 0.9
    assert one.effective_accuracy < 0.6 * right * one.found.attainment


# ---------------------------------------------------------------- what would change it


def test_each_flip_is_so_on_both_sides(found):
    names = ("accuracy", "latency", "cost")
    shares = found.question.weights.shares
    weighed = [flip for flip in found.flips if flip.quantity.startswith("weight of ")]
    assert weighed
    for flip in weighed:
        index = names.index(flip.quantity.removeprefix("weight of "))
        rest = sum(share for number, share in enumerate(shares) if number != index)
        for value, first in ((flip.below, flip.first_below), (flip.above, flip.first_above)):
            moved = [(1 - value) * share / rest for share in shares]
            moved[index] = value
            weights = {n: w for n, w in zip(names, moved, strict=True) if w}
            assert found.winner(weights).name == first
        assert flip.above - flip.below <= 1e-6
        assert flip.first_below != flip.first_above


def test_a_weight_that_would_leave_nothing_to_another_is_no_flip(found):
    assert all(
        0.001 <= flip.below < flip.above <= 0.999
        for flip in found.flips
        if "weight" in flip.quantity
    )


def test_a_flip_by_price_is_so_on_both_sides(models):
    base = ask(models, weights={"accuracy": 0.6, "cost": 0.4}, deployments=["serverless", "lambda"])
    kind = base.best.kind
    flip = next(flip for flip in base.flips if flip.quantity.startswith(f"price of {kind}"))
    for factor, first in (
        (0.99 * flip.below, flip.first_below),
        (1.01 * flip.above, flip.first_above),
    ):
        prices = np.array([factor if row.kind == kind else 1.0 for row in base.rows])
        decided = base.standings.decide(prices=prices)
        assert base.rows[decided.first].name == first


def test_a_flip_by_target_is_so_on_both_sides_also_where_two_cost_the_same(models):
    wrong = {"large": 3, "middle": 1, "small": 10, "worse": 200}
    alike = {
        "outcomes": {f"{name}:1": answers(wrong=count) for name, count in wrong.items()},
        "profiles": {f"{name}:1": times(0.0003) for name in wrong},
        "deployments": ["real-time"],
    }
    base = ask(models, target=0.9, **alike)
    flips = [each for each in base.flips if each.quantity == "target of accuracy"]

    assert flips
    assert min(each.below for each in flips) >= 0.9  # what is less accurate was not planned for
    for flip in flips:
        for target, first in ((flip.below, flip.first_below), (flip.above, flip.first_above)):
            again = ask(models, target=target, **alike)
            assert (again.best.name if again.feasible else "nothing passes") == first


def test_a_flip_by_target_names_nobody_who_misses_another_need(models):
    base = ask(models, target=0.01, slo=wb.SLO(latency=0.008), deployments=["lambda"])
    named = {each.first_above for each in base.flips if each.quantity == "target of accuracy"}

    assert base.best.name == "small:1 on lambda"
    assert named <= {row.name for row in base.rows if not row.misses} | {"nothing passes"}


def test_flips_by_rate_and_target_are_so_when_planned_for(models):
    settings = {
        "weights": {"cost": 1},
        "deployments": ["serverless", "real-time"],
        "options": replace(OPTIONS, kinds=["serverless"]),
    }
    flips = ask(models[1:2], **settings).find_planned_flips()
    assert {flip.quantity.partition(" ")[0] for flip in flips} >= {"rate"}
    for flip in flips:
        for value, first in ((flip.below, flip.first_below), (flip.above, flip.first_above)):
            changes = {"slo": wb.SLO(latency=value)}
            if flip.quantity.startswith("rate"):
                changes = {"trace": TRACE.scale(value / TRACE.rate)}
            changed = ask(models[1:2], **settings, **changes)
            assert (changed.best.name if changed.feasible else "nothing passes") == first


def test_the_price_that_a_sentence_names_makes_a_candidate_first(found):
    rows = [i for i, s in enumerate(found.sentences) if "would be first at" in s]
    assert rows
    for row in rows:
        price = find_price(found.standings, row)
        for factor, first in ((0.999, True), (1.01, False)):
            prices = np.ones(len(found.rows))
            prices[row] = factor * price / found.rows[row].cost
            assert (found.standings.decide(prices=prices).first == row) == first


# -------------------------------------------------------------- what is dropped, and why


def test_a_miss_names_its_need(models):
    short = ask(models, needs={"accuracy": at_least(0.85), "latency": at_most(0.03)})
    for row in short.rows:
        needs = {miss.need for miss in row.misses}
        if row.model.group in ("small", "worse"):
            assert needs == {"accuracy"}
            assert row.kind is None  # nothing was searched for
        else:
            assert ("latency" in needs) == (row.latency > 0.03)


def test_nothing_passes_names_the_nearest_misses(models):
    none = ask(models, slo=wb.SLO(latency=0.001))
    assert not none.feasible
    assert none.rows[none.nearest[0]].model.group == "small"
    assert none.sentence.count("small:1") == 1  # not once more for each inference type
    assert set(none.table["deployment"]) == set(OPTIONS.kinds)
    with refused(InvalidInput, "small:1", "1 ms"):
        none.experiment  # noqa: B018
    assert none.to_dict()["first"] is None
    assert none.winner({"cost": 1}) is None


def test_a_budget_is_a_need(models):
    base = ask(models, weights={"cost": 1})
    poor = ask(models, weights={"accuracy": 1}, budget=1.5 * base.best.cost)
    assert poor.best.cost <= 1.5 * base.best.cost
    assert any("budget" in sentence for sentence in poor.sentences)


def test_what_is_not_known_never_wins_and_is_measured_on_demand(models, tmp_path, monkeypatch):
    """Without a profile of it, and nothing to be measured, the best is shown as unknown."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    settings = {"profiles": {"small:1": times(0.0003)}, "weights": {"accuracy": 1}}
    partly = ask(models[:3], measure=False, **settings)

    assert partly.best.model.group == "small"
    assert partly.table.filter(candidate="large:1")["state"].to_list() == ["unknown"]
    measured = []
    monkeypatch.setattr(
        "workbench.selection.knowledge.ensure_profile",
        lambda model, **_: measured.append(model.group) or times(0.001),
    )
    assert partly.measure().best.model.group == "large"
    assert measured == ["large", "middle"]


def measured_slowly(monkeypatch):
    """Have models be measured in two steps each, their times and answers then being known."""

    def measure(model, found, progress):
        for done in range(3):
            progress(done, 2)
        return found(*KNOWN[model.group])

    monkeypatch.setattr(
        "workbench.selection.knowledge.ensure_profile",
        lambda model, progress, **_: measure(model, lambda _, each: times(each), progress),
    )
    monkeypatch.setattr(
        "workbench.selection.knowledge.find_outcomes",
        lambda model, progress: measure(model, lambda wrong, _: answers(wrong=wrong), progress),
    )


def test_each_model_that_is_measured_or_searched_is_told(models, monkeypatch):
    measured_slowly(monkeypatch)
    told = []
    ask(
        models[1:3],
        profiles={"middle:1": times(0.002)},
        outcomes={},
        progress=lambda *now: told.append(now),
        doing=told.append,
    )

    assert told == [
        *("Measuring what middle:1 answers", *[(0, 2)] * 3),
        *("Measuring what small:1 answers", *[(1, 2)] * 3),
        *("Measuring how long small:1 takes", *[(1, 2)] * 3),
        *("Searching settings for middle:1", (0, 2)),
        *("Searching settings for small:1", (1, 2)),
        (2, 2),
    ]


@pytest.mark.parametrize("at", [f"Measuring {what}" for what in ("what", "how long")])
def test_measuring_is_given_up_when_progress_raises(models, monkeypatch, at):
    measured_slowly(monkeypatch)
    told = []

    def give_up(*_):
        if told[-1].startswith(at):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(models, profiles={}, outcomes={}, progress=give_up, doing=told.append)
    assert told[-1] == f"{at} large:1 {'answers' if 'what' in at else 'takes'}"


def test_an_accuracy_that_is_not_known_never_wins(models):
    unknown = Outcomes(np.ones(ROWS), np.ones(ROWS), np.full(ROWS, np.nan))
    nameless = replace(models[2], traits=replace(models[2].traits, accuracy=None))
    known = {"small:1": unknown, "large:1": answers(wrong=300)}
    pair = ask([nameless, models[0]], weights={"accuracy": 0.1, "cost": 0.9}, outcomes=known)

    assert pair.best.model.group == "large"
    assert pair.table.filter(candidate="small:1")["state"].to_list() == ["unknown"]


# ------------------------------------------------------------------------- bad input


def test_two_tasks_are_refused_until_one_is_needed(registry, models):
    mixed = [models[0], registry["diabetes-ridge"]]
    with refused(InvalidInput, "'diabetes'", "'digits'"):
        ask(mixed)
    assert ask(mixed, needs={"task": "digits"}).best.model.group == "large"


def test_a_regression_has_its_own_metric_and_no_effective_accuracy(registry):
    ridge = registry["diabetes-ridge"]
    profiles = {ridge.name: times(0.001)}
    found = ask([ridge], profiles=profiles, weights={"accuracy": 1})

    assert found.best.accuracy == ridge.traits.accuracy
    assert set(found.table["effective_accuracy"]) == {None}
    assert "r2" in found.sentence
    with refused(InvalidInput, "r2"):
        ask([ridge], profiles=profiles, weights={"effective_accuracy": 1})
    with refused(InvalidInput, "target"):
        ask([ridge], profiles=profiles, target=0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"candidates": []},
        {"candidates": "digits"},
        {"candidates": [3]},
        {"weights": {"cost": 0}},
        {"weights": {"cost": 1}, "target": 0.9},
        {"target": 1.5},
        {"target": 0.9, "confidence": 1},
        {"budget": 0},
        {"deployments": ["the moon"]},
        {"needs": {"licence": "MIT"}},
        {"trace": None},
        {"slo": 0.1},
    ],
    ids=str,
)
def test_bad_input_is_refused(models, wrong):
    with pytest.raises(InvalidInput):
        ask(**({"models": wrong.pop("candidates", models)} | wrong))


def test_no_accuracy_at_all_is_refused_where_it_is_asked_for(models):
    unknown = Outcomes(np.ones(ROWS), np.ones(ROWS), np.full(ROWS, np.nan))
    nameless = replace(models[2], traits=replace(models[2].traits, accuracy=None))
    alone = {"outcomes": {"small:1": unknown}}

    with refused(InvalidInput, "accuracy"):
        ask([nameless], **alone)
    assert ask([nameless], weights={"cost": 1}, **alone).best.model.group == "small"


# ----------------------------------------------------------------------- how it is shown


def test_it_is_printed_kept_as_json_and_ready_to_run(found):
    text = str(found)
    facts = json.loads(json.dumps(found.to_dict(), allow_nan=False))

    assert found.sentence in text
    assert facts["first"]["model"] == found.best.model.name
    assert len(facts["candidates"]) == len(found.rows) == len(found.sentences)
    assert facts["sentence"] in repr(found)
    assert facts["notes"]
    assert [text.count(note) for note in facts["notes"]] == [1] * len(facts["notes"])
    assert "<table>" in found._repr_html_()
    assert found.experiment.slo == TARGET
    assert isinstance(found.experiment.deployment, Serverless | Lambda)


def test_the_sentence_is_kept_by_the_registry(found, tmp_path, model):
    registry = wb.Registry(tmp_path)
    version = registry.register("chosen", model.path).version
    registry.approve("chosen", version, why=found.sentence)

    assert registry.history("chosen", version)[-1].why == found.sentence


def test_the_charts_show_who_is_first(found):
    chart, regions = found.chart(), found.regions_chart(10)

    assert chart.data.filter(state="first")["candidate"].to_list() == [found.best.model.name]
    assert chart.svg().startswith("<svg")
    assert regions.data.height == 66
    for accuracy, latency, cost, first in found.regions(10).rows()[::13]:
        named = {"accuracy": accuracy, "latency": latency, "cost": cost}
        assert found.winner({n: w for n, w in named.items() if w}).name == first
    assert regions.svg().startswith("<svg")


def test_the_chart_of_flips_has_a_bar_for_each_quantity_in_pieces_without_gaps(models):
    """Rate and latency target are planned for once, when they are asked for."""
    one = ask(models, weights={"accuracy": 0.6, "cost": 0.4}, deployments=["serverless"])
    calls = []
    one = replace(one, again=lambda *given, **terms: calls.append(1) or base.again(*given, **terms))
    base = ask(models, weights={"accuracy": 0.6, "cost": 0.4}, deployments=["serverless"])
    quick = one.flips_chart()
    assert not calls
    whole = one.flips_chart(planned=True)
    assert one.planned_ranges.values == len(calls)
    assert one.planned_ranges.searches >= len(calls)
    assert one.flips_chart().data.equals(whole.data)
    assert one.planned_ranges.values == len(calls)  # not once more

    asked = ["weight of accuracy", "weight of latency", "weight of cost"]
    assert set(whole.data["quantity"]) > set(quick.data["quantity"]) > set(asked)
    for bars in whole.data.partition_by("quantity"):
        assert bars["low"][1:].to_list() == bars["high"][:-1].to_list()
        assert (bars["first"][1:] != bars["first"][:-1]).all()
        now = bars.filter(pl.col("low") <= pl.col("now"), pl.col("now") <= pl.col("high"))
        assert one.best.name in now["first"].to_list()
    assert whole.svg().startswith("<svg")
    with refused(InvalidInput, "small:1", "1 ms"):
        ask(models, slo=wb.SLO(latency=0.001)).flips_chart()


def test_an_interval_is_shown_only_where_rows_tell(found):
    assert all(low < high for low, high in found.table["accuracy_low", "accuracy_high"].rows())
    assert all(math.isfinite(row.effective_accuracy) for row in found.rows if row.found)
