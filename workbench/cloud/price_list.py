"""Prices refreshed from AWS's Price List, through boto3.

An item of a sheet and a product of the list are matched by the product's attributes::

    attributes_of("ml.m5.large", "us-east-1")["instanceName"]     # 'ml.m5.large'

Attributes are those that public programs were seen to filter by (awslabs/llmeter, infracost; read
2026-11-23). The names of Lambda's groups are recalled: an item that the list does not have under
its name keeps the price it had.
"""

import datetime as dt
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from workbench.cloud.aws import Cloud
from workbench.cloud.client import open_client
from workbench.errors import CloudError, NotFound
from workbench.pricing.sheet import Price, PriceSheet

SAGEMAKER, LAMBDA = "AmazonSageMaker", "AWSLambda"
"""The services whose prices are read, as the Price List calls them."""

_PRICE_LIST_REGION = "us-east-1"  # one of the few regions in which the Price List answers
_GB = 1024  # MB, in which items name a memory
_GROUPS = {
    "lambda duration x86_64": "AWS-Lambda-Duration",
    "lambda duration arm64": "AWS-Lambda-Duration-ARM",
    "lambda requests": "AWS-Lambda-Requests",
    "lambda provisioned x86_64": "AWS-Lambda-Provisioned-Concurrency",
    "lambda provisioned arm64": "AWS-Lambda-Provisioned-Concurrency-ARM",
    "lambda provisioned duration x86_64": "AWS-Lambda-Duration-Provisioned",
    "lambda provisioned duration arm64": "AWS-Lambda-Duration-Provisioned-ARM",
    "lambda ephemeral storage": "AWS-Lambda-Storage-Duration",
}
_PREFIXES = {"us-east-1": "USE1", "eu-central-1": "EUC1"}  # of usage types
_USAGE = {
    "serverless": "ServerlessInf:Mem-{}GB",
    "serverless provisioned duration": "ServerlessInf:ProvisionedConcurrency:Mem-{}GB",
    "serverless provisioned": "ServerlessInf:ProvisionedConcurrency:Usage-{}GB",
}


@dataclass(frozen=True, kw_only=True)
class PriceRefresh:
    """A sheet with the prices that AWS lists today, and what that changed.

    Attributes:
        sheet: All items; those that were read are marked "verified".
        changes: Items whose first price is another, with both; None before: it is new.
        unread: Items that the list did not have, or not clearly: they are as before.
    """

    sheet: PriceSheet
    changes: Mapping[str, tuple[float | None, float]]
    unread: tuple[str, ...]


def refresh_prices(sheet: PriceSheet, cloud: Cloud, *, today: dt.date) -> PriceRefresh:
    """Return the sheet with the prices of its region as AWS's Price List has them.

    Reading it is free. All instance types that the list has are taken in.

    Args:
        sheet: Of the region.
        cloud: AWS, or what answers as AWS does.
        today: The date that the prices get.

    Raises:
        NotAvailable: Credentials are missing or do not allow `pricing:GetProducts`.
        CloudError: AWS refused, or the list has no price of the region.
    """
    found: dict[str, tuple[Price, ...]] = {}
    unclear: set[str] = set()
    with open_client(replace(cloud.value(), region=_PRICE_LIST_REGION), "pricing") as aws:
        for product in _products(aws, cloud, sheet.region):
            item = _item_of(product, sheet)
            if item is None:
                continue
            prices = _prices(item, product, sheet, today)
            others = found.get(item, prices)
            if [each.dollars for each in prices] != [each.dollars for each in others]:
                unclear.add(item)
            found[item] = prices
    read = {item: prices for item, prices in found.items() if prices and item not in unclear}
    if not read:
        raise CloudError(
            f"The Price List of {cloud.name} has no price of {sheet.region} that the sheet knows: "
            "the prices stay as they are."
        )
    kept = tuple(row for row in sheet.rows if row.item not in read)
    rows = (*kept, *(price for prices in read.values() for price in prices))
    return PriceRefresh(
        sheet=replace(sheet, rows=rows),
        changes={item: change for item in read if (change := _change(item, sheet, read[item]))},
        unread=tuple(dict.fromkeys(row.item for row in kept)),
    )


def service_of(item: str) -> str | None:
    """Return the service under which the Price List has an item, None for one it is not asked for.

    >>> service_of("ml.m5.large"), service_of("lambda requests"), service_of("s3 put")
    ('AmazonSageMaker', 'AWSLambda', None)
    """
    if item in _GROUPS:
        return LAMBDA
    return SAGEMAKER if attributes_of(item, "us-east-1") else None


def attributes_of(item: str, region: str) -> dict[str, str]:
    """Return the attributes by which a product of the Price List is known to be an item; {}: none.

    >>> attributes_of("serverless 3072 MB", "us-east-1")["usagetype"]
    'USE1-ServerlessInf:Mem-3GB'
    """
    region_filter = {"regionCode": region}
    if item.startswith("ml."):
        return region_filter | {"component": "Hosting", "instanceName": item}
    if item in _GROUPS:
        return region_filter | {"group": _GROUPS[item]}
    if item.startswith("endpoint data "):
        way = item.rpartition(" ")[2].upper()
        return region_filter | {"group": f"Hosting:{way}", "operation": "Invoke-Endpoint"}
    if item == "endpoint storage":
        return region_filter | {"volumeType": "General Purpose-Hosting"}
    words = item.split()
    usage = _USAGE.get(" ".join(words[:-2]))
    if usage is None or region not in _PREFIXES:
        return {}
    return region_filter | {
        "usagetype": f"{_PREFIXES[region]}-{usage.format(int(words[-2]) // _GB)}"
    }


def _products(aws: Any, cloud: Cloud, region: str) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401 - boto3's
    pages = aws.get_paginator("get_products")
    for service in (SAGEMAKER, LAMBDA):
        region_filter = {"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}
        with cloud.translate_errors(f"read the Price List of {service}"):
            for page in pages.paginate(ServiceCode=service, Filters=[region_filter]):
                yield from map(json.loads, page["PriceList"])


def _item_of(product: Mapping[str, Any], sheet: PriceSheet) -> str | None:
    """Return the item that a product is; None: not one that a sheet has."""
    attributes = product.get("product", {}).get("attributes", {})
    instance = str(attributes.get("instanceName", ""))
    items = {row.item for row in sheet.rows} | ({instance} if instance.startswith("ml.") else set())
    for item in sorted(items):
        wanted = attributes_of(item, sheet.region)
        if wanted and wanted.items() <= attributes.items():
            return item
    return None


def _prices(
    item: str, product: Mapping[str, Any], sheet: PriceSheet, today: dt.date
) -> tuple[Price, ...]:
    """Return a product's prices, one a tier; free tiers are left out, and the next begins at 0."""
    try:
        known = sheet.price(item)
    except NotFound:
        known = replace(sheet.price("ml.m5.large"), item=item)  # another instance type
    tiers = []
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            dollars = float(dimension["pricePerUnit"].get("USD", math.nan))
            if dollars > 0:
                tiers.append((float(dimension.get("beginRange", 0)), dollars))
    tiers.sort()
    source = f"AWS Price List, SKU {product.get('product', {}).get('sku', 'unknown')}"
    return tuple(
        replace(
            known,
            dollars=dollars,
            start=start if number else 0.0,
            date=today,
            source=source,
            mark="verified",
            note="",
        )
        for number, (start, dollars) in enumerate(tiers)
    )


def _change(
    item: str, sheet: PriceSheet, now: tuple[Price, ...]
) -> tuple[float | None, float] | None:
    """Return an item's first price before and now; None where it is the same."""
    try:
        before = sheet.price(item).dollars
    except NotFound:
        return None, now[0].dollars
    return None if math.isclose(before, now[0].dollars) else (before, now[0].dollars)
