import numpy as np
import pytest

from tests.refused import refused
from workbench.batching.timer import BatchPolicy
from workbench.deployment import Local
from workbench.errors import InvalidInput, NotPredictable
from workbench.queueing import md1, mg1, mg1_mean_wait, mm1
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.patterns import poisson

LEVELS = [0.01, 0.1, 0.5, 0.9, 0.99, 0.999]


@pytest.mark.parametrize("load", [0.05, 0.3, 0.7, 0.95])
def test_constant_service_is_m_d_1(load):
    found = mg1(rate=100 * load, service=ServiceTimes({1: 0.01}))
    exact = md1(rate=100 * load, service=0.01)

    assert found.quantile(LEVELS) == pytest.approx(exact.quantile(LEVELS), rel=1e-5)
    assert found.mean_latency == pytest.approx(exact.mean_latency, rel=1e-5)


@pytest.mark.parametrize("load", [0.3, 0.7, 0.95])
def test_exponential_service_is_m_m_1(load):
    quantiles = -np.log1p(-np.linspace(0, 0.99999, 20_000))
    quantiles[0] = 1e-9
    times = ServiceTimes({1: 0.01 * quantiles / quantiles.mean()})

    found = mg1(rate=100 * load, service=times)

    # the law is cut at 1 in 100,000 and told by 20,000 values
    exact = mm1(rate=100 * load, service=float(times.means[1]))
    assert found.quantile(LEVELS) == pytest.approx(exact.quantile(LEVELS), rel=5e-3)


@pytest.mark.parametrize("load", [0.2, 0.6, 0.9])
def test_the_mean_is_that_of_pollaczek_and_khinchine(load):
    times = ServiceTimes({1: [0.005, 0.015]})  # uniform: mean 0.01, scv 1 / 12

    found = mg1(rate=100 * load, service=times)

    wait = mg1_mean_wait(rate=100 * load, service=0.01, scv=1 / 12)
    assert found.mean_latency == pytest.approx(0.01 + wait, rel=1e-4)


def test_who_finds_the_server_idle_takes_the_times_after_idle():
    times = ServiceTimes({1: [0.008, 0.010, 0.015]}, after_idle={1: [0.012, 0.013, 0.020]})
    trace = poisson(rate=60, duration=2000, seed=1)

    run = simulate(trace, BatchPolicy(), Local(), times)
    found = mg1(rate=trace.rate, service=times)

    for q in LEVELS[1:-1]:
        low, high = run.interval(q, confidence=0.9999)
        assert low <= found.quantile(q) <= high


def test_the_share_of_time_a_server_is_busy_counts_both_kinds():
    times = ServiceTimes({1: 0.01}, after_idle={1: 0.03})

    found = mg1(rate=50, service=times)

    alone = 1 - found.concurrency
    assert found.concurrency == pytest.approx(50 * (alone * 0.03 + (1 - alone) * 0.01))


def test_without_traffic_everybody_is_alone():
    times = ServiceTimes({1: 0.01}, after_idle={1: 0.03})

    assert mg1(rate=1e-6, service=times).quantile(0.999) == pytest.approx(0.03)


def test_an_overload_is_refused():
    with refused(NotPredictable, "1 server"):
        mg1(rate=100, service=ServiceTimes({1: 0.01}))


def test_a_rate_of_zero_is_refused():
    with refused(InvalidInput, "rate", 0):
        mg1(rate=0, service=ServiceTimes({1: 0.01}))
