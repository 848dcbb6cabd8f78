"""Fixtures that several test modules share."""

import hashlib
import os
import resource
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import settings

# Two cores are for two tests, not for the threads of one matrix product; read when NumPy loads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from workbench.registry import zoo
from workbench.registry.api import Registry
from workbench.registry.model import Model

pytest_plugins = ["tests.browser"]

settings.register_profile("patient", settings(), deadline=None)  # a busy machine is no failure
settings.load_profile("patient")


@pytest.fixture(scope="session", name="registry")
def _registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The ready-made models: trained once for each state of the code, a copy for each process."""
    names = "model_import", "model", "onnx", "api", "zoo"
    code = b"".join(Path(zoo.__file__).with_stem(name).read_bytes() for name in names)
    made_by = [version(name) for name in ("scikit-learn", "skl2onnx", "onnxruntime")]
    key = hashlib.sha256(code + repr(made_by).encode()).hexdigest()[:12]
    kept = Registry(request.config.cache.mkdir(f"models-{key}"))
    zoo.build(kept)
    copy = tmp_path_factory.mktemp("registry")
    shutil.copytree(kept.artifacts, copy / "artifacts", copy_function=os.symlink)
    with sqlite3.connect(kept.path / "registry.db") as database:
        database.execute("VACUUM INTO ?", (str(copy / "registry.db"),))
    database.close()
    return Registry(copy)


@pytest.fixture(scope="session")
def model(registry: Registry) -> Model:
    """A network of 32 hidden units that reads digits: microseconds a row."""
    return registry["digits-mlp-small"]


@pytest.fixture(scope="session")
def workbench_home(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What to set $WORKBENCH_HOME to where code makes its own `Registry()`."""
    home = tmp_path_factory.mktemp("home")
    (home / "registry").symlink_to(registry.path)
    return home


@pytest.fixture
def at_home(workbench_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$WORKBENCH_HOME, with the ready-made models: where ledger, profiles and runs are."""
    monkeypatch.setenv("WORKBENCH_HOME", str(workbench_home))
    return workbench_home


@pytest.fixture
def full_after() -> Callable[[int], AbstractContextManager[None]]:
    """While it is entered, no file grows past so many bytes: to what writes, as a full disk."""

    @contextmanager
    def full_after(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return full_after
