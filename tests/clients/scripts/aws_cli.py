"""The AWS command line: files, a model and its endpoint, metrics; `aws` is found on the path."""

import json
import os
import subprocess
import urllib.request
from pathlib import Path

from steps import IMAGE, MODEL, NAME, ROLE, URL, run_steps, step

HERE = Path.cwd()


def as_text(value):
    return value if isinstance(value, str) else json.dumps(value)


def aws(*arguments, **options):
    """Return what the command line prints, read as JSON where it is."""
    named = [
        text
        for key, value in options.items()
        for text in (
            "--" + key.replace("_", "-"),
            value if isinstance(value, str) else json.dumps(value),
        )
    ]
    call = ["aws", *arguments, *named, "--endpoint-url", URL, "--output", "json"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout


@step
def copies_of_files():
    big = os.urandom(20 << 20)
    (HERE / "up").mkdir()
    (HERE / "up" / "big").write_bytes(big)
    (HERE / "up" / "small").write_text("small")
    aws("s3", "mb", f"s3://{NAME}")
    aws("s3", "cp", "up", f"s3://{NAME}/folder", "--recursive")
    listed = aws("s3", "ls", f"s3://{NAME}/folder/")
    assert [line.split()[2:] for line in listed.splitlines()] == [
        [str(len(big)), "big"],
        ["5", "small"],
    ], listed
    aws("s3", "mv", f"s3://{NAME}/folder/big", f"s3://{NAME}/moved")
    aws("s3", "cp", f"s3://{NAME}/moved", "back")
    assert (HERE / "back").read_bytes() == big


@step
def synchronised_folders():
    aws("s3", "sync", "up", f"s3://{NAME}/sync", "--exclude", "big")
    (HERE / "up" / "small").unlink()
    assert "delete" in aws("s3", "sync", "up", f"s3://{NAME}/sync", "--delete", "--exclude", "big")
    left = aws("s3api", "list-objects-v2", bucket=NAME, prefix="sync")
    assert not left or not left.get("Contents"), left  # version 2.9 prints nothing at all


@step
def presigned_urls():
    url = aws("s3", "presign", f"s3://{NAME}/folder/small").strip()
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.read() == b"small"


@step
def model_and_endpoint():
    aws("s3", "cp", MODEL, f"s3://{NAME}/model.tar.gz")
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{NAME}/model.tar.gz"}
    named = {"model_name": NAME, "execution_role_arn": ROLE}
    aws("sagemaker", "create-model", **named, primary_container=container)
    variant = {
        "VariantName": "one",
        "ModelName": NAME,
        "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 2},
    }
    aws(
        *("sagemaker", "create-endpoint-config"),
        endpoint_config_name=NAME,
        production_variants=[variant],
    )
    aws("sagemaker", "create-endpoint", endpoint_name=NAME, endpoint_config_name=NAME)
    for _ in range(60):
        told = aws("sagemaker", "describe-endpoint", endpoint_name=NAME)
        if told["EndpointStatus"] != "Creating":
            break
    (HERE / "rows.json").write_text("[[1.0, 2.0, 3.0]]")
    told = aws(
        *("sagemaker-runtime", "invoke-endpoint", "answer.json"),
        endpoint_name=NAME,
        body="fileb://rows.json",
        content_type="application/json",
    )
    assert told["InvokedProductionVariant"] == "one", told
    assert len(json.loads((HERE / "answer.json").read_text())[0]) == 2
    aws("sagemaker", "delete-endpoint", endpoint_name=NAME)


@step
def metrics():
    named = {"namespace": NAME, "metric_name": "Load"}
    aws("cloudwatch", "put-metric-data", **named, value="2.5")
    assert len(aws("cloudwatch", "list-metrics", namespace=NAME)["Metrics"]) == 1
    found = aws(
        *("cloudwatch", "get-metric-statistics", "--statistics", "Sum"),
        **named,
        period="86400",
        start_time="2026-01-01T00:00:00Z",
        end_time="2126-01-01T00:00:00Z",
    )
    assert [each["Sum"] for each in found["Datapoints"]] == [2.5], found


@step
def trail_and_identity():
    assert isinstance(aws("cloudtrail", "lookup-events")["Events"], list)
    assert aws("sts", "get-caller-identity")["Account"]


@step(refused=True)
def training():
    aws("sagemaker", "list-training-jobs")


@step
def bucket_removed():
    aws("s3", "rb", f"s3://{NAME}", "--force")
    assert NAME not in aws("s3", "ls").split()


run_steps()
