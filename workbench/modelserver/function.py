"""The model as an AWS Lambda function: `workbench.modelserver.function.handler`.

Importing this in a function loads the model, so that it is part of INIT. The model lies beside the
program (a zip, or an image built for it), or in S3 as `$WORKBENCH_MODEL` names it. An event is that
of a function URL: `{"headers": {"content-type": ..., "accept": ...}, "body": ...,
"isBase64Encoded": ...}`, and so is the answer, in the type that is accepted. `{"instances": [...]}`
is answered with `{"predictions": [...]}`. Load balancers and REST APIs may send `multiValueHeaders`
as well, or in place of headers, and are answered in kind.

Sources: Lambda developer guide, "Invoking Lambda function URLs" (payload format version 2.0);
Elastic Load Balancing, "Lambda functions as targets" (multi-value headers); API Gateway developer
guide, "Set up Lambda proxy integrations".
"""

import base64
import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.modelserver.errors import RequestError
from workbench.modelserver.runtime_env import configure_runtime_env

MODEL_VARIABLE = "WORKBENCH_MODEL"
"""The variable that holds where the model's tar.gz lies: s3://bucket/key."""

_LOG_STREAM_VARIABLE = "AWS_LAMBDA_LOG_STREAM_NAME"  # one for each execution environment
_INIT_TYPE_VARIABLE = "AWS_LAMBDA_INITIALIZATION_TYPE"


class ModelFunction:
    """The model of a folder, loaded, that answers events in what `environment` says."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        configure_runtime_env()
        import orjson

        from workbench.modelserver import formats
        from workbench.modelserver.engine import Engine
        from workbench.modelserver.records import make_reader

        self._json = orjson
        self._formats = formats
        self._engine = Engine(folder, threads=int(environment.get("WORKBENCH_THREADS", "1")))
        self._engine.warm()
        self._reader = make_reader(self._engine.inputs)
        self._headers = {
            "x-workbench-environment": environment.get(_LOG_STREAM_VARIABLE, ""),
            "x-workbench-initialized": environment.get(_INIT_TYPE_VARIABLE, "on-demand"),
        }

    def __call__(self, event: Any, context: object) -> dict[str, Any]:  # noqa: ANN401, ARG002 - AWS's
        """Return the answer to an event; raises what a model raises."""
        if not (isinstance(event, dict) and "body" in event):
            _, answer = self._answer(self._formats.JSON, "", self._encode_event(event))
            return dict(self._json.loads(answer))
        try:
            accept, content = self._answer(*_parse_event(event))
            reply = self._reply(200, accept, content)
        except RequestError as refused:
            reply = self._reply(refused.status, "text/plain", str(refused).encode())
        if event.get("multiValueHeaders") and not event.get("headers"):
            several = {name: [value] for name, value in reply.pop("headers").items()}
            reply["multiValueHeaders"] = several  # which alone a load balancer then reads
        return reply

    def _encode_event(self, event: Any) -> bytes:  # noqa: ANN401 - any JSON
        rows = event if isinstance(event, dict) else {"instances": event}
        try:
            return bytes(self._json.dumps(rows))
        except TypeError as error:  # a number beyond 64 bits, or half of a surrogate pair
            raise RequestError(400, f"The event cannot be read: {error}.") from error

    def _answer(self, content_type: str, accept: str, body: bytes) -> tuple[str, bytes]:
        batch = self._reader.read(content_type, body)
        accept = self._formats.choose(accept, content_type)
        return accept, self._formats.write(accept, self._engine.run(batch.rows), batch)

    def _reply(self, status: int, content_type: str, content: bytes) -> dict[str, Any]:
        text = content_type != self._formats.NPY
        return {
            "statusCode": status,
            "headers": {"content-type": content_type, **self._headers},
            "body": content.decode() if text else base64.b64encode(content).decode(),
            "isBase64Encoded": not text,
        }


def _parse_event(event: Mapping[str, Any]) -> tuple[str, str, bytes]:
    """Return content type, accepted type and body of an event."""
    headers = _parse_headers(event)
    try:
        body = str(event["body"]).encode()
        if event.get("isBase64Encoded"):
            body = base64.b64decode(body, validate=True)
    except ValueError as error:  # half of a surrogate pair, or no base64
        raise RequestError(400, f"The body is not what the event says: {error}.") from error
    return headers.get("content-type", "application/json"), headers.get("accept", ""), body


def _parse_headers(event: Mapping[str, Any]) -> dict[str, str]:
    """Return an event's headers by their names in lower case; of several values, Accept has all."""
    single, several = event.get("headers") or {}, event.get("multiValueHeaders") or {}
    try:
        headers = {name.lower(): str(value) for name, value in single.items()}
        for name, values in several.items():
            accept = name.lower() == "accept"  # the one of ours whose values make a list
            headers[name.lower()] = ", ".join(values) if accept else str(values[-1])
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise RequestError(
            400,
            "headers must be an object of texts, and multiValueHeaders one of lists of texts, got "
            f"{single!r:.200} and {several!r:.200}.",
        ) from error
    return headers


def find_model(environment: Mapping[str, str]) -> Path:
    """Return the folder of the function's model, fetched from S3 where it does not lie here."""
    beside = Path(environment.get("LAMBDA_TASK_ROOT", "/var/task")) / "model"
    for folder in (beside, Path("/opt/ml/model")):
        if folder.is_dir():
            return folder
    return _fetch_model(environment[MODEL_VARIABLE], Path(environment.get("TMPDIR", "/tmp")))  # noqa: S108 - Lambda's


def _fetch_model(url: str, scratch: Path) -> Path:
    from botocore.session import get_session

    bucket, _, key = url.removeprefix("s3://").partition("/")
    client: Any = get_session().create_client("s3")
    body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    folder = scratch / f"model-{os.getpid()}"
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as tar:
        tar.extractall(folder, filter="data")
    return folder


def _load_function() -> ModelFunction | None:
    if "AWS_LAMBDA_RUNTIME_API" not in os.environ:  # imported, but not as a function
        return None
    configure_runtime_env()
    from workbench.modelserver.tiny_numbers import flush_tiny_numbers

    flush_tiny_numbers()
    return ModelFunction(find_model(os.environ), os.environ)


handler = _load_function()
"""What Lambda calls with an event and its context; None anywhere but in a function."""
