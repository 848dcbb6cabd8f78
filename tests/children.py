"""Processes that a test starts, and that end with it however it ends: interrupted, or killed."""

import contextlib
import os
import subprocess
import sys

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
