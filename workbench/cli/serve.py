"""The command that serves models to other programs."""

import argparse
import threading
from dataclasses import MISSING, fields

from workbench.cli.arguments import add_registry_path, list_type, parse_number, registry_of
from workbench.cli.cloud import set_on_signal
from workbench.cli.options import TIME
from workbench.cli.output import Arguments, announce, show
from workbench.deployment.local import Local
from workbench.errors import InvalidInput
from workbench.routing import ROUTING_POLICIES, Cascade, Vote, policy_from_dict
from workbench.routing.base import RoutingRule


def _list_kinds() -> list[str]:
    """Return the routing policies that the options can set: of the others something is missing."""
    plain = [
        kind
        for kind, policy in ROUTING_POLICIES.items()
        if all(each.default is not MISSING for each in fields(policy))
    ]
    return [*plain, Cascade.kind, Vote.kind]


def make_router(kind: str, names: list[str], thresholds: tuple[float, ...]) -> RoutingRule:
    """Return the routing policy of a kind among these places, in their order.

    One threshold is that of each step of a cascade.

    Raises:
        InvalidInput: There is no such kind, or it takes other settings.

    >>> make_router("cascade", ["small", "large"], (0.99,)).label
    'cascade small 0.99 large'
    """
    if kind == Cascade.kind:
        steps = len(names) - 1
        given = thresholds or (Cascade.threshold,)
        return Cascade.of(names, given * steps if len(given) == 1 else given)
    if thresholds:
        raise InvalidInput(f"Only a cascade has thresholds; the router is {kind}.")
    return Vote(names) if kind == Vote.kind else policy_from_dict({"kind": kind})


def _serve(arguments: Arguments) -> int:
    from workbench.ensembles import Ensemble, Member
    from workbench.ensembles.server import EnsembleServer

    names = [name.strip() for name in arguments.models.split(",")]
    router = make_router(arguments.router, names, arguments.threshold or ())
    registry = registry_of(arguments, models=names)
    deployment = Local(workers=arguments.workers)
    members = {name: Member(registry[name], deployment) for name in names}
    ensemble = Ensemble(members, router, patience=arguments.patience)
    ended = threading.Event()
    server = EnsembleServer(ensemble, host=arguments.host, port=arguments.port, seed=arguments.seed)
    with set_on_signal(ended), server:
        facts = {"url": server.url, "ensemble": ensemble.to_dict()}
        show(arguments, f"{ensemble.label}, at {server.url}/invocations", facts)
        announce("It answers whoever calls it from this machine. Ctrl-C ends it.")
        ended.wait()
    return 0


def add_serve(parser: argparse.ArgumentParser) -> None:
    """Add `workbench serve`."""
    parser.add_argument("models", metavar="MODEL[,MODEL...]", help="the smallest first")
    parser.add_argument(
        "--router",
        choices=sorted(_list_kinds()),
        default="round-robin",
        help="who answers a request (%(default)s)",
    )
    parser.add_argument(
        "--threshold",
        type=list_type(parse_number),
        help="of a cascade: the least confidence with which an answer is given; "
        "one, or one for each model but the last (0.9)",
    )
    parser.add_argument("--workers", type=int, default=1, help="of each model (%(default)s)")
    parser.add_argument(
        "--patience",
        type=TIME,
        default=float("inf"),
        help="after which a model that has not answered is given up (never)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="of this machine (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="(one that is free)")
    parser.add_argument("--seed", type=int, default=0, help="of routers that draw")
    add_registry_path(parser)
    parser.set_defaults(command=_serve)
