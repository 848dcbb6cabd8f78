"""Instances: a sandbox with a model in it, and the way to it."""

import asyncio
import itertools
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from workbench.cloud.packaging import unpack
from workbench.errors import CloudError, InvalidInput, WorkbenchError
from workbench.localcloud.core.http_client import Failure, InstanceClient, Outcome, WorkerClient
from workbench.localcloud.core.images import PROGRAMS, describe_program, find_program, serves_anyway
from workbench.localcloud.core.store import Store
from workbench.localcloud.sandbox import sandbox
from workbench.localcloud.sandbox.cgroups import ResourceLimits
from workbench.localcloud.sandbox.fork_servers import ForkServers
from workbench.localcloud.sandbox.sandbox import Mode, Sandbox

_GRACE = 2.0  # seconds to end in, as what ends has nothing left to answer


class LaunchFailed(CloudError):
    """An instance did not come up: its model is not there, cannot be unpacked or does not serve.

    `outcome` is that of a request which waited for it.
    """

    outcome: Outcome = Failure.UNAVAILABLE


class ModelStore(Protocol):
    """Where models lie: S3."""

    def open(self, bucket: str, key: str) -> Path:
        """Return the file of an object.

        Raises:
            AwsError: There is no such object.
        """


@dataclass(frozen=True, kw_only=True)
class LaunchSettings:
    """What the instances of a variant run, and how.

    Attributes:
        endpoint, variant: Whose they are.
        bucket, key: Where the model's `model.tar.gz` lies.
        environment: Variables of the container.
        mode: How a sandbox starts.
        limits: Of memory and processors; None for none.
        startup_limit: Seconds until the instance must be up.
    """

    endpoint: str
    variant: str
    bucket: str
    key: str
    environment: Mapping[str, str] = field(default_factory=dict)
    mode: Mode = "fresh"
    limits: ResourceLimits | None = None
    startup_limit: float = 480.0


class Instance:
    """An instance that is up, and the way to it.

    Its `number` is its own for as long as the local cloud runs; its `setup` took so many seconds.
    A `folder` goes with it.
    """

    def __init__(
        self,
        number: int,
        box: Sandbox,
        upstream: InstanceClient,
        setup: float,
        folder: Path | None = None,
    ) -> None:
        self.number = number
        self.box = box
        self.upstream = upstream
        self.setup = setup
        self._folder = folder
        self._watch: asyncio.Task[None] | None = None

    def watch(self, on_lost: "Callable[[Instance], None]") -> None:
        """Call `on_lost` once the instance proves dead or hung."""
        self.upstream.lost = lambda: on_lost(self)
        self._watch = asyncio.get_running_loop().create_task(self._await_end())

    async def _await_end(self) -> None:
        self.upstream.exit_status = await self.box.wait_exit()
        self.upstream.mark_broken()

    async def stop(self) -> None:
        """End it, at once if it is lost; being called twice does no harm."""
        grace = 0.0 if self.upstream.closed else _GRACE
        self.upstream.close()
        if self._watch is not None:
            self._watch.cancel()
        await self.box.stop(grace)
        await self.upstream.release()
        if self._folder is not None:
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


class Launch(Protocol):
    """Starts the instances of a variant."""

    async def __call__(self, on_lost: Callable[[Instance], None]) -> Instance:
        """Return a new instance; `on_lost` is called when it is lost.

        Raises:
            LaunchFailed: It did not come up; nothing of it is left.
        """
        ...

    async def close(self) -> None:
        """Give back what helped to start them."""
        ...


class Launcher:
    """Knows how to start instances: fetches the model, unpacks it, starts a sandbox on it.

    Args:
        store: Lends its thread for unpacking.
        objects: Where models lie.
        folder: For unpacked models, which go with their instance, and for logs, which stay.
    """

    def __init__(self, store: Store, objects: ModelStore, folder: Path) -> None:
        self._store = store
        self._objects = objects
        self._models = folder / "instances"
        self._logs = folder / "logs"
        shutil.rmtree(self._models, ignore_errors=True)  # left by a cloud that was killed
        self.numbers = itertools.count(1)
        self.fork_servers = ForkServers()

    async def close(self) -> None:
        """End the processes that instances are forked from."""
        await self.fork_servers.close()

    async def fetch(self, launch_settings: LaunchSettings, name: str) -> Path:
        """Return a new folder with the variant's model in it.

        Raises:
            LaunchFailed: The model is not there, or cannot be unpacked.
        """
        try:
            archive = self._objects.open(launch_settings.bucket, launch_settings.key)
            return await self._store.run_in_thread(
                _unpack_model, archive, self._models / name, launch_settings.environment
            )
        except (WorkbenchError, OSError) as error:
            shutil.rmtree(self._models / name, ignore_errors=True)
            where = f"s3://{launch_settings.bucket}/{launch_settings.key}"
            raise LaunchFailed(
                f"The model at {where} of production variant {launch_settings.variant} failed: "
                f"{error}"
            ) from error

    async def start(self, launch_settings: LaunchSettings, folder: Path, number: int) -> Sandbox:
        """Return a container on the model in a folder.

        Raises:
            LaunchFailed: It did not come up.
        """
        log = self._logs / launch_settings.endpoint / launch_settings.variant / f"{number}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            return await sandbox.start(
                folder,
                log=log,
                mode=launch_settings.mode,
                fork_servers=self.fork_servers,
                limits=launch_settings.limits,
                environment=launch_settings.environment,
                timeout=launch_settings.startup_limit,
            )
        except WorkbenchError as error:
            raise LaunchFailed(
                f"The primary container for production variant {launch_settings.variant} did "
                f"not pass the ping health check. {error}"
            ) from error


def _unpack_model(archive: Path, folder: Path, environment: Mapping[str, str]) -> Path:
    """Return a folder with an archive's files."""
    unpack(archive, folder)
    names = {name for name in PROGRAMS if (folder / name).exists()}
    if names and not serves_anyway(environment):  # exchanged since its model was made
        raise InvalidInput(describe_program(find_program(names, environment)))
    return folder


class VariantLauncher:
    """Starts a variant's instances: each on a copy of the model, or as forks that share one."""

    def __init__(self, launcher: Launcher, launch_settings: LaunchSettings) -> None:
        self._launcher = launcher
        self._launch_settings = launch_settings
        self._shared: asyncio.Task[Path] | None = None  # the folder that a snapshot was loaded from

    async def __call__(self, on_lost: Callable[[Instance], None]) -> Instance:
        """Return a new instance; `on_lost` is called when it is lost."""
        launcher, launch_settings = self._launcher, self._launch_settings
        shared = await self._load_shared() if launch_settings.mode == "snapshot" else None
        began, number = time.perf_counter(), next(launcher.numbers)
        folder = shared or await launcher.fetch(launch_settings, str(number))
        own = None if shared else folder
        try:
            box = await launcher.start(launch_settings, folder, number)
        except BaseException:
            if own is not None:
                shutil.rmtree(own, ignore_errors=True)
            raise
        setup = time.perf_counter() - began
        instance = Instance(number, box, WorkerClient(box.address), setup, own)
        instance.watch(on_lost)
        return instance

    async def close(self) -> None:
        """End the process that others are forked from, and remove its model."""
        if self._shared is not None and self._shared.done() and not self._shared.exception():
            await self._launcher.fork_servers.stop_fork_server(self._shared.result())
            shutil.rmtree(self._shared.result(), ignore_errors=True)

    async def _load_shared(self) -> Path:
        failed = self._shared is not None and self._shared.done() and self._shared.exception()
        if self._shared is None or failed:
            name = f"snapshot-{next(self._launcher.numbers)}"
            fetching = self._launcher.fetch(self._launch_settings, name)
            self._shared = asyncio.get_running_loop().create_task(fetching)
        return await asyncio.shield(self._shared)
