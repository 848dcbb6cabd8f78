"""Who may call Lambda's functions: policies, kept and described, while the local cloud lets all."""

import json
from collections.abc import Mapping
from typing import Any

from workbench.localcloud.core.protocol import Operation, new_id
from workbench.localcloud.lambda_.versions import (
    FunctionTable,
    Target,
    check_revision,
    conflict_error,
    not_found_error,
)

_CONDITIONS = {  # a parameter, as the condition of a statement (API reference, AddPermission)
    "SourceAccount": ("StringEquals", "AWS:SourceAccount"),
    "PrincipalOrgID": ("StringEquals", "aws:PrincipalOrgID"),
    "EventSourceToken": ("StringEquals", "lambda:EventSourceToken"),
    "FunctionUrlAuthType": ("StringEquals", "lambda:FunctionUrlAuthType"),
    "InvokedViaFunctionUrl": ("Bool", "lambda:InvokedViaFunctionUrl"),
    "SourceArn": ("ArnLike", "AWS:SourceArn"),
}


class PermissionApi:
    """Lambda's operations on the policies of functions, their versions and their aliases."""

    def __init__(self, table: FunctionTable) -> None:
        self._table = table

    def operations(self) -> dict[str, Operation]:
        """Return what answers Lambda's operations, by name."""
        return {
            "AddPermission": self._add,
            "GetPolicy": self._get,
            "RemovePermission": self._remove,
        }

    async def _add(self, params: dict[str, Any]) -> dict[str, Any]:
        target, statements = self._find(params)
        check_revision(params, target.policy_holder.facts)
        number = params["StatementId"]
        if number in statements:
            raise conflict_error(
                f"The statement id ({number}) provided already exists. Please provide a new "
                "statement id, or remove the existing statement."
            )
        added = _build_statement(params, target.arn)
        self._put(target, {**statements, number: added})
        return {"Statement": json.dumps(added)}

    async def _get(self, params: dict[str, Any]) -> dict[str, Any]:
        target, statements = self._find(params)
        if not statements:
            raise not_found_error("The resource you requested does not exist.")
        policy = {
            "Version": "2012-10-17",
            "Id": "default",
            "Statement": list(statements.values()),
        }
        revision = target.policy_holder.facts["RevisionId"]
        return {"Policy": json.dumps(policy), "RevisionId": revision}

    async def _remove(self, params: dict[str, Any]) -> dict[str, Any]:
        target, statements = self._find(params)
        check_revision(params, target.policy_holder.facts)
        number = params["StatementId"]
        if statements.pop(number, None) is None:
            raise not_found_error(f"Statement {number} is not found in resource policy.")
        self._put(target, statements)
        return {}

    def _find(self, params: Mapping[str, Any]) -> tuple[Target, dict[str, Any]]:
        target = self._table.find(params["FunctionName"], params.get("Qualifier"))
        return target, dict(target.policy_holder.facts.get("_Policy", {}))

    def _put(self, target: Target, statements: Mapping[str, Any]) -> None:
        holder = target.policy_holder
        holder.facts = {**holder.facts, "_Policy": statements, "RevisionId": new_id()}
        self._table.save_target(target)


def _build_statement(params: Mapping[str, Any], resource: str) -> dict[str, Any]:
    """Return the statement that AddPermission adds to a function's policy."""
    principal = params["Principal"]
    named = {"Service" if "amazonaws" in principal else "AWS": principal}
    statement = {
        "Sid": params["StatementId"],
        "Effect": "Allow",
        "Principal": principal if principal == "*" else named,
        "Action": params["Action"],
        "Resource": resource,
    }
    conditions: dict[str, dict[str, Any]] = {}
    for name, (kind, key) in _CONDITIONS.items():
        if name in params:
            conditions.setdefault(kind, {})[key] = params[name]
    return statement | ({"Condition": conditions} if conditions else {})
