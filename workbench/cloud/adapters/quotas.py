"""Whether the account may have so many instances or calls at once, where AWS says so.

Nothing is known of a cloud that costs nothing, or where AWS may not be asked: what is too much is
then refused when it is made.
"""

from typing import Any

from workbench.cloud.aws import Cloud
from workbench.cloud.client import open_client
from workbench.errors import CloudError, NotAvailable

_UNRESERVED = 100  # calls at once that must stay for functions without a reserve (Lambda quotas)


def check_instances(cloud: Cloud, deployment: Any, use: str) -> None:  # noqa: ANN401 - has a count
    """Raise `CloudError` where the quota of a use, as Service Quotas names it, is too small."""
    if not cloud.paid:
        return
    name = f"{deployment.instance_type} for {use} usage"  # the quota's name in Service Quotas
    quota = _quota(cloud, name)
    if quota is not None and quota < deployment.count:
        raise CloudError(
            f"The account's quota {name!r} in {cloud.region} is {quota:g}, and "
            f"{deployment.label} takes {deployment.count}: ask for more in Service Quotas, or "
            "choose another type.",
            "ResourceLimitExceeded",
        )


def check_concurrency(cloud: Cloud, concurrency: int, *, label: str) -> None:
    """Raise `CloudError` where the account has no room for a function of so many calls at once."""
    if not cloud.paid:
        return
    try:
        with open_client(cloud, "lambda") as client, cloud.translate_errors("tell its limits"):
            limits = client.get_account_settings()["AccountLimit"]
    except (CloudError, NotAvailable):
        return  # whether it is allowed will be seen
    left = limits["UnreservedConcurrentExecutions"] - _UNRESERVED
    if left < concurrency:
        raise CloudError(
            f"The account in {cloud.region} has room for functions of {max(0, left)} calls at once "
            f"in all, and {label} takes {concurrency}: ask for more in "
            "Service Quotas (Concurrent executions), or choose less.",
            "ResourceLimitExceeded",
        )


def _quota(cloud: Cloud, name: str) -> float | None:
    try:
        with (
            open_client(cloud, "service-quotas") as client,
            cloud.translate_errors("list the quotas"),
        ):
            pages = client.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
            for quota in (quota for page in pages for quota in page["Quotas"]):
                if quota["QuotaName"] == name:
                    return float(quota["Value"])
    except (CloudError, NotAvailable):
        pass  # whether it is allowed will be seen
    return None
