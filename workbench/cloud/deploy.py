"""A model on an endpoint for as long as a `with` block lasts, and never longer.

What is about to be made is written into the ledger first. Everything of one deployment has one
name and one tag, so that it can be ended by whoever reads the ledger: this block, or `teardown`
after a crash. Models, endpoint configurations and endpoints go by SageMaker's calls of these names.
"""

import contextlib
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workbench.backends.asynchronous import AsyncBackend, Mailbox
from workbench.backends.base import Backend
from workbench.backends.lambda_ import LambdaBackend
from workbench.backends.sagemaker import SageMakerBackend
from workbench.cloud import lambda_
from workbench.cloud.autoscaling import (
    VARIANT,
    Fleet,
    activities,
    at_its_largest,
    check_scaling,
    deregister,
    dimension,
    register,
)
from workbench.cloud.aws import IMAGE, ROLE, Cloud
from workbench.cloud.client import Calls, gone_is_fine, is_gone
from workbench.cloud.cost_guard import agree, at_most, check_quota, hourly
from workbench.cloud.ledger import Entry, Ledger
from workbench.cloud.packaging import archive
from workbench.cloud.sns import subscribed, unsubscribe
from workbench.deployment import Async, Deployment, Lambda, RealTime, Serverless
from workbench.errors import CloudError, InvalidInput, NotAvailable, Unreachable, WorkbenchError
from workbench.registry.model import Model
from workbench.scaling import ScalingPolicy, StepScaling, TargetTracking

_ROUTING = {"least_outstanding": "LEAST_OUTSTANDING_REQUESTS", "random": "RANDOM"}
_PATIENCE = 3600.0  # AWS itself gives up on an endpoint after about an hour
_SPARE = 16  # calls beyond the limit of a serverless endpoint, so that it is the one to reject
_IN_FLIGHT = 64
_UNANSWERED = 256  # asynchronous requests, which wait at the cloud
_ASYNCHRONOUS = "asynchronous"
_ON_ITS_WAY = ("Creating", "Updating", "SystemUpdating", "RollingBack")
_LEFT = "Not all could be torn down; the ledger keeps it. Try again: workbench teardown."


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A model that answers on an endpoint, or as a function.

    Attributes:
        name: The endpoint's, or the function's.
        model: What answers there.
        deployment: How it was deployed.
        cloud: Where it is.
        launched: When its creation was asked for, by `time.perf_counter`.
        seconds: From then until it was in service.
        mailbox: Where the answers of an asynchronous endpoint arrive.
        scaling: The policy that its size follows, if any.
        fleet: Counts its instances, where it is scaled.
    """

    name: str
    model: Model
    deployment: Deployment
    cloud: Cloud
    launched: float
    seconds: float
    mailbox: Mailbox | None = None
    scaling: ScalingPolicy | None = None
    fleet: Fleet | None = None

    @property
    def concurrency(self) -> int:
        """How many calls a client should have in flight: so many that it is never what limits."""
        if isinstance(self.deployment, Serverless | Lambda):
            waits = self.deployment.on_limit == "queue"
            return self.deployment.max_concurrency + (0 if waits else _SPARE)
        return _IN_FLIGHT if self.mailbox is None else _UNANSWERED

    def facts(self) -> dict[str, Any]:
        """Return what a run there keeps about it, as JSON values."""
        return {**self.cloud.facts(), "endpoint": self.name, "deploy_seconds": self.seconds}

    def scaled(self) -> list[dict[str, Any]]:
        """Return what Application Auto Scaling has done so far, oldest first, as JSON values.

        Raises:
            CloudError: The cloud does not tell.
        """
        with Calls(self.cloud) as aws:
            return activities(aws, self.name, dimension(self.deployment))

    def backend(self, *, concurrency: int | None = None) -> Backend:
        """Return it as a backend that another process can use."""
        cloud, most = self.cloud.value(), concurrency or self.concurrency
        if self.mailbox is not None and isinstance(self.deployment, Async):
            return AsyncBackend(self.name, cloud, self.mailbox, self.deployment, concurrency=most)
        kind = LambdaBackend if isinstance(self.deployment, Lambda) else SageMakerBackend
        return kind(self.name, cloud, concurrency=most)


@contextlib.contextmanager
def deploy(
    model: Model,
    deployment: Deployment,
    cloud: Cloud,
    *,
    scaling: ScalingPolicy | None = None,
    budget: float | None = None,
    yes: bool = False,
    expected: float = 3600.0,
    calls: int | None = None,
    bytes_in: float = 0.0,
    libraries: str | Path | None = None,
    ledger: Ledger | None = None,
    tell: Callable[[str], object] | None = None,
    stopped: threading.Event | None = None,
) -> Iterator[Deployed]:
    """Deploy a model, and tear it down when the block ends, however it ends.

    Args:
        model: What to deploy.
        deployment: A `RealTime`, `Serverless`, `Async` or `Lambda` deployment. An asynchronous
            endpoint of 0 instances answers nothing until something scales it out.
        cloud: Where to.
        scaling: A `TargetTracking` or `StepScaling` that Application Auto Scaling is to follow:
            instances of a `RealTime` or `Async` endpoint, the latter's down to 0, or a `Serverless`
            one's provisioned concurrency. The estimate counts `most` of them.
        budget: The most that it may cost, in US dollars, `expected` and `calls` being so.
        yes: Whether it may cost money without asking.
        expected: Seconds for which it will be up, for the estimate.
        calls: How many calls it will get, for the estimate.
        bytes_in: What they send, all together, for the estimate.
        libraries: A folder with NumPy, ONNX Runtime and orjson for this Python: a function is then
            made from a zip, else from the cloud's image.
        ledger: Where it is written down, by default the one of the workbench's home.
        tell: Told what it may cost, by default on the error stream.
        stopped: Ends the deploying when it is set before all is in service.

    Raises:
        Stopped: `stopped` was set meanwhile.
        InvalidInput: The deployment is of a type that has no endpoint, or that AWS does not have,
            or cannot be scaled so.
        NotAvailable: Nobody agreed to the cost, or credentials, a role or an image are missing.
        OverBudget: It may cost more than the budget.
        CloudError: The cloud refused, the endpoint failed, or not all could be torn down: the
            ledger says what is left.
    """
    function = isinstance(deployment, Lambda)
    if not function:
        _variant(deployment)  # refuses what cannot be deployed
    if scaling is not None:
        check_scaling(deployment, scaling, cloud)
    largest = at_its_largest(deployment, scaling)
    zipped = function and libraries is not None
    role, image = role_of(cloud), "" if zipped else image_of(cloud)
    cost = at_most(largest, expected, calls=calls, bytes_in=bytes_in)
    agree(cost, largest, cloud, budget=budget, yes=yes, tell=tell)
    check_quota(largest, cloud)
    ledger = ledger or Ledger()
    with Calls(cloud, stopped) as aws:
        kind = "function" if function else "endpoint"
        if isinstance(deployment, Async):
            kind = _ASYNCHRONOUS
        scales = dimension(deployment) if scaling is not None else ""
        entry = begun(aws, model, largest, ledger, kind=kind, scales=scales)
        with torn_down(entry, ledger):
            up = _up(aws, entry, model, deployment, role=role, image=image, libraries=libraries)
            if isinstance(scaling, TargetTracking | StepScaling):
                with _followed(aws, entry, up, scaling) as followed:
                    yield followed
            else:
                yield up


@contextlib.contextmanager
def _followed(
    aws: Calls, entry: Entry, up: Deployed, policy: TargetTracking | StepScaling
) -> Iterator[Deployed]:
    """Have an endpoint follow a policy, and count its instances inside the block."""
    deployment = up.deployment
    count = max(1, deployment.count) if isinstance(deployment, RealTime | Async) else 0
    if isinstance(deployment, Serverless):
        count = deployment.provisioned
    with Fleet(aws.cloud.value(), up.name, count=count, launched=up.launched) as fleet:
        register(aws, entry, deployment, policy)
        yield replace(up, scaling=policy, fleet=fleet)


def teardown(ledger: Ledger | None = None, *, names: tuple[str, ...] = ()) -> list[Entry]:
    """End all that the ledger names (or the deployments of these names) and return their entries.

    Raises:
        CloudError: Some of it could not be ended, and is still in the ledger.
    """
    ledger = ledger or Ledger()
    ended, problems = [], []
    for entry in ledger.entries():
        if names and entry.name not in names:
            continue
        try:
            _end(entry, ledger)
            ended.append(entry)
        except WorkbenchError as error:
            problems.append(f"{entry.label}: {error}")
    if problems:
        raise CloudError(f"{_LEFT} {' '.join(problems)}")
    return ended


def begun(
    aws: Calls,
    model: Model,
    deployment: Deployment,
    ledger: Ledger,
    *,
    kind: str = "endpoint",
    scales: str = "",
) -> Entry:
    """Return the entry of what is about to be made, which the ledger has."""
    entry = Entry(
        name=f"workbench-{model.group[:36]}-{secrets.token_hex(4)}",
        bucket=aws.bucket(),
        what=deployment.label,
        hourly=hourly(deployment),
        cloud=aws.cloud.value(),
        kind=kind,
        scales=scales,
    )
    ledger.write(entry)
    return entry


@contextlib.contextmanager
def torn_down(entry: Entry, ledger: Ledger) -> Iterator[None]:
    """Tear the entry down when the block ends; what ended the block is what is raised."""
    try:
        yield
    except BaseException as error:
        try:
            _end(entry, ledger)
        except (WorkbenchError, KeyboardInterrupt) as problem:
            left = f"{_LEFT} {entry.label}: {problem or 'interrupted'}"
            error.add_note(left)
            sys.stderr.write(f"{left}\n")
        raise
    try:
        _end(entry, ledger)
    except WorkbenchError as problem:
        raise CloudError(f"{_LEFT} {entry.label}: {problem}") from problem


def _up(
    aws: Calls,
    entry: Entry,
    model: Model,
    deployment: Deployment,
    *,
    role: str,
    image: str,
    libraries: str | Path | None,
) -> Deployed:
    """Make everything and wait until it is in service."""
    name = entry.name
    if libraries is None or not isinstance(deployment, Lambda):
        upload(aws, entry, model)
    told, mailbox = {}, None
    if isinstance(deployment, Async):
        topic, queue = subscribed(entry)
        told = {"AsyncInferenceConfig": _asynchronous(entry, deployment, topic)}
        mailbox = Mailbox(queue=queue, bucket=entry.bucket, folder=entry.folder)
    launched = time.perf_counter()
    if isinstance(deployment, Lambda):
        code = lambda_.image(entry, image)
        if libraries is not None:
            code = lambda_.package(aws, entry, model, libraries)
        name = lambda_.create(aws, entry, deployment, code, role=role)
    else:
        _create(aws, entry, deployment, told, role=role, image=image)
        _await_service(aws, entry)
    if isinstance(deployment, Async) and deployment.count == 0:
        _scale_to_zero(aws, entry)
    return Deployed(
        name=name,
        model=model,
        deployment=deployment,
        cloud=aws.cloud,
        launched=launched,
        seconds=time.perf_counter() - launched,
        mailbox=mailbox,
    )


def _variant(deployment: Deployment) -> dict[str, Any]:
    """Return what a production variant says of the deployment."""
    match deployment:
        case RealTime(routing="shared"):
            raise InvalidInput(
                "AWS offers no shared queue: take routing='least_outstanding' or 'random'."
            )
        case RealTime():
            return {
                "InstanceType": deployment.instance_type,
                "InitialInstanceCount": deployment.count,
                "RoutingConfig": {"RoutingStrategy": _ROUTING[deployment.routing]},
            }
        case Serverless():
            kept = {"ProvisionedConcurrency": deployment.provisioned}
            return {
                "ServerlessConfig": {
                    "MemorySizeInMB": deployment.memory_mb,
                    "MaxConcurrency": deployment.max_concurrency,
                    **(kept if deployment.provisioned else {}),
                }
            }
        case Async():
            return {
                "InstanceType": deployment.instance_type,
                "InitialInstanceCount": max(1, deployment.count),  # AWS starts with no less
            }
    raise InvalidInput(
        f"A {deployment.kind} deployment cannot be deployed: RealTime, Serverless, Async and "
        "Lambda can."
    )


def _asynchronous(entry: Entry, deployment: Async, topic: str) -> dict[str, Any]:
    """Return what an endpoint configuration says of results, and of requests at once."""
    where = f"s3://{entry.bucket}/{entry.folder}"
    most = deployment.concurrency
    return {
        "OutputConfig": {
            "S3OutputPath": f"{where}/out",
            "S3FailurePath": f"{where}/failed",
            "NotificationConfig": {"SuccessTopic": topic, "ErrorTopic": topic},
        },
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": most} if most else {},
    }


def image_of(cloud: Cloud) -> str:
    """Return the URI of the image with the model server.

    Raises:
        NotAvailable: It is not known.
    """
    if cloud.image is None:
        raise NotAvailable(
            f"{cloud.name} needs the URI of an image with the model server: "
            f"workbench.aws(image=...) or ${IMAGE}."
        )
    return cloud.image


def role_of(cloud: Cloud) -> str:
    """Return the ARN of the role that endpoints run under.

    Raises:
        NotAvailable: It is not known.
    """
    if cloud.role is None:
        raise NotAvailable(
            f"{cloud.name} needs the ARN of a role that SageMaker may take: "
            f"workbench.aws(role=...) or ${ROLE}."
        )
    return cloud.role


def upload(aws: Calls, entry: Entry, model: Model) -> None:
    """Put the model's archive into the bucket, in one piece."""
    with tempfile.TemporaryDirectory() as folder:
        path = archive(model, Path(folder) / "model.tar.gz")
        with path.open("rb") as file:
            aws.s3(
                "put_object",
                Bucket=entry.bucket,
                Key=entry.key,
                Body=file,
                Tagging=f"workbench={entry.id}",
            )


def _create(
    aws: Calls,
    entry: Entry,
    deployment: Deployment,
    told: Mapping[str, Any],
    *,
    role: str,
    image: str,
) -> None:
    """Create model, endpoint configuration and endpoint, in this order."""
    name, tags = entry.name, entry.tags
    create_model(aws, entry, _environment(deployment), role=role, image=image)
    variant = {"VariantName": VARIANT, "ModelName": name, **_variant(deployment)}
    for operation, parameters in (
        (
            "create_endpoint_config",
            {"EndpointConfigName": name, "ProductionVariants": [variant], **told},
        ),
        ("create_endpoint", {"EndpointName": name, "EndpointConfigName": name}),
    ):
        with _there_is_fine():
            aws.sagemaker(operation, **parameters, Tags=tags)


def create_model(
    aws: Calls, entry: Entry, environment: Mapping[str, str], *, role: str, image: str
) -> None:
    """Create the model of an entry, whose archive is in the bucket."""
    container = {
        "Image": image,
        "ModelDataUrl": f"s3://{entry.bucket}/{entry.key}",
        "Environment": dict(environment),
    }
    with _there_is_fine():
        aws.sagemaker(
            "create_model",
            ModelName=entry.name,
            PrimaryContainer=container,
            ExecutionRoleArn=role,
            Tags=entry.tags,
        )


@contextlib.contextmanager
def _there_is_fine() -> Iterator[None]:
    """End the block at the news that something exists: names are new, so a retry came late."""
    try:
        yield
    except CloudError as error:
        if "already exist" not in str(error).lower():
            raise


def _await_service(aws: Calls, entry: Entry) -> None:
    deadline = time.monotonic() + _PATIENCE
    while (status := _status(aws, entry)) in _ON_ITS_WAY:
        _pause(aws, entry, deadline)
    if status != "InService":
        told = aws.sagemaker("describe_endpoint", EndpointName=entry.name)
        reason = told.get("FailureReason", "no reason was given")
        raise CloudError(f"The endpoint {entry.name} is {status}: {reason}", status)


def _scale_to_zero(aws: Calls, entry: Entry) -> None:
    """End the instance that an endpoint had to begin with."""
    aws.sagemaker(
        "update_endpoint_weights_and_capacities",
        EndpointName=entry.name,
        DesiredWeightsAndCapacities=[{"VariantName": VARIANT, "DesiredInstanceCount": 0}],
    )
    _await_service(aws, entry)


def _status(aws: Calls, entry: Entry) -> str:
    return str(aws.sagemaker("describe_endpoint", EndpointName=entry.name)["EndpointStatus"])


def _pause(aws: Calls, entry: Entry, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise CloudError(f"{entry.name} is on its way for over an hour.", "Timeout")
    aws.pause()


def _end(entry: Entry, ledger: Ledger) -> None:
    """Delete all of an entry that there is, and strike it out."""
    try:
        with Calls(entry.cloud) as aws:
            if entry.scales:
                deregister(aws, entry)
            if entry.kind == "function":
                lambda_.delete(aws, entry)
            elif entry.kind == "transform jobs":
                _end_jobs(aws, entry)
            else:
                _delete_endpoint(aws, entry)
            with gone_is_fine():
                aws.s3("delete_object", Bucket=entry.bucket, Key=entry.key)
            if entry.kind == _ASYNCHRONOUS:
                unsubscribe(entry)
                _delete_objects(aws, entry)
    except Unreachable:
        if entry.cloud.paid:
            raise  # else it ended with the cloud that it was on
    ledger.strike(entry)


def _end_jobs(aws: Calls, entry: Entry) -> None:
    """Stop the jobs that run, wait until they have ended, and delete what they read and wrote."""
    deadline = time.monotonic() + _PATIENCE
    for status in ("InProgress", "Stopping"):
        while jobs := _jobs(aws, entry, status):
            for job in jobs if status == "InProgress" else []:
                with contextlib.suppress(CloudError):  # it has ended by itself
                    aws.sagemaker("stop_transform_job", TransformJobName=job)
            _pause(aws, entry, deadline)
    _delete_objects(aws, entry)
    with gone_is_fine():
        aws.sagemaker("delete_model", ModelName=entry.name)


def _delete_objects(aws: Calls, entry: Entry) -> None:
    """Delete what was read and written."""
    with gone_is_fine():
        while found := _objects(aws, entry):
            told = aws.s3("delete_objects", Bucket=entry.bucket, Delete={"Objects": found})
            for problem in told.get("Errors", []):
                raise CloudError(f"{problem['Key']} was not deleted: {problem['Code']}.")


def _jobs(aws: Calls, entry: Entry, status: str) -> list[str]:
    listed = aws.sagemaker("list_transform_jobs", NameContains=entry.name, StatusEquals=status)
    return [each["TransformJobName"] for each in listed["TransformJobSummaries"]]


def _objects(aws: Calls, entry: Entry) -> list[dict[str, str]]:
    page = aws.s3("list_objects_v2", Bucket=entry.bucket, Prefix=f"{entry.folder}/")
    return [{"Key": each["Key"]} for each in page.get("Contents", [])]


def _delete_endpoint(aws: Calls, entry: Entry) -> None:
    """Delete the endpoint, its configuration and its model."""
    _end_endpoint(aws, entry)  # first: without its model, one being created gets stuck
    for operation, names in (
        ("delete_endpoint_config", {"EndpointConfigName": entry.name}),
        ("delete_model", {"ModelName": entry.name}),
    ):
        with gone_is_fine():
            aws.sagemaker(operation, **names)


def _end_endpoint(aws: Calls, entry: Entry) -> None:
    """Delete the endpoint and wait until it is gone."""
    deadline = time.monotonic() + _PATIENCE
    with gone_is_fine():
        while not _deleted(aws, entry):
            _pause(aws, entry, deadline)
        while _status(aws, entry) == "Deleting":
            _pause(aws, entry, deadline)
        raise CloudError(f"The endpoint {entry.name} was deleted, but is still there.")


def _deleted(aws: Calls, entry: Entry) -> bool:
    """Whether the endpoint let itself be deleted: AWS refuses while it is being created."""
    on_its_way = _status(aws, entry) in _ON_ITS_WAY
    try:
        aws.sagemaker("delete_endpoint", EndpointName=entry.name)
    except CloudError as error:
        if is_gone(error) or not on_its_way:
            raise
        return False
    return True


def _environment(deployment: Deployment) -> dict[str, str]:
    """Return how the model server is set."""
    workers = deployment.workers if isinstance(deployment, RealTime | Async) else 1
    environment = {"SAGEMAKER_MODEL_SERVER_WORKERS": str(workers)}
    if isinstance(deployment, Async):
        environment["WORKBENCH_MAX_PAYLOAD_MB"] = str(deployment.payload_limit // 2**20)
    return environment
