"""The inference types: where a model can run, a file for each type with all that is its own.

A deployment is a value: frozen, its limits checked when it is built, its dictionary fit for JSON::

    Serverless(memory_mb=2048, max_concurrency=20).to_dict()

The rest of the workbench asks the questions of `base.Deployment` and names no type. Limits are
AWS's, from botocore 1.44.5's service models and the SageMaker and Lambda developer guides. How long
a cold start takes is no setting: it is measured, and belongs to a profile.
"""

from workbench.deployment.asynchronous import Async
from workbench.deployment.base import COMPOSITES, KEEP_ALIVE, KINDS, Deployment, Size
from workbench.deployment.batch_transform import BatchTransform
from workbench.deployment.hybrid import Hybrid
from workbench.deployment.instance_types import instance_vcpus
from workbench.deployment.lambda_ import Lambda
from workbench.deployment.lambda_instances import LambdaManaged
from workbench.deployment.local import Local
from workbench.deployment.mixed_fleet import MixedFleet
from workbench.deployment.on_premise import OnPremise
from workbench.deployment.places import RoutedDeployment
from workbench.deployment.real_time import RealTime
from workbench.deployment.serverless import Serverless
from workbench.deployment.spill import ByDeadline, Hedge, InFlight, WhileBooting

__all__ = [
    "COMPOSITES",
    "KEEP_ALIVE",
    "KINDS",
    "Async",
    "BatchTransform",
    "ByDeadline",
    "Deployment",
    "Hedge",
    "Hybrid",
    "InFlight",
    "Lambda",
    "LambdaManaged",
    "Local",
    "MixedFleet",
    "OnPremise",
    "RealTime",
    "RoutedDeployment",
    "Serverless",
    "Size",
    "WhileBooting",
    "instance_vcpus",
]

_TYPES = (Local, OnPremise, RealTime, Serverless, Async, BatchTransform, Lambda, LambdaManaged)
KINDS.update({each.kind: each for each in _TYPES})
COMPOSITES.update({each.kind: each for each in (RoutedDeployment, MixedFleet, Hybrid)})
