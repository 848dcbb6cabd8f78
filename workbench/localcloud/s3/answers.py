"""What S3's answers have in common: headers of objects, elements of lists."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, cast

from workbench.localcloud.core.protocol import ACCOUNT, AwsError, xml_response
from workbench.localcloud.s3.objects import Object, Upload
from workbench.localcloud.s3.requests import (
    S3Request,
    decode_tags,
    encode_key,
    format_time,
    read_document,
)
from workbench.modelserver.http import Response

S3Handler = Callable[[S3Request], Awaitable[Response]]
"""Answers an operation of S3, whose request holds nothing that it does not honour."""

OWNER = {"ID": ACCOUNT, "DisplayName": "local"}


def object_headers(found: Object, overrides: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return an object's headers as its readers get them: `response-NAME` overrides one."""
    # what S3 says of an object that was put without a type
    kept = {"content-type": "binary/octet-stream", **found.headers}
    kept |= {
        name.removeprefix("response-"): value
        for name, value in overrides.items()
        if name.startswith("response-")
    }
    if tags := kept.pop("x-amz-tagging", ""):
        kept["x-amz-tagging-count"] = str(len(decode_tags(tags)))
    return list(kept.items())


def checksum_headers(etag: str, checksums: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return an ETag, unless it is "", and checksums as headers."""
    marks = [("etag", f'"{etag}"')] if etag else []
    marks += [(f"x-amz-checksum-{name}", value) for name, value in checksums.items()]
    if checksums:
        marks.append(("x-amz-checksum-type", find_type(checksums)))
    return marks


def checksum_elements(checksums: Mapping[str, str]) -> dict[str, str]:
    """Return checksums as elements of a document."""
    return {f"Checksum{name.upper()}": value for name, value in checksums.items()}


def whole_checksum(checksums: Mapping[str, str]) -> dict[str, str]:
    """Return an object's checksums as elements of a document, with their type."""
    kind = {"ChecksumType": find_type(checksums)} if checksums else {}
    return checksum_elements(checksums) | kind


def find_type(checksums: Mapping[str, str]) -> str:
    """Return the type of an object's checksums: those of parts end with how many there are."""
    return "COMPOSITE" if any("-" in value for value in checksums.values()) else "FULL_OBJECT"


def storage_class(found: Object | Upload) -> str:
    """Return the storage class of an object, or of what an upload is to become."""
    return found.headers.get("x-amz-storage-class", "STANDARD")


def object_element(call: S3Request, found: Object) -> dict[str, Any]:
    """Return an object as an element of a list."""
    sums = found.checksums
    return {
        "Key": encode_key(call, found.key),
        "LastModified": format_time(found.modified),
        "ETag": f'"{found.etag}"',
        **({"ChecksumAlgorithm": [name.upper() for name in sums]} if sums else {}),
        **({"ChecksumType": find_type(sums)} if sums else {}),
        "Size": found.size,
        "StorageClass": storage_class(found),
    }


def prefixes(call: S3Request, page: Iterable[object]) -> dict[str, Any]:
    """Return the common prefixes of a page of a list, which are its texts."""
    found = [{"Prefix": encode_key(call, each)} for each in page if isinstance(each, str)]
    return {"CommonPrefixes": found}


def repeat(call: S3Request, *parameters: str) -> dict[str, str]:
    """Return parameters of the request that were given, as members of the answer."""
    plain = ("continuation-token", "encoding-type")
    return {
        name.title().replace("-", ""): value if name in plain else encode_key(call, value)
        for name in parameters
        if (value := call.query.get(name))
    }


# --- documents of buckets and objects alike


def tags_response(tags: list[list[str]]) -> Response:
    """Return pairs of key and value as S3 lists tags."""
    found = [{"Key": key, "Value": value} for key, value in tags]
    return xml_response("Tagging", {"TagSet": {"Tag": found}})


def acl_response() -> Response:
    """Return the one access control list that there is: its owner may do everything.

    Buckets that were made since April 2023 have no other (S3 user guide, "Controlling ownership of
    objects and disabling ACLs").
    """
    kind = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"'
    grant: Mapping[str, Any] = {"Grantee": OWNER, "Permission": "FULL_CONTROL"}
    content = {"Owner": OWNER, "AccessControlList": {"Grant": grant}}
    answer = xml_response("AccessControlPolicy", content)
    answer.body = cast("bytes", answer.body).replace(b"<Grantee>", f"<Grantee {kind}>".encode())
    return answer


def check_acl(call: S3Request) -> Response:
    """Return the answer to an access control list, in a header or as XML: there is but one."""
    if call.request.body:
        grants = read_document(call).findall("{*}AccessControlList/{*}Grant")
        given = [
            (each.findtext("{*}Grantee/{*}ID"), each.findtext("{*}Permission")) for each in grants
        ]
    else:
        given = [(ACCOUNT, "FULL_CONTROL")] if "x-amz-acl" in call.headers else []
    if given != [(ACCOUNT, "FULL_CONTROL")]:
        raise AwsError("AccessControlListNotSupported", "The bucket does not allow ACLs")
    return Response(200)
