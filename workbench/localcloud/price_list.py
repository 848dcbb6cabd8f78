"""The Price List of a local cloud: the prices that ship with the workbench, in AWS's shape."""

import json
from collections.abc import Mapping
from typing import Any

from workbench.cloud.price_list import LAMBDA, SAGEMAKER, attributes_of, service_of
from workbench.localcloud.core.paging import Pager
from workbench.localcloud.core.protocol import AwsError, not_implemented_error
from workbench.pricing.sheet import PriceSheet

REGIONS = ("us-east-1", "eu-central-1")
"""Those with a sheet."""

_PAGER = Pager(100, error="InvalidNextTokenException")  # botocore's model: MaxResults at most


async def get_products(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return products, chosen by filters of the type TERM_MATCH (operation GetProducts).

    Raises:
        AwsError: There is no such service here, or a filter is of another type.
    """
    wanted: dict[str, str] = {}
    if params["ServiceCode"] not in (SAGEMAKER, LAMBDA):
        raise AwsError("NotFoundException", f"No products of {params['ServiceCode']} here.")
    for each in params.get("Filters", []):
        if each["Type"] != "TERM_MATCH":
            raise not_implemented_error(f"A filter of type {each['Type']}")
        wanted[each["Field"]] = each["Value"]
    products = (
        _product(sheet, item)
        for sheet in map(PriceSheet.load_bundled, REGIONS)
        for item in dict.fromkeys(row.item for row in sheet.rows)
        if service_of(item) == params["ServiceCode"]
    )
    found = [each for each in products if wanted.items() <= each["product"]["attributes"].items()]
    page, more = _PAGER.page(found, params)
    listed = [json.dumps(product) for product in page]
    return {"FormatVersion": params.get("FormatVersion", "aws_v1"), "PriceList": listed, **more}


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
        "product": {"sku": "LOCAL", "attributes": attributes_of(item, sheet.region)},
        "serviceCode": service_of(item),
        "terms": {"OnDemand": {"LOCAL": {"priceDimensions": dimensions}}},
        "version": f"{max(tier.date for tier in tiers if tier.date)}",
    }
