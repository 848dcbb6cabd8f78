#!/bin/sh
# boto3 and botocore 1.44.5: of calls that all fail a client sends the first 17 three times, the next twice, and all others once.
#
# Guessed: a client without a setting has the legacy mode: it sends each call that is answered with 503 up to five times.
# Seen: the mode is standard. A failing call is sent three times, and each retry takes 14 from the 500 that a client has, which
# calls that succeed give back one at a time: after 35 retries a call is sent once. So how long a failing call takes, and how many fail,
# depends on what the same client has met before: where one attempt in ten fails, one call in a thousand fails of a new client, and one
# in ten of one that saw an outage, to which each retry costs fourteen calls that went well. botocore 1.40.0 sends each call five times.
# What it means here: measured calls are sent once, and say so: tests/backends/test_sagemaker.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/call.py" <<'PY'
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import botocore
from botocore.exceptions import ClientError

CALLS = 40
sent = 0


class Down(BaseHTTPRequestHandler):
    """An endpoint in an outage."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        global sent
        sent += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Down)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = boto3.client(
    "sagemaker-runtime",
    region_name="us-east-1",
    endpoint_url=f"http://127.0.0.1:{server.server_port}",
    aws_access_key_id="key",
    aws_secret_access_key="secret",
)
attempts = []
for _ in range(CALLS if sys.argv[1] == "new" else 2):
    before = sent
    try:
        client.invoke_endpoint(EndpointName="digits", Body=b"[[0]]", ContentType="application/json")
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    attempts.append(sent - before)
print(f"botocore {botocore.__version__}: times that each call was sent:", *attempts)
assert attempts == ([3] * 17 + [2] + [1] * (CALLS - 18) if sys.argv[1] == "new" else [5, 5])
PY
for version in 1.44.5 1.40.0; do
    python3 -m venv --clear "$folder/venv"
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check boto3==$version botocore==$version
    env -u AWS_RETRY_MODE -u AWS_MAX_ATTEMPTS AWS_CONFIG_FILE=/dev/null \
        "$folder/venv/bin/python" "$folder/call.py" $([ $version = 1.44.5 ] && echo new || echo old)
done
echo "still so: a client's retries run out"
