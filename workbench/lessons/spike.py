"""The lesson on the price of a spike: who takes it, and what that costs."""

import math
from functools import partial

from workbench.batching.timer import BatchPolicy
from workbench.comparison import compare
from workbench.deployment.base import Deployment
from workbench.deployment.hybrid import Hybrid
from workbench.deployment.lambda_ import Lambda
from workbench.deployment.real_time import RealTime
from workbench.deployment.spill import InFlight
from workbench.findings.fleets import find_spill
from workbench.findings.lessons import compare_spike
from workbench.findings.runs import compare_cost
from workbench.lessons.exercise import Exercise, LessonPlan
from workbench.lessons.student import Student
from workbench.quantiles import SLO
from workbench.run import Run
from workbench.run.costs import cost
from workbench.scaling import ScalingPolicy, TargetTracking
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.patterns import flash_crowd
from workbench.traffic.trace import Trace

TOPIC = "spike"
START, RAMP, HOLD, DECAY = 2400.0, 60.0, 600.0, 120.0  # seconds
STOP = START + RAMP + HOLD + DECAY
"""When the spike is over, seconds from the start of two hours."""

# times the usual rate, instances, seconds of a call, and how busy instances are to be
_PEAK, _MOST, _CALL, _BUSY = 20.0, 8, 0.04, 0.8
_BOOT, _COLD_START = 180.0, 0.5  # seconds: an instance comes too late, a function nearly so
_SLO = SLO(latency=0.5, quantile=0.95)  # a cold start alone takes as long
_INSTANCE, _SERVED = "ml.m5.large", 1 / _CALL  # requests a second of one instance
# one vCPU, and calls at once as an account has them: see `Lambda`
_FUNCTION = Lambda(memory_mb=1769, max_concurrency=900)


def plan_spike(student: Student) -> LessonPlan:
    """Return the lesson of a student, with one crowd that comes, stays and fades."""
    rate, seed = student.pick(TOPIC, (4.0, 5.0, 6.0, 7.0)), student.draw_seed(TOPIC)
    crowd = partial(_crowd, seed=seed)
    own = crowd(rate)
    stands = _run(own, RealTime(instance_type=_INSTANCE, count=_enough(rate)))
    exercises = _late(own), _bill(rate, crowd, stands), _overflow(rate, crowd)
    story = (
        f"{rate:g} requests a second come, and for {HOLD / 60:g} minutes {_PEAK:g} times as many. "
        f"A request takes {_CALL * 1000:g} ms; 95 of 100 are to be answered within "
        f"{_SLO.latency * 1000:g} ms. The two hours repeat all month."
    )
    return LessonPlan("The price of a spike: who takes it?", story, own, exercises)


def _late(own: Trace) -> Exercise:
    follow = TargetTracking(target=60 * 0.6 * _SERVED, most=_MOST)
    one = RealTime(instance_type=_INSTANCE)
    return Exercise(
        name="late",
        title="Late requests",
        ask=f"One instance stands, and the fleet follows the load, up to {_MOST}; a new one takes "
        f"{_BOOT / 60:g} minutes to start. How many of 100 requests take longer than "
        f"{_SLO.latency * 1000:g} ms?",
        unit="%",
        axis="Start of an instance (s)",
        at=_BOOT,
        values=(0.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0),
        simulate=lambda boot: _run(own, one, boot=boot, scaling=follow),
        measure=lambda run: 100 * (1 - run.attainment()),
        conclude=lambda run: compare_spike(run, START, STOP),
    )


def _bill(rate: float, crowd: "partial[Trace]", stands: Run) -> Exercise:
    return Exercise(
        name="bill",
        title="Bill of functions a month",
        ask=f"{_enough(rate)} instances, enough for the spike, cost "
        f"${cost(stands).per_month:,.0f} a month. What do functions cost that take it all?",
        unit="$",
        axis="Requests a second before the spike",
        at=rate,
        values=(1.0, 2.0, 4.0, 6.0, 10.0, 15.0, 20.0),
        simulate=lambda rate: _run(crowd(rate), _FUNCTION),
        measure=lambda run: cost(run).per_month,
        conclude=lambda run: compare_cost(compare([stands, run])),
    )


def _overflow(rate: float, crowd: "partial[Trace]") -> Exercise:
    one = RealTime(instance_type=_INSTANCE)
    both = Hybrid(base=one, overflow=_FUNCTION, spill=InFlight(2))
    return Exercise(
        name="overflow",
        title="Answered by functions",
        ask="One instance stands, and functions take what finds 2 requests in flight there. How "
        "many of 100 requests do functions answer?",
        unit="%",
        axis="Height of the spike (times the rate before)",
        at=_PEAK,
        values=(1.0, 2.0, 5.0, 10.0, 20.0, 40.0),
        simulate=lambda peak: _run(crowd(rate, peak), both),
        measure=lambda run: 100 * (run.spill_share or 0.0),
        conclude=lambda run: find_spill(run, START, STOP),
    )


def _enough(rate: float) -> int:
    """Return how many instances are busy four fifths of the time at the peak."""
    return math.ceil(rate * _PEAK / _SERVED / _BUSY)


def _crowd(rate: float, peak: float = _PEAK, *, seed: int) -> Trace:
    return flash_crowd(
        rate,
        peak=peak,
        start=START,
        ramp=RAMP,
        hold=HOLD,
        decay=DECAY,
        duration=7200.0,
        seed=seed,
    )


def _run(
    trace: Trace, on: Deployment, boot: float = 0.0, scaling: ScalingPolicy | None = None
) -> Run:
    service = [ServiceTimes({1: _CALL}) for _ in on.simple_parts]
    return simulate(
        trace,
        BatchPolicy(),
        on,
        service if len(service) > 1 else service[0],
        cold_start=_COLD_START,
        boot=boot,
        scaling=scaling,
        slo=_SLO,
    )
