"""Ready-made settings of the app for a classroom, each about one question."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from workbench.batching.timer import BatchPolicy, Policy
from workbench.deployment import Deployment, Hybrid, Lambda, Local, RealTime, Serverless
from workbench.errors import NotFound
from workbench.forecasts.naive import Persistence
from workbench.quantiles import SLO
from workbench.scaling.base import ScalingPolicy
from workbench.scaling.capacity import InstanceCapacity
from workbench.scaling.predictive import Predictive
from workbench.traffic.trace import Trace
from workbench.validation import suggest
from workbench.widgets.traffic_picker import draw_traffic

DEFAULT_GROUP = "digits-mlp-wide"
"""The ready-made model that batching helps most, with which controls begin."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What the controls of an app begin with; `settings` are those of the traffic's kind.

    `cold_start` and `boot` are the simulation's, in seconds, `scaling` the policy of the fleet.
    """

    question: str
    deployment: Deployment = field(default_factory=Local)
    kind: str = "bursty"
    settings: Mapping[str, float] = field(default_factory=dict)
    policy: Policy = field(default_factory=lambda: BatchPolicy(max_size=8, max_wait=0.025))
    slo: SLO = field(default_factory=lambda: SLO(latency=0.1))
    cold_start: float = 0.0
    boot: float = 0.0
    scaling: ScalingPolicy | None = None

    @property
    def trace(self) -> Trace:
        """The traffic as a trace."""
        return draw_traffic(self.kind, **self.settings)


_NO_BATCHING = BatchPolicy()

PRESETS: dict[str, Preset] = {
    "batching": Preset(question="Turn max size and max wait: when does waiting for others pay?"),
    "bursts": Preset(
        question="The rate is low on average: why does p95 miss the target without batching?",
        settings={"rate": 200.0, "burst": 20.0, "duration": 20.0},
        policy=_NO_BATCHING,
    ),
    "cold-starts": Preset(
        question="A call every five minutes: who pays for an idle instance, and who waits?",
        deployment=Serverless(memory_mb=2048, max_concurrency=20),
        kind="poisson",
        settings={"rate": round(1 / 300, 9), "duration": 864_000.0},  # as the control holds it
        policy=_NO_BATCHING,
        slo=SLO(latency=1.0),
        cold_start=2.0,
    ),
    "limits": Preset(
        question="Two calls at once are allowed: what happens to the others in a flash crowd?",
        deployment=Serverless(memory_mb=2048, max_concurrency=2),
        kind="flash_crowd",
        settings={"rate": 60.0, "peak": 10.0, "duration": 20.0},
        policy=_NO_BATCHING,
        cold_start=1.0,
    ),
    "spikes": Preset(
        question="How many instances does a flash crowd take, and what do they cost all day?",
        deployment=RealTime(instance_type="ml.m5.large"),
        kind="flash_crowd",
        settings={"rate": 200.0, "peak": 10.0, "duration": 20.0},
    ),
    "hybrid": Preset(
        question="When do functions beat one more instance?",
        deployment=Hybrid(
            base=RealTime(instance_type="ml.m5.large"),
            overflow=Lambda(memory_mb=1769, max_concurrency=900),
        ),
        kind="flash_crowd",
        settings={
            "rate": 200.0,
            "peak": 6.0,
            "duration": 1800.0,
            "start": 600.0,
            "ramp": 30.0,
            "hold": 300.0,
            "decay": 60.0,
        },
        policy=_NO_BATCHING,
        cold_start=1.0,
        boot=180.0,
        scaling=Predictive(
            forecaster=Persistence(),
            capacity=InstanceCapacity(instance_type="ml.m5.large", rate=60.0, hourly_price=0.115),
        ),
    ),
}
"""Presets by name."""


def preset_of(name: str) -> Preset:
    """Return the preset of this name.

    Raises:
        NotFound: There is none.

    >>> preset_of("cold-starts").deployment.label
    'serverless 2048 MB'
    """
    if name not in PRESETS:
        near = suggest(name, PRESETS)
        raise NotFound(f"No preset {name!r}: take one of {', '.join(PRESETS)}.{near}")
    return PRESETS[name]
