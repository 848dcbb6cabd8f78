"""The lesson on batching: one server, bursts, and requests that wait for one another."""

from functools import partial

from workbench.batching.timer import BatchPolicy
from workbench.comparison import compare
from workbench.deployment.local import Local
from workbench.findings.conclusion import Conclusion
from workbench.findings.lessons import compare_batch_size
from workbench.findings.runs import compare_latency, find_peak
from workbench.lessons.exercise import Exercise, LessonPlan
from workbench.lessons.student import Student
from workbench.quantiles import SLO
from workbench.run import Run
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.patterns import bursty
from workbench.traffic.trace import Trace

TOPIC = "batching"
CAPACITY = 100.0
"""Requests a second that the server answers one at a time."""

# the buffer where it is not what is asked about: requests, and seconds
_LARGEST, _WAIT = 16, 0.02
_ONE, _EACH = 0.008, 0.002  # seconds of a batch, and of each request in it
_RATES = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0)  # a second, at which the curve is drawn
_SIZES = (1, 2, 4, 8, 16, 32)  # requests in a batch, likewise
_WAITS = (0, 5, 10, 20, 50, 100)  # milliseconds of wait, likewise


def plan_batching(student: Student) -> LessonPlan:
    """Return the lesson of a student, with bursts on top of a load that is low on average."""
    rate = student.pick(TOPIC, (40.0, 44.0, 48.0, 52.0))
    seed = student.draw_seed(TOPIC)
    own = _requests(rate, seed)
    exercises = (
        Exercise(
            name="alone",
            title="95th percentile, one at a time",
            ask="Requests are answered one at a time. Within how many milliseconds are 95 of 100?",
            unit="ms",
            axis="Requests a second, on average",
            at=rate,
            values=_RATES,
            simulate=lambda rate: _run(_requests(rate, seed), 1),
            measure=_p95,
            conclude=lambda _: find_peak(own, 1.0, CAPACITY),
        ),
        Exercise(
            name="batched",
            title="95th percentile in batches",
            ask=f"Now up to {_LARGEST} make a batch, and wait up to {_WAIT * 1000:g} ms for it. "
            "Within how many milliseconds are 95 of 100 answered?",
            unit="ms",
            axis="Largest batch (requests)",
            at=_LARGEST,
            values=_SIZES,
            simulate=partial(_run, own),
            measure=_p95,
            conclude=lambda run: _set_beside(_run(own, 1), run),
        ),
        Exercise(
            name="size",
            title="Mean batch",
            ask=f"Up to {_LARGEST} may be in a batch. How many are in the mean one?",
            unit="requests",
            axis="Longest wait for a batch (ms)",
            at=_WAIT * 1000,
            values=_WAITS,
            simulate=lambda wait: _run(own, _LARGEST, wait / 1000),
            measure=lambda run: len(run) / run.batches().height,
            conclude=lambda run: compare_batch_size(run, _LARGEST),
        ),
    )
    story = (
        f"One server gets {rate:g} requests a second on average, and 6 times as many in a burst as "
        f"between bursts. A batch takes {_ONE * 1000:g} ms and {_EACH * 1000:g} ms for each "
        f"request in it: one at a time that is {CAPACITY:g} requests a second."
    )
    return LessonPlan("Batching: when does waiting for others pay?", story, own, exercises)


def _set_beside(alone: Run, batched: Run) -> Conclusion:
    return compare_latency(compare([alone, batched]))


def _p95(run: Run) -> float:
    return 1000 * run.quantile(0.95)


def _requests(rate: float, seed: int) -> Trace:
    return bursty(rate=rate, burst=6, dwell=(6.0, 2.0), duration=600.0, seed=seed)


def _run(trace: Trace, size: float, wait: float = _WAIT) -> Run:
    policy = BatchPolicy(max_size=int(size), max_wait=wait if size > 1 else 0.0)
    service = ServiceTimes.affine(_ONE, _EACH, largest=max(_SIZES))
    return simulate(trace, policy, Local(), service, slo=SLO(latency=0.1))
