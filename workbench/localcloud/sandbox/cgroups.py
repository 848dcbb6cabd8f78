"""What a sandbox may use of this machine: memory and a share of its processors.

Both by Linux control groups, version 1 or 2, where this machine lets us make some; else a sandbox
is not limited, and says so.
"""

import contextlib
import errno
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.units import MB

CPU_PERIOD_SECONDS = 0.002
"""Seconds of a period of the processor's quota.

At the kernel's default of 0.1 s, a call of a few milliseconds would end before it is ever slowed.
"""

_MIN_QUOTA_SECONDS = 0.001  # seconds: the kernel takes no shorter quota
_GROUP_PREFIX = "workbench"
_NUMBERS = itertools.count()


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """What a sandbox may use: megabytes of memory, and processors."""

    memory_mb: int
    cpus: float


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """Control groups of one sandbox: who is in them is limited."""

    folders: tuple[Path, ...]

    @property
    def procs_files(self) -> list[Path]:
        """The files that take the number of a process which is to be limited."""
        return [folder / "cgroup.procs" for folder in self.folders]

    def add(self, pid: int) -> None:
        """Limit a process from now on.

        Raises:
            OSError: It is gone.
        """
        for procs_file in self.procs_files:
            procs_file.write_text(str(pid))

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel ended a process of the group because of its memory."""
        for name in ("memory.oom_control", "memory.events"):  # version 1, version 2
            for folder in self.folders:
                with contextlib.suppress(OSError):
                    facts = dict(line.split() for line in (folder / name).read_text().splitlines())
                    return int(facts.get("oom_kill", 0)) > 0
        return False

    def remove(self) -> bool:
        """Remove the groups; False while a process is still in one."""
        for folder in self.folders:
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno == errno.EBUSY:
                    return False
                raise
        return True


def create_group(limits: ResourceLimits) -> ControlGroup | None:
    """Return new control groups with these limits, or None where none can be made."""
    for kind, parents in _find_parents().items():
        with contextlib.suppress(OSError):
            return _make(kind, parents, limits)
    return None


def quota(cpus: float) -> tuple[int, int]:
    """Return the microseconds a sandbox may compute, and of how many.

    >>> quota(1)
    (2000, 2000)
    >>> quota(0.25)
    (1000, 4000)
    """
    period = max(CPU_PERIOD_SECONDS, _MIN_QUOTA_SECONDS / cpus)
    return round(1e6 * cpus * period), round(1e6 * period)


def _make(kind: str, parents: list[Path], limits: ResourceLimits) -> ControlGroup:
    name = f"{_GROUP_PREFIX}-{os.getpid()}-{next(_NUMBERS)}"
    for parent in parents:
        _sweep(parent)
    made = ControlGroup(tuple(parent / name for parent in parents))
    try:
        for folder in made.folders:
            folder.mkdir()
        for setting, value in _settings(kind, limits).items():
            _set(made.folders, setting, value)
    except OSError:
        made.remove()
        raise
    return made


def _settings(kind: str, limits: ResourceLimits) -> dict[str, str]:
    (allowed, period), memory = quota(limits.cpus), str(limits.memory_mb * MB)
    if kind == "v2":
        return {"memory.max": memory, "cpu.max": f"{allowed} {period}"}
    periods = {"cpu.cfs_period_us": str(period), "cpu.cfs_quota_us": str(allowed)}
    return {"memory.limit_in_bytes": memory, **periods}


def _set(folders: tuple[Path, ...], setting: str, value: str) -> None:
    """Write a setting where the kernel offers it."""
    for folder in folders:
        if (folder / setting).exists():
            (folder / setting).write_text(value)
            return
    raise FileNotFoundError(errno.ENOENT, "no such setting", setting)


def _find_parents() -> dict[str, list[Path]]:
    """Return the folders that groups can be made in, by version of control groups."""
    mounted, own = list(_mounts()), dict(_memberships())
    first = [
        _resolve_mount(point, root, own[name])
        for name in ("memory", "cpu")
        for kind, point, root, offered in mounted
        if kind == "cgroup" and name in offered and name in own
    ]
    second = [
        _resolve_mount(point, root, own[""])
        for kind, point, root, _ in mounted
        if kind == "cgroup2" and "" in own
    ]
    parents = {"v1": first} if len(first) == 2 else {}
    if second and _delegates(second[0]):
        parents["v2"] = second[:1]
    return parents


def _delegates(folder: Path) -> bool:
    """Whether groups in this folder of version 2 can limit memory and processors."""
    wanted = {"cpu", "memory"}
    switch = folder / "cgroup.subtree_control"
    with contextlib.suppress(OSError):
        if not wanted <= set(switch.read_text().split()):
            switch.write_text("+cpu +memory")
        return wanted <= set(switch.read_text().split())
    return False


def _mounts() -> Iterator[tuple[str, Path, str, set[str]]]:
    """Type, place, root and controllers of each mounted hierarchy (man 5 proc, mountinfo)."""
    for line in _lines(Path("/proc/self/mountinfo")):
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            yield kind, Path(point), root, set(options.split(","))


def _memberships() -> Iterator[tuple[str, str]]:
    """Yield controller and own group of each hierarchy, "" for version 2 (man 7 cgroups)."""
    for line in _lines(Path("/proc/self/cgroup")):
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            yield name, path


def _lines(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_text().splitlines()
    return []


def _resolve_mount(point: Path, root: str, own: str) -> Path:
    """Return the own group's folder where the hierarchy below `root` is mounted at `point`."""
    return point / own.removeprefix(root.rstrip("/")).lstrip("/")


def _sweep(parent: Path) -> None:
    """Remove groups whose maker was killed before it could; those in use cannot be."""
    for folder in parent.glob(f"{_GROUP_PREFIX}-*-*"):
        if not Path(f"/proc/{folder.name.split('-')[1]}").exists():
            with contextlib.suppress(OSError):
                folder.rmdir()
