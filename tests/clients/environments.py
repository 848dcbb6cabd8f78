"""An environment for each version of each client, kept in .venv/clients and made once.

A folder holds one version; its file `.ready`, written last, names what was asked for, so that an
interrupted installation and one for other requirements are made again.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv" / "clients"
SCRIPTS = Path(__file__).parent / "scripts"
NEEDED = {"pip": sys.executable, "npm": "npm", "apt": "apt-get"}
PATIENCE = 1800.0  # seconds for an installer
_running = set()


class CannotInstall(Exception):
    """A client that cannot be had here; says why."""


def missing(client):
    """Say what this machine lacks for a client; empty when nothing."""
    if shutil.which(NEEDED[client.kind]) is None:
        return f"{NEEDED[client.kind]} is missing"
    if client.clone and not os.environ.get(client.clone):
        return f"{client.clone} names no clone of it"
    return ""


def environment(client, version):
    """Return the folder with a version of a client, made where it is not there yet.

    Raises:
        CannotInstall: Its installer failed, and said why.
    """
    folder = FOLDER / f"{client.name}-{version}"
    wanted = "\n".join(client.requirements(version))
    ready = folder / ".ready"
    if not ready.exists() or ready.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        INSTALLERS[client.kind](folder, client.requirements(version))
        ready.write_text(wanted)
    return folder


def command(client, folder):
    """What runs a client's script in its environment."""
    script = SCRIPTS / client.script
    if script.suffix == ".mjs":  # Node.js looks for packages beside the script
        for each in SCRIPTS.glob("*.mjs"):
            shutil.copy(each, folder)
        return ["node", str(folder / client.script)]
    own = folder / "bin" / "python"
    return [str(own) if own.exists() else sys.executable, str(script)]


def variables(folder):
    """What the environment's programs need to be found and to find their own."""
    folders = [folder / "bin", folder / "node_modules" / ".bin", folder / "usr" / "bin"]
    packages = folder / "usr" / "lib" / "python3" / "dist-packages"
    path = {"PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]])}
    return path | ({"PYTHONPATH": str(packages)} if packages.exists() else {})


def with_pip(folder, requirements):
    call([sys.executable, "-m", "venv", "--without-pip", folder])
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    call([*pip, "install", "--quiet", "--prefer-binary", *requirements])


def with_npm(folder, requirements):
    options = ["--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error"]
    call(["npm", "install", *options, *requirements])


def with_apt(folder, requirements):
    """Unpack packages, and those they need that the machine lacks; nothing is installed."""
    told = call(["apt-get", "install", "--simulate", "--no-install-recommends", *requirements])
    names = [line.split()[1] for line in told.splitlines() if line.startswith("Inst ")]
    wanted = [each.split("=")[0] for each in requirements]
    call(["apt-get", "download", *(set(names) - set(wanted)), *requirements], cwd=folder)
    for package in folder.glob("*.deb"):
        call(["dpkg", "--extract", package, folder])
        package.unlink()


INSTALLERS = {"pip": with_pip, "npm": with_npm, "apt": with_apt}


def call(arguments, cwd=None):
    """Run an installer and return what it prints.

    Raises:
        CannotInstall: It failed; the last line that it printed says why.
    """
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as wrong:
        process = subprocess.Popen(
            arguments, cwd=cwd, stdout=said, stderr=wrong, start_new_session=True
        )
        if not finished(process, PATIENCE):
            raise CannotInstall(f"no end of {arguments[0]} after {PATIENCE:g} s")
        told, complaint = (file.seek(0) or file.read().strip() for file in (said, wrong))
    if process.returncode:
        lines = (complaint or told or "no reason given").splitlines()
        raise CannotInstall(next((each for each in lines if "rror" in each), lines[-1]))
    return told


def finished(process, patience):
    """Wait for a process, then stop what it left behind; return whether it ended by itself."""
    _running.add(process)
    try:
        return process.wait(patience) is not None
    except subprocess.TimeoutExpired:
        return False
    finally:
        _stop(process)
        process.wait()
        _running.discard(process)


def stop_all():
    """Stop what runs, with all it began: a group of its own hears no Ctrl-C."""
    for process in list(_running):
        _stop(process)


def _stop(process):
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
