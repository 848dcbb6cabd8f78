"""Tasks for tests/test_process.py: functions of a module, as another process needs them."""

import os
import sys

from workbench.errors import InvalidInput


def count_to(number, emit, stopped):
    for value in range(1, number + 1):
        emit(value)
    return f"counted to {number}"


def process_id(_, emit, stopped):
    return os.getpid()


def wait_for_stop(_, emit, stopped):
    emit("waiting")
    return "stopped" if stopped.wait(60) else "never stopped"


def tell_id_and_wait(_, emit, stopped):
    emit(os.getpid())
    stopped.wait(60)


def refuse(reason, emit, stopped):
    raise InvalidInput(reason)


def divide(number, emit, stopped):
    return 1 / number


def die(words, emit, stopped):
    print(words, file=sys.stderr, flush=True)
    os._exit(3)
