"""What endpoints were asked, read from what data capture kept of it."""

import base64
import datetime as dt
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from botocore.response import StreamingBody
from numpy.testing import assert_array_equal

import workbench as wb
from tests.played import ENDPOINT, PlayedCloud
from tests.refused import refused
from workbench.cli import main
from workbench.cloud.client import CloudClient
from workbench.cloud.data_capture import read_inputs
from workbench.cloud.deploy import deploy
from workbench.errors import CloudError, InvalidInput, NotFound
from workbench.localcloud import LocalCloud
from workbench.registry.onnx import Tensor

NOW = dt.datetime.now(dt.UTC)
HOUR = dt.timedelta(hours=1)
PERSON = Tensor.record([Tensor("age", "float32", ()), Tensor("city", "str", ())])
PAIR = Tensor("x", "float32", (2,))


def record(body, content_type="text/csv", encoding="CSV"):
    side = {"observedContentType": content_type, "mode": "INPUT", "data": body}
    return {"captureData": {"endpointInput": side | {"encoding": encoding}}}


def text_of(*records):
    return "\n".join(map(json.dumps, records)).encode()


def aws(*files, capture=True):
    """Return AWS with an endpoint that captured files, given as age and content."""
    cloud = PlayedCloud()
    facts = {"EndpointName": "mine", "EndpointArn": ENDPOINT, "EndpointStatus": "InService"}
    facts |= {"CreationTime": NOW, "LastModifiedTime": NOW}
    config = {"EnableCapture": True, "CaptureStatus": "Started", "CurrentSamplingPercentage": 100}
    config |= {"DestinationS3Uri": "s3://ours/seen/", "KmsKeyId": ""}
    if capture:
        facts["DataCaptureConfig"] = config
    cloud.answer("sagemaker", "describe_endpoint", facts)
    found = [
        {"Key": f"seen/mine/all/2026/{number}.jsonl", "LastModified": NOW - age}
        for number, (age, _) in enumerate(files)
    ]
    page = {"Contents": found} if found else {}
    cloud.answer("s3", "list_objects_v2", page, Bucket="ours", Prefix="seen/mine/")
    for (age, content), facts in zip(files, found, strict=True):
        if age < HOUR:
            body = StreamingBody(io.BytesIO(content), len(content))
            cloud.answer("s3", "get_object", {"Body": body}, Bucket="ours", Key=facts["Key"])
    return cloud


def read(cloud, tensor=PAIR):
    model = SimpleNamespace(name="m:1", traits=SimpleNamespace(input_schema=tensor))
    return read_inputs("mine", cloud, model, since=HOUR)


def test_rows_come_in_order_from_whatever_form_they_were_sent_in():
    array = io.BytesIO()
    np.save(array, np.array([[7, 8], [9, 10]], np.float32))
    packed = base64.b64encode(array.getvalue()).decode()
    cloud = aws(
        (2 * HOUR, b"no JSON, and too old to be read"),
        (HOUR / 2, text_of(record("1,2\n3,4\n"), {"captureData": {"endpointOutput": {}}})),
        (HOUR / 3, text_of(record("[5, 6]", "application/json", "JSON"))),
        (HOUR / 4, text_of(record(packed, "application/x-npy", "BASE64"))),
    )

    assert_array_equal(read(cloud), np.arange(1, 11, dtype=np.float32).reshape(5, 2))
    cloud.done()


def test_rows_of_several_inputs_are_found_by_name_and_may_lack_values():
    rows = [{"city": "Bern", "age": 41}, {"city": None, "age": None}]
    sent = record(json.dumps(rows), "application/json", "JSON")

    found = read(aws((HOUR / 2, text_of(sent, record("age,city\n7,Rome\n")))), PERSON)

    assert found["city"].tolist() == ["Bern", "", "Rome"]
    assert_array_equal(found["age"], [41, np.nan, 7])


def test_what_the_model_cannot_take_is_left_out_unless_it_is_all():
    good, wrong = record("1,2"), record("1,2,3")

    assert read(aws((HOUR / 2, text_of(wrong, good)))).tolist() == [[1, 2]]
    with refused(InvalidInput, "mine", "m:1", "(1, 3)"):
        read(aws((HOUR / 2, text_of(wrong))))


def test_rows_of_several_shapes_are_no_table():
    sounds = record("1,2"), record("1,2,3")
    with refused(InvalidInput, "m:1", "shape"):
        read(aws((HOUR / 2, text_of(*sounds))), Tensor("sound", "float32", (None,)))


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"captureData": {"endpointInput": 1}}'])
def test_a_file_of_another_kind_is_named(content):
    with refused(CloudError, "s3://ours/seen/mine/all/2026/0.jsonl"):
        read(aws((HOUR / 2, content)))


def test_an_endpoint_that_captures_nothing_is_told_from_one_that_has_not_yet():
    with refused(NotFound, "mine", "capture=1.0"):
        read(aws(capture=False))
    with refused(NotFound, "mine", "rows"):
        read(aws())


@pytest.mark.parametrize(
    "deployment",
    [
        wb.Serverless(memory_mb=2048, max_concurrency=1),
        wb.Lambda(memory_mb=1769, max_concurrency=1),
        wb.Async("ml.m5.large"),
    ],
    ids=lambda each: each.kind,
)
def test_only_real_time_endpoints_capture(model, deployment):
    with refused(InvalidInput, deployment.label, "capture=0.5"):
        deploy(model, deployment, PlayedCloud(), capture=0.5)
    with refused(InvalidInput, "capture", 50):
        deploy(model, deployment, PlayedCloud(), capture=50)


def test_drift_is_found_in_what_an_endpoint_was_asked(model, at_home, capsys, monkeypatch):
    samples = model.samples().inputs
    moved = np.array(samples[:200])
    moved[:, 20] += 16
    trace = wb.poisson(rate=50, duration=1, seed=1)
    with LocalCloud() as cloud, CloudClient(cloud) as aws:
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)
        with deploy(model, wb.RealTime("ml.m5.large"), cloud, capture=1.0) as deployed:
            wb.Experiment(model, wb.RealTime("ml.m5.large"), trace).run(
                deployed
            )  # which sends NumPy's format
            usual = len(read_inputs(deployed, cloud, model, least=len(trace), wait=60))
            asked = {"ContentType": "application/json", "Body": json.dumps(moved.tolist())}
            aws.call("sagemaker-runtime", "invoke_endpoint", EndpointName=deployed.name, **asked)
            came = read_inputs(deployed, cloud, model, least=usual + len(moved), wait=60)
            command = f"monitor drift {model.name} --endpoint {deployed.name} --json"
            assert main(command.split()) == 0
        listed = aws.s3("list_objects_v2", Bucket=deployed.entry.bucket)

    assert "Contents" not in listed
    assert_array_equal(came[-len(moved) :], moved)
    first, *others = wb.input_drift(samples, came[-len(moved) :]).to_dicts()
    assert (first["input"], first["drifted"]) == (20, True)
    assert not any(each["drifted"] for each in others)
    assert json.loads(capsys.readouterr().out)["rows"][0]["input"] == 20


def test_drift_is_looked_for_in_one_place(model, at_home, capsys):
    for places in ("", "rows.csv --endpoint mine"):
        assert main(f"monitor drift {model.name} {places}".split()) == 2
        assert "in a FILE of rows, or in what an --endpoint captured" in capsys.readouterr().err
