"""S3's operations on uploads in parts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from workbench.localcloud.core.protocol import AwsError, xml_response
from workbench.localcloud.s3.answers import (
    OWNER,
    S3Handler,
    checksum_elements,
    checksum_headers,
    storage_class,
    whole_checksum,
)
from workbench.localcloud.s3.checksums import (
    CHECKSUMS,
    choose_type,
    digest_error,
    find_algorithm,
    find_checksum,
)
from workbench.localcloud.s3.objects import TYPE_HEADER, Object, ObjectStore, Part, Upload
from workbench.localcloud.s3.requests import (
    S3Request,
    check_replaced,
    document_error,
    format_time,
    parse_document,
    read_number,
    read_object_headers,
    read_part_number,
    read_source_range,
)
from workbench.localcloud.s3.uploads import StoredBody
from workbench.modelserver.http import Response

if TYPE_CHECKING:
    from workbench.localcloud.s3.object_api import ObjectApi


class UploadApi:
    """The operations on uploads in parts."""

    def __init__(self, objects: ObjectStore, object_api: "ObjectApi") -> None:
        self._objects = objects
        self._object_api = object_api

    def operations(self) -> dict[str, S3Handler]:
        """Return what answers each operation, by name."""
        return {
            "CreateMultipartUpload": self._begin,
            "UploadPart": self._put_part,
            "UploadPartCopy": self._copy_part,
            "ListParts": self._list_parts,
            "CompleteMultipartUpload": self._complete,
            "AbortMultipartUpload": self._abort,
        }

    async def _begin(self, call: S3Request) -> Response:
        wanted = call.headers.get("x-amz-checksum-algorithm", "")
        algorithm = find_algorithm(wanted) if wanted else ""
        headers = read_object_headers(call)
        marks = []
        if algorithm or TYPE_HEADER in call.headers:
            headers[TYPE_HEADER] = choose_type(algorithm, call.headers.get(TYPE_HEADER, ""))
            marks = [("x-amz-checksum-algorithm", algorithm.upper())]
            marks.append((TYPE_HEADER, headers[TYPE_HEADER]))
        upload = self._objects.begin(call.bucket, call.key, headers, algorithm)
        content = {"Bucket": call.bucket, "Key": call.key, "UploadId": upload.id}
        return xml_response("InitiateMultipartUploadResult", content, marks)

    async def _put_part(self, call: S3Request) -> Response:
        upload, number = self._find_upload(call), read_part_number(call)
        sent, _ = find_checksum(call.headers)
        if upload.algorithm and sent != upload.algorithm:
            raise AwsError(
                "InvalidRequest",
                f"Checksum Type mismatch occurred, expected checksum Type: {upload.algorithm}, "
                f"actual checksum Type: {sent or 'null'}",
            )
        body = await self._object_api.finish_body(call)
        part = self._save_part(call, number, body)
        return Response(200, headers=checksum_headers(part.etag, part.checksums))

    async def _copy_part(self, call: S3Request) -> Response:
        upload, number = self._find_upload(call), read_part_number(call)
        source = self._object_api.find_source(call)
        first, length = read_source_range(call, source.size)
        body = await self._objects.copy_range(source, first, length, upload.algorithm)
        part = self._save_part(call, number, body)
        content = {"ETag": f'"{part.etag}"', "LastModified": format_time(part.modified)}
        return xml_response("CopyPartResult", content | checksum_elements(part.checksums))

    def _save_part(self, call: S3Request, number: int, body: StoredBody) -> Part:
        try:
            return self._objects.put_part(self._find_upload(call), number, body)
        finally:
            body.path.unlink(missing_ok=True)

    async def _list_parts(self, call: S3Request) -> Response:
        upload = self._find_upload(call)
        after = read_number(call, "part-number-marker", 0)
        most = read_number(call, "max-parts", 1000, 1000)
        parts = [part for part in self._objects.parts(upload) if part.number > after]
        page = parts[:most]
        listed = [
            {
                "PartNumber": part.number,
                "LastModified": format_time(part.modified),
                "ETag": f'"{part.etag}"',
                "Size": part.size,
                **checksum_elements(part.checksums),
            }
            for part in page
        ]
        content: dict[str, Any] = {
            "Bucket": call.bucket,
            "Key": call.key,
            "UploadId": upload.id,
            "Initiator": OWNER,
            "Owner": OWNER,
            "StorageClass": storage_class(upload),
            "PartNumberMarker": after,
            "NextPartNumberMarker": page[-1].number if page else 0,
            "MaxParts": most,
            "IsTruncated": len(parts) > len(page),
            "Part": listed,
        }
        if upload.algorithm:
            content["ChecksumAlgorithm"] = upload.algorithm.upper()
            content["ChecksumType"] = upload.checksum_type
        return xml_response("ListPartsResult", content)

    async def _complete(self, call: S3Request) -> Response:
        named = _read_parts(parse_document(call.request.body))
        made = self._objects.find_completed(call.bucket, call.key, call.query["uploadId"])
        if made is None:
            made = await self._make(call, self._find_upload(call), named)
        content = {
            "Location": f"/{call.bucket}/{call.key}",
            "Bucket": call.bucket,
            "Key": call.key,
            "ETag": f'"{made.etag}"',
        }
        content |= whole_checksum(made.checksums)
        return xml_response("CompleteMultipartUploadResult", content)

    async def _make(self, call: S3Request, upload: Upload, named: list["_NamedPart"]) -> Object:
        """Join the parts of an upload to its object."""
        check_replaced(call.headers, self._objects.find(call.bucket, call.key))
        self._check_parts(upload, named)
        sent, value = find_checksum({**call.headers, "x-amz-trailer": ""}, composite=True)
        kind = call.headers.get(TYPE_HEADER, upload.checksum_type)
        if upload.algorithm and (kind, sent or upload.algorithm) != (
            upload.checksum_type,
            upload.algorithm,
        ):
            raise AwsError(
                "InvalidRequest",
                f"The upload was created with a {upload.checksum_type} checksum of "
                f"{upload.algorithm}, the complete request has {kind} and {sent}.",
            )
        full = {upload.algorithm} if upload.checksum_type == "FULL_OBJECT" else set()
        if sent and not upload.algorithm:
            full = {sent}
        parts = [(each.number, each.etag) for each in named]
        body = await self._objects.join(upload, parts, full)
        try:
            self._check_whole(call, body, sent, value)
            # once more: while the parts were joined another may have come
            check_replaced(call.headers, self._objects.find(call.bucket, call.key))
            return self._objects.complete(upload, body)
        finally:
            body.path.unlink(missing_ok=True)

    def _check_whole(self, call: S3Request, body: StoredBody, sent: str, value: str) -> None:
        made = body.checksums.get(sent, "")
        if sent and value.partition("-")[0] != made.partition("-")[0]:
            raise digest_error(sent.upper())
        size = call.headers.get("x-amz-mp-object-size", str(body.size))
        if size != str(body.size):
            raise AwsError(
                "InvalidRequest",
                f"The provided 'x-amz-mp-object-size' header value {size} does not match what was "
                f"computed: {body.size}",
            )

    def _check_parts(self, upload: Upload, named: list["_NamedPart"]) -> None:
        """Check the checksums that the client gives of the parts; composite ones must be there."""
        there = {part.number: part.checksums for part in self._objects.parts(upload)}
        must = upload.algorithm if upload.checksum_type == "COMPOSITE" else ""
        for part in named:
            if must and must not in part.checksums:
                raise AwsError(
                    "InvalidRequest",
                    f"The upload was created using a {must} checksum. The complete request must "
                    "include the checksum for each part. It was missing for part "
                    f"{part.number} in the request.",
                )
            if not part.checksums.items() <= there.get(part.number, part.checksums).items():
                raise AwsError(
                    "InvalidPart",
                    "One or more of the specified parts could not be found: the checksum may not "
                    "match the part's.",
                    extra={"PartNumber": part.number},
                )

    async def _abort(self, call: S3Request) -> Response:
        self._objects.abort(call.bucket, call.key, call.query["uploadId"])
        return Response(204)

    def _find_upload(self, call: S3Request) -> Upload:
        return self._objects.upload(call.bucket, call.key, call.query["uploadId"])


@dataclass(frozen=True, slots=True)
class _NamedPart:
    """A part as the client names it."""

    number: int
    etag: str
    checksums: dict[str, str]


def _read_parts(document: ET.Element) -> list[_NamedPart]:
    try:
        named = [
            _NamedPart(
                int(part.findtext("{*}PartNumber") or ""),
                part.findtext("{*}ETag") or "",
                {
                    name: text
                    for name in CHECKSUMS
                    if (text := part.findtext(f"{{*}}Checksum{name.upper()}"))
                },
            )
            for part in document.findall("{*}Part")
        ]
    except ValueError:
        named = []
    if not named:
        raise document_error("Name each part by PartNumber and ETag.")
    return named
