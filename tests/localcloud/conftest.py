"""A local cloud of a module's own, its S3 client, and an empty bucket for each test."""

from itertools import count

import pytest

from workbench.localcloud import LocalCloud

_numbers = count()


@pytest.fixture(scope="module")
def cloud():
    with LocalCloud() as cloud:
        yield cloud


@pytest.fixture(scope="module")
def s3(cloud):
    client = cloud.client("s3")
    yield client
    client.close()


@pytest.fixture
def bucket(s3):
    name = f"bucket-{next(_numbers)}"
    s3.create_bucket(Bucket=name)
    return name
