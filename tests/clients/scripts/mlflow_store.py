"""MLflow: artifacts of runs and registered models on S3; its deployment client for SageMaker."""

import json
import os
from pathlib import Path

import boto3
import mlflow
import numpy as np
from mlflow.deployments import get_deploy_client
from mlflow.tracking import MlflowClient
from steps import BUCKET, IMAGE, NAME, REGION, ROLE, URL, run_steps, step

os.environ["MLFLOW_S3_ENDPOINT_URL"] = URL
mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/mlflow.db")
made = {}


class Sum(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):  # noqa: ARG002 - MLflow's signature
        return np.asarray(model_input).sum(axis=1)


@step
def artifacts_of_a_run():
    experiment = mlflow.create_experiment("clients", artifact_location=f"s3://{BUCKET}/artifacts")
    Path("figures").mkdir()
    Path("figures/one.txt").write_text("one")
    Path("big").write_bytes(b"x" * (12 << 20))
    with mlflow.start_run(experiment_id=experiment) as run:
        mlflow.log_metric("latency", 0.05)
        mlflow.log_artifacts("figures", "figures")
        mlflow.log_artifact("big")
        mlflow.log_dict({"a": 1}, "values.json")
    client = MlflowClient()
    names = {each.path for each in client.list_artifacts(run.info.run_id)}
    assert names == {"figures", "big", "values.json"}, names
    listed = client.list_artifacts(run.info.run_id, "figures")
    assert [each.path for each in listed] == ["figures/one.txt"]
    path = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="big")
    assert Path(path).stat().st_size == 12 << 20
    assert mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/values.json") == {"a": 1}
    made["experiment"] = experiment


@step
def a_model_in_the_registry():
    with mlflow.start_run(experiment_id=made["experiment"]) as run:
        mlflow.pyfunc.log_model(python_model=Sum(), **named("model"))
    version = mlflow.register_model(f"runs:/{run.info.run_id}/model", "sum")
    loaded = mlflow.pyfunc.load_model(f"models:/sum/{version.version}")
    assert list(loaded.predict(np.ones((2, 3)))) == [3.0, 3.0]


def named(name):
    """The argument that names a model: it was `artifact_path` before version 3."""
    return {"name" if mlflow.__version__[0] >= "3" else "artifact_path": name}


@step
def artifacts_deleted():
    with mlflow.start_run(experiment_id=made["experiment"]) as run:
        mlflow.log_text("hello", "one/text")
    repository = mlflow.store.artifact.s3_artifact_repo.S3ArtifactRepository(run.info.artifact_uri)
    repository.delete_artifacts()
    assert MlflowClient().list_artifacts(run.info.run_id) == []


@step
def deployment_on_sagemaker():
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("Add", ["x", "x"], ["y"])
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3]) for n in "xy"]
    graph = helper.make_graph([node], "double", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.checker.check_model(model)
    mlflow.onnx.save_model(model, "double")
    client = get_deploy_client(f"sagemaker:/{REGION}")
    config = {
        "execution_role_arn": ROLE,
        "image_url": IMAGE,
        "bucket_name": BUCKET,
        "region_name": REGION,
        "instance_type": "ml.m5.large",
        "timeout_seconds": 120,
    }
    client.create_deployment(NAME, "double", flavor="python_function", config=config)
    assert NAME in [each["EndpointName"] for each in client.list_deployments()]
    assert client.get_deployment(NAME)["EndpointStatus"] == "InService"
    answer = boto3.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=NAME, Body="[[1.0, 2.0, 3.0]]", ContentType="application/json"
    )
    assert json.loads(answer["Body"].read()) == [[2.0, 4.0, 6.0]]
    client.delete_deployment(NAME, config={"region_name": REGION, "timeout_seconds": 120})


run_steps()
