"""Thirty visitors of the app on one machine, each a page that draws nothing.

`workbench app` serves them; a visitor does what a browser does, less the drawing: gets the page,
takes the widgets' states over the kernel's websocket, waits for the decision's picture, presses
Simulate and moves a slider. Up: from all visitors' first requests to the last one's picture.
Memory is the share of pages (PSS, Linux) of the server and everything below it, of the last ten
visitors that came. Slider: from the question to its answer, of one visitor while five others move
theirs. VISITORS=6 for a shorter form; with BENCH_BEFORE=../before another checkout is measured too.
"""

import asyncio
import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
import psutil
from tornado.httpclient import AsyncHTTPClient
from tornado.httputil import url_concat
from tornado.websocket import websocket_connect

ROOT = Path(__file__).parents[2]
VISITORS = int(os.environ.get("VISITORS", "30"))
OTHERS, MOVES = 5, 25
KERNEL = re.compile(r'"kernelId": ?"([0-9a-f-]{36})"')
LIMITS = {"connect_timeout": 600, "request_timeout": 600}


class Visitor:
    """A page of the app: its widgets' states, and a way to use them."""

    def __init__(self, url):
        self.url, self.token = url.split("/?token=")
        self.models, self.answers = {}, {}
        self.changed = asyncio.Condition()
        self.session, self.numbers = uuid.uuid4().hex, itertools.count(1)

    async def open(self):
        """Get the page, then the states of its widgets, until the picture is there."""
        page = await AsyncHTTPClient().fetch(url_concat(self.url, {"token": self.token}), **LIMITS)
        kernel = KERNEL.search(page.body.decode())[1]
        address = f"{self.url.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels"
        asked = {"token": self.token, "session_id": self.session}
        limits = {"connect_timeout": 600, "max_message_size": 1 << 28}
        self.socket = await websocket_connect(url_concat(address, asked), **limits)
        self.reading = asyncio.create_task(self._read())
        control = {"comm_id": uuid.uuid4().hex, "data": {}}
        await self.send("comm_open", control | {"target_name": "jupyter.widget.control"})
        await self.send("comm_msg", control | {"data": {"method": "request_states"}})
        await self.wait(lambda: self.find("value", "wb-sentence"))

    async def send(self, kind, content):
        header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "session": self.session}
        header |= {"username": "visitor", "version": "5.3", "date": "2026-11-29T00:00:00Z"}
        version = {"version": "1.0.0"} if kind == "comm_open" else {}
        message = {"header": header, "parent_header": {}, "metadata": version, "buffers": []}
        await self.socket.write_message(
            json.dumps(message | {"channel": "shell", "content": content})
        )

    async def _read(self):
        while (raw := await self.socket.read_message()) is not None:
            message = json.loads(raw if isinstance(raw, str) else first_part(raw))
            content = message["content"]
            if message["header"]["msg_type"] in ("comm_msg", "comm_open"):
                self._take(content["comm_id"], content["data"])
                async with self.changed:
                    self.changed.notify_all()

    def _take(self, name, data):
        if data.get("method") == "custom" and "number" in data["content"]:
            self.answers[data["content"]["number"]] = data["content"]
        for each, state in data.get("states", {}).items():
            self.models.setdefault(each, {}).update(state["state"])
        self.models.setdefault(name, {}).update(data.get("state", {}))

    def find(self, trait, words):
        """The name of the widget of whose trait these words are a part."""
        return next((n for n, s in self.models.items() if words in str(s.get(trait, ""))), None)

    async def wait(self, done):
        async with self.changed:
            await self.changed.wait_for(done)

    async def press(self, words):
        data = {"method": "custom", "content": {"event": "click"}}
        await self.send("comm_msg", {"comm_id": self.find("description", words), "data": data})

    async def simulate(self):
        await self.press("Simulate")
        await self.wait(lambda: self.find("text", "Simulated:"))

    async def show_sliders(self):
        data = {"method": "update", "state": {"value": True}, "buffer_paths": []}
        await self.send("comm_msg", {"comm_id": self.find("description", "What if"), "data": data})
        await self.wait(lambda: self.find("dials", "max_size"))
        self.sliders = self.find("dials", "max_size")

    async def move(self, **values):
        """Seconds until a slider is answered."""
        number, began = next(self.numbers), time.perf_counter()
        asked = {"method": "custom", "content": {"number": number, "values": values}}
        await self.send("comm_msg", {"comm_id": self.sliders, "data": asked})
        await self.wait(lambda: number in self.answers)
        assert "error" not in self.answers[number], self.answers[number]
        return time.perf_counter() - began


def first_part(raw):
    """The JSON of a message that carries buffers: their number, then offsets, then parts."""
    starts = np.frombuffer(raw, ">u4", 3)
    return raw[starts[1] : starts[2]]


@contextlib.contextmanager
def serve(checkout):
    """The address of the app, and the process that serves it."""
    words = [Path(sys.executable).with_name("workbench"), "app", "--port", "0", "--json"]
    options = {"env": os.environ | {"PYTHONPATH": checkout}, "text": True}
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(words, stdout=subprocess.PIPE, cwd=folder, **options) as server,
    ):
        try:
            lines = itertools.takewhile(lambda line: line not in ("", "}\n"), server.stdout)
            yield json.loads("".join(lines) + "}")["url"], server.pid
        finally:
            server.terminate()


def megabytes(server):
    """What the server and all below it take of this machine's memory, once that is quiet."""
    time.sleep(5)
    root = psutil.Process(server)
    return sum(each.memory_full_info().pss / 1e6 for each in (root, *root.children(recursive=True)))


def cpu(server):
    root = psutil.Process(server)
    every = (root, *root.children(recursive=True))
    return sum(sum(each.cpu_times()[:2]) for each in every)


async def visit(url, server):
    """Print what visitors of a served app wait for and cost."""
    visitors = [Visitor(url) for _ in range(VISITORS)]
    before = cpu(server)
    began = time.perf_counter()
    await asyncio.gather(*(each.open() for each in visitors[:-10]))
    early = time.perf_counter() - began
    few = megabytes(server)
    began = time.perf_counter()
    await asyncio.gather(*(each.open() for each in visitors[-10:]))
    up = early + time.perf_counter() - began
    print(f"  all {VISITORS} pages with their picture (goal: 60 s): {up:.1f} s, ", end="")
    print(f"{(cpu(server) - before) / VISITORS:.2f} s of CPU each", flush=True)
    shown = megabytes(server)
    print(f"  a further visitor: {(shown - few) / 10:.0f} MB", flush=True)
    for visitor in visitors:
        await visitor.simulate()
    more = (megabytes(server) - shown) / VISITORS
    print(f"  ... and {more:.0f} MB more (goal: 120 together) after one simulation", flush=True)
    await move_sliders(visitors[: OTHERS + 1])
    for visitor in visitors:
        visitor.socket.close()


async def move_sliders(visitors):
    """Print how long one waits for a slider while the others move theirs."""
    for visitor in visitors:
        await visitor.show_sliders()

    async def move(visitor):
        return [await visitor.move(load=1 + n % 7 / 10, max_size=1 + n % 9) for n in range(MOVES)]

    waits = 1000 * np.concatenate(await asyncio.gather(*map(move, visitors)))
    p50, p95 = np.quantile(waits, [0.5, 0.95])
    print(
        f"  a slider while {OTHERS} others move (goal: p95 300 ms): p50 {p50:.0f}, p95 {p95:.0f} ms"
    )


def main():
    """Print what thirty visitors cost, of the build before beside them."""
    AsyncHTTPClient.configure(None, max_clients=VISITORS)
    for checkout in filter(None, (os.environ.get("BENCH_BEFORE"), str(ROOT))):
        with serve(checkout) as (url, server):
            print(f"  {checkout}")
            asyncio.run(visit(url, server))


if __name__ == "__main__":
    main()
