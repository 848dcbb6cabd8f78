"""sm-serverless-benchmarking: both of its benchmarks, to its own report."""

import json
from pathlib import Path

import boto3
import pandas as pd
from sm_serverless_benchmarking.benchmark import run_serverless_benchmarks
from sm_serverless_benchmarking.utils import convert_invoke_args_to_jsonl
from steps import IMAGE, MODEL, NAME, ROLE, run_steps, step

sagemaker = boto3.client("sagemaker")
ROWS = json.dumps([[1.0, 2.0, 3.0]])


@step
def model():
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=NAME)
    s3.upload_file(MODEL, NAME, "model.tar.gz")
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{NAME}/model.tar.gz"}
    sagemaker.create_model(ModelName=NAME, PrimaryContainer=container, ExecutionRoleArn=ROLE)


@step
def both_benchmarks_to_their_report():
    examples = [{"Body": ROWS, "ContentType": "application/json", "Accept": "application/json"}]
    run_serverless_benchmarks(
        NAME,
        convert_invoke_args_to_jsonl(examples),
        memory_sizes=[1024, 2048],
        stability_benchmark_invocations=10,
        concurrency_benchmark_max_conc=[2, 3],  # of one alone its charts fail
        concurrency_benchmark_invocations=12,
        concurrency_num_clients_multiplier=[1, 2],
        result_save_path="results",
    )


@step
def latencies_and_metrics_of_cloudwatch():
    folder = Path("results")
    calls = pd.read_csv(
        folder / "stability_benchmark_raw_results" / "invocation_benchmark_results.csv"
    )
    assert sorted(set(calls["memory_size"])) == [1024, 2048]
    assert (calls["invocation_latency"] > 0).all(), calls
    metrics = pd.read_csv(folder / "stability_benchmark_raw_results" / "endpoint_metrics.csv")
    kept = metrics.dropna(subset=["Average"])
    named = set(kept["metric_name"])  # and MemoryUtilization, where a minute is full
    assert named >= {"ModelSetupTime", "ModelLatency", "OverheadLatency"}, metrics
    together = pd.read_csv(
        folder / "concurrency_benchmark_raw_results" / "invocation_benchmark_results.csv"
    )
    assert set(together["num_clients"]) == {2, 3, 4, 6}, together


@step
def report_and_nothing_left_behind():
    (report,) = Path("results").rglob("*.html")
    assert "<img" in report.read_text()
    assert not sagemaker.list_endpoints(NameContains=NAME)["Endpoints"]


run_steps()
