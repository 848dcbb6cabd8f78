"""A process that has imported what the app needs and is copied for each visitor, on Linux.

A kernel of its own costs a visitor two seconds of imports and their memory; a copy shares both with
all the others until it writes. Only a process with a single thread can be copied: locks that other
threads hold stay locked in the copy for ever. So the process rehearses a visit in a copy that ends,
and imports what that one did, less the libraries that start threads when they are imported, such as
Polars: each visitor imports those. The rehearsal also trains the ready-made models, measures
the profile while the machine is quiet, and keeps the decision, which visitors then see at once.
"""

import contextlib
import gc
import importlib
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from workbench.compilation import compile_at_once, find_compiled_types, load_compiled
from workbench.errors import NotAvailable, WorkbenchError
from workbench.modelserver.parent_death import exit_with_parent
from workbench.queueing.grid import screen
from workbench.registry.api import Registry
from workbench.traffic.map import poisson_process

_PROGRAM = "import sys; from workbench.widgets.prepared_kernel import _serve; _serve()"
_THREADED = ("polars", "_polars_runtime", "_polars_runtime_32", "onnxruntime")
_KERNEL = (
    *("ipykernel.kernelapp", "ipykernel.debugger", "IPython.core.debugger"),
    *("IPython.core.oinspect", "IPython.core.completerlib", "IPython.extensions.storemagic"),
    *("tornado.platform.asyncio", "tornado.queues"),
)
"""What a kernel imports as it begins, besides what a visit takes."""
_PATIENCE = 120.0  # seconds for each step of the rehearsal
_SETTINGS = {
    "OPENBLAS_NUM_THREADS": "1",  # its threads begin with NumPy's import
    "POLARS_MAX_THREADS": "1",  # a visitor among thirty gains nothing by more
    "MALLOC_ARENA_MAX": "1",  # what one thread has freed, another takes
    "_RJEM_MALLOC_CONF": "narenas:1,dirty_decay_ms:0,muzzy_decay_ms:0",
}


@dataclass(frozen=True)
class Visit:
    """What visitors see: the app of a registry, at a path or the usual one, with a preset."""

    registry: str | None
    preset: str | None

    def rehearse(self) -> None:
        """Do what a visitor does: see the decision, simulate, and move a slider."""
        from workbench.widgets.app_entry import app
        from workbench.widgets.app_view import App
        from workbench.widgets.whatif import WhatIf

        os.environ["WORKBENCH_FRONTEND"] = "widgets"
        compile_at_once()
        shown = app(Registry(self.registry) if self.registry else None, preset=self.preset)
        if isinstance(shown, App):
            shown.decide()
            shown.decision.wait(_PATIENCE)
            shown.panel.start("simulate")
            shown.panel.wait(_PATIENCE)
            WhatIf(shown.experiment).turn()


@dataclass(frozen=True)
class KernelOrder:
    """A kernel to be made: its arguments, such as `-f FILE`, and what surrounds it."""

    arguments: Sequence[str]
    folder: str
    environment: Mapping[str, str]


class ForkedProcess:
    """A copy, to its provisioner: the part of `subprocess.Popen` that Jupyter uses.

    It is no child of this process, so that its exit status is unknown: 0 stands for all.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._descriptor: int | None = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended already
            self._descriptor = None

    def poll(self) -> int | None:
        """Return None while it runs, else 0."""
        if self._descriptor is not None:
            if not select.select([self._descriptor], [], [], 0)[0]:
                return None
            os.close(self._descriptor)
            self._descriptor = None
        return 0

    def wait(self) -> int:
        """Return 0 when it has ended."""
        if self._descriptor is not None:
            select.select([self._descriptor], [], [])
        return self.poll() or 0

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self._descriptor is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


class PreparedKernel:
    """This side of the pipe to the process that is copied."""

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._asking = threading.Lock()  # each thread gets the copy that it has asked for

    def fork(self, order: KernelOrder) -> ForkedProcess:
        """Return a kernel, which is a copy.

        Raises:
            NotAvailable: The process that would be copied has ended.
        """
        try:
            with self._asking:
                self._link.send(order)
                return ForkedProcess(self._link.recv())
        except (EOFError, OSError) as error:
            raise NotAvailable("The process of which kernels are copies has ended.") from error


@contextlib.contextmanager
def prepare_kernel(visit: Visit) -> Iterator[PreparedKernel]:
    """Have a process that has rehearsed a visit, and end it and its copies afterwards.

    Raises:
        NotAvailable: This system cannot copy processes safely, or the rehearsal failed.
    """
    if not (sys.platform == "linux" and hasattr(os, "pidfd_open")):
        raise NotAvailable("Only Linux copies a process that has loaded libraries safely.")
    here, there = Pipe()
    process = subprocess.Popen(  # noqa: S603 - this interpreter, with a constant program
        [sys.executable, "-c", _PROGRAM, str(there.fileno())],
        env={**_without_credentials(os.environ), **_SETTINGS},
        pass_fds=[there.fileno()],
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # a terminal's Ctrl-C is for the server
    )
    there.close()
    with here, process:
        try:
            here.send(visit)
            if problem := here.recv():
                raise NotAvailable(f"No kernel could be prepared: {problem}")
            yield PreparedKernel(here)
        except EOFError as error:
            raise NotAvailable("No kernel could be prepared: its process has ended.") from error
        finally:
            process.terminate()


def _without_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("AWS_")}


def _serve() -> None:
    """Prepare, then make one copy after another: the program of the process."""
    link = Connection(int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the copies
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):
        link.send(_prepare(link.recv()))
        # no copy keeps `held`: when this process ends, it closes, and the copies end
        watched, held = os.pipe()
        while True:
            order = link.recv()
            if not (pid := os.fork()):
                with _end_copy():
                    link.close()
                    os.close(held)
                    # Whom the system tells is kept with an opening, of which each has its own.
                    exit_with_parent(os.open(f"/proc/self/fd/{watched}", os.O_RDONLY))
                    _become_kernel(order)
            link.send(pid)


@contextlib.contextmanager
def _end_copy() -> Iterator[None]:
    """End this copy with what is done here, and not as Python ends: that writes to all pages."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        gc.enable()
        yield
    except Exception:  # noqa: BLE001 - the last that this process does
        traceback.print_exc()
    finally:
        os._exit(0)


def _prepare(visit: Visit) -> str:
    """Import what a visit takes, and return why this process cannot be copied, or ""."""
    gc.disable()  # what it frees leaves holes in pages, which the copies would fill
    # No visitor debugs, and what ipykernel would import for it takes 10 MB of each.
    sys.modules["debugpy"] = None  # type: ignore[assignment]
    modules, types = _rehearse_in_copy(visit)
    _import([*modules, *_KERNEL])
    load_compiled(types)
    screen(poisson_process(1.0), max_sizes=1, max_waits=0.0, service=[[0.1]])  # loads its search
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        return f"its imports have started {threads - 1} threads"
    gc.freeze()  # collections in the copies would write to what they share
    return ""


def _rehearse_in_copy(visit: Visit) -> tuple[list[str], dict[str, list[object]]]:
    """Return the modules that a visit has imported, and what of the simulator it has compiled."""
    here, there = Pipe(duplex=False)
    if not os.fork():
        with _end_copy():
            before = set(sys.modules)
            with contextlib.suppress(WorkbenchError):
                visit.rehearse()
            there.send(
                ([each for each in sys.modules if each not in before], find_compiled_types())
            )
    there.close()
    with here:
        try:
            found: tuple[list[str], dict[str, list[object]]] = here.recv()
        except EOFError:
            return [], {}
    return found


def _import(modules: list[str]) -> None:
    """Import what can be imported without the libraries that start threads."""
    barred: dict[str, None] = dict.fromkeys(_THREADED)
    sys.modules.update(barred)  # type: ignore[arg-type]  # None bars an import
    try:
        for module in modules:
            if module.split(".")[0] not in barred:
                with contextlib.suppress(Exception):  # it takes one of them
                    importlib.import_module(module)
    finally:
        for name in barred:
            del sys.modules[name]


def _become_kernel(order: KernelOrder) -> None:
    """Turn this copy into a visitor's kernel, and return when that is shut down."""
    import ipywidgets
    from ipykernel.kernelapp import IPKernelApp

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    os.environ.clear()
    os.environ.update({**order.environment, **_SETTINGS})
    os.chdir(order.folder)
    kernel: Any = IPKernelApp.instance()
    parent = f"--IPKernelApp.parent_handle={os.getppid()}"  # less advice to who has no server
    no_history = "--HistoryManager.enabled=False"
    kernel.initialize([*order.arguments, parent, no_history])
    ipywidgets.register_comm_target()  # which their import does where there is a kernel
    kernel.start()
