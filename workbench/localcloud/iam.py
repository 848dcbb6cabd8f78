"""What moto's IAM lacks here: the role that `LocalCloud.role` names, and simulations of policies.

Whoever has the key may do everything, and so the simulations say. The SageMaker Python SDK 3 asks
for both before it makes a model.
"""

import json
from collections.abc import Mapping
from typing import Any

_TRUST = {
    "Effect": "Allow",
    "Principal": {"Service": ["lambda.amazonaws.com", "sagemaker.amazonaws.com"]},
    "Action": "sts:AssumeRole",
}
CREATE_ROLE = {
    "Action": "CreateRole",
    "Version": "2010-05-08",
    "RoleName": "workbench",
    "AssumeRolePolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": [_TRUST]}),
}
"""The call that makes the role."""

SIMULATIONS = frozenset({"SimulateCustomPolicy", "SimulatePrincipalPolicy"})
"""The operations that are answered here."""


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
