import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.graphs import linear
from workbench.cloud.local.limits import group
from workbench.cloud.local.sandbox import SandboxFailed, start

ALLOWED = group(1024)
if ALLOWED is not None:
    ALLOWED.remove()
limits_allowed = pytest.mark.skipif(ALLOWED is None, reason="needs control groups, as root has")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.onnx").write_bytes(linear())
    return folder


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def ask(sandbox, rows):
    connection = http.client.HTTPConnection(*sandbox.address, timeout=30)
    try:
        headers = {"content-type": "application/json"}
        connection.request("POST", "/invocations", json.dumps(rows), headers)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def gone(pid, seconds=20):
    """Whether a process ends in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_a_sandbox_answers_and_ends_with_0_when_told(folder, log):
    async def live():
        sandbox = await start(folder, log=log)
        answer = await asyncio.to_thread(ask, sandbox, [[1, 2, 3]])
        return sandbox, answer, await sandbox.stop(), await sandbox.exited()

    before = descriptors()
    sandbox, answer, status, again = asyncio.run(live())

    assert answer == [[7.0, -1.0]]
    assert (status, again) == (0, 0)
    assert (sandbox.mode, sandbox.limited) == ("fresh", False)
    assert sandbox.seconds > 0
    assert "Serving at" in sandbox.tail()
    assert descriptors() == before


def test_a_folder_without_a_model_fails_with_the_reason(tmp_path, log):
    with pytest.raises(SandboxFailed, match=r"ended with 1.*must hold model\.onnx"):
        asyncio.run(start(tmp_path, log=log))


def test_a_sandbox_that_never_answers_is_ended(folder, log):
    async def fail():
        with pytest.raises(SandboxFailed, match=r"within 0 s.*wrote nothing"):
            await start(folder, log=log, timeout=0)

    asyncio.run(fail())


def test_a_killed_sandbox_is_told_of(folder, log):
    async def live():
        sandbox = await start(folder, log=log)
        os.kill(sandbox.pid, signal.SIGKILL)
        status = await sandbox.exited()
        return status, await sandbox.stop()

    assert asyncio.run(live()) == (-signal.SIGKILL, -signal.SIGKILL)


PARENT = """
import asyncio, sys
from workbench.cloud.local.sandbox import start

async def live():
    sandbox = await start(sys.argv[1], log=sys.argv[2])
    print(sandbox.pid, flush=True)
    await sandbox.exited()

asyncio.run(live())
"""


def test_no_sandbox_outlives_its_parent_kill_9_included(folder, log):
    command = [sys.executable, "-c", PARENT, str(folder), str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()

    assert gone(pid)


@limits_allowed
def test_a_model_that_needs_more_memory_than_allowed_fails_and_says_so(folder, log):
    with pytest.raises(SandboxFailed, match="more memory than it may have"):
        asyncio.run(start(folder, log=log, memory_mb=16))


@limits_allowed
def test_a_limited_sandbox_says_so_and_leaves_no_group(folder, log):
    async def live():
        sandbox = await start(folder, log=log, memory_mb=2048)
        groups = Path(f"/proc/{sandbox.pid}/cgroup").read_text()
        await sandbox.stop()
        return sandbox.limited, groups

    limited, groups = asyncio.run(live())

    assert limited
    assert groups.count(f"/workbench-{os.getpid()}-") == 2
