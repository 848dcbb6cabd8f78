"""MinIO's Python client: objects, lists, uploads in parts, presigned URLs."""

import io
import urllib.request
from datetime import timedelta
from urllib.parse import urlsplit

from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from steps import KEY, NAME, REGION, SECRET, URL, run_steps, step

MINIO = {"access_key": KEY, "secret_key": SECRET, "secure": False, "region": REGION}
try:
    client = Minio(urlsplit(URL).netloc, **MINIO)
except TypeError:  # from version 8
    client = Minio(endpoint=urlsplit(URL).netloc, **MINIO)


def code_of(call, *arguments):
    """Return the code of the error that a call ends with."""
    try:
        call(*arguments)
    except S3Error as error:
        return error.code
    return None


@step
def objects():
    client.make_bucket(NAME)
    assert client.bucket_exists(NAME)
    client.put_object(NAME, "a/b c", io.BytesIO(b"hello"), 5, metadata={"who": "me"})
    with client.get_object(NAME, "a/b c") as answer:
        assert answer.read() == b"hello"
    assert client.stat_object(NAME, "a/b c").metadata["x-amz-meta-who"] == "me"


@step
def upload_in_parts():
    size = 12 << 20
    client.put_object(NAME, "large", io.BytesIO(b"x" * size), -1, part_size=5 << 20)
    assert client.stat_object(NAME, "large").size == size


@step
def lists_and_deletes():
    for number in range(5):
        client.put_object(NAME, f"many/{number}", io.BytesIO(b""), 0)
    listed = client.list_objects(NAME, prefix="many/", recursive=True)
    assert [each.object_name for each in listed] == [f"many/{number}" for number in range(5)]
    assert list(client.remove_objects(NAME, [DeleteObject(f"many/{n}") for n in range(5)])) == []
    assert code_of(client.stat_object, NAME, "many/1") == "NoSuchKey"


@step
def presigned_urls():
    url = client.presigned_get_object(NAME, "a/b c", expires=timedelta(minutes=1))
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.read() == b"hello"


run_steps()
