"""The AWS command line, a client that nobody here wrote, against the local cloud.

It lives in an environment of its own, which `make test` makes where it can.
"""

import json
import os
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.graphs import linear
from tests.hosted import ROWS, archived

AWS = Path(__file__).parents[2] / ".venv" / "aws" / "bin" / "aws"
pytestmark = pytest.mark.skipif(not AWS.exists(), reason="no AWS command line: make aws")


@pytest.fixture(scope="module")
def aws(cloud, tmp_path_factory):
    """Run the command line with these arguments, and return what it prints, read as JSON."""
    home = tmp_path_factory.mktemp("home")
    environment = cloud.environment() | {"PATH": os.environ["PATH"], "HOME": str(home)}
    url = environment.pop("AWS_ENDPOINT_URL")

    def run(*arguments, **options):
        named = [text for key, value in options.items() for text in (_option(key), value)]
        done = subprocess.run(
            [AWS, *arguments, *named, "--endpoint-url", url, "--output", "json"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout

    return run


def _option(name):
    return "--" + name.replace("_", "-")


def wait_for(cloud, state):
    with closing(cloud.client("sagemaker")) as sagemaker:
        waiter = sagemaker.get_waiter(state)
        waiter.wait(EndpointName="digits", WaiterConfig={"Delay": 0.05, "MaxAttempts": 1200})


def test_files_go_to_s3_and_come_back(aws, tmp_path):
    big = os.urandom(20 * 1024 * 1024)
    (tmp_path / "big").write_bytes(big)
    (tmp_path / "small").write_text("small")

    aws("s3", "mb", "s3://files")
    aws("s3", "cp", str(tmp_path), "s3://files/folder", "--recursive")
    listed = aws("s3", "ls", "s3://files/folder/")
    aws("s3", "mv", "s3://files/folder/big", "s3://files/moved")
    aws("s3", "cp", "s3://files/moved", str(tmp_path / "back"))
    aws("s3", "rb", "s3://files", "--force")

    assert [line.split()[2:] for line in listed.splitlines()] == [
        [str(len(big)), "big"],
        ["5", "small"],
    ]
    assert (tmp_path / "back").read_bytes() == big
    assert "files" not in aws("s3", "ls")


def test_a_model_lives_from_its_registration_to_the_end_of_its_endpoint(aws, cloud, tmp_path):
    (tmp_path / "model.tar.gz").write_bytes(archived(linear()))
    aws("s3api", "create-bucket", bucket="models")
    aws("s3", "cp", str(tmp_path / "model.tar.gz"), "s3://models/model.tar.gz")

    container = {"Image": cloud.image, "ModelDataUrl": "s3://models/model.tar.gz"}
    aws("sagemaker", "create-model-package-group", model_package_group_name="digits")
    package = aws(
        *("sagemaker", "create-model-package"),
        model_package_group_name="digits",
        inference_specification=json.dumps({"Containers": [container]}),
    )["ModelPackageArn"]
    assert package.endswith("model-package/digits/1")
    aws(
        *("sagemaker", "update-model-package"),
        model_package_arn=package,
        model_approval_status="Approved",
    )
    found = aws("sagemaker", "describe-model-package", model_package_name=package)
    assert found["ModelApprovalStatus"] == "Approved"

    aws(
        *("sagemaker", "create-model"),
        model_name="digits",
        execution_role_arn=cloud.role,
        containers=json.dumps([{"ModelPackageName": package}]),
    )
    variant = {
        "VariantName": "one",
        "ModelName": "digits",
        "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 2},
    }
    aws(
        *("sagemaker", "create-endpoint-config"),
        endpoint_config_name="digits",
        production_variants=json.dumps([variant]),
    )
    names = {"endpoint_name": "digits"}
    aws("sagemaker", "create-endpoint", **names, endpoint_config_name="digits")
    # The command line looks every 30 s: what it waits for is there before it looks.
    wait_for(cloud, "endpoint_in_service")
    aws("sagemaker", "wait", "endpoint-in-service", **names)

    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    answer = aws(
        *("sagemaker-runtime", "invoke-endpoint", str(tmp_path / "answer.json")),
        **names,
        body=f"fileb://{tmp_path / 'rows.json'}",
        content_type="application/json",
        accept="application/json",
    )
    assert answer["InvokedProductionVariant"] == "one"
    assert len(json.loads((tmp_path / "answer.json").read_text())) == len(ROWS)

    aws("sagemaker", "delete-endpoint", **names)
    wait_for(cloud, "endpoint_deleted")
    aws("sagemaker", "wait", "endpoint-deleted", **names)
    aws("sagemaker", "delete-endpoint-config", endpoint_config_name="digits")
    aws("sagemaker", "delete-model", model_name="digits")
    aws("sagemaker", "delete-model-package", model_package_name=package)
    aws("sagemaker", "delete-model-package-group", model_package_group_name="digits")
    listed = aws("sagemaker", "list-model-package-groups")
    assert listed == {"ModelPackageGroupSummaryList": []}


def test_metrics_are_put_and_read(aws):
    aws("cloudwatch", "put-metric-data", namespace="Mine", metric_name="Load", value="2.5")
    listed = aws("cloudwatch", "list-metrics", namespace="Mine")["Metrics"]
    assert [each["MetricName"] for each in listed] == ["Load"]
    found = aws(
        *("cloudwatch", "get-metric-statistics", "--statistics", "Sum"),
        namespace="Mine",
        metric_name="Load",
        period="86400",
        start_time="2026-01-01T00:00:00Z",
        end_time="2126-01-01T00:00:00Z",
    )
    assert [each["Sum"] for each in found["Datapoints"]] == [2.5]
    events = aws("cloudtrail", "lookup-events")["Events"]
    assert isinstance(events, list)
