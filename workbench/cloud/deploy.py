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
    InstanceCounter,
    check_scaling,
    deregister,
    dimension,
    expand_to_max,
    list_activities,
    register,
)
from workbench.cloud.aws import IMAGE, ROLE, Cloud
from workbench.cloud.client import CloudClient, ignore_missing, is_missing
from workbench.cloud.cost_guard import check_quota, confirm_cost, estimate_max_cost, hourly_cost
from workbench.cloud.ledger import Ledger, LedgerEntry
from workbench.cloud.packaging import archive
from workbench.cloud.sns import subscribe, unsubscribe
from workbench.deployment import Async, Deployment, Lambda, RealTime, Serverless
from workbench.errors import CloudError, InvalidInput, NotAvailable, Unreachable, WorkbenchError
from workbench.registry.model import Model
from workbench.scaling import ScalingPolicy, StepScaling, TargetTracking

_ROUTING = {"least_outstanding": "LEAST_OUTSTANDING_REQUESTS", "random": "RANDOM"}
_STATUS_TIMEOUT = 3600.0  # AWS itself gives up on an endpoint after about an hour
_EXTRA_CALLS = (
    16  # calls beyond the limit of a serverless endpoint, so that it is the one to reject
)
_MAX_IN_FLIGHT = 64
_MAX_UNANSWERED = 256  # asynchronous requests, which wait at the cloud
_ASYNCHRONOUS = "asynchronous"
_TRANSITIONAL_STATUSES = ("Creating", "Updating", "SystemUpdating", "RollingBack")
_TEARDOWN_FAILED = "Not all could be torn down; the ledger keeps it. Try again: workbench teardown."


@dataclass(frozen=True, kw_only=True)
class DeployedModel:
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
    fleet: InstanceCounter | None = None

    @property
    def concurrency(self) -> int:
        """How many calls a client should have in flight: so many that it is never what limits."""
        if isinstance(self.deployment, Serverless | Lambda):
            waits = self.deployment.on_limit == "queue"
            return self.deployment.max_concurrency + (0 if waits else _EXTRA_CALLS)
        return _MAX_IN_FLIGHT if self.mailbox is None else _MAX_UNANSWERED

    def facts(self) -> dict[str, Any]:
        """Return what a run there keeps about it, as JSON values."""
        return {**self.cloud.facts(), "endpoint": self.name, "deploy_seconds": self.seconds}

    def scaled(self) -> list[dict[str, Any]]:
        """Return what Application Auto Scaling has done so far, oldest first, as JSON values.

        Raises:
            CloudError: The cloud does not tell.
        """
        with CloudClient(self.cloud) as aws:
            return list_activities(aws, self.name, dimension(self.deployment))

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
    notify: Callable[[str], object] | None = None,
    stopped: threading.Event | None = None,
) -> Iterator[DeployedModel]:
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
        notify: Told what it may cost, by default on the error stream.
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
    largest = expand_to_max(deployment, scaling)
    zipped = function and libraries is not None
    role, image = role_of(cloud), "" if zipped else image_of(cloud)
    cost = estimate_max_cost(largest, expected, calls=calls, bytes_in=bytes_in)
    confirm_cost(cost, largest, cloud, budget=budget, yes=yes, notify=notify)
    check_quota(largest, cloud)
    ledger = ledger or Ledger()
    with CloudClient(cloud, stopped) as aws:
        kind = "function" if function else "endpoint"
        if isinstance(deployment, Async):
            kind = _ASYNCHRONOUS
        scales = dimension(deployment) if scaling is not None else ""
        entry = open_entry(aws, model, largest, ledger, kind=kind, scales=scales)
        with ensure_teardown(entry, ledger):
            deployed = _launch(
                aws, entry, model, deployment, role=role, image=image, libraries=libraries
            )
            if isinstance(scaling, TargetTracking | StepScaling):
                with _attach_scaling(aws, entry, deployed, scaling) as followed:
                    yield followed
            else:
                yield deployed


@contextlib.contextmanager
def _attach_scaling(
    aws: CloudClient,
    entry: LedgerEntry,
    deployed: DeployedModel,
    policy: TargetTracking | StepScaling,
) -> Iterator[DeployedModel]:
    """Have an endpoint follow a policy, and count its instances inside the block."""
    deployment = deployed.deployment
    count = max(1, deployment.count) if isinstance(deployment, RealTime | Async) else 0
    if isinstance(deployment, Serverless):
        count = deployment.provisioned
    with InstanceCounter(
        aws.cloud.value(), deployed.name, count=count, launched=deployed.launched
    ) as fleet:
        register(aws, entry, deployment, policy)
        yield replace(deployed, scaling=policy, fleet=fleet)


def teardown(ledger: Ledger | None = None, *, names: tuple[str, ...] = ()) -> list[LedgerEntry]:
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
            _tear_down(entry, ledger)
            ended.append(entry)
        except WorkbenchError as error:
            problems.append(f"{entry.label}: {error}")
    if problems:
        raise CloudError(f"{_TEARDOWN_FAILED} {' '.join(problems)}")
    return ended


def open_entry(
    aws: CloudClient,
    model: Model,
    deployment: Deployment,
    ledger: Ledger,
    *,
    kind: str = "endpoint",
    scales: str = "",
) -> LedgerEntry:
    """Return the entry of what is about to be made, which the ledger has."""
    entry = LedgerEntry(
        name=f"workbench-{model.group[:36]}-{secrets.token_hex(4)}",
        bucket=aws.bucket(),
        what=deployment.label,
        hourly=hourly_cost(deployment),
        cloud=aws.cloud.value(),
        kind=kind,
        scales=scales,
    )
    ledger.write(entry)
    return entry


@contextlib.contextmanager
def ensure_teardown(entry: LedgerEntry, ledger: Ledger) -> Iterator[None]:
    """Tear the entry down when the block ends; what ended the block is what is raised."""
    try:
        yield
    except BaseException as error:
        try:
            _tear_down(entry, ledger)
        except (WorkbenchError, KeyboardInterrupt) as problem:
            left = f"{_TEARDOWN_FAILED} {entry.label}: {problem or 'interrupted'}"
            error.add_note(left)
            sys.stderr.write(f"{left}\n")
        raise
    try:
        _tear_down(entry, ledger)
    except WorkbenchError as problem:
        raise CloudError(f"{_TEARDOWN_FAILED} {entry.label}: {problem}") from problem


def _launch(
    aws: CloudClient,
    entry: LedgerEntry,
    model: Model,
    deployment: Deployment,
    *,
    role: str,
    image: str,
    libraries: str | Path | None,
) -> DeployedModel:
    """Make everything and wait until it is in service."""
    name = entry.name
    if libraries is None or not isinstance(deployment, Lambda):
        upload(aws, entry, model)
    extra_config, mailbox = {}, None
    if isinstance(deployment, Async):
        topic, queue = subscribe(entry)
        extra_config = {"AsyncInferenceConfig": _build_async_config(entry, deployment, topic)}
        mailbox = Mailbox(queue=queue, bucket=entry.bucket, folder=entry.folder)
    launched = time.perf_counter()
    if isinstance(deployment, Lambda):
        code = lambda_.image(entry, image)
        if libraries is not None:
            code = lambda_.package(aws, entry, model, libraries)
        name = lambda_.create(aws, entry, deployment, code, role=role)
    else:
        _create(aws, entry, deployment, extra_config, role=role, image=image)
        _await_service(aws, entry)
    if isinstance(deployment, Async) and deployment.count == 0:
        _scale_to_zero(aws, entry)
    return DeployedModel(
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


def _build_async_config(entry: LedgerEntry, deployment: Async, topic: str) -> dict[str, Any]:
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


def upload(aws: CloudClient, entry: LedgerEntry, model: Model) -> None:
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
    aws: CloudClient,
    entry: LedgerEntry,
    deployment: Deployment,
    extra_config: Mapping[str, Any],
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
            {"EndpointConfigName": name, "ProductionVariants": [variant], **extra_config},
        ),
        ("create_endpoint", {"EndpointName": name, "EndpointConfigName": name}),
    ):
        with _ignore_existing():
            aws.sagemaker(operation, **parameters, Tags=tags)


def create_model(
    aws: CloudClient, entry: LedgerEntry, environment: Mapping[str, str], *, role: str, image: str
) -> None:
    """Create the model of an entry, whose archive is in the bucket."""
    container = {
        "Image": image,
        "ModelDataUrl": f"s3://{entry.bucket}/{entry.key}",
        "Environment": dict(environment),
    }
    with _ignore_existing():
        aws.sagemaker(
            "create_model",
            ModelName=entry.name,
            PrimaryContainer=container,
            ExecutionRoleArn=role,
            Tags=entry.tags,
        )


@contextlib.contextmanager
def _ignore_existing() -> Iterator[None]:
    """End the block at the news that something exists: names are new, so a retry came late."""
    try:
        yield
    except CloudError as error:
        if "already exist" not in str(error).lower():
            raise


def _await_service(aws: CloudClient, entry: LedgerEntry) -> None:
    deadline = time.monotonic() + _STATUS_TIMEOUT
    while (status := _status(aws, entry)) in _TRANSITIONAL_STATUSES:
        _pause(aws, entry, deadline)
    if status != "InService":
        extra_config = aws.sagemaker("describe_endpoint", EndpointName=entry.name)
        reason = extra_config.get("FailureReason", "no reason was given")
        raise CloudError(f"The endpoint {entry.name} is {status}: {reason}", status)


def _scale_to_zero(aws: CloudClient, entry: LedgerEntry) -> None:
    """End the instance that an endpoint had to begin with."""
    aws.sagemaker(
        "update_endpoint_weights_and_capacities",
        EndpointName=entry.name,
        DesiredWeightsAndCapacities=[{"VariantName": VARIANT, "DesiredInstanceCount": 0}],
    )
    _await_service(aws, entry)


def _status(aws: CloudClient, entry: LedgerEntry) -> str:
    return str(aws.sagemaker("describe_endpoint", EndpointName=entry.name)["EndpointStatus"])


def _pause(aws: CloudClient, entry: LedgerEntry, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise CloudError(f"{entry.name} is on its way for over an hour.", "Timeout")
    aws.pause()


def _tear_down(entry: LedgerEntry, ledger: Ledger) -> None:
    """Delete all of an entry that there is, and strike it out."""
    try:
        with CloudClient(entry.cloud) as aws:
            if entry.scales:
                deregister(aws, entry)
            if entry.kind == "function":
                lambda_.delete(aws, entry)
            elif entry.kind == "transform jobs":
                _end_jobs(aws, entry)
            else:
                _delete_endpoint(aws, entry)
            with ignore_missing():
                aws.s3("delete_object", Bucket=entry.bucket, Key=entry.key)
            if entry.kind == _ASYNCHRONOUS:
                unsubscribe(entry)
                _delete_objects(aws, entry)
    except Unreachable:
        if entry.cloud.paid:
            raise  # else it ended with the cloud that it was on
    ledger.strike(entry)


def _end_jobs(aws: CloudClient, entry: LedgerEntry) -> None:
    """Stop the jobs that run, wait until they have ended, and delete what they read and wrote."""
    deadline = time.monotonic() + _STATUS_TIMEOUT
    for status in ("InProgress", "Stopping"):
        while jobs := _jobs(aws, entry, status):
            for job in jobs if status == "InProgress" else []:
                with contextlib.suppress(CloudError):  # it has ended by itself
                    aws.sagemaker("stop_transform_job", TransformJobName=job)
            _pause(aws, entry, deadline)
    _delete_objects(aws, entry)
    with ignore_missing():
        aws.sagemaker("delete_model", ModelName=entry.name)


def _delete_objects(aws: CloudClient, entry: LedgerEntry) -> None:
    """Delete what was read and written."""
    with ignore_missing():
        while found := _objects(aws, entry):
            extra_config = aws.s3("delete_objects", Bucket=entry.bucket, Delete={"Objects": found})
            for problem in extra_config.get("Errors", []):
                raise CloudError(f"{problem['Key']} was not deleted: {problem['Code']}.")


def _jobs(aws: CloudClient, entry: LedgerEntry, status: str) -> list[str]:
    listed = aws.sagemaker("list_transform_jobs", NameContains=entry.name, StatusEquals=status)
    return [each["TransformJobName"] for each in listed["TransformJobSummaries"]]


def _objects(aws: CloudClient, entry: LedgerEntry) -> list[dict[str, str]]:
    page = aws.s3("list_objects_v2", Bucket=entry.bucket, Prefix=f"{entry.folder}/")
    return [{"Key": each["Key"]} for each in page.get("Contents", [])]


def _delete_endpoint(aws: CloudClient, entry: LedgerEntry) -> None:
    """Delete the endpoint, its configuration and its model."""
    _end_endpoint(aws, entry)  # first: without its model, one being created gets stuck
    for operation, names in (
        ("delete_endpoint_config", {"EndpointConfigName": entry.name}),
        ("delete_model", {"ModelName": entry.name}),
    ):
        with ignore_missing():
            aws.sagemaker(operation, **names)


def _end_endpoint(aws: CloudClient, entry: LedgerEntry) -> None:
    """Delete the endpoint and wait until it is gone."""
    deadline = time.monotonic() + _STATUS_TIMEOUT
    with ignore_missing():
        while not _try_delete(aws, entry):
            _pause(aws, entry, deadline)
        while _status(aws, entry) == "Deleting":
            _pause(aws, entry, deadline)
        raise CloudError(f"The endpoint {entry.name} was deleted, but is still there.")


def _try_delete(aws: CloudClient, entry: LedgerEntry) -> bool:
    """Whether the endpoint let itself be deleted: AWS refuses while it is being created."""
    on_its_way = _status(aws, entry) in _TRANSITIONAL_STATUSES
    try:
        aws.sagemaker("delete_endpoint", EndpointName=entry.name)
    except CloudError as error:
        if is_missing(error) or not on_its_way:
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
