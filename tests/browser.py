"""JupyterLab in a real Chromium, as fixtures; run as a script, it says what is missing.

::

    from playwright.sync_api import expect

    def test_a_cell_prints(open_notebook):
        page = open_notebook("print(6 * 7)")

        expect(page.locator(".jp-OutputArea-output")).to_have_text("42")

A test that uses `page` carries the mark `browser` and fails when the page asked for anything
outside this machine. The modules that need JupyterLab run in a row on one worker, and share its
server, a Chromium and one page. `open_notebook` opens that page again after a failure; each
notebook has a kernel of its own, which was started ahead and has imported the widgets. Playwright
keeps an asyncio loop open in its thread, so a module of browser tests holds no test that starts a
loop of its own (nbclient, asyncio.run), and Chromium ends with the last test of a row.
"""

import contextlib
import functools
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = (
    "The browser tests are left out: there is no Chromium"
    " (apt-get install chromium fonts-dejavu-core)."
)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ELSEWHERE = re.compile(r"^(?!\w+://(127\.0\.0\.1|localhost)[:/])(https?|wss?)://")
PATIENCE = 300  # seconds; how long a busy machine may take for one thing on the page
FAILED = pytest.StashKey[bool]()
IN_A_ROW = contextlib.ExitStack()  # ends what browser tests in a row share
LIGHT, WINDOW = "JupyterLab Light", {"width": 1280, "height": 720}
CLOSE_ALL = "() => [...window.jupyterapp.shell.widgets('main')].forEach(each => each.dispose())"
KERNEL_IS_IDLE = """() =>
    window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"""


@functools.cache
def find_chromium() -> str | None:
    """The first browser of `NAMES` that starts, or None."""
    for path in filter(None, map(shutil.which, NAMES)):
        if subprocess.run([path, "--version"], check=False, capture_output=True).returncode == 0:
            return path
    return None


def pytest_collection_modifyitems(items):
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.skipif(not find_chromium(), reason=MISSING))


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: where it is, whose notebooks it serves, where it keeps settings."""

    url: str
    token: str
    root: Path
    settings: Path
    kernels: list[str] = field(default_factory=list)

    def api(self, path: str, method: str = "GET", **told: object) -> object:
        """What the server answers at `path` of its REST interface."""
        headers = {"Authorization": f"token {self.token}"}
        data = json.dumps(told).encode() if told else None
        request = urllib.request.Request(f"{self.url}/api/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read() or "null")

    def forget_settings(self) -> None:
        """Undo what pages have set, such as the theme, and keep the news from covering them."""
        shutil.rmtree(self.settings, ignore_errors=True)
        quiet = self.settings / "@jupyterlab/apputils-extension/notification.jupyterlab-settings"
        quiet.parent.mkdir(parents=True)
        quiet.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))

    def start_ahead(self) -> None:
        """Have a kernel start that the next notebook takes."""
        self.kernels.append(self.api("kernels", method="POST", name="python3")["id"])

    def take_kernel(self) -> str:
        """The kernel that was started ahead, or a new one."""
        if not self.kernels:
            self.start_ahead()
        return self.kernels.pop()

    def end_sessions(self) -> None:
        """End the kernels of all notebooks."""
        for session in self.api("sessions"):
            self.api(f"sessions/{session['id']}", method="DELETE")

    def write(self, *cells: str) -> str:
        """The name of a new notebook with these code cells."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        name = f"{secrets.token_hex(4)}.ipynb"
        nbformat.write(notebook, self.root / name)
        return name


@pytest.fixture(scope="session")
def jupyter_env(forked_kernels, tmp_path_factory):
    """What to set so that Jupyter finds nothing of this user's: settings, kernels, profiles."""
    return jupyter_below(tmp_path_factory.mktemp("jupyter"))


def jupyter_below(home):
    """What to set so that Jupyter keeps and finds everything below a folder."""
    return {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_CONFIG_PATH": "",
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_PATH": "",
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
    }


@pytest.fixture(scope="session")
def ahead():
    """What a kernel does before it takes its first cell."""
    return "__import__('workbench.widgets').widgets.App"


@pytest.fixture(scope="session")
def lab(jupyter_env, workbench_home, ahead, tmp_path_factory):
    """A JupyterLab server; its kernels know the test registry."""
    root = tmp_path_factory.mktemp("notebooks")
    startup = Path(jupyter_env["IPYTHONDIR"]) / "profile_default/startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "ahead.py").write_text(ahead)
    with serve_lab(root, jupyter_env | {"WORKBENCH_HOME": str(workbench_home)}) as server:
        yield server


@contextlib.contextmanager
def serve_lab(root, environment):
    """A JupyterLab server of the notebooks in `root`, on a free port of this machine."""
    from tests.children import free_port, start_python  # this file is run as a program, too

    port = free_port()
    settings = Path(environment["JUPYTER_CONFIG_DIR"]) / "lab/user-settings"
    server = Lab(f"http://127.0.0.1:{port}", secrets.token_hex(16), root, settings)
    server.forget_settings()
    options = [
        *("--no-browser", "--expose-app-in-browser"),
        *("--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
        *("--LabApp.news_url=None", f"--ServerApp.root_dir={root}"),
        f"--MappingKernelManager.kernel_info_timeout={PATIENCE}",
    ]
    environment = os.environ | environment | {"JUPYTER_TOKEN": server.token}
    with (
        (root.parent / "lab.log").open("w+") as log,
        start_python("jupyterlab", *options, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            wait_until_ready(server, process, Path(log.name))
            yield server
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:  # a kernel that starts meanwhile can hold it
                process.kill()
                process.wait()


def wait_until_ready(lab, process, log):
    while process.poll() is None:  # pytest's time limit is the other end
        try:
            return lab.api("status")
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")


@functools.cache
def start_chromium():
    """A running Chromium. It lasts a row of tests, because Playwright blocks asyncio meanwhile."""
    IN_A_ROW.callback(start_chromium.cache_clear)
    playwright = IN_A_ROW.enter_context(sync_playwright())
    browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
    IN_A_ROW.callback(browser.close)
    return browser


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """End what is shared with the last test of a row."""
    try:
        return (yield)
    finally:
        if nextitem is None or group_of(item) != group_of(nextitem):
            IN_A_ROW.close()


def group_of(item):
    """The tests that run one after the other on one worker."""
    mark = item.get_closest_marker("xdist_group")
    return mark and mark.args[0]


@pytest.fixture(scope="module")
def chromium():
    """A running Chromium."""
    return start_chromium()


@pytest.fixture(scope="session")
def asked():
    """Addresses outside this machine that pages have asked for since a test began."""
    return []


@pytest.fixture
def elsewhere(asked):
    """Addresses outside this machine that the page asked for: all refused, none allowed."""
    yield asked
    told = asked.copy()
    asked.clear()
    assert told == []


@contextlib.contextmanager
def fresh_page(chromium, asked):
    """An empty page of a browser that has seen nothing before."""
    context = chromium.new_context(service_workers="block", viewport=WINDOW)
    context.set_default_timeout(PATIENCE * 1000)
    expect.set_options(timeout=PATIENCE * 1000)

    def refuse(route):
        asked.append(route.request.url)
        route.abort()

    context.route(ELSEWHERE, refuse)
    context.route_web_socket(ELSEWHERE, lambda socket: asked.append(socket.url))
    yield context.new_page()
    context.close()


def keep_picture(page, request):
    """Keep a picture of a failure, and tell whether it was one."""
    failed = request.node.stash.get(FAILED, False)
    if failed and not page.is_closed():
        pictures = request.config.rootpath / ".screenshots"
        page.screenshot(path=pictures / f"{request.node.name}.png")
    return failed


@pytest.fixture
def page(chromium, elsewhere, request):
    """An empty page of a browser that has seen nothing before; a picture is kept of a failure."""
    with fresh_page(chromium, elsewhere) as page:
        yield page
        keep_picture(page, request)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


class LabPage:
    """JupyterLab in a browser, opened when it is first needed and again after `close`.

    It shows one notebook at a time, that of `cells`, with a kernel of its own.
    """

    def __init__(self, lab, asked):
        self._asked, self._lab = asked, lab
        self._open = contextlib.ExitStack()
        self.page = None
        self.cells = ()

    def show(self, *cells):
        """Close the notebook that there is, and run all cells of a new one."""
        if self.page is None:
            self.page = self._open.enter_context(fresh_page(start_chromium(), self._asked))
            IN_A_ROW.callback(self.close)
            self.page.goto(f"{self._lab.url}/lab?reset&token={self._lab.token}")
            self.page.wait_for_function("() => window.jupyterapp?.restored")
        self.page.evaluate(CLOSE_ALL)
        self._lab.end_sessions()
        command(
            self.page,
            "docmanager:open",
            path=self._lab.write(*cells),
            factory="Notebook",
            kernel={"id": self._lab.take_kernel()},
        )
        self.page.wait_for_function(KERNEL_IS_IDLE)
        self._lab.start_ahead()
        command(self.page, "notebook:run-all-cells")
        self.cells = cells
        return self.page

    def tidy(self):
        """Undo what a test did to page and theme."""
        self.page.unroute_all()
        self.page.set_viewport_size(WINDOW)
        if self.page.locator("body[data-jp-theme-light=false]").count():
            command(self.page, "apputils:change-theme", theme=LIGHT)
        if self.page.locator(".jp-Dialog").count():
            self.close()

    def close(self):
        if self.page is not None:
            self._open.close()
            self.page, self.cells = None, ()
            self._lab.end_sessions()
            self._lab.forget_settings()


@pytest.fixture(scope="session")
def shared_page(lab, asked):
    """JupyterLab's page, which the tests of a row share."""
    shared = LabPage(lab, asked)
    yield shared
    shared.close()


@pytest.fixture
def lab_page(chromium, shared_page):
    """JupyterLab's page."""
    return shared_page


@pytest.fixture
def share_notebook(lab_page, elsewhere, request):
    """As `open_notebook`, but the notebook stays for the next test that opens the same cells.

    Who shares it begins by setting what the test before may have changed. After a failure it is a
    new one, on a new page.
    """

    def show(*cells: str):
        return lab_page.page if cells == lab_page.cells else lab_page.show(*cells)

    yield show
    if lab_page.page:
        if keep_picture(lab_page.page, request):
            lab_page.close()
        else:
            lab_page.tidy()


@pytest.fixture
def open_notebook(lab_page, share_notebook):
    """A function that opens a notebook of the given code cells, runs them all, and waits."""
    return lab_page.show


def cell_of(page, at):
    """A cell of the notebook in front: a reload may have opened another one behind it."""
    return page.locator(".jp-NotebookPanel:visible .jp-Cell").nth(at)


def command(page, name, **arguments):
    """Execute a command of JupyterLab, e.g. "apputils:change-theme", and wait for its end."""
    run = "([name, arguments]) => window.jupyterapp.commands.execute(name, arguments).then(() => 0)"
    page.evaluate(run, [name, arguments])


if __name__ == "__main__":
    sys.exit(0 if find_chromium() else MISSING)
