"""The image of the model server, as far as it can be had without a Docker engine.

What the Dockerfile copies is laid out in a folder, and run there without anything else of this
project, on the packages that it installs.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import linear
from workbench import modelserver
from workbench.backends.sagemaker import NPY, pack_npy, unpack_npy

ROOT = Path(__file__).parents[2]
DOCKERFILE = Path(modelserver.__file__).with_name("Dockerfile")
LINES = re.sub(r"\\\n", " ", DOCKERFILE.read_text()).splitlines()
INSTALLED = next(line for line in LINES if line.startswith("RUN pip")).split("constraints.txt")[1]


@pytest.fixture
def image(tmp_path):
    """The files of the image, and nothing else."""
    for line in LINES:
        if line.startswith("COPY workbench"):
            _, source, target = line.split()
            place = tmp_path / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)
    return tmp_path


def needed(names):
    """The names and those of all that they need, as packages are installed."""
    found, left = set(), list(names)
    while left:
        name = re.match(r"[\w.-]+", left.pop())[0].lower().replace("_", "-")
        if name not in found:
            found.add(name)
            requires = distribution(name).requires or []
            left += [each for each in requires if "extra ==" not in each and "win32" not in each]
    return found


def serve(image, *, trace):
    """The model server of an image, run as SageMaker runs it, and the URL that it serves at."""
    (model := image / "model").mkdir()
    (model / "model.onnx").write_bytes(linear())
    site = Path(np.__file__).parents[1]
    watched, _held = os.pipe()  # open until this process ends
    server = subprocess.Popen(
        # -S: without the project itself, which is installed as a link to its folder
        [sys.executable, "-S", "-X", "importtime", "-m", "workbench.modelserver", "serve",
         "--port", "0", "--host", "127.0.0.1", "--model", str(model),
         "--parent-death-pipe", str(watched)],
        pass_fds=[watched],
        cwd="/",
        env={"PYTHONPATH": f"{image}{os.pathsep}{site}", "PATH": os.environ["PATH"]},
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    for line in server.stderr:
        trace.append(line)
        if found := re.match(r"Serving at (\S+)", line):
            return server, found[1]
    raise AssertionError("".join(trace))


def test_the_image_serves_with_no_more_than_it_installs(image):
    trace = []
    server, url = serve(image, trace=trace)
    try:
        with urllib.request.urlopen(f"{url}/ping") as answer:
            assert (answer.status, answer.read()) == (200, b"")
        rows = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
        headers = {"content-type": NPY, "accept": NPY}
        request = urllib.request.Request(f"{url}/invocations", pack_npy(rows), headers)
        with urllib.request.urlopen(request) as answer:
            assert len(unpack_npy(answer.read())) == 2
        server.send_signal(signal.SIGTERM)
        _, rest = server.communicate(timeout=60)
    finally:
        server.kill()
        server.wait()

    assert server.returncode == 0
    lines = [*trace, *rest.splitlines()]
    modules = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    tops = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    allowed, homes = needed(INSTALLED.split()), packages_distributions()
    foreign = {
        top
        for top in tops & homes.keys()
        if not {name.lower().replace("_", "-") for name in homes[top]} & allowed
    }
    assert foreign - {"workbench"} == set()
    assert {"onnxruntime", "numpy", "httptools", "uvloop", "orjson"} <= tops


def test_what_the_image_installs_is_pinned():
    pins = (ROOT / "constraints.txt").read_text().lower()
    for name in INSTALLED.split():
        assert re.search(rf"^{name}==", pins, re.MULTILINE), name


def test_the_image_is_run_as_sagemaker_runs_it():
    assert 'ENTRYPOINT ["python", "-m", "workbench.modelserver"]' in LINES
    assert "EXPOSE 8080" in LINES
    python = next(line for line in LINES if line.startswith("FROM python:"))
    assert re.match(r"FROM python:3\.\d+-slim$", python)
