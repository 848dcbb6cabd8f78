"""The tables behind the figures with sliders: what the simulator says at each of their places.

Each explorable is a value: its dials, how its figure is drawn, and a function that simulates one
combination of the dials' values. Service times are given, not measured, so that the same tables
come out on every machine.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import workbench as wb
from workbench.formatting import dollars, duration, figure, percent
from workbench.pricing.cost import MONTH
from workbench.quantiles import find_rank
from workbench.registry import zoo
from workbench.registry.api import Registry
from workbench.run import Run
from workbench.units import HOUR
from workbench.widgets.parameters import TunableParameter, list_batching
from workbench.widgets.preview import describe_outcome

SHARES = [
    *(step / 50 for step in range(40)),
    *(step / 100 for step in range(80, 100)),
    0.995,
    0.999,
    1,
]
"""Where a curve of latencies is kept, as shares of all requests."""

INSTANCE = "ml.m5.large"
_REQUESTS = 3000  # of a trace on average: p95 takes 200
_SPREAD = np.array([0.7, 0.9, 1.0, 1.15, 2.0])  # of a service time, at evenly spaced quantiles
_MOST_INSTANCES = 64


class Answer(NamedTuple):
    """What one combination of the dials' values comes to.

    Attributes:
        words: The sentence under the figure.
        missed: Whether it misses its target.
        figures: Milliseconds at each of `SHARES`, without those that failed; or the height of each
            named line, None where it has none.
    """

    words: str
    missed: bool
    figures: Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Explorable:
    """A figure with sliders, and how its table is computed.

    Attributes:
        dials: What can be turned, the last one quickest in the table.
        answer: Given the dials' values by name, what they come to.
        subject: What the figure shows, for who does not see it.
        x: How the axis is drawn: label, and log, unit, percent, from, to.
        y: As `x`.
        names: Those of the lines, where `along` is the dial that is the figure's x.
        along: None for a curve of latencies.
        slo: The target that is drawn in a curve of latencies.
    """

    dials: Sequence[TunableParameter]
    answer: Callable[..., Answer]
    subject: str
    x: dict[str, Any]
    y: dict[str, Any]
    names: Sequence[str] = ()
    along: str | None = None
    slo: wb.SLO | None = None

    def table(self) -> dict[str, Any]:
        """Return the figure as JSON values, an answer for each combination of the dials' values."""
        names = [dial.name for dial in self.dials]
        grid = itertools.product(*(dial.values for dial in self.dials))
        answers = [self.answer(**dict(zip(names, values, strict=True))) for values in grid]
        seen = [_shorten(each) for a in answers for each in a.figures if each is not None]
        reach = {"from": min(seen), "to": max(seen)}
        guide = "where the slider is" if self.along else "the target"
        x, y = (self.x, reach | self.y) if self.along else (reach | self.x, self.y)
        return {
            "dials": [dial.to_dict() for dial in self.dials],
            "axes": {"x": x, "y": y, "guide": guide, "subject": self.subject},
            "shares": SHARES,
            "names": list(self.names),
            "along": self.along,
            "target": self.slo and [1000 * self.slo.latency, self.slo.quantile],
            "answers": [
                [a.words, int(a.missed), [x if x is None else _shorten(x) for x in a.figures]]
                for a in answers
            ],
        }


def _shorten(value: float) -> float:
    """Return a figure with as many digits as a picture shows."""
    return float(f"{value:.3g}")


def _dial(
    name: str, label: str, values: Sequence[float], value: float, unit: str = ""
) -> TunableParameter:
    return TunableParameter(name=name, label=label, values=values, value=value, unit=unit)


# ----------------------------------------------------------------------- curves of latencies

LATENCY = {"label": "Latency (ms, log scale)", "log": True}
SHARE = {"percent": True, "from": 0, "to": 1}
_WITHIN = "Share of requests answered within a latency."


def _describe_run(run: Run, *more: str) -> Answer:
    """Return the curve of a run's latencies, and what the app says of it."""
    slo, cost = run.slo, wb.cost(run).per_million
    assert slo is not None  # noqa: S101 - each explorable has a target
    found = run.quantile(slo.quantile), run.attainment(), len(run)
    words, missed = describe_outcome(*found, None if math.isnan(cost) else cost, slo)
    answered = run.latencies_or_inf
    ordered = np.sort(answered)
    ranks = [max(find_rank(share, len(run)), 1) for share in SHARES]
    return Answer(
        " ".join([words, *more]),
        missed,
        [1000 * float(ordered[rank - 1]) for rank in ranks if math.isfinite(ordered[rank - 1])],
    )


COLD_TARGET = wb.SLO(latency=0.25)


def start_cold(*, rate: float, keep_alive: float, cold_start: float) -> Run:
    """Return serverless requests: `rate` a minute, kept alive for minutes, starting for seconds."""
    trace = wb.poisson(rate=rate / 60, duration=60 * _REQUESTS / rate, seed=1)
    on = wb.Serverless(memory_mb=2048, max_concurrency=50, keep_alive=60 * keep_alive)
    times, policy = wb.ServiceTimes({1: 0.05 * _SPREAD}), wb.BatchPolicy()
    return wb.simulate(trace, policy, on, times, slo=COLD_TARGET, cold_start=cold_start, seed=1)


def _answer_cold(**values: float) -> Answer:
    run = start_cold(**values)
    return _describe_run(run, f"{percent(run.cold_share)} of the requests wait for a cold start.")


COLD_STARTS = Explorable(
    dials=[
        _dial("rate", "Requests", (0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 20), 0.2, "a min"),
        _dial("keep_alive", "Kept alive", (1, 5, 10, 20, 30), 10, "min"),
        _dial("cold_start", "Cold start", (0.1, 0.25, 0.5, 1, 2, 5), 1, "s"),
    ],
    answer=_answer_cold,
    subject=_WITHIN,
    x=LATENCY,
    y=SHARE,
    slo=COLD_TARGET,
)

BATCH_TARGET = wb.SLO(latency=0.15)


def batch(*, rate: float, max_size: int, max_wait: float) -> Run:
    """Return requests to Lambda behind a buffer."""
    trace = wb.poisson(rate=rate, duration=_REQUESTS / rate, seed=1)
    policy = wb.BatchPolicy(max_size=max_size, max_wait=max_wait)
    on = wb.Lambda(memory_mb=1769, max_concurrency=500)
    times = wb.ServiceTimes({size: (0.03 + 0.004 * size) * _SPREAD for size in range(1, 33)})
    return wb.simulate(trace, policy, on, times, slo=BATCH_TARGET, cold_start=0.5, seed=1)


def _answer_batch(**values: Any) -> Answer:  # noqa: ANN401 - as `batch` takes
    run = batch(**values)
    return _describe_run(run, f"Requests in a batch: {figure(len(run) / run.batches().height)}.")


BATCHING = Explorable(
    dials=[
        _dial("rate", "Requests", (2, 5, 10, 20, 50, 100, 300), 50, "a s"),
        *list_batching(
            wb.BatchPolicy(max_size=8, max_wait=0.05),
            sizes=(1, 2, 4, 8, 16, 32),
            waits=(0, 0.01, 0.025, 0.05, 0.075, 0.1),
        ),
    ],
    answer=_answer_batch,
    subject=_WITHIN,
    x=LATENCY,
    y=SHARE,
    slo=BATCH_TARGET,
)

# --------------------------------------------------------------------------------- break-even

TYPES = ("real-time", "serverless", "Lambda")


def serve_rate(kind: str, *, rate: float, seconds: float, target: float) -> Run | None:
    """Return an inference type's cheapest run that meets the target in p95; None if there is none.

    `rate` is in requests a second; a request takes `seconds` of one vCPU, and its cold start 1 s.
    """
    trace = wb.poisson(rate=rate, duration=_REQUESTS / rate, seed=1)
    given = {"slo": wb.SLO(latency=target), "cold_start": 1.0, "seed": 1}
    times = wb.ServiceTimes({1: seconds})
    least = max(1, math.ceil(rate * seconds / 2))
    choices: dict[str, Any] = {
        "real-time": (
            wb.RealTime(instance_type=INSTANCE, count=count, workers=2)
            for count in range(least, _MOST_INSTANCES + 1)
        ),
        "serverless": [wb.Serverless(memory_mb=2048, max_concurrency=200)],
        "Lambda": [wb.Lambda(memory_mb=1769, max_concurrency=1000)],
    }
    if seconds > target:
        return None
    for on in choices[kind]:
        run = wb.simulate(trace, wb.BatchPolicy(), on, times, **given)
        if run.quantile(0.95) <= target:
            return run
    return None


def _answer_break_even(**values: float) -> Answer:
    runs = {kind: serve_rate(kind, **values) for kind in TYPES}
    costs = {kind: run and wb.cost(run).per_month for kind, run in runs.items()}
    told = [
        f"{kind} {'misses it' if cost is None else f'{dollars(cost)} a month'}"
        for kind, cost in costs.items()
    ]
    met = {kind: cost for kind, cost in costs.items() if cost is not None}
    first = f"The cheapest is {min(met, key=met.__getitem__)}." if met else "None meets it."
    words = f"Simulated, p95 ≤ {duration(values['target'])}: {', '.join(told)}. {first}"
    return Answer(words, not met, list(costs.values()))


BREAK_EVEN = Explorable(
    dials=[
        _dial("seconds", "A request", (0.01, 0.03, 0.1, 0.3), 0.1, "s"),
        _dial("target", "p95 within", (0.05, 0.15, 0.5, 2), 0.5, "s"),
        _dial(
            "rate", "Requests", (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100), 1, "a s"
        ),
    ],
    answer=_answer_break_even,
    subject="What a month costs on each inference type, by requests a second.",
    x={"label": "Requests a second, log scale", "log": True},
    y={"label": "US dollars a month, log scale", "log": True, "unit": "$"},
    names=TYPES,
    along="rate",
)

# ------------------------------------------------------------------------------------- hybrid

HYBRID_TARGET = wb.SLO(latency=0.2)
_TIMES = wb.ServiceTimes({1: 0.05})
_FUNCTIONS = wb.Lambda(memory_mb=1769, max_concurrency=1000)


@cache
def _bursts(rate: float, burst: float) -> wb.Trace:
    return wb.bursty(rate=rate, burst=burst, dwell=(15, 5), duration=400, seed=1)


def share_load(*, rate: float, burst: float, count: int, alone: bool = False) -> Run:
    """Return what instances and functions answer together; `alone` what instances do."""
    base = wb.RealTime(instance_type=INSTANCE, count=max(count, 1), workers=2)
    parts: Any = (base, _TIMES) if alone else (_FUNCTIONS, _TIMES)
    if count and not alone:
        parts = wb.Hybrid(base=base, overflow=_FUNCTIONS, spill=wb.InFlight(2)), (_TIMES, _TIMES)
    on, times = parts
    given = {"slo": HYBRID_TARGET, "cold_start": 0.5, "boot": 180.0, "seed": 1}
    return wb.simulate(_bursts(rate, burst), wb.BatchPolicy(), on, times, **given)


def _bill_by_hour(run: Run) -> tuple[float, float]:
    """Return US dollars an hour of instances, and of functions."""
    cost = wb.cost(run)
    instances = math.fsum(item.dollars for item in cost.items if INSTANCE in item.what)
    hourly = cost.per_month * HOUR / MONTH
    return hourly * instances / cost.total, hourly * (1 - instances / cost.total)


@cache
def _count_alone(rate: float, burst: float) -> tuple[int, float]:
    """Return how many instances meet the target without functions, and US dollars an hour."""
    for count in range(math.ceil(rate / 40), _MOST_INSTANCES):
        run = share_load(rate=rate, burst=burst, count=count, alone=True)
        if run.quantile(HYBRID_TARGET.quantile) <= HYBRID_TARGET.latency:
            return count, sum(_bill_by_hour(run))
    raise AssertionError


def _answer_hybrid(*, rate: float, burst: float, count: int) -> Answer:
    run = share_load(rate=rate, burst=burst, count=count)
    instances, functions = _bill_by_hour(run)
    number, price = _count_alone(rate, burst)
    spilled = 1.0 if run.spill_share is None else run.spill_share
    words, missed = describe_outcome(
        run.quantile(0.95), run.attainment(), len(run), None, HYBRID_TARGET
    )
    told = (
        f"{words} Functions answer {percent(spilled)}. {dollars(instances + functions)} an hour;"
        f" instances alone meet it from {number} on, for {dollars(price)}."
    )
    return Answer(told, missed, [instances, functions, instances + functions])


HYBRID = Explorable(
    dials=[
        _dial("rate", "Requests", (20, 60, 120), 60, "a s"),
        _dial("burst", "Bursts", (1, 2, 4, 8), 4, "times"),
        _dial("count", "Instances", range(9), 1),
    ],
    answer=_answer_hybrid,
    subject="What an hour costs, by the number of instances: they, functions, and both together.",
    x={"label": "Instances"},
    y={"label": "US dollars an hour", "unit": "$", "from": 0},
    names=("instances", "functions", "together"),
    along="count",
)

# ---------------------------------------------------------------------------------- selection

MODELS = {"digits-mlp-small": 0.006, "digits-logistic": 0.010, "digits-mlp-large": 0.016}
"""Ready-made models, and the seconds that a request is given here."""


def find_model(registry: Registry, *, rate: float, target: float, accuracy: float) -> wb.Selection:
    """Return which model is first, for a target in ms and a weight of accuracy in percent."""
    share = accuracy / 100
    return _search(registry, rate, target).weigh({"accuracy": share, "cost": 1 - share})


@cache
def _search(registry: Registry, rate: float, target: float) -> wb.Selection:
    models = [registry[name] for name in MODELS]
    return wb.select(
        models,
        trace=wb.poisson(rate=rate, duration=_REQUESTS / rate, seed=1),
        slo=wb.SLO(latency=target / 1000),
        needs={"accuracy": wb.at_least(0.94)},  # where the scale of accuracy begins
        weights={"accuracy": 0.5, "cost": 0.5},
        deployments=[
            wb.Lambda(memory_mb=1769, max_concurrency=200),
            wb.RealTime(instance_type=INSTANCE, workers=2),
        ],
        options=wb.Options(max_sizes=[1]),
        profiles={each.name: wb.ServiceTimes({1: MODELS[each.group]}) for each in models},
    )


def _answer_selection(registry: Registry, **values: float) -> Answer:
    found = find_model(registry, **values)
    scores = dict.fromkeys(MODELS, -math.inf)
    decided = zip(found.rows, found.decision.scores, strict=True)
    for row, score in decided:
        if row.misses:
            continue
        scores[row.model.group] = max(scores[row.model.group], float(score))
    heights = [score if math.isfinite(score) else None for score in scores.values()]
    return Answer(f"Simulated. {found.sentence}", not found.feasible, heights)


def make_selection(registry: Registry) -> Explorable:
    """Return the explorable of a choice among `MODELS`, which the registry has."""
    return Explorable(
        dials=[
            _dial("rate", "Requests", (1, 10, 100), 10, "a s"),
            _dial("target", "p95 within", (10, 20, 50), 50, "ms"),
            _dial("accuracy", "Weight", range(5, 100, 5), 50, "%"),
        ],
        answer=partial(_answer_selection, registry),
        subject="The score of each model, by the weight of accuracy against cost.",
        x={"label": "Weight of accuracy (%); the rest is that of cost"},
        y={"label": "Score"},
        names=tuple(MODELS),
        along="accuracy",
    )


def make_explorable(name: str, models: Path) -> Explorable:
    """Return the explorable of a page's name; models that it needs are built in a folder.

    Raises:
        KeyError: There is none of this name.
    """
    if name == "selection":
        zoo.build(registry := Registry(models), names=list(MODELS))
        return make_selection(registry)
    return {
        "cold-starts": COLD_STARTS,
        "batching": BATCHING,
        "break-even": BREAK_EVEN,
        "hybrid": HYBRID,
    }[name]
