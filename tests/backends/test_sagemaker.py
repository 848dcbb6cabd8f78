"""What AWS answers, played back by botocore's Stubber; the local cloud is in test_backends.py."""

import io
import math
import pickle

import numpy as np
import pytest
from botocore.exceptions import ConnectTimeoutError
from botocore.response import StreamingBody
from botocore.stub import Stubber

from tests.refused import refused
from workbench.backends.base import Batch
from workbench.backends.sagemaker import NPY, SageMakerBackend, pack_npy, unpack_npy
from workbench.cloud.aws import Cloud
from workbench.errors import InvalidInput, InvocationError, RowMismatch

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


class Played(Cloud):
    """A cloud whose runtime answers as it is told."""

    def client(self, service, *, pool=10, attempts=1):
        client = super().client(service, pool=pool, attempts=attempts)
        self.__dict__["stubber"] = Stubber(client)
        self.stubber.activate()
        return client


@pytest.fixture
def backend():
    with SageMakerBackend("digits", Played(keys=("a", "b")), concurrency=3) as backend:
        yield backend


def answer(backend, content, **headers):
    said = {"HTTPHeaders": headers, "HTTPStatusCode": 200, "RetryAttempts": 0}
    backend.cloud.stubber.add_response(
        "invoke_endpoint",
        {
            "Body": StreamingBody(io.BytesIO(content), len(content)),
            "ContentType": NPY,
            "ResponseMetadata": said,
        },
        {"EndpointName": "digits", "Body": pack_npy(ROWS), "ContentType": NPY, "Accept": NPY},
    )


def test_a_batch_is_one_call_with_numpys_own_format(backend):
    answer(backend, pack_npy(np.array([4, 2])))

    reply = backend.invoke(Batch(ROWS))

    assert reply.outputs.tolist() == [4, 2]
    assert (reply.cold, reply.server, reply.retries) == (False, -1, 0)
    assert math.isnan(reply.model_latency)
    assert math.isnan(reply.overhead_latency)


def test_what_the_headers_tell_is_told(backend):
    headers = {
        "x-workbench-cold": "98000",
        "x-workbench-instance": "4",
        "x-workbench-model-latency": "1500",
        "x-workbench-overhead-latency": "250000",
    }
    answer(backend, pack_npy(np.array([4, 2])), **headers)

    reply = backend.invoke(Batch(ROWS))

    assert (reply.cold, reply.server) == (True, 4)
    assert (reply.model_latency, reply.overhead_latency, reply.init) == (0.0015, 0.25, 0.098)


@pytest.mark.parametrize(
    ("code", "more", "named"),
    [
        ("ThrottlingException", {}, ["ThrottlingException", "Rate exceeded"]),
        (
            "ModelError",
            {"OriginalStatusCode": 500, "OriginalMessage": "no such column"},
            [500, "no such column"],
        ),
    ],
)
def test_an_error_says_what_the_endpoint_said(backend, code, more, named):
    backend.cloud.stubber.add_client_error(
        "invoke_endpoint", code, "Rate exceeded", 400, modeled_fields=more
    )
    with refused(InvocationError, *named):
        backend.invoke(Batch(ROWS))


def test_retries_that_happened_anyway_are_told_of(backend):
    backend.cloud.stubber.add_client_error(
        "invoke_endpoint", "ServiceUnavailable", "busy", 503, response_meta={"RetryAttempts": 2}
    )
    with refused(InvocationError, "ServiceUnavailable", "busy", 2):
        backend.invoke(Batch(ROWS))


def test_no_answer_is_an_error_too(backend, monkeypatch):
    def silence(**_):
        raise ConnectTimeoutError(endpoint_url="https://nowhere")

    monkeypatch.setattr(backend._client, "invoke_endpoint", silence)
    with refused(InvocationError, "ConnectTimeoutError"):
        backend.invoke(Batch(ROWS))


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"\x93NUMPY\x01\x00", b"not an array at all", pack_npy(ROWS)[:-1]],
    ids=["nothing", "JSON", "a stump", "text", "cut short"],
)
def test_an_answer_that_is_no_array_is_an_error(backend, content):
    answer(backend, content)
    with refused(InvocationError, "array"):
        backend.invoke(Batch(ROWS))


def test_fewer_answers_than_rows_are_an_error(backend):
    answer(backend, pack_npy(np.array([4])))

    with refused(RowMismatch, 2, "(1,)"):
        backend.invoke(Batch(ROWS))


def test_the_client_retries_nothing_and_has_a_connection_for_each_call():
    # boto3's own choice depends on what failed before: findings/boto3-retries-that-run-out.sh
    with SageMakerBackend("digits", Cloud(keys=("a", "b")), concurrency=7) as backend:
        config = backend._client.meta.config
        assert config.max_pool_connections == 7
        assert config.retries == {"mode": "standard", "total_max_attempts": 1}
        assert config.read_timeout == 70


def test_a_backend_can_be_sent_to_another_process():
    sent = SageMakerBackend("digits", Cloud(endpoint_url="http://127.0.0.1:1"), concurrency=7)
    come = pickle.loads(pickle.dumps(sent))  # noqa: S301 - our own
    assert (come.endpoint, come.cloud, come.concurrency) == ("digits", sent.cloud, 7)


def test_concurrency_is_checked():
    with refused(InvalidInput, "concurrency", 0):
        SageMakerBackend("digits", Cloud(), concurrency=0)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.int64).reshape(2, 3, 4),
        np.asfortranarray(ROWS),
        ROWS[:, ::2],
        np.array(["a", "bcd"]),
        np.array([True, False]),
        np.zeros((0, 3), np.float64),
    ],
    ids=["three axes", "Fortran order", "strided", "text", "booleans", "no rows"],
)
def test_arrays_come_back_as_they_were_sent(array):
    content = pack_npy(array)
    assert np.array_equal(np.load(io.BytesIO(content), allow_pickle=False), array)
    come = unpack_npy(content)
    assert come.dtype == array.dtype
    assert np.array_equal(come, array)


def test_objects_are_neither_sent_nor_unpickled():
    with refused(InvocationError, "object"):
        pack_npy(np.array([{}]))
    file = io.BytesIO()
    np.save(file, np.array([{}]), allow_pickle=True)
    with refused(InvocationError, "array"):
        unpack_npy(file.getvalue())
