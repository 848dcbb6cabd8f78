"""A local cloud in this very process, without a port, signatures or instances: requests alone."""

import asyncio
import base64
import io
import json
import logging
import tarfile
import tempfile
import traceback
from contextlib import asynccontextmanager
from pathlib import Path
from unittest import mock
from urllib.parse import unquote

from tests.graphs import linear
from tests.lambdas import zipped
from workbench.localcloud.core.access import AccessControl
from workbench.localcloud.core.access_keys import make_access_key
from workbench.localcloud.core.settings import LocalCloudSettings
from workbench.localcloud.core.store import Store
from workbench.localcloud.lambda_.environments import Environments
from workbench.localcloud.sandbox.instances import Launcher, LaunchFailed
from workbench.localcloud.server import Dispatcher
from workbench.modelserver.http import FilePart, Request

ROLE = "arn:aws:iam::123456789012:role/one"


def archive():
    """A `model.tar.gz`."""
    file, content = io.BytesIO(), linear()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        member = tarfile.TarInfo("model.onnx")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


class Cloud:
    """What answers, and the last error that it logged."""

    def __init__(self, front):
        self.front = front
        self.log = ""

    async def ask(self, service, method, path, query="", headers=None, body=b""):  # noqa: PLR0917
        """Return status and body of an answer."""
        request = Request()
        request.method, request.raw_path, request.query = method, path, query
        request.path = unquote(path)
        scope = f"AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/{service}/aws4_request"
        request.headers = {"host": "localhost", "authorization": scope, **(headers or {})}
        request.received = len(body)
        request.spool_file = self.front.spool(request)
        if request.spool_file is None:
            request.body = body
        else:
            request.spool_file.write(body)
        answered = asyncio.get_running_loop().create_future()
        self.log = ""
        self.front.handle(request, answered.set_result)
        response = await asyncio.wait_for(answered, 30)
        for each in response.headers:
            header = ": ".join(each).encode("latin-1", "replace")
            assert not {0, 10, 13} & set(header), header
        if isinstance(response.body, FilePart):
            with response.body.file as file:
                return response.status, file.read()
        return response.status, response.body

    async def call(self, service, operation, target=None, **parameters):
        """Call an operation by X-Amz-Target, which must answer."""
        headers = {"x-amz-target": f"{target}.{operation}"}
        body = json.dumps(parameters).encode()
        status, answer = await self.ask(service, "POST", "/", "", headers, body)
        assert status == 200, (operation, answer)


class _Log(logging.Handler):
    def __init__(self, cloud):
        super().__init__()
        self.cloud = cloud

    def emit(self, record):
        if record.exc_info:
            self.cloud.log = "".join(traceback.format_exception(*record.exc_info)[-4:])


async def _refuse(*_, **__):
    raise LaunchFailed("Nothing is started here.")


@asynccontextmanager
async def open_cloud():
    """A cloud with one of everything, whose instances do not come up."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(Launcher, "start", _refuse),
        mock.patch.object(Environments, "start", _refuse),
    ):
        store = Store(Path(folder))
        access = AccessControl(make_access_key())
        front = Dispatcher(store, LocalCloudSettings(), access)
        cloud = Cloud(front)
        log, handler = logging.getLogger("workbench.localcloud"), _Log(cloud)
        propagate, log.propagate = log.propagate, False
        log.addHandler(handler)
        await front.start("http://127.0.0.1:1")
        try:
            await _furnish(cloud)
            yield cloud
        finally:
            await front.close()
            store.close()
            log.removeHandler(handler)
            log.propagate = propagate


async def _furnish(cloud):
    """Make one of everything, called "one"."""
    for path, body in (("/one", b""), ("/one/model.tar.gz", archive()), ("/one/in", b"1,2,3\n")):
        assert (await cloud.ask("s3", "PUT", path, body=body))[0] == 200
    model = {"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/workbench:1"}
    model["ModelDataUrl"] = "s3://one/model.tar.gz"
    variant = {"VariantName": "main", "ModelName": "one", "InitialInstanceCount": 1}
    variant["InstanceType"] = "ml.m5.large"
    calls = {
        "CreateModel": {"ModelName": "one", "PrimaryContainer": model, "ExecutionRoleArn": ROLE},
        "CreateEndpointConfig": {"EndpointConfigName": "one", "ProductionVariants": [variant]},
        "CreateEndpoint": {"EndpointName": "one", "EndpointConfigName": "one"},
        "CreateModelPackageGroup": {"ModelPackageGroupName": "one"},
    }
    for operation, parameters in calls.items():
        await cloud.call("sagemaker", operation, "SageMaker", **parameters)
    alarm = {"AlarmName": "one", "MetricName": "one", "Namespace": "one", "Statistic": "Average"}
    alarm |= {"Period": 60, "EvaluationPeriods": 1, "Threshold": 1.0}
    alarm["ComparisonOperator"] = "GreaterThanThreshold"
    await cloud.call("monitoring", "PutMetricAlarm", "GraniteServiceVersion20100801", **alarm)
    function = {"FunctionName": "one", "Runtime": "python3.11", "Role": ROLE}
    function |= {"Handler": "app.handler", "Code": {"ZipFile": base64.b64encode(zipped()).decode()}}
    body = json.dumps(function).encode()
    status, answer = await cloud.ask("lambda", "POST", "/2015-03-31/functions", body=body)
    assert status == 201, answer
