"""Fixtures that several test modules share."""

import gc
import hashlib
import os
import re
import resource
import shutil
import signal
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import settings

# Cores are for tests, not for the threads of one matrix product; read when NumPy loads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from workbench.plots.grammar import defer_grammar
from workbench.registry import zoo
from workbench.registry.api import Registry
from workbench.registry.model import Model

defer_grammar()  # which nbformat would take along
pytest_plugins = ["tests.browser", "tests.homes", "tests.kernels"]

# A shell ignores Ctrl-C in what it starts in the background, and that is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)

FRAMED = (
    "logistic",
    "mlp-medium",
    "patches-small",
    "patches-medium",
    "patches-medium-int8",
    "gate",
)
LONGEST_ID = 60  # characters
MEASURED = "tests/localcloud/", "tests/modelserver/", "tests/test_process.py"
"""Tests whose processes are measured for coverage, because what they run is what is tested.

Elsewhere that would find nothing more and make processes half as slow again. The servers of models
that a local cloud starts are measured in tests/localcloud/test_sandbox.py, and only there.
"""

settings.register_profile("patient", settings(), deadline=None)  # a busy machine is no failure
settings.load_profile("patient")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Return a short name for a long value: the workers send each other every test's name."""
    if isinstance(val, str | bytes) and len(val) > LONGEST_ID:
        return f"{val[:LONGEST_ID]!a}, {len(val)} in all"
    return None  # as pytest names it


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the group afterwards
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a module whose tests share a fixture on one worker, so that it is made once.

    Those that need JupyterLab share its page, too.
    """
    in_lab = {_module_of(item) for item in items if "lab" in getattr(item, "fixturenames", ())}
    for item in items:
        if (module := _module_of(item)) in in_lab:
            item.add_marker(pytest.mark.xdist_group("JupyterLab"))
        elif any(fixture[-1].scope == "module" for fixture in _fixtures_of(item)):
            item.add_marker(pytest.mark.xdist_group(module))


def _module_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _fixtures_of(item: pytest.Item) -> Iterable[Sequence[pytest.FixtureDef[object]]]:
    information = getattr(item, "_fixtureinfo", None)  # functions have it, documents do not
    return information.name2fixturedefs.values() if information else ()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure the processes that a test starts only where they are what is tested."""
    with pytest.MonkeyPatch.context() as environment:
        if not item.nodeid.startswith(MEASURED):
            environment.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what finding the tests makes: two million objects in which there is no garbage."""
    gc.disable()
    found = yield
    gc.freeze()
    gc.enable()
    return found


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    """Keep the names of failed tests without their groups: --last-failed finds them by those."""
    done = yield
    if not hasattr(session.config, "workerinput"):
        failed = session.config.cache.get("cache/lastfailed", {})
        names = (re.sub(r"@[^@\]]*$", "", name) for name in failed)
        session.config.cache.set("cache/lastfailed", dict.fromkeys(names, True))
    return done


def _registry_of(
    request: pytest.FixtureRequest, copy: Path, kind: str, names: Sequence[str] | None
) -> Registry:
    """Ready-made models: trained once for each state of the code, a copy for each process."""
    code = b"".join(path.read_bytes() for path in sorted(Path(zoo.__file__).parent.glob("*.py")))
    made_by = [version(name) for name in ("scikit-learn", "skl2onnx", "onnxruntime")]
    key = hashlib.sha256(code + repr(made_by).encode()).hexdigest()[:12]
    kept = Registry(request.config.cache.mkdir(f"{kind}-{key}"))
    zoo.build(kept, names=names)
    shutil.copytree(kept.artifacts, copy / "artifacts", copy_function=os.symlink)
    with sqlite3.connect(kept.path / "registry.db") as database:
        database.execute("VACUUM INTO ?", (str(copy / "registry.db"),))
    database.close()
    return Registry(copy)


@pytest.fixture(scope="session", name="registry")
def _registry(
    request: pytest.FixtureRequest, own_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Registry:
    """The ready-made models; how long they take is known wherever a test sets no home."""
    from tests.homes import keep_known  # a plugin, which pytest imports itself

    ready_made = _registry_of(request, tmp_path_factory.mktemp("registry"), "models", None)
    for name in ready_made:
        keep_known(ready_made[name])
    return ready_made


@pytest.fixture(scope="session")
def framed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Some that read digits in frames, of three kinds: those that are trained soon."""
    names = [f"framed-digits-{name}" for name in FRAMED]
    return _registry_of(request, tmp_path_factory.mktemp("framed"), "framed", names)


@pytest.fixture(scope="session")
def model(registry: Registry) -> Model:
    """A network of 32 hidden units that reads digits: microseconds a row."""
    return registry["digits-mlp-small"]


@pytest.fixture(scope="session")
def workbench_home(
    registry: Registry, own_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What to set $WORKBENCH_HOME to where code makes its own `Registry()`."""
    home = tmp_path_factory.mktemp("home")
    (home / "registry").symlink_to(registry.path)
    (home / "profiles").symlink_to(own_home / "profiles")
    return home


@pytest.fixture
def at_home(workbench_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$WORKBENCH_HOME, with the ready-made models: where ledger, profiles and runs are."""
    monkeypatch.setenv("WORKBENCH_HOME", str(workbench_home))
    return workbench_home


@pytest.fixture
def fresh_home(workbench_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """$WORKBENCH_HOME of a test that keeps profiles, or counts what is kept: as it was at first."""
    home = tmp_path / "home"
    known = workbench_home / "profiles"
    shutil.copytree(known, home / "profiles", ignore=shutil.ignore_patterns("errors-*"))
    (home / "registry").symlink_to(workbench_home / "registry")
    monkeypatch.setenv("WORKBENCH_HOME", str(home))
    return home


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
