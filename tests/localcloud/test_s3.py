import asyncio
import base64
import hashlib
import http.client
import io
import os
import re
import threading
import zlib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from tests import wire
from tests.refused import refused
from workbench.localcloud.core.protocol import AwsError
from workbench.localcloud.core.store import Store
from workbench.localcloud.s3.objects import ObjectStore
from workbench.localcloud.s3.uploads import BodyWriter, ChunkDecoder

MIB = 1024 * 1024


def put(s3, bucket, *keys):
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())


def code(error):
    """The code and the status of an error, as botocore reads them."""
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def md5(data):
    return hashlib.md5(data, usedforsecurity=False)


def raw(cloud, method, path, body=b"", headers=()):
    """Status, headers and body of a request that boto3 would not make."""
    return wire.ask(cloud, method, path, body, headers)


# --- buckets


def test_a_new_bucket_is_listed_and_found(s3, bucket):
    assert bucket in [each["Name"] for each in s3.list_buckets()["Buckets"]]
    assert s3.head_bucket(Bucket=bucket)["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None


def test_making_ones_own_bucket_again_is_no_error_in_the_first_region_only(cloud, s3, bucket):
    from dataclasses import fields

    from workbench.cloud.aws import Cloud

    s3.create_bucket(Bucket=bucket)
    values = {each.name: getattr(cloud, each.name) for each in fields(Cloud)}
    elsewhere = Cloud(**values | {"region": "eu-central-1"}).client("s3")
    there = {"LocationConstraint": "eu-central-1"}
    here = {"LocationConstraint": "us-east-1"}  # which no bucket may be asked for
    with refused(ClientError, "InvalidLocationConstraint"):
        s3.create_bucket(Bucket=f"{bucket}-us", CreateBucketConfiguration=here)
    elsewhere.create_bucket(Bucket=f"{bucket}-eu", CreateBucketConfiguration=there)

    with pytest.raises(elsewhere.exceptions.BucketAlreadyOwnedByYou):
        elsewhere.create_bucket(Bucket=f"{bucket}-eu", CreateBucketConfiguration=there)
    with refused(ClientError, "BucketAlreadyOwnedByYou"):
        s3.create_bucket(Bucket=f"{bucket}-eu")
    s3.create_bucket(Bucket=f"{bucket}-too", CreateBucketConfiguration=there)
    assert s3.head_bucket(Bucket=f"{bucket}-too")["BucketRegion"] == "eu-central-1"
    with refused(ClientError, "IllegalLocationConstraintException"):
        elsewhere.create_bucket(Bucket=f"{bucket}-none")
    location = elsewhere.get_bucket_location(Bucket=f"{bucket}-eu")["LocationConstraint"]
    assert location == "eu-central-1"
    elsewhere.close()


@pytest.mark.parametrize("name", ["ab", "Upper", "a..b", "192.168.0.1", "-a-", "x" * 64])
def test_a_bucket_needs_a_name_that_s3_allows(cloud, name):
    status, _, body = raw(cloud, "PUT", f"/{name}")

    assert status == 400
    assert b"<Code>InvalidBucketName</Code>" in body


def test_only_an_empty_bucket_can_be_deleted(s3, bucket):
    put(s3, bucket, "a")

    with pytest.raises(ClientError) as error:
        s3.delete_bucket(Bucket=bucket)
    assert code(error) == ("BucketNotEmpty", 409)

    s3.delete_object(Bucket=bucket, Key="a")
    s3.create_multipart_upload(Bucket=bucket, Key="begun")
    s3.delete_bucket(Bucket=bucket)
    with pytest.raises(ClientError) as error:
        s3.head_bucket(Bucket=bucket)
    assert code(error) == ("404", 404)


def test_a_bucket_keeps_tags(s3, bucket):
    tags = [{"Key": "made-by", "Value": "workbench"}]
    with refused(ClientError, "NoSuchTagSet"):
        s3.get_bucket_tagging(Bucket=bucket)

    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags

    with refused(ClientError, "InvalidTag"):
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags * 2})
    s3.delete_bucket_tagging(Bucket=bucket)
    with refused(ClientError, "NoSuchTagSet"):
        s3.get_bucket_tagging(Bucket=bucket)


# --- objects


def test_an_object_comes_back_as_it_was_put(s3, bucket):
    made = s3.put_object(
        Bucket=bucket,
        Key="ä folder/a+b%20c&d",
        Body=b"hello",
        ContentType="text/plain",
        ContentEncoding="identity",
        CacheControl="no-cache",
        Metadata={"made-by": "workbench"},
    )
    found = s3.get_object(Bucket=bucket, Key="ä folder/a+b%20c&d")

    assert found["Body"].read() == b"hello"
    assert found["ContentType"] == "text/plain"
    assert found["ContentEncoding"] == "identity"
    assert found["CacheControl"] == "no-cache"
    assert found["Metadata"] == {"made-by": "workbench"}
    assert found["ETag"] == made["ETag"] == f'"{md5(b"hello").hexdigest()}"'
    assert found["ChecksumCRC32"] == base64.b64encode(zlib.crc32(b"hello").to_bytes(4)).decode()
    assert abs(found["LastModified"] - datetime.now(UTC)) < timedelta(minutes=5)


def test_the_head_of_an_object_says_its_size_and_sends_nothing(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=bytes(100_000))

    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == 100_000


def test_an_object_is_replaced_whole(s3, bucket):
    put(s3, bucket, "k")
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    found = s3.get_object(Bucket=bucket, Key="k")

    assert found["ContentLength"] == 0
    assert found["Body"].read() == b""


def test_what_is_being_read_survives_its_deletion(s3, bucket):
    content = os.urandom(8 * MIB)
    s3.put_object(Bucket=bucket, Key="k", Body=content)
    body = s3.get_object(Bucket=bucket, Key="k")["Body"]
    s3.delete_object(Bucket=bucket, Key="k")

    assert body.read() == content


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=2-4", slice(2, 5)),
        ("bytes=7-", slice(7, None)),
        ("bytes=-3", slice(-3, None)),
        ("bytes=-30", slice(None)),
        ("bytes=5-99", slice(5, None)),
    ],
)
def test_a_range_is_a_part(s3, bucket, wanted, part):
    content = b"0123456789"
    s3.put_object(Bucket=bucket, Key="k", Body=content)
    found = s3.get_object(Bucket=bucket, Key="k", Range=wanted)

    assert found["Body"].read() == content[part]
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 206
    start = range(10)[part][0]
    assert found["ContentRange"] == f"bytes {start}-{start + len(content[part]) - 1}/10"


@pytest.mark.parametrize("wanted", ["bytes=4-2", "bytes=-", "rows=1-2", "bytes=0-1,3-4"])
def test_a_range_that_is_none_is_the_whole(s3, bucket, wanted):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")

    assert s3.get_object(Bucket=bucket, Key="k", Range=wanted)["Body"].read() == b"0123456789"


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=-0"])
def test_a_range_behind_the_end_is_refused(s3, bucket, wanted):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")

    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", Range=wanted)
    assert code(error) == ("InvalidRange", 416)


@pytest.mark.parametrize(
    "wanted", ["bytes=0-10", "bytes=4-2", "bytes=-5", "bytes=5-", "bytes=x", "bytes=0-1,3-4"]
)
def test_a_part_is_copied_from_a_range_within_its_source_or_not_at_all(s3, bucket, wanted):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="n")["UploadId"]
    part = {"Bucket": bucket, "Key": "n", "UploadId": upload, "PartNumber": 1}

    s3.upload_part_copy(**part, CopySource=f"{bucket}/k", CopySourceRange="bytes=3-9")
    with pytest.raises(ClientError) as error:
        s3.upload_part_copy(**part, CopySource=f"{bucket}/k", CopySourceRange=wanted)
    assert code(error) == ("InvalidArgument", 400)
    parts = s3.list_parts(Bucket=bucket, Key="n", UploadId=upload)["Parts"]
    assert [each["Size"] for each in parts] == [7]


@pytest.mark.parametrize("date", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "no date"])
def test_a_date_that_is_none_is_no_condition(s3, bucket, date):
    put(s3, bucket, "k")
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    for name in ("if-modified-since", "if-unmodified-since"):
        with urlopen(Request(url, headers={name: date})) as answer:
            assert answer.read() == b"k"


def test_reading_can_depend_on_what_is_there(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    hour = timedelta(hours=1)
    now = datetime.now(UTC)
    where = {"Bucket": bucket, "Key": "k"}

    assert s3.get_object(**where, IfMatch=etag, IfModifiedSince=now - hour)["ETag"] == etag
    for condition in [{"IfNoneMatch": etag}, {"IfModifiedSince": now + hour}]:
        with pytest.raises(ClientError) as error:
            s3.get_object(**where, **condition)
        assert code(error) == ("304", 304)
        assert error.value.response["ResponseMetadata"]["HTTPHeaders"]["etag"] == etag
    for condition in [{"IfMatch": '"other"'}, {"IfUnmodifiedSince": now - hour}]:
        with pytest.raises(ClientError) as error:
            s3.get_object(**where, **condition)
        assert code(error) == ("PreconditionFailed", 412)


def test_writing_can_depend_on_what_is_there(s3, bucket):
    where = {"Bucket": bucket, "Key": "k"}
    with refused(ClientError, "NoSuchKey"):
        s3.put_object(**where, Body=b"x", IfMatch='"any"')
    etag = s3.put_object(**where, Body=b"x", IfNoneMatch="*")["ETag"]

    for condition in [{"IfNoneMatch": "*"}, {"IfMatch": '"other"'}]:
        with pytest.raises(ClientError) as error:
            s3.put_object(**where, Body=b"y", **condition)
        assert code(error) == ("PreconditionFailed", 412)
    s3.put_object(**where, Body=b"z", IfMatch=etag)
    assert s3.get_object(**where)["Body"].read() == b"z"


def test_what_is_not_there_is_named(s3, bucket):
    with pytest.raises(s3.exceptions.NoSuchKey) as missing:
        s3.get_object(Bucket=bucket, Key="nothing")
    assert missing.value.response["Error"]["Key"] == "nothing"
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.get_object(Bucket="nobody", Key="nothing")
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.put_object(Bucket="nobody", Key="nothing", Body=b"x")
    with pytest.raises(ClientError) as error:
        s3.head_object(Bucket=bucket, Key="nothing")
    assert code(error) == ("404", 404)


def test_a_key_has_1024_bytes_at_most(s3, bucket):
    put(s3, bucket, "ä" * 512)
    with refused(ClientError, "KeyTooLongError"):
        put(s3, bucket, "ä" * 513)


def test_metadata_has_2_kilobytes_at_most(s3, bucket):
    with refused(ClientError, "MetadataTooLarge"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"a": "x" * 2048})


# --- what is verified


SUMS = {"CRC32": 4, "SHA1": 20, "SHA256": 32}  # and their bytes


@pytest.mark.parametrize("algorithm", SUMS)
def test_a_checksum_is_verified_and_kept(s3, bucket, algorithm):
    where = {"Bucket": bucket, "Key": "k"}
    s3.put_object(**where, Body=b"hello", ChecksumAlgorithm=algorithm)
    assert s3.head_object(**where, ChecksumMode="ENABLED")[f"Checksum{algorithm}"]

    wrong = base64.b64encode(bytes(SUMS[algorithm])).decode()
    with pytest.raises(ClientError) as error:
        s3.put_object(**where, Body=b"other", **{f"Checksum{algorithm}": wrong})
    assert code(error) == ("BadDigest", 400)
    assert s3.get_object(**where)["Body"].read() == b"hello"


def test_content_md5_is_verified(s3, bucket):
    where = {"Bucket": bucket, "Key": "k"}
    right = base64.b64encode(md5(b"hello").digest()).decode()
    s3.put_object(**where, Body=b"hello", ContentMD5=right)

    with pytest.raises(ClientError) as error:
        s3.put_object(**where, Body=b"other", ContentMD5=right)
    assert code(error) == ("BadDigest", 400)
    with pytest.raises(ClientError) as error:
        s3.put_object(**where, Body=b"hello", ContentMD5="no hash")
    assert code(error) == ("InvalidDigest", 400)


def test_the_hash_of_a_signed_payload_is_verified(cloud, s3, bucket):
    headers = {"x-amz-content-sha256": hashlib.sha256(b"hello").hexdigest()}

    assert raw(cloud, "PUT", f"/{bucket}/k", b"hello", headers)[0] == 200
    status, _, body = raw(cloud, "PUT", f"/{bucket}/k", b"other", headers)
    assert status == 400
    assert b"<Code>XAmzContentSHA256Mismatch</Code>" in body


def chunked(data, size, trailer=b""):
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    signature = b";chunk-signature=" + b"0" * 64
    coded = b"".join(b"%x%s\r\n%s\r\n" % (len(each), signature, each) for each in pieces)
    return coded + b"0\r\n" + trailer + b"\r\n"


def chunk_headers(data):
    return {
        "content-encoding": "aws-chunked,gzip",
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-decoded-content-length": str(len(data)),
        "x-amz-trailer": "x-amz-checksum-crc32",
    }


def crc_trailer(data):
    checksum = base64.b64encode(zlib.crc32(data).to_bytes(4))
    return b"x-amz-checksum-crc32:" + checksum + b"\r\n"


def test_a_body_in_signed_chunks_with_a_trailing_checksum_is_decoded(cloud, s3, bucket):
    data = os.urandom(300_000)
    body = chunked(data, 65_536, crc_trailer(data))
    status, headers, _ = raw(cloud, "PUT", f"/{bucket}/k", body, chunk_headers(data))
    found = s3.get_object(Bucket=bucket, Key="k")

    assert status == 200
    assert headers["x-amz-checksum-crc32"]
    assert found["Body"].read() == data
    assert found["ContentEncoding"] == "gzip"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (chunked(b"hello", 5, crc_trailer(b"other")), "BadDigest"),
        (chunked(b"hello", 5), "BadDigest"),
        (chunked(b"hello", 5)[:-6], "IncompleteBody"),
        (chunked(b"hell", 5, crc_trailer(b"hell")), "IncompleteBody"),
        (b"hello\r\n", "InvalidRequest"),
        (b"-5\r\nhello\r\n", "InvalidRequest"),
        (b"5\r\nhello world\r\n", "InvalidRequest"),
        (b"5" * 20_000, "InvalidRequest"),
    ],
)
def test_chunks_that_are_not_right_store_nothing(cloud, s3, bucket, body, said):
    status, _, answer = raw(cloud, "PUT", f"/{bucket}/k", body, chunk_headers(b"hello"))

    assert status == 400
    assert f"<Code>{said}</Code>".encode() in answer
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_chunks_are_decoded_however_they_arrive(size):
    data = os.urandom(100)
    coded = chunked(data, 33, b"a: b\r\n")
    chunks = ChunkDecoder()
    found = b"".join(chunks.feed(coded[i : i + size]) for i in range(0, len(coded), size))

    assert found == data
    assert chunks.done
    assert chunks.trailers == {"a": "b"}


def test_an_upload_that_cannot_be_written_says_so(tmp_path):
    incoming = BodyWriter(tmp_path / "missing" / "file", {})
    incoming.write(b"x")

    with refused(AwsError, "No such file or directory"):
        incoming.finish()


def test_an_upload_that_is_given_up_leaves_no_file(tmp_path):
    incoming = BodyWriter(tmp_path / "file", {})
    incoming.write(b"x")
    incoming.close()
    incoming.close()

    assert list(tmp_path.iterdir()) == []
    with refused(AwsError, "closed"):
        incoming.finish()


# --- lists


def keys(page):
    return [each["Key"] for each in page.get("Contents", [])]


def prefixes(page):
    return [each["Prefix"] for each in page.get("CommonPrefixes", [])]


KEYS = ["a", "a/1", "a/2/x", "a/2/y", "b!", "b/1", "c\x01d", "Ä", "\U0001f600"]


@pytest.mark.parametrize("operation", ["list_objects_v2", "list_objects"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_pages_make_the_whole_list(s3, bucket, operation, size):
    put(s3, bucket, *KEYS)
    where = {"Bucket": bucket, "PaginationConfig": {"PageSize": size}}
    pages = s3.get_paginator(operation).paginate(**where)
    folded = list(s3.get_paginator(operation).paginate(**where, Delimiter="/"))

    assert [key for each in pages for key in keys(each)] == sorted(KEYS, key=str.encode)
    expected = sorted((key for key in KEYS if "/" not in key), key=str.encode)
    assert [key for each in folded for key in keys(each)] == expected
    assert [prefix for each in folded for prefix in prefixes(each)] == ["a/", "b/"]


def test_a_prefix_and_a_delimiter_show_one_folder(s3, bucket):
    put(s3, bucket, *KEYS)
    page = s3.list_objects_v2(Bucket=bucket, Prefix="a/", Delimiter="/")

    assert keys(page) == ["a/1"]
    assert prefixes(page) == ["a/2/"]
    assert page["KeyCount"] == 2
    assert page["Delimiter"] == "/"


def test_a_list_starts_behind_a_key(s3, bucket):
    put(s3, bucket, "a", "b", "c")

    first = s3.list_objects_v2(Bucket=bucket, StartAfter="a", MaxKeys=1)
    assert (keys(first), first["StartAfter"]) == (["b"], "a")
    token = first["NextContinuationToken"]
    rest = s3.list_objects_v2(Bucket=bucket, StartAfter="a", ContinuationToken=token)
    assert (keys(rest), "StartAfter" in rest) == (["c"], False)
    assert keys(s3.list_objects(Bucket=bucket, Marker="b")) == ["c"]
    assert keys(s3.list_objects_v2(Bucket=bucket, MaxKeys=0)) == []


def test_a_list_refuses_what_is_no_token_or_number(cloud, s3, bucket):
    for token in ("none of ours", ""):
        with refused(ClientError, "InvalidArgument"):
            s3.list_objects_v2(Bucket=bucket, ContinuationToken=token)
    assert raw(cloud, "GET", f"/{bucket}?max-keys=many")[0] == 400


def test_many_objects_are_deleted_at_once(s3, bucket):
    put(s3, bucket, "a", "b", "c")
    chosen = {"Objects": [{"Key": "a"}, {"Key": "b"}, {"Key": "never"}]}
    deleted = s3.delete_objects(Bucket=bucket, Delete=chosen)["Deleted"]

    assert [each["Key"] for each in deleted] == ["a", "b", "never"]
    assert keys(s3.list_objects_v2(Bucket=bucket)) == ["c"]
    quiet = {"Objects": [{"Key": "c"}], "Quiet": True}
    assert "Deleted" not in s3.delete_objects(Bucket=bucket, Delete=quiet)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Delete>",
        b"<Delete/>",
        b"<Delete><Object/></Delete>",
        b'<!DOCTYPE x [<!ENTITY e "e">]><Delete><Object><Key>&e;</Key></Object></Delete>',
    ],
)
def test_a_document_that_is_none_is_refused(cloud, s3, bucket, body):
    status, _, answer = raw(cloud, "POST", f"/{bucket}?delete", body)

    assert status == 400
    assert b"<Code>MalformedXML</Code>" in answer


def test_a_document_is_verified(cloud, s3, bucket):
    body = b"<Delete><Object><Key>a</Key></Object></Delete>"
    for headers in [{"content-md5": "AAAA"}, {"x-amz-checksum-crc32": "AAAAAA=="}]:
        assert raw(cloud, "POST", f"/{bucket}?delete", body, headers)[0] == 400


# --- copies


def test_a_copy_keeps_its_headers_or_gets_new_ones(s3, bucket):
    s3.put_object(
        Bucket=bucket, Key="a b", Body=b"x", ContentType="text/plain", Metadata={"m": "1"}
    )
    source = {"Bucket": bucket, "Key": "a b"}
    same = s3.copy_object(Bucket=bucket, Key="same", CopySource=source)
    s3.copy_object(
        Bucket=bucket,
        Key="new",
        CopySource=source,
        MetadataDirective="REPLACE",
        Metadata={"m": "2"},
    )
    s3.delete_object(**source)

    assert same["CopyObjectResult"]["ETag"] == f'"{md5(b"x").hexdigest()}"'
    kept = s3.get_object(Bucket=bucket, Key="same")
    assert (kept["Body"].read(), kept["ContentType"]) == (b"x", "text/plain")
    assert kept["Metadata"] == {"m": "1"}
    assert s3.head_object(Bucket=bucket, Key="new")["Metadata"] == {"m": "2"}


def test_a_copy_is_sent_on_to_where_it_is_said_to_be(s3, bucket):
    where = {"Bucket": bucket, "Key": "k"}
    s3.put_object(**where, Body=b"x", WebsiteRedirectLocation="/a")
    s3.copy_object(**where, CopySource=f"{bucket}/k", WebsiteRedirectLocation="/b")
    assert s3.head_object(**where)["WebsiteRedirectLocation"] == "/b"
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    assert "WebsiteRedirectLocation" not in s3.head_object(Bucket=bucket, Key="copy")


def test_a_copy_onto_itself_must_change_something(s3, bucket):
    put(s3, bucket, "k")
    where = {"Bucket": bucket, "Key": "k", "CopySource": f"{bucket}/k"}

    with refused(ClientError, "InvalidRequest"):
        s3.copy_object(**where)
    s3.copy_object(**where, MetadataDirective="REPLACE", Metadata={"m": "1"})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"k"


def test_a_copy_needs_a_source_as_the_client_wants_it(s3, bucket):
    put(s3, bucket, "k")
    where = {"Bucket": bucket, "Key": "copy"}
    with refused(ClientError, "NoSuchKey"):
        s3.copy_object(**where, CopySource=f"{bucket}/nothing")
    with refused(ClientError, "InvalidArgument"):
        s3.copy_object(**where, CopySource="nothing")
    with refused(ClientError, "PreconditionFailed"):
        s3.copy_object(**where, CopySource=f"{bucket}/k", CopySourceIfMatch='"other"')
    etag = s3.head_object(Bucket=bucket, Key="k")["ETag"]
    with refused(ClientError, "PreconditionFailed"):
        s3.copy_object(**where, CopySource=f"{bucket}/k", CopySourceIfNoneMatch=etag)


# --- uploads in parts


def test_boto3_transfers_a_large_file_in_parts(s3, bucket, tmp_path):
    content = os.urandom(20 * MIB + 1)
    (tmp_path / "up").write_bytes(content)
    s3.upload_file(str(tmp_path / "up"), bucket, "big", ExtraArgs={"Metadata": {"m": "1"}})
    s3.download_file(bucket, "big", str(tmp_path / "down"))
    found = s3.head_object(Bucket=bucket, Key="big")

    assert (tmp_path / "down").read_bytes() == content
    parts = [content[i : i + 8 * MIB] for i in range(0, len(content), 8 * MIB)]
    md5s = b"".join(md5(each).digest() for each in parts)
    assert found["ETag"] == f'"{md5(md5s).hexdigest()}-3"'
    assert found["Metadata"] == {"m": "1"}
    assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_boto3_copies_a_large_object_in_parts(s3, bucket):
    content = os.urandom(6 * MIB)
    s3.put_object(Bucket=bucket, Key="k", Body=content)
    small = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    s3.copy({"Bucket": bucket, "Key": "k"}, bucket, "copy", Config=small)
    found = s3.get_object(Bucket=bucket, Key="copy")

    assert found["Body"].read() == content
    assert found["ETag"].endswith('-2"')


def begin(s3, bucket, key="k"):
    return {
        "Bucket": bucket,
        "Key": key,
        "UploadId": s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"],
    }


def part(s3, upload, number, body):
    etag = s3.upload_part(**upload, PartNumber=number, Body=body)["ETag"]
    return {"PartNumber": number, "ETag": etag}


def test_parts_are_listed_in_pages_and_can_be_replaced(s3, bucket):
    upload = begin(s3, bucket)
    for number in (3, 1, 2):
        part(s3, upload, number, b"old")
    part(s3, upload, 2, b"newer")
    pages = list(
        s3.get_paginator("list_parts").paginate(**upload, PaginationConfig={"PageSize": 2})
    )

    found = [(each["PartNumber"], each["Size"]) for page in pages for each in page["Parts"]]
    assert found == [(1, 3), (2, 5), (3, 3)]
    (begun,) = s3.list_multipart_uploads(Bucket=bucket, Prefix="k")["Uploads"]
    assert begun["UploadId"] == upload["UploadId"]


def test_an_upload_that_was_aborted_is_gone(s3, bucket):
    upload = begin(s3, bucket)
    part(s3, upload, 1, b"x")
    s3.abort_multipart_upload(**upload)

    for call in (s3.list_parts, s3.abort_multipart_upload):
        with pytest.raises(s3.exceptions.ClientError) as error:
            call(**upload)
        assert code(error) == ("NoSuchUpload", 404)
    with refused(ClientError, "NoSuchUpload"):
        part(s3, upload, 2, b"x")


def complete(s3, upload, *parts):
    return s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": list(parts)})


def test_an_upload_is_completed_from_parts_as_they_are(s3, bucket):
    upload = begin(s3, bucket)
    first, second = part(s3, upload, 1, b"small"), part(s3, upload, 2, b"last")

    with refused(ClientError, "InvalidPartOrder"):
        complete(s3, upload, second, first)
    with refused(ClientError, "InvalidPart"):
        complete(s3, upload, first | {"ETag": second["ETag"]})
    with refused(ClientError, "EntityTooSmall"):
        complete(s3, upload, first, second)
    with refused(ClientError, "MalformedXML"):
        complete(s3, upload)
    complete(s3, upload, second)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"last"


def test_an_upload_is_completed_again_while_its_object_is_there(s3, bucket):
    upload = begin(s3, bucket)
    sent = part(s3, upload, 1, b"x")
    made = complete(s3, upload, sent)
    parts = {"Parts": [sent]}
    again = s3.complete_multipart_upload(**upload, MultipartUpload=parts, IfNoneMatch="*")
    assert again["ETag"] == made["ETag"]

    s3.put_object(Bucket=bucket, Key="k", Body=b"other")
    with refused(ClientError, "NoSuchUpload"):
        complete(s3, upload, sent)


def join_large(s3, bucket, rest=b"rest", **algorithm):
    """Return the bodies of two parts that were joined to the object k, the second the shorter."""
    bodies = [b"a" * 5 * MIB, rest]
    made = s3.create_multipart_upload(Bucket=bucket, Key="k", **algorithm)
    upload = {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"]}
    parts = []
    for number, body in enumerate(bodies, 1):
        sent = s3.upload_part(**upload, PartNumber=number, Body=body, **algorithm)
        sums = {name: value for name, value in sent.items() if name.startswith("Checksum")}
        sums.pop("ChecksumType", None)
        parts.append({"PartNumber": number, "ETag": sent["ETag"], **sums})
    complete(s3, upload, *parts)
    return bodies


def test_the_parts_of_an_object_are_read_one_by_one(s3, bucket):
    bodies = join_large(s3, bucket)
    whole = 5 * MIB + 4
    ranges = [f"bytes 0-{5 * MIB - 1}/{whole}", f"bytes {5 * MIB}-{whole - 1}/{whole}"]

    for number, (body, expected) in enumerate(zip(bodies, ranges, strict=True), 1):
        asked = {"Bucket": bucket, "Key": "k", "PartNumber": number}
        got, head = s3.get_object(**asked), s3.head_object(**asked)
        assert got["Body"].read() == body
        for answer in (got, head):
            assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
            assert (answer["PartsCount"], answer["ContentLength"]) == (2, len(body))
            assert answer["ResponseMetadata"]["HTTPHeaders"]["content-range"] == expected
            assert answer["ETag"].endswith('-2"')
    assert "PartsCount" not in s3.head_object(Bucket=bucket, Key="k")


def test_an_empty_part_is_read_as_nothing(s3, bucket):
    join_large(s3, bucket, rest=b"")

    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
    assert (got["Body"].read(), got["ContentLength"], got["PartsCount"]) == (b"", 0, 2)


def test_a_part_is_read_with_its_own_checksum(s3, bucket):
    bodies = join_large(s3, bucket, ChecksumAlgorithm="SHA256")
    expected = [base64.b64encode(hashlib.sha256(body).digest()).decode() for body in bodies]

    asked = {"Bucket": bucket, "Key": "k", "ChecksumMode": "ENABLED"}
    heads = [s3.head_object(**asked, PartNumber=number) for number in (1, 2)]
    assert [head["ChecksumSHA256"] for head in heads] == expected
    described = s3.get_object_attributes(
        Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"], MaxParts=1, PartNumberMarker=1
    )["ObjectParts"]
    assert (described["TotalPartsCount"], described["IsTruncated"]) == (2, False)
    assert described["Parts"] == [{"PartNumber": 2, "Size": 4, "ChecksumSHA256": expected[1]}]


def test_an_object_of_one_piece_is_its_only_part(s3, bucket):
    bodies = join_large(s3, bucket)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")

    copy = s3.get_object(Bucket=bucket, Key="copy", PartNumber=1)
    assert copy["ETag"].strip('"') == hashlib.md5(b"".join(bodies)).hexdigest()  # noqa: S324
    assert "PartsCount" not in copy
    assert s3.get_object(Bucket=bucket, Key="empty", PartNumber=1)["ContentLength"] == 0
    s3.put_object(Bucket=bucket, Key="k", Body=b"new")
    assert "PartsCount" not in s3.head_object(Bucket=bucket, Key="k", PartNumber=1)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"PartNumber": 2}, ("InvalidPartNumber", 416)),
        ({"PartNumber": 0}, ("InvalidArgument", 400)),
        ({"PartNumber": 10_001}, ("InvalidArgument", 400)),
        ({"PartNumber": 1, "Range": "bytes=0-1"}, ("InvalidRequest", 400)),
    ],
)
def test_a_part_that_is_not_there_is_refused(s3, bucket, asked, error):
    s3.put_object(Bucket=bucket, Key="k", Body=b"one piece")
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="k", **asked)
    assert code(caught) == error


@pytest.mark.parametrize("number", ["0", "10001", "x"])
def test_a_part_has_a_number_from_1_to_10000(cloud, s3, bucket, number):
    upload = begin(s3, bucket)
    path = f"/{bucket}/k?partNumber={number}&uploadId={upload['UploadId']}"

    assert raw(cloud, "PUT", path, b"x")[0] == 400


def test_bodies_do_not_fill_the_memory(cloud, s3, bucket, tmp_path):
    size = 128 * MIB
    with (tmp_path / "up").open("wb") as file:
        file.truncate(size)
    with (tmp_path / "up").open("rb") as file:
        s3.put_object(Bucket=bucket, Key="k", Body=file)
    for _ in s3.get_object(Bucket=bucket, Key="k")["Body"].iter_chunks(MIB):
        pass

    status = Path(f"/proc/{cloud.pid}/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
    assert peak < size


# --- what is not there


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("PUT", "?policy", "NotImplemented"),
        ("PUT", "/k?retention", "NotImplemented"),
        ("GET", "/k?versionId=1", "NoSuchVersion"),
        ("POST", "", "MethodNotAllowed"),
        ("DELETE", "/k?uploadId=never", "NoSuchUpload"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(cloud, bucket, method, path, said):
    status, _, body = raw(cloud, method, f"/{bucket}{path}")

    assert 400 <= status <= 501
    assert f"<Code>{said}</Code>".encode() in body


def test_a_client_that_leaves_in_the_middle_leaves_nothing(cloud, s3, bucket):
    connection = http.client.HTTPConnection(urlsplit(cloud.url).netloc, timeout=60)
    connection.putrequest("PUT", f"/{bucket}/half")
    connection.putheader("content-length", "1000000")
    connection.endheaders(b"x" * 100_000)
    connection.close()
    put(s3, bucket, "whole")

    assert keys(s3.list_objects_v2(Bucket=bucket)) == ["whole"]


# --- the folder


def test_a_start_removes_files_that_no_row_names(tmp_path):
    store = Store(tmp_path)
    objects = ObjectStore(store)
    objects.create_bucket("bucket", "us-east-1")
    kept = BodyWriter(objects.new_path(), {})
    kept.write(b"kept")
    objects.put("bucket", "k", kept.finish(), {})
    (store.folder / "objects" / "lost").write_bytes(b"x")
    objects.new_path().write_bytes(b"x")
    store.close()

    store = Store(tmp_path)
    again = ObjectStore(store)
    assert again.path(again.get("bucket", "k")).read_bytes() == b"kept"
    files = [path for path in store.folder.rglob("*") if path.is_file()]
    store.close()
    assert len(files) == 1


def test_what_is_being_copied_may_be_deleted(tmp_path):
    """Many clients at once: a file that nothing names goes when who reads it is done."""
    with closing(Store(tmp_path)) as store:
        objects = ObjectStore(store)
        objects.create_bucket("bucket", "us-east-1")
        body = BodyWriter(objects.new_path(), {})
        body.write(b"0123456789")
        found = objects.put("bucket", "k", body.finish(), {})
        upload = objects.begin("bucket", "joined", {}, "")
        part = objects.put_part(upload, 1, asyncio.run(objects.copy_range(found, 0, 10)))
        deleted = threading.Event()

        async def story():
            asking = [
                store.run_in_thread(deleted.wait),
                objects.copy_body(found),
                objects.copy_range(found, 2, 3),
                objects.join(upload, [(1, part.etag)]),
            ]
            answers = [asyncio.ensure_future(each) for each in asking]
            await asyncio.sleep(0)  # now all of them wait for the thread
            objects.delete("bucket", ["k"])
            objects.abort("bucket", "joined", upload.id)
            deleted.set()
            return await asyncio.gather(*answers)

        _, *copies = asyncio.run(story())
        assert [each.path.read_bytes() for each in copies] == [b"0123456789", b"234", b"0123456789"]
    assert not list((store.folder / "objects").iterdir())


def test_downloading_into_memory_verifies_what_came(s3, bucket):
    content = os.urandom(MIB)
    s3.upload_fileobj(io.BytesIO(content), bucket, "k")
    found = io.BytesIO()
    s3.download_fileobj(bucket, "k", found)

    assert found.getvalue() == content
