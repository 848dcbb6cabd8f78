"""Instances: a sandbox with a model in it, and the way to it."""

import asyncio
import itertools
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from workbench.cloud.local import sandbox
from workbench.cloud.local.sandbox import Mode, Sandbox, SandboxFailed
from workbench.cloud.local.store import Store
from workbench.cloud.local.upstream import Upstream
from workbench.cloud.packing import unpack
from workbench.errors import CloudError, WorkbenchError

_GRACE = 2.0  # seconds to end in, as what ends has nothing left to answer


class LaunchFailed(CloudError):
    """An instance did not come up: its model is not there, cannot be unpacked or does not serve."""


class Objects(Protocol):
    """Where models lie: S3."""

    def open(self, bucket: str, key: str) -> Path:
        """Return the file of an object.

        Raises:
            AwsError: There is no such object.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What the instances of a variant run, and how.

    Attributes:
        endpoint, variant: Whose they are.
        bucket, key: Where the model's `model.tar.gz` lies.
        environment: Variables of the container.
        mode: How a sandbox starts.
        memory_mb: Limits memory and processors; None for no limits.
        startup_limit: Seconds until the instance must be up.
    """

    endpoint: str
    variant: str
    bucket: str
    key: str
    environment: Mapping[str, str] = field(default_factory=dict)
    mode: Mode = "fresh"
    memory_mb: int | None = None
    startup_limit: float = 480.0


class Instance:
    """An instance that is up. Its number is its own for as long as the local cloud runs."""

    def __init__(self, number: int, box: Sandbox, folder: Path, setup: float) -> None:
        self.number = number
        self.box = box
        self.setup = setup
        self.upstream: Upstream
        self._folder = folder
        self._watch: asyncio.Task[None] | None = None

    def attend(self, lost: "Callable[[Instance], None]") -> None:
        """Call `lost` once the instance proves dead or hung."""
        self.upstream = Upstream(self.box.address, lost=lambda: lost(self))
        self._watch = asyncio.get_running_loop().create_task(self._await_end())

    async def _await_end(self) -> None:
        await self.box.exited()
        self.upstream.broke()

    async def stop(self) -> None:
        """End it, at once if it is lost; being called twice does no harm."""
        grace = 0.0 if self.upstream.closed else _GRACE
        self.upstream.close()
        if self._watch is not None:
            self._watch.cancel()
        await self.box.stop(grace)
        shutil.rmtree(self._folder, ignore_errors=True)

    def state(self) -> dict[str, Any]:
        """Return what only the local cloud knows of it; times in seconds."""
        return {
            "instance": self.number,
            "pid": self.box.pid,
            "mode": self.box.mode,
            "setup": self.setup,
            "process": self.box.seconds,
            "memory": "limited" if self.box.limited else "not limited",
            "in_flight": self.upstream.in_flight,
            "log": str(self.box.log),
        }


Launch = Callable[[Callable[[Instance], None]], Awaitable[Instance]]
"""Starts an instance; the function it is given is called when the instance is lost.

It raises LaunchFailed, with nothing left behind.
"""


class Launcher:
    """Starts instances: fetches the model, unpacks it, starts a sandbox on it.

    Args:
        store: Lends its thread for unpacking.
        objects: Where models lie.
        folder: For unpacked models, which go with their instance, and for logs, which stay.
    """

    def __init__(self, store: Store, objects: Objects, folder: Path) -> None:
        self._store = store
        self._objects = objects
        self._models = folder / "instances"
        self._logs = folder / "logs"
        shutil.rmtree(self._models, ignore_errors=True)  # left by a cloud that was killed
        self._numbers = itertools.count(1)

    def launch(self, serving: Serving) -> Launch:
        """Return what starts instances of a variant."""

        async def start(lost: Callable[[Instance], None]) -> Instance:
            return await self._start(serving, lost)

        return start

    async def close(self) -> None:
        """End what helps to start instances."""

    async def _start(self, serving: Serving, lost: Callable[[Instance], None]) -> Instance:
        began = time.perf_counter()
        number = next(self._numbers)
        folder = self._models / str(number)
        log = self._logs / serving.endpoint / serving.variant / f"{number}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            archive = self._objects.open(serving.bucket, serving.key)
            await self._store.aside(unpack, archive, folder)
            box = await sandbox.start(
                folder,
                log=log,
                mode=serving.mode,
                memory_mb=serving.memory_mb,
                environment=serving.environment,
                timeout=serving.startup_limit,
            )
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, WorkbenchError):
                raise LaunchFailed(_said(serving, error)) from error
            raise
        instance = Instance(number, box, folder, time.perf_counter() - began)
        instance.attend(lost)
        return instance


def _said(serving: Serving, error: WorkbenchError) -> str:
    if isinstance(error, SandboxFailed):
        return (
            f"The primary container for production variant {serving.variant} did not pass the ping "
            f"health check. {error}"
        )
    where = f"s3://{serving.bucket}/{serving.key}"
    return f"The model at {where} of production variant {serving.variant} failed: {error}"
