"""Which of several models answers a request: routing policies, and the routers they make."""

from workbench.routing.base import ROUTING_POLICIES, policy_from_dict
from workbench.routing.simple import (
    Canary,
    LowestNetworkLatency,
    RandomChoice,
    RoundRobin,
    Shadow,
)

__all__ = [
    "ROUTING_POLICIES",
    "Canary",
    "LowestNetworkLatency",
    "RandomChoice",
    "RoundRobin",
    "Shadow",
    "policy_from_dict",
]

ROUTING_POLICIES.update(
    {
        each.kind: each
        for each in (
            RoundRobin,
            RandomChoice,
            LowestNetworkLatency,
            Canary,
            Shadow,
        )
    }
)
