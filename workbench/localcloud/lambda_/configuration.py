"""What GetFunctionConfiguration says of a function, and which functions cannot be."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from workbench.deployment.lambda_ import Lambda
from workbench.localcloud.core.protocol import AwsError, new_id, not_implemented_error
from workbench.localcloud.lambda_.code_packages import invalid_parameter_error

LATEST = "$LATEST"
"""The version that was not published."""

_UNSUPPORTED_MEMBERS = {
    "Layers": "A layer (Layers)",
    "FileSystemConfigs": "A file system (FileSystemConfigs)",
    "CapacityProviderConfig": "Managed Instances (CapacityProviderConfig)",
    "DurableConfig": "A durable function (DurableConfig)",
    "TenancyConfig": "Tenant isolation (TenancyConfig)",
    "AcceleratorConfig": "An accelerator (AcceleratorConfig)",
    "CodeSigningConfigArn": "Signed code (CodeSigningConfigArn)",
    "PublishTo": "Another version than a numbered one (PublishTo)",
    "VpcConfig": "A VPC (VpcConfig)",
    "SnapStart": "A snapshot (SnapStart)",
    "DeadLetterConfig": "A queue for failed events (DeadLetterConfig)",
    "LoggingConfig": "Logs in JSON, of a level or in another group (LoggingConfig)",
}
_HARMLESS: dict[str, Any] = {  # what asks for nothing of the members above
    "ApplyOn": "None",
    "Ipv6AllowedForDualStack": False,
    "LogFormat": "Text",
    "SecurityGroupIds": [],
    "SubnetIds": [],
    "TargetArn": "",
}
_RESERVED_VARIABLES = frozenset(  # Lambda developer guide, "Defined runtime environment variables"
    f"AWS_{name}"
    for name in (
        *("ACCESS_KEY", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"),
        *("DEFAULT_REGION", "REGION", "EXECUTION_ENV"),
        *("LAMBDA_FUNCTION_MEMORY_SIZE", "LAMBDA_FUNCTION_NAME", "LAMBDA_FUNCTION_VERSION"),
        *("LAMBDA_INITIALIZATION_TYPE", "LAMBDA_LOG_GROUP_NAME", "LAMBDA_LOG_STREAM_NAME"),
        "LAMBDA_RUNTIME_API",
    )
) | {"LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "_HANDLER", "_X_AMZN_TRACE_ID"}
_MAX_VARIABLES_BYTES = 4096  # bytes (the guide, "Lambda quotas")
_COPIED_MEMBERS = (
    *("Description", "Handler", "MemorySize", "Role", "Runtime", "Timeout"),
    *("EphemeralStorage", "KMSKeyArn", "TracingConfig"),  # which change nothing here
)


def create_facts(arn: str, params: Mapping[str, Any], package: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a new function; names that begin with _ are internal.

    Raises:
        AwsError: Package and program do not go together.
    """
    name = arn.rpartition(":")[2]
    facts = {
        "FunctionName": name,
        "FunctionArn": arn,
        "Description": "",
        # what is not named is as Lambda has it (API reference, CreateFunction)
        "Timeout": 3,
        "MemorySize": 128,
        "Version": LATEST,
        "Architectures": params.get("Architectures", ["x86_64"]),
        "EphemeralStorage": {"Size": 512},
        "TracingConfig": {"Mode": "PassThrough"},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        **package,
        **_collect_facts(params),
        **create_revision(),
    }
    _check_program(facts)
    return facts


def update_facts(facts: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what UpdateFunctionConfiguration makes of a function's facts.

    Raises:
        AwsError: Package and program do not go together.
    """
    made = {**facts, **_collect_facts(params), **create_revision()}
    _check_program(made)
    return made


def filter_public(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that clients see."""
    return {name: value for name, value in facts.items() if not name.startswith("_")}


def create_revision() -> dict[str, Any]:
    """Return the facts that every change replaces."""
    return {"LastModified": format_now(), "RevisionId": new_id()}


def format_now() -> str:
    """Return the time as Lambda writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def check(params: Mapping[str, Any]) -> None:
    """Check what botocore's ranges let pass: those of Lambda Managed Instances.

    Raises:
        AwsError: The function cannot be.
    """
    # "Lambda quotas" of its guide; the service model has what Managed Instances may have
    for name, most in (("MemorySize", 10_240), ("Timeout", int(Lambda.time_limit))):
        if params.get(name, 0) > most:
            raise AwsError(
                "ValidationException",
                f"1 validation error detected: Value '{params[name]}' at "
                f"'{name[0].lower()}{name[1:]}' failed to satisfy constraint: Member must have "
                f"value less than or equal to {most}",
            )
    _check_variables(params.get("Environment", {}).get("Variables", {}))
    harmless = _HARMLESS | {"LogGroup": f"/aws/lambda/{params['FunctionName'].rpartition(':')[2]}"}
    for name, words in _UNSUPPORTED_MEMBERS.items():
        asked = params.get(name)
        if isinstance(asked, dict):
            asked = any(value != harmless.get(member) for member, value in asked.items())
        if asked:
            raise not_implemented_error(words)


def _check_variables(variables: Mapping[str, str]) -> None:
    said = (
        "Lambda was unable to configure your environment variables because the environment "
        "variables you have provided"
    )
    if reserved := sorted(_RESERVED_VARIABLES & variables.keys()):
        raise invalid_parameter_error(
            f"{said} contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    size = len(json.dumps(variables, separators=(",", ":")).encode())
    if size > _MAX_VARIABLES_BYTES:
        raise invalid_parameter_error(f"{said} exceeded the 4KB limit: they take {size} bytes.")


def _collect_facts(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that a request says."""
    facts = {name: params[name] for name in _COPIED_MEMBERS if name in params}
    if "Environment" in params:
        facts["Environment"] = {"Variables": params["Environment"].get("Variables", {})}
    if "ImageConfig" in params:
        facts["ImageConfigResponse"] = {"ImageConfig": params["ImageConfig"]}
    return facts


def _check_program(facts: Mapping[str, Any]) -> None:
    if facts["PackageType"] == "Image":
        if facts.get("Handler") or facts.get("Runtime"):
            raise invalid_parameter_error(
                "Please don't provide Handler or Runtime or Layer when the intended "
                "function PackageType is Image."
            )
        return
    if not facts.get("Runtime") or not facts.get("Handler"):
        raise invalid_parameter_error(
            "Runtime and Handler are mandatory parameters for functions created with "
            "deployment packages."
        )
    if not facts["Runtime"].startswith("python3"):
        raise not_implemented_error(f"The runtime {facts['Runtime']}")
