"""Run moto's own tests of what the local cloud offers against it: `make moto`.

The tests are those in the source distribution of the installed moto on the package index (PyPI,
Apache-2.0), fetched by pip into .venv/moto and not kept here; freezegun, which they import, too.
They run in moto's server mode with a local cloud as the server. The table names each kind of
failure; the exit status is 1 where one has no name, or fewer pass than `--least`.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from reasons import name_reason

FOLDERS = ("s3", "sagemaker", "awslambda", "cloudwatch", "applicationautoscaling")
HERE = Path(__file__).parent


def fetch(folder: Path) -> Path:
    """Return the folder with moto's tests, which are fetched where missing."""
    name = f"moto-{version('moto')}"
    if not (folder / name / "tests").is_dir():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        source = [f"moto=={version('moto')}", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*pip, "download", *source, "-d", str(folder)], check=True)
        packages = ["--target", str(folder / "packages"), "--no-deps", "freezegun"]
        subprocess.run([*pip, "install", *packages], check=True)
        with tarfile.open(folder / f"{name}.tar.gz") as archive:
            tests = [each for each in archive if each.name.startswith(f"{name}/tests/")]
            archive.extractall(folder, tests, filter="data")
    return folder / name


def run(folder: Path, outcomes: Path, only: list[str]) -> None:
    """Run the tests; what becomes of each is written to `outcomes`."""
    environment = os.environ | {
        "TEST_SERVER_MODE": "true",
        "MOTO_CALL_RESET_API": "false",
        "MOTO_SUITE_OUTCOMES": str(outcomes),
        "PYTHONPATH": f"{HERE}{os.pathsep}{folder.parent / 'packages'}",
    }
    options = [
        "-c",
        os.devnull,
        "--rootdir=.",
        "-p",
        "local_cloud_plugin",
        "-p",
        "no:xdist",
        "-q",
        "--tb=short",
        "-W",
        "ignore",
    ]
    paths = [f"tests/test_{each}" for each in only]
    command = [sys.executable, "-m", "pytest", *options, "--no-summary", *paths]
    subprocess.run(command, cwd=folder, env=environment, check=False)


def tell(outcomes: Path) -> tuple[int, list[str]]:
    """Print the table, and return how many passed and the failures without a name."""
    rows = [json.loads(line) for line in outcomes.read_text().splitlines()]
    services = Counter((each["id"].split("/")[1], each["outcome"]) for each in rows)
    for service in sorted({name for name, _ in services}):
        counts = [f"{services[service, each]} {each}" for each in ("passed", "failed", "skipped")]
        print(f"{service}: {', '.join(counts)}")
    failed = [each for each in rows if each["outcome"] == "failed"]
    named = [(name_reason(each), each["id"]) for each in failed]
    for reason, count in Counter(reason for reason, _ in named).most_common():
        print(f"{count:5}  {reason or 'WITHOUT A NAME'}")
    return sum(each["outcome"] == "passed" for each in rows), [at for why, at in named if not why]


def main() -> int:
    """Fetch, run, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", default=FOLDERS, help="of s3, sagemaker, ...")
    parser.add_argument("--least", type=int, default=250, help="how many must pass")
    parser.add_argument("--table", type=Path, help="only print the table of a former run")
    given = parser.parse_args()
    folder = Path(sys.prefix) / "moto"
    folder.mkdir(exist_ok=True)
    outcomes = given.table or folder / "outcomes.jsonl"
    if given.table is None:
        run(fetch(folder), outcomes, list(given.only))
    passed, nameless = tell(outcomes)
    print(f"{passed} passed; {given.least} must. Outcomes: {outcomes}")
    print("\n".join(nameless))
    enough = passed >= given.least or tuple(given.only) != FOLDERS
    return 0 if enough and not nameless else 1


if __name__ == "__main__":
    sys.exit(main())
