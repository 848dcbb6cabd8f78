"""SageMaker Python SDK 3 with sagemaker-core: every inference type, and the registry."""

import json

import boto3
import numpy as np
from botocore.exceptions import ClientError
from sagemaker.core.inference_config import ServerlessInferenceConfig
from sagemaker.core.resources import (
    Endpoint,
    EndpointConfig,
    Model,
    ModelPackage,
    ModelPackageGroup,
    TransformJob,
)
from sagemaker.core.shapes import (
    AsyncInferenceConfig,
    AsyncInferenceOutputConfig,
    ContainerDefinition,
    ProductionVariant,
    TransformDataSource,
    TransformInput,
    TransformOutput,
    TransformResources,
    TransformS3DataSource,
)
from sagemaker.serve import ModelBuilder
from sagemaker.serve.utils.types import ModelServer
from steps import IMAGE, MODEL, NAME, ROLE, run_steps, step

s3 = boto3.client("s3")
s3.create_bucket(Bucket=NAME)
s3.upload_file(MODEL, NAME, "model.tar.gz")
address = f"s3://{NAME}/model.tar.gz"
rows = [[1.0, 2.0, 3.0], [0.0, 0.5, 1.0]]
body = json.dumps(rows)
JSON = {"content_type": "application/json", "accept": "application/json"}


def new_model(name, **container):
    given = container or {"image": IMAGE, "model_data_url": address}
    return Model.create(
        model_name=f"{NAME}-{name}",
        primary_container=ContainerDefinition(**given),
        execution_role_arn=ROLE,
    )


def new_endpoint(name, variant=None, **more):
    """Return an endpoint on a model of that name, in service."""
    name = f"{NAME}-{name}"
    kind = variant or {"instance_type": "ml.m5.large", "initial_instance_count": 1}
    EndpointConfig.create(
        endpoint_config_name=name,
        production_variants=[ProductionVariant(variant_name="all", model_name=name, **kind)],
        **more,
    )
    endpoint = Endpoint.create(endpoint_name=name, endpoint_config_name=name)
    endpoint.wait_for_status("InService", poll=1, timeout=120)
    return endpoint


def new_builder():
    return ModelBuilder(
        image_uri=IMAGE,
        s3_model_data_url=address,
        role_arn=ROLE,
        model_server=ModelServer.TORCHSERVE,
        instance_type="ml.m5.large",
    )


def answer_of(endpoint):
    return np.array(json.loads(endpoint.invoke(body=body, **JSON).body.read()))


@step
def real_time():
    new_model("real")
    endpoint = new_endpoint("real")
    assert answer_of(endpoint).shape == (2, 2)
    assert f"{NAME}-real" in [each.endpoint_name for each in Endpoint.get_all()]
    endpoint.delete()


@step
def serverless():
    # EndpointConfig.create() writes MemorySizeInMb, which boto3 does not take: see findings/
    builder = new_builder()
    builder.build(model_name=f"{NAME}-serverless")
    endpoint = builder.deploy(
        endpoint_name=f"{NAME}-serverless",
        inference_config=ServerlessInferenceConfig(memory_size_in_mb=2048, max_concurrency=2),
    )
    assert answer_of(endpoint).shape == (2, 2)
    endpoint.delete()


@step
def asynchronous():
    new_model("async")
    output = AsyncInferenceOutputConfig(s3_output_path=f"s3://{NAME}/answers")
    endpoint = new_endpoint(
        "async", async_inference_config=AsyncInferenceConfig(output_config=output)
    )
    s3.put_object(Bucket=NAME, Key="rows.json", Body=body, ContentType="application/json")
    answer = endpoint.invoke_async(input_location=f"s3://{NAME}/rows.json")
    key = answer.output_location.removeprefix(f"s3://{NAME}/")
    s3.get_waiter("object_exists").wait(Bucket=NAME, Key=key, WaiterConfig={"Delay": 1})
    assert np.array(json.loads(s3.get_object(Bucket=NAME, Key=key)["Body"].read())).shape == (2, 2)
    endpoint.delete()


@step
def transform():
    new_model("transform")
    table = "".join(f"{','.join(map(str, row))}\n" for row in rows)
    s3.put_object(Bucket=NAME, Key="in/rows.csv", Body=table)
    place = TransformS3DataSource(s3_data_type="S3Prefix", s3_uri=f"s3://{NAME}/in")
    job = TransformJob.create(
        transform_job_name=f"{NAME}-transform",
        model_name=f"{NAME}-transform",
        transform_input=TransformInput(
            data_source=TransformDataSource(s3_data_source=place),
            content_type="text/csv",
            split_type="Line",
        ),
        transform_output=TransformOutput(
            s3_output_path=f"s3://{NAME}/out", accept="text/csv", assemble_with="Line"
        ),
        transform_resources=TransformResources(instance_type="ml.m5.large", instance_count=1),
    )
    job.wait(poll=1, timeout=120)
    lines = s3.get_object(Bucket=NAME, Key="out/rows.csv.out")["Body"].read().split()
    assert [len(line.split(b",")) for line in lines] == [2, 2], lines


@step
def registry_with_approval():
    ModelPackageGroup.create(model_package_group_name=NAME)
    builder = new_builder()
    builder.build(model_name=f"{NAME}-first")
    told = builder.register(
        model_package_group_name=NAME,
        content_types=["application/json"],
        response_types=["application/json"],
        inference_instances=["ml.m5.large"],
        transform_instances=["ml.m5.large"],
        approval_status="PendingManualApproval",
    )
    package = ModelPackage.get(getattr(told, "model_package_arn", told))
    source = {"model_package_name": package.model_package_arn}
    try:
        new_model("registered", **source)
    except ClientError as error:
        refusal = str(error)
    assert "Approved" in refusal, refusal
    package.update(model_approval_status="Approved")
    new_model("registered", **source)
    endpoint = new_endpoint("registered")
    assert answer_of(endpoint).shape == (2, 2)
    endpoint.delete()


@step
def model_builder():
    builder = new_builder()
    builder.build(model_name=f"{NAME}-built")
    endpoint = builder.deploy(
        endpoint_name=f"{NAME}-built", initial_instance_count=1, instance_type="ml.m5.large"
    )
    assert answer_of(endpoint).shape == (2, 2)
    endpoint.delete()


run_steps()
