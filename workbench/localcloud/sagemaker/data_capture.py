"""Data capture: what real-time endpoints are asked and answer, as JSON Lines in S3.

Objects are named `<destination>/<endpoint>/<variant>/yyyy/mm/dd/hh/<file>.jsonl` (SageMaker's
developer guide, "Container Contract Inputs"). Capturing is on unless it is said otherwise, and a
body is in base64 unless its content type is listed (API Reference, "DataCaptureConfig"). Records
are as published examples of 2020 to 2025 have them.
"""

import asyncio
import base64
import json
import logging
import random
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from workbench.localcloud.core.protocol import AwsError, format_time, new_id
from workbench.localcloud.core.store import Store
from workbench.localcloud.core.tasks import TaskSet
from workbench.localcloud.s3.objects import ObjectStore
from workbench.localcloud.s3.uploads import BodyWriter
from workbench.localcloud.sagemaker.models import split_s3

_FLUSH_SECONDS = 1.0  # records wait so long for others of their file; AWS does not say how long
_ENCODINGS = {"CsvContentTypes": "CSV", "JsonContentTypes": "JSON"}

_log = logging.getLogger("workbench.localcloud")


class DataCapture:
    """Writes what the endpoints of a local cloud capture, a file for what a moment brings."""

    def __init__(self, store: Store, objects: ObjectStore) -> None:
        self._store = store
        self._objects = objects
        self._waiting: defaultdict[tuple[str, str], list[bytes]] = defaultdict(list)
        self._closing = asyncio.Event()
        self._tasks = TaskSet()

    def take(
        self,
        config: Mapping[str, Any],
        place: str,
        asked: tuple[bytes, str],
        answered: tuple[bytes, str],
        attributes: Mapping[str, Any],
    ) -> None:
        """Capture a request and its answer, if it is in the sample.

        Args:
            config: The endpoint's DataCaptureConfig.
            place: Names of the endpoint and its variant, with a slash between.
            asked: Body and content type of the request.
            answered: Those of the answer.
            attributes: Members of `eventMetadata` that the client gave.
        """
        share = config["InitialSamplingPercentage"] / 100
        drawn = random.random() < share  # noqa: S311 - a sample is no secret
        if not (drawn and config.get("EnableCapture", True)):
            return
        modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
        sides = (("Input", asked), ("Output", answered))
        data = {
            f"endpoint{side}": _describe_side(config, side, *content)
            for side, content in sides
            if modes & {side, "InputAndOutput"}
        }
        event = {"eventId": new_id(), **attributes, "inferenceTime": format_time(time.time())}
        record = {"captureData": data, "eventMetadata": event, "eventVersion": "0"}
        lines = self._waiting[config["DestinationS3Uri"], place]
        lines.append(json.dumps(record).encode())
        if len(lines) == 1:
            self._tasks.start(self._flush_later(config["DestinationS3Uri"], place))

    async def close(self) -> None:
        """Write what waits."""
        self._closing.set()
        await self._tasks.finish()

    async def _flush_later(self, destination: str, place: str) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._closing.wait()
        lines = self._waiting.pop((destination, place))
        bucket, prefix = split_s3("DestinationS3Uri", destination)
        at = datetime.now(UTC)
        name = f"{at:%M-%S}-{at.microsecond // 1000:03}-{new_id()}.jsonl"
        key = f"{prefix.strip('/')}/{place}/{at:%Y/%m/%d/%H}/{name}".removeprefix("/")
        sink = BodyWriter(self._objects.new_path(), {})
        try:
            sink.write(b"\n".join(lines) + b"\n")
            body = await self._store.run_in_thread(sink.finish)
            try:
                self._objects.put(bucket, key, body, {"content-type": "application/json"})
            finally:
                body.path.unlink(missing_ok=True)
        except AwsError as error:
            _log.warning("Nothing was captured to %s: %s", destination, error.message)
        finally:
            sink.close()


def _describe_side(
    config: Mapping[str, Any], side: str, body: bytes, content_type: str
) -> dict[str, str]:
    """Return one side of a record: text as it is where its type counts as text, else in base64."""
    listed = config.get("CaptureContentTypeHeader", {})
    kind = content_type.partition(";")[0].strip().lower()
    found = (_ENCODINGS[member] for member in listed if kind in map(str.lower, listed[member]))
    encoding = next(found, "")
    try:
        data = body.decode() if encoding else ""
    except UnicodeDecodeError:
        encoding = ""
    return {
        "observedContentType": content_type,
        "mode": side.upper(),
        "data": data if encoding else base64.b64encode(body).decode(),
        "encoding": encoding or "BASE64",
    }
