import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from tests.graphs import linear, one_node
from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.localcloud.core.settings import limit_resources
from workbench.localcloud.sandbox import worker
from workbench.localcloud.sandbox.cgroups import create_group
from workbench.localcloud.sandbox.fork_servers import ForkServers
from workbench.localcloud.sandbox.sandbox import SandboxFailed, start
from workbench.localcloud.sandbox.worker import build_environment, launch

ONE_NUMBER = [("x", TensorProto.FLOAT, ["n", 1])]

ALLOWED = create_group(limit_resources(1024))
if ALLOWED is not None:
    ALLOWED.remove()
limits_allowed = pytest.mark.skipif(ALLOWED is None, reason="needs control groups, as root has")


@pytest.fixture(autouse=True)
def _measured(monkeypatch):
    """Have the lines counted that processes run which are started here, as nowhere else."""
    kept = (*worker._INHERITED_VARIABLES, "COVERAGE_PROCESS_CONFIG")
    monkeypatch.setattr(worker, "_INHERITED_VARIABLES", kept)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.onnx").write_bytes(linear())
    return folder


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def ask(sandbox, rows):
    connection = http.client.HTTPConnection(*sandbox.address, timeout=60)
    try:
        headers = {"content-type": "application/json"}
        connection.request("POST", "/invocations", json.dumps(rows), headers)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def gone(pid, seconds=60):
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
        return sandbox, answer, await sandbox.stop(), await sandbox.wait_exit()

    before = descriptors()
    sandbox, answer, status, again = asyncio.run(live())

    assert answer == [[7.0, -1.0]]
    assert (status, again) == (0, 0)
    assert (sandbox.mode, sandbox.limited) == ("fresh", False)
    assert sandbox.seconds > 0
    assert "Serving at" in log.read_text()
    assert descriptors() == before


def test_a_folder_without_a_model_fails_with_the_reason(tmp_path, log):
    with refused(SandboxFailed, 1, tmp_path, "model.onnx"):
        asyncio.run(start(tmp_path, log=log))


def test_a_sandbox_that_never_answers_is_ended(folder, log):
    async def fail():
        with refused(SandboxFailed, "0 s"):
            await start(folder, log=log, timeout=0)

    asyncio.run(fail())


def test_a_killed_sandbox_is_told_of(folder, log):
    async def live():
        sandbox = await start(folder, log=log)
        os.kill(sandbox.pid, signal.SIGKILL)
        status = await sandbox.wait_exit()
        return status, await sandbox.stop()

    assert asyncio.run(live()) == (-signal.SIGKILL, -signal.SIGKILL)


def test_one_that_has_ended_before_anybody_listens_to_it_says_nothing(tmp_path, log):
    async def live():
        environment = build_environment({}, tmp_path)
        worker = launch(["__main__.py", "nonsense"], log, environment=environment)
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)  # the loop stands meanwhile
        with pytest.raises(EOFError):
            await worker.wait_for_port()
        return await worker.ended

    assert asyncio.run(live()) == 2


PARENT = """
import asyncio, sys
from workbench.localcloud.sandbox.worker import build_environment, launch
from workbench.localcloud.sandbox.sandbox import start

async def live():
    sandbox = await start(sys.argv[1], log=sys.argv[2])
    print(sandbox.pid, flush=True)
    await sandbox.wait_exit()

asyncio.run(live())
"""


def test_no_sandbox_outlives_its_parent_kill_9_included(folder, log):
    command = [sys.executable, "-c", PARENT, str(folder), str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()

    assert gone(pid)


def test_forked_sandboxes_answer_like_a_fresh_one(folder, log):
    async def live(mode, nursery):
        sandbox = await start(folder, log=log, mode=mode, fork_servers=nursery)
        answer = await asyncio.to_thread(ask, sandbox, [[1, 2, 3]])
        return sandbox.mode, answer, await sandbox.stop()

    async def live_all():
        nursery = ForkServers()
        got = [await live(mode, nursery) for mode in ("imported", "snapshot", "snapshot")]
        await nursery.close()
        return got

    before = descriptors()

    assert asyncio.run(live_all()) == [
        ("imported", [[7.0, -1.0]], 0),
        ("snapshot", [[7.0, -1.0]], 0),
        ("snapshot", [[7.0, -1.0]], 0),
    ]
    assert descriptors() == before


def test_what_is_forked_from_has_one_thread_and_no_polars(folder, log):
    async def look():
        nursery, found = ForkServers(), []
        for model in (None, folder):
            pid = (await nursery.prepare(model, log=log)).worker.pid
            maps = Path(f"/proc/{pid}/maps").read_text()
            found.append((len(list(Path(f"/proc/{pid}/task").iterdir())), "polars" in maps))
        await nursery.close()
        return found

    assert asyncio.run(look()) == [(1, False), (1, False)]


def test_a_forked_sandbox_is_told_of_and_outlives_what_it_was_forked_from(folder, log):
    async def live():
        nursery = ForkServers()
        first, second = [
            await start(folder, log=log, mode="snapshot", fork_servers=nursery) for _ in range(2)
        ]
        os.kill(first.pid, signal.SIGKILL)
        told = await first.wait_exit()
        await nursery.stop_fork_server(folder)
        answer = await asyncio.to_thread(ask, second, [[1, 2, 3]])
        await second.stop()
        again = await start(folder, log=log, mode="snapshot", fork_servers=nursery)
        ended = await again.stop()
        await nursery.close()
        return told, answer, ended

    assert asyncio.run(live()) == (-signal.SIGKILL, [[7.0, -1.0]], 0)


def test_a_snapshot_of_a_folder_without_a_model_fails_with_the_reason(tmp_path, log):
    async def fail():
        nursery = ForkServers()
        for _ in range(2):
            with refused(SandboxFailed, "model.onnx"):
                await start(tmp_path, log=log, mode="snapshot", fork_servers=nursery)
        await nursery.close()

    asyncio.run(fail())


def test_a_setting_that_is_wrong_is_said_by_what_was_forked_and_the_next_fork_serves(folder, log):
    async def live():
        nursery = ForkServers()
        try:
            wrong = {"WORKBENCH_MAX_BATCH": "none"}
            with refused(SandboxFailed, 1, "'none'"):
                await start(
                    folder, log=log, mode="imported", fork_servers=nursery, environment=wrong
                )
            sandbox = await start(folder, log=log, mode="imported", fork_servers=nursery)
            return await sandbox.stop()
        finally:
            await nursery.close()

    assert asyncio.run(live()) == 0


def test_what_is_forked_from_is_not_waited_for_where_it_is_stopped(folder, log):
    async def live():
        nursery = ForkServers()
        await nursery.prepare(None, log=log)
        pid = nursery._parents[None].result().worker.pid
        os.kill(pid, signal.SIGSTOP)
        with refused(SandboxFailed, "0.5 s"):
            await start(folder, log=log, mode="imported", fork_servers=nursery, timeout=0.5)
        sandbox = await start(folder, log=log, mode="imported", fork_servers=nursery)
        answer = await asyncio.to_thread(ask, sandbox, [[1, 2, 3]])
        await sandbox.stop()
        await nursery.close()
        return pid, answer

    before = descriptors()
    pid, answer = asyncio.run(live())

    assert (gone(pid), answer) == (True, [[7.0, -1.0]])
    assert descriptors() == before


def test_a_snapshot_needs_one_thread(folder, log):
    async def fail():
        threads = {"WORKBENCH_THREADS": "2"}
        with refused(InvalidInput, "WORKBENCH_THREADS"):
            await start(
                folder, log=log, mode="snapshot", fork_servers=ForkServers(), environment=threads
            )

    asyncio.run(fail())


@limits_allowed
def test_a_model_that_needs_more_memory_than_allowed_fails_and_says_so(tmp_path, log):
    big = numpy_helper.from_array(np.array([1, 64 * 1024 * 1024], np.int64), "shape")
    (tmp_path / "model.onnx").write_bytes(one_node("Expand", weights=[big], inputs=ONE_NUMBER))

    with refused(SandboxFailed, "memory"):
        asyncio.run(start(tmp_path, log=log, limits=limit_resources(128)))


@limits_allowed
@pytest.mark.parametrize("mode", ["fresh", "imported"])
def test_a_limited_sandbox_says_so_and_leaves_no_group(folder, log, mode):
    async def live():
        nursery = ForkServers()
        sandbox = await start(
            folder, log=log, limits=limit_resources(2048), mode=mode, fork_servers=nursery
        )
        mine = f"/workbench-{os.getpid()}-"
        while (groups := Path(f"/proc/{sandbox.pid}/cgroup").read_text()).count(mine) < 2:
            await asyncio.sleep(0)
        await sandbox.stop()
        await nursery.close()
        return sandbox.limited, {line.split(":")[2] for line in groups.splitlines() if mine in line}

    limited, groups = asyncio.run(live())

    assert limited
    assert len({name.rpartition("/")[2] for name in groups}) == 1
    assert not list(Path("/sys/fs/cgroup").glob(f"*/workbench-{os.getpid()}-*"))
