"""`transform` of a user's own data: on a local cloud, on Dask and on this machine."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import polars as pl
import pytest

import workbench as wb
from tests.refused import refused
from workbench.cloud import transform_jobs
from workbench.cloud.client import CloudClient
from workbench.cloud.deploy import teardown
from workbench.cloud.ledger import Ledger
from workbench.cloud.transform_jobs import TransformJobs
from workbench.errors import (
    CloudError,
    InvalidInput,
    InvocationError,
    NotAvailable,
    NotFound,
    OverBudget,
    Stopped,
)
from workbench.localcloud import LocalCloud
from workbench.measuring import inputs as inputs_module

JOB = wb.BatchTransform(instance_type="ml.m5.large", count=2)
HERE = wb.Local(workers=2)

KILLED = """
import os, signal, numpy as np
import workbench as wb
from workbench.cloud.aws import Cloud
from workbench.cloud.transform_jobs import TransformJobs

url, role, image, *keys = os.environ["CLOUD"].split()
cloud = Cloud(endpoint_url=url, role=role, image=image, bucket="workbench", paid=False,
              keys=tuple(keys), poll=0.05)
TransformJobs.wait = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
job = wb.BatchTransform(instance_type="ml.m5.large")
wb.transform(wb.Registry()["digits-mlp-small"], np.zeros((9, 64)), job, cloud)
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with LocalCloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


pytestmark = pytest.mark.usefixtures("at_home")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Let few rows be several pieces."""
    monkeypatch.setattr(inputs_module, "PIECE_BYTES", 100 * 64 * 4)


@pytest.fixture(scope="module", name="data")
def _data(model):
    return np.tile(model.samples().inputs, (2, 1))[:1050]


@pytest.fixture(scope="module", name="expected")
def _expected(model, data):
    return model.session().run(data)


def nothing_left(cloud):
    with CloudClient(cloud) as aws:
        found = [
            *aws.sagemaker("list_models")["Models"],
            *aws.sagemaker("list_transform_jobs", StatusEquals="InProgress")[
                "TransformJobSummaries"
            ],
        ]
        for bucket in aws.s3("list_buckets")["Buckets"]:
            found += aws.s3("list_objects_v2", Bucket=bucket["Name"]).get("Contents", [])
    return not found and not Ledger().entries()


def frame_of(data):
    return pl.DataFrame(data, schema=[f"pixel{i}" for i in range(data.shape[1])])


def kept(data, folder, form):
    """Return data in a form that `transform` takes."""
    frame, path = frame_of(data), folder / f"data.{form}"
    match form:
        case "array":
            return data
        case "frame":
            return frame
        case "npy":
            np.save(path, data)
        case "csv":
            frame.write_csv(path)
        case "parquet":
            frame.write_parquet(path, row_group_size=300)
    return path


@pytest.fixture(params=["array", "frame", "npy", "csv", "parquet"])
def given(request, data, tmp_path):
    """The data in every form that is taken."""
    return kept(data, tmp_path, request.param)


def test_a_cloud_answers_every_row_in_order_and_nothing_is_left(
    cloud, model, given, data, expected
):
    told = []
    done = wb.transform(model, given, JOB, cloud, progress=lambda *rows: told.append(rows))
    np.testing.assert_array_equal(done.outputs, expected)
    assert (done.rows, done.origin, done.path) == (len(data), "measured: local cloud", None)
    assert done.cost.total > 0
    assert told[-1] == (len(data), len(data))
    assert nothing_left(cloud)


def test_dask_answers_every_row_in_order(cluster, model, given, expected):
    done = wb.transform(model, given, wb.Local(), cluster)
    np.testing.assert_array_equal(done.outputs, expected)
    assert (done.origin, done.cost) == ("measured: Dask", None)


def test_this_machine_writes_answers_beside_the_rows(model, given, data, expected, tmp_path):
    output = tmp_path / "new" / "answers.parquet"
    done = wb.transform(model, given, HERE, output=output)
    frame = pl.read_parquet(output)
    assert (done.path, done.outputs, done.rows) == (output, None, len(data))
    np.testing.assert_array_equal(frame["prediction"].to_numpy(), expected)
    np.testing.assert_array_equal(frame.drop("prediction").to_numpy(), data)
    assert list(output.parent.iterdir()) == [output]


def test_answers_can_be_written_as_an_array(cloud, model, data, expected, tmp_path):
    wb.transform(model, data, JOB, cloud, output=tmp_path / "answers.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "answers.npy"), expected)


def test_a_model_of_several_values_fills_a_column_of_arrays(registry, tmp_path):
    model = registry["diabetes-ridge"]
    inputs = model.samples().inputs
    output = tmp_path / "answers.parquet"
    wb.transform(model, inputs, HERE, output=output)
    answers = pl.read_parquet(output)["prediction"].to_numpy()
    np.testing.assert_allclose(answers, model.session().run(inputs)[:, 0])


def test_columns_of_other_types_are_left_out_by_name(model, data, expected, tmp_path):
    frame = frame_of(data).insert_column(0, pl.Series("id", [f"#{i}" for i in range(len(data))]))
    names = [name for name in frame.columns if name != "id"]
    output = tmp_path / "answers.parquet"
    wb.transform(model, frame, HERE, columns=names, output=output)
    assert pl.read_parquet(output)["id"].to_list() == frame["id"].to_list()
    with refused(InvalidInput, "id", "text"):
        wb.transform(model, frame, HERE)


def test_a_row_without_all_its_values_gets_no_answer(model, data, tmp_path):
    whole = tmp_path / "whole.csv"
    frame_of(data[:5]).write_csv(whole)
    cut = tmp_path / "cut.csv"
    cut.write_text(whole.read_text() + "1.0,2.0\n")
    assert wb.transform(model, whole, HERE).rows == 5
    with refused(InvalidInput, "Row 6", "pixel2"):
        wb.transform(model, cut, HERE)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (np.zeros((0, 64)), ["no rows", 1]),
        (np.zeros((3, 5)), ["(1, 5)", "(batch, 64)"]),
        (np.zeros(64), ["(1,)", "(batch, 64)"]),
        (np.array([["x"] * 64]), ["<U1", "float32 (batch, 64)"]),
        ([[0.0] * 64], ["data", "list"]),
        ("data.txt", [".parquet", "data.txt"]),
    ],
)
def test_what_the_model_does_not_take_is_refused_before_anything_is_made(cloud, model, data, named):
    with refused(InvalidInput, *named):
        wb.transform(model, data, JOB, cloud)
    assert nothing_left(cloud)


@pytest.mark.parametrize("name", ["data.csv", "data.npy", "data.parquet"])
def test_a_file_that_is_not_what_it_is_called_is_refused(model, name, tmp_path):
    path = tmp_path / name
    with refused(NotFound, path):
        wb.transform(model, path, HERE)
    path.write_bytes(b"\x80\x04\x95 nonsense \xff")
    with pytest.raises(InvalidInput):
        wb.transform(model, path, HERE)


def test_outputs_are_new_files_of_a_known_kind(model, data, tmp_path):
    there = tmp_path / "there.npy"
    there.touch()
    for output in (there, tmp_path / "x.txt"):
        with refused(InvalidInput, output):
            wb.transform(model, data, HERE, output=output)
    named = frame_of(data).with_columns(prediction=1)
    with refused(InvalidInput, "prediction"):
        wb.transform(model, named, HERE, columns=named.columns[:64], output=tmp_path / "x.parquet")


def test_the_deployment_goes_with_the_place(cloud, model, data):
    for deployment, place in ((JOB, None), (HERE, cloud), (wb.Local(), "tcp://scheduler")):
        with pytest.raises(InvalidInput):
            wb.transform(model, data, deployment, place)


def test_what_the_model_refuses_fails_the_job_with_its_reason(cloud, model, data, monkeypatch):
    """Only the first row is looked at beforehand: a fault in the middle is the container's."""
    put = TransformJobs.put
    odd = lambda jobs, job, part, rows: put(jobs, job, part, rows[:, :3] if part == 4 else rows)  # noqa: E731
    monkeypatch.setattr(TransformJobs, "put", odd)
    with refused(CloudError, "part-00000004.npy", "record 1", "(100, 3)"):
        wb.transform(model, data, JOB, cloud)
    assert nothing_left(cloud)


def test_a_job_is_stopped_when_it_is_told(cloud, model, data):
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(Stopped):
        wb.transform(model, data, JOB, cloud, stopped=stopped)
    assert nothing_left(cloud)
    with pytest.raises(Stopped):
        wb.transform(model, data, HERE, stopped=stopped)


def test_ctrl_c_stops_the_job_and_leaves_nothing(cloud, model, data):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wb.transform(model, data, JOB, cloud, progress=interrupt)
    assert nothing_left(cloud)


@pytest.fixture
def paid(cloud):
    """A cloud that costs money, as far as this side knows."""
    return dataclasses.replace(cloud.value(), paid=True)


def test_what_costs_money_is_asked_for_and_capped(paid, cloud, model, data):
    with refused(NotAvailable, "yes=True"):
        wb.transform(model, data, JOB, paid)
    with refused(OverBudget, JOB.label, "$0.01"):
        wb.transform(model, data, JOB, paid, yes=True, budget=0.01)
    done = wb.transform(model, data, JOB, paid, yes=True, budget=1.0)
    assert 0 < done.cost.total < 0.01
    assert nothing_left(cloud)


def test_a_job_that_has_spent_its_budget_is_stopped(paid, cloud, registry, data, monkeypatch):
    monkeypatch.setattr(transform_jobs, "hourly_cost", lambda _: 1e9)
    slow = registry["digits-mlp-wide"]  # the job outlasts the second that the cloud lets polls wait
    with refused(OverBudget, "$1.00"):
        wb.transform(slow, np.tile(data, (40, 1)), JOB, paid, yes=True, budget=1.0)
    assert nothing_left(cloud)


def test_what_a_crash_leaves_is_in_the_ledger(cloud, workbench_home, tmp_path):
    environment = os.environ | {
        "CLOUD": " ".join([cloud.url, cloud.role, cloud.image, *cloud.keys]),
        "WORKBENCH_HOME": str(workbench_home),
    }
    ended = subprocess.run([sys.executable, "-c", KILLED], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    (entry,) = Ledger().entries()
    assert entry.kind == "transform jobs"
    assert teardown() == [entry]
    assert nothing_left(cloud)


def test_a_worker_that_dies_is_replaced_and_nothing_is_lost(cluster, model, data, expected):
    pids = cluster.run(os.getpid)

    def kill(done, total):
        if pids:
            os.kill(pids.popitem()[1], signal.SIGKILL)
            pids.clear()

    done = wb.transform(model, data, wb.Local(), cluster, progress=kill)
    np.testing.assert_array_equal(done.outputs, expected)


def test_a_model_that_fails_on_dask_is_told(cluster, model, data, tmp_path):
    path = tmp_path / "gone.npy"
    np.save(path, data)
    with refused(InvocationError, "Dask", path):
        wb.transform(model, path, wb.Local(), cluster, progress=lambda *_: path.unlink(True))
