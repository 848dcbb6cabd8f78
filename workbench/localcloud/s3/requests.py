"""Requests as S3 reads them: bucket, key, query, headers and documents."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlencode
from xml.etree import ElementTree as ET

from workbench.localcloud.core.addresses import split_address
from workbench.localcloud.core.protocol import REGION, AwsError, not_implemented_error, parse_scope
from workbench.localcloud.s3.checksums import CHECKSUMS, PREFIX, encode, verify_body
from workbench.localcloud.s3.parameters import (
    COPY_SOURCE,
    MOVED_HEADERS,
    OPERATIONS,
    STORED_HEADERS,
    S3Operation,
    check_parameters,
    find_extras,
    version_error,
)
from workbench.modelserver.http import Request

if TYPE_CHECKING:
    from workbench.localcloud.s3.objects import Object

MAX_TAGS = {"object": 10, "bucket": 50}  # S3 user guide, "Categorizing your objects using tags"
_NEVER_IN_HEADERS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]")
_HEADER_PREFIXES = (*STORED_HEADERS, *MOVED_HEADERS)
_HEADER_PREFIXES += ("x-amz-", "response-", "success_action_", "redirect")
_SDK_ALGORITHM = "x-amz-sdk-checksum-algorithm"


@dataclass(frozen=True)
class S3Request:
    """A request as S3 reads it; `headers` are by lower-case name."""

    request: Request
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @cached_property
    def region(self) -> str:
        """Of the signature."""
        signed = parse_scope(self.request)
        return signed.region if signed else REGION

    @cached_property
    def about(self) -> str:
        """What it is about."""
        return "object" if self.key else "bucket" if self.bucket else "service"

    @cached_property
    def action(self) -> tuple[str, str, str]:
        """Method, what it is about, and the parameters that make it another operation."""
        names = find_extras(self.query) if self.query else []
        if COPY_SOURCE in self.headers:
            names.append(COPY_SOURCE)
        return self.request.method, self.about, "&".join(names)

    def find_operation(self) -> S3Operation:
        """Return the operation that it is, with nothing in it that would not be honoured."""
        check_key(self.key)
        found = OPERATIONS.get(self.action)
        if self.query:
            check_header_values(self.query)
        if found is not None:
            check_parameters(found, self.query, self.headers)
            return found
        method, about, extra = self.action
        if extra:
            raise not_implemented_error(f"S3's {method} ?{extra} ({about})")
        raise AwsError(
            "MethodNotAllowed", "The specified method is not allowed against this resource.", 405
        )


def read_request(request: Request) -> S3Request:
    """Return a request as S3 reads it."""
    bucket, key = split_address(request)
    if not request.query:
        return S3Request(request, bucket, key, {}, request.headers)
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    moved = {name.lower(): value for name, value in query.items() if _is_moved(name, value)}
    headers = {**moved, **request.headers} if moved else request.headers
    return S3Request(request, bucket, key, query, headers)


def _is_moved(name: str, value: str) -> bool:
    """Whether a parameter of a presigned URL is a header that was moved there.

    SDKs that sign a URL before there is a body put in the checksum of none, which S3 does not
    verify (https://github.com/localstack/localstack/issues/12169), and which algorithm they use.
    """
    name = name.lower()
    if name.startswith(PREFIX) and (make := CHECKSUMS.get(name.removeprefix(PREFIX))):
        return value != encode(make())
    return (name.startswith("x-amz-") and name != _SDK_ALGORITHM) or name in MOVED_HEADERS


def check_key(key: str) -> None:
    """Check that an object's key has 1024 bytes at most."""
    if len(key.encode()) > 1024:
        raise AwsError("KeyTooLongError", "Your key is too long.")


def check_header_values(values: Mapping[str, str]) -> None:
    """Check that what becomes headers of answers, but came otherwise, can be such."""
    for name, value in values.items():
        if _NEVER_IN_HEADERS.search(value) and name.lower().startswith(_HEADER_PREFIXES):
            raise AwsError(
                "InvalidArgument",
                f"{name} must be Latin-1 without control characters, got {value[:100]!r}.",
                extra={"ArgumentName": name},
            )


# --- documents


def read_document(call: S3Request) -> ET.Element:
    """Return the XML of a request's body, which is what its headers say it is."""
    verify_body(call.headers, call.request.body)
    return parse_document(call.request.body)


def parse_document(body: bytes) -> ET.Element:
    """Return the root of an XML document."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise document_error("It must not define entities.")
    try:
        return ET.fromstring(body)  # noqa: S314 - no entities, and of bounded size
    except (ET.ParseError, ValueError) as error:
        raise document_error(f"It is not XML: {error}.") from error


def document_error(why: str) -> AwsError:
    """Return the answer to a document that is none of S3's."""
    return AwsError("MalformedXML", f"The XML you provided was not well-formed or valid. {why}")


def parse_tags(document: ET.Element, about: str) -> list[list[str]]:
    """Return the pairs of key and value that a document of tags holds."""
    tags = document.findall("{*}TagSet/{*}Tag")
    pairs = [[tag.findtext(f"{{*}}{name}") or "" for name in ("Key", "Value")] for tag in tags]
    return check_tags(pairs, MAX_TAGS[about])


def check_tags(pairs: list[list[str]], most: int) -> list[list[str]]:
    """Return tags that keep S3's limits."""
    if len(pairs) > most:
        raise AwsError("BadRequest", f"There can be {most} tags at most, got {len(pairs)}.")
    if len({key for key, _ in pairs}) < len(pairs):
        raise AwsError("InvalidTag", "Each tag needs a key of its own.")
    for key, value in pairs:
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.startswith("aws:"):
            raise AwsError(
                "InvalidTag",
                f"A tag has a key of 1 to 128 characters, which does not begin with aws:, and a "
                f"value of 256 at most; got {key[:140]!r} = {value[:260]!r}.",
            )
    return pairs


def decode_tags(text: str) -> list[list[str]]:
    """Return the pairs that the header x-amz-tagging holds."""
    return [list(pair) for pair in parse_qsl(text, keep_blank_values=True)]


def encode_tags(pairs: list[list[str]]) -> str:
    """Return tags as the header x-amz-tagging has them."""
    return urlencode([(key, value) for key, value in pairs])


# --- values


def read_number(call: S3Request, name: str, default: int, most: int = 10**9) -> int:
    """Return a number of the query, or of a header, at most so much."""
    text = call.query.get(name) or call.headers.get(name) or str(default)
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise AwsError(
            "InvalidArgument",
            f"Provided {name} not an integer or within integer range",
            extra={"ArgumentName": name, "ArgumentValue": text},
        )
    return min(int(text), most)


def read_part_number(call: S3Request) -> int:
    """Return the number of the part that a request names."""
    number = read_number(call, "partNumber", 0)
    if not 1 <= number <= 10_000:
        raise AwsError(
            "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive."
        )
    return number


def read_object_headers(call: S3Request) -> dict[str, str]:
    """Return the headers to store with an object, which its readers get."""
    given = call.headers
    headers = {name: given[name] for name in STORED_HEADERS if given.get(name)}
    codings = [each.strip() for each in headers.pop("content-encoding", "").split(",")]
    # that is how it came, not what it is
    if codings := [each for each in codings if each not in ("", "aws-chunked")]:
        headers["content-encoding"] = ",".join(codings)
    if "x-amz-tagging" in headers:
        tags = check_tags(decode_tags(headers["x-amz-tagging"]), MAX_TAGS["object"])
        headers["x-amz-tagging"] = encode_tags(tags)
    if headers.get("x-amz-storage-class") == "STANDARD":
        del headers["x-amz-storage-class"]  # as S3 does, which names the others alone
    headers["content-type"] = given.get("content-type") or "binary/octet-stream"
    own = {name: text for name, text in given.items() if name.startswith("x-amz-meta-")}
    # S3 user guide, "Working with object metadata"
    if sum(len(name) - len("x-amz-meta-") + len(text) for name, text in own.items()) > 2048:
        raise AwsError(
            "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size."
        )
    return headers | own


def read_source(call: S3Request) -> tuple[str, str]:
    """Return bucket and key of the object that a request copies from."""
    named, _, version = call.headers[COPY_SOURCE].partition("?versionId=")
    bucket, _, key = unquote(named).lstrip("/").partition("/")
    if not key:
        raise AwsError("InvalidArgument", "Copy Source must mention the source bucket and key.")
    if version not in ("", "null"):
        raise version_error()
    return bucket, key


def read_source_range(call: S3Request, size: int) -> tuple[int, int]:
    """Return first byte and length of what a request copies from an object of so many bytes.

    It must be within the object: S3 takes no other range here, as `bytes=-5`.
    """
    text = call.headers.get(f"{COPY_SOURCE}-range")
    if text is None:
        return 0, size
    found = re.fullmatch(r"bytes=(\d{1,19})-(\d{1,19})", text, re.ASCII)
    if found is None or not int(found[1]) <= int(found[2]) < size:
        raise AwsError(
            "InvalidArgument",
            f"The {COPY_SOURCE}-range must be bytes=first-last, within the {size} bytes of the "
            f"source, got {text}.",
            extra={"ArgumentName": f"{COPY_SOURCE}-range", "ArgumentValue": text},
        )
    return int(found[1]), int(found[2]) - int(found[1]) + 1


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """Return first byte and length of a range; None where the whole is meant, as HTTP has it."""
    found = re.fullmatch(r"bytes=(\d{0,19})-(\d{0,19})", text.strip(), re.ASCII)
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if first and last and int(last) < int(first):
        return None
    start, end = (int(first), int(last or size)) if first else (size - int(last), size)
    start, end = max(start, 0), min(end, size - 1)
    if start > end:
        raise AwsError(
            "InvalidRange",
            "The requested range is not satisfiable",
            416,
            {"RangeRequested": text, "ActualObjectSize": size},
        )
    return start, end - start + 1


# --- conditions


class NotModified(AwsError):
    """The client has the object already."""

    def __init__(self) -> None:
        super().__init__("NotModified", "Not Modified", 304)


def check_conditions(headers: Mapping[str, str], found: "Object") -> None:
    """Check what the client wants to be true of the object it reads (RFC 9110, section 13)."""
    # HTTP's dates have whole seconds; a condition on the ETag goes before one on the time
    if wanted := headers.get("if-match"):
        if not _matches(wanted, found.etag):
            raise precondition_error("If-Match")
    elif _date(headers, "if-unmodified-since", default=found.modified) < int(found.modified):
        raise precondition_error("If-Unmodified-Since")
    if unwanted := headers.get("if-none-match"):
        if _matches(unwanted, found.etag):
            raise NotModified
    elif _date(headers, "if-modified-since", default=0) >= int(found.modified):
        raise NotModified


def check_source_conditions(call: S3Request, found: "Object") -> None:
    """Check what the client wants to be true of the object it copies from."""
    prefix = f"{COPY_SOURCE}-"
    conditions = {
        name.removeprefix(prefix): value
        for name, value in call.headers.items()
        if name.startswith(f"{prefix}if")
    }
    try:
        check_conditions(conditions, found)
    except NotModified:
        raise precondition_error(f"{prefix}if-none-match") from None


def check_replaced(headers: Mapping[str, str], there: "Object | None") -> None:
    """Check what the client wants to be true of the object that it replaces or deletes."""
    unwanted, wanted = headers.get("if-none-match", "*"), headers.get("if-match")
    if unwanted != "*":
        raise not_implemented_error(f"Writing with {unwanted!r} as If-None-Match (only *)")
    if "if-none-match" in headers and there:
        raise precondition_error("If-None-Match")
    if wanted and there is None:
        raise AwsError("NoSuchKey", "The specified key does not exist.", 404)
    if wanted and there and not _matches(wanted, there.etag):
        raise precondition_error("If-Match")


def precondition_error(condition: str) -> AwsError:
    """Return the answer where a condition of the client's is not true."""
    return AwsError(
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold",
        412,
        {"Condition": condition},
    )


def _matches(wanted: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in wanted.split(",")]
    return "*" in tags or etag in tags


def _date(headers: Mapping[str, str], name: str, *, default: float) -> float:
    try:
        return parsedate_to_datetime(headers[name]).timestamp()
    except (KeyError, ValueError, OverflowError):  # HTTP ignores a date that is none
        return default


# --- text


def encode_key(call: S3Request, text: str) -> str:
    """Return a key percent-encoded if asked: XML cannot hold every character."""
    return quote(text, safe="/") if call.query.get("encoding-type") == "url" else text


def format_time(seconds: float) -> str:
    """Return a time as S3's documents have it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
