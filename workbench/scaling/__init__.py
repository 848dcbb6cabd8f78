"""How many instances a fleet should have: a policy is a value, its scaler gets the time.

Nothing here reads a clock. Simulator, live runs and local cloud ask the same scaler, whenever it
is due::

    scaler = ScaleToZero(count=1, idle=900).scaler()
    scaler.due                                   # 60.0: a minute has closed
    scaler.decide(reading, now=60.0)             # 1: something waits, and nothing serves

What works on arrays is imported from its own module: `predictive`, `mark`, `foresight`.
"""

from workbench.scaling.base import (
    SCALING_POLICIES,
    Counts,
    Reading,
    Scaler,
    ScalingPolicy,
    ScalingRule,
    TypeCount,
    policy_from_dict,
)
from workbench.scaling.capacity import InstanceCapacity
from workbench.scaling.cpu import CpuTracking
from workbench.scaling.reactive import (
    Metric,
    ScaleToZero,
    StepScaler,
    StepScaling,
    TargetTracking,
    TargetTrackingScaler,
    measure,
)
from workbench.scaling.schedule import Schedule

__all__ = [
    "SCALING_POLICIES",
    "Counts",
    "CpuTracking",
    "InstanceCapacity",
    "Metric",
    "Reading",
    "ScaleToZero",
    "Scaler",
    "ScalingPolicy",
    "ScalingRule",
    "Schedule",
    "StepScaler",
    "StepScaling",
    "TargetTracking",
    "TargetTrackingScaler",
    "TypeCount",
    "measure",
    "policy_from_dict",
]

SCALING_POLICIES.update(
    {each.kind: each for each in (TargetTracking, StepScaling, Schedule, ScaleToZero, CpuTracking)}
)
