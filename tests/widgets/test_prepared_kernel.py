"""Kernels that are copies of a prepared process: they share its memory, work, and end with it."""

import ast
import os
import re
import subprocess
import sys
from multiprocessing.connection import Pipe
from pathlib import Path

import psutil
import pytest
from jupyter_client.manager import KernelManager, start_new_kernel
from jupyter_client.provisioning import KernelProvisionerFactory

from tests.browser import PATIENCE
from tests.refused import refused
from workbench.errors import NotAvailable
from workbench.widgets import prepared_kernel
from workbench.widgets.forked_kernels import ForkedProvisioner, fork_kernels
from workbench.widgets.prepared_kernel import (
    ForkedProcess,
    KernelOrder,
    PreparedKernel,
    Visit,
    prepare_kernel,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux copies safely")
MODULES = "sorted({'altair', 'numba', 'polars', 'ipywidgets'} & set(__import__('sys').modules))"


@pytest.fixture(scope="module")
def prepared(registry):
    with prepare_kernel(Visit(str(registry.path), None)) as found:
        yield found


@pytest.fixture
def kernel(prepared, tmp_path):
    """A copy, with a client of it."""
    manager = KernelManager(connection_file=str(tmp_path / "kernel.json"))
    manager.write_connection_file()
    order = KernelOrder(
        ["-f", manager.connection_file], str(tmp_path), {**os.environ, "VISITOR": "Ada"}
    )
    process = prepared.fork(order)
    # findings/jupyter-client-kernel-of-another.sh: else it is dead after a second
    client = manager.client(parent=None)
    client.hb_channel.time_to_dead = PATIENCE
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        yield process, client
    finally:
        client.stop_channels()
        process.kill()
    assert process.wait() == 0


def answer_of(client, expression):
    """What a kernel prints of an expression."""
    said = []
    client.execute_interactive(
        f"print({expression})",
        timeout=PATIENCE,
        output_hook=lambda message: said.append(message["content"].get("text", "")),
    )
    return "".join(said).strip()


def test_a_copy_has_imported_what_the_app_needs_and_nothing_that_starts_threads(kernel):
    assert answer_of(kernel[1], MODULES) == "['altair', 'ipywidgets', 'numba']"


def test_a_copy_has_no_debugger_and_begins_without_imports(prepared, kernel, tmp_path):
    loaded = "sorted(n for n, m in __import__('sys').modules.items() if m and 'pydev' in n)"
    assert answer_of(kernel[1], loaded) == "[]"
    assert set(prepared_kernel._KERNEL) <= set(
        ast.literal_eval(answer_of(kernel[1], "sorted(__import__('sys').modules)"))
    )


def test_a_copy_has_the_folder_and_the_environment_that_were_asked_for(kernel, tmp_path):
    seen = "__import__('os').getcwd(), __import__('os').environ['VISITOR']"

    assert answer_of(kernel[1], seen) == f"{tmp_path} Ada"


def test_copies_share_most_of_their_memory(kernel):
    process, client = kernel
    assert (
        answer_of(client, "__import__('polars').DataFrame({'a': [2, 1]}).sort('a')['a'][0]") == "1"
    )
    pages = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    total, own = (
        sum(int(kb) for kb in re.findall(rf"^{name}: +(\d+) kB", pages, re.MULTILINE))
        for name in ("Rss", "Private_(?:Clean|Dirty)")
    )

    assert own < total / 2


def test_what_is_copied_has_one_thread(kernel):
    assert psutil.Process(kernel[0].pid).parent().num_threads() == 1


def test_a_copy_ends_when_it_is_asked_to(kernel):
    process, client = kernel
    assert process.poll() is None

    client.shutdown()

    assert process.wait() == process.poll() == 0
    process.terminate()  # which is too late, and does no harm


def test_copies_end_with_the_process_that_prepared_them(tmp_path):
    (tmp_path / "file").write_text("no registry, so that there is nothing to rehearse")
    manager = KernelManager(connection_file=str(tmp_path / "kernel.json"))
    manager.write_connection_file()
    order = KernelOrder(["-f", manager.connection_file], str(tmp_path), dict(os.environ))
    with prepare_kernel(Visit(str(tmp_path / "file"), None)) as found:
        process = found.fork(order)

    assert process.wait() == 0
    with refused(NotAvailable, "process"):
        found.fork(order)


def test_visitors_have_kernels_of_their_own_once_what_was_prepared_has_ended(monkeypatch):
    here, there = Pipe()
    there.close()
    factory = KernelProvisionerFactory()
    monkeypatch.setattr(KernelProvisionerFactory, "instance", lambda **_: factory)
    fork_kernels(PreparedKernel(here))

    manager, client = start_new_kernel(startup_timeout=PATIENCE)

    assert answer_of(client, "6 * 7") == "42"
    assert isinstance(manager.provisioner, ForkedProvisioner)
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_a_process_that_has_ended_already_is_none_to_wait_for():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()

    assert ForkedProcess(gone.pid).wait() == 0


def test_a_system_that_cannot_copy_says_so(monkeypatch):
    monkeypatch.setattr(prepared_kernel.sys, "platform", "darwin")

    with refused(NotAvailable, "Linux"), prepare_kernel(Visit(None, None)):
        pass
