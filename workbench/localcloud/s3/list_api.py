"""S3's lists of objects, of their versions and of uploads that have begun."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from workbench.localcloud.core.paging import Pager
from workbench.localcloud.core.protocol import xml_response
from workbench.localcloud.s3.answers import (
    OWNER,
    S3Handler,
    object_element,
    prefixes,
    repeat,
    storage_class,
)
from workbench.localcloud.s3.objects import LAST_CHARACTER, Object, ObjectStore, Upload
from workbench.localcloud.s3.requests import S3Request, encode_key, format_time, read_number
from workbench.modelserver.http import Response

_PAGER = Pager(  # API reference, ListObjectsV2
    1000,
    size="max-keys",
    token="continuation-token",  # noqa: S106 - a parameter's name
    next_token="NextContinuationToken",  # noqa: S106 - a member's name
    error="InvalidArgument",
)


class ListApi:
    """The lists of what is in a bucket."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def operations(self) -> dict[str, S3Handler]:
        """Return what answers each operation, by name."""
        return {
            "ListObjects": self._list,
            "ListObjectsV2": self._list_v2,
            "ListObjectVersions": self._list_versions,
            "ListMultipartUploads": self._list_uploads,
        }

    async def _list(self, call: S3Request) -> Response:
        page, content = self._read_page(call, call.query.get("marker", ""))
        content["Marker"] = encode_key(call, call.query.get("marker", ""))
        # only with a delimiter (API reference, ListObjects)
        if content["IsTruncated"] and "delimiter" in call.query:
            content["NextMarker"] = encode_key(call, _last(page))
        return xml_response("ListBucketResult", content | _contents(call, page))

    async def _list_v2(self, call: S3Request) -> Response:
        query = call.query
        after, repeated = query.get("start-after", ""), "start-after"
        if "continuation-token" in query:  # which overrules the other
            after, repeated = _PAGER.start(query, ""), "continuation-token"
            if not after:
                raise _PAGER.token_error()
        page, content = self._read_page(call, after)
        content["KeyCount"] = len(page)
        content |= repeat(call, repeated)
        content |= _PAGER.continuation(_last(page)) if content["IsTruncated"] else {}
        owner = {"Owner": OWNER} if query.get("fetch-owner") == "true" else {}
        return xml_response("ListBucketResult", content | _contents(call, page, **owner))

    async def _list_versions(self, call: S3Request) -> Response:
        """List the objects as versions: each is its only one, whose id is "null"."""
        marker = call.query.get("key-marker", "")
        page, content = self._read_page(call, marker)
        content["KeyMarker"] = encode_key(call, marker)
        content["VersionIdMarker"] = call.query.get("version-id-marker", "")
        if content["IsTruncated"]:
            content["NextKeyMarker"] = encode_key(call, _last(page))
            content["NextVersionIdMarker"] = "null"
        only = {"VersionId": "null", "IsLatest": True, "Owner": OWNER}
        content["Version"] = _contents(call, page, **only)["Contents"]
        return xml_response("ListVersionsResult", content | prefixes(call, page))

    def _read_page(self, call: S3Request, after: str) -> tuple[list[Object | str], dict[str, Any]]:
        """Return what is on a page behind a key, and what all lists say of it."""
        prefix, delimiter = call.query.get("prefix", ""), call.query.get("delimiter", "")
        most = read_number(call, "max-keys", _PAGER.default, _PAGER.default)
        entries = self._objects.list_objects(
            call.bucket,
            prefix=prefix,
            delimiter=delimiter,
            after=_skip_prefix(after, prefix, delimiter),
        )
        page = list(islice(entries, most + 1))
        content = {
            "Name": call.bucket,
            "Prefix": encode_key(call, prefix),
            **repeat(call, "delimiter", "encoding-type"),
            "MaxKeys": most,
            "IsTruncated": len(page) > most > 0,  # of pages of none there is no end
        }
        return page[:most], content

    # --- uploads

    async def _list_uploads(self, call: S3Request) -> Response:
        query = call.query
        most = read_number(call, "max-uploads", 1000, 1000)
        page = list(islice(self._find_uploads(call), most + 1))
        more, page = len(page) > most > 0, page[:most]
        content: dict[str, Any] = {
            "Bucket": call.bucket,
            "Prefix": encode_key(call, query.get("prefix", "")),
            "KeyMarker": encode_key(call, query.get("key-marker", "")),
            "UploadIdMarker": query.get("upload-id-marker", ""),
            **repeat(call, "delimiter", "encoding-type"),
            "MaxUploads": most,
            "IsTruncated": more,
        }
        if more:
            content["NextKeyMarker"] = encode_key(call, _last(page))
            content["NextUploadIdMarker"] = page[-1].id if isinstance(page[-1], Upload) else ""
        content["Upload"] = [_upload(call, each) for each in page if isinstance(each, Upload)]
        return xml_response("ListMultipartUploadsResult", content | prefixes(call, page))

    def _find_uploads(self, call: S3Request) -> Iterator[Upload | str]:
        """Yield the uploads behind the markers, and each common prefix once."""
        query = call.query
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = _skip_prefix(query.get("key-marker", ""), prefix, delimiter)
        found = [each for each in self._objects.uploads(call.bucket) if each.key >= after]
        marker = (after, query.get("upload-id-marker", ""))
        at_marker = [(each.key, each.id) for each in found]
        if marker in at_marker:
            found = found[at_marker.index(marker) + 1 :]
        elif after:
            found = [each for each in found if each.key > after]
        former = ""
        for each in found:
            cut = each.key.find(delimiter, len(prefix)) if delimiter else -1
            common = each.key[: cut + len(delimiter)] if cut >= 0 else ""
            if each.key.startswith(prefix) and not (common and common == former):
                former = common
                yield common or each


def _contents(call: S3Request, page: list[Object | str], **members: Any) -> dict[str, Any]:  # noqa: ANN401 - of a document
    found = [object_element(call, each) | members for each in page if isinstance(each, Object)]
    return {"Contents": found} | prefixes(call, page)


def _upload(call: S3Request, upload: Upload) -> dict[str, Any]:
    facts = {"ChecksumAlgorithm": upload.algorithm.upper(), "ChecksumType": upload.checksum_type}
    return {
        "Key": encode_key(call, upload.key),
        "UploadId": upload.id,
        "Initiator": OWNER,
        "Owner": OWNER,
        "StorageClass": storage_class(upload),
        "Initiated": format_time(upload.started),
        **(facts if upload.algorithm else {}),
    }


def _last(page: list[Any]) -> str:
    if not page:
        return ""
    return page[-1] if isinstance(page[-1], str) else str(page[-1].key)


def _skip_prefix(after: str, prefix: str, delimiter: str) -> str:
    """Where a list goes on: behind every key of a common prefix, where it stopped at one."""
    if delimiter and after.startswith(prefix) and after.endswith(delimiter) and after != prefix:
        return after + LAST_CHARACTER
    return after
