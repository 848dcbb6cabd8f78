"""Whether the account may have so many instances or calls at once, where AWS says so.

Nothing is known of a cloud that costs nothing, or where AWS may not be asked: what is too much is
then refused when it is made.
"""

from workbench.cloud.aws import Cloud
from workbench.errors import CloudError, NotAvailable

_UNRESERVED = 100  # calls at once that must stay for functions without a reserve (Lambda quotas)


def check_instances(cloud: Cloud, instance_type: str, count: int, *, use: str, label: str) -> None:
    """Require a quota for so many instances.

    Args:
        cloud: Where.
        instance_type: Their type.
        count: How many.
        use: What for, as Service Quotas calls it: "endpoint" or "transform job".
        label: The deployment, for the message.

    Raises:
        CloudError: The quota is too small.
    """
    if not cloud.paid:
        return
    name = f"{instance_type} for {use} usage"  # the quota's name in Service Quotas
    quota = _quota(cloud, name)
    if quota is not None and quota < count:
        raise CloudError(
            f"The account's quota {name!r} in {cloud.region} is {quota:g}, and "
            f"{label} takes {count}: ask for more in Service Quotas, or "
            "choose another type.",
            "ResourceLimitExceeded",
        )


def check_concurrency(cloud: Cloud, concurrency: int, *, label: str) -> None:
    """Require room for a function of so many calls at once.

    Raises:
        CloudError: The account has less left.
    """
    if not cloud.paid:
        return
    client = cloud.client("lambda", attempts=3)
    try:
        with cloud.translate_errors("tell its limits"):
            limits = client.get_account_settings()["AccountLimit"]
    except (CloudError, NotAvailable):
        return  # whether it is allowed will be seen
    finally:
        client.close()
    left = limits["UnreservedConcurrentExecutions"] - _UNRESERVED
    if left < concurrency:
        raise CloudError(
            f"The account in {cloud.region} has room for functions of {max(0, left)} calls at once "
            f"in all, and {label} takes {concurrency}: ask for more in "
            "Service Quotas (Concurrent executions), or choose less.",
            "ResourceLimitExceeded",
        )


def _quota(cloud: Cloud, name: str) -> float | None:
    client = cloud.client("service-quotas", attempts=3)
    try:
        with cloud.translate_errors("list the quotas"):
            pages = client.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
            for page in pages:
                for quota in page["Quotas"]:
                    if quota["QuotaName"] == name:
                        return float(quota["Value"])
    except (CloudError, NotAvailable):
        return None  # whether it is allowed will be seen
    finally:
        client.close()
    return None
