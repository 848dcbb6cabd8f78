"""The command that serves the app as a page."""

import argparse
from functools import partial

from workbench.cli.arguments import add_registry_path, registry_of
from workbench.cli.output import Arguments, announce, show

_PREPARING = "Preparing what visitors share; the first time, models are trained and measured."


def _app(arguments: Arguments) -> int:
    from workbench.widgets.voila import serve

    serve(
        registry_of(arguments),
        preset=arguments.preset,
        ip=arguments.ip,
        port=arguments.port,
        on_prepare=partial(announce, _PREPARING),
        on_started=partial(_announce_url, arguments),
    )
    return 0


def _announce_url(arguments: Arguments, url: str) -> None:
    show(arguments, f"The app, for whoever has this address: {url}", {"url": url})
    announce("Ctrl-C ends it.")


def add_app(parser: argparse.ArgumentParser) -> None:
    """Add `workbench app`."""
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="what the controls begin with: batching, bursts, cold-starts, limits, spikes, hybrid",
    )
    parser.add_argument(
        "--ip", default="127.0.0.1", help="to listen on; 0.0.0.0 is every network (%(default)s)"
    )
    parser.add_argument(
        "--port", type=int, default=8866, help="0 is one that is free (%(default)s)"
    )
    add_registry_path(parser)
    parser.set_defaults(command=_app)
