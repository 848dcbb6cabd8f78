"""Outside clients on one local cloud: `make clients`, or some of them: `make clients ONLY=s3fs`.

The clients are in table.py, and what each does is a script in scripts/. A line is printed when a
row ends, then a table of all, what went wrong, and how many rows passed; the status is 1 when a
row failed. A row that cannot be tried on this machine is skipped and says why.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.clients.environments import (
    FOLDER,
    SCRIPTS,
    CannotInstall,
    command,
    environment,
    finished,
    missing,
    stop_all,
    variables,
)
from tests.clients.table import CLIENTS
from tests.graphs import linear
from tests.hosted import archived
from workbench.localcloud import LocalCloud

AT_ONCE = 2
QUIET = {  # DVC, MLflow and SageMaker's SDK 3 report to their makers, of a local cloud too
    "CI": "true",
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "true",
    "SAGEMAKER_USER_CONFIG_OVERRIDE": str(SCRIPTS / "sagemaker.yaml"),
}


@dataclass
class Outcome:
    """What became of one version of a client: its steps by how they went, and the rest of it.

    `took` holds the seconds of each step that ended, `begun` the step that has not.
    """

    client: str
    version: str
    seconds: float = 0.0
    steps: dict[str, list[str]] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)
    begun: str = ""
    wrong: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def word(self):
        """How the row went, in one word."""
        return "FAILED" if self.wrong else "skipped" if self.skipped else "passed"

    def __str__(self):
        took = ", ".join(f"{step} {seconds:.1f}" for step, seconds in self.took.items())
        why = "; ".join(self.wrong) or self.skipped or took
        return f"{self.client} {self.version}: {self.word} in {self.seconds:.1f} s: {why[:600]}"


def try_client(cloud, model, client, version):
    """Return the outcome of one version of a client, whatever happens."""
    outcome = Outcome(client.name, version)
    begun = time.monotonic()
    try:
        outcome.skipped = missing(client)
        if not outcome.skipped:
            folder = environment(client, version)
            begun = time.monotonic()
            try_version(cloud, model, client, folder, outcome)
    except CannotInstall as error:
        outcome.wrong.append(f"cannot be installed: {error}")
    except Exception as error:  # noqa: BLE001 - a row's fault must not end the others
        outcome.wrong.append(f"was not tried: {type(error).__name__}: {error}")
    outcome.seconds = time.monotonic() - begun
    return outcome


def try_version(cloud, model, client, folder, outcome):
    """Run a client's script in its environment and note what it printed, which its log keeps."""
    name = re.sub("[^a-z0-9]+", "-", folder.name.lower()).strip("-")
    with closing(cloud.client("s3")) as s3:
        s3.create_bucket(Bucket=f"{name}-bucket")
    home = Path(tempfile.mkdtemp(prefix="workbench-client-"))
    log = folder / "log"
    try:
        with log.open("wb") as file:
            process = subprocess.Popen(
                command(client, folder),
                cwd=home,
                env=variables(folder) | settings(cloud, model, home, name),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            ended = finished(process, client.patience)
        read(outcome, log.read_text(errors="replace"), process.returncode)
        if not ended:
            outcome.wrong.append(f"was stopped after {client.patience:g} s")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def settings(cloud, model, home, name):
    """The variables that every script is run with."""
    return cloud.environment() | {
        **QUIET,
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


def read(outcome, printed, status):
    """Note what a script printed, and where it ended too soon."""
    for line in printed.splitlines():
        kind, *rest = line.split("\t")
        if kind == "begun" and rest:
            outcome.begun = rest[0]
        elif kind in {"passed", "refused", "failed"} and len(rest) > 1:
            name, seconds, *why = rest
            outcome.begun = ""
            outcome.took[name] = float(seconds)
            outcome.steps.setdefault(kind, []).append(name)
            outcome.wrong += [": ".join([name, *why])] if kind == "failed" else []
    if outcome.begun or not outcome.steps or (status and not outcome.wrong):
        step = repr(outcome.begun) if outcome.begun else "no step"
        last = " ".join(printed.split()[-40:])
        outcome.wrong.append(f"ended in {step} with status {status}; it printed last: {last}")


def show(outcomes):
    """Print a line for each, then what went wrong, and the count."""
    print(f"\n{'client':26} {'version':17} {'went':8} {'passed':>6} {'seconds':>7}  tried")
    for each in outcomes:
        passed, refused = (each.steps.get(kind, []) for kind in ("passed", "refused"))
        print(
            f"{each.client:26} {each.version:17} {each.word:8} {len(passed):6} {each.seconds:7.1f}"
            f"  {each.skipped or ', '.join(passed)}"
            + (f"; refused by name: {', '.join(refused)}" if refused else "")
        )
    for each in outcomes:
        for line in each.wrong:
            print(f"FAILED {each.client} {each.version}: {line[:600]}")
    counts = Counter(each.word for each in outcomes)
    print(f"{len(outcomes)} rows: " + ", ".join(f"{n} {word}" for word, n in counts.items()) + ".")
    if counts["FAILED"]:
        print(f"All that they printed is in {FOLDER}/<client>-<version>/log.")


def main(only):
    """Run every client, or those of these names; return whether one failed."""
    if unknown := set(only) - {each.name for each in CLIENTS}:
        sys.exit(f"No client is called {', '.join(sorted(unknown))}; table.py has them.")
    chosen = [each for each in CLIENTS if not only or each.name in only]
    with LocalCloud() as cloud, ThreadPoolExecutor(AT_ONCE) as pool:
        model = cloud.path / "model.tar.gz"
        model.write_bytes(archived(linear()))
        tried = [
            pool.submit(try_client, cloud, model, client, version)
            for client in chosen
            for version in client.versions
        ]
        try:
            for each in as_completed(tried):
                print(each.result(), flush=True)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            stop_all()
            raise
    outcomes = [each.result() for each in tried]
    show(outcomes)
    return any(each.wrong for each in outcomes)


if __name__ == "__main__":
    os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    sys.exit(main(sys.argv[1:]))
