"""Two published tables about model variants: what switching by load is worth, and what context is.

InfAdapter measured how many requests a second five ResNets serve within a target, by CPUs; Cocktail
counted by class which of nine ImageNet models is right::

    serve(load_capacities(), rates, cpus=20, target=0.75)     # one variant, switching, a set
    value_context(load_hits())                                # the best, and the best by class
    learn(load_hits(), ThompsonSampling(), requests=5_000)    # what a router finds of that

Both tables carry no licence, so that three rows of each are cited; the others are read from a
folder that $WORKBENCH_MODEL_TABLES names. Sources: M. Salmani et al., "Reconciling high accuracy,
cost-efficiency, and low latency of inference serving systems", EuroMLSys 2023, and
reconfigurable-ml-pipeline/InfAdapter @ 398b18f, capacity_result_Feb_21.csv; J. R. Gunasekaran et
al., "Cocktail", NSDI 2022, and jashwantraj92/cocktail @ 07e2fdc, class-weights.csv.
"""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import Damaged, InvalidInput, NotFound
from workbench.routing.base import Place, PlaceAnswer, PlaceState, RoutedRequest, RoutingPolicy
from workbench.service_times import Floats
from workbench.traffic.replay import read_counts
from workbench.validation import whole_number

if TYPE_CHECKING:
    import polars as pl

FOLDER_VARIABLE = "WORKBENCH_MODEL_TABLES"
"""The environment variable that names the folder of the files."""

CAPACITIES_FILE = "infadapter_capacity.csv"
HITS_FILE = "cocktail_class_hits.csv"
RATES_FILE = "worldcup98_invocation_count.csv"

ACCURACY = {18: 0.69758, 34: 0.73314, 50: 0.76130, 101: 0.77374, 152: 0.78312}
"""Share of ImageNet's validation images a ResNet of so many layers gets right (torchvision)."""

SMALLEST = ("MobileNetV2", "MobileNet", "NASNetMobile")
"""The smallest of Cocktail's models: 3.5, 4.3 and 5.3 million parameters."""

IMAGES = 50  # a class in ImageNet's validation set

# layers, processors, the target in seconds, and requests a second
_CITED_CAPACITIES = [(18, 8, 0.75, 190.0), (50, 8, 0.75, 78.0), (152, 8, 0.75, 27.0)]
# of 50 images of a class
_CITED_HITS = {
    "InceptionResNetV2": {"n07248320": 25, "n01773157": 46, "n03710721": 28},
    "MobileNetV2": {"n07248320": 30, "n01773157": 39, "n03710721": 15},
    "NASNetMobile": {"n07248320": 31, "n01773157": 45, "n03710721": 19},
}

_FLASH_CROWD = 99_300
"""The minute of the World Cup's counts, from 0, that is 1998-07-08 20:30 UTC: a semi-final ends."""

# The same hour in words, for whoever lacks the file: a rush that fades, as shares of its peak.
_SKETCH = np.interp(np.arange(60), [0, 24, 32, 40, 59], [0.78, 0.95, 0.73, 0.27, 0.18])


def load_capacities(folder: str | os.PathLike[str] | None = None) -> "pl.DataFrame":
    """Return requests a second by layers of a ResNet, CPUs and target, as measured.

    Columns: layers, cpus, target (p99 of latency, seconds), capacity (1/s), accuracy.

    Raises:
        NotFound: The folder has no such file.
        Damaged: The file lacks a column.

    >>> load_capacities()["capacity"].to_list()[-3:]
    [190.0, 78.0, 27.0]
    """
    import polars as pl

    path, rows = _find(folder, CAPACITIES_FILE), _CITED_CAPACITIES
    if path is not None:
        try:
            rows = [
                (int(row["ARCH"]), int(row["CPU"]), int(row["SLA"]) / 1000, float(row["capacity"]))
                for row in csv.DictReader(path.read_text().splitlines())
            ]
        except KeyError as error:
            raise Damaged(f"{path} has no column {error}: take it as published.") from error
    schema = {"layers": pl.Int64, "cpus": pl.Int64, "target": pl.Float64, "capacity": pl.Float64}
    table = pl.DataFrame(rows, schema, orient="row")
    return table.with_columns(accuracy=pl.col("layers").replace_strict(ACCURACY))


def load_hits(folder: str | os.PathLike[str] | None = None) -> "pl.DataFrame":
    """Return of how many of a class's fifty images each model is right: a row a class.

    Columns: class, and one for each model, in order of accuracy.

    Raises:
        NotFound: The folder has no such file.
        Damaged: A model lacks a class.

    >>> load_hits().columns
    ['class', 'InceptionResNetV2', 'NASNetMobile', 'MobileNetV2']
    """
    import polars as pl

    path, hits = _find(folder, HITS_FILE), _CITED_HITS
    if path is not None:
        hits = {}
        for model, each, count in csv.reader(path.read_text().splitlines()):
            hits.setdefault(model, {})[each] = int(count)
    classes = next(iter(hits.values()))
    if any(each.keys() != classes.keys() for each in hits.values()):
        raise Damaged(f"{path} lacks classes of some models: take it as published.")
    order = sorted(hits, key=lambda model: -sum(hits[model].values()))
    columns = {model: [hits[model][each] for each in classes] for model in order}
    return pl.DataFrame({"class": list(classes)} | columns)


def load_rates(peak: float, folder: str | os.PathLike[str] | None = None) -> Floats:
    """Return requests a second in each minute of an hour, scaled to a peak: a rush that ends.

    It is the World Cup's site on 8 July 1998 from 20:30 UTC; without the file, a sketch of it.

    Raises:
        NotFound: The folder has no such file.

    >>> rates = load_rates(400)
    >>> len(rates), float(rates.max())
    (60, 400.0)
    """
    path = _find(folder, RATES_FILE)
    shape = _SKETCH
    if path is not None:
        shape = read_counts(path)[_FLASH_CROWD : _FLASH_CROWD + 60].astype(np.float64)
    return np.asarray(shape * peak / shape.max())


def _find(folder: str | os.PathLike[str] | None, name: str) -> Path | None:
    """Return the file in the folder named, or None where none is named."""
    folder = folder or os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return None
    path = Path(folder) / name
    if not path.exists():
        raise NotFound(
            f"There is no {name} in {folder}: name another folder, or none for a few rows."
        )
    return path


def serve(
    capacities: "pl.DataFrame", rates: ArrayLike, *, cpus: int, target: float
) -> "pl.DataFrame":
    """Return what one variant, switching between variants and sets of them give, minute by minute.

    Columns: strategy ("ResNet-18", ..., "switching", "sets"), minute, rate, cpus (in use), in_time
    (share of requests within the target) and effective (share right and in time). Requests go to
    the most accurate variant that has capacity left, and what exceeds all capacity is late. One
    variant has the most CPUs that it can use; switching takes one a minute, sets take several, each
    with the largest effective accuracy, and of equals the fewest CPUs. Both know each minute's
    rate, and a change costs nothing: what a forecast misses comes off these figures.

    Args:
        capacities: As `load_capacities` returns them.
        rates: Requests a second in each minute.
        cpus: The most that may be in use at once.
        target: One of those measured, in seconds.

    Raises:
        InvalidInput: Nothing was measured for the target within so many CPUs.

    >>> found = serve(load_capacities(), [20.0, 150.0], cpus=8, target=0.75)
    >>> found.filter(strategy="switching")["effective"].round(3).to_list()
    [0.783, 0.698]
    """
    import polars as pl

    measured = capacities.filter(pl.col("target") == target, pl.col("cpus") <= cpus)
    if measured.is_empty():
        known = sorted(capacities["target"].unique().to_list())
        raise InvalidInput(
            f"Nothing was measured for {target:g} s within {cpus} CPUs: take a target of {known}."
        )
    sets = _Sets(measured.sort("accuracy", "cpus", descending=[True, False]), cpus)
    load = np.atleast_1d(np.asarray(rates, dtype=np.float64))
    frames = [sets.serve(name, rows, load) for name, rows in sets.list_strategies()]
    return pl.concat(frames)


def summarize(hour: "pl.DataFrame") -> "pl.DataFrame":
    """Return the means of each strategy: cpus by minute, in_time and effective by request.

    >>> summarize(serve(load_capacities(), [20.0, 150.0], cpus=8, target=0.75))["strategy"][-1]
    'sets'
    """
    import polars as pl

    shares = (pl.col("in_time", "effective") * pl.col("rate")).sum() / pl.col("rate").sum()
    return hour.group_by("strategy", maintain_order=True).agg(pl.col("cpus").mean(), shares)


class _Sets:
    """All sets of variants with CPUs within the budget: capacity of each, most accurate first."""

    def __init__(self, measured: "pl.DataFrame", cpus: int) -> None:
        self._layers = measured["layers"].unique(maintain_order=True).to_list()
        self._accuracy = np.array([ACCURACY[each] for each in self._layers])
        options = [
            [(0, 0.0), *measured.filter(layers=each).select("cpus", "capacity").rows()]
            for each in self._layers
        ]
        chosen = _combine(options, cpus)
        self._cpus = np.array([[n for n, _ in each] for each in chosen])
        self._capacity = np.array([[capacity for _, capacity in each] for each in chosen])

    def list_strategies(self) -> list[tuple[str, NDArray[np.int64]]]:
        """Return names, and which sets each may use."""
        in_use = self._cpus > 0
        single = np.flatnonzero(in_use.sum(axis=1) == 1)
        strategies = []
        for number, layers in enumerate(self._layers):
            alone = single[in_use[single, number]]
            largest = alone[[self._cpus[alone, number].argmax()]]
            strategies.append((f"ResNet-{layers}", largest))
        return [*strategies[::-1], ("switching", single), ("sets", np.arange(len(in_use)))]

    def serve(self, name: str, rows: NDArray[np.int64], rates: Floats) -> "pl.DataFrame":
        import polars as pl

        found = []
        total = self._cpus[rows].sum(axis=1)
        for minute, rate in enumerate(rates.tolist()):
            filled = np.minimum(np.cumsum(self._capacity[rows], axis=1), rate)
            served = np.diff(filled, axis=1, prepend=0.0) / rate
            effective = served @ self._accuracy
            best = np.lexsort((total, -effective.round(9)))[0]
            share = float(served[best].sum())
            found.append((name, minute, rate, int(total[best]), share, float(effective[best])))
        columns = ["strategy", "minute", "rate", "cpus", "in_time", "effective"]
        return pl.DataFrame(found, columns, orient="row")


def _combine(
    options: Sequence[Sequence[tuple[int, float]]], cpus: int
) -> list[tuple[tuple[int, float], ...]]:
    """Return all choices of CPUs and capacity, one a variant, that fit the budget, but none."""
    sets: list[tuple[tuple[int, float], ...]] = [()]
    for each in options:
        sets = [
            (*before, (count, capacity))
            for before in sets
            for count, capacity in each
            if sum(n for n, _ in before) + count <= cpus
        ]
    return [each for each in sets if any(count for count, _ in each)]


def value_context(hits: "pl.DataFrame") -> dict[str, float]:
    """Return the accuracy of the best model, of the best by class, and of the smallest by class.

    Chosen and measured on the same fifty images a class, "by class" is the most that context can be
    worth, not what it is worth on images to come; and counts alone cannot tell the two apart, since
    the models saw the same images.

    >>> {name: round(share, 3) for name, share in value_context(load_hits()).items()}
    {'best single': 0.66, 'best by class': 0.7, 'smallest by class': 0.633}
    """
    counts = hits.drop("class")
    table = counts.to_numpy() / IMAGES
    small = counts.select(each for each in counts.columns if each in SMALLEST).to_numpy() / IMAGES
    return {
        "best single": float(table.mean(axis=0).max()),
        "best by class": float(table.max(axis=1).mean()),
        "smallest by class": float(small.max(axis=1).mean()),
    }


def choose_by_class(hits: "pl.DataFrame") -> dict[str, str]:
    """Return by class the model that is right most often there, of equals the best of all.

    >>> choose_by_class(load_hits())["n07248320"]
    'NASNetMobile'
    """
    best = hits.drop("class").to_numpy().argmax(axis=1)
    return {
        each: hits.columns[1 + number] for each, number in zip(hits["class"], best, strict=True)
    }


def learn(hits: "pl.DataFrame", policy: RoutingPolicy, *, requests: int, seed: int = 0) -> Floats:
    """Return, request by request, how often the model that a router chose is right.

    Each request is an image of a class drawn evenly; the router sees the class as its kind, and
    whether the answer was right, by lot with the share counted. Returned is that share itself.

    Raises:
        InvalidInput: `requests` is below 1, or the policy does not fit.

    >>> from workbench.routing import RandomChoice
    >>> len(learn(load_hits(), RandomChoice(), requests=10))
    10
    """
    whole_number("requests", requests, low=1)
    models = hits.columns[1:]
    table, classes = hits.drop("class").to_numpy() / IMAGES, hits["class"].to_list()
    states = [PlaceState(number, Place(name=model)) for number, model in enumerate(models)]
    router = policy.router([state.place for state in states], seed)
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(classes), size=requests).tolist()
    luck = generator.random(requests).tolist()
    shares = np.empty(requests)
    for number, (each, chance) in enumerate(zip(drawn, luck, strict=True)):
        request = RoutedRequest(number, context=classes[each])
        (place,) = router.choose(request, states, float(number))
        shares[number] = table[each, place]
        answer = PlaceAnswer(place, 0.0, correct=float(chance < shares[number]))
        router.observe(request, answer, number + 0.5)
    return shares
