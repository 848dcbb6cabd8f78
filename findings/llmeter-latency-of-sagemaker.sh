#!/bin/sh
# LLMeter 0.2.0: the time to the last token of a SageMaker endpoint is the clock's reading, not a duration.
#
# Guessed: an endpoint that answers after 10 ms has a time_to_last_token near 0.01 s.
# Seen: it is time.perf_counter() at the end, some thousands of seconds on a machine that has been up for hours; the
# start is never taken off. The percentiles of a run are as wrong; SageMakerStreamEndpoint was not tried.
# What it means here: its counts of requests and errors can be used beside a local cloud, its latencies cannot.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check llmeter==0.2.0 boto3==1.44.8 \
    s3fs==0.4.2

AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none "$folder/venv/bin/python" - <<'PY'
import io
import time
from importlib.metadata import version

from llmeter.endpoints import SageMakerEndpoint


class Client:
    """A stand-in for the service: it answers after 10 ms."""

    def invoke_endpoint(self, **_):
        time.sleep(0.01)
        return {"Body": io.BytesIO(b'{"generated_text": "yes"}')}


endpoint = SageMakerEndpoint("any", model_id="any", region="us-east-1", token_count_jmespath=None)
endpoint._sagemaker_runtime = Client()
before = time.perf_counter()
answer = endpoint.invoke({"inputs": "well?"})
after = time.perf_counter()
print("llmeter", version("llmeter"), "answer:", answer.response_text)
print(f"took {after - before:.3f} s; time_to_last_token {answer.time_to_last_token:.3f} s; the clock read {after:.3f}")
assert before < answer.time_to_last_token <= after, "it is a duration now"
PY
echo "still so: time_to_last_token is a reading of the clock"
