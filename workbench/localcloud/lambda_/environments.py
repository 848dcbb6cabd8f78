"""Execution environments of Lambda: a function's program in a process of its own, with its limits.

An environment is an instance like those of a serverless endpoint, and a fleet starts, keeps and
ends it alike. Its INIT lasts until the program asks for its first event.
"""

import asyncio
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.deployment.lambda_ import Lambda
from workbench.localcloud.core.http_client import Answer
from workbench.localcloud.core.settings import limit_resources
from workbench.localcloud.lambda_.runtime import InitFailed, Runtime, describe_exit, encode_failure
from workbench.localcloud.sandbox.cgroups import create_group
from workbench.localcloud.sandbox.fleets import ServerlessFleet, finish_start
from workbench.localcloud.sandbox.instances import Instance
from workbench.localcloud.sandbox.pool import Rate
from workbench.localcloud.sandbox.sandbox import Sandbox
from workbench.localcloud.sandbox.worker import Worker, build_environment, launch

INIT_LIMIT = 10.0
"""Seconds of INIT (Lambda developer guide, "Lambda execution environment lifecycle"). AWS repeats
an INIT that takes longer, with the function's own time limit; here it goes on so long."""

_PROGRAM = "bootstrap.py"
_DEFAULT_VARIABLES = {  # what every function sees
    "TZ": ":UTC",
    "PYTHONDONTWRITEBYTECODE": "1",  # the code is another's to write on
}


@dataclass(frozen=True, kw_only=True)
class Program:
    """What the environments of a version of a function run.

    Attributes:
        function, version: Whose they are.
        code: The folder with its code.
        handler: What answers events, "module.function".
        execution: How AWS names the surroundings, AWS_EXECUTION_ENV.
        environment: The function's variables.
        memory_mb: Limits memory and processors.
        timeout: Seconds that an event may take.
    """

    function: str
    version: str
    code: Path
    handler: str
    execution: str
    memory_mb: int
    timeout: float
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """Its log group."""
        return f"/aws/lambda/{self.function}"


@dataclass(frozen=True)
class Environments:
    """Starts the environments of one version of a function.

    Attributes:
        program: What they run.
        account: The variables for the function's own calls: where the local cloud answers, its
            access key and region.
        folder: For logs, and for a function's HOME and TMPDIR, which go with it.
        next_number: Gives each a number.
    """

    program: Program
    account: Mapping[str, str]
    folder: Path
    next_number: Callable[[], int]

    async def __call__(self, on_lost: Callable[[Instance], None]) -> Instance:
        """Return a new environment, on demand."""
        return await self.start(on_lost, "on-demand")

    async def start(self, lost: Callable[[Instance], None], kind: str) -> Instance:
        """Return a new environment whose INIT is over; `kind` is AWS's initialization type.

        Raises:
            InitFailed: INIT failed; nothing of it is left.
            OSError: The machine has no process, memory or file descriptor left for it.
        """
        program, number = self.program, self.next_number()
        # in AWS's form
        stream = f"{datetime.now(UTC):%Y/%m/%d}/[{program.version}]{secrets.token_hex(16)}"
        log = self.folder / "logs" / program.function / f"{number}.log"
        scratch = self.folder / "scratch" / str(number)
        async with AsyncExitStack() as undo:
            for folder in (log.parent, scratch):
                folder.mkdir(parents=True, exist_ok=True)
            undo.callback(shutil.rmtree, scratch, ignore_errors=True)
            runtime = Runtime(stream, log)
            undo.push_async_callback(runtime.release)
            began = time.perf_counter()
            variables = self._environment(await runtime.listen(), stream, kind, scratch)
            limits = create_group(limit_resources(program.memory_mb))
            worker = launch([_PROGRAM], log, environment=variables, limits=limits, own=False)
            undo.push_async_callback(worker.stop, 0)
            runtime.watch(worker.pid)
            await _wait_for_init(runtime, worker, INIT_LIMIT + program.timeout)
            undo.pop_all()
        seconds = time.perf_counter() - began
        host, _, port = variables["AWS_LAMBDA_RUNTIME_API"].partition(":")
        address = (host, int(port))
        box = Sandbox(worker.pid, address, "fresh", seconds, worker.limited, log, scratch, worker)
        environment = Instance(number, box, runtime, seconds)
        environment.watch(lost)
        return environment

    async def close(self) -> None:
        """There is nothing to give back."""

    def _environment(self, address: str, stream: str, kind: str, scratch: Path) -> dict[str, str]:
        """Return the variables of a function ("Using Lambda environment variables")."""
        program = self.program
        return build_environment(
            {
                **_DEFAULT_VARIABLES,
                **self.account,
                **program.environment,
                "AWS_LAMBDA_RUNTIME_API": address,
                "_HANDLER": program.handler,
                "LAMBDA_TASK_ROOT": str(program.code),
                "AWS_EXECUTION_ENV": program.execution,
                "AWS_LAMBDA_FUNCTION_NAME": program.function,
                "AWS_LAMBDA_FUNCTION_VERSION": program.version,
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(program.memory_mb),
                "AWS_LAMBDA_LOG_GROUP_NAME": program.group,
                "AWS_LAMBDA_LOG_STREAM_NAME": stream,
                "AWS_LAMBDA_INITIALIZATION_TYPE": kind,
            },
            scratch,
        )


class FunctionFleet(ServerlessFleet):
    """The environments of one version of a function: serverless, by Lambda's rate of scaling."""

    def __init__(
        self, environments: Environments, *, max_concurrency: int, keep_alive: float
    ) -> None:
        rate = Rate(step=Lambda.scaling_step, period=Lambda.scaling_period)
        super().__init__(
            environments, max_concurrency=max_concurrency, keep_alive=keep_alive, rate=rate
        )
        self._environments = environments

    async def start(self) -> None:
        """Start none: the first event starts one."""

    @property
    def under_way(self) -> int:
        """How many events are."""
        return self._under_way

    async def _start_one(self) -> Instance:
        starting = self._environments.start(self._handle_lost, "provisioned-concurrency")
        return await finish_start(starting)


async def _wait_for_init(runtime: Runtime, worker: Worker, limit: float) -> None:
    """Return once INIT is over, unless the program ended, said that it cannot, or took too long."""
    loop = asyncio.get_running_loop()
    ready = loop.create_task(runtime.ready())
    ended: asyncio.Future[Any] = worker.ended
    done, _ = await asyncio.wait([ready, ended], timeout=limit, return_when=asyncio.FIRST_COMPLETED)
    if ready in done:
        ready.result()
        return
    ready.cancel()
    if worker.ended in done:
        kind, why = "Runtime.ExitError", f"Error: {describe_exit(worker.ended.result())}"
    else:
        kind, why = "Sandbox.Timedout", f"Error: Task timed out after {limit:.2f} seconds"
    raise InitFailed(Answer(200, {"error": kind}, encode_failure(kind, why)))
