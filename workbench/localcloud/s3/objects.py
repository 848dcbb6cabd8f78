"""Buckets, objects and uploads in parts: rows in the database, bytes in files.

A file is whole and on the disk before a row names it, and goes after the last row that named it.
"""

import hashlib
import re
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from workbench.localcloud.core.protocol import REGION, AwsError, now
from workbench.localcloud.core.store import Store, StoreTable
from workbench.localcloud.s3 import files
from workbench.localcloud.s3.checksums import combine
from workbench.localcloud.s3.uploads import StoredBody

_BUCKET_COLUMNS = """
name TEXT PRIMARY KEY, region TEXT NOT NULL, created REAL NOT NULL, tags TEXT NOT NULL
"""
_OBJECT_COLUMNS = """
bucket TEXT NOT NULL REFERENCES buckets, key TEXT NOT NULL, blob TEXT NOT NULL,
size INTEGER NOT NULL, etag TEXT NOT NULL, modified REAL NOT NULL, headers TEXT NOT NULL,
checksums TEXT NOT NULL, PRIMARY KEY (bucket, key)
"""
_JOINED_COLUMNS = """
bucket TEXT NOT NULL, key TEXT NOT NULL, parts TEXT NOT NULL, PRIMARY KEY (bucket, key),
FOREIGN KEY (bucket, key) REFERENCES objects ON DELETE CASCADE
"""
_UPLOAD_COLUMNS = """
id TEXT PRIMARY KEY, bucket TEXT NOT NULL REFERENCES buckets, key TEXT NOT NULL,
started REAL NOT NULL, headers TEXT NOT NULL, algorithm TEXT NOT NULL
"""
_PART_COLUMNS = """
upload TEXT NOT NULL REFERENCES uploads ON DELETE CASCADE, number INTEGER NOT NULL,
blob TEXT NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL, modified REAL NOT NULL,
checksums TEXT NOT NULL, PRIMARY KEY (upload, number)
"""
LAST_CHARACTER = "\U0010ffff"  # no key comes behind it
TYPE_HEADER = "x-amz-checksum-type"
_MAX_COMPLETED = 1000  # uploads whose end can be asked for again
MIN_PART = 5 * 1024 * 1024
"""Bytes that each part but the last has at least."""


@dataclass(frozen=True, slots=True)
class Object:
    """An object as it was when it was asked for; `headers` are those it was put with."""

    key: str
    blob: str
    size: int
    etag: str
    modified: float
    headers: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload in parts that has begun; `headers` say also which type of checksum it gets."""

    id: str
    bucket: str
    key: str
    started: float
    headers: Mapping[str, str]
    algorithm: str

    @property
    def checksum_type(self) -> str:
        """FULL_OBJECT, COMPOSITE, or "" where it has no algorithm."""
        return self.headers.get(TYPE_HEADER, "COMPOSITE") if self.algorithm else ""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an upload."""

    number: int
    blob: str
    size: int
    etag: str
    modified: float
    checksums: Mapping[str, str]


_OBJECT = tuple(each.name for each in fields(Object))
_PART = tuple(each.name for each in fields(Part))


class ObjectStore:
    """What S3 keeps. Names, limits and errors are S3's (its API reference, "Error responses")."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._files = store.folder / "objects"
        self._arriving = store.folder / "arriving"
        for folder in (self._files, self._arriving):
            folder.mkdir(exist_ok=True)
        plain = "STRICT"  # without WITHOUT ROWID
        self._buckets = StoreTable(store, "buckets", _BUCKET_COLUMNS, json=["tags"], options=plain)
        self._objects = StoreTable(store, "objects", _OBJECT_COLUMNS, json=["headers", "checksums"])
        self._joined = StoreTable(store, "joined", _JOINED_COLUMNS, json=["parts"])
        headers = ["headers"]
        self._uploads = StoreTable(store, "uploads", _UPLOAD_COLUMNS, json=headers, options=plain)
        self._parts = StoreTable(store, "parts", _PART_COLUMNS, json=["checksums"])
        self._completed: dict[str, str] = {}  # the blobs that uploads became, in order
        self._sweep()

    # --- buckets

    def create_bucket(self, name: str, region: str) -> None:
        """Make a bucket; in us-east-1 making one's own again is no error, as on AWS."""
        _check_bucket_name(name)
        there = self._buckets.find(name=name)
        if there is None:
            self._buckets.add(name=name, region=region, created=now(), tags=[])
        elif not region == REGION == there["region"]:
            raise AwsError(
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own "
                "it.",
                409,
                {"BucketName": name},
            )

    def buckets(self) -> list[tuple[str, str, float]]:
        """Name, region and time of creation of every bucket, sorted by name."""
        rows = self._buckets.rows(order="name")
        return [(row["name"], row["region"], row["created"]) for row in rows]

    def region(self, bucket: str) -> str:
        """Return the region of a bucket."""
        return str(self._bucket(bucket)["region"])

    def bucket_tags(self, bucket: str) -> list[list[str]]:
        """Pairs of key and value."""
        return list(self._bucket(bucket)["tags"])

    def tag_bucket(self, bucket: str, tags: list[list[str]]) -> None:
        """Replace the tags of a bucket."""
        self._bucket(bucket)
        self._buckets.change({"name": bucket}, tags=tags)

    def delete_bucket(self, bucket: str) -> None:
        """Delete a bucket that is empty; uploads that were begun there are lost."""
        self._bucket(bucket)
        if self._objects.find(bucket=bucket):
            raise AwsError(
                "BucketNotEmpty",
                "The bucket you tried to delete is not empty.",
                409,
                {"BucketName": bucket},
            )
        for upload in self.uploads(bucket):
            self.abort(bucket, upload.key, upload.id)
        self._buckets.remove(name=bucket)

    def _bucket(self, name: str) -> dict[str, Any]:
        row = self._buckets.find(name=name)
        if row is None:
            raise AwsError(
                "NoSuchBucket", "The specified bucket does not exist.", 404, {"BucketName": name}
            )
        return row

    # --- objects

    def new_path(self) -> Path:
        """Return a new path for an incoming body; what is left there goes at the next start."""
        return self._arriving / uuid.uuid4().hex

    def path(self, found: Object) -> Path:
        """Return the file of an object."""
        return self._files / found.blob

    def get(self, bucket: str, key: str) -> Object:
        """Return the object of that key."""
        self._bucket(bucket)
        found = self.find(bucket, key)
        if found is None:
            raise AwsError("NoSuchKey", "The specified key does not exist.", 404, {"Key": key})
        return found

    def find(self, bucket: str, key: str) -> Object | None:
        """Return the object of that key, or None."""
        row = self._objects.find(_OBJECT, bucket=bucket, key=key)
        return Object(**row) if row else None

    def object_parts(self, bucket: str, found: Object) -> list[tuple[int, dict[str, str]]]:
        """Return size and checksums of each part that an object was joined from; [] of none."""
        row = self._joined.find(bucket=bucket, key=found.key)
        return [(size, sums) for size, sums in row["parts"]] if row else []

    async def copy_body(self, source: Object, algorithm: str = "") -> StoredBody:
        """Copy the body of an object, with a checksum of an algorithm where it is not ''.

        The copy is of one piece, so that what was computed by parts is computed again.
        """
        if "-" in source.etag:
            algorithm = algorithm or next(iter(source.checksums), "")
            return await self.copy_range(source, 0, source.size, algorithm)
        path = self.new_path()
        file = self.path(source)
        sums = dict(source.checksums)
        await self._store.run_in_thread(files.link_or_copy, file, path)
        if algorithm and "-" in sums.get(algorithm, "-"):
            sums = await self._store.run_in_thread(files.compute_checksums, path, [algorithm])
        return StoredBody(path, source.size, source.etag, sums)

    def tag(self, bucket: str, key: str, tags: str) -> None:
        """Replace the tags of an object by those of a header x-amz-tagging."""
        headers = {**self.get(bucket, key).headers, "x-amz-tagging": tags}
        if not tags:
            del headers["x-amz-tagging"]
        self._objects.change({"bucket": bucket, "key": key}, headers=headers)

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """Delete the objects of these keys, where there are any."""
        self._bucket(bucket)
        gone: list[str] = []
        with self._store.write():
            for key in keys:
                gone += _blobs(self._objects, bucket=bucket, key=key)
                self._objects.remove(bucket=bucket, key=key)
        self._discard(gone)

    def list_objects(
        self, bucket: str, *, prefix: str, delimiter: str, after: str
    ) -> Iterator[Object | str]:
        """Objects behind a key, sorted by their bytes, and each common prefix once, as text."""
        self._bucket(bucket)
        while True:
            for found in self._iterate_from(bucket, prefix, after):
                cut = found.key.find(delimiter, len(prefix)) if delimiter else -1
                if cut < 0:
                    yield found
                    continue
                common = found.key[: cut + len(delimiter)]
                after = common + LAST_CHARACTER
                yield common
                break
            else:
                return

    def _iterate_from(self, bucket: str, prefix: str, after: str) -> Iterator[Object]:
        query = (
            f"SELECT {', '.join(_OBJECT)} FROM objects "  # noqa: S608 - ours
            "WHERE bucket = ? AND key >= ? AND key > ? ORDER BY key"
        )
        for row in self._store.db.execute(query, (bucket, prefix, after)):
            found = Object(**self._objects.decode(_OBJECT, row))
            if not found.key.startswith(prefix):
                return
            yield found

    def put(
        self,
        bucket: str,
        key: str,
        body: StoredBody,
        headers: Mapping[str, str],
        upload: str | None = None,
    ) -> Object:
        """Save a body as the object of a key, and end the upload that it comes from, if any."""
        self._bucket(bucket)
        facts = (body.size, body.md5, now(), dict(headers), dict(body.checksums))
        kept = Object(key, body.path.name, *facts)
        body.path.rename(self.path(kept))
        with self._store.write():
            gone = [] if upload is None else self._delete_upload(upload)
            gone += _blobs(self._objects, bucket=bucket, key=key)
            self._objects.put(bucket=bucket, **asdict(kept))
            if body.parts:
                self._joined.put(bucket=bucket, key=key, parts=body.parts)
        self._discard(gone)
        return kept

    # --- uploads in parts

    def begin(self, bucket: str, key: str, headers: Mapping[str, str], algorithm: str) -> Upload:
        """Begin an upload, whose parts have checksums of an algorithm where it is not ''."""
        self._bucket(bucket)
        upload = Upload(uuid.uuid4().hex, bucket, key, now(), dict(headers), algorithm)
        self._uploads.add(**asdict(upload))
        return upload

    def uploads(self, bucket: str) -> list[Upload]:
        """Return the uploads that were begun in a bucket, sorted by key and time."""
        self._bucket(bucket)
        rows = self._uploads.rows(bucket=bucket, order="key, started, id")
        return [Upload(**row) for row in rows]

    def upload(self, bucket: str, key: str, upload: str) -> Upload:
        """Return the upload of that id."""
        self._bucket(bucket)
        row = self._uploads.find(id=upload, bucket=bucket, key=key)
        if row is None:
            raise AwsError(
                "NoSuchUpload",
                "The specified multipart upload does not exist. The upload ID may be invalid, or "
                "the upload may have been aborted or completed.",
                404,
                {"UploadId": upload},
            )
        return Upload(**row)

    def put_part(self, upload: Upload, number: int, body: StoredBody) -> Part:
        """Save a body as a part, in place of one of the same number."""
        facts = (body.path.name, body.size, body.md5, now(), dict(body.checksums))
        part = Part(number, *facts)
        body.path.rename(self._files / part.blob)
        with self._store.write():
            gone = _blobs(self._parts, upload=upload.id, number=number)
            self._parts.put(upload=upload.id, **asdict(part))
        self._discard(gone)
        return part

    async def copy_range(
        self, source: Object, first: int, length: int, algorithm: str = ""
    ) -> StoredBody:
        """Copy a range of an object, in bytes, to a new body, with a checksum if asked."""
        wanted = [algorithm] if algorithm else []
        path = self.new_path()
        facts = await self._store.run_in_thread(
            files.copy_range, self.path(source), path, first, length, wanted
        )
        return StoredBody(path, *facts)

    def parts(self, upload: Upload) -> list[Part]:
        """Return the parts of an upload, in order."""
        rows = self._parts.rows(_PART, upload=upload.id, order="number")
        return [Part(**row) for row in rows]

    async def join(
        self, upload: Upload, named: list[tuple[int, str]], algorithms: Collection[str] = ()
    ) -> StoredBody:
        """Join parts, named by number and ETag, to a body, with checksums of the whole if asked."""
        chosen = self._select_parts(upload, named)
        path = self.new_path()
        sources = [self._files / part.blob for part in chosen]
        sums = await self._store.run_in_thread(files.join, sources, path, algorithms)
        each = [part.checksums.get(upload.algorithm, "") for part in chosen]
        if upload.checksum_type == "COMPOSITE" and all(each):
            sums[upload.algorithm] = combine(upload.algorithm, each)
        parts = [(part.size, part.checksums) for part in chosen]
        return StoredBody(path, sum(part.size for part in chosen), _etag(chosen), sums, parts)

    def complete(self, upload: Upload, body: StoredBody) -> Object:
        """Save what was joined as an object and end the upload, if nobody else has by now."""
        self.upload(upload.bucket, upload.key, upload.id)
        headers = {name: value for name, value in upload.headers.items() if name != TYPE_HEADER}
        made = self.put(upload.bucket, upload.key, body, headers, upload.id)
        self._completed[upload.id] = made.blob
        if len(self._completed) > _MAX_COMPLETED:
            del self._completed[next(iter(self._completed))]
        return made

    def find_completed(self, bucket: str, key: str, upload: str) -> Object | None:
        """Return the object that an upload became; None where it did not, or that is replaced.

        A client whose answer was lost completes again. Known are the last since the start.
        """
        found = self.find(bucket, key) if upload in self._completed else None
        return found if found and found.blob == self._completed[upload] else None

    def abort(self, bucket: str, key: str, upload: str) -> None:
        """End an upload; its parts are gone."""
        self.upload(bucket, key, upload)
        self._discard(self._delete_upload(upload))

    def _delete_upload(self, upload: str) -> list[str]:
        """Delete an upload; return the files that nothing names any more."""
        blobs = _blobs(self._parts, upload=upload)
        self._uploads.remove(id=upload)
        return blobs

    def _select_parts(self, upload: Upload, named: list[tuple[int, str]]) -> list[Part]:
        numbers = [number for number, _ in named]
        if numbers != sorted(set(numbers)):
            raise AwsError(
                "InvalidPartOrder",
                "The list of parts was not in ascending order. Parts must be ordered by part "
                "number.",
            )
        there = {part.number: part for part in self.parts(upload)}
        for number, etag in named:
            if number not in there or there[number].etag != etag.strip('"'):
                raise AwsError(
                    "InvalidPart",
                    "One or more of the specified parts could not be found. The part may not have "
                    "been uploaded, or the specified entity tag may not match the part's entity "
                    "tag.",
                    extra={"PartNumber": number},
                )
        chosen = [there[number] for number in numbers]
        if any(part.size < MIN_PART for part in chosen[:-1]):
            raise AwsError(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size: "
                f"{MIN_PART} bytes for each part but the last.",
            )
        return chosen

    # --- files

    def _discard(self, blobs: Collection[str]) -> None:
        """Remove files that nothing names any more, behind the copies of them that have begun."""
        if blobs:
            self._store.run_later(self._unlink, blobs)

    def _unlink(self, blobs: Iterable[str]) -> None:
        for blob in blobs:
            (self._files / blob).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what a process that was killed had not yet given a row, or not yet removed."""
        named = {*_blobs(self._objects), *_blobs(self._parts)}
        self._unlink(path.name for path in self._files.iterdir() if path.name not in named)
        for path in self._arriving.iterdir():
            path.unlink()


def _check_bucket_name(name: str) -> None:
    if not re.fullmatch(r"(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name) or (
        ".." in name
    ):
        raise AwsError(
            "InvalidBucketName", "The specified bucket is not valid.", extra={"BucketName": name}
        )


def _blobs(table: StoreTable, **equal: Any) -> list[str]:  # noqa: ANN401 - what columns hold
    """Return the files that rows name."""
    return [row["blob"] for row in table.rows(["blob"], **equal)]


def _etag(parts: list[Part]) -> str:
    """Return the ETag of an object made of parts: the MD5 of theirs, and their number."""
    md5s = b"".join(bytes.fromhex(part.etag) for part in parts)
    return f"{hashlib.md5(md5s, usedforsecurity=False).hexdigest()}-{len(parts)}"
