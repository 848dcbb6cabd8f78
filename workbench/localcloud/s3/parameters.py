"""What a request to S3 may say: one table of its operations, their query and their headers.

Everything that AWS would act on is honoured or refused by name: a header or a query parameter of an
operation that is not in the table below is answered with 501, so that nothing is dropped without a
word. Names and values are those of the Amazon S3 API Reference.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from workbench.localcloud.core.protocol import ACCOUNT, AwsError, not_implemented_error
from workbench.localcloud.s3.checksums import CHECKSUMS, PREFIX

COPY_SOURCE = "x-amz-copy-source"
CONFIGURATIONS: Mapping[str, tuple[str, str, str]] = {
    "accelerate": ("GetBucketAccelerateConfiguration", "AccelerateConfiguration", ""),
    "cors": ("GetBucketCors", "", "NoSuchCORSConfiguration"),
    "encryption": ("GetBucketEncryption", "", "ServerSideEncryptionConfigurationNotFoundError"),
    "lifecycle": ("GetBucketLifecycleConfiguration", "", "NoSuchLifecycleConfiguration"),
    "logging": ("GetBucketLogging", "BucketLoggingStatus", ""),
    "notification": ("GetBucketNotificationConfiguration", "NotificationConfiguration", ""),
    "object-lock": ("GetObjectLockConfiguration", "", "ObjectLockConfigurationNotFoundError"),
    "policy": ("GetBucketPolicy", "", "NoSuchBucketPolicy"),
    "publicAccessBlock": ("GetPublicAccessBlock", "", "NoSuchPublicAccessBlockConfiguration"),
    "replication": ("GetBucketReplication", "", "ReplicationConfigurationNotFoundError"),
    "versioning": ("GetBucketVersioning", "VersioningConfiguration", ""),
    "website": ("GetBucketWebsite", "", "NoSuchWebsiteConfiguration"),
}
"""What no bucket here has: operation, and empty document or error, by the parameter that asks."""

_HTTP_HEADERS = (
    *("cache-control", "content-disposition", "content-encoding", "content-language", "expires"),
)
STORED_HEADERS = (  # with an object, besides its type and x-amz-meta-*
    *_HTTP_HEADERS,
    *("x-amz-server-side-encryption", "x-amz-storage-class", "x-amz-website-redirect-location"),
    "x-amz-tagging",
)
MOVED_HEADERS = frozenset({"content-type", "content-md5"})
"""Headers besides x-amz-* that a URL signed with version 2 has in its query."""

_CONDITIONS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
_WATCHED = frozenset((*_CONDITIONS, "range"))  # HTTP's own that an operation honours or refuses
_EVERYWHERE = frozenset(  # how a request is signed and sent, and whom it concerns
    f"x-amz-{name}"
    for name in (
        *("algorithm", "api-version", "content-sha256", "credential", "date", "expires"),
        *("decoded-content-length", "expected-bucket-owner", "request-payer", "security-token"),
        *("signature", "signedheaders", "trailer", "user-agent"),
    )
)
_SIGNING_QUERY = frozenset({"AWSAccessKeyId", "Signature", "Expires"})

# --- parts of the table
_VERSION = ("versionId",)
_LISTED = ("prefix", "delimiter", "encoding-type")
_OBJECTS_LISTED = (*_LISTED, "max-keys")
_OVERRIDES = (*(f"response-{name}" for name in (*_HTTP_HEADERS, "content-type")), *_VERSION)
_OPTIONAL = ("x-amz-optional-object-attributes",)  # RestoreStatus, which no object here has
_READ = (*_CONDITIONS, "range", "x-amz-checksum-mode")
_WRITE = ("if-match", "if-none-match")
_SUMS = (*(PREFIX + name for name in CHECKSUMS), "x-amz-sdk-checksum-algorithm")
_ACL = ("x-amz-acl",)
_KEPT = (*_ACL, *(name for name in STORED_HEADERS if name.startswith("x-amz-")))
_SOURCE = (
    *(f"{COPY_SOURCE}-{name}" for name in _CONDITIONS),
    *(COPY_SOURCE, "x-amz-source-expected-bucket-owner"),
)
_COPY = (
    *(*_WRITE, *_KEPT, *_SOURCE, "x-amz-checksum-algorithm"),
    *("x-amz-metadata-directive", "x-amz-tagging-directive"),
)
_NEW_BUCKET = (
    *(*_ACL, *_SUMS, "x-amz-object-ownership"),
    *("x-amz-bucket-object-lock-enabled", "x-amz-bucket-namespace"),
)


@dataclass(frozen=True, slots=True)
class S3Operation:
    """An operation: its name, and what it honours of a query and of the headers that matter."""

    name: str
    query: Collection[str] = ()
    headers: Collection[str] = ()


OPERATIONS: Mapping[tuple[str, str, str], S3Operation] = {
    ("GET", "service", ""): S3Operation(
        "ListBuckets", ("prefix", "max-buckets", "continuation-token", "bucket-region")
    ),
    ("PUT", "bucket", ""): S3Operation("CreateBucket", (), _NEW_BUCKET),
    ("HEAD", "bucket", ""): S3Operation("HeadBucket"),
    ("DELETE", "bucket", ""): S3Operation("DeleteBucket"),
    ("GET", "bucket", "location"): S3Operation("GetBucketLocation"),
    ("GET", "bucket", "tagging"): S3Operation("GetBucketTagging"),
    ("PUT", "bucket", "tagging"): S3Operation("PutBucketTagging", (), _SUMS),
    ("DELETE", "bucket", "tagging"): S3Operation("DeleteBucketTagging"),
    ("GET", "bucket", "acl"): S3Operation("GetBucketAcl"),
    ("PUT", "bucket", "acl"): S3Operation("PutBucketAcl", (), (*_ACL, *_SUMS)),
    **{("GET", "bucket", each): S3Operation(name) for each, (name, *_) in CONFIGURATIONS.items()},
    ("GET", "bucket", ""): S3Operation("ListObjects", (*_OBJECTS_LISTED, "marker"), _OPTIONAL),
    ("GET", "bucket", "list-type"): S3Operation(
        "ListObjectsV2",
        (*_OBJECTS_LISTED, "continuation-token", "fetch-owner", "start-after"),
        _OPTIONAL,
    ),
    ("GET", "bucket", "versions"): S3Operation(
        "ListObjectVersions", (*_OBJECTS_LISTED, "key-marker", "version-id-marker"), _OPTIONAL
    ),
    ("POST", "bucket", "delete"): S3Operation("DeleteObjects", (), _SUMS),
    ("GET", "bucket", "uploads"): S3Operation(
        "ListMultipartUploads", (*_LISTED, "key-marker", "upload-id-marker", "max-uploads")
    ),
    ("PUT", "object", ""): S3Operation("PutObject", (), (*_WRITE, *_KEPT, *_SUMS)),
    ("PUT", "object", COPY_SOURCE): S3Operation("CopyObject", (), _COPY),
    ("GET", "object", ""): S3Operation("GetObject", _OVERRIDES, _READ),
    ("GET", "object", "partNumber"): S3Operation("GetObject", _OVERRIDES, _READ),
    ("HEAD", "object", ""): S3Operation("HeadObject", _OVERRIDES, _READ),
    ("HEAD", "object", "partNumber"): S3Operation("HeadObject", _OVERRIDES, _READ),
    ("DELETE", "object", ""): S3Operation("DeleteObject", _VERSION, ("if-match",)),
    ("GET", "object", "tagging"): S3Operation("GetObjectTagging", _VERSION),
    ("PUT", "object", "tagging"): S3Operation("PutObjectTagging", _VERSION, _SUMS),
    ("DELETE", "object", "tagging"): S3Operation("DeleteObjectTagging", _VERSION),
    ("GET", "object", "acl"): S3Operation("GetObjectAcl", _VERSION),
    ("PUT", "object", "acl"): S3Operation("PutObjectAcl", _VERSION, (*_ACL, *_SUMS)),
    ("GET", "object", "attributes"): S3Operation(
        "GetObjectAttributes",
        _VERSION,
        ("x-amz-object-attributes", "x-amz-max-parts", "x-amz-part-number-marker"),
    ),
    ("POST", "object", "uploads"): S3Operation(
        "CreateMultipartUpload", (), (*_KEPT, "x-amz-checksum-algorithm", "x-amz-checksum-type")
    ),
    ("PUT", "object", "partNumber&uploadId"): S3Operation("UploadPart", (), _SUMS),
    ("PUT", "object", f"partNumber&uploadId&{COPY_SOURCE}"): S3Operation(
        "UploadPartCopy", (), (*_SOURCE, f"{COPY_SOURCE}-range")
    ),
    ("GET", "object", "uploadId"): S3Operation("ListParts", ("max-parts", "part-number-marker")),
    ("POST", "object", "uploadId"): S3Operation(
        "CompleteMultipartUpload",
        (),
        (*_WRITE, *_SUMS, "x-amz-checksum-type", "x-amz-mp-object-size"),
    ),
    ("DELETE", "object", "uploadId"): S3Operation("AbortMultipartUpload"),
}
"""What is offered, by method, what it is about, and the parameters that make it another one."""


def version_error() -> AwsError:
    """Return the answer to a version, of which no object here has any."""
    return AwsError("NoSuchVersion", "The specified version does not exist: none are kept.", 404)


_PLAIN = frozenset().union(*(each.query for each in OPERATIONS.values()))

_STORAGE_CLASSES = (
    *("STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING"),
    "GLACIER_IR",
)
_LATER_CLASSES = {"GLACIER", "DEEP_ARCHIVE"}  # must be restored before they are read
_OWNERS = ((ACCOUNT,), AwsError("AccessDenied", "Access Denied", 403))  # there is one account here
_VALUES: Mapping[str, tuple[tuple[str, ...], AwsError | None]] = {  # else NotImplemented
    "x-amz-api-version": (("2006-03-01",), None),
    "x-amz-acl": (
        ("private", "bucket-owner-full-control"),
        AwsError("AccessControlListNotSupported", "The bucket does not allow ACLs"),
    ),
    "x-amz-bucket-namespace": (("global",), None),
    "x-amz-bucket-object-lock-enabled": (("false", "False"), None),
    "x-amz-checksum-type": (
        ("COMPOSITE", "FULL_OBJECT"),
        AwsError("InvalidRequest", "Value for x-amz-checksum-type header is invalid."),
    ),
    "x-amz-expected-bucket-owner": _OWNERS,
    "x-amz-source-expected-bucket-owner": _OWNERS,
    "x-amz-metadata-directive": (
        ("COPY", "REPLACE"),
        AwsError("InvalidArgument", "Unknown metadata directive."),
    ),
    "x-amz-tagging-directive": (
        ("COPY", "REPLACE"),
        AwsError("InvalidArgument", "Unknown tagging directive."),
    ),
    "x-amz-object-ownership": (("BucketOwnerEnforced",), None),
    "x-amz-request-payer": (("requester",), AwsError("InvalidArgument", "Unknown payer.")),
    "x-amz-server-side-encryption": (("AES256", "aws:kms"), None),
    "x-amz-storage-class": (_STORAGE_CLASSES, None),
    "encoding-type": (
        ("url",),
        AwsError("InvalidArgument", "Invalid Encoding Method specified in Request"),
    ),
    "list-type": (("2",), AwsError("InvalidArgument", "Invalid List Type specified")),
    "versionId": (("null",), version_error()),
}


def find_extras(names: Mapping[str, str]) -> list[str]:
    """Return those of a request's query names that make it another operation, sorted.

    Names that begin with x- are for logs (S3 user guide, "Customizing access log information"),
    unless they are headers that were moved there.
    """
    return sorted(
        name
        for name in names
        if name not in _PLAIN | _SIGNING_QUERY
        and name.lower() not in MOVED_HEADERS
        and not name.lower().startswith("x-")
    )


def check_parameters(
    operation: S3Operation, query: Mapping[str, str], headers: Mapping[str, str]
) -> None:
    """Check that an operation honours everything that its request says."""
    for name, value in query.items():
        if name in _PLAIN and name not in operation.query:
            raise not_implemented_error(f"S3's {operation.name} with the parameter {name!r}")
        _check_value(operation, name, value)
    for name, value in headers.items():
        if name.startswith("x-amz-") or name in _WATCHED:
            if not _is_honoured(operation, name):
                raise not_implemented_error(f"S3's {operation.name} with the header {name!r}")
            _check_value(operation, name, value)


def _is_honoured(operation: S3Operation, header: str) -> bool:
    if header.startswith("x-amz-meta-"):
        return "x-amz-tagging" in operation.headers  # it makes an object
    return header in operation.headers or header in _EVERYWHERE


def _check_value(operation: S3Operation, name: str, value: str) -> None:
    accepted, error = _VALUES.get(name, ((value,), None))
    if value in accepted:
        return
    if name == "x-amz-storage-class" and value not in _LATER_CLASSES:
        raise AwsError("InvalidStorageClass", "The storage class you specified is not valid")
    if error is None:
        raise not_implemented_error(f"S3's {operation.name} with {value!r} as {name!r}")
    raise AwsError(error.code, error.message, error.status)
