"""Whether instances on one machine shared its processors."""

import math

import polars as pl
import pytest

from workbench.measuring.oversubscription import (
    oversubscription,
    oversubscription_warnings,
    warn_of_shared_cores,
)


def test_instances_that_share_this_machines_processors_for_long_are_warned_about():
    calls = pl.DataFrame(
        {
            "batch": [0, 0, 1, 2, 3, 4],
            "finished": [1.0, 1.0, 1.0, 1.0, 9.0, math.nan],
            "model_latency": [0.5, 0.5, 0.5, 0.3, 4.0, 0.5],
            "init": [0.0, 0.0, math.nan, 0.2, 0.0, 0.0],
            "server": [0, 0, 1, 2, 0, 3],
        }
    )

    instances, share = oversubscription(calls, 2)
    assert instances == 3
    assert share == pytest.approx(0.27, abs=0.005)
    (warning,) = oversubscription_warnings(calls, 2)
    assert "27 %" in warning
    assert oversubscription_warnings(calls, 3) == []
    waiting = calls.with_columns(server=0)  # one that the others waited for
    assert oversubscription_warnings(waiting, 1) == []
    assert oversubscription_warnings(calls.drop("model_latency"), 1) == []


def test_a_run_without_answers_shares_nothing():
    calls = pl.DataFrame(
        {"batch": [0], "finished": [math.nan], "model_latency": [0.5], "server": [-1]}
    )

    assert oversubscription(calls, 1) == (0, 0.0)


def test_members_that_share_this_machines_processors_for_long_are_warned_about():
    calls = pl.DataFrame(
        {
            "batch": [0, 1, 1, 2],
            "place": [0, 1, 1, 1],
            "started": [0.0, 1.0, 1.0, math.nan],
            "finished": [3.0, 2.0, 2.0, math.nan],
        }
    )

    (warning,) = warn_of_shared_cores(calls, [1, 1], 1)
    assert "up to 2 threads" in warning
    assert "50 %" in warning  # both are busy for one second of the three, which makes half the work
    assert warn_of_shared_cores(calls, [1, 1], 2) == []
    assert "up to 3 threads" in warn_of_shared_cores(calls, [1, 2], 2)[0]
