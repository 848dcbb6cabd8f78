"""A registry's versions in SageMaker's Model Registry, and back: what they are, and who approved.

A version becomes a model package of the group's name. Its model is the archive that endpoints load,
its samples lie beside it in S3. All else that the registry knows goes into the package's metadata,
whose values are short and may not hold JSON's signs: there it is packed and written in base 64.
"""

import base64
import binascii
import contextlib
import hashlib
import json
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from workbench.cloud.aws import Cloud, image_of
from workbench.cloud.client import CloudClient, ignore_missing, is_missing
from workbench.cloud.packaging import MODEL_FILE, archive, unpack
from workbench.errors import CloudError, Damaged, InvalidInput, NotFound
from workbench.registry.api import Registry
from workbench.registry.model import Model

_TYPES = ["application/x-npy", "application/json", "application/jsonlines", "text/csv"]
_READABLE_TRAITS = ("task", "kind", "metric", "framework", "opset", "size_bytes")
_MAX_VALUE_LENGTH = 256  # characters of a value of CustomerMetadataProperties
_MAX_PAIRS = 50  # of CustomerMetadataProperties
_ALLOWED_CHARACTERS = frozenset(" _.:/=+-@")
_STAGE_STATUS = "Current"


def push(registry: Registry, cloud: Cloud, *, groups: Sequence[str] | None = None) -> list[str]:
    """Bring groups, by default all, to a cloud's Model Registry and return the ARNs of versions.

    What is there already is left there, and gets this registry's approval and stage.

    Raises:
        NotFound: There is no such group.
        InvalidInput: Traits and lineage of a version are too long.
        NotAvailable: Credentials are missing or do not allow it, or the image is not known.
        CloudError: A version there is another model, or the cloud refused.
    """
    image = image_of(cloud)
    with CloudClient(cloud) as aws:
        bucket = aws.bucket()
        return [
            _push(aws, registry, model, packages, bucket=bucket, image=image)
            for group in (registry.groups() if groups is None else groups)
            for packages in [_group(aws, group)]
            for model in registry.versions(group)
        ]


def pull(registry: Registry, cloud: Cloud, *, groups: Sequence[str] | None = None) -> list[Model]:
    """Bring groups, by default all, from a cloud's Model Registry, and return their versions here.

    Only versions that `push` brought there are taken. They keep their number, and get the approval
    and stage that they have there. Every file is checked by its sha256; nothing is unpickled.

    Raises:
        NotFound: There is no such group, or it holds no version of a workbench.
        Damaged: A file is not what was pushed.
        InvalidInput: This registry has another model of the same number.
        NotAvailable: Credentials are missing or do not allow it.
        CloudError: The cloud refused.
    """
    with CloudClient(cloud) as aws:
        found = {
            group: _packages(aws, group) for group in (_groups(aws) if groups is None else groups)
        }
        missing = [group for group in groups or () if not found[group]]
        if missing:
            raise NotFound(
                f"{cloud.name} has no version that a workbench pushed in {', '.join(missing)}."
            )
        return [
            _pull(aws, registry, group, version, package)
            for group, packages in found.items()
            for version, package in sorted(packages.items())
        ]


Packages = dict[int, dict[str, Any]]
"""What DescribeModelPackage says of the versions that were pushed, by their number here."""


def _group(aws: CloudClient, group: str) -> Packages:
    """Return the versions of a group, which is made where it is missing."""
    with contextlib.suppress(NotFound):
        return _packages(aws, group)
    tags = [{"Key": "workbench", "Value": "registry"}]
    aws.sagemaker("create_model_package_group", ModelPackageGroupName=group, Tags=tags)
    return {}


def _groups(aws: CloudClient) -> list[str]:
    pages = aws.pages("sagemaker", "list_model_package_groups", MaxResults=100)
    return [
        each["ModelPackageGroupName"]
        for page in pages
        for each in page["ModelPackageGroupSummaryList"]
    ]


def _packages(aws: CloudClient, group: str) -> Packages:
    try:
        aws.sagemaker("describe_model_package_group", ModelPackageGroupName=group)
    except CloudError as error:
        if is_missing(error):
            raise NotFound(f"{aws.cloud.name} has no group {group!r}.") from error
        raise
    pages = aws.pages(
        "sagemaker", "list_model_packages", ModelPackageGroupName=group, MaxResults=100
    )
    packages = {}
    for each in (each for page in pages for each in page["ModelPackageSummaryList"]):
        with ignore_missing():  # deleted since it was listed
            package = aws.sagemaker(
                "describe_model_package", ModelPackageName=each["ModelPackageArn"]
            )
            metadata = package.get("CustomerMetadataProperties", {})
            if "workbench.version" in metadata:
                packages[int(metadata["workbench.version"])] = package
    return packages


# -------------------------------------------------------------------------------------------- push


def _push(
    aws: CloudClient,
    registry: Registry,
    model: Model,
    packages: Packages,
    *,
    bucket: str,
    image: str,
) -> str:
    package = packages.get(model.version)
    if package is None:
        url = _upload(aws, model, bucket)
        made = aws.sagemaker("create_model_package", **_build_package(model, url, image, bucket))
        package = {"ModelPackageArn": made["ModelPackageArn"]}
    elif package["CustomerMetadataProperties"]["workbench.sha256"] != model.sha256:
        raise CloudError(
            f"Version {model.version} of {model.group!r} on {aws.cloud.name} is another model. "
            "Register yours as a new version, or in a group of another name."
        )
    _push_approval(aws, registry, model, package)
    return str(package["ModelPackageArn"])


def _push_approval(
    aws: CloudClient, registry: Registry, model: Model, package: Mapping[str, Any]
) -> None:
    """Give a package the approval and the stage that the model has, where it has others."""
    stage = package.get("ModelLifeCycle", {}).get("Stage")
    if (package.get("ModelApprovalStatus"), stage) == (model.approval, model.stage):
        return
    history = registry.history(model.group, model.version)
    last = [change for change in history if change.field == "approval"][-1]
    reason = " ".join(f"{last.why} ({last.who})".split())
    aws.sagemaker(
        "update_model_package",
        ModelPackageArn=package["ModelPackageArn"],
        ModelApprovalStatus=model.approval,
        ApprovalDescription=reason[:1024],
        ModelLifeCycle={"Stage": model.stage, "StageStatus": _STAGE_STATUS},
    )


def _build_package(model: Model, url: str, image: str, bucket: str) -> dict[str, Any]:
    """Return the arguments of CreateModelPackage."""
    return {
        "ModelPackageGroupName": model.group,
        "ModelPackageDescription": f"{model.name}, by the Inference Workbench"[:1024],
        "InferenceSpecification": {
            "Containers": [{"Image": image, "ModelDataUrl": url, "Framework": "ONNX"}],
            "SupportedContentTypes": _TYPES,
            "SupportedResponseMIMETypes": _TYPES,
        },
        "ModelApprovalStatus": "PendingManualApproval",
        "ModelLifeCycle": {"Stage": model.stage, "StageStatus": _STAGE_STATUS},
        "CustomerMetadataProperties": _metadata(model, f"s3://{bucket}/{_samples_key(model)}"),
    }


def _metadata(model: Model, samples: str) -> dict[str, str]:
    """Return what the registry knows of a model: some to read, all of it packed."""
    facts = asdict(model.traits)
    plain = {name: str(facts[name]) for name in _READABLE_TRAITS}
    if model.traits.accuracy is not None:
        plain["accuracy"] = f"{model.traits.accuracy:.6g}"
    if model.traits.agreement is not None:
        plain["agreement"] = str(model.traits.agreement)
    readable = {
        "workbench.version": str(model.version),
        "workbench.sha256": model.sha256,
        "workbench.samples": samples,
        "workbench.samples-sha256": model.samples_sha256,
        **{f"trait.{name}": _clean_value(value) for name, value in plain.items() if value},
        **{
            f"user.{name}": _clean_value(value if isinstance(value, str) else json.dumps(value))
            for name, value in facts["user"].items()
        },
    }
    packed = _pack_facts({"traits": facts, "lineage": model.lineage})
    if len(readable) + len(packed) > _MAX_PAIRS:
        raise InvalidInput(
            f"Traits and lineage of {model.name} take {len(readable) + len(packed)} pairs of "
            f"metadata, and a model package has room for {_MAX_PAIRS}: register it with fewer "
            "traits or a shorter lineage."
        )
    return readable | packed


def _clean_value(value: str) -> str:
    """Return a value without the characters that metadata may not hold."""
    kept = "".join(c if c.isalnum() or c in _ALLOWED_CHARACTERS else "-" for c in value)
    return kept[:_MAX_VALUE_LENGTH]


def _pack_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    content = zlib.compress(json.dumps(facts, sort_keys=True).encode(), 9)
    text = base64.urlsafe_b64encode(content).decode()
    parts = [text[at : at + _MAX_VALUE_LENGTH] for at in range(0, len(text), _MAX_VALUE_LENGTH)]
    return {f"workbench.facts.{number}": part for number, part in enumerate(parts)}


def _upload(aws: CloudClient, model: Model, bucket: str) -> str:
    """Put archive and samples into the bucket; return the archive's URL."""
    key = f"workbench/models/{model.sha256}/model.tar.gz"
    with tempfile.TemporaryDirectory() as folder:
        _put(aws, bucket, key, archive(model, Path(folder) / "model.tar.gz"))
    _put(aws, bucket, _samples_key(model), model.samples_path)
    return f"s3://{bucket}/{key}"


def _samples_key(model: Model) -> str:
    return f"workbench/samples/{model.samples_sha256}.npz"


def _put(aws: CloudClient, bucket: str, key: str, path: Path) -> None:
    with path.open("rb") as file:
        aws.s3("put_object", Bucket=bucket, Key=key, Body=file, Tagging="workbench=registry")


# -------------------------------------------------------------------------------------------- pull


def _pull(
    aws: CloudClient, registry: Registry, group: str, version: int, package: Mapping[str, Any]
) -> Model:
    metadata = package["CustomerMetadataProperties"]
    name = f"{group}:{version}"
    if group in registry and version in {each.version for each in registry.versions(group)}:
        model = registry.version(group, version)
        if model.sha256 != metadata["workbench.sha256"]:
            raise InvalidInput(f"{name} is another model here than on {aws.cloud.name}.")
    else:
        samples = _fetch(aws, metadata["workbench.samples"], name)
        model = registry.restore(
            group,
            version,
            content=_model_file(aws, package, metadata["workbench.sha256"], name),
            samples=_check_digest(samples, metadata["workbench.samples-sha256"], name),
            facts=_unpack_facts(metadata, name),
        )
    return _pull_approval(registry, model, package, aws.cloud)


def _pull_approval(
    registry: Registry, model: Model, package: Mapping[str, Any], cloud: Cloud
) -> Model:
    """Give a model the approval and the stage that the package has, where it has others."""
    who = f"Model Registry of {cloud.name}"
    why = package.get("ApprovalDescription", "")
    status, stage = package["ModelApprovalStatus"], package.get("ModelLifeCycle", {}).get("Stage")
    if status != model.approval:
        model = registry.decide(model.group, model.version, status, who=who, why=why)
    if stage and stage != model.stage:
        model = registry.set_stage(model.group, model.version, stage, who=who, why=why)
    return model


def _model_file(aws: CloudClient, package: Mapping[str, Any], sha256: str, name: str) -> bytes:
    (container,) = package["InferenceSpecification"]["Containers"]
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "model.tar.gz"
        packed.write_bytes(_fetch(aws, container["ModelDataUrl"], name))
        try:
            file = unpack(packed, Path(folder) / "model") / MODEL_FILE
        except Damaged as error:  # which names the file here, that nobody can look at
            message = f"{name}: {container['ModelDataUrl']} is no whole archive; push it again."
            raise Damaged(message) from error
        if not file.is_file():
            raise Damaged(f"{name}: the archive holds no {MODEL_FILE}; push it again.")
        return _check_digest(file.read_bytes(), sha256, name)


def _fetch(aws: CloudClient, url: str, name: str) -> bytes:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    try:
        with contextlib.closing(aws.s3("get_object", Bucket=bucket, Key=key)["Body"]) as body:
            return bytes(body.read())
    except CloudError as error:
        if is_missing(error):
            raise Damaged(f"{name}: {url} is not there any more; push it again.") from error
        raise


def _check_digest(content: bytes, sha256: str, name: str) -> bytes:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise Damaged(f"{name}: a file is not what was pushed; push it again.")
    return content


def _unpack_facts(metadata: Mapping[str, str], name: str) -> dict[str, Any]:
    parts = takewhile(bool, (metadata.get(f"workbench.facts.{number}") for number in count()))
    try:
        content = zlib.decompress(base64.urlsafe_b64decode("".join(map(str, parts))))
        return dict(json.loads(content))
    except (ValueError, zlib.error, binascii.Error) as error:
        raise Damaged(f"{name}: its metadata is not what was pushed ({error}).") from error
