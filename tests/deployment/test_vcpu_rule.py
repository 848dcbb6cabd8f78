import numpy as np
import pytest

from tests.refused import refused
from workbench.deployment import Async, BatchTransform, Lambda, Local, RealTime, Serverless
from workbench.deployment.vcpu_rule import service_on, slowdown
from workbench.errors import InvalidInput, NotFound
from workbench.service_times import ServiceTimes

TIMES = ServiceTimes({1: [0.009, 0.010, 0.013], 2: [0.012, 0.014, 0.019]}, label="here")


def function(memory_mb):
    return Lambda(memory_mb=memory_mb, max_concurrency=9)


@pytest.mark.parametrize(("memory_mb", "factor"), [(1769, 1), (884.5, 2), (128, 13.8203125)])
def test_below_one_vcpu_time_grows_as_one_over_the_share(memory_mb, factor):
    assert slowdown(function(int(memory_mb))) == pytest.approx(factor, rel=1e-3)


def test_one_thread_gains_nothing_beyond_one_vcpu():
    assert slowdown(function(10_240)) == 1
    assert slowdown(RealTime(instance_type="ml.m5.4xlarge")) == 1


def test_more_threads_need_as_many_vcpus():
    assert slowdown(function(1769), threads=4) == 4
    assert slowdown(RealTime(instance_type="ml.m5.xlarge"), threads=4) == 1
    assert slowdown(RealTime(instance_type="ml.m5.xlarge"), threads=8) == 2


def test_workers_share_their_instance():
    assert slowdown(RealTime(instance_type="ml.m5.xlarge", workers=4)) == 1
    assert slowdown(Async(instance_type="ml.m5.xlarge", workers=8)) == 2
    assert slowdown(BatchTransform(instance_type="ml.m5.large"), threads=4) == 2


def test_serverless_memory_counts_as_lambdas():
    serverless = Serverless(memory_mb=1024, max_concurrency=9)

    assert slowdown(serverless) == slowdown(function(1024)) == pytest.approx(1769 / 1024)


def test_this_machine_is_as_measured():
    assert service_on(TIMES, Local(workers=8), threads=8) is TIMES


def test_every_quantile_is_scaled_back_to_back_and_after_idle():
    times = ServiceTimes({1: [0.01, 0.02]}, after_idle={1: [0.02, 0.04]})

    scaled = service_on(times, function(1024))

    assert np.allclose(scaled.table[1], times.table[1] * 1769 / 1024, rtol=1e-12)
    assert np.allclose(scaled.idle_table[1], times.idle_table[1] * 1769 / 1024, rtol=1e-12)


def test_a_measurement_of_this_very_size_beats_the_rule():
    own = ServiceTimes({1: 0.5})

    assert service_on(TIMES, function(512), measured={512: own}).means[1] == 0.5
    by_rule = service_on(TIMES, function(513), measured={512: own})
    assert by_rule.means[1] == pytest.approx(TIMES.means[1] * 1769 / 513)


def test_an_instance_type_can_be_measured_too():
    own = ServiceTimes({1: 0.5}, label="m5")
    real_time = RealTime(instance_type="ml.m5.large")

    assert service_on(TIMES, real_time, measured={"ml.m5.large": own}).means[1] == 0.5


def test_the_label_says_rule_or_measurement():
    assert "by rule (0.289 vCPUs, 512 MB)" in service_on(TIMES, function(512)).label
    measured = service_on(TIMES, function(512), measured={512: TIMES})
    assert measured.label == "here, measured at 512 MB"


def test_a_measured_instance_type_need_not_be_in_the_table():
    unknown = RealTime(instance_type="ml.m9.large")

    assert service_on(TIMES, unknown, measured={"ml.m9.large": TIMES}).means[1] == TIMES.means[1]
    with refused(NotFound, "ml.m9.large"):
        service_on(TIMES, unknown)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"threads": 0}, ["threads", 0]),
        ({"measured": {512: 0.01}}, ["measured[512]", 0.01]),
        ({"measured": {1024: 0.01}}, ["measured[1024]", 0.01]),
        ({"measured": [TIMES]}, ["measured", "times by size"]),
    ],
)
def test_what_cannot_be_is_refused(settings, named):
    with refused(InvalidInput, *named):
        service_on(TIMES, function(512), **settings)


def test_times_are_not_scaled_by_nothing():
    with refused(InvalidInput, "factor", 0):
        TIMES.scale(0)


def test_sizes():
    assert function(512).size == 512
    assert RealTime(instance_type="ml.m5.large").size == "ml.m5.large"
    assert Local().size is None
