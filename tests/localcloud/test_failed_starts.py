"""A start that fails, for whatever reason, answers who waits for it and gives its slot back."""

import asyncio
import errno
import os
import resource
import subprocess
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.hosted import Hosted, alive, on_instances, serverless, until
from tests.lambdas import Lambdas
from tests.refused import refused
from workbench.localcloud.core.http_client import Answer, Exchange, Failure
from workbench.localcloud.lambda_.environments import Environments, FunctionFleet, Program
from workbench.localcloud.lambda_.runtime import Runtime
from workbench.localcloud.sandbox import fork_servers
from workbench.localcloud.sandbox.fleets import RealTimeFleet, ServerlessFleet
from workbench.localcloud.sandbox.fork_servers import ForkServers
from workbench.localcloud.sandbox.instances import Instance, LaunchFailed
from workbench.localcloud.sandbox.worker import build_environment, launch

NO_FILES = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
FAULTS = {"no descriptors": NO_FILES, "our own": KeyError("k"), "model": LaunchFailed("bad model")}
GOOD = Answer(200, {}, b"good")


class Upstream:
    """Answers at once."""

    closed = False
    in_flight = 0

    def send(self, exchange):
        exchange.finish(GOOD)

    def close(self):
        self.closed = True


class Fake(Instance):
    """An instance that is no process."""

    def __init__(self, number):
        self.number = number
        self.upstream = Upstream()

    async def stop(self):
        self.upstream.close()


class Launch:
    """Starts fakes, or raises what is next in `faults`; None is a start that works."""

    def __init__(self, *faults):
        self.faults = list(faults)
        self.started = []

    async def __call__(self, lost):
        self.lost = lost
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        self.started.append(Fake(len(self.started) + 1))
        return self.started[-1]

    async def close(self):
        pass


async def outcome(fleet):
    """What a request gets."""
    answered = asyncio.get_running_loop().create_future()
    exchange = Exchange(b"", b"", lambda _, outcome: answered.set_result(outcome))
    fleet.serve(exchange)
    return await asyncio.wait_for(answered, 60), exchange.reason


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_cold_start_that_fails_answers_its_request_and_gives_its_slot_back(fault):
    async def run():
        fleet = ServerlessFleet(Launch(fault, fault), max_concurrency=1, keep_alive=60.0)
        found = [await outcome(fleet) for _ in range(3)]
        await fleet.drain()
        load = fleet.load(0)
        await fleet.close()
        return found, load

    found, load = asyncio.run(run())
    assert [each for each, _ in found] == [Failure.UNAVAILABLE, Failure.UNAVAILABLE, GOOD]
    assert str(fault) in found[0][1]
    assert load.in_use == 0


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_replacement_that_fails_answers_what_waits_for_it(fault):
    async def run():
        launch = Launch(None, fault)
        fleet = RealTimeFleet(launch, count=1)
        await fleet.start()
        launch.lost(launch.started[0])
        waited = await outcome(fleet)
        launch.faults = [fault]
        refused = await outcome(fleet)
        await fleet.close()
        return waited, refused

    for each, reason in asyncio.run(run()):
        assert each is Failure.UNAVAILABLE
        assert str(fault) in reason


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("kind", ["on instances", "provisioned"])
def test_a_fleet_that_cannot_start_leaves_nothing(fault, kind):
    async def run():
        launch = Launch(None, fault, None)
        fleet = (
            RealTimeFleet(launch, count=3)
            if kind == "on instances"
            else ServerlessFleet(launch, max_concurrency=3, provisioned=3, keep_alive=60.0)
        )
        with refused(LaunchFailed, fault):
            await fleet.start()
        return launch, fleet.instances

    launch, instances = asyncio.run(run())
    assert instances == []
    assert all(each.upstream.closed for each in launch.started)


def test_a_replaced_provisioned_instance_may_fail_to_start():
    async def run():
        launch = Launch(None, NO_FILES)
        fleet = ServerlessFleet(launch, max_concurrency=1, provisioned=1, keep_alive=60.0)
        await fleet.start()
        launch.lost(launch.started[0])
        await asyncio.sleep(0)
        found = await outcome(fleet)  # by one on demand
        await fleet.close()
        return found

    assert asyncio.run(run())[0] is GOOD


# --- what a start that failed leaves


def descriptors():
    return sorted(each.name for each in Path("/proc/self/fd").iterdir())


def children():
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


class Limits:
    """Control groups that are only counted."""

    doors = ()
    removed = 0

    def add(self, pid):
        pass

    def remove(self):
        self.removed += 1
        return True


def out_of_files(*_, **__):
    raise NO_FILES


BROKEN = {
    "the first pipe": (os, "pipe", 0),
    "the second pipe": (os, "pipe", 1),
    "the process": (subprocess, "Popen", 0),
    "its handle": (os, "pidfd_open", 0),
}


@contextmanager
def broken(monkeypatch, where):
    """No descriptor is to be had at one place of a start."""
    module, name, later = BROKEN[where]
    real, calls = getattr(module, name), []

    def maybe(*given, **options):
        calls.append(given)
        return (real if len(calls) <= later else out_of_files)(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, maybe)
        yield


@pytest.mark.parametrize("where", BROKEN)
def test_a_process_that_cannot_be_started_leaves_nothing(tmp_path, monkeypatch, where):
    limits = Limits()

    async def run():
        environment = build_environment({}, tmp_path)
        before = descriptors(), children()
        with broken(monkeypatch, where), refused(OSError, "Too many open files"):
            launch(["http.server"], tmp_path / "log", environment=environment, limits=limits)
        return before, (descriptors(), children())

    before, after = asyncio.run(run())
    assert after == before
    assert limits.removed == 1


def test_a_process_to_fork_from_that_cannot_be_started_leaves_nothing(tmp_path, monkeypatch):
    async def run():
        monkeypatch.setattr(fork_servers, "launch", out_of_files)
        nursery, before = ForkServers(), descriptors()
        with refused(OSError, "Too many open files"):
            await nursery.prepare(None, log=tmp_path / "log")
        await nursery.close()
        return before, descriptors()

    before, after = asyncio.run(run())
    assert after == before


@pytest.mark.parametrize("where", BROKEN)
def test_a_function_that_cannot_be_started_leaves_nothing(tmp_path, monkeypatch, where):
    program = Program(
        function="f",
        version="1",
        code=tmp_path,
        handler="app.handler",
        execution="",
        memory_mb=128,
        timeout=3.0,
    )

    async def run():
        environments = Environments(program, {}, tmp_path, lambda: 1)
        fleet = FunctionFleet(environments, max_concurrency=1, keep_alive=60.0)
        before = descriptors(), children()
        with broken(monkeypatch, where):
            found = [await outcome(fleet) for _ in range(2)]
        await fleet.close()
        return before, (descriptors(), children()), found

    before, after, found = asyncio.run(run())
    assert after == before
    assert [each for each, _ in found] == 2 * [Failure.UNAVAILABLE]
    assert not (tmp_path / "scratch" / "1").exists()


def test_an_address_that_was_never_had_is_given_back(tmp_path):
    async def run():
        before = descriptors()
        await Runtime("stream", tmp_path / "log").release()
        return before, descriptors()

    before, after = asyncio.run(run())
    assert after == before


# --- no file descriptors left, truly


@contextmanager
def no_descriptors(cloud):
    """Inside the block the local cloud's process gets no new file descriptor."""
    before = resource.prlimit(cloud.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(cloud.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.prlimit(cloud.pid, resource.RLIMIT_NOFILE, before)


def status(call, *given, **options):
    """The status with which boto3's call is refused."""
    with pytest.raises(ClientError) as error:
        call(*given, **options)
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("mode", ["fresh", "imported"])
def test_a_cloud_without_descriptors_answers_and_recovers(mode):
    with closing(Hosted(cold_start=mode, keep_alive=0.0)) as hosted:
        hosted.make_models()
        name = hosted.endpoint(serverless(most=1))
        hosted.invoke(name)  # so that a connection is up
        until(lambda: not hosted.instances(name))
        with no_descriptors(hosted.cloud):
            assert [status(hosted.invoke, name) for _ in range(2)] == [503, 503]
        assert hosted.invoke(name)["Body"]


def test_an_endpoint_without_descriptors_fails_and_says_so():
    with closing(Hosted()) as hosted:
        hosted.make_models()
        config = hosted.config(on_instances())
        with no_descriptors(hosted.cloud):
            hosted.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName=config)
            told = hosted.settled("e")
        assert told["EndpointStatus"] == "Failed"
        assert "open files" in told["FailureReason"]


def test_a_function_without_descriptors_answers_and_recovers():
    with closing(Hosted()) as hosted, closing(Lambdas(hosted.cloud)) as lambdas:
        name = lambdas.make()
        lambdas.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
        with no_descriptors(hosted.cloud):
            assert [status(lambdas.invoke, name) // 100 for _ in range(2)] == [5, 5]
        answer = lambdas.invoke(name)["Payload"]
        assert alive(answer["pid"])


# --- whose folder it is


def test_neither_functions_nor_models_get_the_owners_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with closing(Hosted()) as hosted, closing(Lambdas(hosted.cloud)) as lambdas:
        variables = lambdas.invoke(lambdas.make())["Payload"]["variables"]
        assert Path(variables["HOME"]).is_relative_to(hosted.cloud.path)
        assert variables["HOME"] == variables["TMPDIR"]
        hosted.make_models()
        for each in hosted.instances(hosted.endpoint(on_instances())):
            told = Path(f"/proc/{each['pid']}/environ").read_bytes().split(b"\0")
            (home,) = [line.removeprefix(b"HOME=") for line in told if line.startswith(b"HOME=")]
            assert Path(os.fsdecode(home)).is_relative_to(hosted.cloud.path)
            assert not [line for line in told if os.fsencode(tmp_path) == line.partition(b"=")[2]]
