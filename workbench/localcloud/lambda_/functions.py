"""Lambda's functions: made, changed, published, limited and ended, and there again after a restart.

What may be asked for, and how it is refused, is as the Lambda API Reference says.
"""

import asyncio
import itertools
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.cloud.packaging import MAX_UNZIPPED, MAX_ZIP
from workbench.localcloud.core.access_keys import AccessKey
from workbench.localcloud.core.protocol import REGION, Operation, arn
from workbench.localcloud.core.settings import LocalCloudSettings
from workbench.localcloud.core.store import Store
from workbench.localcloud.core.tags import Tags
from workbench.localcloud.core.tasks import TaskSet
from workbench.localcloud.lambda_.aliases import AliasApi
from workbench.localcloud.lambda_.code_packages import CodePackages, invalid_parameter_error
from workbench.localcloud.lambda_.concurrency import ConcurrencyApi
from workbench.localcloud.lambda_.configuration import (
    LATEST,
    check,
    create_facts,
    create_revision,
    filter_public,
    update_facts,
)
from workbench.localcloud.lambda_.environments import Environments, FunctionFleet, Program
from workbench.localcloud.lambda_.permissions import PermissionApi
from workbench.localcloud.lambda_.versions import (
    ACCOUNT_LIMIT,
    PAGER,
    Function,
    FunctionTable,
    Target,
    Version,
    check_revision,
    conflict_error,
    not_active_error,
    parse_function_name,
)
from workbench.localcloud.sandbox.instances import ModelStore

_HANDLER = "workbench.modelserver.function.handler"  # of our own image


class Functions:
    """The functions of a local cloud.

    Attributes:
        table: What they are.
        packages: Their code.

    Args:
        store, tags: Where they are kept.
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
        self.packages = CodePackages(store, objects, folder / "code")
        self._folder = folder
        self._settings = settings
        self._key = key
        self.table = FunctionTable(store)
        self._tasks = TaskSet()
        self._concurrency = ConcurrencyApi(store, self.table, self._tasks)
        self._aliases = AliasApi(store, self.table, self._concurrency)
        self._numbers = itertools.count(1)
        self._url = ""

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
            "ListTags": self._list_tags,
            "GetAccountSettings": self._get_account,
            **self._aliases.operations(),
            **self._concurrency.operations(),
            **PermissionApi(self.table).operations(),
        }

    async def start(self, url: str) -> None:
        """Bring back the functions that were there when the local cloud ended."""
        self._url = url
        shutil.rmtree(self._folder / "scratch", ignore_errors=True)  # left by one that was killed
        self.table.load()
        for function, version in self.table:
            self._open(function, version)
        self._concurrency.start()

    async def close(self) -> None:
        """End every environment; the functions stay known."""
        await self._tasks.cancel()
        await asyncio.gather(*(each.fleet.close() for _, each in self.table if each.fleet))

    def state(self) -> list[dict[str, Any]]:
        """Return what only a local cloud can tell: every environment."""
        return [
            {
                "function": function.name,
                "version": version.name,
                "environments": version.fleet.state() if version.fleet else [],
            }
            for function, version in self.table
        ]

    # --- functions

    async def _create(self, params: dict[str, Any]) -> dict[str, Any]:
        name = parse_function_name(params["FunctionName"])
        check(params)
        function = Function(name, arn("lambda", f"function:{name}"))
        package, code = await self.packages.take(params.get("PackageType", "Zip"), params["Code"])
        # not before the package was taken: another call may have come meanwhile
        if name in self.table.functions:
            raise conflict_error(f"Function already exist: {name}")
        facts = create_facts(function.arn, params, package)
        version = Version(facts, code)
        function.versions[LATEST] = version
        tags = [{"Key": key, "Value": value} for key, value in params.get("Tags", {}).items()]
        with self._store.write():
            self.table.save(function, version)
            self._tags.begin(function.arn, tags)
        self.table.functions[name] = function
        answer = filter_public(facts)
        self._tasks.start(self._activate(function, version))
        if params.get("Publish"):
            answer = self._publish_version(function, params) | {"FunctionArn": function.arn}
        return answer

    async def _get(self, params: dict[str, Any]) -> dict[str, Any]:
        target = self._find(params)
        function, version, _ = target
        answer: dict[str, Any] = {
            "Configuration": target.description(),
            "Code": self._locate_code(version),
        }
        if tags := {each["Key"]: each["Value"] for each in self._tags.of(function.arn)}:
            answer["Tags"] = tags
        if function.reserved is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved}
        return answer

    def _locate_code(self, version: Version) -> dict[str, str]:
        if version.facts["PackageType"] == "Image":
            image = version.facts["_Image"]
            return {"RepositoryType": "ECR", "ImageUri": image, "ResolvedImageUri": image}
        location = self.packages.location(version.code, self._url, self._key)
        return {"RepositoryType": "S3"} | ({"Location": location} if location else {})

    async def _get_configuration(self, params: dict[str, Any]) -> dict[str, Any]:
        return self._find(params).description()

    async def _list(self, params: dict[str, Any]) -> dict[str, Any]:
        every = params.get("FunctionVersion") == "ALL"
        listed = [
            Target(function, version, version.name if every else "").description()
            for _, function in sorted(self.table.functions.items())
            for version in function.versions.values()
            if every or version.name == LATEST
        ]
        page, more = PAGER.page(listed, params)
        return {"Functions": page, **more}

    async def _list_versions(self, params: dict[str, Any]) -> dict[str, Any]:
        function = self._find(params).function
        listed = [Target(function, each, each.name) for each in function.versions.values()]
        page, more = PAGER.page([each.description() for each in listed], params)
        return {"Versions": page, **more}

    async def _list_tags(self, params: dict[str, Any]) -> dict[str, Any]:
        function = self.table.find(params["Resource"]).function
        return {"Tags": {each["Key"]: each["Value"] for each in self._tags.of(function.arn)}}

    async def _get_account(self, _: dict[str, Any]) -> dict[str, Any]:
        size = sum(version.facts["CodeSize"] for _, version in self.table)
        return {
            "AccountLimit": {
                "TotalCodeSize": 75 * 1024**3,  # the guide, "Lambda quotas"
                "CodeSizeUnzipped": MAX_UNZIPPED,
                "CodeSizeZipped": MAX_ZIP,
                "ConcurrentExecutions": ACCOUNT_LIMIT,
                "UnreservedConcurrentExecutions": ACCOUNT_LIMIT - self.table.total_reserve,
            },
            "AccountUsage": {"TotalCodeSize": size, "FunctionCount": len(self.table.functions)},
        }

    async def _update_code(self, params: dict[str, Any]) -> dict[str, Any]:
        kind = self._find_changeable(params)[1].facts["PackageType"]
        package, sha256 = await self.packages.take(kind, params)
        function, version = self._find_changeable(params)  # which may be another by now, or none
        facts = {**version.facts, **package, **create_revision()}
        if params.get("DryRun"):
            return filter_public(facts)
        await self._replace(function, version, facts, sha256)
        if params.get("Publish"):
            return self._publish_version(function, params)
        return filter_public(version.facts)

    async def _update_configuration(self, params: dict[str, Any]) -> dict[str, Any]:
        function, version = self._find_changeable(params)
        check(params)
        facts = update_facts(version.facts, params)
        await self._replace(function, version, facts, version.code)
        return filter_public(version.facts)

    async def _delete(self, params: dict[str, Any]) -> dict[str, Any]:
        named, qualifier = params["FunctionName"], params.get("Qualifier")
        function, qualifier = self.table.find_function(named, qualifier)
        gone = list(function.versions.values())
        if qualifier:
            _check_deletion(function, qualifier)
            gone = [each for each in gone if each.name == qualifier]  # or none: AWS says nothing
        with self._store.write():
            for each in gone:
                self._concurrency.forget(Target(function, each, each.provisioned_by))
                self.table.remove_version(function, each)
            if not qualifier:
                self.table.remove(function)
                self._tags.end(function.arn)
        await asyncio.gather(*(each.fleet.close() for each in gone if each.fleet))
        self._drop_code({each.code for each in gone})
        return {}

    async def _publish(self, params: dict[str, Any]) -> dict[str, Any]:
        function, version = self._find_changeable(params)
        wanted = params.get("CodeSha256", version.facts["CodeSha256"])
        if wanted != version.facts["CodeSha256"]:
            raise invalid_parameter_error(
                f"CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST."
            )
        return self._publish_version(function, params)

    # --- versions that run

    def _find_changeable(self, params: Mapping[str, Any]) -> tuple[Function, Version]:
        """Return a function that is not on its way, and what the client thinks, and its $LATEST."""
        function, version, _ = self.table.find(params["FunctionName"])
        if not version.active:
            raise not_active_error(version)
        check_revision(params, version.facts)
        return function, version

    async def _activate(self, function: Function, version: Version) -> None:
        for name in ("StateReason", "StateReasonCode"):
            version.facts.pop(name, None)
        version.facts |= {"State": "Active", "LastUpdateStatus": "Successful"}
        self._open(function, version)
        self.table.save(function, version)
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
            code=self.packages.folder(version.code),
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
            max_concurrency=self.table.limit(function),
            keep_alive=self._settings.keep_alive,
        )

    async def _replace(
        self, function: Function, version: Version, facts: dict[str, Any], code: str
    ) -> None:
        """Give $LATEST other facts: new environments answer from now on, old ones finish."""
        former, version.facts, version.fleet = version.fleet, facts, None
        gone, version.code = version.code, code
        self._open(function, version)
        self.table.save(function, version)
        if former is not None:
            self._tasks.start(self._retire(former, gone))

    async def _retire(self, fleet: FunctionFleet, code: str) -> None:
        try:
            await fleet.drain()
        finally:
            await fleet.close()
        self._drop_code({code})

    def _drop_code(self, gone: set[str]) -> None:
        """Remove code that no version has any more."""
        self.packages.keep((version.code for _, version in self.table), gone)

    def _publish_version(self, function: Function, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return a new version like $LATEST, or the last one if nothing has changed since."""
        latest = function.versions[LATEST]
        last = function.versions.get(str(function.next - 1))
        if last is not None and last.facts["_Of"] == latest.facts["RevisionId"]:
            return filter_public(last.facts)
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
        self.table.save(function, version)
        if version.active:
            self._open(function, version)
        return filter_public(version.facts)

    def _find(self, params: Mapping[str, Any]) -> Target:
        return self.table.find(params["FunctionName"], params.get("Qualifier"))


def _check_deletion(function: Function, qualifier: str) -> None:
    """Check that a qualifier is a version that can be deleted by itself."""
    if qualifier == LATEST:
        raise invalid_parameter_error(
            "$LATEST version cannot be deleted without deleting the function."
        )
    if not qualifier.isdecimal():
        raise invalid_parameter_error("Deletion of aliases is not currently supported.")
    leading = [
        name
        for name, alias in sorted(function.aliases.items())
        if qualifier in (alias.version, *alias.weights)
    ]
    if leading:
        raise conflict_error(
            "Unable to delete version because the following aliases reference it: "
            f"[{', '.join(leading)}]"
        )
