import numpy as np
import pytest

from tests.refused import refused, unnamed
from workbench.batching.timer import BatchPolicy
from workbench.deployment import Async, BatchTransform, Lambda, Local, RealTime, Serverless
from workbench.errors import InvalidInput, NotPredictable, TooFewSamples
from workbench.prediction import predict
from workbench.queueing import md1, mmc, predict_buffer
from workbench.run.costs import cost
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.map import mmpp, poisson_process
from workbench.traffic.map_fitting import fit
from workbench.traffic.patterns import bursty, poisson
from workbench.traffic.trace import Trace

TRACE = poisson(rate=100, duration=300, seed=1)
TIMES = ServiceTimes({size: 0.010 + 0.002 * size for size in range(1, 9)}, label="mine")
FUNCTION = Lambda(memory_mb=1769, max_concurrency=500)
BATCHED = BatchPolicy(max_size=4, max_wait=0.02)
EXPONENTIAL = -np.log1p(-np.linspace(0, 0.99999, 20_000))
EXPONENTIAL[0] = 1e-9


def test_on_demand_it_is_the_buffer_with_times_after_idle():
    times = ServiceTimes({1: 0.01, 2: 0.02}, after_idle={1: 0.03, 2: 0.04})
    policy = BatchPolicy(max_size=2, max_wait=0.05)

    found = predict(TRACE, policy, FUNCTION, times, arrivals=poisson_process(100))

    by_hand = predict_buffer(poisson_process(100), max_size=2, max_wait=0.05, service=[0.03, 0.04])
    levels = [0.1, 0.5, 0.9, 0.99]
    assert found.quantile(levels).tolist() == by_hand.quantile(levels).tolist()


def test_formula_and_simulation_agree():
    found = predict(TRACE, BATCHED, FUNCTION, TIMES)
    run = simulate(TRACE, BATCHED, FUNCTION, TIMES, cold_start=0.0)

    for q in (0.1, 0.5, 0.9, 0.95):
        low, high = run.interval(q, confidence=0.9999)
        assert low - 1e-9 <= found.quantile(q) <= high + 1e-9


def test_predicted_and_simulated_cost_agree():
    found = predict(TRACE, BATCHED, FUNCTION, TIMES)
    run = simulate(TRACE, BATCHED, FUNCTION, TIMES, cold_start=0.0)

    # 5 standard errors of the mean of some 10,000 batch sizes of a deviation under 1
    assert found.cost.per_million == pytest.approx(cost(run).per_million, rel=5 / np.sqrt(10_000))
    assert found.cost.origin == "predicted"


def test_what_is_ignored_is_said():
    said = " ".join(predict(TRACE, BATCHED, FUNCTION, TIMES).assumptions)

    assert not unnamed(said, "500 calls", "Cold starts", "fitted poisson process", "mine")


def test_what_the_fit_misses_is_said():
    trace = bursty(rate=200, burst=8, dwell=(3, 1), duration=300, seed=2) + bursty(
        rate=200, burst=8, dwell=(60, 20), duration=300, seed=3
    )
    fitted = fit(trace, window=BATCHED.max_wait)

    said = predict(trace, BATCHED, FUNCTION, TIMES, arrivals=fitted).assumptions

    assert set(fitted.warnings) <= set(said)


def test_given_arrivals_are_named():
    burst = mmpp(rate=100, burst=5, dwell=(2, 1))

    said = predict(TRACE, BATCHED, FUNCTION, TIMES, arrivals=burst).assumptions

    assert any("Arrivals are those given: <MAP of 2 phases" in note for note in said)


@pytest.mark.parametrize(
    "deployment",
    [
        Local(),
        RealTime(instance_type="ml.m5.large"),
        RealTime(instance_type="ml.m5.large", routing="shared"),
    ],
)
def test_one_server_and_constant_service_is_m_d_1(deployment):
    found = predict(TRACE, BatchPolicy(), deployment, ServiceTimes({1: 0.005}))

    expected = md1(rate=TRACE.rate, service=0.005)
    levels = [0.1, 0.5, 0.9, 0.99]
    assert found.quantile(levels) == pytest.approx(expected.quantile(levels), rel=1e-5)


def test_formula_and_simulation_agree_on_one_worker():
    times = ServiceTimes({1: [0.004, 0.005, 0.009]}, after_idle={1: [0.006, 0.007, 0.012]})

    found = predict(TRACE, BatchPolicy(), Local(), times)
    run = simulate(TRACE, BatchPolicy(), Local(), times)

    for q in (0.1, 0.5, 0.9, 0.95):
        low, high = run.interval(q, confidence=0.9999)
        assert low - 1e-9 <= found.quantile(q) <= high + 1e-9


def test_exponential_service_has_a_formula_for_any_number_of_servers():
    times = ServiceTimes({1: 0.02 * EXPONENTIAL / EXPONENTIAL.mean()})

    found = predict(TRACE, BatchPolicy(), Local(workers=3), times)

    expected = mmc(rate=TRACE.rate, service=float(times.means[1]), servers=3)
    assert found.quantile(0.9) == expected.quantile(0.9)


def test_requests_of_several_rows_take_the_times_of_so_many():
    trace = Trace(TRACE.arrivals, TRACE.duration, rows=np.full(len(TRACE), 2))

    found = predict(trace, BATCHED, FUNCTION, TIMES, arrivals=poisson_process(100))

    pairs = predict_buffer(
        poisson_process(100), max_size=4, max_wait=0.02, service=TIMES.means[2::2].tolist()
    )
    assert found.mean_latency == pairs.mean_latency


def test_fleets_cost_what_they_last():
    found = predict(TRACE, BatchPolicy(), Local(hourly_price=1.2), ServiceTimes({1: 0.005}))

    assert found.cost.total == pytest.approx(0.1)


def test_provisioned_instances_leave_the_cost_open():
    warm = Serverless(memory_mb=2048, max_concurrency=9, provisioned=3)

    assert predict(TRACE, BATCHED, warm, TIMES).cost is None


class Sudden:
    label = "sudden"
    max_size = 1


def test_an_arrival_process_is_a_map_or_its_fit():
    with refused(InvalidInput, "arrivals", 5):
        predict(TRACE, BatchPolicy(), Local(), TIMES, arrivals=5)


@pytest.mark.parametrize(
    ("policy", "deployment", "times", "named"),
    [
        (Sudden(), FUNCTION, TIMES, ["sudden"]),
        (BATCHED, Local(), TIMES, ["batches", "one server"]),
        (BATCHED, Async(instance_type="ml.m5.large"), TIMES, ["async"]),
        (BATCHED, BatchTransform(instance_type="ml.m5.large"), TIMES, ["batch transform"]),
        (BatchPolicy(), Local(workers=2), TIMES, ["2 servers", "exponential"]),
        (
            BatchPolicy(),
            RealTime(instance_type="ml.m5.large", count=2),
            TIMES,
            ["least_outstanding"],
        ),
        (BatchPolicy(), Local(), ServiceTimes({1: 0.02}), ["1 server"]),
    ],
)
def test_what_has_no_formula_says_why(policy, deployment, times, named):
    with refused(NotPredictable, *named):
        predict(TRACE, policy, deployment, times)


def test_a_queue_needs_poisson_arrivals():
    with refused(NotPredictable, "Poisson", "MAP of 2 phases", "simulate()"):
        predict(TRACE, BatchPolicy(), Local(), TIMES, arrivals=mmpp(rate=10, burst=5))


def test_requests_of_different_rows_have_no_formula():
    trace = Trace([0.0, 1.0], 2.0, rows=[1, 2])

    with refused(NotPredictable, "rows", "simulate()"):
        predict(trace, BATCHED, FUNCTION, TIMES)


def test_sizes_that_were_not_measured_are_refused():
    with refused(InvalidInput, 8, 9):
        predict(TRACE, BatchPolicy(max_size=9, max_wait=0.1), FUNCTION, TIMES)


def test_a_short_trace_cannot_be_fitted():
    with pytest.raises(TooFewSamples):
        predict(poisson(rate=10, duration=3, seed=1), BATCHED, FUNCTION, TIMES)
