"""Where figures were made: the machine, the versions and the state of the user's code."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("inference-workbench", "numpy", "onnxruntime", "polars", "scikit-learn")


def environment() -> dict[str, Any]:
    """Return JSON facts of this machine: processor, cores, system, versions, commit of the folder.

    >>> sorted(environment())
    ['commit', 'cores', 'cpu', 'python', 'system', 'versions']
    """
    return {**machine(), "commit": _commit(Path.cwd())}


def machine() -> dict[str, Any]:
    """Return JSON facts of this machine alone: `environment()` without the commit."""
    shared = hasattr(os, "sched_getaffinity")
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if shared else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def machine_key(facts: Mapping[str, Any]) -> str:
    """Return what tells machines apart: a hash of processor, cores and ONNX Runtime's version."""
    parts = [facts["cpu"], facts["cores"], facts["versions"]["onnxruntime"]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


@cache
def boot_date() -> str:
    """Return when this machine was started, as ISO 8601 in UTC; "" where the system does not say.

    >>> boot_date() <= datetime.now(UTC).isoformat(timespec="seconds")
    True
    """
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
        (seconds,) = (int(line.split()[1]) for line in lines if line.startswith("btime "))
    except (OSError, ValueError):
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


@cache
def recall_environment() -> dict[str, Any]:
    """Return `environment()` as it was when this process first asked: asking git takes a while."""
    return environment()


def circumstances(began: datetime) -> dict[str, Any]:
    """Return JSON facts of when work began, in UTC, the seconds since, and where it was done."""
    return {
        "created": began.isoformat(timespec="seconds"),
        "seconds": (datetime.now(UTC) - began).total_seconds(),
        "environment": recall_environment(),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit(folder: Path) -> str | None:
    """Return the git commit that `folder` is at, "+" behind it when files differ from it."""
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+" if changed else commit


def _git(folder: Path, *words: str) -> str:
    answer = subprocess.run(  # noqa: S603 - constant words
        ["git", "-C", str(folder), *words],  # noqa: S607 - the user's own git
        check=True,
        capture_output=True,
        text=True,
        timeout=5,
    )
    return answer.stdout.strip()
