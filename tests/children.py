"""Processes that a test starts, and that end with it however it ends: interrupted, or killed."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import runpy, sys
from workbench.modelserver.parent_death import exit_with_parent

exit_with_parent(int(sys.argv[1]))
del sys.argv[0:2]
if "/" in sys.argv[0]:
    runpy.run_path(sys.argv[0], run_name="__main__")
else:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def run_notebook(notebook, **options):
    """Execute a notebook in a kernel of its own, however long a busy machine takes."""
    from nbclient import NotebookClient

    patience = dict.fromkeys(["timeout", "startup_timeout", "iopub_timeout"], 600)
    NotebookClient(notebook, kernel_name="python3", **patience, **options).execute()


def free_port():
    """A port of this machine for a process to come: none that others are given meanwhile."""
    given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(given // 2, given), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("100 ports are taken")


def interrupt(script):
    """Run a script, interrupt it once it has printed "going", and return its last line."""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "going\n"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.splitlines()[-1]


@contextlib.contextmanager
def start_python(program, *arguments, **options):
    """A module or a file run by this Python, as `subprocess.Popen` has it.

    It ends with this process: the pipe between them is then closed, whatever happens.
    """
    watched, held = os.pipe()
    command = [sys.executable, "-c", _PROGRAM, str(watched), str(program), *arguments]
    try:
        with subprocess.Popen(command, pass_fds=[watched], **options) as process:
            os.close(watched)
            yield process
    finally:
        os.close(held)
