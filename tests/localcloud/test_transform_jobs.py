"""Batch transform of the local cloud through boto3: what jobs make of data, and their end."""

import asyncio
import gzip
import itertools
import json
import os
import signal
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from botocore.exceptions import ClientError

from tests.graphs import WEIGHTS, lookup
from tests.hosted import Hosted, alive, archived, until
from tests.refused import unnamed
from tests.wire import check_answers
from workbench.backends.sagemaker import NPY, pack_npy, unpack_npy
from workbench.localcloud.core.access import AccessControl
from workbench.localcloud.core.access_keys import make_access_key
from workbench.localcloud.core.store import Store
from workbench.localcloud.core.tags import Tags
from workbench.localcloud.s3.api import S3
from workbench.localcloud.s3.uploads import StoredBody
from workbench.localcloud.sagemaker.model_packages import Packages
from workbench.localcloud.sagemaker.resources import Resources
from workbench.localcloud.sagemaker.transform_jobs import TransformJobApi

CSV, JSONLINES = "text/csv", "application/jsonlines"
IMAGE = "x/workbench"  # as the workbench's own is called
NUMBERS = itertools.count()
ROWS = [[float(i), 1.0, 2.0] for i in range(50)]
ANSWERS = (np.array(ROWS) @ WEIGHTS).tolist()
TIMES = 100  # one by one, so many times the rows take a second or more


class Transforms:
    """A local cloud with a bucket "data", and short ways to transform what is in there."""

    def __init__(self, path=None):
        self.hosted = Hosted(path)
        self.sagemaker, self.s3 = self.hosted.sagemaker, self.hosted.s3
        check_answers(self.sagemaker)

    def make_models(self):
        self.hosted.make_models()
        self.s3.put_object(Bucket="models", Key="zero.tar.gz", Body=archived(lookup()))
        self.add_model("zero")
        self.s3.create_bucket(Bucket="data")

    def add_model(self, name, archive=None, **environment):
        container = {
            "Image": IMAGE,
            "ModelDataUrl": f"s3://models/{archive or name}.tar.gz",
            "Environment": environment,
        }
        self.sagemaker.create_model(ModelName=name, PrimaryContainer=container)

    def put(self, **objects):
        """Return a new prefix that these objects are below; "__" in a name is a slash."""
        prefix = f"in-{next(NUMBERS)}"
        for name, body in objects.items():
            key = f"{prefix}/{name.replace('__', '/')}"
            self.s3.put_object(Bucket="data", Key=key, Body=body)
        return prefix

    def begin(self, prefix, kind=CSV, accept=None, split="Line", assemble="Line", **more):
        """Return the name of a new job over a prefix."""
        name = f"job-{next(NUMBERS)}"
        source = {"S3DataSource": _prefix(prefix)}
        facts = {
            "TransformJobName": name,
            "ModelName": "good",
            "TransformInput": {"DataSource": source, "ContentType": kind, "SplitType": split},
            "TransformOutput": {
                "S3OutputPath": f"s3://data/out/{name}",
                "Accept": accept or kind,
                "AssembleWith": assemble,
            },
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        }
        self.sagemaker.create_transform_job(**_merged(facts, more))
        return name

    def over(self, name):
        """Return the description of a job once it is over."""

        def told():
            facts = self.sagemaker.describe_transform_job(TransformJobName=name)
            return facts["TransformJobStatus"] not in ("InProgress", "Stopping") and facts

        return until(told)

    def run(self, prefix, *args, **options):
        """Return what a job leaves: bodies by name, once it has completed."""
        name = self.begin(prefix, *args, **options)
        told = self.over(name)
        assert told["TransformJobStatus"] == "Completed", told
        assert told["TransformStartTime"] <= told["TransformEndTime"]
        return self.left(name)

    def failed(self, prefix, *args, **options):
        """Return why a job failed, and what it leaves."""
        name = self.begin(prefix, *args, **options)
        told = self.over(name)
        assert told["TransformJobStatus"] == "Failed"
        return told["FailureReason"], self.left(name)

    def left(self, name):
        prefix = f"out/{name}/"
        listed = self.s3.list_objects_v2(Bucket="data", Prefix=prefix).get("Contents", [])
        return {
            each["Key"].removeprefix(prefix): self.s3.get_object(Bucket="data", Key=each["Key"])[
                "Body"
            ].read()
            for each in listed
        }

    def instances(self, name):
        jobs = self.hosted.cloud.state()["jobs"]
        return [each for job in jobs if job["job"] == name for each in job["instances"]]

    def in_flight(self, name):
        return sum(each["in_flight"] for each in self.instances(name))

    @contextmanager
    def hanging(self, times=20 * TIMES, objects=(), **options):
        """Have a job that gets no answer inside the block; its name and the model's process."""
        prefix = self.put(a=csv(ROWS) * times, **dict(objects))
        name = self.begin(prefix, **{"BatchStrategy": "SingleRecord"} | options)
        until(lambda: any(each["concurrency"] for each in self.instances(name)))
        pid = self.instances(name)[0]["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield name, pid
        finally:
            if alive(pid):
                os.kill(pid, signal.SIGCONT)


def resident(pid):
    """Return the bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _prefix(name):
    return {"S3DataType": "S3Prefix", "S3Uri": f"s3://data/{name}"}


def _merged(facts, more):
    for name, value in more.items():
        facts[name] = {**facts.get(name, {}), **value} if isinstance(value, dict) else value
    return facts


@pytest.fixture(scope="module")
def cloud():
    cloud = Transforms()
    cloud.make_models()
    yield cloud
    cloud.hosted.close()


def csv(rows):
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


def lines(values):
    return "".join(json.dumps(value) + "\n" for value in values)


# --- data


def test_every_object_below_a_prefix_is_answered_in_order(cloud):
    prefix = cloud.put(a=csv(ROWS), nested__deep__b=csv(ROWS[:7]), folder__="")
    left = cloud.run(prefix, TransformResources={"InstanceCount": 2})
    assert left == {"a.out": csv(ANSWERS).encode(), "nested/deep/b.out": csv(ANSWERS[:7]).encode()}


def test_a_prefix_may_be_one_object_or_the_beginning_of_names(cloud):
    prefix = cloud.put(part1=csv(ROWS[:1]), part2=csv(ROWS[1:2]), other="x")
    assert set(cloud.run(f"{prefix}/part")) == {"part1.out", "part2.out"}
    assert set(cloud.run(f"{prefix}/part1")) == {"part1.out"}


@pytest.mark.parametrize("strategy", ["SingleRecord", "MultiRecord"])
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_line_is_a_record_however_it_ends(cloud, strategy, end):
    prefix = cloud.put(a=(end or "\n").join(csv(ROWS).splitlines()) + end)
    left = cloud.run(prefix, BatchStrategy=strategy, MaxConcurrentTransforms=3)
    assert left["a.out"] == csv(ANSWERS).encode()


def test_requests_hold_as_many_records_as_fit(cloud):
    rows = [[float(i), 0.5, 0.25] for i in range(200_000)]  # 3 MB and a half
    left = cloud.run(cloud.put(a=csv(rows)), MaxPayloadInMB=1, MaxConcurrentTransforms=2)
    np.testing.assert_allclose(
        np.loadtxt(left["a.out"].decode().splitlines(), delimiter=","), np.array(rows) @ WEIGHTS
    )


def test_an_object_that_is_not_split_is_one_request(cloud):
    rows = np.array(ROWS, np.float32)
    parts = {f"p{i}": pack_npy(rows[i : i + 10]) for i in range(0, 50, 10)}
    options = {"split": "None", "assemble": "None"}
    left = cloud.run(cloud.put(**parts), NPY, **options, MaxConcurrentTransforms=2)
    assert len(left) == 5
    np.testing.assert_allclose(unpack_npy(left["p40.out"]), ANSWERS[40:])


def test_packed_objects_are_unpacked(cloud):
    prefix = cloud.put(a=gzip.compress(csv(ROWS).encode()))
    left = cloud.run(prefix, TransformInput={"CompressionType": "Gzip"})
    assert left["a.out"] == csv(ANSWERS).encode()


def test_answers_are_put_together_with_or_without_lines(cloud):
    prefix = cloud.put(a=csv(ROWS[:3]))
    options = {"accept": "application/json", "BatchStrategy": "SingleRecord"}
    with_lines = cloud.run(prefix, **options)["a.out"]
    assert [json.loads(line) for line in with_lines.splitlines()] == [[x] for x in ANSWERS[:3]]
    assert cloud.run(prefix, assemble="None", **options)["a.out"] == with_lines.replace(b"\n", b"")


def test_an_empty_object_has_an_empty_answer(cloud):
    assert cloud.run(cloud.put(a="", b=csv(ROWS[:1])))["a.out"] == b""


# --- filters and joins


def test_the_answers_are_joined_with_the_rows_of_a_csv(cloud):
    ids = [["a b", *row] for row in ROWS]
    sent = {"InputFilter": "$[1:]", "JoinSource": "Input"}
    left = cloud.run(cloud.put(a=csv(ids)), DataProcessing=sent)["a.out"].decode()
    assert left == csv([*row, *answer] for row, answer in zip(ids, ANSWERS, strict=True))
    kept = sent | {"OutputFilter": "$[0,-2:]"}
    left = cloud.run(cloud.put(a=csv(ids)), DataProcessing=kept)["a.out"].decode()
    assert left == csv(["a b", *answer] for answer in ANSWERS)


def test_the_answers_are_joined_with_json_lines(cloud):
    records = [{"id": i, "features": row} for i, row in enumerate(ROWS)]
    wanted = {
        "InputFilter": "$.features",
        "JoinSource": "Input",
        "OutputFilter": "$['id','SageMakerOutput']",
    }
    left = cloud.run(cloud.put(a=lines(records)), JSONLINES, DataProcessing=wanted)["a.out"]
    assert [json.loads(line) for line in left.splitlines()] == [
        {"id": i, "SageMakerOutput": answer} for i, answer in enumerate(ANSWERS)
    ]
    left = cloud.run(cloud.put(a=lines(ROWS)), JSONLINES, DataProcessing={"JoinSource": "Input"})
    first = json.loads(left["a.out"].splitlines()[0])
    assert first == {"SageMakerInput": ROWS[0], "SageMakerOutput": ANSWERS[0]}


def test_an_answer_can_be_filtered_alone(cloud):
    left = cloud.run(cloud.put(a=csv(ROWS)), DataProcessing={"OutputFilter": "$[1]"})
    assert left["a.out"] == b"-1.0\n" * len(ROWS)


# --- how the model is called


@pytest.mark.parametrize(("asked", "workers", "expected"), [(2, 3, 2), (None, 3, 3), (None, 1, 1)])
def test_the_job_goes_before_the_container_and_that_before_the_default(
    cloud, asked, workers, expected
):
    """The container asks for as many requests at a time as it has workers."""
    model = f"wide-{next(NUMBERS)}"
    cloud.add_model(model, "good", SAGEMAKER_MODEL_SERVER_WORKERS=str(workers))
    options = {"MaxConcurrentTransforms": asked} if asked else {}
    with cloud.hanging(ModelName=model, **options) as (name, _):
        until(lambda: cloud.in_flight(name) == expected)
        assert cloud.in_flight(name) == expected
        cloud.sagemaker.stop_transform_job(TransformJobName=name)


def test_a_container_is_told_that_it_works_in_a_batch_job(cloud):
    with cloud.hanging(MaxPayloadInMB=2, Environment={"MINE": "1"}) as (name, pid):
        variables = Path(f"/proc/{pid}/environ").read_text().split("\0")[:-1]
        cloud.sagemaker.stop_transform_job(TransformJobName=name)
    told = dict(each.split("=", 1) for each in variables)
    assert told["SAGEMAKER_BATCH"] == "true"
    assert told["SAGEMAKER_MAX_PAYLOAD_IN_MB"] == "2"
    assert told["SAGEMAKER_BATCH_STRATEGY"] == "SINGLE_RECORD"
    assert told["MINE"] == told["WORKBENCH_THREADS"] == "1"
    assert "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS" not in told


def test_a_model_that_dies_is_started_again_and_asked_again(cloud):
    with cloud.hanging(TIMES) as (name, pid):
        until(lambda: cloud.in_flight(name))
        os.kill(pid, signal.SIGKILL)
        assert cloud.over(name)["TransformJobStatus"] == "Completed"
    assert cloud.left(name)["a.out"] == csv(ANSWERS * TIMES).encode()


# --- bad input


def test_a_record_that_the_model_refuses_fails_its_object_alone(cloud):
    bad = csv([*ROWS[:20], ["x", 1, 2], *ROWS[21:]])
    prefix = cloud.put(a=csv(ROWS), b=bad, c=csv(ROWS))
    why, left = cloud.failed(prefix, BatchStrategy="SingleRecord")
    assert set(left) == {"a.out", "c.out"}
    assert why.startswith(f"ClientError: s3://data/{prefix}/b: record 21: Received client error (4")
    assert "must hold numbers" in why
    assert why.endswith("1 of 3 objects failed.")


def test_a_record_that_the_model_fails_on_is_tried_again_and_told(cloud):
    options = {"ModelName": "zero", "BatchStrategy": "SingleRecord"}
    retries = {"InvocationsMaxRetries": 1, "InvocationsTimeoutInSeconds": 60}
    why, left = cloud.failed(cloud.put(a="0\n0\n7\n0\n"), **options, ModelClientConfig=retries)
    assert not left
    assert "AlgorithmError" in why
    assert "a: record 3: Received server error (500) from primary" in why


def test_a_model_that_does_not_answer_in_time_is_told(cloud):
    limits = {"InvocationsMaxRetries": 0, "InvocationsTimeoutInSeconds": 1}
    with cloud.hanging(ModelClientConfig=limits) as (name, _):
        told = cloud.over(name)
    assert told["TransformJobStatus"] == "Failed"
    assert "no answer within 1 s" in told["FailureReason"]


@pytest.mark.parametrize(
    ("objects", "options", "named"),
    [
        ({}, {}, ["No S3 objects found under S3 URL"]),  # as AWS says it
        ({"a": "1," * 600_000}, {"MaxPayloadInMB": 1}, ["Record 1", "MaxPayloadInMB"]),
        ({"a": b"x" * 1_048_577}, {"MaxPayloadInMB": 1, "split": "None"}, ["MaxPayloadInMB"]),
        ({"a": "1,2,3\n"}, {"DataProcessing": {"InputFilter": "$[7]"}}, ["Record 1", "$[7]"]),
        (
            {"a": "1\n"},
            {"kind": JSONLINES, "DataProcessing": {"InputFilter": "$.x"}},
            ["Record 1", "$.x"],
        ),
        ({"a": "1,2,3\n"}, {"DataProcessing": {"OutputFilter": "$[2]"}}, ["$[2]"]),
        (
            {"a": "not packed"},
            {"TransformInput": {"CompressionType": "Gzip"}},
            ["ClientError", "Not a gzipped file"],
        ),
        (
            {"a": gzip.compress(csv(ROWS).encode())[:-9]},
            {"TransformInput": {"CompressionType": "Gzip"}},
            ["ClientError", "end-of-stream"],
        ),
        ({"a": "1,2,3\n"}, {"ModelName": "bad"}, ["instance", "model.onnx"]),
        (
            {"a": "1,2,3\n"},
            {"TransformOutput": {"S3OutputPath": "s3://nowhere/out"}},
            ["ClientError", "NoSuchBucket"],
        ),
    ],
)
def test_a_job_that_cannot_be_done_says_why(cloud, objects, options, named):
    why, left = cloud.failed(cloud.put(**objects), **options)
    assert not left
    assert not unnamed(why, *named)


def test_an_object_that_is_gone_by_then_fails_alone(cloud):
    with cloud.hanging(TIMES, {name: csv(ROWS) for name in "bch"}) as (name, _):
        source = cloud.sagemaker.describe_transform_job(TransformJobName=name)["TransformInput"]
        where = source["DataSource"]["S3DataSource"]["S3Uri"]
        cloud.s3.delete_object(Bucket="data", Key=f"{where.removeprefix('s3://data/')}/h")
    told = cloud.over(name)
    assert told["TransformJobStatus"] == "Failed"
    assert f"ClientError: {where}/h: The specified key" in told["FailureReason"]
    assert len(cloud.left(name)) == 3


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ({"split": "RecordIO"}, "NotImplemented", "SplitType RecordIO is not yet offered"),
        ({"split": "TFRecord"}, "NotImplemented", "SplitType TFRecord is not yet offered"),
        ({"MaxPayloadInMB": 0}, "NotImplemented", "MaxPayloadInMB 0"),
        ({"TransformOutput": {"KmsKeyId": "key"}}, "NotImplemented", "Encryption of results"),
        (
            {"DataCaptureConfig": {"DestinationS3Uri": "s3://data/seen"}},
            "NotImplemented",
            "DataCaptureConfig",
        ),
        (
            {"MaxPayloadInMB": 26, "MaxConcurrentTransforms": 4},
            "ValidationException",
            "at most 100",
        ),
        ({"DataProcessing": {"InputFilter": "features"}}, "ValidationException", "starts with"),
        (
            {"kind": NPY, "DataProcessing": {"JoinSource": "Input"}},
            "ValidationException",
            "both CSV",
        ),
        ({"ModelName": "none"}, "ValidationException", "Could not find model"),
        (
            {"TransformOutput": {"S3OutputPath": "https://x/y"}},
            "ValidationException",
            "S3OutputPath must look like",
        ),
        ({"ModelClientConfig": {"InvocationsMaxRetries": 4}}, "ValidationException", "equal to 3"),
        ({"TransformResources": {"InstanceType": "ml.x.y"}}, "ValidationException", "enum value"),
    ],
)
def test_a_job_that_cannot_be_is_refused(cloud, more, code, said):
    with pytest.raises(ClientError) as caught:
        cloud.begin("none", **more)
    error = caught.value.response["Error"]
    assert error["Code"] == code
    assert said in error["Message"]


def test_more_data_than_it_takes_memory_pass_through(cloud):
    rows = np.tile(np.array(ROWS[:1], np.float32), (160_000, 1))
    body = pack_npy(rows)  # 1.9 MB
    prefix = cloud.put(**{f"p{i:03d}": body for i in range(150)})
    before, most = resident(cloud.hosted.cloud.pid), 0
    name = cloud.begin(prefix, NPY, split="None", assemble="None", MaxPayloadInMB=2)

    def over():
        nonlocal most
        most = max(most, resident(cloud.hosted.cloud.pid))
        (told,) = cloud.sagemaker.list_transform_jobs(NameContains=name)["TransformJobSummaries"]
        return told["TransformJobStatus"] != "InProgress"

    until(over)
    left = cloud.left(name)
    assert len(left) == 150
    np.testing.assert_allclose(unpack_npy(left["p149.out"]), rows @ WEIGHTS)
    assert most - before < 150 * len(body) / 2


# --- a job's life


def test_each_change_of_a_job_is_told(tmp_path):
    told = []

    async def live():
        with closing(Store(tmp_path)) as store:
            s3, tags = S3(store, AccessControl(make_access_key())), Tags(store)
            s3.objects.create_bucket("data", "us-east-1")
            body = tmp_path / "blobs" / "arriving" / "model"
            body.write_bytes(archived(b"no model"))
            s3.objects.put("data", "model.tar.gz", StoredBody(body, 1, "", {}), {})
            jobs = TransformJobApi(
                store, s3, Packages(store, tags), tmp_path / "jobs", on_change=told.append
            )
            container = {"Image": IMAGE, "ModelDataUrl": "s3://data/model.tar.gz"}
            Resources(store).add("model", "m", {"PrimaryContainer": container})
            job = {
                "TransformJobName": "job",
                "ModelName": "m",
                "TransformInput": {"DataSource": {"S3DataSource": _prefix("nothing")}},
                "TransformOutput": {"S3OutputPath": "s3://data/out"},
                "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
            }
            await jobs.operations()["CreateTransformJob"](job)
            await jobs.operations()["DescribeTransformJob"]({"TransformJobName": "job"})
            await jobs.close()

    asyncio.run(live())
    assert [each["TransformJobStatus"] for each in told] == ["InProgress", "Failed"]
    assert "No S3 objects" in told[-1]["FailureReason"]


def test_a_job_is_described_as_it_was_made_and_its_name_given_once(cloud):
    prefix = cloud.put(a=csv(ROWS))
    name = cloud.begin(prefix, MaxPayloadInMB=3, Tags=[{"Key": "team", "Value": "x"}])
    told = cloud.over(name)
    assert told["TransformJobArn"].endswith(f":transform-job/{name}")
    assert (told["MaxPayloadInMB"], told["ModelName"]) == (3, "good")
    tags = cloud.sagemaker.list_tags(ResourceArn=told["TransformJobArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "x"}]
    again = {key: told[key] for key in ("ModelName", "TransformInput", "TransformOutput")}
    with pytest.raises(cloud.sagemaker.exceptions.ResourceInUse):
        cloud.sagemaker.create_transform_job(
            TransformJobName=name, TransformResources=told["TransformResources"], **again
        )
    with pytest.raises(cloud.sagemaker.exceptions.ResourceNotFound):
        cloud.sagemaker.describe_transform_job(TransformJobName="never")


def test_jobs_are_listed_by_name_and_status(cloud):
    name = cloud.begin(cloud.put())
    cloud.over(name)
    listed = cloud.sagemaker.list_transform_jobs(NameContains=name, StatusEquals="Failed")
    (summary,) = listed["TransformJobSummaries"]
    assert "No S3 objects" in summary["FailureReason"]
    assert not cloud.sagemaker.list_transform_jobs(NameContains=name, StatusEquals="Completed")[
        "TransformJobSummaries"
    ]


def test_a_job_that_is_stopped_ends_with_its_instances(cloud):
    with cloud.hanging() as (name, pid):
        cloud.sagemaker.stop_transform_job(TransformJobName=name)
        told = cloud.over(name)
        assert told["TransformJobStatus"] == "Stopped"
        assert told["TransformEndTime"] >= told["TransformStartTime"]
        assert not alive(pid)
    assert not cloud.left(name)
    with pytest.raises(
        ClientError, match="rejected because the transform job is in status Stopped"
    ):
        cloud.sagemaker.stop_transform_job(TransformJobName=name)


def test_what_was_in_progress_begins_anew_when_the_cloud_is_back(tmp_path):
    cloud = Transforms(tmp_path)
    cloud.make_models()
    done = cloud.begin(cloud.put(a=csv(ROWS)))
    cloud.over(done)
    with cloud.hanging(TIMES) as (name, _):
        os.kill(cloud.hosted.cloud.pid, signal.SIGKILL)
        cloud.hosted.close()
        back = Transforms(tmp_path)
    try:
        assert back.over(done)["TransformJobStatus"] == "Completed"
        assert back.over(name)["TransformJobStatus"] == "Completed"
        assert back.left(name)["a.out"] == csv(ANSWERS * TIMES).encode()
    finally:
        back.hosted.close()
