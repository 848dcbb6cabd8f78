"""The decision: its rows against the plan's, its sentences against its rows."""

import json
import math
import re
from dataclasses import replace

import polars as pl
import pytest

import workbench as wb
from tests.refused import refused, unnamed
from workbench.errors import InvalidInput
from workbench.formatting import duration, percent
from workbench.planner import Options, decide, plan
from workbench.planner.decisions import summarize_plan
from workbench.plots.decision import plot_decision
from workbench.service_times import ServiceTimes

TIMES = ServiceTimes.affine(0.02, 0.004, largest=8)
TRACE = wb.poisson(rate=40, duration=60, seed=1)
TARGET = wb.SLO(latency=0.3)
OPTIONS = Options(unseen_draws=0, finalists=4, max_sizes=[1, 4, 8])
TODAY = (
    wb.RealTime(instance_type="ml.m5.large", count=2),
    wb.BatchPolicy(max_size=4, max_wait=0.01),
)


@pytest.fixture(scope="module")
def made():
    return plan(TIMES, TRACE, TARGET, OPTIONS)


@pytest.fixture(scope="module")
def decision(made):
    return summarize_plan(made, today=TODAY)


def test_each_type_has_its_best_row_and_the_winner_is_that_of_the_plan(made, decision):
    best = made.by_kind
    rows = {row.kind: row for row in decision.rows[: len(made.fields)]}

    assert decision.winner.configuration == made.best.configuration
    assert decision.rows[0] is decision.winner
    assert list(rows) == best["kind"].to_list()
    for kind, deployment, month in best.select("kind", "deployment", "cost_per_month").iter_rows():
        assert rows[kind].configuration.place == deployment
        assert rows[kind].cost_per_month == pytest.approx(month)


def test_todays_choice_comes_to_what_a_simulation_and_its_bill_say(decision):
    deployment, policy = TODAY
    times = decision.plan.task.service_on(deployment)
    run = wb.simulate(TRACE, policy, deployment, times, boot=180.0)
    own = decision.today

    assert own.latency == pytest.approx(run.quantile(0.95))
    assert own.cost_per_month == pytest.approx(wb.cost(run).per_month)
    assert decision.difference == pytest.approx(own.cost_per_month - decision.winner.cost_per_month)
    assert f"${decision.difference:,.2f} a month less" in decision.today_sentence


def test_the_sentence_tells_winner_dollars_margin_and_why_the_runner_up_loses(decision):
    best, second = decision.winner, decision.runner_up

    assert decision.sentence.startswith(f"Take {best.configuration.place} (")
    assert f"${best.cost_per_month:,.2f} a month" in decision.sentence
    assert f"{math.floor(100 * (1 - best.latency / 0.3))}." in decision.sentence
    assert decision.sentence.endswith(f"loses: {second.reason}.")
    assert second.kind != best.kind


def test_what_is_on_the_front_is_beaten_by_no_row(decision):
    points = [(row.cost_per_month, row.latency) for row in decision.rows]

    for row in decision.rows:
        better = [p for p in points if p != (row.cost_per_month, row.latency)]
        beaten = any(c <= row.cost_per_month and late <= row.latency for c, late in better)
        assert row.front == (row.possible and not beaten)


def test_todays_choice_that_is_a_row_is_marked_there(made):
    best = made.best.configuration

    decision = summarize_plan(made, today=best)

    assert [row.today for row in decision.rows] == [True] + [False] * (len(decision.rows) - 1)
    assert decision.today_sentence == "Today's choice is the winner."


def test_what_cannot_be_simulated_today_is_a_note_and_the_decision_stands(made):
    decision = summarize_plan(made, today=(wb.Local(), wb.BatchPolicy(max_size=64, max_wait=0.1)))

    assert decision.winner.configuration == made.best.configuration
    assert decision.today is not None or "today's choice" in decision.notes[-1].lower()


def test_what_is_free_today_and_holds_on_other_days_is_said_to_do_so():
    options = replace(OPTIONS, unseen_draws=4)
    decision = decide(TIMES, TRACE, TARGET, options, today=wb.Local(workers=4))
    row = decision.table().rows[-1]

    assert decision.today.unseen.label == "4 of 4"
    assert row[-1] == "meets the target for less, also on 4 of 4 other days"
    assert "free" in row


@pytest.mark.parametrize("today", ["lambda", (wb.BatchPolicy(),), 3, (wb.Local(), None)])
def test_what_is_no_deployment_is_refused(today):
    with refused(InvalidInput, "today"):
        decide(TIMES, TRACE, TARGET, OPTIONS, today=today)


def test_the_items_of_a_month_add_up_to_the_month(made, decision):
    amounts = [float(each) for each in re.findall(r"\$([\d.]*\d)", decision.cost_sentence)]

    assert sum(item.dollars for item in made.items) == pytest.approx(made.best.cost_per_month)
    assert sum(amounts) == pytest.approx(decision.winner.cost_per_month, rel=0.01)
    assert amounts == sorted(amounts, reverse=True)


def test_what_batching_saves_is_what_a_plan_without_batches_costs_more(made, decision):
    alone = plan(TIMES, TRACE, TARGET, replace(OPTIONS, max_sizes=[1])).by_kind
    kept = alone.filter(pl.col("latency") <= 0.9 * TARGET.latency)
    least = kept["cost_per_month"].min()

    assert made.best.policy.max_size > 1
    assert made.without_batches.policy.max_size == 1
    assert made.without_batches.cost_per_month == pytest.approx(least)
    saved = 1 - made.best.cost_per_month / least
    assert f"saves {percent(saved)}: " in decision.batching_sentence
    assert "a buffer of yours" in decision.batching_sentence


def test_who_does_not_batch_is_told_of_no_saving():
    alone = summarize_plan(plan(TIMES, TRACE, TARGET, replace(OPTIONS, max_sizes=[1])))
    assert alone.batching_sentence == ""


def test_the_short_table_has_a_row_a_type_and_today_s(decision):
    table = decision.short_table()

    assert [row[0].removesuffix(" (today)") for row in table.rows] == [
        row.name for row in decision.rows
    ]
    assert all(row[-1] == each.reason for row, each in zip(table.rows, decision.rows, strict=True))
    assert table.columns == ["deployment", "$ a month", "p95", "verdict", "reason"]


def test_jobs_that_start_too_late_are_said_to_be_of_no_use(decision):
    jobs = next(row for row in decision.rows if row.kind == "batch transform")
    assert not unnamed(jobs.reason, "job", "3 min")


def test_where_nothing_meets_the_target_the_sentence_says_so_and_names_the_nearest():
    decision = decide(TIMES, TRACE, wb.SLO(latency=0.01), OPTIONS)

    assert not decision.feasible
    assert decision.sentence.startswith("Nothing meets p95 ≤ 10 ms: ")
    assert f"misses it least (p95 {duration(decision.winner.latency)})" in decision.sentence
    assert r"nearest\n$" in json.dumps(plot_decision(decision).spec())


def test_of_two_that_cost_the_same_none_is_said_to_cost_less():
    own = wb.Lambda(memory_mb=1769, max_concurrency=100)
    decision = decide(TIMES, TRACE, wb.SLO(latency=0.01), OPTIONS, today=own)

    assert (decision.difference, decision.winner.today) == (0.0, False)
    assert decision.today_sentence.endswith("; the winner costs as much.")
    assert decision.winner.verdict.word == "missed"


@pytest.mark.parametrize("budget", [0.05, 1.0])
def test_with_a_budget_the_sentence_is_about_the_budget_and_not_the_target(budget):
    decision = summarize_plan(plan(TIMES, TRACE, wb.SLO(latency=0.06), OPTIONS, budget))

    assert any(row.verdict.word == "met" for row in decision.rows)
    assert "Nothing meets" not in decision.sentence
    assert "below the target" not in decision.sentence
    if decision.feasible:
        assert "the fastest within $1.00 a million" in decision.sentence
    else:
        cost = decision.plan.best.cost_per_million
        assert decision.sentence.startswith("Nothing keeps to $0.05 a million: ")
        assert f"exceeds it least (${cost:.2f})" in decision.sentence


def test_what_breaks_a_limit_of_its_platform_is_invalid_and_no_near_miss_of_the_target():
    heavy = replace(OPTIONS, kinds=["lambda"], row_bytes=2e7)
    decision = decide(TIMES, TRACE, TARGET, heavy, today=wb.Lambda(1769, max_concurrency=9))

    assert {row.verdict.word for row in decision.rows} == {"invalid"}
    assert decision.sentence.startswith("Nothing keeps to the limits of its platform: ")
    assert decision.winner.verdict.reason in decision.sentence
    assert decision.today.verdict.reason in decision.today_sentence


def test_too_few_requests_leave_the_verdict_open():
    decision = decide(TIMES, wb.poisson(rate=2, duration=30, seed=1), TARGET, OPTIONS)

    assert decision.winner.verdict.word == "cannot tell"
    assert "too few to tell" in decision.sentence


def test_each_row_and_each_candidate_of_the_front_is_found_by_its_names(decision):
    names = decision.front.select("kind", "deployment", "policy").rows()
    names += decision.frame.select("kind", "deployment", "policy").rows()

    for kind, place, batching in names:
        found = decision.find(kind, place, batching)
        assert (found.place, found.batching_label) == (place, batching)
    assert decision.find("lambda", "lambda 7 MB", "no batching") is None


def test_a_type_that_cannot_do_the_work_has_a_row_with_the_reason(made):
    kinds = ["lambda", "real-time"]
    decision = decide(
        TIMES, wb.poisson(rate=4000, duration=10, seed=1), TARGET,
        replace(OPTIONS, kinds=kinds, max_count=1),
    )  # fmt: skip
    rows = {row.kind: row for row in decision.rows}

    assert set(rows) == set(kinds)
    assert not rows["real-time"].possible
    assert "unstable" in rows["real-time"].reason


def test_what_a_month_costs_decides_and_explains_however_short_the_trace():
    """A fleet waits for its last answers: that weighs much in seconds, and nothing in a month."""
    decision = decide(TIMES, wb.poisson(rate=60, duration=2, seed=1), TARGET, OPTIONS)
    months = {row.kind: row.cost_per_month for row in decision.rows if row.latency <= 0.27}

    assert decision.winner.cost_per_month == min(months.values())
    for row in decision.rows[1:]:
        if found := re.fullmatch(r"(\S+) times the winner's cost", row.reason):
            ratio = row.cost_per_month / decision.winner.cost_per_month
            assert float(found[1].replace(",", "")) == pytest.approx(ratio, rel=0.01)
