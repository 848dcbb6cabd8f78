"""One model of numbers and texts: the same answers wherever it is asked."""

import csv
import http.client
import io
import json
from contextlib import ExitStack

import numpy as np
import polars as pl
import pytest

import workbench as wb
from tests.graphs import mixed
from tests.refused import refused
from workbench.backends.base import Batch
from workbench.backends.local import LocalBackend
from workbench.cloud.deploy import deploy
from workbench.cloud.doctor import examine
from workbench.cloud.ledger import Ledger
from workbench.ensembles.server import EnsembleServer
from workbench.localcloud import LocalCloud
from workbench.routing import RoundRobin
from workbench.traffic.map import poisson_process

KINDS = {
    "real-time": wb.RealTime(instance_type="ml.m5.large"),
    "serverless": wb.Serverless(memory_mb=2048, max_concurrency=3, on_limit="queue"),
    "async": wb.Async(instance_type="ml.m5.large"),
    "lambda": wb.Lambda(memory_mb=1769, max_concurrency=3, on_limit="queue"),
}
FRAME = pl.DataFrame(
    {
        "id": range(64),
        "scores": [[n / 2, float(n % 3)] for n in range(64)],
        "city": ["Bern", "Rome", 'Ürümqi, "north"\n', ""] * 16,
        "age": [None if n == 5 else float(n) for n in range(64)],
    }
)
CODES = [{"Bern": 1, "Rome": 2}.get(city, 0) for city in FRAME["city"]]
ANSWERS = (
    FRAME["age"].fill_null(np.nan).to_numpy()
    + CODES
    + np.array(FRAME["scores"].to_list()).sum(axis=1)
).astype(np.float32)[:, None]
TRACE = wb.poisson(rate=20, duration=1.0, seed=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    registry = wb.Registry(tmp_path_factory.mktemp("registry"))
    return registry.register("mixed", mixed(), samples=FRAME.drop("id"))


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def deployed(model, cloud, tmp_path_factory):
    ledger = Ledger(tmp_path_factory.mktemp("ledger") / "ledger.db")
    with ExitStack() as stack:
        yield {
            kind: stack.enter_context(deploy(model, deployment, cloud, ledger=ledger))
            for kind, deployment in KINDS.items()
        }


def same(outputs):
    return np.array_equal(outputs, ANSWERS[: len(outputs)], equal_nan=True)


def test_the_session_and_this_machine_answer(model):
    assert same(model.session().run(model.samples().inputs))
    with LocalBackend(model) as backend:
        assert same(backend.invoke(Batch(model.samples().inputs)).outputs)


@pytest.mark.parametrize("kind", KINDS)
def test_every_deployment_answers_alike(kind, deployed, model):
    with deployed[kind].backend(concurrency=1) as backend:
        assert same(backend.invoke(Batch(model.samples().inputs)).outputs)
        assert same(backend.invoke(Batch(model.samples().inputs[:1])).outputs)


def bodies():
    records = FRAME.drop("id").to_dicts()
    table = io.StringIO()
    csv.writer(table).writerows(
        ["" if row["age"] is None else row["age"], row["city"], *row["scores"]] for row in records
    )
    return {
        "application/json": json.dumps(records),
        "application/jsonlines": "\n".join(map(json.dumps, records)),
        "text/csv": "age,city,scores_0,scores_1\n" + table.getvalue(),
    }


@pytest.mark.parametrize("content_type", bodies())
def test_clients_send_rows_as_texts(content_type, cloud, deployed):
    client = cloud.client("sagemaker-runtime", pool=1)
    answer = client.invoke_endpoint(
        EndpointName=deployed["serverless"].name,
        Body=bodies()[content_type].encode(),
        ContentType=content_type,
        Accept="application/json",
    )
    outputs = json.loads(answer["Body"].read())
    client.close()

    assert [row[0] for row in outputs] == [None if np.isnan(a) else a for a in ANSWERS[:, 0]]


def test_what_is_wrong_is_named_to_a_client(cloud, deployed):
    client = cloud.client("sagemaker-runtime", pool=1)
    with refused(client.exceptions.ModelError, "Row 2", "'age'", "old"):
        client.invoke_endpoint(
            EndpointName=deployed["serverless"].name,
            Body=b"1,Bern,1,2\nold,Rome,1,2\n",
            ContentType="text/csv",
        )
    client.close()


def test_rows_of_any_kind_are_transformed_on_a_cloud(model, cloud, tmp_path):
    FRAME.write_parquet(tmp_path / "rows.parquet")
    job = wb.BatchTransform(instance_type="ml.m5.large")
    done = wb.transform(model, tmp_path / "rows.parquet", job, cloud, missing="nan")

    assert same(done.outputs)


def test_it_is_profiled_predicted_simulated_and_run(model):
    profile = wb.profile(model, batch_sizes=(1, 2), threads=(1,), repeats=5)
    experiment = wb.Experiment(model, wb.Local(), TRACE)

    assert experiment.predict(profile, arrivals=poisson_process(20.0)).quantile(0.5) > 0
    assert experiment.simulate(profile).answered == len(TRACE)
    assert experiment.run().answered == len(TRACE)


def test_the_doctor_finds_nothing_wrong(model):
    found = examine(model)

    assert [each for each in found.checks if not each.ok] == []


def test_an_ensemble_serves_it(model):
    members = {"a": wb.Member(model, wb.Local()), "b": wb.Member(model, wb.Local())}
    with EnsembleServer(wb.Ensemble(members, RoundRobin())) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
        row = '{"age": 1, "city": "Rome", "scores": [1, 2]}'
        connection.request("POST", "/invocations", row, {"content-type": "application/json"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"[6.0]")
        connection.close()
