"""Hybrids, mixed fleets and spill rules as values, and the bills of their places."""

import dataclasses
import json

import numpy as np
import polars as pl
import pytest

import workbench as wb
from tests.refused import refused
from workbench.deployment import BatchTransform, Deployment, OnPremise
from workbench.deployment.spill import SPILL_RULES, OfferedBatch, as_spill_rule
from workbench.errors import InvalidInput
from workbench.run import Run
from workbench.run.record import MemberRecord, RunRecord

SMALL = wb.RealTime(instance_type="ml.c5.large")
LARGE = wb.RealTime(instance_type="ml.c5.xlarge", count=2)
MIXED = wb.MixedFleet(parts=(SMALL, LARGE))
BURST = wb.Lambda(memory_mb=1769, max_concurrency=10)
KEPT = wb.Serverless(memory_mb=2048, max_concurrency=4)
HYBRID = wb.Hybrid(base=SMALL, overflow=BURST)
RULES = [
    wb.InFlight(3),
    wb.WhileBooting(2),
    wb.ByDeadline(latency=0.1, service=(0.02, 0.03), margin=0.01),
    wb.Hedge(after=0.25),
]


def offered(**changes):
    facts = {"size": 1, "waited": 0.0, "in_flight": 0, "workers": 1, "ready": 1, "starting": 0}
    return OfferedBatch(**facts | changes)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
@pytest.mark.parametrize("base", [SMALL, MIXED, OnPremise.example()], ids=lambda base: base.kind)
@pytest.mark.parametrize("overflow", [BURST, KEPT], ids=lambda overflow: overflow.kind)
def test_a_hybrid_survives_json(base, overflow, rule):
    hybrid = wb.Hybrid(base=base, overflow=overflow, spill=rule)
    data = json.loads(json.dumps(hybrid.to_dict()))

    assert Deployment.from_dict(data) == hybrid
    assert data["spill"]["kind"] == rule.kind
    assert SPILL_RULES[rule.kind] is type(rule)


def test_a_mixed_fleet_survives_json_and_counts_all():
    assert Deployment.from_dict(json.loads(json.dumps(MIXED.to_dict()))) == MIXED
    assert MIXED.platform.instances == 3
    assert MIXED.place_names == ("ml.c5.large", "ml.c5.xlarge")


@pytest.mark.parametrize(
    ("base", "overflow", "named"),
    [
        (HYBRID, BURST, ["base", HYBRID.label]),
        (SMALL, HYBRID, ["overflow", HYBRID.label]),
        (BatchTransform.example(), BURST, ["base", "batch transform"]),
        (SMALL, BatchTransform.example(), ["overflow", "batch transform"]),
        (BURST, BURST, ["base", BURST.label]),
        (SMALL, LARGE, ["overflow", LARGE.label]),
        ("real-time", BURST, ["base", "real-time"]),
    ],
)
def test_what_cannot_be_base_or_overflow_is_refused(base, overflow, named):
    with refused(InvalidInput, *named):
        wb.Hybrid(base=base, overflow=overflow)


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ((), ["parts", "none"]),
        ((SMALL,), ["real-time 1 x ml.c5.large"]),
        ((SMALL, BURST), ["RealTime", BURST.label]),
        ((MIXED, LARGE), ["RealTime", MIXED.label]),
        ((SMALL, dataclasses.replace(SMALL, count=3)), ["['ml.c5.large', 'ml.c5.large']"]),
    ],
)
def test_what_cannot_be_part_of_a_mixed_fleet_is_refused(parts, named):
    with refused(InvalidInput, *named):
        wb.MixedFleet(parts=parts)


@pytest.mark.parametrize("given", ["often", {"kind": "often"}, {"kind": "hedge"}, None, 1])
def test_what_is_no_rule_is_refused(given):
    with pytest.raises(InvalidInput):
        as_spill_rule("spill", given)


@pytest.mark.parametrize(
    "make",
    [
        lambda: wb.InFlight(-1),
        lambda: wb.InFlight(1.5),
        lambda: wb.Hedge(after=0),
        lambda: wb.ByDeadline(latency=0.1, service=()),
        lambda: wb.ByDeadline(latency=0.1, service=(-1.0,)),
        lambda: wb.ByDeadline(latency=0, service=(0.1,)),
    ],
)
def test_a_setting_out_of_its_limits_is_refused(make):
    with pytest.raises(InvalidInput):
        make()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_without_an_instance_every_batch_spills(rule):
    assert rule.spills(offered(ready=0, starting=1))


@pytest.mark.parametrize(
    ("rule", "facts", "spills"),
    [
        (wb.InFlight(0), {}, True),
        (wb.InFlight(2), {"in_flight": 1}, False),
        (wb.InFlight(2), {"in_flight": 2}, True),
        (wb.WhileBooting(2), {"in_flight": 2}, False),
        (wb.WhileBooting(2), {"in_flight": 2, "starting": 1}, True),
        (wb.Hedge(after=0.1), {"in_flight": 9}, False),
        (RULES[2], {"in_flight": 3}, False),  # 4 x 0.02 s within 0.09 s
        (RULES[2], {"in_flight": 4}, True),
        (RULES[2], {"in_flight": 3, "waited": 0.02}, True),
        (RULES[2], {"in_flight": 2, "size": 2}, False),  # 3 x 0.03 s
        (RULES[2], {"in_flight": 3, "size": 7}, True),  # as the largest that is known
        (RULES[2], {"in_flight": 7, "workers": 2}, False),
    ],
)
def test_a_rule_says_what_spills(rule, facts, spills):
    assert rule.spills(offered(**facts)) is spills


def run_of(deployment, places, spans, *, hedged=False):
    """Return a run of four requests, each for half a second at the places in turn."""
    at = np.arange(4, dtype=float)
    place = np.arange(4) % len(places)
    whole = {"places": places, "deployment": deployment}
    rows = Run.from_arrays(
        scheduled=at, started=at, finished=at + 0.5, origin="simulated", place=place, facts=whole
    ).frame
    calls = rows
    if hedged:  # the first was asked of the last place, too
        again = rows.head(1).with_columns(
            place=pl.lit(len(places) - 1, rows["place"].dtype),
            batch=pl.lit(99, rows["batch"].dtype),
        )
        calls = pl.concat([rows, again])
    members = tuple(
        MemberRecord(name=name, model={"name": "one"}, deployment=part, instances=span)
        for name, part, span in zip(places, deployment.simple_parts, spans, strict=True)
    )
    record = RunRecord(origin="simulated", **whole, members=members)
    return Run(rows, record, calls=calls)


def test_the_bill_of_a_hybrid_adds_up_by_place(tmp_path):
    run = run_of(HYBRID, ("base", "overflow"), [((0.0, 60.0),), None])
    items = {item.what: item for item in wb.cost(run).items}

    assert items["ml.c5.large"].quantity == pytest.approx(60 / 3600)
    assert items["lambda requests"].quantity == 2
    assert wb.cost(run).total == pytest.approx(sum(item.dollars for item in items.values()))
    again = wb.load_run(run.save(tmp_path / "hybrid"))
    assert again.record == run.record
    assert wb.cost(again).total == wb.cost(run).total


def test_a_hedged_batch_is_billed_at_both_places_and_counted_once():
    once = run_of(HYBRID, ("base", "overflow"), [((0.0, 60.0),), None])
    twice = run_of(HYBRID, ("base", "overflow"), [((0.0, 60.0),), None], hedged=True)

    calls = [
        next(item.quantity for item in wb.cost(run).items if item.what == "lambda requests")
        for run in (once, twice)
    ]
    assert calls == [2, 3]
    assert once.answered == twice.answered == 4


def test_instances_of_a_mixed_base_are_billed_by_type():
    hybrid = wb.Hybrid(base=MIXED, overflow=BURST)
    spans = [((0.0, 3600.0),), ((0.0, 3600.0), (0.0, 1800.0)), None]
    run = run_of(hybrid, hybrid.place_names, spans)
    items = {item.what: item.quantity for item in wb.cost(run).items}

    assert (items["ml.c5.large"], items["ml.c5.xlarge"]) == (1.0, 1.5)
    assert items["lambda requests"] == 1
