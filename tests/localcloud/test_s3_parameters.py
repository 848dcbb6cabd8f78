"""What a request to S3 says is honoured, or refused by name: nothing is dropped without a word."""

import re
from urllib.parse import urlencode

import pytest
from botocore.exceptions import ClientError
from botocore.session import get_session

from tests import wire
from tests.refused import refused
from workbench.localcloud.core.protocol import AwsError
from workbench.localcloud.s3.parameters import OPERATIONS, check_parameters

MODEL = get_session().get_service_model("s3")


def code(error):
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def parameters_of(operation):
    """What botocore's model lets an operation say in its query and in headers, and our table."""
    members = MODEL.operation_model(operation.name).input_shape
    for member in members.members.values() if members else ():
        name = member.serialization.get("name", "")
        if member.serialization.get("location") in ("querystring", "header"):
            yield member.serialization["location"], name


PLAIN = {"content-length", "content-type", "content-md5", "cache-control", "content-disposition"}
PLAIN |= {"content-encoding", "content-language", "expires"}  # of HTTP: kept, or about the body
SIGNED = {"x-amz-request-payer", "x-amz-expected-bucket-owner"}  # everywhere, by their values


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.name)
def test_each_parameter_of_an_operation_is_honoured_or_refused_by_its_name(operation):
    for location, name in parameters_of(operation):
        if name in ("partNumber", "uploadId") or name.lower() in PLAIN:
            continue
        honoured = {*operation.query, *operation.headers, *SIGNED}
        if {name, name.lower()} & honoured:
            continue
        query = {name: "value"} if location == "querystring" else {}
        with pytest.raises(AwsError) as error:
            check_parameters(operation, query, {} if query else {name.lower(): "value"})
        assert error.value.status == 501
        assert name.lower() in error.value.message.lower()


def test_a_parameter_that_nobody_knows_is_refused_by_its_name(cloud, bucket):
    status, _, body = wire.ask(cloud, "GET", f"/{bucket}?shape=round")
    assert (status, b"shape" in body) == (501, True)
    assert wire.ask(cloud, "GET", f"/{bucket}?x-purpose=test")[0] == 200  # for logs alone


LOCK = {
    "ObjectLockMode": "COMPLIANCE",
    "ObjectLockRetainUntilDate": "2030-01-01T00:00:00Z",
}


@pytest.mark.parametrize(
    ("extra", "name"),
    [
        (LOCK, "x-amz-object-lock-mode"),
        ({"ObjectLockLegalHoldStatus": "ON"}, "x-amz-object-lock-legal-hold"),
        ({"ServerSideEncryption": "aws:kms:dsse"}, "x-amz-server-side-encryption"),
        ({"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k"}, "aws-kms-key-id"),
        ({"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}, "customer-algorithm"),
        ({"StorageClass": "GLACIER"}, "x-amz-storage-class"),
        ({"GrantRead": "id=1"}, "x-amz-grant-read"),
        ({"IfNoneMatch": '"etag"'}, "If-None-Match"),
    ],
    ids=[
        "retention",
        "legal hold",
        "two keys",
        "KMS",
        "own key",
        "archive",
        "grant",
        "other condition",
    ],
)
def test_an_object_is_not_put_without_what_was_asked_of_it(s3, bucket, extra, name):
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", **extra)
    assert code(error) == ("NotImplemented", 501)
    assert name in error.value.response["Error"]["Message"]
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_a_bucket_with_object_lock_is_not_made(s3):
    with refused(ClientError, "NotImplemented", "'x-amz-bucket-object-lock-enabled'"):
        s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    with refused(s3.exceptions.ClientError, 404):
        s3.head_bucket(Bucket="locked")


def test_a_bucket_is_not_made_with_half_of_its_configuration(cloud):
    kind = b"<Bucket><Type>Directory</Type></Bucket>"
    body = b"<CreateBucketConfiguration>" + kind + b"</CreateBucketConfiguration>"
    status, _, answer = wire.ask(cloud, "PUT", "/half", body)
    assert (status, b"Bucket" in answer) == (501, True)


def test_public_access_is_refused_as_buckets_of_today_refuse_it(s3, bucket):
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    assert code(error) == ("AccessControlListNotSupported", 400)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="bucket-owner-full-control")
    for acl in (s3.get_object_acl(Bucket=bucket, Key="k"), s3.get_bucket_acl(Bucket=bucket)):
        (grant,) = acl["Grants"]
        assert (grant["Permission"], grant["Grantee"]["Type"]) == ("FULL_CONTROL", "CanonicalUser")


def test_the_one_access_control_list_may_be_put_again(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    acl = s3.get_object_acl(Bucket=bucket, Key="k")
    policy = {"Owner": acl["Owner"], "Grants": acl["Grants"]}
    s3.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy=policy)
    policy["Grants"].append({"Grantee": {"Type": "CanonicalUser", "ID": "1"}, "Permission": "READ"})
    with refused(ClientError, "AccessControlListNotSupported"):
        s3.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy=policy)


def test_what_was_never_configured_is_answered_so(s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    with refused(ClientError, "NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket=bucket)
    with refused(ClientError, "NotImplemented"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def test_a_region_that_is_none_is_answered_with_the_one_to_sign_for(cloud):
    signed = wire.signed(cloud, "PUT", "/new-bucket", region="US")
    status, _, body = wire.ask(cloud, "PUT", "/new-bucket", headers=signed, service=None)
    assert (status, b"<Region>us-east-1</Region>" in body) == (400, True)


def test_another_accounts_bucket_is_not_ours(s3, bucket):
    with pytest.raises(ClientError) as error:
        s3.list_objects_v2(Bucket=bucket, ExpectedBucketOwner="999999999999")
    assert code(error) == ("AccessDenied", 403)
    assert s3.list_objects_v2(Bucket=bucket, ExpectedBucketOwner="123456789012")["KeyCount"] == 0


def test_storage_class_and_encryption_are_kept_and_named(s3, bucket):
    kept = {"StorageClass": "STANDARD_IA", "ServerSideEncryption": "AES256"}
    where = {"Bucket": bucket, "Key": "k"}
    assert s3.put_object(**where, Body=b"x", **kept)["ServerSideEncryption"] == "AES256"
    found = s3.head_object(**where)
    assert {name: found[name] for name in kept} == kept
    (listed,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert listed["StorageClass"] == "STANDARD_IA"
    with refused(ClientError, "InvalidStorageClass"):
        s3.put_object(**where, Body=b"x", StorageClass="CHEAP")
    s3.copy_object(**where, CopySource=where, StorageClass="GLACIER_IR")
    assert s3.get_object(**where)["StorageClass"] == "GLACIER_IR"
    attributes = s3.get_object_attributes(**where, ObjectAttributes=["StorageClass", "ObjectSize"])
    assert (attributes["StorageClass"], attributes["ObjectSize"]) == ("GLACIER_IR", 1)


# --- tags


def tags(**pairs):
    return [{"Key": key, "Value": value} for key, value in pairs.items()]


def test_tags_of_an_object_are_kept_counted_replaced_and_deleted(s3, bucket):
    where = {"Bucket": bucket, "Key": "k"}
    s3.put_object(**where, Body=b"x", Tagging=urlencode({"stage": "a b", "n": ""}))
    assert s3.get_object_tagging(**where)["TagSet"] == tags(stage="a b", n="")
    assert s3.get_object(**where)["TagCount"] == 2

    s3.put_object_tagging(**where, Tagging={"TagSet": tags(stage="ü&=")})
    assert s3.get_object_tagging(**where)["TagSet"] == tags(stage="ü&=")
    s3.copy_object(Bucket=bucket, Key="same", CopySource=where)
    s3.copy_object(
        Bucket=bucket, Key="new", CopySource=where, TaggingDirective="REPLACE", Tagging="a=1"
    )
    s3.delete_object_tagging(**where)
    assert s3.get_object_tagging(**where)["TagSet"] == []
    assert "TagCount" not in s3.head_object(**where)
    assert s3.get_object_tagging(Bucket=bucket, Key="same")["TagSet"] == tags(stage="ü&=")
    assert s3.get_object_tagging(Bucket=bucket, Key="new")["TagSet"] == tags(a="1")
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object_tagging(Bucket=bucket, Key="nothing")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("&".join(f"k{i}=v" for i in range(11)), "BadRequest"),
        ("a=1&a=2", "InvalidTag"),
        ("k=" + "v" * 257, "InvalidTag"),
        ("aws:k=v", "InvalidTag"),
    ],
    ids=["eleven", "twice", "long", "of AWS"],
)
def test_tags_that_s3_does_not_take_are_refused(s3, bucket, header, said):
    with refused(ClientError, said):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging=header)


def test_an_upload_in_parts_keeps_tags_and_storage_class(s3, bucket):
    where = {"Bucket": bucket, "Key": "k"}
    begun = s3.create_multipart_upload(**where, Tagging="a=1", StorageClass="STANDARD_IA")
    upload = where | {"UploadId": begun["UploadId"]}
    assert s3.list_parts(**upload)["StorageClass"] == "STANDARD_IA"
    etag = s3.upload_part(**upload, PartNumber=1, Body=b"x")["ETag"]
    s3.complete_multipart_upload(
        **upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]}
    )
    assert s3.get_object_tagging(**where)["TagSet"] == tags(a="1")
    assert s3.head_object(**where)["StorageClass"] == "STANDARD_IA"


# --- conditions of writes and deletes


def test_an_object_is_deleted_only_as_the_client_knows_it(s3, bucket):
    where = {"Bucket": bucket, "Key": "k"}
    etag = s3.put_object(**where, Body=b"x")["ETag"]
    with pytest.raises(ClientError) as error:
        s3.delete_object(**where, IfMatch='"other"')
    assert code(error) == ("PreconditionFailed", 412)
    assert s3.head_object(**where)["ETag"] == etag
    s3.delete_object(**where, IfMatch=etag)
    with pytest.raises(ClientError) as error:
        s3.delete_object(**where, IfMatch="*")
    assert code(error) == ("NoSuchKey", 404)
    s3.delete_object(**where)


def test_many_are_deleted_only_as_the_client_knows_them(s3, bucket):
    etags = {key: s3.put_object(Bucket=bucket, Key=key, Body=b"x")["ETag"] for key in "abc"}
    chosen = [{"Key": "a", "ETag": etags["a"]}, {"Key": "b", "ETag": '"other"'}]
    chosen += [{"Key": "c", "VersionId": "17"}, {"Key": "gone", "ETag": '"any"'}]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": chosen})
    assert [each["Key"] for each in answer["Deleted"]] == ["a"]
    errors = {each["Key"]: each["Code"] for each in answer["Errors"]}
    assert errors == {"b": "PreconditionFailed", "c": "NoSuchVersion", "gone": "NoSuchKey"}
    left = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert [each["Key"] for each in left] == ["b", "c"]


def test_encryption_by_the_key_of_the_account_is_told(s3, bucket):  # SageMaker's SDK 2 asks for it
    where = {"Bucket": bucket, "Key": "k"}
    made = s3.put_object(**where, Body=b"x", ServerSideEncryption="aws:kms")
    read = s3.head_object(**where)
    assert made["ServerSideEncryption"] == read["ServerSideEncryption"] == "aws:kms"


def test_a_copy_and_an_upload_in_parts_replace_only_what_the_client_knows(s3, bucket):
    where = {"Bucket": bucket, "Key": "k"}
    s3.put_object(**where, Body=b"x")
    s3.put_object(Bucket=bucket, Key="source", Body=b"y")
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"other"'}):
        with refused(ClientError, "PreconditionFailed"):
            s3.copy_object(**where, CopySource=f"{bucket}/source", **condition)
    upload = where | {"UploadId": s3.create_multipart_upload(**where)["UploadId"]}
    etag = s3.upload_part(**upload, PartNumber=1, Body=b"z")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    with refused(ClientError, "PreconditionFailed"):
        s3.complete_multipart_upload(**upload, MultipartUpload=parts, IfNoneMatch="*")
    assert s3.get_object(**where)["Body"].read() == b"x"
    assert len(s3.list_parts(**upload)["Parts"]) == 1  # it can be tried again


def test_a_condition_that_an_operation_has_not_is_refused(cloud, bucket):
    status, _, body = wire.ask(cloud, "DELETE", f"/{bucket}", headers={"if-match": '"x"'})
    assert (status, b"if-match" in body) == (501, True)


# --- lists


def test_buckets_are_listed_by_prefix_and_in_pages(s3):
    for name in ("pages-a", "pages-b", "pages-c"):
        s3.create_bucket(Bucket=name)
    pages = s3.get_paginator("list_buckets").paginate(
        Prefix="pages-", PaginationConfig={"PageSize": 2}
    )
    names = [[each["Name"] for each in page["Buckets"]] for page in pages]
    assert names == [["pages-a", "pages-b"], ["pages-c"]]
    assert s3.list_buckets(BucketRegion="eu-west-1")["Buckets"] == []


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_uploads_that_have_begun_are_listed_in_pages(s3, bucket, size):
    begun = [
        (key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"])
        for key in ("a", "b/1", "b/2", "c", "c")
    ]
    pages = s3.get_paginator("list_multipart_uploads").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": size}
    )
    found = [(each["Key"], each["UploadId"]) for page in pages for each in page["Uploads"]]
    assert sorted(found) == sorted(begun)
    assert [key for key, _ in found] == [key for key, _ in begun]
    page = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/", MaxUploads=2)
    assert [each["Prefix"] for each in page["CommonPrefixes"]] == ["b/"]
    rest = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/", KeyMarker=page["NextKeyMarker"])
    assert [each["Key"] for each in rest["Uploads"]] == ["c", "c"]
    only = s3.list_multipart_uploads(Bucket=bucket, Prefix="b/")["Uploads"]
    assert [each["Key"] for each in only] == ["b/1", "b/2"]


def test_each_object_is_its_only_version(s3, bucket):
    for key in "abc":
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 2}
    )
    found = [each for page in pages for each in page["Versions"]]
    assert [(each["Key"], each["VersionId"]) for each in found] == [(k, "null") for k in "abc"]
    s3.delete_object(Bucket=bucket, Key="a", VersionId="null")
    assert s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]["Key"] == "b"


def test_a_reader_chooses_the_headers_that_it_gets(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentType="text/plain")
    found = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="text/csv")
    assert found["ContentType"] == "text/csv"


# --- the bucket in the host's name


def test_a_bucket_may_be_named_in_front_of_the_host(cloud, s3, bucket):
    host = {"host": f"{bucket}.localhost:{re.search(r'[0-9]+$', cloud.endpoint_url)[0]}"}
    assert wire.ask(cloud, "PUT", "/a/b", b"x", host)[0] == 200
    assert s3.get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"x"
    assert b"<Key>a/b</Key>" in wire.ask(cloud, "GET", "/", headers=host)[2]
    assert wire.ask(cloud, "GET", "/a/b", headers=host)[2] == b"x"
