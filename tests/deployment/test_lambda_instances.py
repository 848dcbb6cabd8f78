"""Lambda on managed instances: what it is, what it refuses, how it scales, and what it costs."""

import json
from dataclasses import replace

import numpy as np
import pytest

import workbench as wb
from tests.refused import refused
from workbench.deployment import Deployment, LambdaManaged
from workbench.deployment.lambda_instances import RULES
from workbench.errors import InvalidInput, NotFound
from workbench.pricing.sheet import PriceSheet
from workbench.pricing.usage import Usage
from workbench.scaling import CpuTracking, Reading
from workbench.service_times import ServiceTimes
from workbench.simulator import THROTTLED_ERROR, platforms, prepare, simulate, stepwise

ONE_BY_ONE = wb.BatchPolicy()
TIMES = ServiceTimes({1: 0.1})
TYPES = ("m7g.xlarge",)


def erlang_b(load, servers):
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked


def stepped(*rates, seconds=900.0):
    """Poisson arrivals whose rate changes each so many seconds."""
    parts = [
        number * seconds + wb.poisson(rate=rate, duration=seconds, seed=number).arrivals
        for number, rate in enumerate(rates)
    ]
    return wb.Trace(np.concatenate(parts), duration=seconds * len(rates))


def test_the_share_that_is_refused_is_erlangs():
    fixed = LambdaManaged(instance_types=TYPES, concurrency=2, least=3, most=3)
    shares = []
    for seed in range(20):
        trace = wb.poisson(rate=50, duration=400, seed=seed)
        run = simulate(trace, ONE_BY_ONE, fixed, TIMES, seed=seed)
        shares.append(1 - run.answered / len(run))

    error = np.std(shares, ddof=1) / np.sqrt(len(shares))
    assert abs(np.mean(shares) - erlang_b(5.0, 6)) < 4 * error


def test_what_is_refused_did_not_wait_and_is_throttled():
    fixed = LambdaManaged(instance_types=TYPES, least=1, most=1)
    run = simulate(wb.Trace([0.0, 0.05, 0.1, 0.15], duration=1.0), ONE_BY_ONE, fixed, TIMES)

    assert run.frame["error"].to_list() == [None, THROTTLED_ERROR, None, THROTTLED_ERROR]
    assert run.frame["finished"].to_list()[::2] == pytest.approx([0.1, 0.2])


def refused_after(rates, *, calm=8):
    """The share of requests refused after calm minutes, boots taking one."""
    managed = LambdaManaged(instance_types=TYPES, concurrency=3)
    trace = stepped(*[300.0] * calm, *rates, seconds=60.0)
    run = simulate(trace, ONE_BY_ONE, managed, TIMES, cold_start=60.0)
    late = run.frame["scheduled"].to_numpy() >= 60.0 * calm
    return float(run.frame["error"].is_not_null().to_numpy()[late].mean())


def test_twice_the_traffic_within_five_minutes_is_served_and_more_at_once_is_refused():
    assert refused_after([300.0] * 5) == 0
    assert refused_after([345.0, 400.0, 460.0, 530.0, 600.0]) < 1e-4
    assert refused_after([1200.0] * 5) > 0.1


def test_a_lower_target_leaves_more_room_and_costs_more():
    tight, wide = (
        LambdaManaged(instance_types=TYPES, concurrency=3, target=share) for share in (0.8, 0.3)
    )
    runs = [
        simulate(stepped(200, 450), ONE_BY_ONE, each, TIMES, cold_start=60.0)
        for each in (tight, wide)
    ]

    assert runs[0].answered < runs[1].answered
    assert wb.cost(runs[0]).total < wb.cost(runs[1]).total


def test_it_shrinks_to_the_most_that_a_quarter_of_an_hour_called_for():
    scaler = CpuTracking(target=0.5, workers=2, least=1, every=300, window=300).scaler()
    there = Reading(arrived=0, done=0, waiting=0, serving=0, ready=8, starting=0)

    counts = [
        scaler.decide(there._replace(serving=serving), scaler.due)
        for serving in (8, 4, 2, 0, 0, 0, 0)
    ]

    assert counts == [8, 8, 8, 8, 4, 2, 1]


def test_loops_and_steps_agree_on_what_is_refused():
    managed = LambdaManaged(instance_types=TYPES, concurrency=2, least=1, most=9)
    task = prepare(stepped(20, 60, seconds=200.0), ONE_BY_ONE, managed, TIMES, cold_start=20.0)
    inputs = [task.random_inputs([np.random.default_rng(7) for _ in range(3)]) for _ in range(2)]
    terms = task.trace, task.policy, managed

    fast = platforms.serve(*terms, inputs[0], task.scaling)
    slow = stepwise.serve(*terms, inputs[1], task.scaling)

    assert np.isnan(fast.batches.finished).any()
    assert fast.spans == slow.spans
    for name in ("started", "finished"):
        assert np.array_equal(
            getattr(fast.batches, name), getattr(slow.batches, name), equal_nan=True
        )


def test_instances_cost_what_ec2_asks_and_15_percent_more():
    managed = LambdaManaged(instance_types=TYPES)
    items = managed.bill(Usage(instance_seconds=7200, calls=1_000_000))

    assert {item.what: pytest.approx(item.dollars) for item in items} == {
        "m7g.xlarge": 2 * 0.1632,
        "lambda management fee": 2 * 0.1632 * 0.15,
        "lambda requests": 0.2,
    }
    assert all(item.mark == "verified" and item.date for item in items)


def test_a_run_is_billed_by_its_instances_and_answered_calls():
    managed = LambdaManaged(instance_types=TYPES, least=2, most=2)
    run = simulate(wb.Trace([0.0, 1.0], duration=3600.0), ONE_BY_ONE, managed, TIMES)

    assert wb.cost(run).total == pytest.approx(2 * 0.1632 * 1.15 + 2 * 0.2e-6)
    assert run.record.scaling["kind"] == "cpu tracking"
    assert any("is inferred" in note for note in wb.cost(run).notes)


def test_a_price_that_is_not_known_is_never_invented():
    managed = LambdaManaged(instance_types=TYPES)
    with refused(NotFound, "m7g.xlarge", "eu-central-1", "sheet.with_price('m7g.xlarge'"):
        managed.bill(Usage(instance_seconds=1), prices=PriceSheet.load("eu-central-1"))

    sheet = PriceSheet.load("eu-central-1").with_price("m7g.xlarge", 0.19, unit="hour")
    sheet = sheet.with_price("lambda management fee", 0.15, unit="EC2 dollar")
    (item, fee) = managed.bill(Usage(instance_seconds=3600), prices=sheet)
    assert (item.mark, fee.dollars) == ("user", pytest.approx(0.15 * 0.19))


def test_an_environment_is_as_large_as_fits_beside_the_agent():
    sizes = {
        (name, ratio): LambdaManaged(instance_types=[name], memory_gb_per_vcpu=ratio)
        for name, ratio in [("c7g.xlarge", 2), ("m7g.xlarge", 4), ("m7g.4xlarge", 4)]
    }

    found = {key: (each.vcpus, each.memory_mb) for key, each in sizes.items()}

    assert found == {
        ("c7g.xlarge", 2): (3, 6144),
        ("m7g.xlarge", 4): (3, 12_288),
        ("m7g.4xlarge", 4): (8, 32_768),  # 32 GB are the most
    }


@pytest.mark.parametrize(
    ("settings", "kind", "named"),
    [
        ({"instance_types": ["ml.m5.large"]}, InvalidInput, ["'m7g.xlarge'", "ml.m5.large"]),
        ({"instance_types": []}, InvalidInput, ["instance_types", "'m7g.xlarge'"]),
        ({"instance_types": ["m9z.large"]}, NotFound, ["m9z.large", "c7g.2xlarge"]),
        (
            {"instance_types": ["m7g.xlarge", "m7i.xlarge"]},
            InvalidInput,
            ["m7g.xlarge, m7i.xlarge"],
        ),
        ({"memory_gb_per_vcpu": 3}, InvalidInput, ["memory_gb_per_vcpu", 3]),
        ({"instance_types": ["c7i.large"]}, InvalidInput, ["4 GB", "c7i.large"]),
        ({"concurrency": 193}, InvalidInput, ["concurrency", 192, 193]),
        ({"least": 0}, InvalidInput, ["least", 0]),
        ({"least": 5, "most": 4}, InvalidInput, ["most", 5, 4]),
        ({"target": 0}, InvalidInput, ["target", 0]),
    ],
)
def test_what_aws_does_not_have_is_refused(settings, kind, named):
    with refused(kind, *named):
        LambdaManaged(**{"instance_types": TYPES} | settings)


def test_types_are_read_from_words_and_kept_as_json():
    managed = LambdaManaged(instance_types="m7g.xlarge, m7g.2xlarge")
    data = managed.to_dict()

    assert json.loads(json.dumps(data)) == data
    assert data["instance_types"] == ["m7g.xlarge", "m7g.2xlarge"]
    assert Deployment.from_dict(data) == managed


def test_every_rule_has_a_source_and_a_mark():
    assert {mark for _, _, mark in RULES} == {"verified", "inferred"}
    assert all(rule and source for rule, source, _ in RULES)


def test_it_takes_no_other_scaling_and_no_other_count():
    managed = LambdaManaged.example()
    with refused(InvalidInput, "scaling", managed.label):
        prepare(stepped(1), ONE_BY_ONE, managed, TIMES, scaling=wb.Schedule([(0.0, 1)]))
    assert managed.with_count(7) == managed.with_scale(7) == managed
    most = managed.usage_at_most(3600.0, calls=5, up_and_down=0.0)
    assert most == Usage(instance_seconds=3600.0 * managed.most, calls=5)
    assert replace(managed, most=3).label == "lambda managed 3 x m7g.xlarge"
