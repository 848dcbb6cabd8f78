"""One contract for every backend: what load may rely on."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace

import numpy as np
import pytest

import workbench as wb
from workbench.backends.base import Batch, FunctionBackend
from workbench.backends.local import LocalBackend
from workbench.cloud.deploy import deploy
from workbench.cloud.ledger import Ledger
from workbench.errors import InvalidInput, InvocationError
from workbench.localcloud import LocalCloud


def in_memory(model):
    return FunctionBackend(model.session().run, concurrency=3)


def on_this_machine(model):
    return LocalBackend(model, workers=3)


def with_threads(model):
    return LocalBackend(model, workers=3, threads=2)


@pytest.fixture(scope="module")
def endpoints(model, tmp_path_factory):
    """Deploys the model on a local cloud: once for all tests."""
    folder = tmp_path_factory.mktemp("cloud")
    kinds = {
        "real-time": wb.RealTime(instance_type="ml.m5.large", count=2),
        "serverless": wb.Serverless(memory_mb=2048, max_concurrency=3, on_limit="queue"),
        "async": wb.Async(instance_type="ml.m5.large"),
        "lambda": wb.Lambda(memory_mb=1769, max_concurrency=3, on_limit="queue"),
    }
    with ExitStack() as stack:
        cloud = stack.enter_context(LocalCloud(folder / "cloud"))
        ledger = Ledger(folder / "ledger.db")
        yield {
            kind: stack.enter_context(deploy(model, deployment, cloud, ledger=ledger))
            for kind, deployment in kinds.items()
        }


@pytest.fixture(
    params=[in_memory, on_this_machine, with_threads, "real-time", "serverless", "lambda", "async"],
    ids=lambda made: made if isinstance(made, str) else made.__name__,
)
def backend(request, model):
    if isinstance(request.param, str):
        return request.getfixturevalue("endpoints")[request.param].backend(concurrency=3)
    return request.param(model)


@pytest.fixture
def inputs(model):
    return model.samples().inputs


def test_answers_come_in_the_order_of_rows(backend, model, inputs):
    expected = model.session().run(inputs[:20])

    with backend:
        forward = backend.invoke(Batch(inputs[:20])).outputs
        backward = backend.invoke(Batch(inputs[19::-1])).outputs

    assert np.array_equal(forward, expected)
    assert np.array_equal(backward, expected[::-1])


def test_each_session_is_warm_before_it_answers(model, monkeypatch):
    runs = []

    def open_session(_, threads):
        runs.append([])
        return SimpleNamespace(run=runs[-1].append)

    monkeypatch.setattr(type(model), "session", open_session)
    with LocalBackend(model, workers=3, threads=2):
        assert [[len(rows) for rows in each] for each in runs] == [[1, 8, 32]] * 3


def test_one_row_is_a_batch_too(backend, inputs):
    with backend:
        assert len(backend.invoke(Batch(inputs[:1])).outputs) == 1


def test_as_many_threads_as_it_says_may_call_at_once(backend, inputs):
    start = threading.Barrier(backend.concurrency)

    def call(row):
        start.wait(60)
        return [backend.invoke(Batch(inputs[row : row + 4])).outputs for _ in range(20)]

    with backend, ThreadPoolExecutor(backend.concurrency) as pool:
        answers = list(pool.map(call, range(backend.concurrency)))

    for same in answers:
        assert all(np.array_equal(same[0], other) for other in same)


def test_a_bad_batch_raises_and_the_next_is_answered(backend, inputs):
    with backend:
        with pytest.raises((InvalidInput, InvocationError)):
            backend.invoke(Batch(inputs[:2, :3]))
        for _ in range(backend.concurrency):
            assert len(backend.invoke(Batch(inputs[:2])).outputs) == 2


def test_leaving_twice_is_harmless(backend, inputs):
    with backend:
        backend.invoke(Batch(inputs[:1]))
    backend.__exit__(None, None, None)
