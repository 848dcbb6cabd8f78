"""Which bucket and which object a request to S3 names: in its path, or the bucket in its host."""

from workbench.modelserver.http import Request

_ROOT = ".localhost"


def split_address(request: Request) -> tuple[str, str]:
    """Return the bucket and the key of a request to S3, each "" where it names none.

    Clients put a bucket into the path, or in front of the host's name (S3 user guide, "Virtual
    hosting of general purpose buckets"), as SDKs for JavaScript do with the endpoint `localhost`.

    >>> request = Request()
    >>> request.path, request.headers = "/photos/a/b", {"host": "localhost:80"}
    >>> split_address(request)
    ('photos', 'a/b')
    >>> request.headers = {"host": "my.bucket.localhost:80"}
    >>> split_address(request)
    ('my.bucket', 'photos/a/b')
    """
    path = request.path.removeprefix("/")
    if bucket := find_host_bucket(request):
        return bucket, path
    bucket, _, key = path.partition("/")
    return bucket, key


def find_host_bucket(request: Request) -> str:
    """Return the bucket that is named in front of the host, "" where there is none."""
    name = request.headers.get("host", "").lower().partition(":")[0]
    return name.removesuffix(_ROOT) if name.endswith(_ROOT) else ""
