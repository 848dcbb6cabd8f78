"""S3's operations on objects: put, read, copied, tagged, deleted."""

from collections.abc import Mapping
from email.utils import formatdate
from typing import Any, cast

from workbench.localcloud.core.protocol import AwsError, not_implemented_error, xml_response
from workbench.localcloud.core.store import Store
from workbench.localcloud.s3.answers import (
    S3Handler,
    acl_response,
    check_acl,
    checksum_elements,
    checksum_headers,
    find_type,
    object_headers,
    storage_class,
    tags_response,
    whole_checksum,
)
from workbench.localcloud.s3.checksums import find_algorithm
from workbench.localcloud.s3.objects import Object, ObjectStore
from workbench.localcloud.s3.parameters import version_error
from workbench.localcloud.s3.requests import (
    NotModified,
    S3Request,
    check_conditions,
    check_replaced,
    check_source_conditions,
    decode_tags,
    document_error,
    encode_tags,
    format_time,
    parse_range,
    parse_tags,
    read_document,
    read_number,
    read_object_headers,
    read_part_number,
    read_source,
)
from workbench.localcloud.s3.uploads import BodyWriter, StoredBody
from workbench.modelserver.http import FilePart, Response

MAX_SIZE = 5 * 1024**3
"""Bytes of one upload: larger objects come in parts."""

_REPLACED = (  # headers that no copy inherits
    *("x-amz-storage-class", "x-amz-server-side-encryption", "x-amz-website-redirect-location"),
)
_ATTRIBUTES = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")


class ObjectApi:
    """The operations on objects."""

    def __init__(self, store: Store, objects: ObjectStore) -> None:
        self._store = store
        self._objects = objects

    def operations(self) -> dict[str, S3Handler]:
        """Return what answers each operation, by name."""
        return {
            "PutObject": self.put,
            "CopyObject": self._copy,
            "GetObject": self._get,
            "HeadObject": self._get,
            "GetObjectAttributes": self._describe,
            "DeleteObject": self._delete,
            "DeleteObjects": self._delete_many,
            "GetObjectTagging": self._get_tags,
            "PutObjectTagging": self._put_tags,
            "DeleteObjectTagging": self._delete_tags,
            "GetObjectAcl": self._get_acl,
            "PutObjectAcl": self._put_acl,
        }

    async def put(self, call: S3Request) -> Response:
        """Save the body of a request as an object."""
        headers = read_object_headers(call)
        made = self._save(call, await self.finish_body(call), headers)
        encrypted = "x-amz-server-side-encryption"
        kept = [(encrypted, made.headers[encrypted])] if encrypted in made.headers else []
        return Response(200, headers=checksum_headers(made.etag, made.checksums) + kept)

    async def finish_body(self, call: S3Request) -> StoredBody:
        """Return the body of an upload, verified."""
        self._objects.region(call.bucket)
        if call.request.received > MAX_SIZE:
            raise AwsError(
                "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size."
            )
        return await self._store.run_in_thread(cast("BodyWriter", call.request.spool_file).finish)

    def _save(self, call: S3Request, body: StoredBody, headers: dict[str, str]) -> Object:
        try:
            check_replaced(call.headers, self._objects.find(call.bucket, call.key))
            return self._objects.put(call.bucket, call.key, body, headers)
        finally:
            body.path.unlink(missing_ok=True)

    async def _get(self, call: S3Request) -> Response:
        found = self._objects.get(call.bucket, call.key)
        headers = [
            ("last-modified", formatdate(found.modified, usegmt=True)),
            ("etag", f'"{found.etag}"'),
        ]
        try:
            check_conditions(call.headers, found)
        except NotModified as error:
            return Response(error.status, headers=headers)
        headers += [("accept-ranges", "bytes"), *object_headers(found, call.query)]
        wanted = parse_range(call.headers.get("range", ""), found.size)
        sums = {} if wanted else found.checksums
        if "partNumber" in call.query:
            wanted, sums, marks = self._find_part(call, found)
            headers += marks
        first, length = wanted or (0, found.size)
        if length and wanted:  # an empty part has no range
            headers.append(("content-range", f"bytes {first}-{first + length - 1}/{found.size}"))
        if call.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
            headers += checksum_headers("", sums)
        body = FilePart(self._objects.path(found).open("rb"), first, length)
        only_head = call.request.method == "HEAD"
        return Response(206 if wanted else 200, body, "", headers, bodiless=only_head)

    def _find_part(
        self, call: S3Request, found: Object
    ) -> tuple[tuple[int, int] | None, Mapping[str, str], list[tuple[str, str]]]:
        """Return first byte and length of the part asked for, its checksums, and the parts' count.

        What was put in one piece is its only part, which nothing counts. An empty one has no range.
        """
        number, parts = read_part_number(call), self._objects.object_parts(call.bucket, found)
        if "range" in call.headers:
            raise AwsError(
                "InvalidRequest", "Cannot specify both Range header and partNumber query parameter"
            )
        if number > max(1, len(parts)):
            raise AwsError(
                "InvalidPartNumber",
                "The requested partnumber is not satisfiable",
                416,
                {"PartNumberRequested": number, "ActualPartCount": max(1, len(parts))},
            )
        if not parts:
            return (0, found.size) if found.size else None, found.checksums, []
        size, sums = parts[number - 1]
        start = sum(before for before, _ in parts[: number - 1])
        span = (start, size) if found.size else None
        composite = find_type(found.checksums) == "COMPOSITE"
        marks = [("x-amz-mp-parts-count", str(len(parts)))]
        return span, sums if composite else {}, marks

    async def _describe(self, call: S3Request) -> Response:
        found = self._objects.get(call.bucket, call.key)
        wanted = call.headers.get("x-amz-object-attributes", "").split(",")
        attributes = {each.strip() for each in wanted}
        if not attributes <= set(_ATTRIBUTES):
            raise AwsError("InvalidArgument", "Invalid attribute name specified.")
        sums = found.checksums
        bare = {name: value.partition("-")[0] for name, value in sums.items()}  # as here alone
        values: dict[str, Any] = {
            "ETag": found.etag,
            "Checksum": checksum_elements(bare) | {"ChecksumType": find_type(sums)},
            "ObjectParts": self._describe_parts(call, found),
            "StorageClass": storage_class(found),
            "ObjectSize": found.size,
        }
        absent = (() if sums else ("Checksum",)) + (() if "-" in found.etag else ("ObjectParts",))
        content = {name: values[name] for name in values if name in attributes.difference(absent)}
        modified = ("last-modified", formatdate(found.modified, usegmt=True))
        return xml_response("GetObjectAttributesResponse", content, [modified])

    def _describe_parts(self, call: S3Request, found: Object) -> dict[str, Any]:
        """Return how many parts an object has, and these a page at a time, by their checksums."""
        content: dict[str, Any] = {"PartsCount": int(found.etag.partition("-")[2] or 0)}
        if find_type(found.checksums) == "FULL_OBJECT":
            return content
        after = read_number(call, "x-amz-part-number-marker", 0)
        most = read_number(call, "x-amz-max-parts", 1000, 1000)
        parts = self._objects.object_parts(call.bucket, found)
        page = list(enumerate(parts, 1))[after : after + most]
        return content | {
            "PartNumberMarker": after,
            "NextPartNumberMarker": page[-1][0] if page else 0,
            "MaxParts": most,
            "IsTruncated": after + len(page) < len(parts),
            "Part": [
                {"PartNumber": number, "Size": size} | checksum_elements(sums)
                for number, (size, sums) in page
            ],
        }

    async def _copy(self, call: S3Request) -> Response:
        source = self.find_source(call)
        replaced = call.headers.get("x-amz-metadata-directive") == "REPLACE"
        there = self._objects.find(call.bucket, call.key)
        changed = replaced or any(name in call.headers for name in _REPLACED)
        if there and there.blob == source.blob and not changed:
            raise AwsError(
                "InvalidRequest",
                "This copy request is illegal because it is trying to copy an object to itself "
                "without changing the object's metadata, storage class or encryption.",
            )
        headers = _copy_headers(call, source)
        wanted = call.headers.get("x-amz-checksum-algorithm", "")
        body = await self._objects.copy_body(source, find_algorithm(wanted) if wanted else "")
        made = self._save(call, body, headers)
        content = {"ETag": f'"{made.etag}"', "LastModified": format_time(made.modified)}
        content |= whole_checksum(made.checksums)
        return xml_response("CopyObjectResult", content)

    def find_source(self, call: S3Request) -> Object:
        """Return the object that a request copies from, as the client wants it."""
        found = self._objects.get(*read_source(call))
        check_source_conditions(call, found)
        return found

    async def _delete(self, call: S3Request) -> Response:
        self._objects.region(call.bucket)
        if "if-match" in call.headers:
            check_replaced(call.headers, self._objects.find(call.bucket, call.key))
        self._objects.delete(call.bucket, [call.key])
        return Response(204)

    async def _delete_many(self, call: S3Request) -> Response:
        document = read_document(call)
        asked = [
            {child.tag.rpartition("}")[2]: child.text or "" for child in each}
            for each in document.findall("{*}Object")
        ]
        if not 1 <= len(asked) <= 1000 or not all(each.get("Key") for each in asked):
            raise document_error("Name 1 to 1000 objects by their keys.")
        self._objects.region(call.bucket)
        refused, gone = [], []
        for each in asked:
            try:
                self._check_deletion(call.bucket, each)
                gone.append(each["Key"])
            except AwsError as error:
                refused.append({"Key": each["Key"], "Code": error.code, "Message": error.message})
        self._objects.delete(call.bucket, gone)
        quiet = (document.findtext("{*}Quiet") or "").lower() == "true"
        deleted = [] if quiet else [{"Key": key} for key in gone]
        return xml_response("DeleteResult", {"Deleted": deleted, "Error": refused})

    def _check_deletion(self, bucket: str, asked: dict[str, str]) -> None:
        """Check that one of many objects can be deleted as it is asked."""
        if unknown := set(asked) - {"Key", "ETag", "VersionId"}:
            raise not_implemented_error(min(unknown))
        if asked.get("VersionId", "null") not in ("null", ""):
            raise version_error()
        if asked.get("ETag"):
            there = self._objects.find(bucket, asked["Key"])
            check_replaced({"if-match": asked["ETag"]}, there)

    # --- tags and access control lists

    async def _get_tags(self, call: S3Request) -> Response:
        headers = self._objects.get(call.bucket, call.key).headers
        return tags_response(decode_tags(headers.get("x-amz-tagging", "")))

    async def _put_tags(self, call: S3Request) -> Response:
        self._objects.tag(
            call.bucket, call.key, encode_tags(parse_tags(read_document(call), call.about))
        )
        return Response(200)

    async def _delete_tags(self, call: S3Request) -> Response:
        self._objects.tag(call.bucket, call.key, "")
        return Response(204)

    async def _get_acl(self, call: S3Request) -> Response:
        self._objects.get(call.bucket, call.key)
        return acl_response()

    async def _put_acl(self, call: S3Request) -> Response:
        self._objects.get(call.bucket, call.key)
        return check_acl(call)


def _copy_headers(call: S3Request, source: Object) -> dict[str, str]:
    """Return the headers of a copy: those of its source, but for what the request replaces."""
    given = read_object_headers(call)
    tags = given.pop("x-amz-tagging", "")
    if call.headers.get("x-amz-tagging-directive") != "REPLACE":
        tags = source.headers.get("x-amz-tagging", "")
    if call.headers.get("x-amz-metadata-directive") != "REPLACE":
        kept = {name: given[name] for name in _REPLACED if name in given}
        inherited = source.headers.items()
        given = {name: value for name, value in inherited if name not in _REPLACED} | kept
        given.pop("x-amz-tagging", "")
    return given | ({"x-amz-tagging": tags} if tags else {})
