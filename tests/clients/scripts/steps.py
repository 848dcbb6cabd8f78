"""Steps of a client's script: functions that run in the order they were written.

Each prints a line when it begins and one when it ends, the fields parted by tabs: how it went
(begun, passed, refused, failed), its name, its seconds, and what went wrong. A script ends with
`run_steps()`, whose status is 1 when a step failed. What the local cloud does not offer has
`@step(refused=True)` and fails when anything else comes than its `NotImplemented`.
"""

import os
import sys
import time
import traceback

NAME = os.environ["CLIENT"]  # a name for buckets and endpoints that no other client has
BUCKET = os.environ["CLIENT_BUCKET"]  # one that is there
URL = os.environ["AWS_ENDPOINT_URL"]
KEY, SECRET = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
REGION = os.environ["AWS_DEFAULT_REGION"]
IMAGE, ROLE = os.environ["WORKBENCH_IMAGE"], os.environ["WORKBENCH_ROLE"]
MODEL = os.environ["WORKBENCH_MODEL"]  # the file of a model.tar.gz that takes rows of three numbers

_steps = []


def step(function=None, *, refused=False):
    """Have a function run as a step."""
    if function is None:
        return lambda function: step(function, refused=refused)
    _steps.append((function, refused))
    return function


def run_steps():
    """Run every step and exit."""
    failed = [function for function, refused in _steps if not _try(function, refused)]
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(bool(failed))  # Delta Lake's threads abort some exits: no answer of the cloud's


def _try(function, refused):
    name = function.__name__.replace("_", " ")
    _tell("begun", name)
    begun = time.monotonic()
    outcome, why = _outcome(function, refused)
    return _tell(outcome, name, f"{time.monotonic() - begun:.1f}", *why)


def _outcome(function, refused):
    try:
        function()
    except Exception as error:  # noqa: BLE001 - whatever a client may raise
        if refused and "NotImplemented" in f"{error!r} {error}":
            return "refused", ()
        traceback.print_exc()
        return "failed", (f"{type(error).__name__}: {error}",)
    return ("failed", ("was not refused",)) if refused else ("passed", ())


def _tell(outcome, *rest):
    fields = "\t".join([outcome, *(" ".join(each.split()) for each in rest)])
    print(f"\n{fields}", flush=True)  # SageMaker's SDK 2 leaves the line of its progress open
    return outcome != "failed"
