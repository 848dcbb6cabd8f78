"""The body of an upload on its way to a file: decoded, counted and hashed piece by piece."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from workbench.localcloud.core.protocol import AwsError
from workbench.localcloud.s3.checksums import (
    CHECKSUMS,
    PREFIX,
    Hash,
    check_form,
    encode,
    find_checksum,
    verify,
    verify_md5,
)

_MAX_LINE_BYTES = 16 * 1024  # of a chunk's size or a trailer: one without end would fill the memory
_TRAILER_SIGNATURE = "x-amz-trailer-signature"


class SignatureCheck(Protocol):
    """What checks the signatures of an upload's chunks (`core.signatures.ChunkSignatures`)."""

    def check_chunk(self, digest: str, given: str, /) -> None:
        """Check that of the next chunk, whose data has this SHA-256."""

    def check_trailer(self, trailer: bytes, given: str, /) -> None:
        """Check that of the lines behind the last chunk."""


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A body that is whole, as the client meant it and on the disk.

    Attributes:
        path: Its file, which is the receiver's now.
        size: In bytes.
        md5: In hexadecimal, as ETags have it.
        checksums: What the client sent, verified, in base64 by algorithm.
        parts: What it was joined from, in order: size and checksums of each.
    """

    path: Path
    size: int
    md5: str
    checksums: Mapping[str, str]
    parts: Sequence[tuple[int, Mapping[str, str]]] = ()


class BodyWriter:
    """A file that a body is written to while it arrives.

    Nothing is raised before `finish`: until then nobody could tell the client. The request's
    headers say how the body is coded and what to verify: botocore sends `Content-MD5`,
    `x-amz-checksum-*` or a trailer with the latter. `signatures` checks chunks that are signed.
    """

    def __init__(
        self, path: Path, headers: Mapping[str, str], signatures: SignatureCheck | None = None
    ) -> None:
        self._path = path
        self._headers = headers
        self._error: AwsError | None = None
        self._file: IO[bytes] | None = None
        self._size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._algorithm = self._checksum = ""
        self._sum: Hash | None = None
        try:
            self._algorithm, self._checksum = find_checksum(headers)
            self._sum = CHECKSUMS[self._algorithm]() if self._algorithm else None
        except AwsError as error:
            self._error = error
        self._sha256 = headers.get("x-amz-content-sha256", "").lower()  # or a word for it
        self._payload = hashlib.sha256() if len(self._sha256) == 64 else None
        coded = "aws-chunked" in headers.get("content-encoding", "")
        coded = coded or self._sha256.startswith("streaming-")
        self._chunks = ChunkDecoder(signatures) if coded else None
        try:
            self._file = path.open("xb")
        except OSError as error:
            self._error = self._error or _write_error(error)

    def write(self, data: bytes) -> int:
        """Take in more of the body as it came over the wire."""
        if self._error is None and self._file is not None:
            try:
                plain = data if self._chunks is None else self._chunks.feed(data)
                self._write_data(self._file, plain)
            except AwsError as error:
                self._error = error
            except OSError as error:
                self._error = _write_error(error)
        return len(data)

    def finish(self) -> StoredBody:
        """Return the body, on the disk; slow, because the disk is waited for."""
        if self._error is not None or self._file is None:
            raise self._error or AwsError("InternalError", "The upload was closed.", 500)
        self._verify()
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _write_error(error) from error
        self._file.close()
        self._file = None
        sums = {self._algorithm: encode(self._sum)} if self._sum else {}
        return StoredBody(self._path, self._size, self._md5.hexdigest(), sums)

    def close(self) -> None:
        """Throw away what was not finished."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._path.unlink(missing_ok=True)

    def _write_data(self, file: IO[bytes], data: bytes) -> None:
        self._size += len(data)
        self._md5.update(data)
        if self._payload is not None:
            self._payload.update(data)
        if self._sum is not None:
            self._sum.update(data)
        file.write(data)

    def _verify(self) -> None:
        promised = self._headers.get("x-amz-decoded-content-length", "")
        whole = self._chunks is None or self._chunks.done
        if not whole or (promised and promised != str(self._size)):
            raise AwsError(
                "IncompleteBody",
                "You did not provide the number of bytes specified by the Content-Length HTTP "
                "header.",
            )
        if self._sum is not None:
            self._verify_checksum(self._sum)
        if self._payload is not None and self._payload.hexdigest() != self._sha256:
            raise AwsError(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
        if md5 := self._headers.get("content-md5"):
            verify_md5(md5, self._md5.digest())

    def _verify_checksum(self, made: Hash) -> None:
        sent = self._checksum
        if not sent and self._chunks is not None:  # it came behind the body
            sent = self._chunks.trailers.get(PREFIX + self._algorithm, "")
            if sent:
                check_form(self._algorithm, sent)
        verify(self._algorithm, sent, made)


class ChunkDecoder:
    """The coding `aws-chunked`: sizes in hexadecimal, data, and checksums behind the last chunk.

    `signatures` checks those of the chunks, where they are signed; `trailers` are what followed the
    last chunk, by lower-case name; it is `done` once the end was seen.
    """

    def __init__(self, signatures: SignatureCheck | None = None) -> None:
        self.trailers: dict[str, str] = {}
        self.done = False
        self._signatures = signatures
        self._signature = ""  # of the present chunk
        self._hash = hashlib.sha256()
        self._signed_trailer = b""
        self._buffer = bytearray()
        self._left = 0
        self._line = self._size_line

    def feed(self, data: bytes) -> bytes:
        """Return the data that these bytes complete."""
        self._buffer += data
        found = bytearray()
        while self._buffer and not self.done:
            if self._left:
                piece = self._buffer[: self._left]
                found += piece
                if self._signatures is not None:
                    self._hash.update(piece)
                self._left -= len(piece)
                del self._buffer[: len(piece)]
            elif (end := self._buffer.find(b"\r\n")) >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 2]
                self._line(line)
            elif len(self._buffer) > _MAX_LINE_BYTES:
                raise _chunk_error()
            else:
                break
        return bytes(found)

    def _size_line(self, line: bytes) -> None:
        size, _, extension = line.partition(b";")
        try:
            self._left = int(size, 16)
        except ValueError:
            raise _chunk_error() from None
        if self._left < 0:
            raise _chunk_error()
        self._signature = extension.decode("latin-1").strip().removeprefix("chunk-signature=")
        if self._left:
            self._line = self._end_of_chunk
        else:
            self._check_chunk()
            self._line = self._trailer

    def _end_of_chunk(self, line: bytes) -> None:
        if line:
            raise _chunk_error()
        self._check_chunk()
        self._line = self._size_line

    def _check_chunk(self) -> None:
        if self._signatures is not None:
            self._signatures.check_chunk(self._hash.hexdigest(), self._signature)
            self._hash = hashlib.sha256()

    def _trailer(self, line: bytes) -> None:
        if not line:
            self._check_trailer()
            self.done = True
            return
        name, _, value = line.decode("latin-1").partition(":")
        name, value = name.strip().lower(), value.strip()
        if name != _TRAILER_SIGNATURE:
            self._signed_trailer += f"{name}:{value}\n".encode("latin-1")
        self.trailers[name] = value

    def _check_trailer(self) -> None:
        if self._signatures is not None and self._signed_trailer:
            given = self.trailers.get(_TRAILER_SIGNATURE, "")
            self._signatures.check_trailer(self._signed_trailer, given)


def _chunk_error() -> AwsError:
    return AwsError("InvalidRequest", "The body is not in the coding aws-chunked.")


def _write_error(error: OSError) -> AwsError:
    return AwsError("InternalError", f"The local cloud cannot write: {error.strerror}.", 500)
