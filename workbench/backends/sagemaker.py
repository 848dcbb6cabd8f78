"""SageMaker answers batches: an InvokeEndpoint each, on a real-time or serverless endpoint."""

import contextlib
import io
import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from workbench.backends.base import Batch, Origin, Reply
from workbench.errors import InvocationError
from workbench.validation import require_rows, whole_number

NPY = "application/x-npy"
"""The content type of one NumPy array, in the format of a .npy file."""

# these headers come from the local cloud, times in microseconds; AWS sends none of them
_COLD = "x-workbench-cold"  # what the start took, where one was paid
_SERVER = "x-workbench-instance"
_MODEL_LATENCY = "x-workbench-model-latency"
_OVERHEAD_LATENCY = "x-workbench-overhead-latency"


class ClientFactory(Protocol):
    """What makes boto3's clients; a value that can be sent to another process."""

    def client(self, service: str, *, pool: int) -> Any:  # noqa: ANN401 - boto3 builds its clients
        """Return the client of a service with `pool` connections, which retries nothing."""


class SageMakerBackend:
    """An endpoint, called through boto3 with a connection for each batch in flight.

    `cloud` makes the client, in the process that enters the backend; up to `concurrency` calls are
    in flight. The production `variant` answers, "" being the only one; where SageMaker chooses
    among several `variants`, each is a place.
    """

    def __init__(
        self,
        endpoint: str,
        cloud: ClientFactory,
        *,
        concurrency: int = 64,
        variant: str = "",
        variants: Sequence[str] = (),
    ) -> None:
        self.endpoint = endpoint
        self._places = {name: place for place, name in enumerate(variants)}
        self._target = {"TargetVariant": variant} if variant else {}
        self.cloud = cloud
        self.concurrency = whole_number("concurrency", concurrency, low=1)
        self._client: Any = None

    def __enter__(self) -> Self:
        self._client = self.cloud.client("sagemaker-runtime", pool=self.concurrency)
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None

    def invoke(self, batch: Batch) -> Reply:
        """Send the batch as one call.

        Raises:
            InvocationError: The endpoint answered with an error, or not at all.
            RowMismatch: Its answers are not one a row.
        """
        assert self._client is not None, "invoke outside the with block"  # noqa: S101
        with translate_errors():
            answer = self._client.invoke_endpoint(
                EndpointName=self.endpoint,
                Body=pack_npy(batch.inputs),
                ContentType=NPY,
                Accept=NPY,
                **self._target,
            )
            body = answer["Body"].read()
        outputs = require_rows(unpack_npy(body), len(batch.inputs))
        reply = _reply(outputs, answer["ResponseMetadata"])
        if not self._places:
            return reply
        place = self._places.get(answer.get("InvokedProductionVariant", ""), 0)
        return reply._replace(origin=Origin(place))


def pack_npy(array: NDArray[Any]) -> bytes:
    """Return the bytes of a .npy file that holds the array.

    >>> unpack_npy(pack_npy(np.array([[1, 2], [3, 4]])))
    array([[1, 2],
           [3, 4]])
    """
    array = np.ascontiguousarray(array)
    return _header(array.dtype, array.shape) + array.tobytes()


def unpack_npy(content: bytes) -> NDArray[Any]:
    """Return the array in the bytes of a .npy file, of which nothing is unpickled."""
    try:
        # after magic and version, two bytes hold the header's length (numpy.lib.format)
        (length,) = struct.unpack_from("<H", content, 8)
        dtype, shape = _read_header(content[: 10 + length])
        return np.frombuffer(content, dtype, offset=10 + length).reshape(shape)
    except (ValueError, struct.error) as error:
        raise InvocationError(
            f"The answer is not an array in the format {NPY}: {error}. It starts with "
            f"{content[:60]!r}."
        ) from error


@lru_cache(maxsize=512)
def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return what comes before the data: the same for every batch of a size, so worth keeping."""
    if dtype.hasobject:
        raise InvocationError(f"Rows of type {dtype} cannot be sent as {NPY}: use numbers or text.")
    file = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(dtype)
    facts = {"descr": descr, "fortran_order": False, "shape": shape}
    try:
        np.lib.format.write_array_header_1_0(file, facts)
    except ValueError:  # names beyond Latin-1, or many of them: version 3.0 has those
        text = repr(facts).encode()
        # the data begin at a multiple of 64 bytes: after 12 bytes, the text and a newline
        padding = b" " * (-(len(text) + 13) % 64) + b"\n"
        size = struct.pack("<I", len(text) + len(padding))
        return b"\x93NUMPY\x03\x00" + size + text + padding
    return file.getvalue()


@lru_cache(maxsize=512)
def _read_header(header: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    file = io.BytesIO(header)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("it is not of version 1.0")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject or (fortran_order and len(shape) > 1):
        raise ValueError(f"it holds {dtype}, fortran_order={fortran_order}")
    return dtype, shape


def _reply(outputs: NDArray[Any], metadata: Mapping[str, Any]) -> Reply:
    headers = metadata["HTTPHeaders"]
    return Reply(
        outputs,
        cold=_COLD in headers,
        server=int(headers.get(_SERVER, -1)),
        model_latency=float(headers.get(_MODEL_LATENCY, "nan")) / 1e6,
        overhead_latency=float(headers.get(_OVERHEAD_LATENCY, "nan")) / 1e6,
        init=float(headers.get(_COLD, 0.0)) / 1e6,
        retries=metadata["RetryAttempts"],
    )


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Turn what boto3 raises inside the block into an `InvocationError`."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise InvocationError(_describe_error(error.response)) from error
    except BotoCoreError as error:
        raise InvocationError(f"{type(error).__name__}: {error}") from error


def _describe_error(response: Mapping[str, Any]) -> str:
    """Return what an error answer says, in one line."""
    error = response.get("Error", {})
    said = f"{error.get('Code', 'unknown')}: {error.get('Message', '')}"
    if "OriginalMessage" in response:
        said += f" (the model answered {response.get('OriginalStatusCode')}: "
        said += f"{response['OriginalMessage']})"
    retries = response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
    return said + (f" after {retries} retries" if retries else "")
