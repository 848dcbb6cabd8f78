"""Batch transform jobs of a local cloud: made, stopped, and begun again after a restart.

What AWS has and the local cloud has not is refused by name. A job that was in progress when the
local cloud ended is done again from its first object when it is back.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import InvalidInput
from workbench.localcloud.core.paging import paginate
from workbench.localcloud.core.protocol import (
    AwsError,
    Operation,
    not_implemented_error,
    now,
    validation_error,
)
from workbench.localcloud.core.store import Store
from workbench.localcloud.s3.api import S3
from workbench.localcloud.sagemaker.endpoints import Facts
from workbench.localcloud.sagemaker.model_packages import Packages
from workbench.localcloud.sagemaker.models import ModelApi
from workbench.localcloud.sagemaker.resources import Kind, Resource, Resources, not_found_error
from workbench.localcloud.sagemaker.transform_runner import (
    JobFailed,
    TransformRunner,
    environment,
    read_processing,
)
from workbench.localcloud.sandbox.instances import Launcher, LaunchSettings, VariantLauncher

_KIND: Kind = "transform-job"
_DESCRIBE_TIMEOUT = 1.0  # seconds that DescribeTransformJob waits for a job to end
_THREADS = 4  # that read and write the files of all jobs
_FINAL_STATUSES = ("Completed", "Failed", "Stopped")
_MAX_REASON_LENGTH = 1024  # botocore's FailureReason
_INSTANCE = "instance"  # the folder of logs, where endpoints have a variant's


@dataclass(eq=False)
class Job:
    """A transform job: `asked` are the members of its CreateTransformJob.

    `started` and `ended` bound what AWS would bill: from when it starts on its instances on.
    """

    name: str
    arn: str
    created: float
    asked: Facts
    status: str = "InProgress"
    reason: str = ""
    started: float | None = None
    ended: float | None = None
    modified: float = 0.0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    runner: TransformRunner | None = None
    work: asyncio.Task[None] | None = None

    @staticmethod
    def of(kept: Resource) -> "Job":
        """Return the job as it was when it was last kept."""
        job = Job(kept.name, kept.arn, kept.created, **kept.facts)
        if job.status in _FINAL_STATUSES:
            job.over.set()
        return job

    def to_facts(self) -> Facts:
        """Return what a restart needs to know."""
        names = ("asked", "status", "reason", "started", "ended", "modified")
        return {name: getattr(self, name) for name in names}

    def description(self) -> Facts:
        """Return what DescribeTransformJob answers."""
        facts = {**self.asked, **self.summary(), "TransformStartTime": self.started}
        del facts["LastModifiedTime"]  # DescribeTransformJob has none
        return {name: value for name, value in facts.items() if value is not None}

    def summary(self) -> Facts:
        """Return what ListTransformJobs says of the job."""
        facts = {
            "TransformJobName": self.name,
            "TransformJobArn": self.arn,
            "CreationTime": self.created,
            "TransformEndTime": self.ended,
            "LastModifiedTime": self.modified,
            "TransformJobStatus": self.status,
            "FailureReason": self.reason[:_MAX_REASON_LENGTH] or None,
        }
        return {name: value for name, value in facts.items() if value is not None}


class TransformJobApi:
    """SageMaker's operations on transform jobs, and the jobs that run.

    `folder` is for logs and unpacked models; `on_change` is called with what DescribeTransformJob
    says, whenever a job's status has changed.
    """

    def __init__(
        self,
        store: Store,
        s3: S3,
        packages: Packages,
        folder: Path,
        *,
        on_change: Callable[[Facts], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._resources = Resources(store)
        self._definitions = ModelApi(self._resources, s3, packages)
        self._launcher = Launcher(store, s3, folder)
        self._objects = s3.objects
        self._on_change = on_change
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="transform")
        self._jobs: dict[str, Job] = {}

    def operations(self) -> dict[str, Operation]:
        """Return what answers SageMaker's operations, by name."""
        return {
            "CreateTransformJob": self._create,
            "DescribeTransformJob": self._describe,
            "ListTransformJobs": self._list,
            "StopTransformJob": self._stop,
        }

    def start(self) -> None:
        """Bring back the jobs; those that were in progress begin again."""
        for kept in self._resources.all(_KIND):
            job = self._jobs[kept.name.lower()] = Job.of(kept)
            if job.status == "InProgress":
                job.started = None
                self._begin(job)
            elif job.status == "Stopping":
                self._set_status(job, "Stopped")

    def state(self) -> list[Facts]:
        """Return what only a local cloud knows: every instance of the jobs that run."""
        return [
            {"job": job.name, "instances": job.runner.state()}
            for job in self._jobs.values()
            if job.runner is not None
        ]

    async def close(self) -> None:
        """End what runs; the jobs stay known, as being in progress."""
        work = [job.work for job in self._jobs.values() if job.work is not None]
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await self._launcher.close()
        self._threads.shutdown()

    # --- operations

    async def _create(self, params: Facts) -> Facts:
        _check(params)
        name = params["TransformJobName"]
        self._definitions.container(params["ModelName"])
        if known := self._jobs.get(name.lower()):
            raise AwsError(
                "ResourceInUse",
                "Job name must be unique within an AWS account and region, and a job with this "
                f"name already exists ({known.arn})",
            )
        asked = {member: value for member, value in params.items() if member != "Tags"}
        with self._store.write():
            made = self._resources.add(_KIND, name, {}, params.get("Tags", []))
            job = self._jobs[name.lower()] = Job(name, made.arn, made.created, asked)
            self._set_status(job, "InProgress")
        self._begin(job)
        return {"TransformJobArn": job.arn}

    async def _describe(self, params: Facts) -> Facts:
        """Wait a while for a job to end, so that who polls knows at once."""
        job = self._get(params)
        with suppress(TimeoutError):
            async with asyncio.timeout(_DESCRIBE_TIMEOUT):
                await job.over.wait()
        return job.description()

    async def _list(self, params: Facts) -> Facts:
        summaries = [job.summary() for job in self._jobs.values()]
        chosen, more = paginate(
            summaries,
            params,
            name="TransformJobName",
            equal={"StatusEquals": "TransformJobStatus"},
            sorts={"Status": "TransformJobStatus"},
        )
        return {"TransformJobSummaries": chosen, **more}

    async def _stop(self, params: Facts) -> Facts:
        job = self._get(params)
        if job.status in _FINAL_STATUSES:
            raise validation_error(
                f"The request was rejected because the transform job is in status {job.status}."
            )
        if job.status == "InProgress" and job.work is not None:
            self._set_status(job, "Stopping")
            job.work.cancel()
        return {}

    def _get(self, params: Mapping[str, Any]) -> Job:
        name = params["TransformJobName"]
        if name.lower() not in self._jobs:
            raise AwsError("ResourceNotFound", not_found_error(_KIND, name).message)
        return self._jobs[name.lower()]

    # --- a job's life

    def _begin(self, job: Job) -> None:
        job.work = asyncio.get_running_loop().create_task(self._run(job))

    async def _run(self, job: Job) -> None:
        status, reason = "Failed", ""
        try:
            container = self._definitions.container(job.asked["ModelName"])
            launch = VariantLauncher(
                self._launcher,
                LaunchSettings(
                    endpoint=job.name,
                    variant=_INSTANCE,
                    bucket=container["Bucket"],
                    key=container["Key"],
                    environment={**container.get("Environment", {}), **environment(job.asked)},
                ),
            )
            job.started = now()
            job.runner = TransformRunner(job.asked, self._objects, self._threads, launch)
            await job.runner.run()
            status = "Completed"
        except (JobFailed, AwsError) as error:
            reason = str(error)
        except asyncio.CancelledError:
            if job.status != "Stopping":  # the cloud ends
                raise
            status = "Stopped"
        except Exception as error:  # noqa: BLE001 - a job ends, whatever it was
            reason = f"InternalServerError: {type(error).__name__}: {error}"
        job.runner = None
        job.ended = now()
        self._set_status(job, status, reason)

    def _set_status(self, job: Job, status: str, reason: str = "") -> None:
        """Take another status, which is saved before it is announced."""
        job.status, job.reason, job.modified = status, reason, now()
        self._resources.change(_KIND, job.name, job.to_facts())
        if status in _FINAL_STATUSES:
            job.over.set()
        self._on_change(job.description())


def _check(job: Mapping[str, Any]) -> None:
    """Refuse what botocore's model lets pass: a job that cannot be, or needs what is not here."""
    source, output = job["TransformInput"], job["TransformOutput"]
    data = source["DataSource"]["S3DataSource"]
    if data["S3DataType"] != "S3Prefix":
        raise not_implemented_error(f"S3DataType {data['S3DataType']}")
    if source.get("SplitType", "None") not in ("None", "Line"):
        raise not_implemented_error(f"SplitType {source['SplitType']}")
    if job.get("DataCaptureConfig"):
        raise not_implemented_error("Data capture (DataCaptureConfig) of transform jobs")
    if output.get("KmsKeyId"):
        raise not_implemented_error("Encryption of results (KmsKeyId)")
    for member, url in (("S3Uri", data["S3Uri"]), ("S3OutputPath", output["S3OutputPath"])):
        if not url.startswith("s3://"):
            raise validation_error(f"{member} must look like s3://bucket/prefix, got {url}.")
    _check_payload(job)
    try:
        read_processing(job)
    except InvalidInput as error:
        raise validation_error(str(error)) from error


def _check_payload(job: Mapping[str, Any]) -> None:
    most, concurrency = job.get("MaxPayloadInMB"), job.get("MaxConcurrentTransforms") or 1
    if most == 0:
        raise not_implemented_error("A request in chunks of any length (MaxPayloadInMB 0)")
    if most is not None and most * concurrency > 100:
        raise validation_error(
            f"MaxConcurrentTransforms * MaxPayloadInMB must be at most 100 MB, got {concurrency} * "
            f"{most}."
        )
