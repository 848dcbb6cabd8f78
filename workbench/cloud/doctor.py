"""Whether a model keeps SageMaker's contract with containers, found out before any deploy.

The model is packed and unpacked as a deployment would do it, and the very program that serves it in
an image on AWS is started beside it, in a process of its own::

    print(examine(registry["digits-mlp-small"]))

Sources: SageMaker developer guide, "Custom Inference Code with Hosting Services" and "... with
Batch Transform": 200 with an empty body from /ping within 2 s, SIGKILL 30 s after SIGTERM.
"""

import contextlib
import csv
import http.client
import io
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.cloud.packaging import archive, unpack
from workbench.deployment import KINDS, Deployment
from workbench.errors import WorkbenchError
from workbench.extras import require_extra
from workbench.formatting import Table, duration
from workbench.registry.agreement import NOT_CHECKED
from workbench.registry.invariance_probe import has_trees, probe
from workbench.registry.model import Model
from workbench.registry.value_times import time_values
from workbench.settings import settings_of
from workbench.units import MB
from workbench.validation import of_kind, positive, whole_number

_START_TIMEOUT = 600.0  # seconds in which the server must listen
_PING_TIMEOUT = 2.0  # seconds in which /ping must be answered
_STOP_TIMEOUT = 30.0  # seconds between SIGTERM and SIGKILL
_MANY_ROWS, _MANY_BYTES = 1024, 2 * MB  # of the larger batch whose memory is seen, at most
_TOLERANCE = 1e-4  # by which answers may differ: decimals are cut off in texts


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: its name, whether it is well, and what was found."""

    name: str
    ok: bool
    finding: str


@dataclass(frozen=True, kw_only=True)
class PayloadFit:
    """How a request of the model fits an inference type: the most rows of one, and why not more."""

    kind: str
    rows: int
    finding: str


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found: checks in the order they were made, and how requests fit each type."""

    model: str
    checks: tuple[Check, ...]
    fits: tuple[PayloadFit, ...]

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return all(check.ok for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {"model": self.model, "ok": self.ok, **asdict(self)}

    def _table(self) -> Table:
        checks = [["ok" if each.ok else "NOT OK", each.name, each.finding] for each in self.checks]
        fits = [["", f"as {each.kind}", each.finding] for each in self.fits]
        return Table(["", "check", "found"], checks + fits, f"{self.model} as a container")

    def __str__(self) -> str:
        return str(self._table())

    def _repr_html_(self) -> str:
        return self._table().html(limit=None)


def examine(
    model: Model, *, threads: int = 1, rows: int = 16, ping_timeout: float = 60.0
) -> Diagnosis:
    """Return how a model keeps the contract; what it does not is a check that is not ok.

    Args:
        model: A version of a registry.
        threads: Of each run.
        rows: Of the batches that are sent, taken from the model's held-out samples.
        ping_timeout: Seconds until /ping must be answered.

    Raises:
        InvalidInput: A setting is not what it must be.
        Damaged: The model's file is not what was registered.
        StorageError: There is no room to unpack the model.
        NotAvailable: The extra `cloud`, which has the server, is not installed.
    """
    of_kind("model", model, Model, "a version of a registry such as Registry()['name']")
    whole_number("rows", rows, low=1)
    whole_number("threads", threads, low=1)
    require_extra("cloud", "A server to try")
    positive("ping_timeout", ping_timeout, "seconds")
    fits: tuple[PayloadFit, ...] = ()
    with tempfile.TemporaryDirectory(prefix="workbench-doctor-") as name:
        packed = archive(model, Path(name) / "model.tar.gz")
        folder = unpack(packed, Path(name) / "model")
        checks = [
            Check("archive", ok=True, finding=f"model.tar.gz has {packed.stat().st_size:,} bytes"),
            *(_check_batches(model), _check_outputs(model, rows), _check_origin(model)),
            _check_values(model),
        ]
        log = Path(name) / "log"
        try:
            with _run_server(folder, log, threads=threads) as (server, port):
                checks.append(_check_ping(port, ping_timeout))
                fits = _check_requests(checks, model, server.pid, port, rows=rows)
                checks.append(_check_shutdown(server))
        except _ServerNotResponding as error:
            last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it wrote nothing"]
            checks.append(Check("start", ok=False, finding=f"{error}. {last[0]}"))
    return Diagnosis(model=model.name, checks=tuple(checks), fits=fits)


class _ServerNotResponding(WorkbenchError):
    """The server does not answer."""


@contextlib.contextmanager
def _run_server(
    folder: Path, log: Path, *, threads: int
) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Yield the server's process and port; it ends with the block, and with this process."""
    watched, death_pipe = os.pipe()
    port_pipe, announce = os.pipe()
    options = f"--host 127.0.0.1 --port 0 --threads {threads} --announce {announce}".split()
    command = [
        *(sys.executable, "-P", "-m", "workbench.modelserver", "serve", *options),
        *("--model", str(folder), "--parent-death-pipe", str(watched)),
    ]
    with log.open("wb") as file, os.fdopen(port_pipe) as announced:
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
            ready, _, _ = select.select([announced], [], [], _START_TIMEOUT)
            line = announced.readline() if ready else ""
            if ready and not line:
                raise _ServerNotResponding(
                    f"The server ended with {server.wait()} before it listened"
                )
            if not line:
                raise _ServerNotResponding(f"The server did not listen in {_START_TIMEOUT:g} s")
            yield server, int(line)
        finally:
            os.close(death_pipe)
            server.kill()
            server.wait()


def _check_requests(
    checks: list[Check], model: Model, pid: int, port: int, *, rows: int
) -> tuple[PayloadFit, ...]:
    """Add what each request shows, and return how requests fit."""
    status, body = _request(port, "GET", "/execution-parameters")
    asked = status == 200 and "MaxPayloadInMB" in json.loads(body)
    checks.append(Check("/execution-parameters", ok=asked, finding=body.decode()[:200]))
    batch = model.samples().inputs[:rows]
    expected = model.session().run(batch)
    sizes = {}
    for kind, sent in _bodies(batch).items():
        check, answer = _check_invocation(port, kind, sent, expected)
        checks.append(check)
        sizes[kind] = (len(sent) / len(batch), answer / len(batch))
    status, body = _invoke(port, b"{no", "application/json", "application/json")
    refused = 400 <= status < 500
    checks.append(Check("nonsense", ok=refused, finding=f"{status}: {body.decode()[:120]}"))
    check, base, growth = _check_memory(pid, port, batch)
    checks.append(check)
    return _compute_fits(max(sizes["application/x-npy"]), base, growth)


def _check_memory(pid: int, port: int, batch: NDArray[Any]) -> tuple[Check, float, float]:
    """Return what memory was seen at two sizes, the bytes at the first, and those of a row more."""
    from workbench.modelserver.formats import NPY

    base = _peak_memory(pid)
    size = max(len(batch) + 1, min(_MANY_ROWS, int(_MANY_BYTES / (batch.nbytes / len(batch)))))
    many = np.resize(batch, (size, *batch.shape[1:]))
    status, body = _invoke(port, _bodies(many)[NPY], NPY, NPY)
    most = _peak_memory(pid)
    finding = f"{base / MB:,.0f} MB for {len(batch):,} rows, {most / MB:,.0f} MB for {size:,}"
    if status != 200:
        finding += f", which were answered {status}: {body.decode(errors='replace')[:100]}"
    growth = (most - base) / (size - len(batch))
    return Check("memory", ok=True, finding=finding), base, growth


def _check_outputs(model: Model, rows: int) -> Check:
    """Return whether each output is of the type and shape that the file declares."""
    wrong = model.session().list_undeclared(model.samples().inputs[:rows])
    return Check("outputs", ok=not wrong, finding=" ".join(wrong) or "as the file declares")


def _check_origin(model: Model) -> Check:
    """Return how the file answers beside its estimator, or that nothing can be known of it."""
    agreement = model.traits.agreement
    unknown = (
        f"{NOT_CHECKED}: the file came without it, and nothing more can be known from the file; "
        "register(..., estimator=) compares them"
    )
    return Check("estimator", ok=True, finding=str(agreement) if agreement else unknown)


def _check_batches(model: Model) -> Check:
    """Return whether rows together are answered as alone; answers at random are not compared."""
    found = probe(
        model.session,
        model.samples().inputs,
        labels=model.traits.kind == "classification",
        forest=has_trees(model.path.read_bytes()),
    )
    well = found.invariant or not found.deterministic
    return Check("rows together", ok=well, finding=str(found))


def _check_values(model: Model) -> Check:
    """Return how time depends on values: nothing to fail for, but good to know beforehand."""
    found = time_values(model.session(), model.samples().inputs)
    return Check("time by values", ok=True, finding=str(found))


def _check_ping(port: int, ping_timeout: float) -> Check:
    began = time.perf_counter()
    while True:
        asked = time.perf_counter()
        with contextlib.suppress(OSError):
            status, body = _request(port, "GET", "/ping", timeout=_PING_TIMEOUT)
            took = time.perf_counter() - asked
            well = status == 200 and not body and took <= _PING_TIMEOUT
            finding = f"{status} in {duration(took)}, {len(body)} bytes; 200 is due within 2 s"
            return Check("/ping", ok=well, finding=finding)
        if time.perf_counter() - began > ping_timeout:
            raise _ServerNotResponding(f"/ping was not answered within {ping_timeout:g} s")


def _bodies(batch: NDArray[Any]) -> Mapping[str, bytes]:
    """Return rows in every content type, as the server itself writes them."""
    from workbench.modelserver import formats

    if batch.dtype.names:
        return _record_bodies(batch)
    return {kind: formats.write(kind, batch, formats.InputBatch(batch)) for kind in formats.TYPES}


def _record_bodies(batch: NDArray[Any]) -> Mapping[str, bytes]:
    import orjson

    from workbench.backends.sagemaker import pack_npy
    from workbench.modelserver.formats import CSV, JSON, JSONLINES, NPY

    names = batch.dtype.names or ()
    columns = [batch[name].tolist() for name in names]
    records = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    lines = [orjson.dumps(each) for each in records]
    bodies = {NPY: pack_npy(batch), JSON: orjson.dumps(records), JSONLINES: b"\n".join(lines)}
    flat = [batch[name].reshape(len(batch), -1) for name in names]
    text = io.StringIO()
    rows = zip(*(column.tolist() for table in flat for column in table.T), strict=True)
    csv.writer(text).writerows(rows)
    return bodies | {CSV: text.getvalue().encode()}


def _check_invocation(
    port: int, kind: str, sent: bytes, expected: NDArray[Any]
) -> tuple[Check, int]:
    """Return whether rows of a content type are answered rightly, and the bytes of the answer."""
    from workbench.backends.sagemaker import NPY, unpack_npy

    began = time.perf_counter()
    status, body = _invoke(port, sent, kind, NPY)
    took = time.perf_counter() - began
    if status != 200:
        finding = f"{len(expected)} rows: {status} {body.decode(errors='replace')[:200]}"
        return Check(kind, ok=False, finding=finding), 0
    same = _is_close(unpack_npy(body), expected)
    again, _ = _invoke(port, sent, kind, kind)
    finding = f"{len(expected)} rows, {len(sent):,} bytes, in {duration(took)}"
    finding += "" if same else "; the answers are not those of the model alone"
    finding += "" if again == 200 else f"; as an answer: {again}"
    return Check(kind, ok=same and again == 200, finding=finding), len(body)


def _is_close(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    if found.shape != expected.shape:
        return False
    if np.issubdtype(expected.dtype, np.number):
        return bool(np.allclose(found, expected, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True))
    return bool((found == expected).all())


def _check_shutdown(server: "subprocess.Popen[bytes]") -> Check:
    began = time.perf_counter()
    server.terminate()
    try:
        status = server.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        finding = f"It went on {_STOP_TIMEOUT:g} s after SIGTERM, when AWS kills it"
        return Check("SIGTERM", ok=False, finding=finding)
    finding = f"It ended with {status} in {duration(time.perf_counter() - began)}"
    return Check("SIGTERM", ok=status == 0, finding=finding)


def _compute_fits(row: float, memory: float, growth: float) -> tuple[PayloadFit, ...]:
    """Return how many rows of so many bytes fit a request of each type, and the memory needed.

    That is `memory` and, for each row, `growth`; at least the bytes that come and go.
    """
    limits = ((kind, kind.payload_limit) for kind in KINDS.values())
    growth = max(growth, row)
    return tuple(_fit(kind, most, row, memory, growth) for kind, most in limits if most is not None)


def _fit(
    kind: type[Deployment], limit: int, row: float, memory: float, growth: float
) -> PayloadFit:
    rows, more = int(limit / row), kind.payload_note
    while rows and kind.payload(int(rows * row)) > limit:
        rows = int(rows * 0.99)  # an encoding may round up
    memory_setting = settings_of(kind).get("memory_mb")
    if memory_setting is not None and (sizes := memory_setting.choices):
        rows = max(0, min(rows, int((max(sizes) * MB - memory) / growth)))
        large = [size for size in sizes if size * MB >= memory + rows * growth]
        held = f"{large[0]} MB of memory hold it" if large else "no memory size holds it"
        rows, more = rows if large else 0, f"{more}; {held}"
    needed = f"; {(memory + rows * growth) / MB:,.0f} MB of memory needed then"
    finding = f"up to {rows:,} rows a request: {row:,.0f} bytes a row, {limit:,} allowed{more}"
    finding += needed if rows else ""
    return PayloadFit(kind=kind.kind, rows=rows, finding=finding)


def _peak_memory(pid: int) -> float:
    """Return the most memory that a process had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _invoke(port: int, body: bytes, kind: str, accept: str) -> tuple[int, bytes]:
    headers = {"content-type": kind, "accept": accept}
    return _request(port, "POST", "/invocations", body, headers)


def _request(
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
