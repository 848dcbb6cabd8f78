"""What other processes import by name, for test_process.py and experiment/test_sweeps.py."""

import os
import sys
import threading
import time
from pathlib import Path

from workbench.errors import InvalidInput
from workbench.experiment import Experiment


def count_to(number, emit, stopped):
    for value in range(1, number + 1):
        emit(value)
    return f"counted to {number}"


def process_id(_, emit, stopped):
    return os.getpid()


def wait_for_stop(_, emit, stopped):
    emit("waiting")
    return "stopped" if stopped.wait(60) else "never stopped"


def ignore_stop(_, emit, stopped):
    emit("waiting")
    stopped.wait(60)
    emit("stopping")
    threading.Event().wait(60)
    return "never stopped"


def tell_id_and_wait(_, emit, stopped):
    emit(os.getpid())
    stopped.wait(60)


def compute(seconds, emit, stopped):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return "computed"


def refuse(reason, emit, stopped):
    raise InvalidInput(reason)


def divide(number, emit, stopped):
    return 1 / number


def die(words, emit, stopped):
    print(words, file=sys.stderr, flush=True)
    os._exit(3)


class Deadly(Experiment):
    """Kills the process that simulates it: always, or once where its trace names a file."""

    def simulate(self, *arguments, **settings):
        if not self.trace.name:
            os._exit(3)
        file = Path(self.trace.name)
        if not file.exists():
            file.touch()
            os._exit(3)
        return super().simulate(*arguments, **settings)
