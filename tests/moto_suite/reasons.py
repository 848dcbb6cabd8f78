"""Why a test of moto fails on a local cloud: names for what is known, the first that fits.

A reason that begins with "ours" is a fault of the local cloud, or what it lacks without saying so.
"""

import re

REASONS = (
    (
        "not offered by the local cloud, said with 501",
        r"not yet offered|\(NotImplemented\)|\(501\)|assert '(?:NotImplemented|501)' ==",
    ),
    ("the test sets its clock to another year", r"TooSkewed|was signed at"),
    ("ours: no end within 40 seconds", r"longer than \d+ sec"),
    ("asks moto's own API, or imports its inside", r"port=(?:5000|6789)|moto-api|localhost:5000"),
    ("calls without a key, or with one of its own", r"is not signed|AccessKey|AccessDenied|'403'"),
    ("a model whose archive is not there, at which moto does not look", r"find model data"),
    ("an image or an archive that this machine has not", r"[Ss]ource image|Could not unzip"),
    ("scaling of an endpoint that is not there", r"SageMaker variant .* does not exist"),
    ("another partition of AWS than aws", r"aws-cn|aws-iso|aws-us-gov|isob"),
    ("a value that AWS's own model of the service refuses", r"validation errors? detected"),
    (
        "needs a bucket whose lists of access are on, as none are since 2023",
        r"AccessControlListNot|acl_with_pre",
    ),
    ("a range of CopySource that AWS refuses", r"x-amz-copy-source-range|b'0000.*key_value"),
    (
        "a part beside the order that AWS wants, or of another key",
        r"PartOrder|test_list_multiparts",
    ),
    ("ChecksumType, which AWS answers and moto does not", r"'ChecksumType': 'FULL_OBJECT'"),
    ("an upload of SHA-256 whose part has CRC-32, which AWS refuses", r"Checksum Type mismatch"),
    ("headers of moto's that AWS does not send", r"x-amz-sdk-checksum-algorithm|x-amzn-requestid"),
    (
        "a presigned URL for another method, or with a form for a body",
        r"_to_presigned_url|d_without_acl$",
    ),
    ("an empty Prefix, which AWS answers", r"assert '' is None"),
    ("an attribute that AWS has not", r"Invalid attribute name"),
    (
        "tags of an alarm that is not there, which AWS's model of the service refuses",
        r"with_unknown_resource",
    ),
    ("ours: a metric with two dimensions of one name", r"duplicate_put_metric_data"),
    ("a bucket's name that AWS refuses", r"InvalidBucketName"),
    ("ours: a signed type of content is not compared in URLs", r"url_with_approved_headers"),
    ("ours: alarms begin in the state OK, not INSUFFICIENT_DATA", r"'INSUFFICIENT_DATA' == 'OK'"),
    (
        "ours: a metric without a value, or an alarm without a threshold",
        r"one of Value|An alarm needs",
    ),
    ("ours: labels of GetMetricData", r"'metric1' == 'metric1 "),
    ("ours: metric math beyond arithmetic, Metrics Insights", r"The expression .* cannot be read"),
    ("metrics of S3's buckets, which AWS sends once a day", r"return_s3_metrics"),
    ("ours: a function's code has no URL of S3", r"awslambda-us-west-2-tasks"),
    ("what moto's functions ask of moto's server", r"test_lambda_invoke|eventsource"),
    ("ours: roles are not looked up", r"unknown_arn|arn_from_different_account"),
    ("an alias answers its own ARN, as on AWS (LocalStack's tests there, too)", r":live'"),
    ("ResourceConflictException, as Lambda's reference has it", r"are_unique_per_function"),
    ("weights of a version that is not there, which AWS refuses", r"routing_?config$"),
    ("versions of a function that is not there, which AWS refuses", r"for_nonexistent_function"),
    ("a quota of functions that moto does not enforce", r"concurrency_not_enforced"),
    ("a function without code of its own", r"provide a source for function"),
    (
        "a model package whose name has versions, or is there already",
        r"for the versions of|already exists",
    ),
    ("a model without a container", r"either a PrimaryContainer or Containers"),
    ("no cloud was there after the test before", r"previous item was not torn down"),
    ("metrics of other dimensions, which AWS does not add up", r"for_dimensions|stics_dimensions"),
    ("ours: another code of the same error", r"assert '[A-Za-z0-9]+' == '[A-Za-z0-9]+'"),
    (
        "the same error in other words",
        r"assert ['\"].*\.*['\"] (?:==|in) ['\"]|Skipping \d+ identical",
    ),
    (
        "ours, perhaps: not looked into",
        r"test_list_metrics$|data_for_unit|low_sample|alarms?_state|be_alarms$",
    ),
)
"""A reason, and what the test's name, its error or its text shows of it."""


def name_reason(facts: dict[str, str]) -> str:
    """Return why a test failed; "" where that has no name.

    >>> name_reason({"id": "a", "error": "", "text": "It is not yet offered by the local cloud."})
    'not offered by the local cloud, said with 501'
    """
    text = f"{facts['id']}\n{facts['error']}\n{facts['text']}"
    found = (reason for reason, pattern in REASONS if re.search(pattern, text, re.MULTILINE))
    return next(found, "")
