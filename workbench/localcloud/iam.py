"""What moto's IAM lacks here: the role that `LocalCloud.role` names, and simulations of policies.

Whoever has the key may do everything, and so the simulations say. The SageMaker Python SDK 3 asks
for both before it makes a model.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from workbench.localcloud.core.protocol import ACCOUNT

_TRUST = {
    "Effect": "Allow",
    "Principal": {"Service": ["lambda.amazonaws.com", "sagemaker.amazonaws.com"]},
    "Action": "sts:AssumeRole",
}
_OPTIONS: dict[str, Any] = {"path": "/", "permissions_boundary": None, "description": ""}
SIMULATIONS = frozenset({"SimulateCustomPolicy", "SimulatePrincipalPolicy"})
"""The operations that are answered here."""


@cache  # moto is one for this process
def create_role() -> None:
    """Make the role."""
    from moto.iam.models import iam_backends

    document = json.dumps({"Version": "2012-10-17", "Statement": [_TRUST]})
    # an hour, as where IAM is not asked for another (CreateRole)
    options = _OPTIONS | {"tags": [], "max_session_duration": 3600}
    iam_backends[ACCOUNT]["aws"].create_role("workbench", document, **options)


def simulate_policy(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return that every action is allowed on every resource, in one page.

    >>> simulate_policy({"ActionNames": ["s3:GetObject"]})["EvaluationResults"][0]["EvalDecision"]
    'allowed'
    """
    results = [
        {"EvalActionName": action, "EvalResourceName": resource, "EvalDecision": "allowed"}
        for action in params["ActionNames"]
        for resource in params.get("ResourceArns") or ["*"]
    ]
    return {"EvaluationResults": results, "IsTruncated": False}
