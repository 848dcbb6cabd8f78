#!/bin/sh
# pooch 1.9.0 with requests 2.34.2: a download that is refused leaves its answer, and its socket, open.
#
# Guessed: when a server answers 404, `pooch.retrieve` raises requests' HTTPError and the connection is closed, as nobody else has it.
# Seen: the answer is asked for as a stream, and is closed neither before nor after the error: the exception holds it. Each refused
# download keeps a descriptor until the garbage collector comes by, which with warnings as errors fails whatever runs then:
# "unclosed socket", far from the download. A program that tries many mirrors and keeps the errors keeps as many sockets.
# What it means here: `open_trace` closes the answer of a download that failed: tests/traffic/test_datasets.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pooch==1.9.0 requests==2.34.2
cd "$folder"

"$folder/venv/bin/python" - <<'PY'
import logging
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pooch
import requests

pooch.get_logger().setLevel(logging.ERROR)


class Nowhere(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(404)

    def log_message(self, *_):
        pass


def descriptors():
    return len(os.listdir("/proc/self/fd"))


server = ThreadingHTTPServer(("127.0.0.1", 0), Nowhere)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/trace.csv"
before, errors = descriptors(), []
for number in range(10):
    try:
        pooch.retrieve(url, None, fname=f"{number}.csv", path=".")
    except requests.HTTPError as error:
        errors.append(error)
for thread in threading.enumerate():
    if thread is not threading.main_thread() and "serve_forever" not in thread.name:
        thread.join(10)  # the server's ends
held = descriptors() - before
print(f"{len(errors)} refused downloads, {sum(not each.response.raw.closed for each in errors)} answers open")
for each in errors:
    each.response.close()
freed = held - (descriptors() - before)
print(f"descriptors that closing them gives back: {freed}")
assert len(errors) == 10
assert freed == 10
print("still so: refused downloads stay open")
PY
