"""Uploads by a browser's form: multipart/form-data that carries a policy and its signature.

Source: Amazon S3 API Reference, "Browser-based uploads using POST", and its section on policies.
Who signed a policy lets others upload what keeps its conditions until it expires.
"""

import json
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from workbench.localcloud.core.addresses import split_address
from workbench.localcloud.core.protocol import AwsError
from workbench.modelserver.http import Request

_BOUNDARY = re.compile(r'multipart/form-data\s*;.*?boundary="?([^";,]{1,70})"?', re.IGNORECASE)
_DISPOSITION = re.compile(rb'\bcontent-disposition:[^\r\n]*?;\s*name="([^"]*)"', re.IGNORECASE)
_FILE_NAME = re.compile(rb'filename="([^"]*)"', re.IGNORECASE)
_TYPE = re.compile(rb"(?:^|\n)content-type:[ \t]*([^\r\n]*)", re.IGNORECASE)
# S3 API Reference, "POST policy": all other fields need a condition
_NOT_IN_POLICY = {"policy", "x-amz-signature", "signature", "awsaccesskeyid", "file", "bucket"}
_MAX_FIELDS = 100  # S3 knows fewer; each costs a look


@dataclass(frozen=True, slots=True)
class UploadForm:
    """What a form sends: its fields by lower-case name, and the file behind them with its type."""

    fields: Mapping[str, str]
    file: bytes
    content_type: str = ""


def is_upload_form(request: Request) -> bool:
    """Whether a request is the upload of a form to a bucket, signed by its policy alone."""
    return (
        request.method == "POST"
        and not request.query
        and "authorization" not in request.headers
        and _BOUNDARY.match(request.headers.get("content-type", "")) is not None
        and bool(split_address(request)[0])
        and not split_address(request)[1]
    )


def parse_upload_form(request: Request) -> UploadForm:
    """Return the fields and the file of a form; what follows the file is not read.

    `${filename}` in the key becomes the name of the file.

    Raises:
        AwsError: It is no form, or holds no file.
    """
    boundary = _BOUNDARY.match(request.headers.get("content-type", ""))
    mark = b"\r\n--" + (boundary[1].encode("latin-1") if boundary else b"")
    fields: dict[str, str] = {}
    for part in (b"\r\n" + request.body).split(mark, _MAX_FIELDS)[1:]:
        head, found, content = part.partition(b"\r\n\r\n")
        name = _DISPOSITION.search(head)
        if not found or name is None:
            break
        called = name[1].decode("utf-8", "replace").lower()
        if called == "file":
            file_name = _FILE_NAME.search(head)
            base = file_name[1].decode("utf-8", "replace") if file_name else ""
            fields["key"] = fields.get("key", "").replace("${filename}", base)
            kind = _TYPE.search(head)
            return UploadForm(fields, content, kind[1].decode("latin-1") if kind else "")
        fields[called] = content.decode("utf-8", "replace")
    raise AwsError(
        "InvalidArgument",
        "POST requires exactly one file upload per request, as the last field of "
        f"multipart/form-data; at most {_MAX_FIELDS} fields are read.",
    )


def check_policy(form: UploadForm, bucket: str, now: float) -> None:
    """Check that a form keeps the conditions of its policy, and that this has not expired.

    Args:
        form: What was sent; its policy's signature was checked before.
        bucket: Where it was sent to.
        now: The time, in seconds since 1970.

    Raises:
        AwsError: AccessDenied; EntityTooSmall or EntityTooLarge for the file's size.
    """
    policy = _parse_policy(form.fields.get("policy", ""))
    if _parse_time(policy["expiration"]) < now:
        raise _policy_error("Policy expired.")
    given = {**form.fields, "bucket": bucket}
    named = set()
    for condition in policy["conditions"]:
        kind, name, *rest = _read_condition(condition)
        if kind == "content-length-range":
            _check_size(len(form.file), name, *rest)
            continue
        named.add(name)
        value = given.get(name, "")
        kept = value.startswith(rest[0]) if kind == "starts-with" else value == rest[0]
        if not kept:
            raise _policy_error(f"Policy Condition failed: {json.dumps(condition)}")
    extra = [name for name in form.fields if name not in named | _NOT_IN_POLICY]
    if extra := [name for name in extra if not name.startswith("x-ignore-")]:
        raise _policy_error(f"Extra input fields: {', '.join(extra)}")


def _parse_policy(text: str) -> dict[str, Any]:
    try:
        policy = json.loads(b64decode(text))
        if not isinstance(policy["conditions"], list):
            raise TypeError
        _parse_time(policy["expiration"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise AwsError(
            "InvalidPolicyDocument",
            "Invalid Policy: it must be JSON with expiration and conditions, in base64.",
        ) from None
    return dict(policy)


def _read_condition(condition: Any) -> tuple[Any, ...]:  # noqa: ANN401 - JSON
    """Return a condition as its kind, the field's name and what is wanted of it."""
    match condition:
        case {**one} if len(one) == 1 and isinstance(next(iter(one.values())), str):
            name, value = next(iter(one.items()))
            return "eq", str(name).lower(), value
        case ["eq" | "starts-with" as kind, str(name), str(value)]:
            return kind, name.removeprefix("$").lower(), value
        case ["content-length-range" as kind, int(least), int(most)]:
            return kind, least, most
    raise AwsError("InvalidPolicyDocument", f"Invalid Condition in policy: {condition!r}")


def _check_size(size: int, least: int, most: int) -> None:
    if size < least:
        raise AwsError(
            "EntityTooSmall", f"Your proposed upload has {size} bytes, at least {least} are wanted."
        )
    if size > most:
        raise AwsError(
            "EntityTooLarge", f"Your proposed upload has {size} bytes, at most {most} are allowed."
        )


def _parse_time(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()  # it says Z, always


def _policy_error(why: str) -> AwsError:
    return AwsError("AccessDenied", f"Invalid according to Policy: {why}", 403)
