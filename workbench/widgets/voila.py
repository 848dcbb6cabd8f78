"""The app as a page for a classroom, served by Voila, which comes with the extra `voila`.

Each visitor has a kernel of their own, in which nothing but the app runs: Voila passes on no code.
On Linux the kernels are copies of one process, and share what they only read.
"""

import contextlib
import os
import re
import secrets
import socket
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.errors import InvalidInput, NotAvailable
from workbench.extras import require_extra
from workbench.plots.grammar import defer_grammar
from workbench.registry.api import Registry
from workbench.validation import of_kind
from workbench.widgets.notebook import kernel_options
from workbench.widgets.prepared_kernel import Visit, prepare_kernel
from workbench.widgets.presets import preset_of

PORT = 8866  # Voilà's own
LOOPBACK = "127.0.0.1"
_IDLE_TIMEOUT = 600  # seconds after which the kernel of a page that was closed ends
_PATIENCE = 600  # seconds that a kernel may take to start, and then the page's outputs to arrive


def serve(
    registry: Registry | None = None,
    *,
    preset: str | None = None,
    ip: str = LOOPBACK,
    port: int = PORT,
    on_prepare: Callable[[], object] = lambda: None,
    on_started: Callable[[str], object] = print,
) -> None:
    """Serve the app until Ctrl-C or SIGTERM; every visitor needs the token in the address.

    Args:
        registry: Where the models are, by default `Registry()`.
        preset: What the controls begin with, as for `app`.
        ip: What to listen on, by default this machine alone.
        port: Where; 0 is one that is free.
        on_prepare: Called before the rehearsal of a visit, which takes some seconds.
        on_started: Called with the address, token included, once it is served.

    Raises:
        NotAvailable: Voila is not installed, or the port is taken.
        NotFound: There is no such preset.
        InvalidInput: The port is none.
    """
    if preset is not None:
        preset_of(preset)
    _find_port(ip, port)
    require_extra("voila", "The app in a browser")
    defer_grammar()
    from tornado.ioloop import IOLoop
    from voila.app import Voila

    token = secrets.token_hex(24)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        on_prepare()
        _share_kernels(stack, Visit(_path_of(registry), preset))
        page = Path(folder) / "app.ipynb"
        _write_page(page, _source(registry, preset))
        server = Voila()
        server.initialize(_server_arguments(page, ip))
        server.token = token
        server.voila_configuration.prelaunch_hook = _set_xsrf_cookie
        server.template_paths = [
            _make_offline_template(server.template_paths, folder),
            *server.template_paths,
        ]
        server.port = port = _find_port(ip, port)  # a free one may be taken during the rehearsal
        IOLoop.current().add_callback(on_started, f"http://{_host(ip)}:{port}/?token={token}")
        server.start()


def _share_kernels(stack: contextlib.ExitStack, visit: Visit) -> None:
    """Have visitors' kernels share what they can; where that is not possible, each has its own."""
    from workbench.widgets.forked_kernels import fork_kernels

    try:
        fork_kernels(stack.enter_context(prepare_kernel(visit)))
    except NotAvailable as error:
        warnings.warn(f"{error} Visitors share no memory: 0.4 GB each.", stacklevel=3)


def _set_xsrf_cookie(request: Any, **_arguments: object) -> None:  # noqa: ANN401 - Tornado's
    """Give the page the cookie without which it may not end its kernel when its tab is closed."""
    _ = request.xsrf_token


def _find_port(ip: str, port: int) -> int:
    """Return the port, or one that is free, where it can be listened on."""
    if not 0 <= of_kind("port", port, int) < 1 << 16:
        raise InvalidInput(f"port must be from 0 to 65535, got {port}.")
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        with socket.create_server((ip, port), family=family) as listening:
            return int(listening.getsockname()[1])
    except OSError as error:
        raise NotAvailable(
            f"Nothing can listen on {ip}, port {port}: {error.strerror}. Choose another, or port 0."
        ) from error


def _host(ip: str) -> str:
    """Return what an address is called from elsewhere."""
    if ip in ("", "0.0.0.0", "::"):  # noqa: S104 - compared with, not listened on
        return socket.gethostname()
    return f"[{ip}]" if ":" in ip else ip


def _server_arguments(page: Path, ip: str) -> list[str]:
    return [
        *(str(page), "--no-browser", "--template=lab", "--Voila.log_level=WARN"),
        *(f"--Voila.ip={ip}", "--Voila.port_retries=0"),
        *(f"--Voila.root_dir={page.parent}", "--VoilaConfiguration.allow_template_override=NO"),
        f"--MappingKernelManager.cull_idle_timeout={_IDLE_TIMEOUT}",
        f"--MappingKernelManager.cull_interval={_IDLE_TIMEOUT // 10}",
        f"--MappingKernelManager.kernel_info_timeout={_PATIENCE}",
        f"--VoilaExecutor.startup_timeout={_PATIENCE}",
        f"--VoilaExecutor.iopub_timeout={_PATIENCE}",  # else a page is empty after 4 seconds
        *(f"--NotebookNotary.data_dir={page.parent}", *kernel_options()),
    ]


def _source(registry: Registry | None, preset: str | None) -> str:
    """Return the page's one cell, which works in this folder and not in the page's."""
    path = _path_of(registry)
    where = "" if path is None else f"wb.Registry({path!r}), "
    return f"{_CLEAR_CREDENTIALS}os.chdir({os.getcwd()!r})\nwb.app({where}preset={preset!r})"  # noqa: PTH109


def _path_of(registry: Registry | None) -> str | None:
    return None if registry is None else str(registry.path.absolute())


_CLEAR_CREDENTIALS = """import os
import workbench as wb
for name in [each for each in os.environ if each.startswith("AWS_")]:
    del os.environ[name]
nothing = dict.fromkeys(["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"], os.devnull)
os.environ |= nothing | {"AWS_EC2_METADATA_DISABLED": "true"}
"""
"""Visitors have no credentials of whoever serves the page: they cannot spend on AWS."""


def _write_page(page: Path, source: str) -> None:
    """Write a notebook of one cell, signed: each visitor's kernel would warn of another."""
    from nbformat import write
    from nbformat.sign import NotebookNotary
    from nbformat.v4 import new_code_cell, new_notebook

    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "title": "Inference Workbench"}
    notebook = new_notebook(cells=[new_code_cell(source)], metadata=metadata)
    write(notebook, page)
    NotebookNotary(data_dir=str(page.parent)).sign(notebook)


def _make_offline_template(paths: list[str], folder: str) -> str:
    """Return a folder with Voila's template, less the icons that it asks another host for."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            template = (Path(path) / "index.html.j2").read_text(encoding="utf-8")
            break
    else:
        raise NotAvailable("This Voila has no template index.html.j2: install 0.5.8 or newer.")
    own = Path(folder) / "template"
    own.mkdir()
    local = re.sub(r'<link\b[^>]*href="https?://[^>]*>', "", template)
    (own / "index.html.j2").write_text(local, encoding="utf-8")
    return str(own)
