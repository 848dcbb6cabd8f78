"""Outside clients on one local cloud: `make clients`, or some of them: `make clients ONLY=s3fs`.

The clients are in table.py, and what each does is a script in scripts/. A table is printed, then
what went wrong; the status is 1 when a step failed, or an environment could not be made.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.clients.environments import FOLDER, CannotInstall, command, environment, variables
from tests.clients.table import CLIENTS
from tests.graphs import linear
from tests.hosted import archived
from workbench.localcloud import LocalCloud

AT_ONCE = 2


@dataclass
class Outcome:
    """What became of one version of a client: the steps by how they went, and the rest of it."""

    client: str
    version: str
    seconds: float = 0.0
    steps: dict[str, list[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def try_client(cloud, model, client, version):
    """Return the outcome of one version of a client."""
    outcome = Outcome(client.name, version)
    try:
        folder = environment(client, version)
    except CannotInstall as error:
        outcome.wrong.append(f"cannot be installed: {error}")
        return outcome
    name = re.sub("[^a-z0-9]+", "-", f"{client.name}-{version}".lower()).strip("-")
    with closing(cloud.client("s3")) as s3:
        s3.create_bucket(Bucket=f"{name}-bucket")
    home = Path(tempfile.mkdtemp(prefix="workbench-client-"))
    begun = time.monotonic()
    try:
        done = subprocess.run(
            command(client, folder),
            cwd=home,
            env=variables(folder) | settings(cloud, model, home, name),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=client.patience,
            check=False,
        )
        (folder / "log").write_text(f"{done.stdout}\n{done.stderr}")
        read(outcome, done.stdout)
        if not outcome.steps or (done.returncode and not outcome.wrong):
            outcome.wrong.append(f"ended with status {done.returncode}")
    except subprocess.TimeoutExpired as error:
        read(outcome, (error.stdout or b"").decode(errors="replace"))  # bytes, whatever was asked
        outcome.wrong.append(f"no end after {client.patience:g} s")
    finally:
        shutil.rmtree(home, ignore_errors=True)
        outcome.seconds = time.monotonic() - begun
    return outcome


def settings(cloud, model, home, name):
    """The variables that every script is run with."""
    return cloud.environment() | {
        "AWS_REGION": cloud.region,
        "CLIENT": name,
        "CLIENT_BUCKET": f"{name}-bucket",
        "HOME": str(home),
        "NO_PROXY": "127.0.0.1,localhost",
        "POWER_TUNING": os.environ.get("POWER_TUNING", ""),  # a clone, for power_tuning.mjs
        "PYTHONDONTWRITEBYTECODE": "1",
        "WORKBENCH_IMAGE": cloud.image,
        "WORKBENCH_MODEL": str(model),
        "WORKBENCH_ROLE": cloud.role,
    }


def read(outcome, printed):
    """Note what a script printed."""
    for line in printed.splitlines():
        kind, *rest = line.split("\t")
        if kind in {"passed", "refused", "failed", "absent"} and rest:
            outcome.steps.setdefault(kind, []).append(rest[0])
            outcome.wrong += [": ".join(rest)] if kind == "failed" else []


def show(outcomes):
    """Print a line for each, then what went wrong."""
    print(f"\n{'client':20} {'version':12} {'passed':>6} {'failed':>6} {'seconds':>7}  tried")
    for each in outcomes:
        kinds = ("passed", "refused", "absent")
        passed, refused, absent = (each.steps.get(kind, []) for kind in kinds)
        print(
            f"{each.client:20} {each.version:12} {len(passed):6} {len(each.wrong):6}"
            f" {each.seconds:7.1f}  {', '.join(passed)}"
            + (f"; refused by name: {', '.join(refused)}" if refused else "")
            + (f"; cannot be had: {', '.join(absent)}" if absent else "")
        )
    for each in outcomes:
        for line in each.wrong:
            print(f"FAILED {each.client} {each.version}: {line[:600]}")
    if any(each.wrong for each in outcomes):
        print(f"All that they printed is in {FOLDER}/<client>-<version>/log.")


def main(only):
    """Run every client, or those of these names; return whether one failed."""
    if missing := set(only) - {each.name for each in CLIENTS}:
        sys.exit(f"No client is called {', '.join(sorted(missing))}; table.py has them.")
    chosen = [each for each in CLIENTS if not only or each.name in only]
    with LocalCloud() as cloud, ThreadPoolExecutor(AT_ONCE) as pool:
        model = cloud.path / "model.tar.gz"
        model.write_bytes(archived(linear()))
        outcomes = [
            pool.submit(try_client, cloud, model, client, version)
            for client in chosen
            for version in client.versions
        ]
        for each in outcomes:
            done = each.result()
            print(f"{done.client} {done.version}: {'FAILED' if done.wrong else 'good'}", flush=True)
    show([each.result() for each in outcomes])
    return any(each.result().wrong for each in outcomes)


if __name__ == "__main__":
    os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    sys.exit(main(sys.argv[1:]))
