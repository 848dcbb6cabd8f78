"""Why a test of moto fails on a local cloud: names for what is known, the first that fits."""

import re

CLASSES = (
    ("not offered by the local cloud, said with 501", r"not yet offered|NotImplemented|501"),
    ("the test sets its clock to another year", r"TooSkewed|was signed at|longer than \d+ sec"),
    ("asks moto's own API, or imports its inside", r"port=5000|moto-api|localhost:5000"),
    ("calls without a key, or with one of its own", r"is not signed|AccessKey|AccessDenied|'403'"),
    ("a model whose archive is not there, at which moto does not look", r"find model data"),
    ("an image that this machine has not", r"[Ss]ource image|Could not unzip"),
    ("scaling of an endpoint that is not there", r"SageMaker variant .* does not exist"),
    ("a value that AWS's own model of the service refuses", r"validation errors? detected"),
    ("another partition of AWS than aws", r"aws-cn|aws-iso|aws-us-gov|isob"),
    ("makes buckets of several regions from one", r"IllegalLocationConstraint"),
    (
        "a metric without a value, or an alarm without a threshold",
        r"needs one of Value|An alarm needs",
    ),
    (
        "alarms begin in the state OK, where AWS has INSUFFICIENT_DATA",
        r"'INSUFFICIENT_DATA' == 'OK'",
    ),
    ("labels of GetMetricData that moto makes of name and statistic", r"'metric1' == 'metric1 "),
    ("metric math beyond arithmetic, or Metrics Insights", r"The expression .* cannot be read"),
    ("storage classes are not kept", r"STANDARD|StorageClass|REDUCED|GLACIER"),
    ("object lock is not kept", r"ObjectLock|VersionId|test_s3_lock"),
    (
        "what S3 is given beside the object is not kept",
        r"Redirect|ServerSide|server-side|BucketKey",
    ),
    ("checksums that CopyObject and parts should answer", r"[Cc]hecksum"),
    ("ranges of copied parts are not taken", r"b'0000.*key_value"),
    ("other words for the same error", r"assert '.*' (?:==|in) ['\"]|Skipping \d+ identical"),
    ("names of an account's or bucket's past", r"already exists|BucketArn"),
)
"""A reason, and what the error or its text shows of it."""

TESTS = (
    ("presigned URLs and forms", r"presigned|upload_data_without"),
    ("lists: prefix, owner, tokens, limits of ListBuckets", r"test_list_(?:objects|buckets)"),
    ("conditions: the ETag of a 304", r"none_match"),
    ("functions by full ARN and versions", r"[Aa]rn\]?$|by_arn|versions|qualifiers|LambdaInvo"),
    ("functions: what moto's handlers take from moto's server", r"test_lambda_invoke|eventsource"),
    ("functions: settings and policies that moto keeps otherwise", r"test_awslambda"),
    ("model packages: names, types and approval", r"model_package"),
    ("models without a container", r"test_tag_and_untag_resources_sagemaker"),
    ("metrics of S3's buckets", r"return_s3_metrics"),
    ("details of CloudWatch's answers", r"test_cloudwatch"),
    ("details of S3's answers", r"test_s3"),
)
"""The rest by the test's name."""


def name_reason(facts: dict[str, str]) -> str:
    """Return why a test failed; "" where that has no name.

    >>> name_reason({"id": "a", "error": "", "text": "It is not yet offered by the local cloud."})
    'not offered by the local cloud, said with 501'
    """
    text = f"{facts['error']} {facts['text']}"
    found = (reason for reason, pattern in CLASSES if re.search(pattern, text))
    by_name = (reason for reason, pattern in TESTS if re.search(pattern, facts["id"]))
    return next(found, "") or next(by_name, "")
