"""Settings decided anew for each window: what they see, what they choose, what they leave out."""

import numpy as np
import pytest

import workbench as wb
from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.planner import rebatch
from workbench.service_times import ServiceTimes
from workbench.traffic.trace import Trace

TIMES = ServiceTimes.affine(0.02, 0.004, largest=8)
FUNCTION = wb.Lambda(memory_mb=1769, max_concurrency=100)
TARGET = wb.SLO(latency=0.3)
SLOW, FAST = (wb.poisson(rate=rate, duration=60, seed=1) for rate in (10, 200))
STEP = Trace([*SLOW.arrivals, *(60 + FAST.arrivals)], 120.0)


def test_a_decision_sees_the_window_before_it_and_the_first_its_own():
    whole = rebatch(STEP, TARGET, FUNCTION, TIMES, window=60)
    alone = rebatch(SLOW, TARGET, FUNCTION, TIMES, window=60)

    (_, first), (start, second) = whole.settings
    assert start == 60
    assert alone.settings == ((0.0, first),)
    assert second == first  # of the slow minute too


def test_settings_follow_the_traffic():
    steep = ServiceTimes.affine(0.05, 0.02, largest=8)
    found = rebatch(STEP, TARGET, FUNCTION, steep, window=30)

    policies = dict(found.settings)
    assert policies[0.0] == policies[60.0] != policies[90.0]
    run = wb.simulate(STEP.clip(90), policies[90.0], FUNCTION, steep, cold_start=0.0)
    assert 0.5 * TARGET.latency < run.quantile(0.95) <= 1.02 * TARGET.latency
    assert run.summary()["mean_batch_size"] > 3


def test_where_nothing_came_settings_stay():
    late = Trace(120 + np.arange(100) / 10, 180.0)

    found = rebatch(late, TARGET, FUNCTION, TIMES, window=30)

    assert [start for start, _ in found.settings] == [0.0, 150.0]
    assert found.settings[0][1] == wb.BatchPolicy()


def test_where_nothing_meets_the_target_latency_is_least():
    found = rebatch(STEP, wb.SLO(latency=0.001), FUNCTION, TIMES, window=120)

    assert [policy.max_size for _, policy in found.settings] == [1]


@pytest.mark.parametrize(
    "deployment",
    [
        wb.Serverless(memory_mb=2048, max_concurrency=50),
        wb.RealTime(instance_type="ml.c5.large", count=2),
        wb.Local(workers=2),
    ],
)
def test_settings_that_keep_all_servers_busy_are_ruled_out(deployment):
    found = rebatch(STEP, TARGET, deployment, TIMES, window=120)

    # 105 requests a second at 24 ms each are 2.5 busy servers, batches of 8 are 0.7
    assert found.settings[0][1].max_size > 1


def test_what_no_setting_can_serve_gets_the_least_busy():
    slow = ServiceTimes.affine(0.2, 0.04, largest=8)

    found = rebatch(STEP, TARGET, wb.Local(), slow, window=120)

    assert found.settings[0][1].max_size == 8


def test_what_takes_no_policy_is_refused():
    with refused(InvalidInput, "batch transform", "policy"):
        rebatch(STEP, TARGET, wb.BatchTransform(instance_type="ml.c5.large"), TIMES)
    with refused(InvalidInput, "window", 0):
        rebatch(STEP, TARGET, FUNCTION, TIMES, window=0)
