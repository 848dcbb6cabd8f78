"""The code of Lambda's functions: zips, checked and unpacked once, and our own image."""

import base64
import hashlib
import io
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from workbench.cloud.packaging import MAX_UNZIPPED, unzip
from workbench.errors import WorkbenchError
from workbench.localcloud.core.images import is_own_image
from workbench.localcloud.core.protocol import REGION, AwsError
from workbench.localcloud.core.store import Store
from workbench.localcloud.sandbox.instances import ModelStore
from workbench.modelserver.http import FilePart, Request, Response

if TYPE_CHECKING:
    from workbench.localcloud.core.access_keys import AccessKey

CODE_PATH = "/_workbench/code/"
"""Where zips can be fetched with a presigned URL, where AWS has a bucket of its own."""

_LOCATION_EXPIRES = 600  # seconds (Lambda API Reference, GetFunction: 10 minutes)


class CodePackages:
    """Zips, and folders with what is in them, each named by the zip's sha256."""

    def __init__(self, store: Store, objects: ModelStore, folder: Path) -> None:
        self._store = store
        self._objects = objects
        self._folder = folder
        self._image = folder / "image"
        self._image.mkdir(parents=True, exist_ok=True)
        self._taken: Counter[str] = Counter()  # by functions that are being made or changed
        shutil.rmtree(folder / "draft", ignore_errors=True)  # left by a cloud that was killed

    async def take(self, kind: str, code: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Return what a package adds to a function's facts, and its code's sha256, "" for an image.

        Raises:
            AwsError: It cannot be used.
        """
        if kind == "Image":
            return _describe_image(code.get("ImageUri", "")), ""
        content = await self._store.run_in_thread(self._content, code)
        digest = hashlib.sha256(content)
        name = digest.hexdigest()
        self._taken[name] += 1
        try:
            await self._store.run_in_thread(self._unzip, content, name)
        finally:
            self._taken[name] -= 1
        facts = {
            "PackageType": "Zip",
            "CodeSize": len(content),
            "CodeSha256": base64.b64encode(digest.digest()).decode(),
        }
        return facts, name

    def folder(self, sha256: str) -> Path:
        """Return the folder with code; an empty one for an image, whose program is ours."""
        return self._folder / sha256 if sha256 else self._image

    def location(self, sha256: str, url: str, key: "AccessKey") -> str | None:
        """Return the presigned URL of a zip on the cloud at `url`.

        None for one of before clouds kept zips.
        """
        if not self._zip(sha256).exists():
            return None
        request = AWSRequest("GET", f"{url}{CODE_PATH}{sha256}")
        S3SigV4QueryAuth(
            Credentials(key.id, key.secret), "s3", REGION, expires=_LOCATION_EXPIRES
        ).add_auth(request)
        return str(request.url)

    def fetch(self, request: Request) -> Response:
        """Answer a request for a zip.

        Raises:
            AwsError: There is none.
        """
        path = self._zip(request.path.removeprefix(CODE_PATH))
        if request.method != "GET" or path.parent != self._folder or not path.exists():
            raise AwsError("NoSuchKey", "There is no code at this URL, or no more.", 404)
        file = path.open("rb")
        return Response(200, FilePart(file, 0, path.stat().st_size), "application/zip")

    def keep(self, used: Iterable[str], gone: Iterable[str]) -> None:
        """Remove code that is gone, unless it is used elsewhere, or about to be."""
        for sha256 in set(gone) - {*used, *+self._taken, ""}:  # those above 0
            shutil.rmtree(self._folder / sha256, ignore_errors=True)
            self._zip(sha256).unlink(missing_ok=True)

    def _content(self, code: Mapping[str, Any]) -> bytes:
        if "ZipFile" in code:
            try:
                return base64.b64decode(code["ZipFile"], validate=True)
            except ValueError as error:
                said = f"ZipFile is not base64: {error}."
                raise AwsError("SerializationException", said) from error
        if "S3Bucket" not in code or "S3Key" not in code:
            raise invalid_parameter_error("Please provide a source for function code.")
        try:
            return self._objects.open(code["S3Bucket"], code["S3Key"]).read_bytes()
        except AwsError as error:
            raise invalid_parameter_error(
                f"Error occurred while GetObject. S3 Error Code: {error.code}. S3 Error Message: "
                f"{error.message}"
            ) from error

    def _zip(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.zip"

    def _unzip(self, content: bytes, sha256: str) -> None:
        """Unpack a zip, where that is not done: under a passing name, so that it is whole."""
        if self.folder(sha256).exists() and self._zip(sha256).exists():
            return
        draft = self._folder / "draft"
        shutil.rmtree(draft, ignore_errors=True)  # which could not be removed before
        try:
            unzip(io.BytesIO(content), draft)
        except WorkbenchError as error:
            said = f"Unzipped size must be smaller than {MAX_UNZIPPED} bytes"
            if "more than" not in str(error):
                advice = "Please check your file, then try to upload again."
                said = f"Could not unzip uploaded file. {advice}"
            raise invalid_parameter_error(said) from error
        if self.folder(sha256).exists():  # from before zips were kept
            shutil.rmtree(draft)
        else:
            draft.rename(self.folder(sha256))
        passing = self._folder / "draft.zip"
        passing.write_bytes(content)
        passing.rename(self._zip(sha256))


def user_error(code: str, message: str, status: int = 400) -> AwsError:
    """Return an error of Lambda's that its client has made."""
    return AwsError(code, message, status, {"Type": "User"})


def invalid_parameter_error(message: str) -> AwsError:
    """Return what Lambda answers to a parameter that cannot be."""
    return user_error("InvalidParameterValueException", message)


def _describe_image(uri: str) -> dict[str, Any]:
    """Return the facts of our own image, which is the workbench that runs here; refuse others."""
    if not is_own_image(uri):
        raise invalid_parameter_error(
            f"Source image {uri} does not exist. Provide a valid source image."
        )
    digest = hashlib.sha256(uri.encode()).hexdigest()
    return {"PackageType": "Image", "CodeSize": 0, "CodeSha256": digest, "_Image": uri}
