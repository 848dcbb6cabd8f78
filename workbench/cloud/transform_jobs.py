"""A model ready for batch transform jobs, for as long as a `with` block lasts.

Data go to S3 as objects of rows in NumPy's format, each of which is one request, and answers come
back as objects of the same names. What is made is written into the ledger first, as `deploy` does:
stopped, deleted and struck out when the block ends, or by `teardown` after a crash.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from numpy.typing import NDArray

from workbench.backends.sagemaker import NPY, pack_npy, unpack_npy
from workbench.cloud.adapters.batch_transform import BatchTransformAdapter
from workbench.cloud.adapters.resources import create_model, upload
from workbench.cloud.aws import Cloud, image_of, role_of
from workbench.cloud.client import CloudClient
from workbench.cloud.cost_guard import confirm_cost, estimate_max_cost, hourly_cost
from workbench.cloud.deploy import ensure_teardown, open_entry
from workbench.cloud.ledger import Ledger, LedgerEntry
from workbench.deployment.base import Deployment
from workbench.deployment.batch_transform import BatchTransform
from workbench.errors import CloudError, InvalidInput, OverBudget
from workbench.formatting import dollars
from workbench.registry.model import Model
from workbench.validation import positive

_MAX_CONCURRENT_TRANSFORMS = 2  # of an instance: one is computed while another is on its way
_MAX_PAYLOAD_MB = 6  # of a request: CreateTransformJob's default


@dataclass(frozen=True, slots=True)
class FinishedJob:
    """A job that is over: what began and ended it, in seconds since its creation.

    Attributes:
        started, ended: Of its instances, which are billed for the time between.
        complete: Whether it was not stopped.
    """

    started: float
    ended: float
    complete: bool

    @property
    def seconds(self) -> float:
        """What an instance is billed."""
        return self.ended - self.started


@dataclass
class TransformJobs:
    """What makes jobs of one model; several may run at a time.

    Attributes:
        model, deployment, cloud: What transforms, how, and where.
        instance_seconds: What all jobs that are over are billed.
    """

    model: Model
    deployment: BatchTransform
    cloud: Cloud
    instance_seconds: float = 0.0
    _aws: CloudClient = field(kw_only=True, repr=False)
    _entry: LedgerEntry = field(kw_only=True, repr=False)
    _budget: float | None = field(kw_only=True, repr=False)

    def facts(self) -> dict[str, Any]:
        """Return what a run there keeps about it, as JSON values."""
        return {**self.cloud.facts(), "jobs": self._entry.name}

    def put(self, job: str, part: int, rows: NDArray[Any]) -> None:
        """Bring rows to the cloud; may be called from several threads."""
        key = f"{self._folder(job)}/in/{_name(part)}"
        self._aws.s3("put_object", Bucket=self._entry.bucket, Key=key, Body=pack_npy(rows))

    def answers(self, job: str, part: int) -> NDArray[Any]:
        """Return the answers to rows that were brought there; raise `CloudError` without any."""
        key = f"{self._folder(job)}/out/{_name(part)}.out"
        found = self._aws.s3("get_object", Bucket=self._entry.bucket, Key=key)
        with contextlib.closing(found["Body"]) as body:
            return unpack_npy(body.read())

    def count_answered(self, job: str) -> int:
        """Return how many parts have been answered."""
        listed = {"Bucket": self._entry.bucket, "Prefix": f"{self._folder(job)}/out/"}
        return sum(page["KeyCount"] for page in self._aws.pages("s3", "list_objects_v2", **listed))

    def start(self, job: str) -> None:
        """Begin a job over the rows that were brought for it."""
        where = f"s3://{self._entry.bucket}/{self._folder(job)}"
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"{where}/in/"}}
        self._aws.sagemaker(
            "create_transform_job",
            TransformJobName=self._job(job),
            ModelName=self._entry.name,
            MaxConcurrentTransforms=_MAX_CONCURRENT_TRANSFORMS,
            MaxPayloadInMB=_MAX_PAYLOAD_MB,
            TransformInput={"DataSource": source, "ContentType": NPY, "SplitType": "None"},
            TransformOutput={"S3OutputPath": f"{where}/out/", "Accept": NPY},
            TransformResources={
                "InstanceType": self.deployment.instance_type,
                "InstanceCount": self.deployment.count,
            },
            Tags=self._entry.tags,
        )

    def wait(
        self,
        job: str,
        *,
        stopped: threading.Event | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> FinishedJob:
        """Return a job once it is over; it is stopped when `stopped` is set.

        `progress` is called now and then with how many parts have been answered.

        Raises:
            CloudError: It failed.
            OverBudget: It was stopped because the budget is spent.
        """
        stopping, began, running = False, time.monotonic(), ("InProgress", "Stopping")
        name = {"TransformJobName": self._job(job)}
        describe = partial(self._aws.sagemaker, "describe_transform_job", **name)
        while (description := describe())["TransformJobStatus"] in running:
            spent = self._price(time.monotonic() - began) >= (self._budget or float("inf"))
            if not stopping and (spent or (stopped is not None and stopped.is_set())):
                stopping = True
                with contextlib.suppress(CloudError):  # it may just have ended
                    self._aws.sagemaker("stop_transform_job", **name)
            if progress is not None:
                progress(self.count_answered(job))
            if stopping or stopped is None:
                self._aws.pause()
            else:
                stopped.wait(self.cloud.poll)
        ended = _parse_times(description)
        self.instance_seconds += ended.seconds * self.deployment.count
        if description["TransformJobStatus"] == "Failed":
            raise CloudError(
                f"The transform job {self._job(job)} failed: {description.get('FailureReason')}",
                "Failed",
            )
        if stopping and not ended.complete and not (stopped is not None and stopped.is_set()):
            raise OverBudget(
                f"The transform job was stopped when the budget of {dollars(self._budget or 0)} "
                "was spent: raise it, or transform less."
            )
        return ended

    def _price(self, running: float) -> float:
        """Return what was spent, with a job that runs for so many seconds; 0 where it is free."""
        if not self.cloud.paid:
            return 0.0
        done = self.instance_seconds / self.deployment.count
        return (done + running) * hourly_cost(self.deployment) / 3600

    def _job(self, job: str) -> str:
        return f"{self._entry.name}-{job}"

    def _folder(self, job: str) -> str:
        return f"{self._entry.folder}/{job}"


@contextlib.contextmanager
def prepare_jobs(
    model: Model,
    deployment: Deployment,
    cloud: Cloud,
    *,
    budget: float | None = None,
    yes: bool = False,
    expected: float = 3600.0,
    ledger: Ledger | None = None,
    notify: Callable[[str], object] | None = None,
    stopped: threading.Event | None = None,
) -> Iterator[TransformJobs]:
    """Make a model ready for jobs; stop them and remove everything when the block ends.

    Arguments and errors are those of `workbench.cloud.deploy.deploy`. `expected` are the seconds
    that all jobs together take, and a job that reaches the budget is stopped.
    """
    if not isinstance(deployment, BatchTransform):
        raise InvalidInput(f"deployment must be a BatchTransform, got {deployment!r}.")
    role, image = role_of(cloud), image_of(cloud)
    cost = estimate_max_cost(deployment, positive("expected", expected, "seconds"))
    confirm_cost(cost, deployment, cloud, budget=budget, yes=yes, notify=notify)
    BatchTransformAdapter().check_quota(deployment, cloud)
    ledger = ledger or Ledger()
    with CloudClient(cloud) as aws:
        entry = open_entry(aws, model, deployment, ledger, kind=BatchTransformAdapter.ledger_kind)
        with ensure_teardown([entry], ledger):
            with CloudClient(cloud, stopped) as until_ready:
                upload(until_ready, entry, model)
                create_model(until_ready, entry, {}, role=role, image=image)
            yield TransformJobs(model, deployment, cloud, _aws=aws, _entry=entry, _budget=budget)


def _parse_times(description: dict[str, Any]) -> FinishedJob:
    created, ended = description["CreationTime"], description["TransformEndTime"]
    started = description.get("TransformStartTime", ended)
    return FinishedJob(
        started=(started - created).total_seconds(),
        ended=(ended - created).total_seconds(),
        complete=description["TransformJobStatus"] == "Completed",
    )


def _name(part: int) -> str:
    return f"part-{part:08d}.npy"
