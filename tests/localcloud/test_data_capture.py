"""Data capture of endpoints: JSON Lines in S3, as SageMaker writes them."""

import base64
import json
import re

import numpy as np
import pytest
from botocore.exceptions import ClientError

from tests.hosted import ROWS, on_instances, serverless, until

AS_TEXT = {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]}
BOTH = [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}]
NAME = re.compile(
    r"seen/(?P<endpoint>[^/]+)/one/\d{4}/\d\d/\d\d/\d\d/\d\d-\d\d-\d{3}-[0-9a-f-]{36}\.jsonl"
)


def configure(hosted, name, *variants, share=100, options=BOTH, queued=None, **more):
    capture = {
        "InitialSamplingPercentage": share,
        "DestinationS3Uri": "s3://models/seen/",
        "CaptureOptions": options,
    }
    asynchronous = {"AsyncInferenceConfig": queued} if queued else {}
    hosted.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        **asynchronous,
        ProductionVariants=list(variants or [on_instances()]),
        DataCaptureConfig=capture | more,
    )


def endpoint(hosted, name, **settings):
    configure(hosted, name, **settings)
    hosted.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    return hosted.settled(name)


def captured(hosted, name):
    """Return the records of an endpoint, those of one file behind another's."""
    found = hosted.s3.list_objects_v2(Bucket="models", Prefix=f"seen/{name}/").get("Contents", [])
    assert all(NAME.fullmatch(each["Key"]) for each in found)
    bodies = [hosted.s3.get_object(Bucket="models", Key=each["Key"])["Body"] for each in found]
    return [json.loads(line) for body in bodies for line in body.read().splitlines()]


def test_what_is_asked_and_answered_is_written_as_it_came(hosted):
    told = endpoint(hosted, "whole", CaptureContentTypeHeader=AS_TEXT)
    hosted.invoke("whole", InferenceId="first", CustomAttributes="red")
    hosted.runtime.invoke_endpoint(
        EndpointName="whole", Body="1,2,3\n", ContentType="text/csv", Accept="text/csv"
    )
    rows = np.array(ROWS, np.float32).tobytes()
    with pytest.raises(ClientError):
        hosted.runtime.invoke_endpoint(EndpointName="whole", Body=rows, ContentType="x/unknown")

    assert told["DataCaptureConfig"] == {
        "EnableCapture": True,
        "CaptureStatus": "Started",
        "CurrentSamplingPercentage": 100,
        "DestinationS3Uri": "s3://models/seen/",
        "KmsKeyId": "",
    }
    first, second = until(lambda: len(found := captured(hosted, "whole")) == 2 and found)
    assert first["captureData"]["endpointInput"] == {
        "observedContentType": "application/json",
        "mode": "INPUT",
        "data": json.dumps(ROWS),
        "encoding": "JSON",
    }
    assert json.loads(first["captureData"]["endpointOutput"]["data"]) == [[7.0, -1.0]]
    assert first["eventMetadata"]["inferenceId"] == "first"
    assert first["eventMetadata"]["customAttributes"] == ["red"]
    assert first["eventVersion"] == "0"
    assert second["captureData"]["endpointInput"]["data"] == "1,2,3\n"
    assert second["captureData"]["endpointOutput"]["encoding"] == "CSV"


def test_only_what_is_asked_for_is_written_and_the_rest_in_base64(hosted):
    endpoint(hosted, "input", options=BOTH[:1])
    hosted.invoke("input")

    (record,) = until(lambda: captured(hosted, "input"))
    (side,) = record["captureData"].values()
    assert side["encoding"] == "BASE64"
    assert json.loads(base64.b64decode(side["data"])) == ROWS


def test_a_share_is_written_until_an_update_ends_it(hosted):
    endpoint(hosted, "share", share=50)
    for _ in range(200):
        hosted.invoke("share")
    hosted.sagemaker.update_endpoint(EndpointName="share", EndpointConfigName=hosted.config(
        on_instances()
    ))  # fmt: skip
    assert "DataCaptureConfig" not in hosted.settled("share")
    hosted.invoke("share")
    endpoint(hosted, "after")  # whose record is written behind those of the former
    hosted.invoke("after")

    until(lambda: captured(hosted, "after"))
    # 100 of 200 are expected; five standard deviations are 35.
    assert len(captured(hosted, "share")) == pytest.approx(100, abs=35)


@pytest.mark.parametrize(
    ("variant", "more", "code"),
    [
        (serverless(), {}, "ValidationException"),
        (on_instances(), {"KmsKeyId": "key"}, "NotImplemented"),
        (
            on_instances(),
            {"queued": {"OutputConfig": {"S3OutputPath": "s3://a"}}},
            "NotImplemented",
        ),
        (on_instances(), {"DestinationS3Uri": "https://x/y"}, "NotImplemented"),
    ],
    ids=["serverless", "encrypted", "asynchronous", "over https"],
)
def test_what_cannot_be_captured_is_refused(hosted, variant, more, code):
    with pytest.raises(ClientError) as error:
        configure(hosted, "refused", variant, **more)
    assert error.value.response["Error"]["Code"] == code


def test_capture_can_be_off(hosted):
    told = endpoint(hosted, "off", EnableCapture=False)
    hosted.invoke("off")
    endpoint(hosted, "on")  # whose record would be written later
    hosted.invoke("on")

    assert told["DataCaptureConfig"]["CaptureStatus"] == "Stopped"
    until(lambda: captured(hosted, "on"))
    assert captured(hosted, "off") == []


def test_a_bucket_that_is_not_there_hurts_nobody(hosted):
    endpoint(hosted, "nowhere", DestinationS3Uri="s3://nowhere/seen")
    assert hosted.invoke("nowhere")["Body"] == [[7.0, -1.0]]
    assert hosted.invoke("nowhere")["Body"] == [[7.0, -1.0]]
