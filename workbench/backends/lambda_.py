"""AWS Lambda answers batches: an Invoke each, of a function with the workbench's own handler."""

import base64
import itertools
import json
import math
import re
from typing import Any, Self

from workbench.backends.base import Batch, Reply
from workbench.backends.sagemaker import NPY, ClientFactory, pack_npy, translate_errors, unpack_npy
from workbench.errors import InvocationError
from workbench.validation import require_rows, whole_number

_EVENT_PREFIX = f'{{"headers":{{"content-type":"{NPY}"}},"isBase64Encoded":true,"body":"'.encode()
_EVENT_SUFFIX = b'"}'
_REPORT = re.compile(
    r"REPORT RequestId: \S+\s+Duration: ([\d.]+) ms.*?(?:Init Duration: ([\d.]+) ms|$)", re.DOTALL
)
_OVERHEAD = "x-workbench-overhead-latency"  # a local cloud's, in microseconds; AWS does not tell it
_ENVIRONMENT, _INITIALIZED = "x-workbench-environment", "x-workbench-initialized"
_PROVISIONED = "provisioned-concurrency"
_ON_DEMAND_OFFSET = 1_000_000  # so that provisioned environments have the lower numbers


class LambdaBackend:
    """A function, called through boto3 with a connection for each batch in flight.

    Duration and INIT are those of the REPORT line, which each call asks for (LogType Tail).

    The function's name has its version behind a colon where that is not $LATEST. `cloud` makes the
    client, in the process that enters the backend; up to `concurrency` calls are in flight.
    """

    def __init__(self, function: str, cloud: ClientFactory, *, concurrency: int = 64) -> None:
        self.function = function
        self.cloud = cloud
        self.concurrency = whole_number("concurrency", concurrency, low=1)
        self._client: Any = None
        self._numbers: dict[str, int] = {}  # of execution environments, as they were first seen

    def __enter__(self) -> Self:
        self._client = self.cloud.client("lambda", pool=self.concurrency)
        self._numbers.clear()
        self._next_number = itertools.count()  # which no two threads get the same of
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None

    def invoke(self, batch: Batch) -> Reply:
        """Send the batch as one call.

        Raises:
            InvocationError: The function failed, was throttled, or did not answer at all.
            RowMismatch: Its answers are not one a row.
        """
        assert self._client is not None, "invoke outside the with block"  # noqa: S101
        event = _EVENT_PREFIX + base64.b64encode(pack_npy(batch.inputs)) + _EVENT_SUFFIX
        with translate_errors():
            answer = self._client.invoke(FunctionName=self.function, Payload=event, LogType="Tail")
            payload = answer["Payload"].read()
        content = _content(payload, failed="FunctionError" in answer)
        return self._reply(answer, content, len(batch.inputs))

    def _reply(self, answer: dict[str, Any], content: dict[str, Any], rows: int) -> Reply:
        headers = content.get("headers", {})
        provisioned = headers.get(_INITIALIZED) == _PROVISIONED
        duration, init = durations(answer.get("LogResult", ""))
        cold = init > 0 and not provisioned
        body = str(content["body"])
        binary = content.get("isBase64Encoded")
        outputs = unpack_npy(base64.b64decode(body) if binary else body.encode())
        metadata = answer["ResponseMetadata"]
        return Reply(
            require_rows(outputs, rows),
            cold=cold,
            server=self._number(headers.get(_ENVIRONMENT), provisioned=provisioned),
            model_latency=duration,
            overhead_latency=float(metadata["HTTPHeaders"].get(_OVERHEAD, "nan")) / 1e6,
            init=init if cold else 0.0,
            retries=metadata["RetryAttempts"],
        )

    def _number(self, name: str | None, *, provisioned: bool) -> int:
        """Return the number of an execution environment; -1 for one without a name."""
        if not name:
            return -1
        if name not in self._numbers:
            first = 0 if provisioned else _ON_DEMAND_OFFSET
            self._numbers.setdefault(name, first + next(self._next_number))
        return self._numbers[name]


def durations(log: str) -> tuple[float, float]:
    r"""Return the seconds of Duration and of Init Duration that a LogResult tells.

    NaN where there is no REPORT line, and 0 where there was no INIT.

    >>> line = "REPORT RequestId: 1\tDuration: 2.50 ms\tBilled Duration: 153 ms\t"
    >>> durations(base64.b64encode(f"{line}Init Duration: 150.00 ms".encode()).decode())
    (0.0025, 0.15)
    """
    text = base64.b64decode(log).decode("utf-8", "replace")
    found = _REPORT.search(text, max(0, text.rfind("REPORT RequestId: ")))
    if found is None:
        return math.nan, 0.0
    return float(found[1]) / 1000, float(found[2] or 0.0) / 1000


def _content(payload: bytes, *, failed: bool) -> dict[str, Any]:
    """Return what the function answered, unless it failed or is another's."""
    try:
        content = json.loads(payload)
    except ValueError as error:
        raise InvocationError(f"The function answered no JSON: {payload[:60]!r}.") from error
    if failed:
        what = content if isinstance(content, dict) else {"errorMessage": content}
        kind, message = what.get("errorType", "Unhandled"), what.get("errorMessage", "")
        raise InvocationError(f"{kind}: {message}")
    if not isinstance(content, dict) or "statusCode" not in content:
        raise InvocationError(f"This is not the workbench's handler: it said {payload[:60]!r}.")
    if content["statusCode"] != 200:
        raise InvocationError(f"The model refused ({content['statusCode']}): {content['body']}")
    return content
