"""SageMaker Python SDK 2: a model in every inference type, and the registry with its approval."""

from pathlib import Path

import boto3
import numpy as np
import sagemaker
from botocore.exceptions import ClientError
from sagemaker.async_inference import AsyncInferenceConfig
from sagemaker.async_inference.waiter_config import WaiterConfig
from sagemaker.deserializers import JSONDeserializer, NumpyDeserializer
from sagemaker.model import Model
from sagemaker.predictor import Predictor
from sagemaker.predictor_async import AsyncPredictor
from sagemaker.serializers import CSVSerializer, JSONSerializer, NumpySerializer
from sagemaker.serverless import ServerlessInferenceConfig
from steps import IMAGE, MODEL, NAME, ROLE, run_steps, step

boto3.client("s3").create_bucket(Bucket=NAME)
session = sagemaker.Session(default_bucket=NAME)
address = session.upload_data(MODEL, bucket=NAME, key_prefix="models")
rows = [[1.0, 2.0, 3.0], [0.0, 0.5, 1.0]]


def new_model(name, predictor=Predictor, **more):
    given = {"image_uri": IMAGE, "model_data": address, "role": ROLE, **more}
    return Model(name=f"{NAME}-{name}", predictor_cls=predictor, sagemaker_session=session, **given)


def refusal_of(call, **arguments):
    """Return the error that a call ends with; "" for none."""
    try:
        call(**arguments)
    except ClientError as error:
        return str(error)
    return ""


def close(predictor):
    predictor.delete_model()
    predictor.delete_endpoint()


@step
def real_time_in_three_formats():
    predictor = new_model("real").deploy(
        1,
        "ml.m5.large",
        endpoint_name=f"{NAME}-real",
        serializer=JSONSerializer(),
        deserializer=JSONDeserializer(),
    )
    answer = np.array(predictor.predict(rows))
    assert answer.shape == (2, 2), answer
    predictor.serializer, predictor.deserializer = NumpySerializer(), NumpyDeserializer()
    assert np.allclose(predictor.predict(np.array(rows, np.float32)), answer)
    predictor.serializer = CSVSerializer()
    assert np.allclose(predictor.predict(rows), answer)
    close(predictor)


@step
def serverless():
    predictor = new_model("serverless").deploy(
        serverless_inference_config=ServerlessInferenceConfig(2048, 2),
        endpoint_name=f"{NAME}-serverless",
        serializer=JSONSerializer(),
        deserializer=JSONDeserializer(),
    )
    assert np.array(predictor.predict(rows)).shape == (2, 2)
    close(predictor)


@step
def asynchronous():
    predictor = new_model("async").deploy(
        1,
        "ml.m5.large",
        async_inference_config=AsyncInferenceConfig(output_path=f"s3://{NAME}/answers"),
        endpoint_name=f"{NAME}-async",
        serializer=JSONSerializer(),
        deserializer=JSONDeserializer(),
    )
    soon = WaiterConfig(max_attempts=60, delay=1)
    assert isinstance(predictor, AsyncPredictor)
    assert np.array(predictor.predict(rows, waiter_config=soon)).shape == (2, 2)
    later = predictor.predict_async(rows)
    assert np.array(later.get_result(soon)).shape == (2, 2)
    close(predictor)


@step
def transform():
    table = "\n".join(",".join(map(str, row)) for row in rows)
    session.upload_string_as_file_body(f"{table}\n", NAME, "in/rows.csv")
    new_model("transform").create(instance_type="ml.m5.large")
    transformer = sagemaker.transformer.Transformer(
        f"{NAME}-transform",
        1,
        "ml.m5.large",
        strategy="MultiRecord",
        assemble_with="Line",
        accept="text/csv",
        output_path=f"s3://{NAME}/out",
        sagemaker_session=session,
    )
    transformer.transform(
        f"s3://{NAME}/in",
        content_type="text/csv",
        split_type="Line",
        join_source="Input",
        wait=False,
    )
    transformer.wait(logs=False)
    lines = session.read_s3_file(NAME, "out/rows.csv.out").split()
    assert [len(line.split(",")) for line in lines] == [5, 5], lines


@step
def registry_with_approval():
    package = new_model("registered").register(
        content_types=["application/json"],
        response_types=["application/json"],
        inference_instances=["ml.m5.large"],
        transform_instances=["ml.m5.large"],
        model_package_group_name=NAME,
        approval_status="PendingManualApproval",
        description="of the SDK",
    )
    arn = package.model_package_arn
    sagemaker_client = session.sagemaker_client
    versions = sagemaker_client.list_model_packages(ModelPackageGroupName=NAME)
    assert [each["ModelPackageArn"] for each in versions["ModelPackageSummaryList"]] == [arn]
    container = {"ModelPackageName": arn}
    early = {"ModelName": f"{NAME}-early", "PrimaryContainer": container}
    assert "Approved" in refusal_of(sagemaker_client.create_model, **early)
    package.update_approval_status("Approved")  # deploy() would do so by itself, without a word
    predictor = sagemaker.ModelPackage(
        ROLE, model_package_arn=arn, sagemaker_session=session, predictor_cls=Predictor
    ).deploy(1, "ml.m5.large", endpoint_name=f"{NAME}-registered")
    predictor.serializer, predictor.deserializer = JSONSerializer(), JSONDeserializer()
    assert np.array(predictor.predict(rows)).shape == (2, 2)
    close(predictor)


@step
def images_and_code_of_others():
    Path("inference.py").write_text("def model_fn(folder): ...\n")
    image = {"image_uri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/sklearn:1"}
    for more in (image, {"entry_point": "inference.py", "source_dir": str(Path.cwd())}):
        create = new_model("foreign", **more).create
        assert "WORKBENCH_SERVE_ANYWAY" in refusal_of(create, instance_type="ml.m5.large")


run_steps()
