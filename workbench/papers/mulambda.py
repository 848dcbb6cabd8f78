"""MuLambda's experiment, rebuilt in virtual time: what was published, what follows, what is better.

Nine dummy models are placed on four nodes in four ways; five callers ask one request after the
other; four use cases say what they want of an answer. Any routing policy can choose for them::

    answers = replay("parity", "psa", lambda latency, accuracy: RandomChoice(), seed=1)
    compare_selectors(SELECTORS | {"ours": see_load_and_kind})     # 16 cells, the published beside

Source: "Efficient and Transparent Model Selection for Serverless Machine Learning Platforms",
diploma thesis, TU Wien, 2023, doi 10.34726/hss.2023.108480. The constants are facts read in
silv-io/mulambda-experiments @ ec54b949 (October 2023), the published means are read off the vectors
of its figures, and nothing of its code is here. What it does not say and the curves show:

- The calls in flight that slow a call down do not include itself: the published median of 2.907 s
  in hyperlocal mda is 2.862 s with four others, 3.562 s with five, and a network.
- Nodes answer 10, 30, 100 and 300 ms late, and a call pays twice, to connect and for the answer: a
  model that takes 3.315 s with four others is published as 3.94 s in parity mda, on the last node.
"""

import heapq
import itertools
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.errors import Damaged, NotFound
from workbench.routing.base import (
    DelegatingRouter,
    Place,
    PlaceAnswer,
    RoutedRequest,
    Router,
    RoutingPolicy,
)
from workbench.routing.calls import Reaction, RoutedCalls
from workbench.routing.load import EffectiveAccuracy
from workbench.routing.mulambda import MuLambda
from workbench.routing.simple import LowestNetworkLatency, RandomChoice, RoundRobin
from workbench.validation import choose, whole_number

if TYPE_CHECKING:
    import polars as pl

PUBLISHED_FILE = "mulambda_published.json"
FOLDER_VARIABLE = "WORKBENCH_MULAMBDA"
"""The environment variable that names the folder of `PUBLISHED_FILE`."""


class DummyModel(NamedTuple):
    """A model that waits and answers: seconds of a call, and how right it is by feature.

    Attributes:
        name: Its name.
        base: Seconds of any call.
        by_unit: Seconds for each unit of input.
        by_call: Seconds for each other call that is there when one comes.
        jitter: Seconds that a call may take longer, evenly.
        confidences: Of an answer to each of three features, before `decay`.
        decay: The power of three by which they are divided.
    """

    name: str
    base: float
    by_unit: float
    by_call: float
    jitter: float
    confidences: tuple[float, float, float]
    decay: float

    def accuracy(self, feature: int) -> float:
        """Return the accuracy of its answers to a feature.

        >>> round(DUMMY_MODELS[2].accuracy(0), 3)
        0.647
        """
        return float(self.confidences[feature] / len(self.confidences) ** self.decay)


# the prototype's, by its own names
DUMMY_MODELS = (
    DummyModel("fast, bad", 0.010, 0.001, 0.10, 0.005, (0.50, 0.30, 0.10), 0.1),
    DummyModel("fast, ok", 0.015, 0.002, 0.35, 0.005, (0.80, 0.50, 0.30), 0.2),
    DummyModel("fast, good", 0.020, 0.004, 0.70, 0.005, (0.90, 0.70, 0.50), 0.3),
    DummyModel("mid, bad", 0.050, 0.010, 0.10, 0.030, (0.55, 0.35, 0.15), 0.4),
    DummyModel("mid, ok", 0.075, 0.020, 0.30, 0.030, (0.85, 0.55, 0.35), 0.5),
    DummyModel("mid, good", 0.100, 0.040, 0.70, 0.030, (0.95, 0.75, 0.55), 0.6),
    DummyModel("slow, bad", 0.150, 0.060, 0.10, 0.060, (0.60, 0.40, 0.20), 0.7),
    DummyModel("slow, mid", 0.175, 0.070, 0.35, 0.060, (0.90, 0.60, 0.40), 0.8),
    DummyModel("slow, good", 0.200, 0.080, 0.70, 0.060, (1.00, 0.80, 0.60), 0.9),
)

PLACEMENTS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "hyperlocal": (tuple(range(9)), (), (), ()),
    "parity": ((0, 4, 5, 8),) * 4,
    "logical": ((0, 1, 5, 8), (3, 4, 5, 8), (5, 6, 7, 8), (0, 6, 7, 8)),
    "arbitrary": ((2, 6, 1, 8), (4, 0, 7, 3), (6, 8, 1, 0), (3, 7, 6, 2)),
}
"""Which of the models each of the four nodes has."""

USE_CASES: Mapping[str, tuple[tuple[float, float], ...]] = {
    "scp": ((-1.0, 0.0),),
    "mda": ((0.0, 1.0),),
    "psa": ((-0.5, 0.5),),
    "env": ((-0.5, 0.5), (-0.2, 0.8), (0.0, 1.0), (-0.8, 0.2), (-1.0, 0.0)),
}
"""Weights of latency and accuracy; of several, each holds for an equal part of the requests.

Smart-city pedestrian safety, medical diagnosis assistance, public sentiment analysis, and
environment monitoring. The prototype's score subtracts latency as a number that is larger for fast
models: with a negative weight it comes out right.
"""

CALLERS = 5  # each asks again once it is answered
SIZE = 10.0  # units of input of each request
NODE_DELAYS = (0.010, 0.030, 0.100, 0.300)  # seconds, paid twice a call

# What the experiment leaves open, one value for all cells, in seconds.
_FRAMEWORK = (
    0.016,
    0.008,
)  # of a call in the framework: at least, and beyond that on average
_SURPLUS = 0.010  # of a measured network latency, on average
_MEASURED_EVERY = 20.0  # 5 for each of four sets of callers
_PAUSE = 0.120  # from an answer to the next request: the prototype reads all models from Redis

PolicyByWeights = Callable[[float, float], RoutingPolicy]
"""What returns a routing policy, given the weights of latency and accuracy."""

SELECTORS: Mapping[str, PolicyByWeights] = {
    "weighted": lambda latency, accuracy: MuLambda(latency=latency, accuracy=accuracy),
    "random": lambda _latency, _accuracy: RandomChoice(),
    "round-robin": lambda _latency, _accuracy: RoundRobin(),
    "net-latency": lambda _latency, _accuracy: LowestNetworkLatency(),
}
"""The selectors of the thesis."""

TARGET = 1.0  # seconds, for which the thesis has no word


def see_load_and_kind(latency: float, accuracy: float) -> RoutingPolicy:
    """Return the workbench's policy for the thesis's weights, and a target of 1 s.

    An answer in twice the target is worth 0.7 of one in time: these callers wait for their answers.
    """
    return EffectiveAccuracy(target=TARGET, latency=-latency, accuracy=accuracy, late=0.7)


_KEY = ["placement", "use_case", "selector"]

_CITED = {  # mean response time in s and mean accuracy of each of them, in their order
    ("hyperlocal", "scp"): ((0.339, 0.274), (0.604, 0.315), (0.567, 0.317), (1.218, 0.304)),
    ("hyperlocal", "mda"): ((2.781, 0.504), (0.592, 0.313), (0.554, 0.313), (1.415, 0.315)),
    ("hyperlocal", "psa"): ((2.559, 0.503), (0.653, 0.326), (0.592, 0.310), (0.770, 0.258)),
    ("hyperlocal", "env"): ((1.387, 0.404), (0.586, 0.321), (0.565, 0.312), (0.695, 0.271)),
    ("parity", "scp"): ((0.336, 0.287), (0.714, 0.322), (0.738, 0.326), (1.296, 0.303)),
    ("parity", "mda"): ((2.875, 0.389), (0.785, 0.323), (0.737, 0.322), (0.786, 0.287)),
    ("parity", "psa"): ((2.103, 0.361), (0.785, 0.330), (0.758, 0.324), (1.150, 0.311)),
    ("parity", "env"): ((3.120, 0.365), (0.790, 0.319), (0.785, 0.311), (0.767, 0.283)),
    ("logical", "scp"): ((0.302, 0.266), (0.929, 0.300), (0.877, 0.300), (1.016, 0.323)),
    ("logical", "mda"): ((1.995, 0.408), (0.918, 0.307), (0.890, 0.298), (1.121, 0.329)),
    ("logical", "psa"): ((1.430, 0.375), (0.903, 0.304), (0.876, 0.297), (0.888, 0.336)),
    ("logical", "env"): ((1.691, 0.340), (0.925, 0.299), (0.866, 0.301), (1.064, 0.314)),
    ("arbitrary", "scp"): ((0.310, 0.259), (0.761, 0.298), (0.732, 0.297), (1.754, 0.373)),
    ("arbitrary", "mda"): ((2.505, 0.503), (0.796, 0.311), (0.752, 0.299), (1.998, 0.394)),
    ("arbitrary", "psa"): ((2.249, 0.479), (0.761, 0.303), (0.727, 0.305), (1.496, 0.362)),
    ("arbitrary", "env"): ((1.458, 0.396), (0.749, 0.314), (0.724, 0.304), (1.349, 0.311)),
}


def load_published(folder: str | os.PathLike[str] | None = None) -> "pl.DataFrame":
    """Return what was published, a row for each placement, use case and selector.

    Columns: placement, use_case, selector, published_mean and published_p95 (response time in
    seconds), published_accuracy. The folder, by default the one that $WORKBENCH_MULAMBDA names,
    holds `mulambda_published.json`; without one p95 is null, since only the means are cited here.

    Raises:
        NotFound: The folder has no such file.
        Damaged: The file lacks a curve.

    >>> load_published().row(0)[:4]
    ('hyperlocal', 'scp', 'weighted', 0.339)
    """
    import polars as pl

    folder = folder or os.environ.get(FOLDER_VARIABLE)
    figures = _read(Path(folder)) if folder else _cite()
    columns = [*_KEY, "published_mean", "published_p95", "published_accuracy"]
    rows = [(*key, *each) for key, each in figures.items()]
    return pl.DataFrame(rows, columns, orient="row").cast({columns[4]: pl.Float64})


def _cite() -> dict[tuple[str, str, str], tuple[float, float | None, float]]:
    return {
        (*cell, selector): (mean, None, accuracy)
        for cell, means in _CITED.items()
        for selector, (mean, accuracy) in zip(SELECTORS, means, strict=True)
    }


def _read(folder: Path) -> dict[tuple[str, str, str], tuple[float, float | None, float]]:
    try:
        curves = json.loads((folder / PUBLISHED_FILE).read_text())
    except FileNotFoundError as error:
        raise NotFound(
            f"There is no {PUBLISHED_FILE} in {folder}: name another folder, "
            "or none for the means cited."
        ) from error
    found: dict[tuple[str, str, str], tuple[float, float | None, float]] = {}
    try:
        for (placement, use_case), selector in itertools.product(_CITED, SELECTORS):
            cell = f"{use_case}-{placement}"
            seconds = curves[f"elapsed-{cell}"][selector]
            accuracy = curves[f"model_accuracy-{cell}"][selector]
            found[placement, use_case, selector] = seconds["mean"], seconds["p95"], accuracy["mean"]
    except KeyError as error:
        raise Damaged(f"{folder / PUBLISHED_FILE} lacks {error}: take it as published.") from error
    return found


def list_instances(placement: str) -> list[tuple[int, DummyModel]]:
    """Return node and model of each instance of a placement.

    >>> len(list_instances("hyperlocal")), len(list_instances("parity"))
    (9, 16)
    """
    nodes = PLACEMENTS[choose("placement", placement, PLACEMENTS)]
    return [(node, DUMMY_MODELS[each]) for node, models in enumerate(nodes) for each in models]


def replay(
    placement: str,
    use_case: str,
    policy: PolicyByWeights,
    *,
    requests: int = 400,
    seed: int = 0,
) -> "pl.DataFrame":
    """Return the experiment's answers, simulated, a row a request, as they were given.

    Columns: start (seconds since the first request), latency (seconds), accuracy (of the answer),
    node (from 1), model, feature and client.

    Args:
        placement: One of `PLACEMENTS`.
        use_case: One of `USE_CASES`.
        policy: Makes the routing policy. Where weights change, a router for each pair of weights
            chooses in its part of the requests, and all of them learn from every answer.
        requests: Of each of the five callers; the thesis has 100 and 1,000.
        seed: Of all that is drawn. Requests ask for the same features whoever chooses.

    Raises:
        InvalidInput: An argument is out of its range.

    >>> answers = replay("parity", "scp", SELECTORS["random"], requests=10)
    >>> len(answers), answers["latency"].min() > 2 * NODE_DELAYS[0]
    (50, True)
    """
    whole_number("requests", requests, low=1)
    weights = USE_CASES[choose("use_case", use_case, USE_CASES)]
    generator = np.random.default_rng(seed)
    instances = list_instances(placement)
    generator.shuffle(instances)  # the prototype keeps them in a set: of equals, any may be first
    places = [  # as registered: with the accuracy of the first feature, before decay
        Place(
            name=f"{model.name} on node {node + 1}",
            accuracy=model.confidences[0],
            network_latency=_measure(node, generator),
        )
        for node, model in instances
    ]
    routers = [policy(*each).router(places, seed) for each in weights]
    router = routers[0] if len(routers) == 1 else _RouterByPart(routers, requests)
    return _ClosedLoop(instances, RoutedCalls(router, places), requests, generator).run()


def _measure(node: int, generator: np.random.Generator) -> tuple[float, ...]:
    """Return a measured network latency, in whole milliseconds, the same for all callers."""
    seconds = 2 * NODE_DELAYS[node] + _FRAMEWORK[0] + generator.exponential(_SURPLUS)
    return (int(1000 * seconds) / 1000,) * CALLERS


class _RouterByPart(DelegatingRouter):
    """A router for each part of every caller's requests."""

    def __init__(self, routers: Sequence[Router], requests: int) -> None:
        super().__init__(routers)
        self._requests = requests

    def pick(self, request: RoutedRequest, now: float) -> Router:  # noqa: ARG002 - as in its base
        part = request.number % self._requests * len(self._routers) // self._requests
        return self._routers[part]


class _ClosedLoop:
    """Callers that ask again when they have their answer, and the instances that they share."""

    def __init__(
        self,
        instances: Sequence[tuple[int, DummyModel]],
        calls: RoutedCalls,
        requests: int,
        generator: np.random.Generator,
    ) -> None:
        self._instances = instances
        self._calls = calls
        self._requests = requests
        self._random = generator
        self._features = generator.integers(3, size=CALLERS * requests).tolist()
        self._under_way = [0] * len(instances)  # calls that have come and are not done
        self._starts: dict[int, float] = {}
        self._rows: list[tuple[float, float, float, int, str, int, int]] = []
        self._events: list[tuple[float, int, Callable[[int, int], None], int, int]] = []
        self._order = itertools.count()
        self._now = 0.0

    def run(self) -> "pl.DataFrame":
        import polars as pl

        for caller in range(CALLERS):
            self._after(0.0, self._ask, caller * self._requests)
        self._after(_MEASURED_EVERY, self._measure)
        while len(self._rows) < len(self._features):
            self._now, _, action, number, place = heapq.heappop(self._events)
            action(number, place)
        columns = ["start", "latency", "accuracy", "node", "model", "feature", "client"]
        return pl.DataFrame(self._rows, columns, orient="row")

    def _after(
        self, seconds: float, action: Callable[[int, int], None], number: int = 0, place: int = 0
    ) -> None:
        event = (self._now + seconds, next(self._order), action, number, place)
        heapq.heappush(self._events, event)

    def _ask(self, number: int, _place: int) -> None:
        self._starts[number] = self._now
        request = RoutedRequest(
            number,
            context=f"feature {self._features[number] + 1}",
            client=number // self._requests,
            size=SIZE,
        )
        self._follow(self._calls.arrive(request, self._now))

    def _follow(self, reaction: Reaction) -> None:
        for number, place in reaction.ask:
            more = self._random.exponential(_FRAMEWORK[1])
            self._after(self._way(place) + more, self._reach, number, place)
        if reaction.given is not None:
            self._note(reaction.given.request, reaction.given.answer)

    def _way(self, place: int) -> float:
        return NODE_DELAYS[self._instances[place][0]] + _FRAMEWORK[0] / 2

    def _reach(self, number: int, place: int) -> None:
        model = self._instances[place][1]
        seconds = model.base + SIZE * model.by_unit + model.by_call * self._under_way[place]
        self._under_way[place] += 1
        self._after(seconds + model.jitter * self._random.random(), self._leave, number, place)

    def _leave(self, number: int, place: int) -> None:
        self._under_way[place] -= 1
        self._after(self._way(place), self._answer, number, place)

    def _answer(self, number: int, place: int) -> None:
        accuracy = self._instances[place][1].accuracy(self._features[number])
        answer = PlaceAnswer(place, np.inf, confidence=accuracy, correct=accuracy)
        self._follow(self._calls.answer(number, answer, self._now))

    def _note(self, number: int, answer: PlaceAnswer) -> None:
        """Keep an answer that was given, and let its caller ask again."""
        start, (node, model) = self._starts.pop(number), self._instances[answer.place]
        client, feature = number // self._requests, self._features[number] + 1
        seconds = self._now - start
        row = (start, seconds, answer.correct, node + 1, model.name, feature, client)
        self._rows.append(row)
        if (number + 1) % self._requests:
            self._after(2 * _PAUSE * self._random.random(), self._ask, number + 1)

    def _measure(self, _number: int, _place: int) -> None:
        for state, (node, _) in zip(self._calls.states, self._instances, strict=True):
            latency = _measure(node, self._random)
            state.place = replace(state.place, network_latency=latency)
        self._after(_MEASURED_EVERY, self._measure)


def compare_selectors(
    selectors: Mapping[str, PolicyByWeights] = SELECTORS,
    *,
    requests: int = 400,
    seeds: Iterable[int] = range(3),
    folder: str | os.PathLike[str] | None = None,
) -> "pl.DataFrame":
    """Return response time and accuracy of selectors in the sixteen cells, and the published.

    Columns: placement, use_case, selector; mean, p95 (response time in seconds) and accuracy, each
    the mean over seeds, simulated; mean_low and mean_high, the least and the largest mean of a
    seed; and those of `load_published`, null for selectors that the thesis does not have.

    >>> table = compare_selectors({"random": SELECTORS["random"]}, requests=20, seeds=[1])
    >>> table.height, bool((table["accuracy"] - table["published_accuracy"]).abs().max() < 0.1)
    (16, True)
    """
    import polars as pl

    drawn, rows = list(seeds), []
    for placement, use_case in _CITED:
        for name, policy in selectors.items():
            figures = [
                _figures(replay(placement, use_case, policy, requests=requests, seed=seed))
                for seed in drawn
            ]
            means = [mean for mean, _, _ in figures]
            averages = np.mean(figures, axis=0).tolist()
            rows.append((placement, use_case, name, *averages, min(means), max(means)))
    columns = [*_KEY, "mean", "p95", "accuracy", "mean_low", "mean_high"]
    table = pl.DataFrame(rows, columns, orient="row")
    return table.join(load_published(folder), on=_KEY, how="left", maintain_order="left")


def _figures(answers: "pl.DataFrame") -> tuple[float, float, float]:
    latencies = answers["latency"].to_numpy()
    accuracy = float(answers["accuracy"].to_numpy().mean())
    return float(latencies.mean()), float(np.quantile(latencies, 0.95)), accuracy


def list_answers(
    placement: str,
    selectors: Mapping[str, PolicyByWeights] = SELECTORS,
    *,
    requests: int = 400,
    seed: int = 0,
) -> dict[tuple[str, str], "pl.DataFrame"]:
    """Return the answers in all use cases, by use case and selector, each as `replay` does."""
    return {
        (use_case, name): replay(placement, use_case, policy, requests=requests, seed=seed)
        for use_case in USE_CASES
        for name, policy in selectors.items()
    }


def summarize(answers: Mapping[tuple[str, str], "pl.DataFrame"]) -> "pl.DataFrame":
    """Return a row for each use case and selector: mean and p95 of response time, accuracy."""
    import polars as pl

    rows = [(*key, *_figures(frame)) for key, frame in answers.items()]
    return pl.DataFrame(rows, [*_KEY[1:], "mean", "p95", "accuracy"], orient="row")


def tabulate(table: "pl.DataFrame", name: str) -> "pl.DataFrame":
    """Return a row a cell: weighted and lots, published and rebuilt, and a selector beside them.

    Columns: placement, use_case; published and rebuilt (mean response time of the weighted choice,
    seconds) and off (by which share the second misses the first); lots_published and lots, the same
    of the random choice; time and p95 of the selector, share (its mean time of the weighted one's),
    p95_weighted; published_accuracy, rebuilt_accuracy, accuracy, and gain over the rebuilt.

    Args:
        table: From `compare_selectors`, with "weighted", "random" and the selector.
        name: Of the selector.
    """
    import polars as pl

    weighted, lots, own = (table.filter(selector=each) for each in ("weighted", "random", name))
    return weighted.select(
        *_KEY[:2],
        published="published_mean",
        rebuilt="mean",
        off=pl.col("mean") / pl.col("published_mean") - 1,
        lots_published=lots["published_mean"],
        lots=lots["mean"],
        time=own["mean"],
        share=own["mean"] / pl.col("mean"),
        p95_weighted="p95",
        p95=own["p95"],
        published_accuracy="published_accuracy",
        rebuilt_accuracy="accuracy",
        accuracy=own["accuracy"],
        gain=own["accuracy"] - pl.col("accuracy"),
    )


def list_slower(cells: "pl.DataFrame", time: str, lots: str) -> list[str]:
    """Return the use cases in which a column of times exceeds another in every placement.

    >>> cells = tabulate(compare_selectors(requests=20, seeds=[0]), "round-robin")
    >>> list_slower(cells, "published", "lots_published")
    ['mda', 'psa', 'env']
    """
    import polars as pl

    exceeds = (pl.col(time) > pl.col(lots)).all().alias("slower")
    slower = cells.group_by("use_case", maintain_order=True).agg(exceeds)
    return slower.filter("slower")["use_case"].to_list()
