"""S3's operations on buckets: made, described, listed, tagged, deleted."""

import re
from typing import Any, cast

from workbench.localcloud.core.paging import Pager
from workbench.localcloud.core.protocol import (
    REGION,
    AwsError,
    not_implemented_error,
    xml_response,
)
from workbench.localcloud.s3.answers import (
    OWNER,
    S3Handler,
    acl_response,
    check_acl,
    tags_response,
)
from workbench.localcloud.s3.objects import ObjectStore
from workbench.localcloud.s3.parameters import CONFIGURATIONS
from workbench.localcloud.s3.requests import (
    S3Request,
    format_time,
    parse_tags,
    read_document,
    read_number,
)
from workbench.modelserver.http import Response

_PAGER = Pager(  # API reference, ListBuckets
    10_000,
    size="max-buckets",
    token="continuation-token",  # noqa: S106 - a parameter's name
    next_token="ContinuationToken",  # noqa: S106 - a member's name
    error="InvalidArgument",
)
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d+", re.ASCII)


class BucketApi:
    """The operations on buckets."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def operations(self) -> dict[str, S3Handler]:
        """Return what answers each operation, by name."""
        return {
            "ListBuckets": self._list,
            "CreateBucket": self._create,
            "HeadBucket": self._head,
            "DeleteBucket": self._delete,
            "GetBucketLocation": self._locate,
            "GetBucketTagging": self._get_tags,
            "PutBucketTagging": self._put_tags,
            "DeleteBucketTagging": self._delete_tags,
            "GetBucketAcl": self._get_acl,
            "PutBucketAcl": self._put_acl,
            **{name: self._get_nothing for name, *_ in CONFIGURATIONS.values()},
        }

    async def _list(self, call: S3Request) -> Response:
        most = read_number(call, "max-buckets", _PAGER.default, _PAGER.default)
        if most < 1:
            raise AwsError("InvalidArgument", "max-buckets must be at least 1.")
        after = _PAGER.start(call.query, "")
        prefix, wanted = call.query.get("prefix", ""), call.query.get("bucket-region", "")
        found = [
            {"Name": name, "BucketRegion": region, "CreationDate": format_time(created)}
            for name, region, created in self._objects.buckets()
            if name > after and name.startswith(prefix) and wanted in ("", region)
        ]
        page, more = _PAGER.cut(
            found[: most + 1], {"max-buckets": most}, lambda bucket: bucket["Name"]
        )
        content: dict[str, Any] = {"Owner": OWNER, "Buckets": {"Bucket": page}} | more
        content |= {"Prefix": prefix} if prefix else {}
        return xml_response("ListAllMyBucketsResult", content)

    async def _create(self, call: S3Request) -> Response:
        _check_region(call.region)
        wanted = _read_location(call) if call.request.body else None
        region = wanted or REGION
        if call.region == REGION == wanted or not _REGION.fullmatch(region):
            raise AwsError(  # S3 has no name for us-east-1 there
                "InvalidLocationConstraint", "The specified location-constraint is not valid."
            )
        if call.region not in (region, REGION):  # whose address makes buckets everywhere
            raise AwsError(
                "IllegalLocationConstraintException",
                f"The {wanted or 'unspecified'} location constraint is incompatible for the "
                f"region specific endpoint this request was sent to ({call.region}).",
            )
        self._objects.create_bucket(call.bucket, region)
        return Response(200, headers=[("location", f"/{call.bucket}")])

    async def _head(self, call: S3Request) -> Response:
        region = [("x-amz-bucket-region", self._objects.region(call.bucket))]
        return Response(200, b"", "application/xml", region)

    async def _delete(self, call: S3Request) -> Response:
        self._objects.delete_bucket(call.bucket)
        return Response(204)

    async def _locate(self, call: S3Request) -> Response:
        region = self._objects.region(call.bucket)
        answer = xml_response("LocationConstraint", {})
        location = b"" if region == REGION else region.encode()  # us-east-1 has no name there
        answer.body = cast("bytes", answer.body).replace(b"></Loc", b">" + location + b"</Loc")
        return answer

    async def _get_tags(self, call: S3Request) -> Response:
        tags = self._objects.bucket_tags(call.bucket)
        if not tags:
            raise AwsError("NoSuchTagSet", "The TagSet does not exist.", 404)
        return tags_response(tags)

    async def _put_tags(self, call: S3Request) -> Response:
        self._objects.tag_bucket(call.bucket, parse_tags(read_document(call), call.about))
        return Response(204)

    async def _delete_tags(self, call: S3Request) -> Response:
        self._objects.tag_bucket(call.bucket, [])
        return Response(204)

    async def _get_nothing(self, call: S3Request) -> Response:
        """Answer what a bucket has that was never configured, as none here can be."""
        self._objects.region(call.bucket)
        _, document, error = CONFIGURATIONS[call.action[2]]
        if error:
            raise AwsError(error, f"The bucket has no configuration of {call.action[2]}.", 404)
        return xml_response(document, {})

    async def _get_acl(self, call: S3Request) -> Response:
        self._objects.region(call.bucket)
        return acl_response()

    async def _put_acl(self, call: S3Request) -> Response:
        self._objects.region(call.bucket)
        return check_acl(call)


def _check_region(name: str) -> None:
    """Check that a bucket's maker signs for a region; who does not is given the one to sign for."""
    if _REGION.fullmatch(name) is None:
        raise AwsError(
            "AuthorizationHeaderMalformed",
            f"The authorization header is malformed; the region {name!r} is wrong; expecting "
            f"{REGION!r}",
            extra={"Region": REGION},
        )


def _read_location(call: S3Request) -> str | None:
    """Return the region that a document wants a bucket in, and refuse what else it wants."""
    document = read_document(call)
    for each in document:
        name = each.tag.rpartition("}")[2]
        if name != "LocationConstraint":
            raise not_implemented_error(f"S3's CreateBucket with {name}")
    return document.findtext("{*}LocationConstraint")
