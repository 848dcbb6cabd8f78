"""Whether a model keeps SageMaker's contract with containers, found out before any deploy.

The model is packed and unpacked as a deployment would do it, and the very program that serves it in
an image on AWS is started beside it, in a process of its own::

    print(examine(registry["digits-mlp-small"]))

Sources: SageMaker developer guide, "Custom Inference Code with Hosting Services" and "... with
Batch Transform": 200 with an empty body from /ping within 2 s, SIGKILL 30 s after SIGTERM.
"""

import contextlib
import http.client
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from workbench.backends.lambda_ import event_bytes
from workbench.cloud.packaging import archive, unpack
from workbench.deployment import Async, BatchTransform, Deployment, Lambda, RealTime, Serverless
from workbench.errors import WorkbenchError
from workbench.formatting import html_table, milliseconds, text_table
from workbench.registry.model import Model
from workbench.validation import positive, whole_number

_MB = 1024**2
_PING = 2.0  # seconds in which /ping must be answered
_END = 30.0  # seconds between SIGTERM and SIGKILL
_CLOSE = 1e-4  # by which answers may differ: decimals are cut off in texts
_MEMORIES = tuple(range(1024, 6145, 1024))


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at: its name, whether it is well, and what was found."""

    name: str
    ok: bool
    told: str


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a request of the model fits an inference type: the most rows of one, and why not more."""

    kind: str
    rows: int
    told: str


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found: checks in the order they were made, and how requests fit each type."""

    model: str
    checks: tuple[Check, ...]
    fits: tuple[Fit, ...]

    _COLUMNS: ClassVar = ("", "check", "found")

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return all(check.ok for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "model": self.model,
            "ok": self.ok,
            "checks": [vars(check) for check in self.checks],
            "fits": [vars(fit) for fit in self.fits],
        }

    def _rows(self) -> list[list[str]]:
        checks = [["ok" if each.ok else "NOT OK", each.name, each.told] for each in self.checks]
        return checks + [["", f"as {each.kind}", each.told] for each in self.fits]

    def __str__(self) -> str:
        return text_table([list(self._COLUMNS), *self._rows()])

    def _repr_html_(self) -> str:
        rows = self._rows()
        return html_table(f"{self.model} as a container", self._COLUMNS, rows, limit=len(rows))


def examine(model: Model, *, threads: int = 1, rows: int = 16, patience: float = 60.0) -> Diagnosis:
    """Return how a model keeps the contract; what it does not is a check that is not ok.

    Args:
        model: A version of a registry.
        threads: Of each run.
        rows: Of the batches that are sent, taken from the model's held-out samples.
        patience: Seconds until /ping must be answered.

    Raises:
        InvalidInput: A setting is not what it must be.
        Damaged: The model's file is not what was registered.
        StorageError: There is no room to unpack the model.
    """
    whole_number("rows", rows, low=1)
    whole_number("threads", threads, low=1)
    positive("patience", patience, "seconds")
    checks: list[Check] = []
    fits: tuple[Fit, ...] = ()
    with tempfile.TemporaryDirectory(prefix="workbench-doctor-") as name:
        packed = archive(model, Path(name) / "model.tar.gz")
        folder = unpack(packed, Path(name) / "model")
        checks.append(
            Check(name="archive", ok=True, told=f"model.tar.gz has {packed.stat().st_size:,} bytes")
        )
        log = Path(name) / "log"
        try:
            with _serving(folder, log, threads=threads) as (server, port):
                fits = _look(checks, model, server, port, rows=rows, patience=patience)
                checks.append(_ended(server))
        except _Silent as silent:
            last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it wrote nothing"]
            checks.append(Check(name="start", ok=False, told=f"{silent}. {last[0]}"))
    return Diagnosis(model=model.name, checks=tuple(checks), fits=fits)


class _Silent(WorkbenchError):
    """The server does not answer."""


@contextlib.contextmanager
def _serving(
    folder: Path, log: Path, *, threads: int
) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Yield the server's process and port; it ends with the block, and with this process."""
    watched, lifeline = os.pipe()
    heard, announce = os.pipe()
    command = [
        *(sys.executable, "-P", "-m", "workbench.modelserver", "serve"),
        *("--host", "127.0.0.1", "--port", "0", "--model", str(folder)),
        *("--threads", str(threads), "--announce", str(announce), "--lifeline", str(watched)),
    ]
    with log.open("wb") as file, os.fdopen(heard) as announced:
        server = subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            pass_fds=[watched, announce],
        )
        os.close(announce)
        os.close(watched)
        try:
            ready, _, _ = select.select([announced], [], [], 600.0)
            line = announced.readline() if ready else ""
            if not line:
                raise _Silent(f"The server ended with {server.wait()} before it listened")
            yield server, int(line)
        finally:
            os.close(lifeline)
            server.kill()
            server.wait()


def _look(
    checks: list[Check],
    model: Model,
    server: "subprocess.Popen[bytes]",
    port: int,
    *,
    rows: int,
    patience: float,
) -> tuple[Fit, ...]:
    """Add what each request shows, and return how requests fit."""
    checks.append(_pinged(port, patience))
    status, body = _ask(port, "GET", "/execution-parameters")
    asked = status == 200 and "MaxPayloadInMB" in json.loads(body)
    checks.append(Check(name="/execution-parameters", ok=asked, told=body.decode()[:200]))
    batch = model.samples().inputs[:rows]
    right = model.session().run(batch)
    sizes = {}
    for kind, sent in _bodies(batch).items():
        check, answer = _invoked(port, kind, sent, right)
        checks.append(check)
        sizes[kind] = (len(sent) / len(batch), answer / len(batch))
    status, body = _invoke(port, b"{no", "application/json", "application/json")
    refused = 400 <= status < 500
    checks.append(Check(name="nonsense", ok=refused, told=f"{status}: {body.decode()[:120]}"))
    memory = _peak(server.pid)
    checks.append(Check(name="memory", ok=True, told=f"{memory / _MB:,.0f} MB at its most"))
    return _fits(max(sizes["application/x-npy"]), memory)


def _pinged(port: int, patience: float) -> Check:
    began = time.perf_counter()
    while True:
        asked = time.perf_counter()
        with contextlib.suppress(OSError):
            status, body = _ask(port, "GET", "/ping", timeout=_PING)
            took = time.perf_counter() - asked
            well = status == 200 and not body and took <= _PING
            told = f"{status} in {milliseconds(took)}, {len(body)} bytes; wanted is 200 within 2 s"
            return Check(name="/ping", ok=well, told=told)
        if time.perf_counter() - began > patience:
            raise _Silent(f"/ping was not answered within {patience:g} s")


def _bodies(batch: NDArray[Any]) -> Mapping[str, bytes]:
    """Return rows in every content type, as the server itself writes them."""
    from workbench.modelserver import formats

    return {kind: formats.write(kind, batch, formats.Asked(batch)) for kind in formats.TYPES}


def _invoked(port: int, kind: str, sent: bytes, right: NDArray[Any]) -> tuple[Check, int]:
    """Return whether rows of a content type are answered rightly, and the bytes of the answer."""
    from workbench.backends.sagemaker import NPY, unpacked

    began = time.perf_counter()
    status, body = _invoke(port, sent, kind, NPY)
    took = time.perf_counter() - began
    if status != 200:
        told = f"{len(right)} rows: {status} {body.decode(errors='replace')[:200]}"
        return Check(name=kind, ok=False, told=told), 0
    same = _agree(unpacked(body), right)
    again, _ = _invoke(port, sent, kind, kind)
    told = f"{len(right)} rows, {len(sent):,} bytes, in {milliseconds(took)}"
    told += "" if same else "; the answers are not those of the model alone"
    told += "" if again == 200 else f"; as an answer: {again}"
    return Check(name=kind, ok=same and again == 200, told=told), len(body)


def _agree(found: NDArray[Any], right: NDArray[Any]) -> bool:
    if found.shape != right.shape:
        return False
    if np.issubdtype(right.dtype, np.number):
        return bool(np.allclose(found, right, rtol=_CLOSE, atol=_CLOSE, equal_nan=True))
    return bool((found == right).all())


def _ended(server: "subprocess.Popen[bytes]") -> Check:
    began = time.perf_counter()
    server.terminate()
    try:
        status = server.wait(_END)
    except subprocess.TimeoutExpired:
        told = f"It went on {_END:g} s after SIGTERM, when AWS kills it"
        return Check(name="SIGTERM", ok=False, told=told)
    told = f"It ended with {status} in {milliseconds(time.perf_counter() - began)}"
    return Check(name="SIGTERM", ok=status == 0, told=told)


def _fits(row: float, memory: float) -> tuple[Fit, ...]:
    """Return how many rows of so many bytes fit a request of each type, and the memory needed."""

    def most(limit: int, size: Callable[[int], float] = float) -> int:
        count = int(limit / row)
        while count and size(int(count * row)) > limit:
            count = int(count * 0.99)
        return count

    large = [size for size in _MEMORIES if size * _MB > memory]
    held = f"; {large[0]} MB of memory hold it" if large else "; no memory size holds it"
    kinds: tuple[tuple[type[Deployment], int, str, Callable[[int], float]], ...] = (
        (RealTime, RealTime.payload_limit, "", float),
        (Serverless, Serverless.payload_limit, held, float),
        (Async, Async.payload_limit, f" ({Async.inline_limit:,} inline)", float),
        (BatchTransform, BatchTransform.payload_limit, "", float),
        (Lambda, Lambda.payload_limit, ", as base64", event_bytes),
    )
    found = []
    for kind, limit, more, size in kinds:
        rows = most(limit, size)
        if kind is Serverless and not large:
            rows = 0
        told = f"up to {rows:,} rows a request: {row:,.0f} bytes a row, {limit:,} allowed{more}"
        found.append(Fit(kind=kind.kind, rows=rows, told=told))
    return tuple(found)


def _peak(pid: int) -> float:
    """Return the most memory that a process had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _invoke(port: int, body: bytes, kind: str, accept: str) -> tuple[int, bytes]:
    headers = {"content-type": kind, "accept": accept}
    return _ask(port, "POST", "/invocations", body, headers)


def _ask(
    port: int,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    timeout: float = 60.0,
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
