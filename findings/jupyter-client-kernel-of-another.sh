#!/bin/sh
# jupyter_client 8.10.0: a kernel that another process starts is called dead after a second, whatever the time-out is.
#
# Guessed: `client.wait_for_ready(timeout=60)` waits up to a minute for the first answer, as long as the kernel's process lives.
# Seen: the client of a `KernelManager` that only wrote the connection file asks that manager whether the kernel lives. It has
# started none, so a kernel that needs three seconds "died before replying to kernel_info" after one. So it is, against a second
# guess, with `parent=None`: the heartbeat takes a second without an answer for death. With a longer `time_to_dead` it waits.
# What it means here: kernels of the app's visitors are copies that another process makes, on a busy machine in more than a
# second; who waits for one does so without a manager and with a patient heartbeat: tests/widgets/test_prepared_kernel.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check jupyter_client==8.10.0 ipykernel==7.4.0

cd "$folder"
cat > kernel.py <<'PY'
import sys
import time

from ipykernel.kernelapp import launch_new_instance

time.sleep(float(sys.argv[2]))
launch_new_instance(argv=["-f", sys.argv[1]])
PY
"$folder/venv/bin/python" - <<'PY' 2>log || { tail -n 5 log; exit 1; }
import subprocess
import sys
import time
from importlib.metadata import version

from jupyter_client.manager import KernelManager


def wait(name, delay, patience=None, **how):
    """Return what waiting for a kernel came to, whether its process lives, and the seconds."""
    manager = KernelManager(connection_file=name)
    manager.write_connection_file()
    process = subprocess.Popen([sys.executable, "kernel.py", name, str(delay)], stdout=subprocess.DEVNULL)
    client = manager.client(**how)
    if patience:
        client.hb_channel.time_to_dead = patience
    client.start_channels()
    began = time.monotonic()
    try:
        client.wait_for_ready(timeout=60)
        outcome = "answered"
    except RuntimeError as error:
        outcome = str(error)
    took, lives = time.monotonic() - began, process.poll() is None
    client.stop_channels()
    process.kill()
    process.wait()
    return outcome, lives, took


print("jupyter_client", version("jupyter_client"), "ipykernel", version("ipykernel"))
DEAD = "Kernel died before replying to kernel_info"
cases = {"a manager's client": {}, "a client without a manager": {"parent": None}}
for name, how in cases.items():
    outcome, lives, took = wait(f"{len(how)}.json", 3, **how)
    print(f"{name}: {outcome!r} after {took:.0f} s of 60, its process lives: {lives}")
    assert lives and outcome == DEAD and took < 3
outcome, lives, took = wait("2.json", 3, patience=60, parent=None)
print(f"without a manager, with a patient heartbeat: {outcome!r}, its process lives: {lives}")
assert lives and outcome == "answered" and took > 2
PY
echo "still so: a kernel that another process starts is called dead after a second"
