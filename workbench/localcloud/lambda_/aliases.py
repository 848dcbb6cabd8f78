"""Aliases of Lambda's functions: names that lead to a version, or to two by weight.

Weights are honoured: each event draws its version. Sources: Lambda API Reference, "CreateAlias",
and developer guide, "Implement Lambda canary deployments using a weighted alias".
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.localcloud.core.protocol import Operation
from workbench.localcloud.core.store import Store
from workbench.localcloud.lambda_.code_packages import invalid_parameter_error
from workbench.localcloud.lambda_.configuration import LATEST, create_revision, filter_public
from workbench.localcloud.lambda_.versions import (
    PAGER,
    Alias,
    Function,
    FunctionTable,
    Target,
    check_revision,
    conflict_error,
    not_found_error,
)

if TYPE_CHECKING:
    from workbench.localcloud.lambda_.concurrency import ConcurrencyApi


class AliasApi:
    """Lambda's operations on aliases; concurrency follows an alias to another version."""

    def __init__(self, store: Store, table: FunctionTable, concurrency: "ConcurrencyApi") -> None:
        self._store = store
        self._table = table
        self._concurrency = concurrency

    def operations(self) -> dict[str, Operation]:
        """Return what answers Lambda's operations, by name."""
        return {
            "CreateAlias": self._create,
            "GetAlias": self._get,
            "ListAliases": self._list,
            "UpdateAlias": self._update,
            "DeleteAlias": self._delete,
        }

    async def _create(self, params: dict[str, Any]) -> dict[str, Any]:
        function, name = self._table.find(params["FunctionName"]).function, params["Name"]
        facts = {"AliasArn": f"{function.arn}:{name}", "Name": name, "Description": ""}
        if name in function.aliases:
            raise conflict_error(f"Alias already exists: {facts['AliasArn']}")
        alias = self._build(function, facts, params)
        self._table.save_alias(function, alias)
        return filter_public(alias.facts)

    async def _get(self, params: dict[str, Any]) -> dict[str, Any]:
        return filter_public(self._find(params)[1].facts)

    async def _list(self, params: dict[str, Any]) -> dict[str, Any]:
        function, _, _ = self._table.find(params["FunctionName"])
        wanted = params.get("FunctionVersion")
        listed = [
            filter_public(alias.facts)
            for _, alias in sorted(function.aliases.items())
            if wanted in (None, alias.version)
        ]
        page, more = PAGER.page(listed, params)
        return {"Aliases": page, **more}

    async def _update(self, params: dict[str, Any]) -> dict[str, Any]:
        function, former = self._find(params)
        check_revision(params, former.facts)
        alias = self._build(function, former.facts, params)
        with self._store.write():
            self._concurrency.follow_alias(function, params["Name"], former, alias)
            self._table.save_alias(function, alias)
        return filter_public(alias.facts)

    async def _delete(self, params: dict[str, Any]) -> dict[str, Any]:
        function, name = self._table.find(params["FunctionName"]).function, params["Name"]
        if alias := function.aliases.get(name):  # AWS takes one that is gone already as well
            with self._store.write():
                self._concurrency.end(Target(function, function.versions[alias.version], name))
                self._table.remove_alias(function, name)
        return {}

    def _find(self, params: Mapping[str, Any]) -> tuple[Function, Alias]:
        function, _, _ = self._table.find(params["FunctionName"])
        alias = function.aliases.get(params["Name"])
        if alias is None:
            raise not_found_error(f"Cannot find alias arn: {function.arn}:{params['Name']}")
        return function, alias

    def _build(
        self, function: Function, facts: Mapping[str, Any], params: Mapping[str, Any]
    ) -> Alias:
        """Return an alias with what parameters change of its facts, or refuse it."""
        names = ("FunctionVersion", "Description", "RoutingConfig")
        changed = {name: params[name] for name in names if name in params}
        alias = Alias({**facts, **changed, **create_revision()})
        del alias.facts["LastModified"]  # AliasConfiguration has none
        self._table.find(function.name, alias.version)
        for version in alias.weights:
            self._table.find(function.name, version)
        _check_weights(alias)
        if not alias.weights:
            alias.facts.pop("RoutingConfig", None)
        return alias


def _check_weights(alias: Alias) -> None:
    """Check what botocore's model does not say of weights."""
    if len(alias.weights) > 1:
        raise invalid_parameter_error(
            "Number of items in AdditionalVersionWeights cannot be greater than 1"
        )
    for version in alias.weights:
        if version == alias.version:
            raise invalid_parameter_error(
                f"Invalid function version {version}. Function version {version} is already "
                "included in routing configuration."
            )
        if alias.version == LATEST:
            raise invalid_parameter_error(
                "$LATEST is not supported for an alias pointing to more than 1 version"
            )
