"""How many events of Lambda's functions are answered at once: reserved and provisioned concurrency.

Source: Lambda API Reference, and developer guide, "Configuring provisioned concurrency".
"""

from collections.abc import Mapping
from typing import Any

from workbench.localcloud.core.protocol import Operation
from workbench.localcloud.core.store import Store, StoreTable
from workbench.localcloud.core.tasks import TaskSet
from workbench.localcloud.lambda_.code_packages import invalid_parameter_error, user_error
from workbench.localcloud.lambda_.configuration import LATEST, format_now
from workbench.localcloud.lambda_.versions import (
    ACCOUNT_LIMIT,
    PAGER,
    Alias,
    Function,
    FunctionTable,
    Target,
    Version,
    not_active_error,
)
from workbench.localcloud.sandbox.instances import LaunchFailed

MIN_UNRESERVED = 100
"""Events of the account's limit that must stay for functions without a reserve (Lambda API
Reference, PutFunctionConcurrency)."""

_COLUMNS = """
name TEXT NOT NULL, version TEXT NOT NULL, count INTEGER NOT NULL, changed TEXT NOT NULL,
PRIMARY KEY (name, version)
"""  # `version` is a qualifier: a version's number, or an alias


class ConcurrencyApi:
    """Lambda's operations on reserved and provisioned concurrency.

    `tasks` starts environments beside what is answered.
    """

    def __init__(self, store: Store, table: FunctionTable, tasks: TaskSet) -> None:
        self._table = table
        self._tasks = tasks
        self._provisioned = StoreTable(store, "provisioned", _COLUMNS)

    def operations(self) -> dict[str, Operation]:
        """Return what answers Lambda's operations, by name."""
        return {
            "PutFunctionConcurrency": self._reserve,
            "GetFunctionConcurrency": self._get_reserved,
            "DeleteFunctionConcurrency": self._unreserve,
            "PutProvisionedConcurrencyConfig": self._provision,
            "GetProvisionedConcurrencyConfig": self._get_provisioned,
            "ListProvisionedConcurrencyConfigs": self._list_provisioned,
            "DeleteProvisionedConcurrencyConfig": self._unprovision,
        }

    def start(self) -> None:
        """Have the provisioned environments that were there when the local cloud ended."""
        for row in self._provisioned.rows():
            target = self._table.find(row["name"], row["version"])
            self._set(target, row["count"], row["changed"])

    def follow_alias(self, function: Function, name: str, former: Alias, alias: Alias) -> None:
        """Move what an alias has provisioned to the version that it leads to from now on.

        Raises:
            AwsError: It leads to two, or what it leads to is provisioned itself.
        """
        target = Target(function, function.versions[former.version], name)
        count = target.version.provisioned
        if target.version.provisioned_by != name:
            return
        moved = Target(function, function.versions[alias.version], name)
        self._check_qualifier(moved, alias)
        if moved.version is not target.version:
            self.end(target)
            self._put(moved, count)

    def end(self, target: Target) -> None:
        """End what a qualifier has provisioned, if it has."""
        function, version, qualifier = target
        if qualifier and version.provisioned_by == qualifier:
            self.forget(target)
            self._set(Target(function, version, ""), 0, "")

    def forget(self, target: Target) -> None:
        """Forget what a qualifier has provisioned, of a version that is at its end."""
        self._provisioned.remove(name=target.function.name, version=target.qualifier)

    # --- reserved

    async def _reserve(self, params: dict[str, Any]) -> dict[str, Any]:
        function = self._table.find(params["FunctionName"]).function
        wanted = params["ReservedConcurrentExecutions"]
        others = self._table.total_reserve - (function.reserved or 0)
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
        self._apply_reserved(function, wanted)
        return {"ReservedConcurrentExecutions": wanted}

    async def _get_reserved(self, params: dict[str, Any]) -> dict[str, Any]:
        reserved = self._table.find(params["FunctionName"]).function.reserved
        return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}

    async def _unreserve(self, params: dict[str, Any]) -> dict[str, Any]:
        self._apply_reserved(self._table.find(params["FunctionName"]).function, None)
        return {}

    def _apply_reserved(self, function: Function, reserved: int | None) -> None:
        function.reserved = reserved
        self._table.save_limits(function)
        for each, version in self._table:
            if version.fleet is not None:
                version.fleet.pool.max_concurrency = self._table.limit(each)

    # --- provisioned

    async def _provision(self, params: dict[str, Any]) -> dict[str, Any]:
        target = self._table.find(params["FunctionName"], params["Qualifier"])
        function, version, _ = target
        wanted = params["ProvisionedConcurrentExecutions"]
        if not version.active:
            raise not_active_error(version)
        self._check_qualifier(target, target.alias)
        others = sum(v.provisioned for v in function.versions.values() if v is not version)
        if wanted + others > self._table.limit(function):
            raise invalid_parameter_error(
                "Requested Provisioned Concurrency should not be greater than the "
                f"reservedConcurrentExecution for function: {self._table.limit(function)}."
            )
        self._put(target, wanted)
        return _describe(version)

    async def _get_provisioned(self, params: dict[str, Any]) -> dict[str, Any]:
        return _describe(self._find_provisioned(params).version)

    async def _list_provisioned(self, params: dict[str, Any]) -> dict[str, Any]:
        function = self._table.find(params["FunctionName"]).function
        listed = [
            {"FunctionArn": f"{function.arn}:{version.provisioned_by}", **_describe(version)}
            for version in function.versions.values()
            if version.provisioned
        ]
        page, more = PAGER.page(listed, params)
        return {"ProvisionedConcurrencyConfigs": page, **more}

    async def _unprovision(self, params: dict[str, Any]) -> dict[str, Any]:
        self.end(self._find_provisioned(params))
        return {}

    def _find_provisioned(self, params: Mapping[str, Any]) -> Target:
        target = self._table.find(params["FunctionName"], params["Qualifier"])
        if target.qualifier != target.version.provisioned_by or not target.qualifier:
            raise user_error(
                "ProvisionedConcurrencyConfigNotFoundException",
                "No Provisioned Concurrency Config found for this function",
                404,
            )
        return target

    @staticmethod
    def _check_qualifier(target: Target, alias: Alias | None) -> None:
        """Check that one qualifier alone provisions a version."""
        version = target.version
        if version.name == LATEST:
            raise invalid_parameter_error(
                "Provisioned Concurrency Configs cannot be applied to unpublished function version."
            )
        if alias is not None and alias.weights:
            raise invalid_parameter_error(
                "Alias with weights can not be used with Provisioned Concurrency"
            )
        if version.provisioned_by in ("", target.qualifier):
            return
        if alias is None:
            raise invalid_parameter_error("Version is pointed by a Provisioned Concurrency alias")
        raise invalid_parameter_error(
            "Alias can't be used for Provisioned Concurrency configuration on an already "
            "Provisioned version"
        )

    def _put(self, target: Target, count: int) -> None:
        """Keep what a qualifier provisions, and bring it up."""
        changed = format_now()
        self._provisioned.put(
            name=target.function.name, version=target.qualifier, count=count, changed=changed
        )
        self._set(target, count, changed)

    def _set(self, target: Target, count: int, changed: str) -> None:
        function, version, qualifier = target
        version.provisioned, version.provisioned_by = count, qualifier
        version.changed, version.provisioning = changed, "IN_PROGRESS"
        self._tasks.start(self._bring_up(function, version))

    async def _bring_up(self, function: Function, version: Version) -> None:
        """Have as many provisioned environments as were asked for, the last time if often."""
        assert version.fleet is not None  # noqa: S101 - only what is Active is provisioned
        async with version.resizing:
            wanted, why = version.provisioned, ""
            try:
                await version.fleet.resize(
                    max_concurrency=self._table.limit(function), provisioned=wanted
                )
            except LaunchFailed:
                why = "FAILED: FUNCTION_ERROR_INIT_FAILURE"
            if wanted == version.provisioned:  # else it has been asked for another number
                version.provisioning = why


def _describe(version: Version) -> dict[str, Any]:
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
