"""SageMaker's Model Registry: groups of model packages, their versions, approval and stages.

What may be left out, changed and deleted is as the SageMaker API Reference says. Names are kept as
they were written and found in any case, because AWS has written them in lower case in ARNs.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from workbench.localcloud.core.paging import paginate
from workbench.localcloud.core.protocol import AwsError, Operation, arn, now, validation_error
from workbench.localcloud.core.store import Store, StoreTable
from workbench.localcloud.core.tags import Tags

_GROUP_COLUMNS = """
name TEXT PRIMARY KEY COLLATE NOCASE, arn TEXT NOT NULL, created REAL NOT NULL,
next INTEGER NOT NULL, policy TEXT, content TEXT NOT NULL
"""
_PACKAGE_COLUMNS = """
id INTEGER PRIMARY KEY, arn TEXT NOT NULL UNIQUE COLLATE NOCASE,
name TEXT COLLATE NOCASE, package_group TEXT COLLATE NOCASE REFERENCES package_groups,
version INTEGER, token TEXT UNIQUE, content TEXT NOT NULL, UNIQUE (package_group, version)
"""
_CREATED_BY = {"UserProfileArn": "", "UserProfileName": "local"}
_MUTABLE_MEMBERS = (
    *("ModelApprovalStatus", "ModelPackageRegistrationType", "ApprovalDescription"),
    *("InferenceSpecification", "SourceUri", "ModelCard", "ModelLifeCycle"),
)
_SUMMARY_MEMBERS = (
    *("ModelPackageName", "ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn"),
    *("ModelPackageDescription", "CreationTime", "ModelPackageStatus", "ModelApprovalStatus"),
    *("ModelPackageRegistrationType", "ModelLifeCycle"),
)


class Packages:
    """The Model Registry of a local cloud.

    A package is `Completed` at once: here nothing validates it in the background.
    """

    def __init__(self, store: Store, tags: Tags) -> None:
        self.changed: Callable[[dict[str, Any]], None] = lambda _: None
        """Called with what DescribeModelPackage says of each package that is new or changed."""
        self._store = store
        self._tags = tags
        self._groups = StoreTable(
            store, "package_groups", _GROUP_COLUMNS, json=["content"], options="STRICT"
        )
        self._packages = StoreTable(
            store, "packages", _PACKAGE_COLUMNS, json=["content"], options="STRICT"
        )

    def operations(self) -> dict[str, Operation]:
        """Return the operations that this answers, by name."""
        return {
            "CreateModelPackageGroup": self._create_group,
            "DescribeModelPackageGroup": self._describe_group,
            "ListModelPackageGroups": self._list_groups,
            "DeleteModelPackageGroup": self._delete_group,
            "PutModelPackageGroupPolicy": self._put_policy,
            "GetModelPackageGroupPolicy": self._get_policy,
            "DeleteModelPackageGroupPolicy": self._delete_policy,
            "CreateModelPackage": self._create,
            "DescribeModelPackage": self._describe,
            "BatchDescribeModelPackage": self._describe_many,
            "ListModelPackages": self._list,
            "UpdateModelPackage": self._update,
            "DeleteModelPackage": self._delete,
        }

    def get(self, named: str) -> dict[str, Any]:
        """Return what is described of a package, named by its ARN or name.

        Raises:
            AwsError: There is none.
        """
        resource = named.rpartition(":model-package/")[2]
        group, slash, version = resource.partition("/")
        chosen = {"package_group": group, "version": version} if slash else {"name": group}
        row = self._packages.find(**chosen)
        if row is None:
            raise validation_error(f"Model Package {named} does not exist.")
        return dict(row["content"])

    # --- groups

    async def _create_group(self, parameters: dict[str, Any]) -> dict[str, Any]:
        name = parameters["ModelPackageGroupName"]
        made = arn("sagemaker", f"model-package-group/{name}")
        if self._groups.find(name=name):
            raise validation_error(f"Model Package Group already exists: {made}")
        created = now()
        content = {
            "ModelPackageGroupName": name,
            "ModelPackageGroupArn": made,
            **_select(parameters, "ModelPackageGroupDescription", "ManagedConfiguration"),
            "CreationTime": created,
            "CreatedBy": _CREATED_BY,
            "ModelPackageGroupStatus": "Completed",
        }
        with self._store.write():
            self._groups.add(name=name, arn=made, created=created, next=1, content=content)
            self._tags.begin(made, parameters.get("Tags", []))
        return {"ModelPackageGroupArn": made}

    async def _describe_group(self, parameters: dict[str, Any]) -> dict[str, Any]:
        return self._group(parameters["ModelPackageGroupName"])

    async def _list_groups(self, parameters: dict[str, Any]) -> dict[str, Any]:
        if parameters.get("CrossAccountFilterOption") == "CrossAccount":
            return {"ModelPackageGroupSummaryList": []}
        groups = [_omit(row["content"], "CreatedBy") for row in self._groups.rows(["content"])]
        found, more = paginate(groups, parameters, name="ModelPackageGroupName", order="Ascending")
        return {"ModelPackageGroupSummaryList": found} | more

    async def _delete_group(self, parameters: dict[str, Any]) -> dict[str, Any]:
        group = self._group(parameters["ModelPackageGroupName"])
        name, made = group["ModelPackageGroupName"], group["ModelPackageGroupArn"]
        if left := len(list(self._packages.rows(["id"], package_group=name))):
            raise AwsError(
                "ConflictException",
                f"Model Package Group {made} still has {left} model packages. Delete them first.",
            )
        with self._store.write():
            self._groups.remove(name=name)
            self._tags.end(made)
        return {}

    async def _put_policy(self, parameters: dict[str, Any]) -> dict[str, Any]:
        try:
            json.loads(parameters["ResourcePolicy"])
        except (ValueError, RecursionError):
            raise validation_error("ResourcePolicy must be a JSON document.") from None
        return self._set_policy(parameters, parameters["ResourcePolicy"])

    async def _get_policy(self, parameters: dict[str, Any]) -> dict[str, Any]:
        name = self._group(parameters["ModelPackageGroupName"])["ModelPackageGroupName"]
        ((policy,),) = (row.values() for row in self._groups.rows(["policy"], name=name))
        if policy is None:
            raise validation_error(f"Model Package Group {name} has no resource policy.")
        return {"ResourcePolicy": policy}

    async def _delete_policy(self, parameters: dict[str, Any]) -> dict[str, Any]:
        self._set_policy(parameters, None)
        return {}

    def _set_policy(self, parameters: dict[str, Any], policy: str | None) -> dict[str, Any]:
        group = self._group(parameters["ModelPackageGroupName"])
        self._groups.change({"name": group["ModelPackageGroupName"]}, policy=policy)
        return _select(group, "ModelPackageGroupArn")

    def _group(self, named: str) -> dict[str, Any]:
        row = self._groups.find(name=named.rpartition("/")[2])
        if row is None:
            raise validation_error(f"Model Package Group {named} does not exist.")
        return dict(row["content"])

    # --- packages

    async def _create(self, parameters: dict[str, Any]) -> dict[str, Any]:
        token = parameters.pop("ClientToken", None)
        if token and (made := self._packages.find(token=token)):
            return {"ModelPackageArn": made["arn"]}
        _check_new(parameters)
        with self._store.write():
            if "ModelPackageGroupName" in parameters:
                named = self._next_version(parameters["ModelPackageGroupName"])
            else:
                named = self._build_names(parameters["ModelPackageName"])
            content = named | _build_content(parameters)
            self._packages.add(
                arn=named["ModelPackageArn"],
                name=parameters.get("ModelPackageName"),
                package_group=named.get("ModelPackageGroupName"),
                version=named.get("ModelPackageVersion"),
                token=token,
                content=content,
            )
            self._tags.begin(named["ModelPackageArn"], parameters.get("Tags", []))
        self.changed(_describe(content))
        return _select(named, "ModelPackageArn")

    def _next_version(self, named: str) -> dict[str, Any]:
        """Return the names of the next version of a group; a number is never given twice."""
        group = self._group(named)["ModelPackageGroupName"]
        update = "UPDATE package_groups SET next = next + 1 WHERE name = ? RETURNING next - 1"
        ((version,),) = self._store.db.execute(update, (group,)).fetchall()
        return {
            "ModelPackageName": group,
            "ModelPackageGroupName": group,
            "ModelPackageVersion": version,
            "ModelPackageArn": arn("sagemaker", f"model-package/{group}/{version}"),
        }

    def _build_names(self, name: str) -> dict[str, Any]:
        """Return the names of a package that is no version of a group."""
        if self._packages.find(name=name):
            raise validation_error(f"Model Package already exists: {name}")
        return {
            "ModelPackageName": name,
            "ModelPackageArn": arn("sagemaker", f"model-package/{name}"),
        }

    async def _describe(self, parameters: dict[str, Any]) -> dict[str, Any]:
        found = self.get(parameters["ModelPackageName"])
        if parameters.get("IncludedData") == "MetadataOnly" and "ModelCard" in found:
            found["ModelCard"] = _omit(found["ModelCard"], "ModelCardContent")
        return _describe(found)

    async def _describe_many(self, parameters: dict[str, Any]) -> dict[str, Any]:
        summaries, errors = {}, {}
        for each in parameters["ModelPackageArnList"]:
            try:
                found = self.get(each)
            except AwsError as error:
                errors[each] = {"ErrorCode": error.code, "ErrorResponse": error.message}
                continue
            short = _select(found, *_SUMMARY_MEMBERS, "InferenceSpecification")
            summaries[each] = _omit(short, "ModelPackageName", "ModelLifeCycle")
        return {
            "ModelPackageSummaries": summaries,
            "BatchDescribeModelPackageErrorMap": errors,
        }

    async def _list(self, parameters: dict[str, Any]) -> dict[str, Any]:
        # "Unversioned" where nothing is said (API reference, ListModelPackages)
        chosen, kind = {}, parameters.get("ModelPackageType", "Unversioned")
        if "ModelPackageGroupName" in parameters:
            group, kind = self._group(parameters["ModelPackageGroupName"]), "Versioned"
            chosen = {"package_group": group["ModelPackageGroupName"]}
        packages = [
            row["content"]
            for row in self._packages.rows(["content"], **chosen)
            if kind in ("Both", _get_type(row["content"]))
        ]
        found, more = paginate(
            [_select(each, *_SUMMARY_MEMBERS) for each in packages],
            parameters,
            name="ModelPackageName",
            equal={"ModelApprovalStatus": "ModelApprovalStatus"},
            order="Ascending",
            tie=lambda each: [each["ModelPackageName"], each.get("ModelPackageVersion", 0)],
        )
        versions = "ModelPackageGroupName"
        short = [_omit(each, "ModelPackageName") if versions in each else each for each in found]
        return {"ModelPackageSummaryList": short} | more

    async def _update(self, parameters: dict[str, Any]) -> dict[str, Any]:
        found = self.get(parameters["ModelPackageArn"])
        if "ModelApprovalStatus" in parameters and "ModelPackageVersion" not in found:
            raise validation_error("ModelApprovalStatus is for the versions of a group only.")
        found |= _select(parameters, *_MUTABLE_MEMBERS)
        _update_properties(found, parameters)
        if added := parameters.get("AdditionalInferenceSpecificationsToAdd"):
            _add_specifications(found, added)
        found |= {"LastModifiedTime": now(), "LastModifiedBy": _CREATED_BY}
        self._packages.change({"arn": found["ModelPackageArn"]}, content=found)
        self.changed(_describe(found))
        return _select(found, "ModelPackageArn")

    async def _delete(self, parameters: dict[str, Any]) -> dict[str, Any]:
        found = self.get(parameters["ModelPackageName"])
        with self._store.write():
            self._packages.remove(arn=found["ModelPackageArn"])
            self._tags.end(found["ModelPackageArn"])
        return {}


def _get_type(package: Mapping[str, Any]) -> str:
    return "Versioned" if "ModelPackageVersion" in package else "Unversioned"


def _describe(package: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is described of a package; a version has no name: SDK 3 asks by ARN then."""
    versioned = _get_type(package) == "Versioned"
    return _omit(package, "ModelPackageName") if versioned else dict(package)


def _check_new(parameters: Mapping[str, Any]) -> None:
    versioned = "ModelPackageGroupName" in parameters
    if versioned == ("ModelPackageName" in parameters):
        raise validation_error(
            "Give ModelPackageGroupName for a version of a group, or ModelPackageName for a "
            "package without versions, and not both."
        )
    if versioned and parameters.get("Tags"):
        raise validation_error(
            "A version has the tags of its group: tag that one, and give no Tags here."
        )
    if versioned and parameters.get("CertifyForMarketplace"):  # SDK 2 sends False
        raise validation_error("CertifyForMarketplace does not apply to the versions of a group.")
    if not versioned and "ModelApprovalStatus" in parameters:
        raise validation_error("ModelApprovalStatus is for the versions of a group only.")


def _build_content(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a new package is described with, apart from its names."""
    given = _omit(parameters, "ModelPackageName", "ModelPackageGroupName", "Tags")
    if "ModelPackageGroupName" in parameters:
        given = {"ModelApprovalStatus": "PendingManualApproval"} | given
    return given | {
        "CreationTime": now(),
        "CreatedBy": _CREATED_BY,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
    }


def _update_properties(found: dict[str, Any], parameters: Mapping[str, Any]) -> None:
    properties = found.pop("CustomerMetadataProperties", {})
    properties |= parameters.get("CustomerMetadataProperties", {})
    left = _omit(properties, *parameters.get("CustomerMetadataPropertiesToRemove", []))
    if len(left) > 50:  # botocore's CustomerMetadataMap
        raise validation_error(f"A package has at most 50 metadata properties, got {len(left)}.")
    if left:
        found["CustomerMetadataProperties"] = left


def _add_specifications(found: dict[str, Any], added: list[dict[str, Any]]) -> None:
    there = found.setdefault("AdditionalInferenceSpecifications", [])
    there += added
    if len(there) > 15:  # botocore's AdditionalInferenceSpecifications
        raise validation_error(
            f"A package has at most 15 additional specifications, got {len(there)}."
        )
    if len({each["Name"] for each in there}) < len(there):
        raise validation_error("Each additional specification needs a name of its own.")


def _select(content: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: content[name] for name in names if name in content}


def _omit(content: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in names}
