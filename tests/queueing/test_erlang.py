"""Loss systems: states, and the latency of what there is room for."""

import numpy as np
import pytest
from scipy import integrate, stats

from workbench.errors import InvalidInput
from workbench.queueing import erlang_b, mmc
from workbench.queueing.erlang import AcceptedLatency, find_states
from workbench.queueing.predictions import find_quantiles


@pytest.mark.parametrize(("load", "servers"), [(0.3, 1), (2.0, 3), (40.0, 30), (500.0, 520)])
def test_with_room_for_the_servers_alone_the_last_state_is_erlangs_b(load, servers):
    states = find_states(load=load, servers=servers, room=servers)
    lost = 1.0
    for busy in range(1, servers + 1):  # the recursion: B(c) = a B(c-1) / (c + a B(c-1))
        lost = load * lost / (busy + load * lost)
    assert states[-1] == pytest.approx(lost)
    assert erlang_b(load=load, servers=servers) == pytest.approx(lost)
    assert states.sum() == pytest.approx(1)


@pytest.mark.parametrize(("load", "room"), [(0.5, 4), (1.0, 7), (3.0, 5)])
def test_one_server_has_geometric_states(load, room):
    shares = load ** np.arange(room + 1)
    np.testing.assert_allclose(
        find_states(load=load, servers=1, room=room), shares / shares.sum(), rtol=1e-12
    )


@pytest.mark.parametrize("servers", [1, 2, 5])
def test_with_room_without_end_it_is_a_queue(servers):
    rate, service = 0.7 * servers, 1.0
    found = AcceptedLatency(rate, service, servers, room=400)
    queue = mmc(rate=rate, service=service, servers=servers)

    assert found.mean == pytest.approx(queue.mean_latency)
    times = np.array([0.0, 0.1, 1.0, 3.0, 10.0])
    np.testing.assert_allclose(found.cdf(times), queue.cdf(times), atol=1e-7)  # rounding is in time


@pytest.mark.parametrize(("servers", "room"), [(1, 4), (2, 2), (2, 6), (3, 9)])
def test_the_latency_is_a_wait_of_full_turns_and_a_service(servers, room):
    found = AcceptedLatency(rate=3.0, service=0.5, servers=servers, room=room)
    for limit in (0.2, 1.0, 2.5):
        within = 0.0
        for ahead, share in enumerate(found.states):
            if ahead < servers:
                within += share * stats.expon.cdf(limit, scale=0.5)
                continue
            wait = stats.gamma(ahead - servers + 1, scale=0.5 / servers)
            both, _ = integrate.quad(
                lambda t, wait=wait, limit=limit: (
                    wait.pdf(t) * stats.expon.cdf(limit - t, scale=0.5)
                ),
                0,
                limit,
            )
            within += share * both
        assert found.cdf(np.array([limit]))[0] == pytest.approx(within, abs=1e-8)
    median = find_quantiles(found, np.array([0.5]))
    assert found.cdf(median)[0] == pytest.approx(0.5)


@pytest.mark.parametrize("facts", [{"load": 0.0}, {"servers": 0}, {"room": 1}])
def test_what_is_no_system_is_refused(facts):
    with pytest.raises(InvalidInput):
        find_states(**{"load": 1.0, "servers": 2, "room": 3} | facts)
