"""S3's REST interface: what boto3, other SDKs and tools for S3 need of it.

Statuses, headers, errors and documents are those of the Amazon S3 API Reference. Bodies go to the
disk and come from there, whatever their size.
"""

from pathlib import Path
from typing import BinaryIO, cast

from workbench.localcloud.core.access import AccessControl
from workbench.localcloud.core.forms import is_upload_form, parse_upload_form
from workbench.localcloud.core.store import Store
from workbench.localcloud.s3.bucket_api import BucketApi
from workbench.localcloud.s3.form_uploads import form_response, read_form
from workbench.localcloud.s3.list_api import ListApi
from workbench.localcloud.s3.object_api import ObjectApi
from workbench.localcloud.s3.objects import ObjectStore
from workbench.localcloud.s3.requests import read_request
from workbench.localcloud.s3.upload_api import UploadApi
from workbench.localcloud.s3.uploads import BodyWriter
from workbench.modelserver.http import Request, Response

_UPLOADS = ("", "partNumber&uploadId")  # what makes a PUT whose body is not a document


class S3:
    """The buckets and `objects` of a local cloud, over HTTP."""

    def __init__(self, store: Store, access: AccessControl) -> None:
        self._access = access
        self.objects = ObjectStore(store)
        self._object_api = ObjectApi(store, self.objects)
        self._operations = {
            **BucketApi(self.objects).operations(),
            **ListApi(self.objects).operations(),
            **self._object_api.operations(),
            **UploadApi(self.objects, self._object_api).operations(),
        }

    def open(self, bucket: str, key: str) -> Path:
        """Return the file of an object. It never changes, but goes when the object does."""
        return self.objects.path(self.objects.get(bucket, key))

    def spool(self, request: Request) -> BinaryIO | None:
        """Return what takes in the body of an upload; None for other requests."""
        if request.method != "PUT":
            return None
        call = read_request(request)
        if not call.key or call.action[2] not in _UPLOADS:
            return None
        signatures = self._access.chunk_signatures(request)
        return cast("BinaryIO", BodyWriter(self.objects.new_path(), call.headers, signatures))

    async def answer(self, request: Request) -> Response:
        """Return the answer to a request."""
        try:
            if is_upload_form(request):
                return await self._put_form(request)
            call = read_request(request)
            return await self._operations[call.find_operation().name](call)
        finally:
            if request.spool_file is not None:
                request.spool_file.close()

    async def _put_form(self, request: Request) -> Response:
        """Save the file of a form, whose policy was checked, as an object."""
        form = parse_upload_form(request)
        call = read_form(request, form)
        writer = BodyWriter(self.objects.new_path(), call.headers)
        writer.write(form.file)
        request.spool_file = cast("BinaryIO", writer)
        return form_response(call, form, await self._object_api.put(call))
