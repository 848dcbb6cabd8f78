"""The checksums of S3: those that are sent are verified, those asked for are computed.

Source: S3 user guide, "Checking object integrity for data uploads in Amazon S3".
"""

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

from workbench.localcloud.core.protocol import AwsError, not_implemented_error

PREFIX = "x-amz-checksum-"
_OPTIONS = ("algorithm", "type", "mode")  # names behind the prefix that are no algorithms


class Hash(Protocol):
    """What hashlib's objects have in common with `Crc`."""

    def update(self, data: bytes, /) -> None:
        """Take in more."""

    def digest(self) -> bytes:
        """Return the hash so far."""


class Crc:
    """A cyclic redundancy check of so many bytes; `compute` continues one with more data."""

    def __init__(self, compute: Callable[[bytes, int], int], size: int) -> None:
        self._compute = compute
        self._size = size
        self._value = 0

    def update(self, data: bytes, /) -> None:
        """Take in more."""
        self._value = self._compute(data, self._value)

    def digest(self) -> bytes:
        """Return the check so far, most significant byte first."""
        return self._value.to_bytes(self._size)


def _make_crc(model: str, size: int) -> Crc:
    import anycrc  # few clients need it

    return Crc(anycrc.Model(model).calc, size)


CHECKSUMS: Mapping[str, Callable[[], Hash]] = {
    "crc32": lambda: Crc(zlib.crc32, 4),
    "crc32c": lambda: _make_crc("CRC32C", 4),
    "crc64nvme": lambda: _make_crc("CRC64-NVME", 8),
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
}
"""What computes each checksum; AWS has those of the family XXHash besides."""

_NEVER_FULL = ("md5", "sha1", "sha256", "sha512")  # an object made of parts has those of the parts
_ALWAYS_FULL = ("crc64nvme",)


def encode(made: Hash) -> str:
    """Return a checksum as headers have it.

    >>> made = CHECKSUMS["crc64nvme"]()
    >>> made.update(b"123456789")
    >>> encode(made)
    'rosUhgp5mIg='
    """
    return base64.b64encode(made.digest()).decode()


def find_checksum(headers: Mapping[str, str], *, composite: bool = False) -> tuple[str, str]:
    """Return the algorithm that a request has a checksum of, and the checksum.

    The algorithm is "" where there is none, and the checksum where it comes behind the body. One of
    parts' checksums may end with how many there are. Several checksums are refused.
    """
    trailer = headers.get("x-amz-trailer", "").lower().split(",")
    names = [name for name in (*headers, *map(str.strip, trailer)) if name.startswith(PREFIX)]
    algorithms = {name.removeprefix(PREFIX) for name in names}.difference(_OPTIONS)
    if len(algorithms) > 1:
        raise AwsError(
            "InvalidRequest",
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        )
    algorithm = next(iter(algorithms), "")
    wanted = headers.get("x-amz-sdk-checksum-algorithm", algorithm).lower()
    if wanted != algorithm:
        raise AwsError(
            "InvalidRequest",
            f"x-amz-sdk-checksum-algorithm says {wanted}, but no checksum of that algorithm came.",
        )
    value = headers.get(PREFIX + algorithm, "") if algorithm else ""
    if value:
        check_form(algorithm, value.partition("-")[0] if composite else value)
    elif algorithm:
        find_algorithm(algorithm)
    return algorithm, value


def find_algorithm(name: str) -> str:
    """Return an algorithm by its lower-case name, if the local cloud can verify it."""
    if name.lower() not in CHECKSUMS:
        raise not_implemented_error(f"The checksum {name.upper()}")
    return name.lower()


def check_form(algorithm: str, value: str) -> None:
    """Check that a value has the form of a checksum of an algorithm."""
    size = len(CHECKSUMS[find_algorithm(algorithm)]().digest())
    try:
        sound = len(base64.b64decode(value, validate=True)) == size
    except ValueError:  # not only binascii's own
        sound = False
    if not sound:
        raise AwsError("InvalidRequest", f"Value for {PREFIX}{algorithm} header is invalid.")


def choose_type(algorithm: str, wanted: str) -> str:
    """Return whether an object made of parts has a checksum of its own or one of its parts'."""
    never = {"FULL_OBJECT": _NEVER_FULL, "COMPOSITE": _ALWAYS_FULL}
    chosen = wanted or ("FULL_OBJECT" if algorithm in _ALWAYS_FULL else "COMPOSITE")
    if not algorithm or algorithm in never[chosen]:
        raise AwsError(
            "InvalidRequest",
            f"The {chosen} checksum type cannot be used with the {algorithm or 'unspecified'} "
            "checksum algorithm.",
        )
    return chosen


def combine(algorithm: str, checksums: list[str]) -> str:
    """Return the checksum of the parts' checksums, as S3 writes it, with how many they are."""
    made = CHECKSUMS[algorithm]()
    made.update(b"".join(base64.b64decode(each) for each in checksums))
    return f"{encode(made)}-{len(checksums)}"


def verify_body(headers: Mapping[str, str], body: bytes) -> None:
    """Check a body in memory against the hashes in its request's headers."""
    algorithm, value = find_checksum(headers)
    if algorithm:
        made = CHECKSUMS[algorithm]()
        made.update(body)
        verify(algorithm, value, made)
    if md5 := headers.get("content-md5"):
        verify_md5(md5, hashlib.md5(body, usedforsecurity=False).digest())


def verify(algorithm: str, value: str, made: Hash) -> None:
    """Check a checksum against the one that was computed."""
    if encode(made) != value:
        raise digest_error(algorithm.upper())


def verify_md5(sent: str, digest: bytes) -> None:
    """Check the header Content-MD5 against the MD5 that was computed."""
    try:
        expected = base64.b64decode(sent, validate=True)
    except ValueError:  # not only binascii's own
        expected = b""
    if len(expected) != 16:
        raise AwsError("InvalidDigest", "The Content-MD5 you specified was invalid.")
    if expected != digest:
        raise digest_error("Content-MD5")


def digest_error(what: str) -> AwsError:
    """Return the answer to a hash that is not what was computed."""
    return AwsError("BadDigest", f"The {what} you specified did not match what we received.")
