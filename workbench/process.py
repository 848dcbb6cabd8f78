"""Work in a process of its own, so that nothing this process does disturbs its timing.

The child is a fresh interpreter (never a fork: a forked Polars hangs, and the parent's threads and
heap would come along), so a script needs no `if __name__ == "__main__"` guard. It ends with its
parent, however that ends: it watches the pipe between them. And it says now and then that it is
there, so that the parent does not wait for ever for one that is stopped or stuck.
"""

import contextlib
import ctypes
import gc
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO, Any

from workbench.errors import InvalidInput, WorkbenchError

Emit = Callable[[Any], None]
Task = Callable[[Any, Emit, threading.Event], Any]
"""What can run apart: a module's function of an argument, a way to send messages, a stop signal."""

_POLL_INTERVAL = 0.1  # seconds between two looks at whether it is to stop
_EXIT_TIMEOUT = 10.0  # seconds for the status of a process whose pipe is closed already
_SIGN_INTERVAL = 2.0  # seconds between a child's signs of life
_MAX_SILENCE = 30.0  # seconds without one, and without computing, after which it counts as stuck
_READY = {"R", "D"}  # it computes, or would if it had a processor or its disk
_PROGRAM = "import sys; from workbench.process import _serve; _serve(int(sys.argv[1]))"


def run_in_process(
    task: Task,
    argument: Any,  # noqa: ANN401 - whatever the task takes
    *,
    on_message: Emit,
    stopped: threading.Event | None = None,
    max_silence: float = _MAX_SILENCE,
) -> Any:  # noqa: ANN401 - whatever the task returns
    """Return `task(argument, emit, stopped)`, computed in a process of its own.

    What the task emits reaches `on_message` here, in order. Setting `stopped`, or pressing Ctrl-C,
    sets the task's own `stopped`; the task then decides what to return. A second Ctrl-C ends the
    process without waiting, and None is returned: what was emitted before has been handed over.
    Neither raises KeyboardInterrupt: `stopped` is set. A third one interrupts as usual.

    A process that does nothing for `max_silence` seconds, because a signal has stopped it or its
    threads wait for each other, is ended.

    Raises:
        InvalidInput: The task or its argument cannot be sent to another process.
        WorkbenchError: The task raised it, or its process died or was stuck.
    """
    stopped = stopped or threading.Event()
    parcel = _pack(task, argument)
    with (
        tempfile.TemporaryFile("w+") as log,
        _stop_on_interrupt(stopped) as ended,
        _start(log) as child,
        child.watch(max_silence),
    ):
        # the path first: the parcel's classes are imported as it is unpickled
        child.send(sys.path)
        child.send(parcel)
        notified = False
        while not ended.is_set():
            if stopped.is_set() and not notified:
                notified = True
                child.send("stop")
            kind, value = child.receive()
            if kind == "message":
                on_message(value)
            elif kind == "result":
                return value
            elif kind == "error":
                raise value
    return None


def release_memory() -> None:
    """Give back to the system what this process does not need: glibc keeps tens of MB at a time."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # not every system has glibc
        ctypes.CDLL(None).malloc_trim(0)


def _pack(task: Task, argument: Any) -> bytes:  # noqa: ANN401 - whatever the task takes
    try:
        return pickle.dumps((task, argument), protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InvalidInput(
            f"This cannot be sent to a process of its own ({error}): define it in a module, "
            "not in a notebook or inside a function."
        ) from error


@contextlib.contextmanager
def _stop_on_interrupt(stopped: threading.Event) -> Iterator[threading.Event]:
    """Let the first Ctrl-C set `stopped` and the second one the event that this returns."""
    # An exception raised by a signal could cut `on_message` short, half of a message stored.
    ended = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield ended  # signals reach the main thread only
        return
    usual = signal.getsignal(signal.SIGINT) or signal.default_int_handler
    events = [ended, stopped]

    def stop(*_: object) -> None:
        events.pop().set()
        if not events:
            signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, stop)
    try:
        yield ended
    finally:
        signal.signal(signal.SIGINT, usual)


@contextlib.contextmanager
def _start(log: IO[str]) -> Iterator["_Child"]:
    here, there = Pipe()
    with here, there:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, with a constant program
            [sys.executable, "-c", _PROGRAM, str(there.fileno())],
            pass_fds=[there.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a terminal's Ctrl-C is for the parent to pass on
        )
        there.close()
        try:
            yield _Child(here, process, log)
        finally:
            here.close()  # on which it ends by itself
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            process.kill()
            process.wait()


class _Child:
    """This side of the pipe to the process that does the work."""

    def __init__(self, link: Connection, process: "subprocess.Popen[bytes]", log: IO[str]) -> None:
        self._link = link
        self._process = process
        self._log = log
        self._signs = 0  # messages of its that came
        self._waiting = False
        self._stuck = ""  # why it was ended

    def send(self, value: object) -> None:
        with self._report_death():
            self._link.send(value)

    def receive(self) -> tuple[str, Any]:
        """Return what the child says next, or "nothing" when it has been silent for a moment."""
        with self._report_death():
            if not self._link.poll(_POLL_INTERVAL):
                return "nothing", None
            self._signs += 1
            kind, value = self._link.recv()
            return kind, value

    @contextlib.contextmanager
    def watch(self, max_silence: float) -> Iterator[None]:
        """Kill the process if it does nothing for so many seconds while it is waited for.

        From a thread of its own, since what is sent to a stopped process may not fit into the pipe.
        """
        over = threading.Event()
        watching = threading.Thread(target=self._watch, args=(over, max_silence), daemon=True)
        watching.start()
        try:
            yield
        finally:
            over.set()
            watching.join()

    def _watch(self, over: threading.Event, max_silence: float) -> None:
        last, since = (-1, -1), time.monotonic()
        while not over.wait(max_silence / 30):
            state, spent = _look(self._process.pid)
            now = time.monotonic()
            does = (self._signs, spent) != last or state in _READY
            if not self._waiting or does:
                last, since = (self._signs, spent), now
            elif now - since > max_silence:
                how = "was stopped by a signal (SIGSTOP)" if state == "T" else "was stuck"
                self._stuck = f"{how}: it did nothing for {max_silence:g} s, and was ended"
                self._process.kill()
                return

    @contextlib.contextmanager
    def _report_death(self) -> Iterator[None]:
        self._waiting = True
        try:
            yield
        except (EOFError, OSError) as error:
            raise WorkbenchError(self._death_message()) from error
        finally:
            self._waiting = False

    def _death_message(self) -> str:
        if self._stuck:
            return f"The process that did the work {self._stuck}. Run it again."
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_EXIT_TIMEOUT)
        self._log.seek(0)
        last = self._log.read().strip().splitlines()[-1:] or ["it left no message"]
        status = self._process.returncode
        return f"The process that did the work died (exit status {status}): {last[0]}"


def _look(pid: int) -> tuple[str, int]:
    """Return a process's state and the time it has computed, "" and 0 where the system has none."""
    try:  # man 5 proc, /proc/<pid>/stat; time is in ticks
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[11]) + int(fields[12])


def _serve(descriptor: int) -> None:
    """Serve one parent: the program of the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    link = Connection(descriptor)
    sending = threading.Lock()

    def send(kind: str, value: Any) -> None:  # noqa: ANN401 - whatever the task emits
        # the thread that watches sends as well
        with sending:
            link.send((kind, value))

    try:
        sys.path[:] = link.recv()
        task, argument = pickle.loads(link.recv())  # noqa: S301 - from our own parent only
        stopped = threading.Event()
        threading.Thread(target=_watch, args=(link, stopped, send), daemon=True).start()
        send("result", task(argument, lambda value: send("message", value), stopped))
    except (EOFError, BrokenPipeError):
        pass
    except WorkbenchError as error:
        send("error", error)
    except Exception as error:  # noqa: BLE001 - the parent gets it, whatever it is
        send("error", WorkbenchError(f"{type(error).__name__}: {error}"))
    os._exit(0)  # threads of a hung backend must not keep the process alive


def _watch(link: Connection, stopped: threading.Event, send: Callable[[str, Any], None]) -> None:
    """Set `stopped` when the parent says so; end at once when it is gone; show signs of life."""
    try:
        while True:
            if not link.poll(_SIGN_INTERVAL):
                send("nothing", None)
            elif link.recv():
                stopped.set()
    except (EOFError, OSError):
        os._exit(1)
