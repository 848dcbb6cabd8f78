"""Lambda's functions: made, changed, published, limited and ended, and there again after a restart.

What may be asked for, and how it is refused, is as the Lambda API Reference says.
"""

import asyncio
import itertools
import json
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.cloud.packaging import MAX_UNZIPPED, MAX_ZIP
from workbench.localcloud.core.access import AccessKey
from workbench.localcloud.core.paging import Pager
from workbench.localcloud.core.protocol import REGION, AwsError, Operation, arn
from workbench.localcloud.core.settings import LocalCloudSettings
from workbench.localcloud.core.store import Store, StoreTable
from workbench.localcloud.core.tags import Tags
from workbench.localcloud.core.tasks import TaskSet
from workbench.localcloud.lambda_.code_packages import CodePackages, invalid_parameter_error
from workbench.localcloud.lambda_.configuration import (
    LATEST,
    build_statement,
    check,
    create_facts,
    create_revision,
    filter_public,
    format_now,
    update_facts,
)
from workbench.localcloud.lambda_.environments import Environments, FunctionFleet, Program
from workbench.localcloud.sandbox.instances import LaunchFailed, ModelStore

ACCOUNT_LIMIT = 1000
"""Events of an account that may be under way at once (Lambda developer guide, "Lambda quotas")."""

MIN_UNRESERVED = 100
"""Of which so many must stay for functions without a reserve."""

_VERSION_COLUMNS = """
name TEXT NOT NULL, version TEXT NOT NULL, facts TEXT NOT NULL, PRIMARY KEY (name, version)
"""
_LIMIT_COLUMNS = "name TEXT PRIMARY KEY, reserved INTEGER, next INTEGER NOT NULL"
_PROVISIONED_COLUMNS = """
name TEXT NOT NULL, version TEXT NOT NULL, count INTEGER NOT NULL, changed TEXT NOT NULL,
PRIMARY KEY (name, version)
"""
_PAGER = Pager(  # Lambda returns up to 50, whatever is asked for (API reference, ListFunctions)
    50,
    size="MaxItems",
    token="Marker",  # noqa: S106 - a parameter's name
    next_token="NextMarker",  # noqa: S106 - a member's name
    error="InvalidParameterValueException",
)
_HANDLER = "workbench.modelserver.function.handler"  # of our own image
_NAME = re.compile(r"(arn:[^:]+:lambda:[^:]*:)?(\d{12}:)?(function:)?([\w-]{1,64})(:([\w$-]+))?")


@dataclass(eq=False)
class Version:
    """A version of a function; `facts` are what GetFunctionConfiguration says of it."""

    facts: dict[str, Any]
    code: str = ""  # the sha256 of its zip; "" for an image
    fleet: FunctionFleet | None = None
    provisioning: str = ""  # why there are no provisioned environments, or not yet
    provisioned: int = 0
    changed: str = ""

    @property
    def active(self) -> bool:
        """Whether it can be invoked."""
        return bool(self.facts["State"] == "Active")

    @property
    def name(self) -> str:
        """Its number, or $LATEST."""
        return str(self.facts["Version"])


@dataclass(eq=False)
class Function:
    """A function with all its versions."""

    name: str
    versions: dict[str, Version] = field(default_factory=dict)
    reserved: int | None = None
    next: int = 1

    @property
    def arn(self) -> str:
        """Without a version."""
        return arn("lambda", f"function:{self.name}")

    @property
    def under_way(self) -> int:
        """Events that are being answered."""
        return sum(each.fleet.under_way for each in self.versions.values() if each.fleet)


class Functions:
    """The functions of a local cloud.

    Args:
        store: Where they are kept.
        tags: Their tags.
        objects: Where zips may lie: S3.
        folder: For code, logs and what functions write.
        settings: How long an idle environment is kept.
        key: What functions sign their own calls with.
    """

    def __init__(
        self,
        store: Store,
        tags: Tags,
        objects: ModelStore,
        folder: Path,
        *,
        settings: LocalCloudSettings,
        key: AccessKey,
    ) -> None:
        self._store = store
        self._tags = tags
        self._packages = CodePackages(store, objects, folder / "code")
        self._folder = folder
        self._settings = settings
        self._key = key
        self._functions: dict[str, Function] = {}
        self._tasks = TaskSet()
        self._numbers = itertools.count(1)
        self._url = ""
        self._versions = StoreTable(store, "functions", _VERSION_COLUMNS, json=["facts"])
        self._limits = StoreTable(store, "function_limits", _LIMIT_COLUMNS)
        self._provisioned = StoreTable(store, "provisioned", _PROVISIONED_COLUMNS)

    def operations(self) -> dict[str, Operation]:
        """Return what answers Lambda's operations, by name; Invoke is answered elsewhere."""
        return {
            "CreateFunction": self._create,
            "GetFunction": self._get,
            "GetFunctionConfiguration": self._get_configuration,
            "ListFunctions": self._list,
            "ListVersionsByFunction": self._list_versions,
            "UpdateFunctionCode": self._update_code,
            "UpdateFunctionConfiguration": self._update_configuration,
            "DeleteFunction": self._delete,
            "PublishVersion": self._publish,
            "PutFunctionConcurrency": self._reserve,
            "GetFunctionConcurrency": self._get_reserved,
            "DeleteFunctionConcurrency": self._unreserve,
            "PutProvisionedConcurrencyConfig": self._provision,
            "GetProvisionedConcurrencyConfig": self._get_provisioned,
            "DeleteProvisionedConcurrencyConfig": self._unprovision,
            "AddPermission": self._add_permission,
            "GetPolicy": self._get_policy,
            "RemovePermission": self._remove_permission,
            "ListTags": self._list_tags,
            "GetAccountSettings": self._get_account,
        }

    async def start(self, url: str) -> None:
        """Bring back the functions that were there when the local cloud ended."""
        self._url = url
        shutil.rmtree(self._folder / "scratch", ignore_errors=True)  # left by one that was killed
        for row in self._limits.rows():
            name = row["name"]
            self._functions[name] = Function(name, reserved=row["reserved"], next=row["next"])
        for row in self._versions.rows():
            function, facts = self._functions[row["name"]], row["facts"]
            version = Version(facts["configuration"], facts["code"])
            function.versions[version.name] = version
            self._open(function, version)
        for row in self._provisioned.rows():
            function = self._functions[row["name"]]
            version = function.versions[row["version"]]
            version.provisioned, version.changed = row["count"], row["changed"]
            self._tasks.start(self._bring_up(function, version))

    async def close(self) -> None:
        """End every environment; the functions stay known."""
        await self._tasks.cancel()
        every = [each for f in self._functions.values() for each in f.versions.values()]
        await asyncio.gather(*(each.fleet.close() for each in every if each.fleet))

    def state(self) -> list[dict[str, Any]]:
        """Return what only a local cloud can tell: every environment."""
        return [
            {
                "function": function.name,
                "version": version.name,
                "environments": version.fleet.state() if version.fleet else [],
            }
            for function in self._functions.values()
            for version in function.versions.values()
        ]

    def find(self, named: str, qualifier: str | None = None) -> tuple[Function, Version]:
        """Return a function and its version, by name or ARN.

        Raises:
            AwsError: There is none.
        """
        function = self._functions.get(named)
        if function is None:
            parts = _NAME.fullmatch(named)
            function = self._functions.get(parts[4]) if parts else None
            qualifier = qualifier or (parts[6] if parts else None)
        version = function.versions.get(qualifier or LATEST) if function else None
        if function is None or version is None:
            wanted = arn("lambda", f"function:{named.rpartition('function:')[2]}")
            tail = f":{qualifier}" if qualifier and qualifier not in wanted else ""
            raise _not_found_error(f"Function not found: {wanted}{tail}")
        return function, version

    def limit(self, function: Function) -> int:
        """Return how many events of a function may be under way at once."""
        if function.reserved is not None:
            return function.reserved
        return ACCOUNT_LIMIT - sum(each.reserved or 0 for each in self._functions.values())

    def full(self, function: Function) -> bool:
        """Whether as many events are under way as may be: of it, or of all without a reserve."""
        if function.reserved is not None:
            return function.under_way >= function.reserved
        others = (each for each in self._functions.values() if each.reserved is None)
        return sum(each.under_way for each in others) >= self.limit(function)

    # --- functions

    async def _create(self, params: dict[str, Any]) -> dict[str, Any]:
        parts = _NAME.fullmatch(params["FunctionName"])
        if parts is None:
            raise invalid_parameter_error(f"{params['FunctionName']} is no name of a function.")
        name = parts[4]
        check(params)
        function = Function(name)
        package, code = await self._packages.take(params.get("PackageType", "Zip"), params["Code"])
        if name in self._functions:
            raise AwsError("ResourceConflictException", f"Function already exist: {name}", 409)
        facts = create_facts(function.arn, params, package)
        version = Version(facts, code)
        function.versions[LATEST] = version
        tags = [{"Key": key, "Value": value} for key, value in params.get("Tags", {}).items()]
        with self._store.write():
            self._save(function, version)
            self._tags.begin(function.arn, tags)
        self._functions[name] = function
        answer = dict(facts)
        self._tasks.start(self._activate(function, version))
        if params.get("Publish"):
            answer = self._publish_version(function, params)
        return answer

    async def _get(self, params: dict[str, Any]) -> dict[str, Any]:
        function, version = self.find(params["FunctionName"], params.get("Qualifier"))
        place: dict[str, str] = {"RepositoryType": "S3"}
        if version.facts["PackageType"] == "Image":
            image = version.facts["_Image"]
            place = {"RepositoryType": "ECR", "ImageUri": image, "ResolvedImageUri": image}
        answer: dict[str, Any] = {"Configuration": _describe(version), "Code": place}
        if tags := {each["Key"]: each["Value"] for each in self._tags.of(function.arn)}:
            answer["Tags"] = tags
        if function.reserved is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved}
        return answer

    async def _get_configuration(self, params: dict[str, Any]) -> dict[str, Any]:
        return _describe(self.find(params["FunctionName"], params.get("Qualifier"))[1])

    async def _list(self, params: dict[str, Any]) -> dict[str, Any]:
        every = params.get("FunctionVersion") == "ALL"
        listed = [
            _describe(version)
            for _, function in sorted(self._functions.items())
            for version in function.versions.values()
            if every or version.name == LATEST
        ]
        page, more = _PAGER.page(listed, params)
        return {"Functions": page, **more}

    async def _list_versions(self, params: dict[str, Any]) -> dict[str, Any]:
        function, _ = self.find(params["FunctionName"])
        page, more = _PAGER.page([_describe(each) for each in function.versions.values()], params)
        return {"Versions": page, **more}

    async def _list_tags(self, params: dict[str, Any]) -> dict[str, Any]:
        function, _ = self.find(params["Resource"])
        return {"Tags": {each["Key"]: each["Value"] for each in self._tags.of(function.arn)}}

    async def _get_account(self, _: dict[str, Any]) -> dict[str, Any]:
        every = [each for f in self._functions.values() for each in f.versions.values()]
        size = sum(each.facts["CodeSize"] for each in every)
        reserved = sum(each.reserved or 0 for each in self._functions.values())
        return {
            "AccountLimit": {
                "TotalCodeSize": 75 * 1024**3,
                "CodeSizeUnzipped": MAX_UNZIPPED,
                "CodeSizeZipped": MAX_ZIP,
                "ConcurrentExecutions": ACCOUNT_LIMIT,
                "UnreservedConcurrentExecutions": ACCOUNT_LIMIT - reserved,
            },
            "AccountUsage": {"TotalCodeSize": size, "FunctionCount": len(self._functions)},
        }

    async def _update_code(self, params: dict[str, Any]) -> dict[str, Any]:
        function, version = self._find_changeable(params)
        package, sha256 = await self._packages.take(version.facts["PackageType"], params)
        facts = {**version.facts, **package, **create_revision()}
        if params.get("DryRun"):
            return filter_public(facts)
        await self._replace(function, version, facts, sha256)
        return (
            self._publish_version(function, params) if params.get("Publish") else _describe(version)
        )

    async def _update_configuration(self, params: dict[str, Any]) -> dict[str, Any]:
        function, version = self._find_changeable(params)
        check(params)
        facts = update_facts(version.facts, params)
        await self._replace(function, version, facts, version.code)
        return _describe(version)

    async def _delete(self, params: dict[str, Any]) -> dict[str, Any]:
        function, version = self.find(params["FunctionName"], params.get("Qualifier"))
        whole = version.name == LATEST
        if whole and params.get("Qualifier"):
            raise invalid_parameter_error(
                "$LATEST version cannot be deleted without deleting the function."
            )
        gone = list(function.versions.values()) if whole else [version]
        with self._store.write():
            for each in gone:
                self._versions.remove(name=function.name, version=each.name)
                self._provisioned.remove(name=function.name, version=each.name)
            if whole:
                self._limits.remove(name=function.name)
                self._tags.end(function.arn)
        for each in gone:
            del function.versions[each.name]
        if whole:
            del self._functions[function.name]
        await asyncio.gather(*(each.fleet.close() for each in gone if each.fleet))
        self._packages.keep(self._list_used_code(), {each.code for each in gone})
        return {}

    async def _publish(self, params: dict[str, Any]) -> dict[str, Any]:
        function, version = self._find_changeable(params)
        wanted = params.get("CodeSha256", version.facts["CodeSha256"])
        if wanted != version.facts["CodeSha256"]:
            raise invalid_parameter_error(
                f"CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST."
            )
        return self._publish_version(function, params)

    # --- who may call: saved and described, but a local cloud lets everybody

    async def _add_permission(self, params: dict[str, Any]) -> dict[str, Any]:
        function, version = self.find(params["FunctionName"], params.get("Qualifier"))
        policy, number = version.facts.get("_Policy", {}), params["StatementId"]
        if number in policy:
            raise AwsError(
                "ResourceConflictException",
                f"The statement id ({number}) provided already exists. Please provide a new "
                "statement id, or remove the existing statement.",
                409,
                {"Type": "User"},
            )
        added = build_statement(params, str(version.facts["FunctionArn"]))
        version.facts = {**version.facts, "_Policy": {**policy, number: added}}
        self._save(function, version)
        return {"Statement": json.dumps(added)}

    async def _get_policy(self, params: dict[str, Any]) -> dict[str, Any]:
        _, version = self.find(params["FunctionName"], params.get("Qualifier"))
        statements = list(version.facts.get("_Policy", {}).values())
        if not statements:
            raise _not_found_error("The resource you requested does not exist.")
        policy = {"Version": "2012-10-17", "Id": "default", "Statement": statements}
        return {"Policy": json.dumps(policy), "RevisionId": version.facts["RevisionId"]}

    async def _remove_permission(self, params: dict[str, Any]) -> dict[str, Any]:
        function, version = self.find(params["FunctionName"], params.get("Qualifier"))
        policy, number = dict(version.facts.get("_Policy", {})), params["StatementId"]
        if policy.pop(number, None) is None:
            raise _not_found_error(f"Statement {number} is not found in resource policy.")
        version.facts = {**version.facts, "_Policy": policy}
        self._save(function, version)
        return {}

    # --- concurrency

    async def _reserve(self, params: dict[str, Any]) -> dict[str, Any]:
        function, _ = self.find(params["FunctionName"])
        wanted = params["ReservedConcurrentExecutions"]
        others = sum(f.reserved or 0 for f in self._functions.values() if f is not function)
        if ACCOUNT_LIMIT - others - wanted < MIN_UNRESERVED:
            raise invalid_parameter_error(
                "Specified ReservedConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{MIN_UNRESERVED}]."
            )
        provisioned = sum(each.provisioned for each in function.versions.values())
        if wanted < provisioned:
            raise invalid_parameter_error(
                f"ReservedConcurrentExecutions {wanted} should not be lower than function's total "
                f"provisioned concurrency [{provisioned}]."
            )
        return await self._apply_reserved(function, wanted)

    async def _get_reserved(self, params: dict[str, Any]) -> dict[str, Any]:
        function, _ = self.find(params["FunctionName"])
        reserved = function.reserved
        return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}

    async def _unreserve(self, params: dict[str, Any]) -> dict[str, Any]:
        await self._apply_reserved(self.find(params["FunctionName"])[0], None)
        return {}

    async def _apply_reserved(self, function: Function, reserved: int | None) -> dict[str, Any]:
        function.reserved = reserved
        self._save_limits(function)
        for each in self._functions.values():
            for version in each.versions.values():
                if version.fleet is not None:
                    version.fleet.limit(self.limit(each))
        return {"ReservedConcurrentExecutions": reserved}

    async def _provision(self, params: dict[str, Any]) -> dict[str, Any]:
        function, version = self.find(params["FunctionName"], params["Qualifier"])
        wanted = params["ProvisionedConcurrentExecutions"]
        if version.name == LATEST:
            raise invalid_parameter_error(
                "Provisioned Concurrency Configs cannot be applied to unpublished function version."
            )
        if not version.active:
            raise not_active_error(version)
        others = sum(v.provisioned for v in function.versions.values() if v is not version)
        if wanted + others > self.limit(function):
            raise invalid_parameter_error(
                "Requested Provisioned Concurrency should not be greater than the "
                f"reservedConcurrentExecution for function: {self.limit(function)}."
            )
        version.provisioned, version.changed = wanted, format_now()
        self._provisioned.put(
            name=function.name, version=version.name, count=wanted, changed=version.changed
        )
        self._tasks.start(self._bring_up(function, version))
        version.provisioning = "IN_PROGRESS"
        return self._concurrency(version)

    async def _get_provisioned(self, params: dict[str, Any]) -> dict[str, Any]:
        return self._concurrency(self._find_provisioned(params)[1])

    async def _unprovision(self, params: dict[str, Any]) -> dict[str, Any]:
        function, version = self._find_provisioned(params)
        version.provisioned = 0
        self._provisioned.remove(name=function.name, version=version.name)
        await self._bring_up(function, version)
        return {}

    def _find_provisioned(self, params: Mapping[str, Any]) -> tuple[Function, Version]:
        function, version = self.find(params["FunctionName"], params["Qualifier"])
        if not version.provisioned:
            raise AwsError(
                "ProvisionedConcurrencyConfigNotFoundException",
                "No Provisioned Concurrency Config found for this function",
                404,
                {"Type": "User"},
            )
        return function, version

    def _concurrency(self, version: Version) -> dict[str, Any]:
        up = 0 if version.provisioning else version.provisioned
        status, _, reason = version.provisioning.partition(": ")
        return {
            "RequestedProvisionedConcurrentExecutions": version.provisioned,
            "AllocatedProvisionedConcurrentExecutions": up,
            "AvailableProvisionedConcurrentExecutions": up,
            "Status": status or "READY",
            "LastModified": version.changed,
            **({"StatusReason": reason} if reason else {}),
        }

    async def _bring_up(self, function: Function, version: Version) -> None:
        """Have as many provisioned environments as were asked for."""
        version.provisioning = "IN_PROGRESS"
        assert version.fleet is not None  # noqa: S101 - only what is Active is provisioned
        try:
            await version.fleet.resize(
                max_concurrency=self.limit(function), provisioned=version.provisioned
            )
        except LaunchFailed:
            version.provisioning = "FAILED: FUNCTION_ERROR_INIT_FAILURE"
        else:
            version.provisioning = ""

    # --- versions that run

    def _find_changeable(self, params: Mapping[str, Any]) -> tuple[Function, Version]:
        """Return a function that is not on its way, and its $LATEST.

        Raises:
            AwsError: It is, or is not what the client thinks.
        """
        function, version = self.find(params["FunctionName"])
        if not version.active:
            raise not_active_error(version)
        revision = params.get("RevisionId", version.facts["RevisionId"])
        if revision != version.facts["RevisionId"]:
            raise AwsError(
                "PreconditionFailedException",
                "The RevisionId provided does not match the latest RevisionId.",
                412,
                {"Type": "User"},
            )
        return function, version

    async def _activate(self, function: Function, version: Version) -> None:
        for name in ("StateReason", "StateReasonCode"):
            version.facts.pop(name, None)
        version.facts |= {"State": "Active", "LastUpdateStatus": "Successful"}
        self._open(function, version)
        self._save(function, version)
        for each in function.versions.values():  # published before it was Active
            if not each.active:
                await self._activate(function, each)

    def _open(self, function: Function, version: Version) -> None:
        """Let a version answer."""
        if not version.active:
            version.facts["State"] = "Pending"
            self._tasks.start(self._activate(function, version))
            return
        facts = version.facts
        image = facts["PackageType"] == "Image"
        command = facts.get("ImageConfigResponse", {}).get("ImageConfig", {}).get("Command", [])
        local = f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}"
        program = Program(
            function=function.name,
            version=version.name,
            code=self._packages.folder(version.code),
            handler=(command or [_HANDLER])[0] if image else facts["Handler"],
            execution="AWS_Lambda_Image" if image else local,
            environment=facts.get("Environment", {}).get("Variables", {}),
            memory_mb=facts["MemorySize"],
            timeout=float(facts["Timeout"]),
        )
        account = self._key.environment(self._url, REGION)
        environments = Environments(program, account, self._folder, lambda: next(self._numbers))
        version.fleet = FunctionFleet(
            environments,
            max_concurrency=self.limit(function),
            keep_alive=self._settings.keep_alive,
        )

    async def _replace(
        self, function: Function, version: Version, facts: dict[str, Any], code: str
    ) -> None:
        """Give $LATEST other facts: new environments answer from now on, old ones finish."""
        former, version.facts, version.fleet = version.fleet, facts, None
        gone, version.code = version.code, code
        self._open(function, version)
        self._save(function, version)
        if former is not None:
            self._tasks.start(self._retire(former, gone))

    async def _retire(self, fleet: FunctionFleet, code: str) -> None:
        try:
            await fleet.drain()
        finally:
            await fleet.close()
        self._packages.keep(self._list_used_code(), {code})

    def _list_used_code(self) -> set[str]:
        """Return the code that some version has."""
        every = self._functions.values()
        return {version.code for each in every for version in each.versions.values()}

    def _publish_version(self, function: Function, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return a new version like $LATEST, or the last one if nothing has changed since."""
        latest = function.versions[LATEST]
        last = function.versions.get(str(function.next - 1))
        if last is not None and last.facts["_Of"] == latest.facts["RevisionId"]:
            return _describe(last)
        number = str(function.next)
        facts = {
            **latest.facts,
            "Version": number,
            "FunctionArn": f"{function.arn}:{number}",
            "Description": params.get("Description", latest.facts["Description"]),
            "_Of": latest.facts["RevisionId"],
            "_Policy": {},
            **create_revision(),
        }
        version = Version(facts, latest.code)
        function.versions[number] = version
        function.next += 1
        with self._store.write():
            self._save(function, version)
        if version.active:
            self._open(function, version)
        return _describe(version)

    def _save(self, function: Function, version: Version) -> None:
        facts = {"configuration": version.facts, "code": version.code}
        with self._store.write():
            self._versions.put(name=function.name, version=version.name, facts=facts)
            self._save_limits(function)

    def _save_limits(self, function: Function) -> None:
        self._limits.put(name=function.name, reserved=function.reserved, next=function.next)


def not_active_error(version: Version) -> AwsError:
    """Return the error for what needs a function that is Active."""
    return AwsError(
        "ResourceConflictException",
        "The operation cannot be performed at this time. The function is currently in the "
        f"following state: {version.facts['State']}",
        409,
        {"Type": "User"},
    )


def _not_found_error(message: str) -> AwsError:
    return AwsError("ResourceNotFoundException", message, 404, {"Type": "User"})


def _describe(version: Version) -> dict[str, Any]:
    return filter_public(version.facts)
