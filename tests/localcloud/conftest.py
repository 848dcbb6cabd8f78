"""A local cloud of a module's own, its S3 client, and an empty bucket for each test."""

from itertools import count

import pytest

from tests.hosted import Hosted
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


@pytest.fixture(scope="module")
def hosted():
    """Return a part of a local cloud that hosts endpoints, with models for them in its S3."""
    hosted = Hosted()
    hosted.make_models()
    yield hosted
    hosted.close()


@pytest.fixture
def bucket(s3):
    name = f"bucket-{next(_numbers)}"
    s3.create_bucket(Bucket=name)
    return name
