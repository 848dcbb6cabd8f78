"""A cloud on this machine: an endpoint that boto3 takes for AWS."""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from workbench import errors
from workbench.cloud.aws import IMAGE, ROLE, Cloud
from workbench.deployment import KEEP_ALIVE
from workbench.errors import StorageError, Unreachable, WorkbenchError
from workbench.extras import require_extra
from workbench.localcloud.core.access_keys import AccessKey
from workbench.localcloud.core.settings import ColdStart, LocalCloudSettings

_ACCOUNT = "123456789012"  # moto's, too
_REGION = "us-east-1"
_STARTUP_TIMEOUT = 60.0  # seconds: a busy machine takes many times what an idle one does
_SHUTDOWN_TIMEOUT = 20.0  # seconds in which workers end and metrics are written; then it is killed


class LocalCloud(Cloud):
    """An AWS-compatible endpoint on this machine, in a process of its own, until it is closed.

    S3, SageMaker's Model Registry, its endpoints and what they need, asynchronous requests,
    metrics, alarms, the trail of calls and what containers log are kept in a folder and come back
    with it, and transform jobs that were in progress begin again; SNS, SQS, IAM, STS, Events and
    all else in Logs are kept in memory. Requests of every region find the same things. It listens
    on 127.0.0.1 alone, and answers what is signed with its access key (signature version 4): each
    start makes one at random. Whoever has that may do everything. Pages of the web get nothing.

    Another process that gets it as an argument can use it, not end it.

    Args:
        path: The folder, made where missing. Without one everything is gone at the end.
        port: By default one that is free.
        cold_start: How a serverless instance is started: "fresh" starts a process, "imported" forks
            one that has the runtime loaded, "snapshot" one that has the model loaded too. Functions
            of Lambda always start from nothing.
        keep_alive: Seconds that an idle serverless instance or function is kept.
        time_limit: Seconds that a model may take to answer: 60 on AWS.
        scaling_minute: Seconds that autoscaling takes for a minute: 60 on AWS. A shorter one shows
            in seconds what takes a quarter of an hour there; cool-downs shrink with it.

    Attributes:
        path: The folder; `front.log` in there says what went wrong.
        pid: The process that answers.
        settings: The four above.

    Raises:
        InvalidInput: A setting is not what it must be.
        NotAvailable: The port is taken, another local cloud has the folder, or a package is
            missing.
        StorageError: The folder cannot be written, or holds another program's database.
    """

    path: Path
    pid: int
    settings: LocalCloudSettings
    _end: Callable[[], object]

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        port: int = 0,
        cold_start: ColdStart = "fresh",
        keep_alive: float = KEEP_ALIVE,
        time_limit: float = 60.0,
        scaling_minute: float = 60.0,
    ) -> None:
        settings = LocalCloudSettings(
            cold_start=cold_start,
            keep_alive=keep_alive,
            time_limit=time_limit,
            scaling_minute=scaling_minute,
        )
        front = _start(path, port, settings)
        super().__init__(
            name="local cloud",
            region=_REGION,
            endpoint_url=front.url,
            paid=False,
            poll=0.05,
            minute=scaling_minute,
            role=f"arn:aws:iam::{_ACCOUNT}:role/workbench",
            image=f"{_ACCOUNT}.dkr.ecr.{_REGION}.amazonaws.com/workbench:latest",
            bucket="workbench",
            operator_role=f"arn:aws:iam::{_ACCOUNT}:role/operator",
            subnets=("subnet-0",),
            security_groups=("sg-0",),
            keys=(front.key.id, front.key.secret),
        )
        vars(self).update(  # past the guard of a frozen value
            path=front.path,
            pid=front.process.pid,
            settings=settings,
            _end=weakref.finalize(self, front.end),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[Cloud], Cloud], tuple[Cloud]]:
        return copy, (self.value(),)  # which cannot end it

    @property
    def url(self) -> str:
        """Where it answers."""
        return str(self.endpoint_url)

    def facts(self) -> dict[str, Any]:
        """Return what a run here keeps, with how cold starts are made and what limits instances."""
        state = self.state()
        variants = (each for endpoint in state["endpoints"] for each in endpoint["variants"])
        instances = [each["instances"] for each in variants]
        instances += [each["environments"] for each in state["functions"]]
        return {
            **super().facts(),
            "cold_start": self.settings.cold_start,
            "keep_alive": self.settings.keep_alive,
            "scaling_minute": self.settings.scaling_minute,
            "memory_and_cpu": sorted({each["memory"] for some in instances for each in some}),
        }

    def state(self) -> dict[str, Any]:
        """Return every endpoint, function and instance, as only a local cloud can tell.

        Raises:
            Unreachable: It has ended.
        """
        import urllib.request

        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        url = f"{self.url}/_workbench/state"
        signed = AWSRequest("GET", url)
        SigV4Auth(Credentials(*(self.keys or ())), "workbench", self.region).add_auth(signed)
        request = urllib.request.Request(url, headers=dict(signed.headers))  # noqa: S310 - our own
        # a proxy that the environment names would be asked for 127.0.0.1, too
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return dict(json.load(answer))
        except OSError as error:
            raise Unreachable(f"The local cloud at {self.url} has ended: {error}.") from error

    def environment(self) -> dict[str, str]:
        """Return the variables that send any program built on AWS's libraries here.

        Two more tell `workbench.aws` what it needs to deploy here: role and image; where there is a
        proxy, others keep calls from it.
        """
        from urllib.request import getproxies

        own = {ROLE: str(self.role), IMAGE: str(self.image)}
        if proxies := getproxies():
            hosts = ",".join(filter(None, [proxies.get("no"), "127.0.0.1", "localhost"]))
            own |= {"NO_PROXY": hosts, "no_proxy": hosts}  # which of them counts, programs differ
        return AccessKey(*(self.keys or ("", ""))).environment(self.url, self.region) | own

    def close(self) -> None:
        """End it, and everything that it runs; once is enough."""
        self._end()


@dataclass
class _ServerProcess:
    """The process that answers, seen from the one that started it."""

    process: "subprocess.Popen[bytes]"
    parent_death_pipe: int
    path: Path
    temporary: bool
    owner: int
    url: str = ""
    key: AccessKey = field(default_factory=lambda: AccessKey("", ""))

    def end(self) -> None:
        if os.getpid() != self.owner:  # a fork of the one that started it
            return
        os.close(self.parent_death_pipe)
        try:
            self.process.wait(_SHUTDOWN_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.temporary:  # it does that itself unless it was killed
            shutil.rmtree(self.path, ignore_errors=True)


def _start(path: str | Path | None, port: int, settings: LocalCloudSettings) -> _ServerProcess:
    require_extra("cloud", "A local cloud")
    folder = Path(path or tempfile.mkdtemp(prefix="workbench-cloud-")).absolute()
    try:
        folder.mkdir(0o700, parents=True, exist_ok=True)  # no other user reads what is in it
        return _launch(folder, port, settings, temporary=path is None)
    except (OSError, ValueError) as error:  # the latter of what is no path at all
        if isinstance(error, WorkbenchError):
            raise
        why = getattr(error, "strerror", None) or error
        raise StorageError(
            f"A local cloud cannot write {str(folder)!a}: {why}. Choose another folder."
        ) from error


def _launch(
    folder: Path, port: int, settings: LocalCloudSettings, *, temporary: bool
) -> _ServerProcess:
    # the server ends with our end of the pipe, even where we are killed
    watched, held = os.pipe()
    output, announce = os.pipe()
    log = folder / "front.log"
    # -P: nothing in the working directory takes the place of a module
    program = [sys.executable, "-P", "-m", "workbench.localcloud.server"]
    options = {
        "path": folder,
        "port": port,
        "parent-death-pipe": watched,
        "announce": announce,
        "settings": json.dumps(asdict(settings)),
    }
    try:
        with log.open("ab") as file:
            process = subprocess.Popen(  # noqa: S603 - this interpreter, with our program
                program
                + [f"--{name}={value}" for name, value in options.items()]
                + ["--temporary"] * temporary,
                pass_fds=(watched, announce),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,  # a terminal's Ctrl-C is not for it
            )
    except BaseException:
        os.close(held)
        os.close(output)
        raise
    finally:
        os.close(watched)
        os.close(announce)
    front = _ServerProcess(process, held, folder, temporary, os.getpid())
    try:
        front.url, front.key = _read_url(output, log, kept=not temporary)
    except BaseException:
        front.end()
        raise
    return front


def _read_url(descriptor: int, log: Path, *, kept: bool) -> tuple[str, AccessKey]:
    """Return the URL and the access key that a front announces; whether its log is `kept`.

    Raises:
        WorkbenchError: What it announces instead.
    """
    with open(descriptor, "rb") as file:
        ready, _, _ = select.select([file], [], [], _STARTUP_TIMEOUT)
        line = file.readline() if ready else b""
    with suppress(ValueError, KeyError):
        facts = json.loads(line)
        if "error" in facts:
            raise getattr(errors, facts["error"], WorkbenchError)(facts["message"])
        return str(facts["url"]), AccessKey(facts["key"], facts["secret"])
    last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["its log is empty"]
    if not kept:  # its folder goes; whoever reads the message needs it still
        log = Path(shutil.copy(log, f"{log.parent}.log"))
    raise WorkbenchError(f"The local cloud did not start: {last[0].rstrip('.')}; see {log}.")
