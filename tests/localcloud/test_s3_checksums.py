"""Every checksum that is sent to S3 is verified; those of objects made of parts are S3's own."""

import base64
import hashlib
import os
import zlib

import pytest
from botocore.exceptions import ClientError

from tests import wire
from tests.refused import refused
from workbench.localcloud.s3.checksums import CHECKSUMS, encode

MIB = 1024 * 1024
CHECK = {  # of "123456789": the published check values, in hexadecimal
    "crc32": "cbf43926",
    "crc32c": "e3069283",
    "crc64nvme": "ae8b14860a799888",
    "md5": "25f9e794323b453885f5181f1b624d0b",
    "sha1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    "sha256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
    "sha512": hashlib.sha512(b"123456789").hexdigest(),
}


def checksum(algorithm, data):
    made = CHECKSUMS[algorithm]()
    made.update(data)
    return encode(made)


@pytest.mark.parametrize("algorithm", CHECKSUMS)
def test_checksums_are_those_that_are_published(algorithm):
    made = CHECKSUMS[algorithm]()
    for piece in (b"1234", b"", b"56789"):
        made.update(piece)
    assert made.digest().hex() == CHECK[algorithm]


@pytest.mark.parametrize("algorithm", CHECKSUMS)
@pytest.mark.parametrize("where", ["header", "trailer"])
def test_a_checksum_of_each_algorithm_is_verified(cloud, s3, bucket, algorithm, where):
    name = f"x-amz-checksum-{algorithm}"

    def put(value):
        if where == "header":
            return wire.ask(cloud, "PUT", f"/{bucket}/k", b"data", {name: value})
        headers = {
            "content-encoding": "aws-chunked",
            "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "x-amz-decoded-content-length": "4",
            "x-amz-trailer": name,
        }
        body = f"4\r\ndata\r\n0\r\n{name}:{value}\r\n\r\n".encode()
        return wire.ask(cloud, "PUT", f"/{bucket}/k", body, headers)

    right = checksum(algorithm, b"data")
    status, _, body = put(checksum(algorithm, b"date"))
    assert (status, b"BadDigest" in body) == (400, True)
    status, _, body = put("AAAA" + right)
    assert (status, b"InvalidRequest" in body) == (400, True)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)

    status, headers, _ = put(right)
    assert (status, headers[name]) == (200, right)
    found = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert found[f"Checksum{algorithm.upper()}"] == right
    assert found["ChecksumType"] == "FULL_OBJECT"


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"x-amz-checksum-xxhash64": "AAAAAAAAAAA="}, "NotImplemented"),
        ({"x-amz-trailer": "x-amz-checksum-xxhash3"}, "NotImplemented"),
        ({"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-crc32c": "AAAAAA=="}, "Multiple"),
        ({"x-amz-sdk-checksum-algorithm": "CRC32"}, "no checksum of that algorithm"),
    ],
    ids=["unknown", "unknown trailer", "two", "none"],
)
def test_a_checksum_that_cannot_be_verified_is_refused(cloud, s3, bucket, headers, said):
    status, _, body = wire.ask(cloud, "PUT", f"/{bucket}/k", b"", headers)
    assert status in (400, 501)
    assert said.encode() in body
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


# --- objects made of parts

PARTS = [os.urandom(5 * MIB), b"the last part"]
WHOLE = b"".join(PARTS)


def begin(s3, bucket, **options):
    where = {"Bucket": bucket, "Key": "k"}
    return where | {"UploadId": s3.create_multipart_upload(**where, **options)["UploadId"]}


def put_parts(cloud, upload, algorithm, parts=PARTS):
    """Parts with checksums, as completing names them; botocore cannot compute all of these."""
    named = []
    for number, data in enumerate(parts, start=1):
        path = f"/{upload['Bucket']}/k?partNumber={number}&uploadId={upload['UploadId']}"
        value = checksum(algorithm, data)
        headers = {f"x-amz-checksum-{algorithm}": value}
        status, answer, _ = wire.ask(cloud, "PUT", path, data, headers)
        assert status == 200
        answer = {name.lower(): text for name, text in answer.items()}
        part = {"PartNumber": number, "ETag": answer["etag"]}
        named.append(part | {f"Checksum{algorithm.upper()}": value})
    return {"Parts": named}


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme"])
def test_an_object_made_of_parts_has_a_checksum_of_its_own(cloud, s3, bucket, algorithm):
    upload = begin(s3, bucket, ChecksumAlgorithm=algorithm.upper(), ChecksumType="FULL_OBJECT")
    (begun,) = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert (begun["ChecksumAlgorithm"], begun["ChecksumType"]) == (algorithm.upper(), "FULL_OBJECT")
    named = put_parts(cloud, upload, algorithm)
    name, right = f"Checksum{algorithm.upper()}", checksum(algorithm, WHOLE)

    with refused(ClientError, "BadDigest"):
        s3.complete_multipart_upload(
            **upload, MultipartUpload=named, **{name: checksum(algorithm, b"other")}
        )
    made = s3.complete_multipart_upload(
        **upload, MultipartUpload=named, **{name: right}, ChecksumType="FULL_OBJECT"
    )
    assert (made[name], made["ChecksumType"]) == (right, "FULL_OBJECT")
    found = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (found[name], found["ChecksumType"]) == (right, "FULL_OBJECT")


@pytest.mark.parametrize("algorithm", ["crc32", "sha256"])
def test_an_object_made_of_parts_may_have_their_checksum(cloud, s3, bucket, algorithm):
    upload = begin(s3, bucket, ChecksumAlgorithm=algorithm.upper())
    named = put_parts(cloud, upload, algorithm)
    bare = [{"PartNumber": each["PartNumber"], "ETag": each["ETag"]} for each in named["Parts"]]
    with refused(ClientError, "InvalidRequest", algorithm.lower(), "part 1"):
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": bare})
    name = f"Checksum{algorithm.upper()}"
    wrong = [each | {name: checksum(algorithm, b"other")} for each in named["Parts"]]
    with refused(ClientError, "InvalidPart"):
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": wrong})

    made = s3.complete_multipart_upload(**upload, MultipartUpload=named)
    each = b"".join(base64.b64decode(checksum(algorithm, part)) for part in PARTS)
    assert made[name] == f"{checksum(algorithm, each)}-2"
    assert made["ChecksumType"] == "COMPOSITE"
    where = {"Bucket": bucket, "Key": "k"}
    attributes = s3.get_object_attributes(**where, ObjectAttributes=["Checksum"])
    assert attributes["Checksum"][name] == checksum(algorithm, each)


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE"), ("", "COMPOSITE"), ("CRC32", "other")],
)
def test_a_type_of_checksum_that_the_algorithm_has_not_is_refused(s3, bucket, algorithm, kind):
    options = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    with refused(ClientError, "InvalidRequest"):
        begin(s3, bucket, **options, ChecksumType=kind)


def test_a_part_has_the_checksum_that_its_upload_began_with(cloud, s3, bucket):
    upload = begin(s3, bucket, ChecksumAlgorithm="SHA256")
    path = f"/{bucket}/k?partNumber=1&uploadId={upload['UploadId']}"
    for headers in ({}, {"x-amz-checksum-crc32": checksum("crc32", b"x")}):
        status, _, body = wire.ask(cloud, "PUT", path, b"x", headers)
        assert (status, b"Checksum Type mismatch" in body) == (400, True)


def test_the_size_that_a_client_says_is_verified(s3, bucket):
    upload = begin(s3, bucket)
    etag = s3.upload_part(**upload, PartNumber=1, Body=b"x")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    with refused(ClientError, "InvalidRequest", "x-amz-mp-object-size"):
        s3.complete_multipart_upload(**upload, MultipartUpload=parts, MpuObjectSize=2)
    s3.complete_multipart_upload(**upload, MultipartUpload=parts, MpuObjectSize=1)


def test_parts_that_are_copied_have_the_checksum_of_their_upload(s3, bucket):
    s3.put_object(Bucket=bucket, Key="source", Body=b"0123456789")
    upload = begin(s3, bucket, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    part = s3.upload_part_copy(
        **upload, PartNumber=1, CopySource=f"{bucket}/source", CopySourceRange="bytes=2-5"
    )["CopyPartResult"]
    named = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    made = s3.complete_multipart_upload(**upload, MultipartUpload=named)
    right = base64.b64encode(zlib.crc32(b"2345").to_bytes(4)).decode()
    assert part["ChecksumCRC32"] == made["ChecksumCRC32"] == right


def test_a_copy_gets_the_checksum_that_is_asked_for(s3, bucket):
    s3.put_object(Bucket=bucket, Key="source", Body=b"hello")
    made = s3.copy_object(
        Bucket=bucket, Key="k", CopySource=f"{bucket}/source", ChecksumAlgorithm="SHA256"
    )["CopyObjectResult"]
    assert made["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"hello").digest()).decode()
