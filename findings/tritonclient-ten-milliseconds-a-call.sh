#!/bin/sh
# tritonclient 2.73.0: async_infer sleeps for 10 ms at each call, so that one client sends at most 100 requests a second.
#
# Guessed: `async_infer` of the client for http is what it is documented as, non-blocking: with concurrency=64 a hundred calls are on
# their way before the first is answered after half a second, so that it serves as a generator of open-loop load.
# Seen: each call waits for 10 ms, however soon the server answers: a hundred take more than a second. A load of 200 a second is sent
# as one of less than 100, without a word, and latencies that count from the call hide it. The client for asyncio
# (tritonclient.http.aio) has no such wait: its hundred requests are all there before one is answered.
# What it means here: our generator sends when requests are due, counts latencies from that instant, and says whether it kept up.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    "tritonclient[http]==2.73.0" gevent==26.9.0 geventhttpclient==2.6.1 numpy==2.4.6
cd "$folder"

cat > calls.py <<'PY'
import asyncio
import json
import sys
import time

import numpy as np
from tritonclient import http
from tritonclient.http import aio

COUNT = 100
ANSWER = json.dumps({"model_name": "digits", "outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [1]}]})
HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(ANSWER)}\r\n\r\n"


def make_input():
    rows = http.InferInput("x", [1, 3], "FP32")
    rows.set_data_from_numpy(np.zeros((1, 3), "f4"))
    return [rows]


async def serve(waits_for):
    """Serve; answer once `waits_for` requests are there. Return the server, its port and what arrived."""
    arrived, enough = [], asyncio.Event()

    async def answer(reader, writer):
        while not reader.at_eof():
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(size.split(b":")[1]))
            arrived.append(head)
            if len(arrived) >= waits_for:
                enough.set()
            await enough.wait()
            writer.write((HEAD + ANSWER).encode())

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1], arrived


async def ask_all():
    """Return whether all requests of the client for asyncio are under way before one is answered."""
    server, port, arrived = await serve(waits_for=COUNT)
    async with aio.InferenceServerClient(f"127.0.0.1:{port}", conn_limit=COUNT) as client:
        await asyncio.gather(*(client.infer("digits", make_input()) for _ in range(COUNT)))
    return len(arrived)


if sys.argv[1] == "server":

    async def main():
        server, port, _ = await serve(waits_for=1)
        print(port, flush=True)
        await asyncio.sleep(120)

    asyncio.run(main())
if sys.argv[1] == "async_infer":
    client = http.InferenceServerClient(f"127.0.0.1:{sys.argv[2]}", concurrency=64)
    began, rows = time.monotonic(), make_input()
    asked = [client.async_infer("digits", rows) for _ in range(COUNT)]
    took = time.monotonic() - began
    print(f"{COUNT} calls of async_infer: {'10 ms each, or more' if took >= COUNT * 0.01 else took}")
    for each in asked:
        each.get_result()
    assert took >= COUNT * 0.01
if sys.argv[1] == "aio":
    print(f"{asyncio.run(ask_all())} calls of the client for asyncio are there before one is answered")
PY
"$folder/venv/bin/python" -W ignore calls.py server > port &
server=$!
trap 'kill $server 2>/dev/null; rm -rf "$folder"' EXIT
until [ -s port ]; do sleep 0.2; done
"$folder/venv/bin/python" -W ignore calls.py async_infer "$(cat port)"
"$folder/venv/bin/python" -W ignore calls.py aio
echo "still so: one client of tritonclient sends at most 100 requests a second"
