import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.refused import refused
from workbench.deployment import (
    KINDS,
    Async,
    BatchTransform,
    Deployment,
    Lambda,
    LambdaManaged,
    Local,
    OnPremise,
    RealTime,
    Serverless,
    instance_vcpus,
)
from workbench.errors import InvalidInput, NotFound

TYPE = "ml.m5.large"
seconds = st.floats(min_value=0, max_value=1e6)
counts = st.integers(1, 100)


@st.composite
def on_demand(draw, kind, limit, **knobs):
    concurrency = draw(st.integers(1, limit))
    return kind(
        max_concurrency=concurrency,
        provisioned=draw(st.integers(0, concurrency)),
        keep_alive=draw(seconds),
        on_limit=draw(st.sampled_from(["reject", "queue"])),
        **{name: draw(values) for name, values in knobs.items()},
    )


deployments = st.one_of(
    st.builds(Local, workers=counts, threads=counts, hourly_price=seconds),
    st.builds(
        RealTime,
        instance_type=st.just(TYPE),
        count=counts,
        workers=counts,
        routing=st.sampled_from(["least_outstanding", "random", "shared"]),
    ),
    st.builds(
        OnPremise,
        servers=counts,
        workers=counts,
        purchase_price=seconds,
        lifetime_years=st.floats(0.001, 100),
        power_watts=seconds,
        kwh_price=seconds,
        upkeep_per_year=seconds,
    ),
    on_demand(Serverless, 200, memory_mb=st.sampled_from(range(1024, 6145, 1024))),
    st.builds(
        Async,
        instance_type=st.just(TYPE),
        count=st.integers(0, 100),
        workers=counts,
        concurrency=st.none() | st.integers(1, 1000),
        ttl=st.integers(60, 21_600),
        timeout=st.integers(1, 3600),
    ),
    st.builds(
        BatchTransform,
        instance_type=st.just(TYPE),
        count=counts,
        period=st.none() | st.floats(0.001, 1e6),
    ),
    on_demand(
        Lambda,
        10_000,
        memory_mb=st.integers(128, 10_240),
        architecture=st.sampled_from(["x86_64", "arm64"]),
        timeout=st.integers(1, 900),
    ),
    st.builds(
        LambdaManaged,
        instance_types=st.sampled_from([("m7g.xlarge",), ("m7g.2xlarge", "r7g.xlarge")]),
        memory_gb_per_vcpu=st.sampled_from([2, 4]),
        concurrency=st.integers(1, 192),
        least=st.integers(1, 9),
        most=st.integers(9, 15_000),
        target=st.floats(0.01, 1),
    ),
)


@given(deployments)
def test_a_deployment_survives_json(deployment):
    data = json.loads(json.dumps(deployment.to_dict(), allow_nan=False))
    assert Deployment.from_dict(data) == deployment
    assert data["kind"] == deployment.kind


@given(deployments)
def test_the_repr_builds_the_deployment_again(deployment):
    names = {each.__name__: each for each in KINDS.values()}
    assert eval(repr(deployment), names) == deployment  # noqa: S307 - the repr is our own


@given(deployments)
def test_only_ones_own_machines_run_without_a_cloud(deployment):
    assert (deployment.needs == "") == isinstance(deployment, Local | OnPremise)
    assert deployment.needs == "" or "LocalCloud" in deployment.needs
    assert deployment.label.startswith(deployment.kind)


def test_a_deployment_cannot_be_changed():
    local = Local()
    with pytest.raises(FrozenInstanceError):
        local.workers = 2


def test_numbers_of_numpy_become_plain_ones():
    deployment = Serverless(
        memory_mb=np.int64(2048), max_concurrency=np.int32(4), keep_alive=np.float32(2)
    )
    assert json.loads(json.dumps(deployment.to_dict()))["memory_mb"] == 2048
    assert type(deployment.memory_mb) is int
    assert type(deployment.keep_alive) is float


@pytest.mark.parametrize("memory", range(1024, 6145, 1024))
def test_serverless_takes_whole_gigabytes_up_to_six(memory):
    assert Serverless(memory_mb=memory, max_concurrency=1).memory_mb == memory


@pytest.mark.parametrize(
    ("kind", "knobs", "named"),
    [
        (Local, {"workers": 0}, ["workers", 0]),
        (Local, {"workers": 1.5}, ["workers", 1.5]),
        (Local, {"workers": True}, ["workers", True]),
        (Local, {"threads": -1}, ["threads", -1]),
        (Local, {"hourly_price": -0.1}, ["hourly_price", -0.1]),
        (Local, {"hourly_price": float("nan")}, ["hourly_price", "nan"]),
        (Local, {"hourly_price": "1"}, ["hourly_price", "'1'"]),
        (Local, {"hourly_price": None}, ["hourly_price", None]),
        (RealTime, {"instance_type": "m5.large"}, ["instance_type", "'m5.large'"]),
        (RealTime, {"instance_type": None}, ["instance_type", None]),
        (RealTime, {"instance_type": TYPE, "count": 0}, ["count", 0]),
        (RealTime, {"instance_type": TYPE, "workers": 0}, ["workers", 0]),
        (RealTime, {"instance_type": TYPE, "routing": "best"}, ["routing", "best"]),
        (Serverless, {"memory_mb": 1000, "max_concurrency": 1}, ["memory_mb", 1024, 1000]),
        (Serverless, {"memory_mb": 7168, "max_concurrency": 1}, ["memory_mb", 7168]),
        (Serverless, {"memory_mb": 1024, "max_concurrency": 0}, ["max_concurrency", 200, 0]),
        (Serverless, {"memory_mb": 1024, "max_concurrency": 201}, ["max_concurrency", 200, 201]),
        (
            Serverless,
            {"memory_mb": 1024, "max_concurrency": 2, "provisioned": 3},
            ["provisioned", 2, 3],
        ),
        (
            Serverless,
            {"memory_mb": 1024, "max_concurrency": 2, "provisioned": -1},
            ["provisioned", -1],
        ),
        (
            Serverless,
            {"memory_mb": 1024, "max_concurrency": 2, "keep_alive": float("inf")},
            ["keep_alive", "inf"],
        ),
        (
            Serverless,
            {"memory_mb": 1024, "max_concurrency": 2, "on_limit": "drop"},
            ["on_limit", "drop"],
        ),
        (Async, {"instance_type": TYPE, "count": -1}, ["count", -1]),
        (Async, {"instance_type": TYPE, "workers": 0}, ["workers", 0]),
        (Async, {"instance_type": TYPE, "concurrency": 1001}, ["concurrency", 1000, 1001]),
        (Async, {"instance_type": TYPE, "ttl": 59}, ["ttl", 21600, 59]),
        (Async, {"instance_type": TYPE, "timeout": 3601}, ["timeout", 3600, 3601]),
        (BatchTransform, {"instance_type": TYPE, "count": 0}, ["count", 0]),
        (BatchTransform, {"instance_type": TYPE, "period": 0}, ["period", 0]),
        (Local, {"workers": 1025}, ["workers", 1024, 1025]),
        (Local, {"threads": 10**400}, ["threads", 1024, 10**400]),
        (Lambda, {"memory_mb": 127, "max_concurrency": 1}, ["memory_mb", 128, 10240, 127]),
        (Lambda, {"memory_mb": 10_241, "max_concurrency": 1}, ["memory_mb", 128, 10240, 10241]),
        (Lambda, {"memory_mb": 128, "max_concurrency": 0}, ["max_concurrency", 0]),
        (Lambda, {"memory_mb": 128, "max_concurrency": 1, "timeout": 901}, ["timeout", 900, 901]),
        (
            Lambda,
            {"memory_mb": 128, "max_concurrency": 1, "architecture": "arm"},
            ["architecture", "'arm'"],
        ),
        (Lambda, {"memory_mb": 128, "max_concurrency": 1, "provisioned": 2}, ["provisioned", 1, 2]),
    ],
)
def test_a_knob_out_of_its_limits_is_refused(kind, knobs, named):
    with refused(InvalidInput, *named):
        kind(**knobs)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({}, ["kind", None]),
        ({"kind": ["local"]}, ["kind", "['local']"]),
        (
            {"kind": "local", "memory_mb": 1},
            ["local", "memory_mb", "workers, threads, hourly_price"],
        ),
        ({"kind": "real-time"}, ["real-time", "instance_type"]),
        ({"kind": "local", "workers": 0}, ["workers", 0]),
    ],
)
def test_a_dictionary_that_is_no_deployment_is_refused(data, named):
    with refused(InvalidInput, *named):
        Deployment.from_dict(data)


def test_limits_are_those_of_the_invoke_calls():
    limits = {each.kind: (each.payload_limit, each.time_limit) for each in KINDS.values()}
    assert limits == {
        "local": (None, None),
        "on-premise": (None, None),
        "real-time": (6_291_456, 60),
        "serverless": (4_194_304, 60),
        "async": (1_073_741_824, 3600),
        "batch transform": (104_857_600, 3600),
        "lambda": (6_291_456, 900),
        "lambda managed": (6_291_456, 900),
    }
    assert Async.inline_limit == 128_000


def test_lambda_has_one_vcpu_at_1769_mb():
    function = Lambda(memory_mb=1769, max_concurrency=1)
    assert function.vcpus == 1
    assert function.vcpus_source.startswith("verified")
    assert Lambda(memory_mb=10_240, max_concurrency=1).vcpus == pytest.approx(10_240 / 1769)


def test_serverless_vcpus_are_marked_inferred():
    endpoint = Serverless(memory_mb=2048, max_concurrency=1)
    assert endpoint.vcpus == pytest.approx(2048 / 1769)
    assert endpoint.vcpus_source.startswith("inferred")


def test_an_instance_type_has_the_vcpus_of_the_table():
    assert RealTime(instance_type="ml.c5.4xlarge").vcpus == 16
    assert Async(instance_type="ml.m5.large", count=0).vcpus == 2
    assert Local().vcpus is None


def test_an_unknown_instance_type_names_near_ones():
    with refused(NotFound, "ml.m5.larg", "ml.m5.large?", "ml.c5.2xlarge"):
        instance_vcpus("ml.m5.larg")
    with refused(NotFound, "ml.q.zzzzzzzzzzzzzz", "ml.c5.2xlarge"):
        instance_vcpus("ml.q.zzzzzzzzzzzzzz")
    for wrong in ("?", 5, None):
        with refused(InvalidInput, "instance_type", wrong):
            instance_vcpus(wrong)


def test_labels_tell_configurations_apart():
    pair = RealTime(instance_type="ml.m5.large", workers=2)
    assert pair.label == "real-time 1 x ml.m5.large x 2 workers"
    assert Local().label == "local, 1 worker"
    assert Serverless(memory_mb=1024, max_concurrency=5, provisioned=2).label == (
        "serverless 1024 MB, 2 provisioned"
    )
