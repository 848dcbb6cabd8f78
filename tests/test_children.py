"""What a test run starts does not outlive it."""

import os
import select
import subprocess
import sys
from pathlib import Path

import psutil

LAB = """
import sys
from pathlib import Path
import psutil
from tests.browser import jupyter_below, serve_lab

root = Path(sys.argv[1])
root.mkdir()
with serve_lab(root, jupyter_below(root.parent)) as lab:
    lab.start_ahead()
    print(*(each.pid for each in psutil.Process().children(recursive=True)), flush=True)
    sys.stdin.read()
"""


def test_a_test_run_that_is_killed_leaves_no_server_and_no_kernel(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", LAB, str(tmp_path / "root")],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as run:
        children = [int(pid) for pid in run.stdout.readline().split()]
        names = " ".join(" ".join(psutil.Process(pid).cmdline()) for pid in children)
        watched = [os.pidfd_open(pid) for pid in children]
        run.kill()
        over = [bool(select.select([each], [], [], 60)[0]) for each in watched]

    assert "jupyterlab" in names
    assert "ipykernel" in names
    assert over == [True] * len(children)
    for each in watched:
        os.close(each)
