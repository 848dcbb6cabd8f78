#!/bin/sh
# awslambdaric 4.2.2: a function that answers NaN succeeds, and its answer is no JSON; a named tuple is an object, not a list.
#
# Guessed: an answer that JSON cannot hold, such as NaN for a row that the model does not know, fails as Runtime.MarshalError, and a
# handler's answer is written as Python's json does: any tuple is a list.
# Seen: NaN and infinity are written as NaN and Infinity, under application/json and without an error, so that the invocation counts
# as a success and the caller in Java, JavaScript or Go fails on the whole answer. Named tuples are written by their fields, as
# simplejson does: code that takes a list in a test with `json.dumps` gets an object from Lambda. Bytes are passed on as they are.
# What it means here: NaN and infinity are null in each JSON answer, from Lambda, too: tests/modelserver/test_formats.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check awslambdaric==4.2.2 simplejson==4.3.0
cd "$folder"

cat > function.py <<'PY'
import collections
import math

Prediction = collections.namedtuple("Prediction", "label score")
ANSWERS = {
    "nan": [0.7, math.nan, math.inf],
    "tuple": ("digit", 0.7),
    "named": Prediction("digit", 0.7),
    "bytes": b"\x00\x01",
}


def handle(event, context):
    return ANSWERS[event]
PY
cat > invoke.py <<'PY'
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

events, answers, done = ["nan", "tuple", "named", "bytes"], [], threading.Event()


class Runtime(BaseHTTPRequestHandler):
    """Lambda's runtime interface, as far as one function needs it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if len(answers) == len(events):
            done.set()
            threading.Event().wait()
        self.send_response(200)
        body = json.dumps(events[len(answers)]).encode()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": str(len(answers)),
            "Lambda-Runtime-Deadline-Ms": "9999999999999",
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:digits",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        length = self.headers["Content-Length"]
        if length is not None:
            body = self.rfile.read(int(length))
        else:  # in chunks
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        answers.append((self.path.rsplit("/")[-1], self.headers["Content-Type"], body))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Runtime)
threading.Thread(target=server.serve_forever, daemon=True).start()
environment = {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}", "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13"}
function = subprocess.Popen(
    [sys.executable, "-m", "awslambdaric", "function.handle"], env=os.environ | environment, stdout=subprocess.DEVNULL
)
done.wait(300)
function.kill()
function.wait()
for event, answer in zip(events, answers):
    print(event, answer)
assert answers[0] == ("response", "application/json", b"[0.7, NaN, Infinity]")
assert answers[1][2] == b'["digit", 0.7]'
assert json.loads(answers[2][2]) == {"label": "digit", "score": 0.7}
assert answers[3] == ("response", "application/unknown", b"\x00\x01")
os._exit(0)  # the function's last request still waits
PY
"$folder/venv/bin/python" invoke.py
echo "still so: an answer of NaN succeeds and is no JSON"
