"""What a request to S3 may say: one table of its operations, their query and their headers.

Everything that AWS would act on is honoured or refused by name: a header or a query parameter of an
operation that is not in the table below is answered with 501, so that nothing is dropped without a
word. Names and values are those of the Amazon S3 API Reference.
"""

from collections.abc import Mapping
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

STORED_HEADERS = (  # with an object, besides its type and x-amz-meta-*
    *("cache-control", "content-disposition", "content-encoding", "content-language", "expires"),
    *("x-amz-server-side-encryption", "x-amz-storage-class", "x-amz-website-redirect-location"),
    "x-amz-tagging",
)

_CONDITIONS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
_WATCHED = frozenset((*_CONDITIONS, "range"))  # HTTP's own that an operation honours or refuses
_WRITE = ("if-match", "if-none-match")
_SUMS = (*(PREFIX + name for name in CHECKSUMS), "x-amz-sdk-checksum-algorithm")
_ACL = ("x-amz-acl",)
_KEPT = (*_ACL, *(name for name in STORED_HEADERS if name.startswith("x-amz-")))
_SOURCE = (
    *(f"{COPY_SOURCE}-{name}" for name in _CONDITIONS),
    *(COPY_SOURCE, "x-amz-source-expected-bucket-owner"),
)
_LISTED = ("prefix", "delimiter", "encoding-type")
_OVERRIDES = tuple(
    f"response-{name}"
    for name in (
        *("cache-control", "content-disposition", "content-encoding", "content-language"),
        *("content-type", "expires"),
    )
)
_EVERYWHERE = frozenset(  # how a request is signed and sent, and whom it concerns
    f"x-amz-{name}"
    for name in (
        *(
            "algorithm",
            "api-version",
            "content-sha256",
            "credential",
            "date",
            "decoded-content-length",
        ),
        *("expected-bucket-owner", "expires", "request-payer", "security-token", "signature"),
        *("signedheaders", "trailer", "user-agent"),
    )
)
_SIGNING_QUERY = frozenset({"AWSAccessKeyId", "Signature", "Expires"})
MOVED_HEADERS = frozenset({"content-type", "content-md5"})
"""Headers besides x-amz-* that a URL signed with version 2 has in its query."""


@dataclass(frozen=True, slots=True)
class S3Operation:
    """An operation: its name, and what it honours of a query and of the headers that matter."""

    name: str
    query: frozenset[str]
    headers: frozenset[str]


def _rows() -> dict[tuple[str, str, str], tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Return names, queries and headers by method, subject and what else makes the operation."""
    version = ("versionId",)
    lists = (*_LISTED, "max-keys")
    overrides = (*_OVERRIDES, *version)
    optional = ("x-amz-optional-object-attributes",)  # RestoreStatus, which no object here has
    reads = (*_CONDITIONS, "range", "x-amz-checksum-mode")
    begins = (*_KEPT, "x-amz-checksum-algorithm", "x-amz-checksum-type")
    copies = (
        *(*_WRITE, *_KEPT, *_SOURCE, "x-amz-checksum-algorithm"),
        *("x-amz-metadata-directive", "x-amz-tagging-directive"),
    )
    buckets = (
        *(*_ACL, *_SUMS, "x-amz-object-ownership"),
        *("x-amz-bucket-object-lock-enabled", "x-amz-bucket-namespace"),
    )
    return {
        ("GET", "service", ""): (
            "ListBuckets",
            ("prefix", "max-buckets", "continuation-token", "bucket-region"),
            (),
        ),
        ("PUT", "bucket", ""): ("CreateBucket", (), buckets),
        ("HEAD", "bucket", ""): ("HeadBucket", (), ()),
        ("DELETE", "bucket", ""): ("DeleteBucket", (), ()),
        ("GET", "bucket", "location"): ("GetBucketLocation", (), ()),
        ("GET", "bucket", "tagging"): ("GetBucketTagging", (), ()),
        ("PUT", "bucket", "tagging"): ("PutBucketTagging", (), _SUMS),
        ("DELETE", "bucket", "tagging"): ("DeleteBucketTagging", (), ()),
        ("GET", "bucket", "acl"): ("GetBucketAcl", (), ()),
        ("PUT", "bucket", "acl"): ("PutBucketAcl", (), (*_ACL, *_SUMS)),
        **{("GET", "bucket", each): (name, (), ()) for each, (name, *_) in CONFIGURATIONS.items()},
        ("GET", "bucket", ""): ("ListObjects", (*lists, "marker"), optional),
        ("GET", "bucket", "list-type"): (
            "ListObjectsV2",
            (*lists, "continuation-token", "fetch-owner", "start-after"),
            optional,
        ),
        ("GET", "bucket", "versions"): (
            "ListObjectVersions",
            (*lists, "key-marker", "version-id-marker"),
            optional,
        ),
        ("POST", "bucket", "delete"): ("DeleteObjects", (), _SUMS),
        ("GET", "bucket", "uploads"): (
            "ListMultipartUploads",
            (*_LISTED, "key-marker", "upload-id-marker", "max-uploads"),
            (),
        ),
        ("PUT", "object", ""): ("PutObject", (), (*_WRITE, *_KEPT, *_SUMS)),
        ("PUT", "object", COPY_SOURCE): ("CopyObject", (), copies),
        ("GET", "object", ""): ("GetObject", overrides, reads),
        ("GET", "object", "partNumber"): ("GetObject", overrides, reads),
        ("HEAD", "object", ""): ("HeadObject", overrides, reads),
        ("HEAD", "object", "partNumber"): ("HeadObject", overrides, reads),
        ("DELETE", "object", ""): ("DeleteObject", version, ("if-match",)),
        ("GET", "object", "tagging"): ("GetObjectTagging", version, ()),
        ("PUT", "object", "tagging"): ("PutObjectTagging", version, _SUMS),
        ("DELETE", "object", "tagging"): ("DeleteObjectTagging", version, ()),
        ("GET", "object", "acl"): ("GetObjectAcl", version, ()),
        ("PUT", "object", "acl"): ("PutObjectAcl", version, (*_ACL, *_SUMS)),
        ("GET", "object", "attributes"): (
            "GetObjectAttributes",
            version,
            ("x-amz-object-attributes", "x-amz-max-parts", "x-amz-part-number-marker"),
        ),
        ("POST", "object", "uploads"): ("CreateMultipartUpload", (), begins),
        ("PUT", "object", "partNumber&uploadId"): ("UploadPart", (), _SUMS),
        ("PUT", "object", f"partNumber&uploadId&{COPY_SOURCE}"): (
            "UploadPartCopy",
            (),
            (*_SOURCE, f"{COPY_SOURCE}-range"),
        ),
        ("GET", "object", "uploadId"): ("ListParts", ("max-parts", "part-number-marker"), ()),
        ("POST", "object", "uploadId"): (
            "CompleteMultipartUpload",
            (),
            (*_WRITE, *_SUMS, "x-amz-checksum-type", "x-amz-mp-object-size"),
        ),
        ("DELETE", "object", "uploadId"): ("AbortMultipartUpload", (), ()),
    }


OPERATIONS: Mapping[tuple[str, str, str], S3Operation] = {
    action: S3Operation(name, frozenset(query), frozenset(headers))
    for action, (name, query, headers) in _rows().items()
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
_OWNERS = ((ACCOUNT,), AwsError("AccessDenied", "Access Denied", 403))
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
    """Check that an operation honours everything that its request says.

    Raises:
        AwsError: NotImplemented, with the name; or what AWS answers to a value.
    """
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
