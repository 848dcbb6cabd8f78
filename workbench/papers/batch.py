"""BATCH's published evaluation, computed again with the exact model and the simulator beside it.

What was published: arrival processes by the hour, service times by memory and batch size, the grid
that was searched, and the rules by which cost and percentiles were taken. The rest follows::

    maps = load_maps()                                     # three; all 48 from a folder
    model_errors(maps, max_size=10, max_wait=0.2)               # BATCH's formulas, and the exact
    optima(maps["NYS 3"], FAST, [3008], SLO(latency=0.3))       # what each chooses; what is true

Source: A. Ali, R. Pinciroli, F. Yan and E. Smirni, "BATCH: machine learning inference serving on
serverless platforms with adaptive batching", SC 2020, and the solver released with it.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.batching.timer import BatchPolicy
from workbench.deployment import Lambda
from workbench.errors import Damaged, InvalidInput, NotFound
from workbench.quantiles import SLO
from workbench.queueing.batch_formulas import batch_as_published, percentile_size
from workbench.queueing.buffers import predict_buffer
from workbench.queueing.grid import screen
from workbench.queueing.predictions import Prediction
from workbench.service_times import Floats, ServiceTimes
from workbench.simulator import serve
from workbench.traffic.map import MAP
from workbench.traffic.patterns import markovian
from workbench.traffic.trace import Trace

if TYPE_CHECKING:
    import polars as pl

MAPS_FILE = "batch_maps.csv"
FOLDER_VARIABLE = "WORKBENCH_BATCH_MAPS"
"""The environment variable that names the folder of `MAPS_FILE`."""

QUANTILES = np.arange(1, 100) / 100
"""The quantiles over which errors of latency are averaged."""

CITED_MAPS = {
    "NYS 3": MAP([[-9.193680, 0], [0, -10.032671]], [[4.582001, 4.611679], [5.032529, 5.000142]]),
    "NYS 7": MAP(
        [[-55.650135, 0], [0, -105.957535]], [[16.609367, 39.040768], [22.869309, 83.088226]]
    ),
    "Twitter 1": MAP(
        [[-14.625001, 0], [0, -35.171226]], [[0.051020, 14.573981], [0.063796, 35.107429]]
    ),
}
"""Three of the 48 arrival processes, by trace and hour; rates a second."""

SIZES = np.arange(1, 21)  # requests that its fits of service times are for
MEMORIES = np.arange(1280, 3009, 64)  # MB, in Lambda's steps of then
WAITS = np.arange(1, 50, 2) / 100  # seconds
MAX_SIZES = np.array([1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20])
"""Batch sizes with a service time, and the grid searched: memory in MB, waits in seconds, sizes."""

# Coefficients of 1, b, m, b2, bm, m2, b3, mb2, bm2, m3 for batch size b and memory m.
_TERMS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))
# of seconds, as its released solver has them
_INCEPTION_V4 = (
    4.98785373866948,
    2.21290624531453,
    -0.006302148424865,
    0.01220707314674,
    -0.001078252966917,
    2.93842054489054e-6,
    -0.000136439880153,
    -2.38944435771044e-6,
    1.6826351295629e-7,
    -4.44821512957105e-10,
)
# likewise
_RESNET_V2 = (
    4.10287326093357,
    2.44209348386686,
    -0.003744827715921,
    0.00146578966951,
    -0.001200716327886,
    1.54147156981117e-6,
    0.000169790388555,
    -1.69402238148543e-6,
    1.93096097179588e-7,
    -2.14320561298109e-10,
)


def inception_v4(memory_mb: ArrayLike = 3008) -> Floats:
    """Return seconds of batches of 1 to 20 on Lambda, a row a memory size: the slow model.

    >>> inception_v4()[0, [0, 19]].round(3).tolist()
    [1.008, 11.267]
    """
    return _regression(_INCEPTION_V4, memory_mb)


def inception_resnet_v2(memory_mb: ArrayLike = 3008) -> Floats:
    """Return seconds of batches of 1 to 20 on Lambda, a row a memory size: a model slower still.

    >>> inception_resnet_v2()[0, [0, 19]].round(3).tolist()
    [1.527, 12.409]
    """
    return _regression(_RESNET_V2, memory_mb)


def _regression(coefficients: Sequence[float], memory_mb: ArrayLike) -> Floats:
    memory = np.atleast_1d(np.asarray(memory_mb, dtype=np.float64))[:, None]
    terms = (SIZES.astype(np.float64) ** b * memory**m for b, m in _TERMS)
    seconds: Floats = sum(
        (c * term for c, term in zip(coefficients, terms, strict=True)), np.zeros((len(memory), 1))
    )
    return seconds


FAST = (0.034 * SIZES + 0.01)[None, :]
"""Seconds of batches of 1 to 20 of the fast model, at whatever memory."""


def batch_dollars(seconds: ArrayLike, memory_mb: ArrayLike) -> Floats:
    """Return what batches cost on Lambda by the formula published: nothing is rounded or free.

    `seconds` has a row a memory size.
    """
    memory = np.atleast_1d(np.asarray(memory_mb, dtype=np.float64))[:, None]
    # the prices of a GB-second and of a request
    return np.asarray(seconds) * memory / 1024 * 1.66667e-5 + 2e-7


def load_maps(folder: str | os.PathLike[str] | None = None) -> dict[str, MAP]:
    """Return the arrival processes by trace and hour: those of a folder's file, or three.

    The folder, by default the one that $WORKBENCH_BATCH_MAPS names, holds `batch_maps.csv` with
    the columns trace, hour, D0_11, D0_12, ..., D1_22. They were published without a licence, so
    that only three are cited here.

    Raises:
        NotFound: The folder has no such file.
        Damaged: The file lacks a column.

    >>> list(load_maps())
    ['NYS 3', 'NYS 7', 'Twitter 1']
    """
    import polars as pl

    folder = folder or os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return dict(CITED_MAPS)
    path = Path(folder) / MAPS_FILE
    try:
        rows = pl.read_csv(path).rows(named=True)
    except FileNotFoundError as error:
        raise NotFound(
            f"There is no {MAPS_FILE} in {folder}: name another folder, "
            "or none for the three cited."
        ) from error
    try:
        return {
            f"{row['trace']} {row['hour']}": MAP(
                *([[row[f"{d}_{i}{j}"] for j in "12"] for i in "12"] for d in ("D0", "D1"))
            )
            for row in rows
        }
    except KeyError as error:
        raise Damaged(f"{path} has no column {error}: it is not the table of MAPs.") from error


class BufferSimulation(NamedTuple):
    """What the buffer did to each request of a simulation: seconds of wait, requests a batch."""

    waits: Floats
    sizes: NDArray[np.int64]

    def latencies(self, service: Floats) -> Floats:
        """Return seconds from arrival to answer, where a batch of n takes `service[n - 1]`."""
        return self.waits + service[self.sizes - 1]

    def cost(self, each: Floats) -> float:
        """Return dollars a request, where a batch of n costs `each[n - 1]`."""
        return float(np.mean(each[self.sizes - 1] / self.sizes))


def simulate_buffer(trace: Trace, policy: BatchPolicy) -> BufferSimulation:
    """Return what the simulator says of the buffer; it does not know the service behind it.

    >>> pairs = simulate_buffer(Trace([0.0, 0.25, 1.0], 2.0), BatchPolicy(max_size=2, max_wait=0.5))
    >>> pairs.waits.tolist(), pairs.sizes.tolist()
    ([0.25, 0.0, 0.5], [2, 2, 1])
    """
    function = Lambda(memory_mb=3008, max_concurrency=1000)
    any_time = ServiceTimes(dict.fromkeys(range(1, 65), 0.001))  # the buffer comes before it
    batches = serve(trace, policy, function, any_time, cold_start=0.0).batches
    sizes = np.diff(batches.first)
    waits = np.repeat(batches.closed, sizes) - trace.arrivals
    return BufferSimulation(waits, np.repeat(sizes, sizes))


def _traffic(process: MAP, requests: int, seed: int) -> Trace:
    return markovian(process.d0, process.d1, duration=requests / process.rate, seed=seed)


def bisect_quantile(prediction: Prediction, q: float) -> float:
    """Return the percentile as BATCH's solver takes it: to 0.01 s, by bisection up to 30 s."""
    low, high = 0.0, 30.0
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if prediction.cdf(middle) >= q else (middle, high)
    return (low + high) / 2


def mape(latencies: ArrayLike, truth: ArrayLike) -> float:
    """Return the mean of the amounts by which latencies miss the true ones, as a share of these.

    >>> mape([1.25, 0.5], [1.0, 1.0])
    0.375
    """
    return float(np.mean(np.abs(np.asarray(latencies) / np.asarray(truth) - 1)))


def model_errors(
    maps: Mapping[str, MAP],
    *,
    max_size: int,
    max_wait: float,
    requests: int = 200_000,
    seed: int = 0,
) -> "pl.DataFrame":
    """Return how far each model's latencies lie from simulated ones, for slow and fast service.

    Columns: map, service ("slow": Inception-v4 at 3008 MB, "fast"), released, formulas and exact
    (MAPE over the quantiles 1 to 99 %, as shares: of BATCH's formulas as its released solver
    evaluates them, of the formulas themselves, of the exact model), cost_bias (by which share
    BATCH's cost, that of its 95th percentile of batch sizes, exceeds the simulated one).

    Raises:
        InvalidInput: An argument is out of its range.

    >>> row = model_errors({"m": CITED_MAPS["NYS 3"]}, max_size=10, max_wait=0.2).row(1, named=True)
    >>> row["service"], row["exact"] < 0.01, row["formulas"] > 0.3
    ('fast', True, True)
    """
    import polars as pl

    policy = BatchPolicy(max_size=max_size, max_wait=max_wait)
    rows: list[dict[str, Any]] = []
    for number, (name, process) in enumerate(maps.items()):
        truth = simulate_buffer(_traffic(process, requests, seed + number), policy)
        for label, (service,) in (("slow", inception_v4()), ("fast", FAST)):
            errors = _errors(process, policy, service, truth)
            rows.append({"map": name, "service": label, **errors})
    return pl.DataFrame(rows)


def _errors(
    process: MAP, policy: BatchPolicy, service: Floats, truth: BufferSimulation
) -> dict[str, float]:
    size, wait, times = policy.max_size, policy.max_wait, service.tolist()
    published = _predict_published(process, size, wait, service)
    exact = predict_buffer(process, max_size=size, max_wait=wait, service=times)
    latencies = np.quantile(truth.latencies(service), QUANTILES)
    released = [bisect_quantile(published, q) for q in QUANTILES]
    (each,) = batch_dollars(service, 3008)
    size = percentile_size(published.batch_sizes, 0.95)
    return {
        "released": mape(released, latencies),
        "formulas": mape(published.quantile(QUANTILES), latencies),
        "exact": mape(exact.quantile(QUANTILES), latencies),
        "cost_bias": float(each[size - 1] / size / truth.cost(each) - 1),
    }


def optima(
    process: MAP,
    service: Floats,
    memories: ArrayLike,
    slo: SLO,
    *,
    requests: int = 200_000,
    seed: int = 0,
) -> "pl.DataFrame":
    """Return the cheapest setting of the grid within a target as each way chooses it.

    Columns: chosen_by ("exact model", "BATCH", "no batching"), memory_mb, max_size, max_wait
    (seconds), promised (US dollars a million requests, as who chose has it), latency (seconds at
    the target's quantile) and cost (US dollars a million), both simulated, and met (whether that
    latency is within the target).

    Args:
        process: The arrivals.
        service: Seconds of batches of 1, 2, ..., a row for each of `memories`.
        memories: In MB.
        slo: The target.
        requests: To simulate.
        seed: Of the simulations.

    Raises:
        InvalidInput: Nothing on the grid meets the target, by one of the ways.
    """
    import polars as pl

    dollars = batch_dollars(service, memories)
    found = screen(
        process, max_sizes=MAX_SIZES, max_waits=WAITS, service=service, quantile=slo.quantile
    )
    exact = np.where(found.quantile < slo.latency, found.cost_per_request(dollars), np.inf)
    alone = np.where(service[:, 0] < slo.latency, dollars[:, 0], np.inf)[:, None, None]
    chosen = {
        "exact model": _cheapest(exact, slo),
        "BATCH": _choose_published(process, service, dollars, slo),
        "no batching": _cheapest(alone, slo)._replace(max_wait=0.0),  # the first size is 1
    }
    trace = _traffic(process, requests, seed)
    rows = []
    for name, (memory, max_size, max_wait, promised) in chosen.items():
        truth = simulate_buffer(trace, BatchPolicy(max_size=max_size, max_wait=max_wait))
        latency = float(np.quantile(truth.latencies(service[memory]), slo.quantile))
        rows.append(
            {
                "chosen_by": name,
                "memory_mb": int(np.atleast_1d(memories)[memory]),
                "max_size": max_size,
                "max_wait": max_wait,
                "promised": 1e6 * promised,
                "latency": latency,
                "cost": 1e6 * truth.cost(dollars[memory]),
                "met": latency <= slo.latency * 1.001,  # what a simulated quantile may be off by
            }
        )
    return pl.DataFrame(rows)


class _Choice(NamedTuple):
    """A place in the rows of memory, size and wait, and dollars a request."""

    memory: int
    max_size: int
    max_wait: float
    cost: float


def _choose_published(process: MAP, service: Floats, dollars: Floats, slo: SLO) -> _Choice:
    """Choose by BATCH's own cost, that of a percentile of batch sizes, and its own latency."""
    costs = np.empty((len(service), len(MAX_SIZES), len(WAITS)))
    for row, column in np.ndindex(costs.shape[1:]):
        found = _predict_published(process, int(MAX_SIZES[row]), float(WAITS[column]), service[0])
        size = percentile_size(found.batch_sizes, 0.95)
        costs[:, row, column] = dollars[:, size - 1] / size
    while np.isfinite(costs).any():
        choice = _cheapest(costs, slo)
        row, size, wait, _ = choice
        found = _predict_published(process, size, wait, service[row])
        if found.cdf(slo.latency) >= slo.quantile:
            return choice
        costs.flat[costs.argmin()] = np.inf
    return _cheapest(costs, slo)


def _predict_published(process: MAP, size: int, wait: float, service: Floats) -> Prediction:
    times = service.tolist()
    return batch_as_published(process, max_size=size, max_wait=wait, service=times)


def _cheapest(costs: Floats, slo: SLO) -> _Choice:
    if not np.isfinite(costs).any():
        raise InvalidInput(f"Nothing on the grid meets {slo.label}: give a target further off.")
    memory, size, wait = np.unravel_index(costs.argmin(), costs.shape)
    cost = float(costs[memory, size, wait])
    return _Choice(int(memory), int(MAX_SIZES[size]), float(WAITS[wait]), cost)
