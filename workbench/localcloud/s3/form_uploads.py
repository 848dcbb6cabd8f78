"""Uploads by a form as the PutObject that they mean, and the answers that browsers get.

Source: Amazon S3 API Reference, "POST Object".
"""

from urllib.parse import quote, urlencode

from workbench.localcloud.core.forms import UploadForm
from workbench.localcloud.core.protocol import AwsError, xml_response
from workbench.localcloud.s3.parameters import OPERATIONS, STORED_HEADERS, check_parameters
from workbench.localcloud.s3.requests import (
    S3Request,
    check_header_values,
    check_key,
    encode_tags,
    parse_document,
    parse_tags,
    read_request,
)
from workbench.modelserver.http import Request, Response

_HEADERS = frozenset((*STORED_HEADERS, "content-type", "content-md5"))


def read_form(request: Request, form: UploadForm) -> S3Request:
    """Return the PutObject that an upload by a form means: its fields are the headers."""
    fields = form.fields
    if not fields.get("key"):
        raise AwsError("InvalidArgument", "Bucket POST must contain a field named 'key'.")
    check_header_values({**fields, "content-type of the file": form.content_type})
    headers = {
        name: value
        for name, value in fields.items()
        if name in _HEADERS or name.startswith("x-amz-")
    }
    if form.content_type:
        headers.setdefault("content-type", form.content_type)
    if "acl" in fields:
        headers["x-amz-acl"] = fields["acl"]
    if "tagging" in fields:
        headers["x-amz-tagging"] = encode_tags(
            parse_tags(parse_document(fields["tagging"].encode()), "object")
        )
    check_key(fields["key"])
    check_parameters(OPERATIONS["PUT", "object", ""], {}, headers)
    return S3Request(request, read_request(request).bucket, fields["key"], {}, headers)


def form_response(call: S3Request, form: UploadForm, saved: Response) -> Response:
    """Return the answer that a form asks for, where its file was saved with this one."""
    host, path = call.request.headers["host"], call.request.raw_path.rstrip("/")
    location = f"http://{host}{path}/{quote(call.key)}"
    etag = dict(saved.headers)["etag"]
    target = form.fields.get("success_action_redirect") or form.fields.get("redirect", "")
    if target.startswith(("http://", "https://")):
        where = urlencode({"bucket": call.bucket, "key": call.key, "etag": etag})
        target += ("&" if "?" in target else "?") + where
        return Response(303, headers=[("location", target), ("etag", etag)])
    marks = [*saved.headers, ("location", location)]
    if form.fields.get("success_action_status") == "201":
        content = {"Location": location, "Bucket": call.bucket, "Key": call.key, "ETag": etag}
        answer = xml_response("PostResponse", content, marks)
        answer.status = 201
        return answer
    status = 200 if form.fields.get("success_action_status") == "200" else 204
    return Response(status, headers=marks)
