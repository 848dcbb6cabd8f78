"""Numbers too small for full speed are read as 0 where only a model runs, and nowhere else."""

import subprocess
import sys

import numpy as np

from workbench.backends.base import Batch
from workbench.backends.local import LocalBackend

_FLUSHED = """
import threading
from workbench.modelserver.tiny_numbers import flush_tiny_numbers
tiny, found = 5e-310, []
look = lambda: found.append(tiny * 0.5 > 0)
look()
flush_tiny_numbers()
look()
thread = threading.Thread(target=look)
thread.start()
thread.join()
print(found)
"""


def test_a_process_and_its_later_threads_read_them_as_0():
    printed = subprocess.run([sys.executable, "-c", _FLUSHED], check=True, capture_output=True)

    assert printed.stdout == b"[True, False, False]\n"


def test_opening_and_running_a_model_leaves_them_to_the_user(model):
    with LocalBackend(model) as backend:
        backend.invoke(Batch(model.samples().inputs[:1]))

    assert np.float64(5e-310) * 0.5 == 2.5e-310
