"""Which of several models answers a request: routing policies, and the routers they make."""

from workbench.routing.bandits import Exp3, Exp4, LinUCB, ThompsonSampling
from workbench.routing.base import ROUTING_POLICIES, policy_from_dict
from workbench.routing.cascade import Cascade
from workbench.routing.load import Contextual, CostFirst, EffectiveAccuracy, LatencyFirst
from workbench.routing.mulambda import MuLambda, Weighted
from workbench.routing.promise import CascadePromise, choose_threshold
from workbench.routing.schedule import Scheduled
from workbench.routing.simple import (
    Canary,
    LowestNetworkLatency,
    RandomChoice,
    RoundRobin,
    Shadow,
)
from workbench.routing.vote import Vote

__all__ = [
    "ROUTING_POLICIES",
    "Canary",
    "Cascade",
    "CascadePromise",
    "Contextual",
    "CostFirst",
    "EffectiveAccuracy",
    "Exp3",
    "Exp4",
    "LatencyFirst",
    "LinUCB",
    "LowestNetworkLatency",
    "MuLambda",
    "RandomChoice",
    "RoundRobin",
    "Scheduled",
    "Shadow",
    "ThompsonSampling",
    "Vote",
    "Weighted",
    "choose_threshold",
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
            MuLambda,
            Weighted,
            LatencyFirst,
            CostFirst,
            EffectiveAccuracy,
            Contextual,
            ThompsonSampling,
            Exp3,
            Exp4,
            LinUCB,
            Scheduled,
            Cascade,
            Vote,
        )
    }
)
