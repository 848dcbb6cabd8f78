"""The inference types: where a model can run, each type with only its own knobs.

A deployment is a value: frozen, its limits checked when it is built, its dictionary fit for JSON::

    Serverless(memory_mb=2048, max_concurrency=20).to_dict()

Limits are AWS's, from botocore 1.44.5's service models and the SageMaker and Lambda developer
guides. How long a cold start takes is no knob: it is measured, and belongs to a profile.
"""

import csv
import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar

from workbench.errors import InvalidInput, NotFound
from workbench.validation import not_negative, positive, whole_number

KEEP_ALIVE = 600.0
"""Seconds an idle instance is kept by default. Inferred: AWS does not publish it."""

MB_PER_VCPU = 1769
"""Memory at which a Lambda function has one full vCPU (Lambda developer guide)."""

_NEEDS_CLOUD = "Running it takes a cloud: LocalCloud on this machine, or AWS."
_MB = 1024**2
MAX_THREADS = 1024
"""The most workers, and threads of each, on this machine: more hardly start."""


@dataclass(frozen=True, kw_only=True)
class Deployment(ABC):
    """Base of the inference types, and what they have in common.

    `kind` names the type, `needs` says what running it takes ("" for nothing), `payload_limit` is
    the largest request in bytes and `time_limit` the longest answer in seconds (None: no limit).
    """

    kind: ClassVar[str]
    needs: ClassVar[str] = _NEEDS_CLOUD
    payload_limit: ClassVar[int | None] = None
    time_limit: ClassVar[float | None] = None
    vcpus_source: ClassVar[str] = "not published"

    @property
    @abstractmethod
    def label(self) -> str:
        """The deployment in a few words, for charts and tables."""

    @property
    def vcpus(self) -> float | None:
        """The vCPUs of one instance, None where not to be told; `vcpus_source` says whence."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return kind and knobs as JSON values.

        >>> Local(workers=2).to_dict()
        {'kind': 'local', 'workers': 2, 'threads': 1, 'hourly_price': 0.0}
        """
        return {
            "kind": self.kind,
            **{field.name: getattr(self, field.name) for field in fields(self)},
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Deployment":
        """Return the deployment that `to_dict` described.

        Raises:
            InvalidInput: The kind or a knob is unknown, or a knob is missing or out of its limits.

        >>> Deployment.from_dict({"kind": "local", "workers": 2})
        Local(workers=2, threads=1, hourly_price=0.0)
        """
        kind = data.get("kind")
        if not isinstance(kind, str) or kind not in KINDS:
            raise InvalidInput(f"kind must be one of {', '.join(KINDS)}; got {kind!r}.")
        given = {name: value for name, value in data.items() if name != "kind"}
        settings = {field.name: field.default is MISSING for field in fields(KINDS[kind])}
        wrong = [f"no {name}" for name in given if name not in settings]
        wrong += [
            f"to have {name}" for name, must in settings.items() if must and name not in given
        ]
        if wrong:
            raise InvalidInput(
                f"A {kind} deployment has {', '.join(wrong)}; its knobs are {', '.join(settings)}."
            )
        return KINDS[kind](**given)


@dataclass(frozen=True, kw_only=True)
class Local(Deployment):
    """A process of this machine: `workers` sessions on one queue, each of `threads` threads.

    `hourly_price` is what the machine costs in US dollars an hour, by your own account.

    Raises:
        InvalidInput: A count is not from 1 to 1024, or the price negative or not finite.

    >>> Local(workers=2, threads=4).label
    'local, 2 workers x 4 threads'
    """

    kind: ClassVar[str] = "local"
    needs: ClassVar[str] = ""

    workers: int = 1
    threads: int = 1
    hourly_price: float = 0.0

    def __post_init__(self) -> None:
        _check_whole(self, "workers", low=1, high=MAX_THREADS)
        _check_whole(self, "threads", low=1, high=MAX_THREADS)
        _check_number(self, "hourly_price", "US dollars")

    @property
    def label(self) -> str:
        """The deployment in a few words, for charts and tables."""
        workers = f"{self.workers} worker{'s' * (self.workers > 1)}"
        return f"local, {workers}" + (f" x {self.threads} threads" if self.threads > 1 else "")


@dataclass(frozen=True, kw_only=True)
class _InstanceDeployment(Deployment):
    """What the types that run on instances have in common."""

    vcpus_source: ClassVar[str] = "inferred: the EC2 type of the same name (data/instances.csv)"

    instance_type: str
    count: int = 1

    @property
    def label(self) -> str:
        """The deployment in a few words, for charts and tables."""
        return f"{self.kind} {self.count} x {self.instance_type}"

    @property
    def vcpus(self) -> float:
        """The vCPUs of one instance.

        Raises:
            NotFound: The type is not in the table.
        """
        return instance_vcpus(self.instance_type)


@dataclass(frozen=True, kw_only=True)
class RealTime(_InstanceDeployment):
    """A SageMaker real-time endpoint: `count` instances of `workers` each.

    `routing` says which instance gets a request: "least_outstanding" (fewest in flight, AWS's
    LEAST_OUTSTANDING_REQUESTS), "random", or "shared", one queue for all, which AWS does not offer.

    Raises:
        InvalidInput: A count is below 1, or instance type or routing are not of the known form.

    >>> RealTime(instance_type="ml.m5.large", count=2).label
    'real-time 2 x ml.m5.large'
    """

    kind: ClassVar[str] = "real-time"
    payload_limit: ClassVar[int] = 6 * _MB  # InvokeEndpoint: Body of at most 6,291,456 bytes
    time_limit: ClassVar[float] = 60.0  # InvokeEndpoint: a container must answer within 60 s

    workers: int = 1
    routing: str = "least_outstanding"

    def __post_init__(self) -> None:
        _check_instance_type(self.instance_type)
        _check_whole(self, "count", low=1)
        _check_whole(self, "workers", low=1)
        _check_choice(self, "routing", ("least_outstanding", "random", "shared"))


@dataclass(frozen=True, kw_only=True)
class Serverless(Deployment):
    """A SageMaker serverless endpoint: an instance per call in flight, none when idle.

    `max_concurrency` bounds the calls in flight, of which `provisioned` instances are kept warm.
    Past it `on_limit="reject"` fails a call as throttled, as AWS does, and "queue" has it wait at
    the client. `keep_alive`, the seconds an idle instance is kept, is inferred: AWS does not
    publish it.

    Raises:
        InvalidInput: A knob is out of its limits.

    >>> Serverless(memory_mb=2048, max_concurrency=20).label
    'serverless 2048 MB'
    """

    kind: ClassVar[str] = "serverless"
    payload_limit: ClassVar[int] = 4 * _MB  # developer guide, serverless-endpoints-invoke
    time_limit: ClassVar[float] = 60.0  # developer guide, serverless-endpoints
    vcpus_source: ClassVar[str] = "inferred: grows with memory as Lambda's, 1 vCPU at 1769 MB"

    memory_mb: int
    max_concurrency: int
    provisioned: int = 0
    keep_alive: float = KEEP_ALIVE
    on_limit: str = "reject"

    def __post_init__(self) -> None:
        _check_choice(self, "memory_mb", tuple(range(1024, 6145, 1024)))
        # ProductionVariantServerlessConfig: both 1..200, provisioned the smaller
        _check_whole(self, "max_concurrency", low=1, high=200)
        _check_on_demand(self)

    @property
    def label(self) -> str:
        """The deployment in a few words, for charts and tables."""
        return f"serverless {self.memory_mb} MB" + _provisioned_label(self)

    @property
    def vcpus(self) -> float:
        """The vCPUs of one instance, inferred from its memory."""
        return self.memory_mb / MB_PER_VCPU


@dataclass(frozen=True, kw_only=True)
class Async(_InstanceDeployment):
    """A SageMaker asynchronous endpoint: instances behind a durable queue; `count` may be 0.

    `concurrency` is how many calls SageMaker sends to one instance at once (None: SageMaker
    chooses). A call waits in the queue for at most `ttl` seconds and is answered within `timeout`.

    Raises:
        InvalidInput: A knob is out of its limits.

    >>> Async(instance_type="ml.m5.large", count=0).label
    'async 0 x ml.m5.large'
    """

    kind: ClassVar[str] = "async"
    payload_limit: ClassVar[int] = 1024 * _MB  # an S3 object; developer guide, async-inference
    inline_limit: ClassVar[int] = 128_000  # InvokeEndpointAsync: Body instead of InputLocation
    time_limit: ClassVar[float] = 3600.0  # InvocationTimeoutSeconds at most

    workers: int = 1
    concurrency: int | None = None
    ttl: int = 21_600
    timeout: int = 900

    def __post_init__(self) -> None:
        _check_instance_type(self.instance_type)
        _check_whole(self, "count", low=0)
        _check_whole(self, "workers", low=1)
        if self.concurrency is not None:
            _check_whole(self, "concurrency", low=1, high=1000)
        _check_whole(self, "ttl", low=60, high=21_600)
        _check_whole(self, "timeout", low=1, high=3600)


@dataclass(frozen=True, kw_only=True)
class BatchTransform(_InstanceDeployment):
    """SageMaker batch transform jobs: instances that live as long as a job.

    Requests of each `period` seconds form one job that starts when the period ends; None is one
    job at the end of the trace.

    Raises:
        InvalidInput: A knob is out of its limits.

    >>> BatchTransform(instance_type="ml.m5.large", period=3600).label
    'batch transform 1 x ml.m5.large'
    """

    kind: ClassVar[str] = "batch transform"
    payload_limit: ClassVar[int] = 100 * _MB  # CreateTransformJob: MaxPayloadInMB at most
    time_limit: ClassVar[float] = 3600.0  # InvocationsTimeoutInSeconds at most, of one request

    period: float | None = None

    def __post_init__(self) -> None:
        _check_instance_type(self.instance_type)
        _check_whole(self, "count", low=1)
        if self.period is not None:
            object.__setattr__(self, "period", positive("period", self.period, "seconds"))


@dataclass(frozen=True, kw_only=True)
class Lambda(Deployment):
    """An AWS Lambda function: as `Serverless`, with Lambda's limits and rate of scaling.

    `timeout` is the longest a call may take. `keep_alive` is inferred: AWS does not publish it.

    Raises:
        InvalidInput: A knob is out of its limits.

    >>> Lambda(memory_mb=1769, max_concurrency=100, architecture="arm64").label
    'lambda 1769 MB arm64'
    """

    kind: ClassVar[str] = "lambda"
    payload_limit: ClassVar[int] = 6 * _MB  # Invoke: 6 MB synchronously
    time_limit: ClassVar[float] = 900.0  # developer guide, gettingstarted-limits
    scaling_step: ClassVar[int] = 1000  # new instances of a function within `scaling_period`,
    scaling_period: ClassVar[float] = 10.0  # seconds; developer guide, scaling-behavior
    vcpus_source: ClassVar[str] = "verified: 1 vCPU at 1769 MB (Lambda developer guide)"

    memory_mb: int
    max_concurrency: int
    provisioned: int = 0
    architecture: str = "x86_64"
    timeout: int = 900
    keep_alive: float = KEEP_ALIVE
    on_limit: str = "reject"

    def __post_init__(self) -> None:
        # boto3 lets 32768 MB and 5400 s pass, which only Lambda Managed Instances have
        _check_whole(self, "memory_mb", low=128, high=10_240)
        _check_whole(self, "timeout", low=1, high=900)
        _check_whole(self, "max_concurrency", low=1)
        _check_choice(self, "architecture", ("x86_64", "arm64"))
        _check_on_demand(self)

    @property
    def label(self) -> str:
        """The deployment in a few words, for charts and tables."""
        arm = " arm64" if self.architecture == "arm64" else ""
        return f"lambda {self.memory_mb} MB{arm}" + _provisioned_label(self)

    @property
    def vcpus(self) -> float:
        """The vCPUs of one instance: the share of CPU time that its memory buys."""
        return self.memory_mb / MB_PER_VCPU


KINDS: dict[str, type[Deployment]] = {
    each.kind: each for each in (Local, RealTime, Serverless, Async, BatchTransform, Lambda)
}
"""The inference types by kind."""


def instance_vcpus(instance_type: str) -> float:
    """Return the vCPUs of an instance type, from data/instances.csv.

    Raises:
        InvalidInput: It does not look like one.
        NotFound: The type is not in the table.

    >>> instance_vcpus("ml.m5.xlarge")
    4.0
    """
    _check_instance_type(instance_type)
    table = _instances()
    if instance_type not in table:
        near = difflib.get_close_matches(instance_type, table, n=3) or sorted(table)
        raise NotFound(
            f"The vCPUs of {instance_type!r} are not known: use one of {', '.join(near)}, "
            "or measure a profile on it."
        )
    return table[instance_type]


@cache
def _instances() -> dict[str, float]:
    text = files("workbench.data").joinpath("instances.csv").read_text(encoding="utf-8")
    return {row["instance_type"]: float(row["vcpus"]) for row in csv.DictReader(text.splitlines())}


def _provisioned_label(deployment: Serverless | Lambda) -> str:
    return f", {deployment.provisioned} provisioned" if deployment.provisioned else ""


def _check_on_demand(deployment: Serverless | Lambda) -> None:
    _check_whole(deployment, "provisioned", low=0)
    if deployment.provisioned > deployment.max_concurrency:
        raise InvalidInput(
            f"provisioned must be at most max_concurrency ({deployment.max_concurrency}), "
            f"got {deployment.provisioned}: lower it or raise max_concurrency."
        )
    _check_number(deployment, "keep_alive", "seconds")
    _check_choice(deployment, "on_limit", ("reject", "queue"))


def _check_whole(
    deployment: Deployment, setting: str, *, low: int, high: int | None = None
) -> None:
    """Require a whole number within bounds, and keep it as an int: NumPy's do not go into JSON."""
    number = whole_number(setting, getattr(deployment, setting), low=low, high=high)
    object.__setattr__(deployment, setting, number)


def _check_number(deployment: Deployment, setting: str, unit: str) -> None:
    """Require a finite number of 0 or more, and keep it as a float."""
    object.__setattr__(
        deployment, setting, not_negative(setting, getattr(deployment, setting), unit)
    )


def _check_choice(deployment: Deployment, setting: str, choices: tuple[object, ...]) -> None:
    value = getattr(deployment, setting)
    if value not in choices or isinstance(value, bool):
        raise InvalidInput(
            f"{setting} must be one of {', '.join(map(str, choices))}; got {value!r}."
        )
    object.__setattr__(deployment, setting, choices[choices.index(value)])


def _check_instance_type(instance_type: object) -> None:
    if not (
        isinstance(instance_type, str)
        and re.fullmatch(r"ml\.[a-z0-9-]+\.[a-z0-9-]+", instance_type)
    ):
        raise InvalidInput(f"instance_type must look like 'ml.m5.large', got {instance_type!r}.")
