"""One transform job at work: objects go through its instances and come out as objects of answers.

Each instance takes the next object when it has room, so that one object is the work of one
instance, as on AWS. What is read and not yet written is bounded: one request more than may be under
way at each instance.
"""

import asyncio
import gzip
import itertools
import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from workbench.errors import CloudError, InvalidInput
from workbench.localcloud.core.http_client import Answer, Exchange, Failure, Outcome, build_head
from workbench.localcloud.core.protocol import AwsError
from workbench.localcloud.s3.objects import Object, ObjectStore
from workbench.localcloud.s3.uploads import BodyWriter
from workbench.localcloud.sagemaker.endpoints import close_all, start_all
from workbench.localcloud.sagemaker.models import split_s3
from workbench.localcloud.sagemaker.records import (
    MAX_TRANSFORM_BYTES,
    Payload,
    Processing,
    Splitting,
)
from workbench.localcloud.sandbox.fleets import LocalFleet, RealTimeFleet
from workbench.localcloud.sandbox.instances import Launch, LaunchFailed
from workbench.units import MB

Facts = Mapping[str, Any]
"""Members of CreateTransformJob, by name."""

DATA_LOG = ".data.log"
"""The end of the name of the platform's log about a job's data."""

_DEFAULTS: Mapping[str, Any] = {  # where neither the job nor its container says
    "MaxConcurrentTransforms": 1,
    "BatchStrategy": "MultiRecord",
    "MaxPayloadInMB": 6,
}
_STRATEGIES = {"MULTI_RECORD": "MultiRecord", "SINGLE_RECORD": "SingleRecord"}
_TIMEOUT, _RETRIES = 600, 3  # API reference, ModelClientConfig
_PARAMETERS_TIMEOUT = 60.0  # seconds for /execution-parameters
_RETRY_DELAY = 0.1  # seconds before a request is sent again, doubled each time
_PARAMETERS_REQUEST = b"GET /execution-parameters HTTP/1.1\r\nHost: localhost\r\n\r\n"
_CLIENT_ERRORS = (InvalidInput, AwsError, gzip.BadGzipFile, EOFError, zlib.error)
_T = TypeVar("_T")


class JobFailed(CloudError):
    """A transform job that cannot be completed; the message is its FailureReason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformSettings:
    """How a job calls its model: `concurrency` requests at a time on each instance."""

    splitting: Splitting
    concurrency: int
    time_limit: float
    retries: int

    @property
    def log_line(self) -> str:
        """The settings as the platform's log has them."""
        strategy = "SINGLE_RECORD" if self.splitting.single else "MULTI_RECORD"
        return (
            f"MaxConcurrentTransforms={self.concurrency}, "
            f"MaxPayloadInMB={self.splitting.max_payload // MB}, BatchStrategy={strategy}"
        )

    @staticmethod
    def of(job: Facts, parameters: Facts) -> "TransformSettings":
        """Return the settings of a job whose container has its own parameters.

        The job's own go first, then the container's, then SageMaker's.

        Raises:
            JobFailed: The container's parameters are not possible.
        """
        merged = {
            name: job.get(name) or parameters.get(name) or usual
            for name, usual in _DEFAULTS.items()
        }
        strategy, most = merged["BatchStrategy"], merged["MaxPayloadInMB"]
        concurrency = merged["MaxConcurrentTransforms"]
        if not (most > 0 and concurrency > 0 and most * concurrency * MB <= MAX_TRANSFORM_BYTES):
            raise JobFailed(
                f"ClientError: MaxConcurrentTransforms * MaxPayloadInMB must be 1 to 100, got "
                f"{concurrency} * {most}, the container's /execution-parameters included."
            )
        source, output = job["TransformInput"], job["TransformOutput"]
        client = job.get("ModelClientConfig", {})
        splitting = Splitting(
            lines=source.get("SplitType", "None") == "Line",
            single=strategy == "SingleRecord",
            max_payload=most * MB,
            processing=read_processing(job),
            assemble=output.get("AssembleWith", "None") == "Line",
        )
        return TransformSettings(
            splitting=splitting,
            concurrency=concurrency,
            time_limit=client.get("InvocationsTimeoutInSeconds", _TIMEOUT),
            retries=client.get("InvocationsMaxRetries", _RETRIES),
        )


def read_processing(job: Facts) -> Processing | None:
    """Return what is filtered and joined in a job.

    Raises:
        InvalidInput: It cannot be done.
    """
    content_type = job["TransformInput"].get("ContentType", "")
    accept = job["TransformOutput"].get("Accept", "")
    return Processing.of(job.get("DataProcessing", {}), content_type, accept)


def environment(job: Facts) -> dict[str, str]:
    """Return the variables that a container of a job sees beside its model's.

    SageMaker sets the last three only to what the job says (developer guide, "Use Your Own
    Inference Code with Batch Transform").
    """
    settings = {
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": job.get("MaxConcurrentTransforms"),
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": job.get("MaxPayloadInMB"),
        "SAGEMAKER_BATCH_STRATEGY": {value: name for name, value in _STRATEGIES.items()}.get(
            job.get("BatchStrategy", "")
        ),
    }
    given = {name: str(value) for name, value in settings.items() if value}
    return {**job.get("Environment", {}), "SAGEMAKER_BATCH": "true", **given}


def find_output_key(source: str, key: str, target: str) -> str:
    """Return the key of the answers to an object: its name below the source, below the target.

    >>> find_output_key("in", "in/a/b.csv", "out/")
    'out/a/b.csv.out'
    >>> find_output_key("in/part-", "in/part-1.csv", "")
    'part-1.csv.out'
    """
    name = key.removeprefix(source)
    if not source.endswith("/"):
        name = name[1:] if name.startswith("/") else key[source.rfind("/") + 1 :]
    return f"{target.rstrip('/')}/{name}.out" if target else f"{name}.out"


class TransformRunner:
    """The work of one job, whose files are read and written in `threads`."""

    def __init__(
        self, job: Facts, objects: ObjectStore, threads: ThreadPoolExecutor, launch: Launch
    ) -> None:
        self._job = job
        self._objects = objects
        self._threads = threads
        self._launch = launch
        url = job["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
        self._bucket, self._prefix = split_s3("S3Uri", url)
        self._target = split_s3("S3OutputPath", job["TransformOutput"]["S3OutputPath"])
        self._problems: list[str] = []
        self._fleets: list[LocalFleet] = []
        self._concurrency: int | None = None

    def state(self) -> list[dict[str, Any]]:
        """Return what only the local cloud knows of the instances that are up.

        Their `concurrency` is None until the container has said how it wants to be called.
        """
        known = {"concurrency": self._concurrency}
        return [each | known for fleet in self._fleets for each in fleet.state()]

    async def run(self) -> None:
        """Transform every object.

        Raises:
            JobFailed: Some could not be; the others are there.
        """
        keys = self._keys()
        async with self._instances() as fleets:
            settings = TransformSettings.of(self._job, await self._fetch_parameters(fleets[0]))
            self._concurrency = settings.concurrency
            following = iter(keys)
            async with asyncio.TaskGroup() as group:
                for fleet in fleets:
                    instance = _TransformInstance(fleet, settings)
                    instance.note(settings.log_line)
                    for _ in range(settings.concurrency + 2):  # one is read and one is written
                        group.create_task(self._transform_keys(instance, following))
        if self._problems:
            more = f" {len(self._problems)} of {len(keys)} objects failed." * (len(keys) > 1)
            raise JobFailed(f"{self._problems[0]}{more}")

    def _keys(self) -> list[str]:
        """Return the keys of the objects, in order; those of folders are none."""
        try:
            self._objects.region(self._target[0])
            found = self._objects.list_objects(
                self._bucket, prefix=self._prefix, delimiter="", after=""
            )
            objects = [each for each in found if isinstance(each, Object)]
        except AwsError as error:
            raise JobFailed(f"ClientError: {error.code}: {error}") from error
        keys = [each.key for each in objects if not each.key.endswith("/")]
        if not keys:
            raise JobFailed(
                f"ClientError: No S3 objects found under S3 URL "
                f'"s3://{self._bucket}/{self._prefix}" given in input data source. Please ensure '
                "that the bucket exists and that objects exist under that S3 prefix."
            )
        return keys

    @asynccontextmanager
    async def _instances(self) -> AsyncIterator[list[LocalFleet]]:
        """Return the instances, each a fleet of its own that replaces what dies."""
        count = self._job["TransformResources"]["InstanceCount"]
        self._fleets = [RealTimeFleet(self._launch, count=1) for _ in range(count)]
        try:
            await start_all(self._fleets)
        except LaunchFailed as error:
            said = f"AlgorithmError: An instance did not come up. {error.__cause__ or error}"
            raise JobFailed(said) from error
        try:
            yield self._fleets
        finally:
            await close_all(self._fleets)

    async def _fetch_parameters(self, fleet: LocalFleet) -> dict[str, Any]:
        """Return what the container wants, where it says so at all."""
        outcome, _ = await _send_request(
            fleet, _PARAMETERS_REQUEST, b"", time_limit=_PARAMETERS_TIMEOUT
        )
        if not isinstance(outcome, Answer) or outcome.status != 200:
            return {}
        try:
            wanted = json.loads(outcome.body)
            strategy = _STRATEGIES.get(str(wanted.get("BatchStrategy")))
            numbers = {
                name: int(wanted[name])
                for name in ("MaxConcurrentTransforms", "MaxPayloadInMB")
                if name in wanted
            }
        except (ValueError, TypeError, AttributeError) as error:
            raise JobFailed(
                f"AlgorithmError: /execution-parameters answered what is not one: {error}."
            ) from error
        return numbers | ({"BatchStrategy": strategy} if strategy else {})

    async def _transform_keys(self, instance: "_TransformInstance", keys: Iterator[str]) -> None:
        """Transform one object after the other."""
        for key in keys:
            try:
                await self._transform(instance, key)
            except* (JobFailed, *_CLIENT_ERRORS, OSError) as errors:
                error = _find_first_error(errors)
                instance.note(f"{self._bucket}/{key}: {error}")
                self._problems.append(self._describe_error(key, error))

    def _describe_error(self, key: str, error: BaseException) -> str:
        said = str(error)
        if not isinstance(error, JobFailed):
            side = "ClientError" if isinstance(error, _CLIENT_ERRORS) else "InternalError"
            said = f"{side}: {said}"
        kind, _, rest = said.partition(": ")
        return f"{kind}: s3://{self._bucket}/{key}: {rest}"

    async def _transform(self, instance: "_TransformInstance", key: str) -> None:
        """Transform an object; nothing is written unless all of it was answered."""
        output = BodyWriter(self._objects.new_path(), {})
        try:
            path = self._objects.path(self._objects.get(self._bucket, key))
            file = await self._run_in_thread(self._open_input, path)
            try:
                await self._send_payloads(instance, file, output)
            finally:
                file.close()
            body = await self._run_in_thread(output.finish)
            bucket, folder = self._target
            accept = self._job["TransformOutput"].get("Accept")
            headers = {"content-type": accept} if accept else {}
            output_key = find_output_key(self._prefix, key, folder)
            self._objects.put(bucket, output_key, body, headers)
        finally:
            output.close()

    async def _send_payloads(
        self, instance: "_TransformInstance", file: IO[bytes], output: BodyWriter
    ) -> None:
        """Send what an object becomes, and write the answers in its order."""
        payloads = instance.settings.splitting.payloads(file)
        before: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as group:
            while True:
                await instance.slots.acquire()
                try:
                    payload = await self._run_in_thread(next, payloads, None)
                except BaseException:
                    instance.slots.release()
                    raise
                if payload is None:
                    instance.slots.release()
                    return
                before = group.create_task(self._send_payload(instance, payload, output, before))
                before.add_done_callback(lambda _: instance.slots.release())

    async def _send_payload(
        self,
        instance: "_TransformInstance",
        payload: Payload,
        output: BodyWriter,
        before: asyncio.Task[None] | None,
    ) -> None:
        """Send one request, and write its answer behind that of the one before."""
        source, output_facts = self._job["TransformInput"], self._job["TransformOutput"]
        headers = {"Content-Type": source.get("ContentType"), "Accept": output_facts.get("Accept")}
        given = [(name, value) for name, value in headers.items() if value]
        body = await instance.answer(payload, build_head(len(payload.body), given))
        made = await self._run_in_thread(instance.settings.splitting.assemble_answer, payload, body)
        if before is not None:
            await before
        await self._run_in_thread(output.write, made)

    def _open_input(self, path: Path) -> IO[bytes]:
        if self._job["TransformInput"].get("CompressionType") == "Gzip":
            return cast("IO[bytes]", gzip.open(path, "rb"))
        return path.open("rb")

    async def _run_in_thread(self, function: Callable[..., _T], *args: Any) -> _T:  # noqa: ANN401 - of any function
        """Return what a slow function returns; a thread that has begun is waited for."""
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._threads, lambda: function(*args))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise


class _TransformInstance:
    """An instance of a job: `slots` are for requests that are read and not yet written."""

    def __init__(self, fleet: LocalFleet, settings: TransformSettings) -> None:
        self.settings = settings
        self.slots = asyncio.Semaphore(settings.concurrency + 1)
        self._fleet = fleet
        self._calls = asyncio.Semaphore(settings.concurrency)

    def note(self, line: str) -> None:
        """Write a line to the platform's log, beside that of the container that is up."""
        for instance in self._fleet.state()[:1]:
            at = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
            with Path(instance["log"]).with_suffix(DATA_LOG).open("a") as log:
                log.write(f"{at}:[sagemaker logs]: {line}\n")

    async def answer(self, payload: Payload, head: bytes) -> bytes:
        """Return the body of the answer to a request, which is sent again where that may help."""
        async with self._calls:
            for attempt in itertools.count():
                outcome, reason = await _send_request(
                    self._fleet, head, payload.body, time_limit=self.settings.time_limit
                )
                if isinstance(outcome, Answer) and outcome.status < 300:
                    return outcome.body
                if attempt == self.settings.retries or not _is_retryable(outcome):
                    break
                await asyncio.sleep(_RETRY_DELAY * 2**attempt)
        raise JobFailed(_describe_failure(outcome, reason, payload, self.settings))


async def _send_request(
    fleet: LocalFleet, head: bytes, body: bytes, *, time_limit: float
) -> tuple[Outcome, str]:
    """Return the outcome of a request, and what more is known of a failure."""
    future: asyncio.Future[tuple[Outcome, str]] = asyncio.get_running_loop().create_future()

    def done(exchange: Exchange, outcome: Outcome) -> None:
        if not future.done():
            future.set_result((outcome, exchange.reason))

    fleet.serve(Exchange(head, body, done, time_limit=time_limit, max_answer=MAX_TRANSFORM_BYTES))
    return await future


def _is_retryable(outcome: Outcome) -> bool:
    """Whether the same request may be answered another time."""
    if isinstance(outcome, Answer):
        return outcome.status == 429 or outcome.status >= 500  # what a client got wrong stays so
    return outcome in (Failure.TIMEOUT, Failure.GONE)


def _describe_failure(
    outcome: Outcome, reason: str, payload: Payload, settings: TransformSettings
) -> str:
    last = payload.first + payload.count - 1
    which = f"record {last}" if payload.count == 1 else f"records {payload.first} to {last}"
    if isinstance(outcome, Answer):
        client = 400 <= outcome.status < 500
        side, word = ("ClientError", "client") if client else ("AlgorithmError", "server")
        message = outcome.body.decode("utf-8", "replace")
        said = f'Received {word} error ({outcome.status}) from primary with message "{message}"'
        return f"{side}: {which}: {said}"
    if outcome is Failure.TIMEOUT:
        return f"AlgorithmError: {which}: no answer within {settings.time_limit:g} s."
    if outcome is Failure.GONE:
        return f"AlgorithmError: {which}: the container ended before it answered."
    return f"AlgorithmError: {which}: {outcome.value}. {reason}".rstrip()


def _find_first_error(error: BaseException) -> BaseException:
    """Return the first error of a group of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
