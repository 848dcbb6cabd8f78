"""The commands of clouds: a local one, what is left on them, and whether a model suits them."""

import argparse
import contextlib
import os
import shlex
import signal
import threading
from collections.abc import Iterator
from typing import Any, get_args

from workbench.cli.arguments import add_registry_path, model_of
from workbench.cli.options import TIME
from workbench.cli.output import Arguments, announce, show
from workbench.cli.statuses import EXIT_NO
from workbench.cloud.deploy import teardown
from workbench.cloud.doctor import examine
from workbench.cloud.ledger import Ledger, LedgerEntry
from workbench.deployment import KEEP_ALIVE
from workbench.formatting import Table, dollars
from workbench.localcloud import LocalCloud
from workbench.localcloud.core.settings import ColdStart


def _local_cloud(arguments: Arguments) -> int:
    ended = threading.Event()
    with (
        set_on_signal(ended),
        LocalCloud(
            arguments.path,
            port=arguments.port,
            cold_start=arguments.cold_start,
            keep_alive=arguments.keep_alive,
        ) as cloud,
    ):
        environment = cloud.environment()
        exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
        text = "\n".join([f"# A cloud of this machine, at {cloud.url}", *exports])
        facts = {"url": cloud.url, "path": str(cloud.path), "environment": environment}
        show(arguments, text, facts)
        announce("It answers whoever has this key; the next start makes another. Ctrl-C ends it.")
        ended.wait()
    return 0


@contextlib.contextmanager
def set_on_signal(ended: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM set `ended` instead of what they do."""
    usual = {
        number: signal.signal(number, lambda _number, _frame: ended.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _teardown(arguments: Arguments) -> int:
    ledger = Ledger()
    entries = ledger.entries() if arguments.list else teardown(ledger, names=tuple(arguments.names))
    facts = [_facts(each) for each in entries]
    text = f"{len(entries)} may be running" if arguments.list else f"{len(entries)} ended"
    if facts:
        table = Table(list(facts[0]), [list(each.values()) for each in facts])
        paid = sum(each.hourly for each in entries if each.cloud.paid)
        text = f"{table}\n{text}, {dollars(paid)} an hour"
    return show(arguments, f"{text}.", {"ended": not arguments.list, "deployments": facts})


def _facts(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "what": entry.what,
        "cloud": f"{entry.cloud.name} {entry.cloud.region}",
        "dollars an hour": entry.hourly if entry.cloud.paid else 0.0,
        "since": entry.since,
        "process": f"{entry.pid}{'' if _is_alive(entry.pid) else ' (gone)'}",
    }


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        pass
    return True


def _doctor(arguments: Arguments) -> int:
    found = examine(model_of(arguments), threads=arguments.threads, rows=arguments.rows)
    show(arguments, str(found), found.to_dict())
    return 0 if found.ok else EXIT_NO


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """Add `workbench doctor`."""
    parser.add_argument("model", metavar="MODEL", help="group, or group:version")
    parser.add_argument("--rows", type=int, default=16, help="of a batch (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of a run (%(default)s)")
    add_registry_path(parser)
    parser.set_defaults(command=_doctor)


def add_local_cloud(parser: argparse.ArgumentParser) -> None:
    """Add `workbench local-cloud`."""
    parser.add_argument("--path", metavar="FOLDER", help="keep everything here (else it is gone)")
    parser.add_argument("--port", type=int, default=0, help="(one that is free)")
    parser.add_argument(
        "--cold-start",
        choices=get_args(ColdStart),
        default="fresh",
        help="of a serverless instance: a new process, one with the runtime imported, or one with "
        "the model loaded (%(default)s)",
    )
    about = "of an idle serverless instance (10min)"
    parser.add_argument("--keep-alive", type=TIME, default=KEEP_ALIVE, help=about)
    parser.set_defaults(command=_local_cloud)


def add_teardown(parser: argparse.ArgumentParser) -> None:
    """Add `workbench teardown`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="of deployments (all)")
    parser.add_argument("--list", action="store_true", help="only show what may be running")
    parser.set_defaults(command=_teardown)
