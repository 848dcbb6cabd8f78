"""Candidates of one inference type, and what became of those that were simulated."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from workbench.batching.timer import BatchPolicy
from workbench.deployment.platforms import JobPlatform
from workbench.errors import InvalidInput
from workbench.formatting import dollars, duration, format_cell
from workbench.pricing.cost import total
from workbench.pricing.usage import CallTimes, Spans, Usage, round_up_ms
from workbench.quantiles import SLO, is_met, longest_within, select_quantile
from workbench.service_times import Floats
from workbench.units import MINUTE

if TYPE_CHECKING:
    from workbench.deployment.base import Deployment
    from workbench.planner.out_of_sample import OutOfSample
    from workbench.pricing.sheet import PriceSheet
    from workbench.scaling.base import ScalingPolicy
    from workbench.simulator import Outcome
    from workbench.simulator.place_outcomes import RoutedOutcome


SCALED, HYBRID = "scaled real-time", "hybrid"
"""What a plan searches besides inference types: fleets that change size, with functions or not."""


class CandidateMetrics(NamedTuple):
    """What a candidate comes to: seconds at the target's quantile, share, dollars per million.

    Where it was simulated, `dollars` is the bill for the trace, `month` that of a month in which it
    repeats itself, as `workbench.cost` of a run has it, and of the minutes with requests
    `worst_minute` is the share of requests within the target in the worst, `minutes_met` the share
    that meet the target. `broken` says in words which limits of the platform a call breaks; ""
    where it breaks none.
    """

    latency: float
    attainment: float
    cost: float
    dollars: float = math.nan
    month: float = math.nan
    broken: str = ""
    worst_minute: float = math.nan
    minutes_met: float = math.nan


class Configuration(NamedTuple):
    """Where and how: what a candidate is, before anything is known of it."""

    deployment: Deployment
    policy: BatchPolicy
    scaling: ScalingPolicy | None = None

    def __hash__(self) -> int:
        """Hash what can be hashed: a policy may hold a forecaster of anybody's."""
        return hash((self.deployment, self.policy, type(self.scaling)))

    @property
    def place(self) -> str:
        """Deployment and scaling in a few words."""
        if self.scaling is None:
            return self.deployment.label
        return f"{self.deployment.label}, {describe_scaling(self.scaling)}"

    @property
    def batching_label(self) -> str:
        """How requests are joined in a few words: the policy, or the jobs they form."""
        match self.deployment.platform:
            case JobPlatform(period=float() as period):
                return f"jobs of {duration(period, 6)}"
            case JobPlatform():
                return "one job"
        return self.policy.label


def describe_scaling(scaling: ScalingPolicy) -> str:
    """Return a scaling policy in a few words: its kind, whose forecast it takes, its settings.

    Settings that are as they are by default are left out; of an instance, what it is counted for.

    >>> from workbench.scaling.reactive import ScaleToZero, TargetTracking
    >>> describe_scaling(ScaleToZero(count=2)), describe_scaling(TargetTracking(target=60, least=2))
    ('scale to zero (count 2)', 'target tracking (target 60, least 2)')
    """
    settings = getattr(scaling, "__dataclass_fields__", {})
    usual = {name: each.default for name, each in settings.items()}
    values = scaling.to_dict()
    forecaster = getattr(scaling, "forecaster", None)
    by = f" by {type(forecaster).__name__}" if forecaster is not None else ""
    words = [
        f"{name.replace('_', ' ')} "
        + (f"{dollars(1e6 * value)} a million" if name == "call_price" else format_cell(value))
        for name, value in values.items()
        if type(value) in (int, float, str) and name != "kind" and value != usual.get(name)
    ]
    words += [
        f"{format_cell(one.rate)}/s an instance" for one in getattr(scaling, "capacities", ())
    ]
    return f"{values['kind']}{by}" + (f" ({', '.join(words)})" if words else "")


class Reliability(NamedTuple):
    """On how many other days a pick keeps to its limit, of how many.

    `worst` is what is limited on such a day, as a share of the limit: that of the stated share of
    the days is no more.
    """

    met: int
    tried: int
    worst: float

    @property
    def share(self) -> float:
        """The share of days on which it does."""
        return self.met / self.tried

    @property
    def label(self) -> str:
        """The count in words."""
        return f"{self.met} of {self.tried}"

    def holds(self, share: float) -> bool:
        """Return whether that is enough."""
        return self.share >= share - 1e-9


class SimulatedCandidate(NamedTuple):
    """A setting that was simulated, what came out, and the row of its field that it settles."""

    configuration: Configuration
    figures: CandidateMetrics
    row: int


@dataclass(frozen=True, kw_only=True)
class CandidateTable:
    """The candidates of one inference type: columns of equal length, a row a candidate.

    `predicted` is the exact model's quantile, NaN where it says nothing, and a lower bound where
    `bound` (queues behind a fleet have no formula). `notes` tells why a row is out of the question
    and is "" where it is not; `judged` how the picks do on other days, and `out_of_sample` how the
    best does on days that nothing was chosen on.
    """

    kind: str
    deployments: list[Deployment]
    place: NDArray[np.int64]
    max_size: NDArray[np.int64]
    max_wait: Floats
    predicted: Floats
    attainment: Floats
    cost: Floats
    notes: NDArray[np.object_]
    bound: bool = False
    finalists: list[SimulatedCandidate] = field(default_factory=list)
    judged: dict[Configuration, Reliability] = field(default_factory=dict)
    out_of_sample: dict[Configuration, OutOfSample] = field(default_factory=dict)

    def configuration(self, row: int) -> Configuration:
        """Return what a row stands for."""
        policy = BatchPolicy(max_size=int(self.max_size[row]), max_wait=float(self.max_wait[row]))
        return Configuration(self.deployments[self.place[row]], policy)


class OutcomeSummary(NamedTuple):
    """What a simulation comes to before prices: figures without money, answers, what is billed."""

    figures: CandidateMetrics
    answered: int
    usage: Usage

    def price(self, deployment: Deployment, prices: PriceSheet) -> CandidateMetrics:
        """Return the figures with the bill of a deployment, but that of a month."""
        dollars = dollars_of(deployment, self.usage, prices)
        cost = 1e6 * dollars / self.answered if self.answered else math.inf
        return self.figures._replace(cost=cost, dollars=dollars)


def summarize(
    outcome: Outcome | RoutedOutcome,
    deployment: Deployment,
    slo: SLO,
    content: NDArray[np.int64],
    answers: Floats,
) -> OutcomeSummary:
    """Return quantile, attainment and usage; a failed request counts as infinite latency.

    `content` are the bytes of each request, `answers` those of each answer.
    """
    late, broken = latencies_of(outcome, deployment, content)
    usage = usage_of(outcome, deployment)
    within = late <= longest_within(slo.latency)
    by_minute = attainment_by_minute(outcome.arrivals, within)
    answered = np.isfinite(late)
    count = int(answered.sum())
    # Not `answers @ answered`: threads of BLAS would wake for it, and spin longer than it takes.
    # As mostly, all are answered, and a sum of all takes a tenth of the time.
    is_given = True if count == len(late) else answered
    sent, given = float(content.sum()), float(answers.sum(where=is_given))
    figures = CandidateMetrics(
        latency=select_quantile(late, slo.quantile),
        attainment=float(within.mean()),
        cost=math.nan,
        broken=broken,
        worst_minute=float(by_minute.min()),
        minutes_met=sum(is_met(each, slo.quantile) for each in by_minute.tolist()) / len(by_minute),
    )
    billed = replace(usage, bytes_in=sent, bytes_out=given)
    return OutcomeSummary(figures, count, billed)


def attainment_by_minute(arrivals: Floats, within: NDArray[np.bool_]) -> Floats:
    """Return the share of requests within the target of each minute that has some.

    >>> attainment_by_minute(np.array([1.0, 2.0, 150.0]), np.array([True, False, True])).tolist()
    [0.5, 1.0]
    """
    edges = MINUTE * np.arange(arrivals[-1] // MINUTE + 1)
    first = np.unique(np.searchsorted(arrivals, edges))
    counts = np.diff(np.append(first, len(arrivals)))
    shares: Floats = np.add.reduceat(within, first, dtype=np.int64) / counts
    return shares


def latencies_of(
    outcome: Outcome | RoutedOutcome, deployment: Deployment, content: NDArray[np.int64]
) -> tuple[Floats, str]:
    """Return latencies, infinite where a request failed, and which limits calls break, in words."""
    from workbench.simulator.call_limits import find_broken_calls

    if hasattr(outcome, "places"):
        return _latencies_of_parts(cast("RoutedOutcome", outcome), deployment, content)
    late = outcome.latencies
    longest = float(late.max())
    if math.isnan(longest):
        late = np.where(np.isnan(late), np.inf, late)
        longest = math.inf
    limit = deployment.call_limit or math.inf
    if (longest <= limit or math.isinf(limit)) and not content.any():
        return late, ""  # as mostly
    calls = find_broken_calls(outcome.batches, deployment, content)
    failed = calls.late | calls.heavy
    if failed.any():
        late = np.where(outcome.spread(failed), np.inf, late)
    return late, " ".join(calls.warnings)


def _latencies_of_parts(
    outcome: RoutedOutcome, deployment: Deployment, content: NDArray[np.int64]
) -> tuple[Floats, str]:
    """Return the same of a composite: what fails at the place that answered has failed."""
    late, words = outcome.latencies.copy(), []
    late[np.isnan(late)] = np.inf
    pairs = zip(outcome.places, deployment.simple_parts, strict=True)
    for number, ((requests, served), part) in enumerate(pairs):
        if len(requests):
            own, broken = latencies_of(served, part, content[requests])
            failed = requests[np.isinf(own)]
            late[failed[outcome.given[failed] == number]] = np.inf
            words += [broken] * bool(broken)
    return late, " ".join(words)


def dollars_of(deployment: Deployment, usage: Usage, prices: PriceSheet) -> float:
    """Return the dollars of billed quantities."""
    return total(deployment.bill(usage, prices=prices))


def describe_instability(mean_busy: Floats, limits: NDArray[np.int64]) -> NDArray[np.object_]:
    """Return what to note of candidates by the batches in service on average, "" where they can."""
    notes = np.full(len(mean_busy), "", dtype=object)
    for row in np.flatnonzero(mean_busy >= limits):
        notes[row] = (
            f"unstable: {mean_busy[row]:.4g} batches would be served at once on average, "
            f"and at most {limits[row]} can be"
        )
    return notes


def usage_of(outcome: Outcome | RoutedOutcome, deployment: Deployment) -> Usage:
    """Return what is billed for what was simulated: as `workbench.cost` of the run, bytes apart."""
    return deployment.usage(SimulatedActivity(outcome, deployment))


@dataclass(frozen=True)
class SimulatedActivity:
    """The billed activity of a simulation: an `Activity`, read from its batches.

    A part of a composite deployment is there for as long as the whole is under way, `until`.
    """

    whole: Outcome | RoutedOutcome
    deployment: Deployment
    until: float = 0.0

    @property
    def outcome(self) -> Outcome:
        """What became of batches at the one place there is."""
        return cast("Outcome", self.whole)  # a composite asks for its parts' only

    @property
    def end(self) -> float:
        """The instant of the last answer in seconds, 0 where there is none."""
        places = [place.outcome for place in getattr(self.whole, "places", ())] or [self.outcome]
        last = (float(np.nanmax(each.batches.finished, initial=0.0)) for each in places)
        return max(self.until, *last)

    @property
    def span(self) -> float:
        """Seconds until the trace's end or the last answer, as instances that stay are up."""
        return max([self.end, *(stopped for _, stopped in self.outcome.instances or ())])

    @property
    def calls(self) -> int:
        """Batches."""
        return len(self.outcome.batches.closed)

    @property
    def instances(self) -> Spans | None:
        """Launch and stop of each instance; None where instances are not billed."""
        return self.outcome.instances

    @property
    def service_spans(self) -> Spans:
        """Start and end of each batch that was answered."""
        batches = self.outcome.batches
        spans = np.stack([batches.started, batches.finished], axis=1)
        return cast("Spans", spans[np.isfinite(batches.finished)].tolist())

    def part(self, number: int) -> SimulatedActivity:
        """Return what a part of a composite deployment did.

        Raises:
            InvalidInput: It was simulated as if it had one part.
        """
        from workbench.deployment.composite import Composite

        whole, deployment = cast("RoutedOutcome", self.whole), self.deployment
        if not isinstance(deployment, Composite) or not hasattr(whole, "places"):
            raise InvalidInput(f"What part {number} of {deployment.label} did is not simulated.")
        part, places = deployment.parts[number], whole.places[deployment.places_of(number)]
        own = places[0].outcome if len(places) == 1 else replace(whole, places=places)
        return SimulatedActivity(own, part, self.end)

    def call_times(self, *, with_cold_starts: bool, provisioned: int) -> CallTimes:
        """Return what batches are billed, as calls."""
        from workbench.simulator import kernels

        batches = self.outcome.batches
        calls, milliseconds = kernels.sum_billed_ms(batches, with_cold_starts)
        warm = 0
        if provisioned:
            mine = (batches.server >= 0) & (batches.server < provisioned)
            mine &= np.isfinite(batches.finished)
            warm = int(round_up_ms((batches.finished - batches.started)[mine]).sum())
        return CallTimes((milliseconds - warm) / 1000, warm / 1000, calls)
