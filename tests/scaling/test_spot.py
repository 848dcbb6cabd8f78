"""Spot instances: how often they are lost, recorded pools, and what stands in for them."""

import json
import math

import numpy as np
import pytest

from tests.refused import refused
from workbench.errors import InvalidInput, NotFound
from workbench.scaling.base import Reading, TypeCount
from workbench.scaling.schedule import Schedule
from workbench.scaling.spot import SpotHedge, SpotPool, read_spot

PRICED = {"instance_type": "c5.xlarge", "hourly_price": 0.07, "priced_on": "2026-11-29"}
DAYS = 100 * 86400.0


def test_single_interruptions_come_at_their_rate_to_each_instance():
    pool = SpotPool(**PRICED, rate=0.05)

    slots = [change.taken for change in pool.draw_changes(DAYS, seed=1, most=10)]

    expected = 0.05 * DAYS / 3600  # of each instance
    counts = np.bincount(slots, minlength=10)
    assert np.abs(counts - expected).max() < 4 * math.sqrt(expected)


def test_all_are_lost_at_once_at_the_pool_s_rate_and_for_the_outage():
    pool = SpotPool(**PRICED, pool_rate=0.5, outage=900)

    changes = pool.draw_changes(DAYS, seed=2)

    lost, back = ([c.at for c in changes if c.room == room] for room in (0, math.inf))
    outages = np.array(back) - np.array(lost)[: len(back)]
    cycle = 3600 / 0.5 + 900
    assert len(lost) == pytest.approx(DAYS / cycle, abs=4 * math.sqrt(DAYS / cycle))
    assert outages.mean() == pytest.approx(900, abs=4 * 900 / math.sqrt(len(outages)))


def test_one_seed_draws_one_fate():
    pool = SpotPool(**PRICED, rate=0.2, pool_rate=0.2)

    assert pool.draw_changes(DAYS, seed=3) == pool.draw_changes(DAYS, seed=3)
    assert SpotPool(**PRICED).draw_changes(DAYS, seed=3) == []


def test_a_recorded_pool_is_read_by_what_could_be_had(tmp_path):
    file = tmp_path / "pool.json"
    file.write_text('{"metadata": {"gap_seconds": 300}, "data": [4, 4, 2, 0, 0, 4]}')

    recorded = read_spot(file)

    assert recorded == ((0.0, math.inf), (600.0, 2.0), (900.0, 0.0), (1500.0, math.inf))
    changes = SpotPool(**PRICED, recorded=recorded).draw_changes(1500.0, seed=1)
    assert [(c.at, c.room) for c in changes] == list(recorded[:3])


@pytest.mark.parametrize(
    "text", ["", "[]", '{"data": [1]}', '{"metadata": {"gap_seconds": 0}, "data": [1]}',
             '{"metadata": {"gap_seconds": 1}, "data": []}',
             '{"metadata": {"gap_seconds": 1}, "data": [-1]}'],
)  # fmt: skip
def test_a_file_that_is_no_recorded_pool_is_refused(tmp_path, text):
    (tmp_path / "pool.json").write_text(text)

    with pytest.raises(InvalidInput):
        read_spot(tmp_path / "pool.json")
    with pytest.raises(NotFound):
        read_spot(tmp_path / "none.json")


def read(spot, on_demand=0):
    types = {"s": TypeCount(spot, 0), "d": TypeCount(on_demand, 0)}
    return Reading(0, 0, 0, 0, spot + on_demand, 0, types=types)


@pytest.mark.parametrize(("ready", "counts"), [(0, (5, 4)), (3, (5, 2)), (5, (5, 0)), (9, (5, 0))])
def test_on_demand_stands_in_for_spot_that_is_not_ready(ready, counts):
    hedge = SpotHedge(policy=Schedule([(0, 4)]), spot="s", on_demand="d", extra=1)

    assert hedge.scaler().decide(read(ready), 0.0) == dict(zip("sd", counts, strict=True))


def test_functions_may_stand_in_instead():
    hedge = SpotHedge(policy=Schedule([(0, 4), (60, 0)]), spot="s")
    scaler = hedge.scaler()

    assert [scaler.decide(read(0), at) for at in (0.0, 60.0)] == [{"s": 5}, {"s": 0}]
    assert hedge.scaler().decide(Reading(0, 0, 0, 0, 4, 0), 0.0) == 5  # of a fleet of one type
    assert json.loads(json.dumps(hedge.to_dict())) == hedge.to_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"hourly_price": -1},
        {"priced_on": "yesterday"},
        {"rate": -1},
        {"outage": 0},
        {"recorded": [(0, 1), (0, 2)]},
        {"recorded": [(0, -1)]},
    ],
)
def test_settings_out_of_their_limits_are_refused(change):
    with pytest.raises(InvalidInput):
        SpotPool(**PRICED | change)


def test_numbers_of_numpy_are_kept_as_plain_ones():
    real = np.float32(0.5)
    numbers = dict.fromkeys(["hourly_price", "rate", "pool_rate", "outage", "notice"], real)
    pool = SpotPool(
        instance_type="a", priced_on="2026-11-29", recorded=np.array([[0, 1]]), **numbers
    )

    values = pool.to_dict()
    assert json.loads(json.dumps(values)) == values


def test_a_pool_is_json_values():
    pool = SpotPool(**PRICED, recorded=[(0, math.inf), (9, 1)])

    assert json.loads(json.dumps(pool.to_dict()))["recorded"] == [[0.0, None], [9.0, 1.0]]


def test_a_hedge_needs_two_types():
    with refused(InvalidInput, "on_demand", "'s'"):
        SpotHedge(policy=Schedule([(0, 1)]), spot="s", on_demand="s")
