import dataclasses
import json

import pytest

from tests.refused import refused
from workbench import SLO, BatchPolicy, Local, poisson
from workbench.errors import InvalidInput
from workbench.run.record import Lag, ModelRecord, RunRecord, TraceRecord, describe_setup
from workbench.run.replications import LEVELS

FULL = {
    "label": "a run",
    "origin": "simulated",
    "model": {"name": "m:1", "sha256": "ab", "traits": {"shape": [3]}, "lineage": {}},
    "deployment": Local(workers=2).to_dict(),
    "policy": {"kind": "mine", "max_size": 4},
    "trace": {"name": "t", "requests": 3, "duration": 1.5, "sha256": "cd", "notice": ""},
    "slo": {"latency": 0.1, "quantile": 0.9},
    "places": ["here", "there"],
    "members": [
        {
            "name": name,
            "model": {"name": "m:1"},
            "deployment": Local(workers=2).to_dict(),
            "policy": {"kind": "mine"},
            "instances": [[0.0, 2.0]],
            "counts": [[0.0, 1]],
            "network_latency": [0.25],
        }
        for name in ("here", "there")
    ],
    "router": {"kind": "ours"},
    "patience": 2.0,
    "row_bytes": 256.0,
    "answer_bytes": 40.0,
    "seed": 4,
    "replications": {
        "count": 2,
        "about": "two",
        "worth": 20.0,
        "quantiles": [0.5] * len(LEVELS),
        "errors": [0.25] * len(LEVELS),
        "cold": 0.0,
    },
    "service": {"sizes": [1]},
    "profile": {"origin": "measured"},
    "cold_start": 0.5,
    "scaling": {"kind": "schedule"},
    "spot": {"hourly_price": 0.05},
    "instances": [[-1.5, 2.0], [0.0, 2.0]],
    "counts": [[0.0, 1], [1.0, 2]],
    "activities": [{"cause": "a policy"}],
    "cloud": {"name": "local cloud"},
    "created": "2026-11-29T02:09:37+00:00",
    "seconds": 2.5,
    "environment": {"cores": 2},
    "complete": False,
    "valid": False,
    "lag": {"p50": 0.001, "p99": 0.002, "max": 0.003},
    "batch_invariance": "identical: rows together are answered as alone",
    "retries": 1,
    "warnings": ["Stopped early."],
    "kept": "runs/one",
    "note": "with spare cores",
    "past_errors": {"way": "simulated", "runs": 2, "low": -0.05, "high": 0.03},
}


def test_a_record_holds_every_fact_and_writes_it_as_it_was_read():
    record = RunRecord.from_dict(FULL)

    assert set(FULL) == {each.name for each in dataclasses.fields(RunRecord)}
    assert json.loads(json.dumps(record.to_dict())) == FULL
    assert RunRecord.from_dict(record.to_dict()) == record


def test_facts_are_values_with_types():
    record = RunRecord.from_dict(FULL)

    assert record.deployment == Local(workers=2)
    assert record.slo == SLO(latency=0.1, quantile=0.9)
    assert record.lag == Lag(p50=0.001, p99=0.002, max=0.003)
    assert (record.trace, record.model.name) == (TraceRecord(**FULL["trace"]), "m:1")
    assert (record.instances[0], record.counts[1]) == ((-1.5, 2.0), (1.0, 2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.label = "another"


def test_what_is_not_known_is_left_out_of_the_json():
    record = RunRecord(label=None, warnings=None)

    assert record.to_dict() == {
        "origin": "unknown",
        "places": [""],
        "complete": True,
        "valid": True,
        "warnings": [],
    }


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"colour": "red"}, ["colour"]),
        ({"slo": {"latency": 0}}, ["latency", 0]),
        ({"slo": {"speed": 1}}, ["slo", "speed"]),
        ({"trace": {"requests": 3}}, ["trace", "{'requests': 3}"]),
        ({"trace": {"name": "t", "requests": -1}}, ["requests", -1]),
        ({"model": "m:1"}, ["model", "m:1"]),
        ({"model": {"name": 1}}, ["name", 1]),
        ({"deployment": {"kind": "abacus"}}, ["kind", "abacus"]),
        ({"instances": [[1.0]]}, ["instances", "[[1.0]]"]),
        ({"counts": [[0.0, -1]]}, ["counts", -1]),
        ({"warnings": "late"}, ["warnings", "late"]),
        ({"valid": 1}, ["valid", 1]),
        ({"seconds": -1}, ["seconds", -1]),
        ({"lag": {"p50": "1", "p99": 1, "max": 1}}, ["p50", 1]),
        ({"places": [str(number) for number in range(257)]}, [257]),
        ([("label", "a run")], ["record", "[('label', 'a run')]"]),
    ],
)
def test_what_no_record_can_hold_is_refused_by_name(facts, named):
    with refused(InvalidInput, *named):
        RunRecord.from_dict(facts)


def test_a_setup_is_described_before_it_runs():
    trace = poisson(rate=10, duration=2, seed=1)

    record = describe_setup(trace, BatchPolicy(), Local(), None, label="mine")

    assert record.trace.sha256 == trace.digest
    assert (record.policy, record.places) == (BatchPolicy().to_dict(), (Local().label,))
    assert (record.slo, record.model, record.origin) == (None, None, "unknown")
    assert ModelRecord(name="m").sha256 is None
