"""S3's REST interface, path style: what boto3 and the AWS command line need of it.

Statuses, headers, errors and documents are those of the Amazon S3 API Reference. Bodies go to the
disk and come from there, whatever their size.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import parse_qsl, quote, unquote
from xml.etree import ElementTree as ET

from workbench.localcloud.core.access import AccessControl
from workbench.localcloud.core.paging import Pager
from workbench.localcloud.core.protocol import (
    ACCOUNT,
    REGION,
    AwsError,
    not_implemented_error,
    parse_scope,
    xml_response,
)
from workbench.localcloud.core.store import Store
from workbench.localcloud.s3.objects import Object, ObjectStore, Part, Upload
from workbench.localcloud.s3.uploads import BodyWriter, StoredBody, verify_body
from workbench.modelserver.http import FilePart, Request, Response

MAX_SIZE = 5 * 1024**3
"""Bytes of one upload: larger objects come in parts."""

_PAGER = Pager(  # API reference, ListObjectsV2
    1000,
    size="max-keys",
    token="continuation-token",  # noqa: S106 - a parameter's name
    next_token="NextContinuationToken",  # noqa: S106 - a member's name
    error="InvalidArgument",
)
_OWNER = {"ID": ACCOUNT, "DisplayName": "local"}
_STORED_HEADERS = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
)
_PLAIN_PARAMETERS = re.compile(
    r"list-type|prefix|delimiter|marker|max-keys|encoding-type|continuation-token|start-after|"
    r"fetch-owner|max-parts|part-number-marker|max-buckets|bucket-region|x-id|X-Amz-.*|"
    r"AWSAccessKeyId|Signature|Expires|content-type|content-md5|x-amz-.*"  # of presigned URLs
)


@dataclass(frozen=True, slots=True)
class S3Request:
    """A request as S3 reads it."""

    request: Request
    bucket: str
    key: str
    query: Mapping[str, str]
    region: str

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the request, by lower-case name."""
        return self.request.headers

    @property
    def action(self) -> tuple[str, str, str]:
        """Method, what it is about, and the parameters that make it another operation."""
        about = "object" if self.key else "bucket" if self.bucket else "service"
        names = sorted(name for name in self.query if not _PLAIN_PARAMETERS.fullmatch(name))
        return self.request.method, about, "&".join(names)


class S3:
    """The buckets and objects of a local cloud, over HTTP."""

    def __init__(self, store: Store, access: AccessControl) -> None:
        self._access = access
        self._objects = ObjectStore(store)
        self._store = store
        self._routes = self._make_routes()

    @property
    def objects(self) -> ObjectStore:
        """What is kept, for the parts of the cloud that read and write it themselves."""
        return self._objects

    def open(self, bucket: str, key: str) -> Path:
        """Return the file of an object. It never changes, but goes when the object does.

        Raises:
            AwsError: There is no such bucket or object.
        """
        return self._objects.path(self._objects.get(bucket, key))

    def spool(self, request: Request) -> BinaryIO | None:
        """Return what takes in the body of an upload; None for other requests."""
        if request.method != "PUT" or not _split_path(request.path)[1]:
            return None
        signatures = self._access.chunk_signatures(request)
        return cast("BinaryIO", BodyWriter(self._objects.new_path(), request.headers, signatures))

    async def answer(self, request: Request) -> Response:
        """Return the answer to a request.

        Raises:
            AwsError: S3 would refuse it.
        """
        bucket, key = _split_path(request.path)
        signed = parse_scope(request)
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        call = S3Request(request, bucket, key, query, signed.region if signed else REGION)
        try:
            response = await self._route(call)(call)
        finally:
            if request.spool_file is not None:
                request.spool_file.close()
        return response

    def _route(self, call: S3Request) -> Callable[[S3Request], Awaitable[Response]]:
        if len(call.key.encode()) > 1024:
            raise AwsError("KeyTooLongError", "Your key is too long.")
        route = self._routes.get(call.action)
        if route is not None:
            return route
        method, about, extra = call.action
        if (about, extra) not in {(whose, known) for _, whose, known in self._routes}:
            raise not_implemented_error(f"{method} of a {about} with ?{extra}")
        raise AwsError(
            "MethodNotAllowed", "The specified method is not allowed against this resource.", 405
        )

    def _make_routes(
        self,
    ) -> dict[tuple[str, str, str], Callable[[S3Request], Awaitable[Response]]]:
        return {
            ("GET", "service", ""): self._list_buckets,
            ("PUT", "bucket", ""): self._create_bucket,
            ("HEAD", "bucket", ""): self._head_bucket,
            ("DELETE", "bucket", ""): self._delete_bucket,
            ("GET", "bucket", "location"): self._locate_bucket,
            ("GET", "bucket", "tagging"): self._get_tags,
            ("PUT", "bucket", "tagging"): self._put_tags,
            ("DELETE", "bucket", "tagging"): self._delete_tags,
            ("GET", "bucket", ""): self._list,
            ("POST", "bucket", "delete"): self._delete_many,
            ("GET", "bucket", "uploads"): self._list_uploads,
            ("PUT", "object", ""): self._put,
            ("GET", "object", ""): self._get,
            ("HEAD", "object", ""): self._head,
            ("DELETE", "object", ""): self._delete,
            ("POST", "object", "uploads"): self._begin,
            ("PUT", "object", "partNumber&uploadId"): self._put_part,
            ("GET", "object", "uploadId"): self._list_parts,
            ("POST", "object", "uploadId"): self._complete,
            ("DELETE", "object", "uploadId"): self._abort,
        }

    # --- buckets

    async def _list_buckets(self, call: S3Request) -> Response:  # noqa: ARG002 - as all of them
        buckets = [
            {"Name": name, "BucketRegion": region, "CreationDate": _iso(created)}
            for name, region, created in self._objects.buckets()
        ]
        content = {"Owner": _OWNER, "Buckets": {"Bucket": buckets}}
        return xml_response("ListAllMyBucketsResult", content)

    async def _create_bucket(self, call: S3Request) -> Response:
        wanted = _document(call).findtext("{*}LocationConstraint") if call.request.body else None
        if (wanted or REGION) != call.region:
            raise AwsError(
                "IllegalLocationConstraintException",
                f"The {wanted or 'unspecified'} location constraint is incompatible for the "
                f"region specific endpoint this request was sent to ({call.region}).",
            )
        self._objects.create_bucket(call.bucket, call.region)
        return Response(200, headers=[("location", f"/{call.bucket}")])

    async def _head_bucket(self, call: S3Request) -> Response:
        return Response(200, headers=[("x-amz-bucket-region", self._objects.region(call.bucket))])

    async def _delete_bucket(self, call: S3Request) -> Response:
        self._objects.delete_bucket(call.bucket)
        return Response(204)

    async def _locate_bucket(self, call: S3Request) -> Response:
        region = self._objects.region(call.bucket)
        answer = xml_response("LocationConstraint", {})
        location = b"" if region == REGION else region.encode()  # us-east-1 has no name there
        answer.body = cast("bytes", answer.body).replace(b"></Loc", b">" + location + b"</Loc")
        return answer

    async def _get_tags(self, call: S3Request) -> Response:
        tags = self._objects.bucket_tags(call.bucket)
        if not tags:
            raise AwsError("NoSuchTagSet", "The TagSet does not exist.", 404)
        found = [{"Key": key, "Value": value} for key, value in tags]
        return xml_response("Tagging", {"TagSet": {"Tag": found}})

    async def _put_tags(self, call: S3Request) -> Response:
        tags = _document(call).findall("{*}TagSet/{*}Tag")
        pairs = [[tag.findtext(f"{{*}}{name}") or "" for name in ("Key", "Value")] for tag in tags]
        if not all(key for key, _ in pairs) or len({key for key, _ in pairs}) < len(pairs):
            raise AwsError("InvalidTag", "Each tag needs a key of its own.")
        self._objects.tag_bucket(call.bucket, pairs)
        return Response(204)

    async def _delete_tags(self, call: S3Request) -> Response:
        self._objects.tag_bucket(call.bucket, [])
        return Response(204)

    # --- lists

    async def _list(self, call: S3Request) -> Response:
        newer = call.query.get("list-type") == "2"
        prefix, delimiter = call.query.get("prefix", ""), call.query.get("delimiter", "")
        if newer and "continuation-token" in call.query:
            after = _PAGER.start(call.query, "")
        else:
            after = call.query.get("start-after" if newer else "marker", "")
        most = min(_number(call, "max-keys", _PAGER.default), _PAGER.default)
        entries = self._objects.list_objects(
            call.bucket,
            prefix=prefix,
            delimiter=delimiter,
            after=_skip_prefix(after, prefix, delimiter),
        )
        page = [each for _, each in zip(range(most + 1), entries, strict=False)]
        more = len(page) > most > 0
        page = page[:most]
        last = page[-1] if page else ""
        last = last if isinstance(last, str) else last.key
        content = _build_listing(call, page, most, more=more)
        if newer:
            content |= {"KeyCount": len(page)} | _repeat_parameter(
                call, "StartAfter", "start-after"
            )
            content |= _repeat_parameter(call, "ContinuationToken", "continuation-token")
            content |= _PAGER.continuation(last) if more else {}
        else:
            content["Marker"] = _encode_key(call, call.query.get("marker", ""))
            content |= {"NextMarker": _encode_key(call, last)} if more and delimiter else {}
        return xml_response("ListBucketResult", content)

    async def _delete_many(self, call: S3Request) -> Response:
        document = _document(call)
        keys = [each.findtext("{*}Key") or "" for each in document.findall("{*}Object")]
        if not 1 <= len(keys) <= 1000 or not all(keys):
            raise _document_error("Name 1 to 1000 objects by their keys.")
        self._objects.delete(call.bucket, keys)
        quiet = (document.findtext("{*}Quiet") or "").lower() == "true"
        deleted = [] if quiet else [{"Key": key} for key in keys]
        return xml_response("DeleteResult", {"Deleted": deleted})

    async def _list_uploads(self, call: S3Request) -> Response:
        prefix = call.query.get("prefix", "")
        uploads = [
            {
                "Key": _encode_key(call, each.key),
                "UploadId": each.id,
                "Initiator": _OWNER,
                "Owner": _OWNER,
                "StorageClass": "STANDARD",
                "Initiated": _iso(each.started),
            }
            for each in self._objects.uploads(call.bucket)
            if each.key.startswith(prefix)
        ]
        content = {"Bucket": call.bucket, "Prefix": prefix, "MaxUploads": 1000}
        content |= {"IsTruncated": False, "Upload": uploads} | _repeat_encoding(call)
        return xml_response("ListMultipartUploadsResult", content)

    # --- objects

    async def _put(self, call: S3Request) -> Response:
        if "x-amz-copy-source" in call.headers:
            return await self._copy(call)
        headers = _read_object_headers(call)
        body = await self._finish_body(call)
        try:
            self._check_target(call)
            made = self._objects.put(call.bucket, call.key, body, headers)
        finally:
            body.path.unlink(missing_ok=True)
        return Response(200, headers=_checksum_headers(made.etag, made.checksums))

    async def _get(self, call: S3Request) -> Response:
        return self._object_response(call, await self._find_object(call))

    async def _head(self, call: S3Request) -> Response:
        return self._object_response(call, await self._find_object(call))

    async def _find_object(self, call: S3Request) -> Object:
        found = self._objects.get(call.bucket, call.key)
        _check_conditions(call.headers, found)
        return found

    def _object_response(self, call: S3Request, found: Object) -> Response:
        headers = [
            ("last-modified", formatdate(found.modified, usegmt=True)),
            ("accept-ranges", "bytes"),
            ("etag", f'"{found.etag}"'),
            *((name, value) for name, value in found.headers.items() if name != "content-type"),
        ]
        kind = found.headers.get("content-type", "binary/octet-stream")
        wanted = _range(call.headers.get("range", ""), found.size)
        first, length = wanted or (0, found.size)
        if wanted:
            headers.append(("content-range", f"bytes {first}-{first + length - 1}/{found.size}"))
        elif call.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
            headers += _checksum_headers("", found.checksums)
        body = FilePart(self._objects.path(found).open("rb"), first, length)
        only_head = call.request.method == "HEAD"
        return Response(206 if wanted else 200, body, kind, headers, bodiless=only_head)

    async def _delete(self, call: S3Request) -> Response:
        self._objects.delete(call.bucket, [call.key])
        return Response(204)

    async def _copy(self, call: S3Request) -> Response:
        source = self._source(call)
        replaced = call.headers.get("x-amz-metadata-directive", "COPY").upper() == "REPLACE"
        there = self._objects.find(call.bucket, call.key)
        if there and there.blob == source.blob and not replaced:
            raise AwsError(
                "InvalidRequest",
                "This copy request is illegal because it is trying to copy an object to itself "
                "without changing the object's metadata.",
            )
        headers = _read_object_headers(call) if replaced else source.headers
        made = await self._objects.copy(source, call.bucket, call.key, headers)
        content = {"ETag": f'"{made.etag}"', "LastModified": _iso(made.modified)}
        return xml_response("CopyObjectResult", content)

    def _source(self, call: S3Request) -> Object:
        """Return the object that a request names as its source."""
        named = unquote(call.headers["x-amz-copy-source"].partition("?versionId=")[0])
        bucket, key = _split_path("/" + named.lstrip("/"))
        if not key:
            raise AwsError("InvalidArgument", "Copy Source must mention the source bucket and key.")
        found = self._objects.get(bucket, key)
        prefix = "x-amz-copy-source-"
        try:
            _check_conditions(
                {
                    name.removeprefix(prefix): value
                    for name, value in call.headers.items()
                    if name.startswith(f"{prefix}if")
                },
                found,
            )
        except NotModified:
            raise _precondition(f"{prefix}if-none-match") from None
        return found

    def _check_target(self, call: S3Request) -> None:
        """Check what the client wants to be true of the object that it replaces."""
        there = self._objects.find(call.bucket, call.key)
        if call.headers.get("if-none-match") == "*" and there:
            raise _precondition("If-None-Match")
        wanted = call.headers.get("if-match")
        if wanted and there is None:
            raise AwsError("NoSuchKey", "The specified key does not exist.", 404)
        if wanted and there and not _matches(wanted, there.etag):
            raise _precondition("If-Match")

    async def _finish_body(self, call: S3Request) -> StoredBody:
        """Return the body of an upload, verified."""
        self._objects.region(call.bucket)
        if call.request.received > MAX_SIZE:
            raise AwsError(
                "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size."
            )
        return await self._store.run_in_thread(cast("BodyWriter", call.request.spool_file).finish)

    # --- uploads in parts

    async def _begin(self, call: S3Request) -> Response:
        algorithm = call.headers.get("x-amz-checksum-algorithm", "").lower()
        upload = self._objects.begin(call.bucket, call.key, _read_object_headers(call), algorithm)
        content = {"Bucket": call.bucket, "Key": call.key, "UploadId": upload.id}
        headers = [("x-amz-checksum-algorithm", algorithm.upper())] if algorithm else []
        return xml_response("InitiateMultipartUploadResult", content, headers)

    async def _put_part(self, call: S3Request) -> Response:
        self._upload(call)
        number = _number(call, "partNumber", 0)
        if not 1 <= number <= 10_000:
            raise AwsError(
                "InvalidArgument",
                "Part number must be an integer between 1 and 10000, inclusive.",
            )
        copying = "x-amz-copy-source" in call.headers
        body = await (self._copy_part_range(call) if copying else self._finish_body(call))
        try:
            part = self._objects.put_part(self._upload(call), number, body)
        finally:
            body.path.unlink(missing_ok=True)
        if copying:
            content = {"ETag": f'"{part.etag}"', "LastModified": _iso(part.modified)}
            return xml_response("CopyPartResult", content)
        return Response(200, headers=_checksum_headers(part.etag, part.checksums))

    async def _copy_part_range(self, call: S3Request) -> StoredBody:
        source = self._source(call)
        wanted = call.headers.get("x-amz-copy-source-range", "")
        first, length = _range(wanted, source.size) or (0, source.size)
        return await self._objects.copy_range(source, first, length)

    async def _list_parts(self, call: S3Request) -> Response:
        upload = self._upload(call)
        after, most = _number(call, "part-number-marker", 0), _number(call, "max-parts", 1000)
        parts = [part for part in self._objects.parts(upload) if part.number > after]
        page = parts[:most]
        content: dict[str, Any] = {
            "Bucket": call.bucket,
            "Key": call.key,
            "UploadId": upload.id,
            "Initiator": _OWNER,
            "Owner": _OWNER,
            "StorageClass": "STANDARD",
            "PartNumberMarker": after,
            "NextPartNumberMarker": page[-1].number if page else 0,
            "MaxParts": most,
            "IsTruncated": len(parts) > len(page),
            "Part": [_part(each) for each in page],
        }
        return xml_response("ListPartsResult", content)

    async def _complete(self, call: S3Request) -> Response:
        upload = self._upload(call)
        self._check_target(call)
        made = await self._objects.complete(upload, _parse_parts(_document(call)))
        content = {
            "Location": f"/{call.bucket}/{call.key}",
            "Bucket": call.bucket,
            "Key": call.key,
            "ETag": f'"{made.etag}"',
        }
        sums = {f"Checksum{name.upper()}": value for name, value in made.checksums.items()}
        return xml_response("CompleteMultipartUploadResult", content | sums)

    async def _abort(self, call: S3Request) -> Response:
        self._objects.abort(call.bucket, call.key, call.query["uploadId"])
        return Response(204)

    def _upload(self, call: S3Request) -> Upload:
        return self._objects.upload(call.bucket, call.key, call.query["uploadId"])


def _split_path(path: str) -> tuple[str, str]:
    """Bucket and key of a path."""
    bucket, _, key = path.removeprefix("/").partition("/")
    return bucket, key


# --- what requests say


def _document(call: S3Request) -> ET.Element:
    """Return the XML of a request's body, which is what its headers say it is."""
    body = call.request.body
    verify_body(call.headers, body)
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise _document_error("It must not define entities.")
    try:
        return ET.fromstring(body)  # noqa: S314 - no entities, and of bounded size
    except ET.ParseError as error:
        raise _document_error(f"It is not XML: {error}.") from error


def _document_error(why: str) -> AwsError:
    return AwsError("MalformedXML", f"The XML you provided was not well-formed or valid. {why}")


def _parse_parts(document: ET.Element) -> list[tuple[int, str]]:
    parts = document.findall("{*}Part")
    try:
        named = [
            (int(part.findtext("{*}PartNumber") or ""), part.findtext("{*}ETag") or "")
            for part in parts
        ]
    except ValueError:
        named = []
    if not named:
        raise _document_error("Name each part by PartNumber and ETag.")
    return named


def _number(call: S3Request, name: str, default: int) -> int:
    text = call.query.get(name, str(default))
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise AwsError(
            "InvalidArgument",
            f"Provided {name} not an integer or within integer range",
            extra={"ArgumentName": name, "ArgumentValue": text},
        )
    return int(text)


def _read_object_headers(call: S3Request) -> dict[str, str]:
    """Return the headers to store with an object, which its readers get."""
    headers = {name: call.headers[name] for name in _STORED_HEADERS if call.headers.get(name)}
    codings = [each.strip() for each in headers.pop("content-encoding", "").split(",")]
    if codings := [each for each in codings if each not in ("", "aws-chunked")]:
        headers["content-encoding"] = ",".join(codings)
    headers["content-type"] = call.headers.get("content-type") or "binary/octet-stream"
    own = {name: text for name, text in call.headers.items() if name.startswith("x-amz-meta-")}
    if sum(len(name) - len("x-amz-meta-") + len(text) for name, text in own.items()) > 2048:
        raise AwsError(
            "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size."
        )
    return headers | own


def _range(text: str, size: int) -> tuple[int, int] | None:
    """First byte and length of a range; None where the whole is meant, as HTTP has it."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", text.strip(), re.ASCII)
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if not first:
        length = min(int(last), size)
        start, end = size - length, size - 1
    else:
        start, end = int(first), min(int(last or size - 1), size - 1)
        if last and int(last) < start:
            return None
    if start > end:
        raise AwsError(
            "InvalidRange",
            "The requested range is not satisfiable",
            416,
            {"RangeRequested": text, "ActualObjectSize": size},
        )
    return start, end - start + 1


class NotModified(AwsError):
    """The client has the object already."""

    def __init__(self) -> None:
        super().__init__("NotModified", "Not Modified", 304)


def _check_conditions(headers: Mapping[str, str], found: Object) -> None:
    """Check what the client wants to be true of the object it reads (RFC 9110, section 13)."""
    if wanted := headers.get("if-match"):
        if not _matches(wanted, found.etag):
            raise _precondition("If-Match")
    elif _date(headers, "if-unmodified-since", default=found.modified) < int(found.modified):
        raise _precondition("If-Unmodified-Since")
    if unwanted := headers.get("if-none-match"):
        if _matches(unwanted, found.etag):
            raise NotModified
    elif _date(headers, "if-modified-since", default=0) >= int(found.modified):
        raise NotModified


def _matches(wanted: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in wanted.split(",")]
    return "*" in tags or etag in tags


def _date(headers: Mapping[str, str], name: str, *, default: float) -> float:
    try:
        return parsedate_to_datetime(headers[name]).timestamp()
    except (KeyError, ValueError):  # HTTP ignores a date that is none
        return default


def _precondition(condition: str) -> AwsError:
    return AwsError(
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold",
        412,
        {"Condition": condition},
    )


# --- what answers say


def _checksum_headers(etag: str, checksums: Mapping[str, str]) -> list[tuple[str, str]]:
    marks = [("etag", f'"{etag}"')] if etag else []
    marks += [(f"x-amz-checksum-{name}", value) for name, value in checksums.items()]
    if checksums:
        composite = any("-" in value for value in checksums.values())
        marks.append(("x-amz-checksum-type", "COMPOSITE" if composite else "FULL_OBJECT"))
    return marks


def _build_listing(
    call: S3Request, page: list[Object | str], most: int, *, more: bool
) -> dict[str, Any]:
    return {
        "Name": call.bucket,
        "Prefix": _encode_key(call, call.query.get("prefix", "")),
        **_repeat_parameter(call, "Delimiter", "delimiter"),
        **_repeat_encoding(call),
        "MaxKeys": most,
        "IsTruncated": more,
        "Contents": [
            {
                "Key": _encode_key(call, each.key),
                "LastModified": _iso(each.modified),
                "ETag": f'"{each.etag}"',
                "Size": each.size,
                "StorageClass": "STANDARD",
            }
            for each in page
            if isinstance(each, Object)
        ],
        "CommonPrefixes": [
            {"Prefix": _encode_key(call, each)} for each in page if isinstance(each, str)
        ],
    }


def _part(part: Part) -> dict[str, Any]:
    sums = {f"Checksum{name.upper()}": value for name, value in part.checksums.items()}
    return {
        "PartNumber": part.number,
        "LastModified": _iso(part.modified),
        "ETag": f'"{part.etag}"',
        "Size": part.size,
    } | sums


def _repeat_encoding(call: S3Request) -> dict[str, str]:
    return _repeat_parameter(call, "EncodingType", "encoding-type")


def _repeat_parameter(call: S3Request, name: str, parameter: str) -> dict[str, str]:
    """Return a parameter of the request, where it was given, to repeat it."""
    value = call.query.get(parameter, "")
    return (
        {name: _encode_key(call, value) if name in ("Delimiter", "StartAfter") else value}
        if value
        else {}
    )


def _encode_key(call: S3Request, text: str) -> str:
    """Return a key percent-encoded if asked: XML cannot hold every character."""
    return quote(text, safe="/") if call.query.get("encoding-type") == "url" else text


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _skip_prefix(after: str, prefix: str, delimiter: str) -> str:
    """Where a list goes on: behind every key of a common prefix, where it stopped at one."""
    if delimiter and after.startswith(prefix) and after.endswith(delimiter) and after != prefix:
        return after + "\U0010ffff"
    return after
