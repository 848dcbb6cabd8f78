"""What S3's answers have in common: headers of objects, elements of lists."""

from collections.abc import Iterable, Mapping
from typing import Any

from workbench.localcloud.core.protocol import ACCOUNT
from workbench.localcloud.s3.objects import Object, Part
from workbench.localcloud.s3.requests import S3Request, decode_tags, encode_key, format_time

OWNER = {"ID": ACCOUNT, "DisplayName": "local"}
_TAGS = "x-amz-tagging"


def object_headers(found: Object, overrides: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers that an object was put with, as its readers get them.

    Args:
        found: The object.
        overrides: Values that the request wants instead, by `response-` and the header's name.
    """
    kept = {"content-type": "binary/octet-stream", **found.headers}
    kept |= {
        name.removeprefix("response-"): value
        for name, value in overrides.items()
        if name.startswith("response-")
    }
    if tags := kept.pop(_TAGS, ""):
        kept["x-amz-tagging-count"] = str(len(decode_tags(tags)))
    return list(kept.items())


def saved_headers(made: Object) -> list[tuple[str, str]]:
    """Return the headers of the answer to a write."""
    encrypted = "x-amz-server-side-encryption"
    kept = [(encrypted, made.headers[encrypted])] if encrypted in made.headers else []
    return checksum_headers(made.etag, made.checksums) + kept


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


def find_type(checksums: Mapping[str, str]) -> str:
    """Return the type of an object's checksums: those of parts end with how many there are."""
    return "COMPOSITE" if any("-" in value for value in checksums.values()) else "FULL_OBJECT"


def storage_class(found: Object) -> str:
    """Return the storage class of an object."""
    return found.headers.get("x-amz-storage-class", "STANDARD")


def listed_object(call: S3Request, found: Object) -> dict[str, Any]:
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


def listed_part(part: Part) -> dict[str, Any]:
    """Return a part as an element of a list."""
    return {
        "PartNumber": part.number,
        "LastModified": format_time(part.modified),
        "ETag": f'"{part.etag}"',
        "Size": part.size,
    } | checksum_elements(part.checksums)


def prefixes(call: S3Request, page: Iterable[object]) -> dict[str, Any]:
    """Return the common prefixes of a page of a list, which are its texts."""
    found = [{"Prefix": encode_key(call, each)} for each in page if isinstance(each, str)]
    return {"CommonPrefixes": found}


def repeat(call: S3Request, *parameters: str) -> dict[str, str]:
    """Return parameters of the request that were given, as members of the answer."""
    members = {
        "delimiter": "Delimiter",
        "start-after": "StartAfter",
        "continuation-token": "ContinuationToken",
        "encoding-type": "EncodingType",
    }
    plain = ("continuation-token", "encoding-type")
    return {
        members[name]: value if name in plain else encode_key(call, value)
        for name in parameters
        if (value := call.query.get(name))
    }
