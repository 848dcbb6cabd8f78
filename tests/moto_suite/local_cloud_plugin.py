"""A plugin of pytest: moto's own tests in their server mode, with a local cloud as the server.

One cloud serves all tests; what a test leaves is removed after it. Where outcomes are written is in
MOTO_SUITE_OUTCOMES, a line of JSON for each test.
"""

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from moto.core.models import MockAWS, ServerModeMockAWS

from workbench.localcloud import LocalCloud

_LIMIT = 40  # seconds of a test
_REMOVABLE = (  # service, list, its member, delete and its parameter, in the order of removal
    ("application-autoscaling", "describe_scalable_targets", "ScalableTargets", None, ""),
    ("lambda", "list_functions", "Functions", "delete_function", "FunctionName"),
    ("sagemaker", "list_endpoints", "Endpoints", "delete_endpoint", "EndpointName"),
    (
        *("sagemaker", "list_endpoint_configs", "EndpointConfigs"),
        *("delete_endpoint_config", "EndpointConfigName"),
    ),
    ("sagemaker", "list_models", "Models", "delete_model", "ModelName"),
    (
        *("sagemaker", "list_model_packages", "ModelPackageSummaryList"),
        *("delete_model_package", "ModelPackageName"),
    ),
    (
        *("sagemaker", "list_model_package_groups", "ModelPackageGroupSummaryList"),
        *("delete_model_package_group", "ModelPackageGroupName"),
    ),
    ("cloudwatch", "describe_alarms", "MetricAlarms", "delete_alarms", "AlarmName"),
    ("cloudwatch", "list_dashboards", "DashboardEntries", "delete_dashboards", "DashboardName"),
)
_FILTERS = {
    "describe_scalable_targets": {"ServiceNamespace": "sagemaker"},
    "list_model_packages": {"ModelPackageType": "Both"},
}
_LISTS = {"delete_alarms": "AlarmNames", "delete_dashboards": "DashboardNames"}


class _Suite:
    """The cloud of a run, and what becomes of its tests."""

    def __init__(self, path):
        self._outcomes = Path(path).open("w", buffering=1)  # noqa: SIM115 - closed at the end
        self._start()
        url = property(lambda _: self.cloud.endpoint_url, lambda *_: None)
        ServerModeMockAWS._test_server_mode_endpoint = url
        MockAWS._fake_creds = property(lambda _: self._keys, lambda *_: None)

    def _start(self):
        self.cloud = LocalCloud()
        self.cloud.__enter__()
        url, (key, secret) = self.cloud.endpoint_url, self.cloud.keys
        self._keys = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        os.environ |= self._keys | {"AWS_DEFAULT_REGION": "us-east-1"}
        boto3.DEFAULT_SESSION = None  # which has the keys of the cloud before
        session = boto3.session.Session(key, secret, region_name="us-east-1")
        names = {name for name, *_ in _REMOVABLE} | {"s3"}
        self._clients = {name: session.client(name, endpoint_url=url) for name in names}

    def clean(self, module):
        """Remove what a test left; metrics cannot be removed, so that these get a new cloud."""
        if module.startswith("test_cloudwatch"):
            self.cloud.__exit__(None, None, None)
            self._start()
            return
        for bucket in self._clients["s3"].list_buckets()["Buckets"]:
            self._empty(bucket["Name"])
        for service, listing, member, delete, parameter in _REMOVABLE:
            client = self._clients[service]
            given = _FILTERS.get(listing, {})
            for each in getattr(client, listing)(**given)[member]:
                with suppress(ClientError, BotoCoreError, KeyError):
                    self._remove(client, delete, parameter, each)

    def _empty(self, bucket):
        s3 = self._clients["s3"]
        with suppress(ClientError):
            for each in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
                s3.delete_object(Bucket=bucket, Key=each["Key"])
            for each in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
                s3.abort_multipart_upload(Bucket=bucket, Key=each["Key"], UploadId=each["UploadId"])
            s3.delete_bucket(Bucket=bucket)

    def _remove(self, client, delete, parameter, each):
        if delete is None:
            names = ("ServiceNamespace", "ResourceId", "ScalableDimension")
            client.deregister_scalable_target(**{name: each[name] for name in names})
        elif delete in _LISTS:
            getattr(client, delete)(**{_LISTS[delete]: [each[parameter]]})
        else:
            name = each.get(parameter) or each["ModelPackageArn"]
            getattr(client, delete)(**{parameter: name})

    def write(self, report):
        """Keep what became of a test."""
        crash = getattr(report.longrepr, "reprcrash", None)
        error = crash.message if crash else str(report.longrepr)
        text = "" if report.passed else str(report.longrepr)
        facts = {"id": report.nodeid, "outcome": report.outcome, "error": error, "text": text}
        self._outcomes.write(json.dumps(facts) + "\n")

    def close(self):
        """End the cloud."""
        self._outcomes.close()
        self.cloud.__exit__(None, None, None)


def pytest_configure(config):
    """Start the cloud before any test is imported: moto asks for the address then."""
    config.moto_suite = _Suite(os.environ["MOTO_SUITE_OUTCOMES"])


def pytest_unconfigure(config):
    """End it."""
    config.moto_suite.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Give a test its time."""

    def stop(*_):
        pytest.fail(f"The test took longer than {_LIMIT} seconds.")  # which no client catches

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(_LIMIT)
    try:
        return (yield)
    finally:
        signal.alarm(0)


def pytest_runtest_teardown(item, nextitem):
    """Remove what a test left, or those of a class, which make what they need once."""
    if nextitem is None or item.cls is None or nextitem.cls is not item.cls:
        with suppress(ClientError, BotoCoreError):
            item.config.moto_suite.clean(item.path.name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Write down what became of a test: of its call, or of what came before and failed."""
    report = yield
    if report.when == "call" or (report.when == "setup" and not report.passed):
        item.config.moto_suite.write(report)
    return report
