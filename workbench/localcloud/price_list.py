"""The Price List of a local cloud: the prices that ship with the workbench, in AWS's shape."""

import json
from collections.abc import Mapping
from typing import Any

from workbench.cloud.price_list import LAMBDA, SAGEMAKER, attributes_of, service_of
from workbench.localcloud.core import validation
from workbench.localcloud.core.protocol import (
    AwsError,
    json_parameters,
    not_implemented_error,
    validation_error,
)
from workbench.modelserver.http import Request
from workbench.pricing.sheet import PriceSheet

REGIONS = ("us-east-1", "eu-central-1")
"""Those with a sheet."""

_TARGET = "AWSPriceListService."
_MAX_RESULTS = 100  # products of a page (botocore's model: MaxResults at most)


class PriceList:
    """Answers GetProducts, with filters of type TERM_MATCH."""

    async def answer(self, request: Request) -> dict[str, Any]:
        """Return what an operation gives back.

        Raises:
            AwsError: AWS would refuse it, or it is not offered.
        """
        name = request.headers.get("x-amz-target", "").removeprefix(_TARGET)
        model = validation.operation("pricing", name)
        params = json_parameters(request.body)
        validation.check(model.input_shape, params)
        if name != "GetProducts":
            raise not_implemented_error(f"The Price List's {name}")
        return _get_products(params)


def _get_products(params: Mapping[str, Any]) -> dict[str, Any]:
    wanted: dict[str, str] = {}
    if params["ServiceCode"] not in (SAGEMAKER, LAMBDA):
        raise AwsError("NotFoundException", f"No products of {params['ServiceCode']} here.")
    for each in params.get("Filters", []):
        if each["Type"] != "TERM_MATCH":
            raise not_implemented_error(f"A filter of type {each['Type']}")
        wanted[each["Field"]] = each["Value"]
    found = [
        product
        for region in REGIONS
        for product in _products(region, params["ServiceCode"])
        if wanted.items() <= product["product"]["attributes"].items()
    ]
    begin = _parse_token(params.get("NextToken", "0"))
    end = begin + params.get("MaxResults", _MAX_RESULTS)
    more = {"NextToken": str(end)} if end < len(found) else {}
    listed = [json.dumps(product) for product in found[begin:end]]
    return {"FormatVersion": params.get("FormatVersion", "aws_v1"), "PriceList": listed, **more}


def _parse_token(token: str) -> int:
    if not token.isdecimal():
        raise validation_error("NextToken is not one that GetProducts gave.")
    return int(token)


def _products(region: str, service: str) -> list[dict[str, Any]]:
    sheet = PriceSheet.load_bundled(region)
    items = dict.fromkeys(row.item for row in sheet.rows)
    return [_product(sheet, item) for item in items if service_of(item) == service]


def _product(sheet: PriceSheet, item: str) -> dict[str, Any]:
    """Return an item as a product of the Price List."""
    tiers = sheet.tiers(item)
    ends = [*(f"{tier.start:g}" for tier in tiers[1:]), "Inf"]
    dimensions = {
        f"LOCAL.{number}": {
            "unit": tier.unit,
            "beginRange": f"{tier.start:g}",
            "endRange": end,
            "description": f"{tier.dollars} a {tier.unit} of {item}: {tier.mark}, {tier.source}",
            "pricePerUnit": {"USD": f"{tier.dollars:.13f}"},
        }
        for number, (tier, end) in enumerate(zip(tiers, ends, strict=True))
    }
    return {
        "product": {
            "sku": "LOCAL",
            "attributes": attributes_of(item, sheet.region),
        },
        "serviceCode": service_of(item),
        "terms": {"OnDemand": {"LOCAL": {"priceDimensions": dimensions}}},
        "version": f"{max(tier.date for tier in tiers if tier.date)}",
    }
