"""LLMeter: a run and a load test of an endpoint, with its results saved and read again."""

import asyncio
import json

import boto3
from llmeter.endpoints import SageMakerEndpoint
from llmeter.experiments import LoadTest
from llmeter.results import Result
from llmeter.runner import Runner
from steps import IMAGE, MODEL, NAME, REGION, ROLE, run_steps, step

sagemaker = boto3.client("sagemaker")
payload = {"instances": [[1.0, 2.0, 3.0]]}
endpoint = SageMakerEndpoint(
    NAME,
    model_id="linear",
    region=REGION,
    generated_text_jmespath="to_string(predictions)",
    input_text_jmespath="to_string(instances)",
    token_count_jmespath=None,
)


@step
def one_call():
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=NAME)
    s3.upload_file(MODEL, NAME, "model.tar.gz")
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{NAME}/model.tar.gz"}
    sagemaker.create_model(ModelName=NAME, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    variant = {
        "VariantName": "all",
        "ModelName": NAME,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName=NAME, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
    soon = {"WaiterConfig": {"Delay": 1, "MaxAttempts": 60}}
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=NAME, **soon)
    answer = endpoint.invoke(payload)
    assert answer.error is None, answer
    assert len(json.loads(answer.response_text)[0]) == 2, answer


@step
def run_that_is_saved():
    runner = Runner(endpoint, output_path="runs")
    result = asyncio.run(runner.run(payload=payload, n_requests=10, clients=3, run_name="run"))
    assert (result.stats["total_requests"], result.stats["failed_requests"]) == (30, 0)
    again = Result.load("runs/run")
    assert len(again.responses) == 30


@step
def load_test():
    test = LoadTest(
        endpoint,
        payload,
        sequence_of_clients=[1, 4],
        min_requests_per_client=5,
        min_requests_per_run=10,
        output_path="load",
    )
    result = asyncio.run(test.run())
    assert sorted(result.results) == [1, 4]
    assert all(each.stats["failed_requests"] == 0 for each in result.results.values())


@step
def a_request_that_the_model_rejects():
    answer = endpoint.invoke({"instances": [[1.0]]})
    assert "ModelError" in answer.error, answer


@step
def endpoint_deleted():
    sagemaker.delete_endpoint(EndpointName=NAME)


run_steps()
