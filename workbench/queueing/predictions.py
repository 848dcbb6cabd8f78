"""What a formula says: the distribution of the latency, of the batch size, and what both assume."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput
from workbench.formatting import percentile
from workbench.quantiles import PERCENTILES, SLO, Percentiles, longest_within
from workbench.run.columns import as_floats
from workbench.service_times import ServiceTimes
from workbench.validation import as_array

if TYPE_CHECKING:
    from workbench.run.past_errors import PastErrors
    from workbench.run.record import RunRecord
    from workbench.run.verdict import Verdict

Floats = NDArray[np.float64]

ROUNDING = 1e-12
"""Share of a limit by which a latency may exceed it and still be within it."""

_SERVICE_VALUES = 256  # for quantiles: each takes time, and a share is off by 1/512 at most


class Distribution(Protocol):
    """The distribution of a time, in seconds."""

    @property
    def mean(self) -> float:
        """Seconds."""

    @property
    def support(self) -> tuple[float, float]:
        """The least and the greatest value; the latter may be infinite."""

    def cdf(self, x: Floats) -> Floats:
        """Return the share of values of at most x, shape (n,), for x of shape (n,)."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Prediction(Percentiles):
    """What a formula says of an experiment: `quantile`, `cdf` and `attainment` are as in a Run.

    Attributes:
        formula: which one it is.
        assumptions: what has to hold for it to be right, in sentences.
        rate: requests per second.
        latency: the distribution of a request's latency, from its arrival to its answer.
        batch_sizes: share of the batches that hold 1, 2, ... requests.
        concurrency: mean number of batches in service: to compare with a deployment's limit.
        cost: filled in by who knows prices.
        label: what it is of, in a few words; by default the formula.
        slo: the target of the experiment, where there is one.
        warnings: what makes it doubtful: what the fitted process misses of the trace's burstiness.
        setup: what it is of: trace, policy and deployment; None where that is not known.
        past_errors: how far predictions on this machine lay from measured runs before this one.
    """

    origin: ClassVar[str] = "predicted"

    formula: str
    assumptions: tuple[str, ...]
    rate: float
    latency: Distribution
    batch_sizes: Floats
    concurrency: float
    cost: Any = None
    label: str = ""
    slo: SLO | None = None
    warnings: tuple[str, ...] = ()
    setup: "RunRecord | None" = None
    past_errors: "PastErrors | None" = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.formula)

    def __repr__(self) -> str:
        return (
            f"<Prediction, {self.formula}: {self.mean_batch_size:.4g} requests a batch, "
            f"mean latency {self.mean_latency:.4g} s, p95 {self.quantile(0.95):.4g} s"
            f"{''.join(f'; WARNING: {warning}' for warning in self.warnings)}"
            f"{f'; {self.past_errors}' if self.past_errors else ''}>"
        )

    @property
    def mean_batch_size(self) -> float:
        """Requests per batch."""
        return float(self.batch_sizes @ sizes_to(len(self.batch_sizes)))

    @property
    def mean_latency(self) -> float:
        """Seconds, over requests."""
        return self.latency.mean

    def cdf(self, latency: ArrayLike) -> Floats:
        """Return the share of requests answered within each latency, in seconds.

        What is off by rounding alone is in time: see `workbench.quantiles.longest_within`.
        """
        limits = longest_within(as_floats("latency", latency))
        return self.latency.cdf(limits.ravel()).reshape(limits.shape)[()]

    def quantile(self, q: ArrayLike) -> Floats:
        """Return the latency, in seconds, that the share q of requests stays within.

        Raises:
            InvalidInput: q is not between 0 and 1.
        """
        check_share("q", q)
        shares = np.asarray(q, dtype=np.float64)
        return find_quantiles(self.latency, shares.ravel()).reshape(shares.shape)[()]

    def attainment(self, slo: SLO | float) -> float:
        """Return the share answered within a target's latency, or within so many seconds."""
        return float(self.cdf(slo.latency if isinstance(slo, SLO) else slo))

    @property
    def verdict(self) -> "Verdict | None":
        """What it says of its own target, None without one: see `workbench.run.verdict`."""
        from workbench.run.verdict import judge

        return judge(self)

    def summary(self) -> dict[str, Any]:
        """Return the main figures by name; seconds, shares and requests."""
        quantiles = self.quantile(PERCENTILES).tolist()
        percentiles = {percentile(q): x for q, x in zip(PERCENTILES, quantiles, strict=True)}
        means = {"mean_latency": self.mean_latency, "mean_batch_size": self.mean_batch_size}
        head = {"run": self.label, "origin": self.origin}
        known = {"concurrency": self.concurrency, "warnings": list(self.warnings)}
        return {**head, **percentiles, **means, **known}

    def cost_per_request(self, batch_cost: Callable[[int], float]) -> float:
        """Return mean dollars per request, from the dollars that a batch of so many requests costs.

        >>> from workbench.queueing import mm1
        >>> mm1(rate=5, service=0.1).cost_per_request(lambda size: 0.5 * size)
        0.5
        """
        dollars = [batch_cost(size) for size in range(1, len(self.batch_sizes) + 1)]
        return float(self.batch_sizes @ np.array(dollars)) / self.mean_batch_size


def find_quantiles(distribution: Distribution, shares: Floats) -> Floats:
    """Return the values that these shares stay within: by bisection, to 1e-10 of each."""
    low, high = (np.full(len(shares), bound) for bound in distribution.support)
    if math.isinf(distribution.support[1]):
        # no upper end: double until the share is reached
        high = low + distribution.mean
        while (short := distribution.cdf(high) < shares).any():
            low, high = np.where(short, high, low), np.where(short, 2 * high, high)
    while (high - low > 1e-10 * high).any():
        middle = (low + high) / 2
        enough = distribution.cdf(middle) >= shares
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high


def check_share(name: str, share: ArrayLike) -> None:
    """Require that every share lies between 0 and 1, both excluded."""
    shares = as_array(name, share)
    if shares.dtype.kind not in "iuf" or not ((shares > 0) & (shares < 1)).all():
        raise InvalidInput(f"{name} must lie between 0 and 1, both excluded, got {share!r}.")


def sizes_to(count: int) -> Floats:
    """Return 1.0, 2.0, ..., count: the batch sizes.

    >>> sizes_to(3).tolist()
    [1.0, 2.0, 3.0]
    """
    return np.arange(1.0, count + 1)


# ---------------------------------------------------------------------- service times


@dataclass(frozen=True, init=False, eq=False)
class ServiceDistribution:
    """A service time that takes one of several values: measured samples, say.

    Attributes:
        values: seconds.
        weights: chance of each, by default the same.

    Raises:
        InvalidInput: no values, a value negative or not finite, or weights that are not theirs.

    >>> ServiceDistribution([0.1, 0.2], weights=[3, 1]).mean
    0.125
    """

    values: Floats
    weights: Floats

    def __init__(self, values: ArrayLike, weights: ArrayLike | None = None) -> None:
        seconds = np.atleast_1d(np.asarray(values, dtype=np.float64))
        if not (seconds.ndim == 1 and len(seconds) and _all_finite_positive(seconds)):
            raise InvalidInput(f"Service times must be finite seconds, 0 or more, got {values!r}.")
        given = np.ones(len(seconds)) if weights is None else weights
        shares = np.asarray(given, dtype=np.float64)
        if not (shares.shape == seconds.shape and _all_finite_positive(shares) and shares.any()):
            raise InvalidInput(
                "weights must be one finite number of 0 or more for each value, and not all 0, "
                f"got {weights!r}."
            )
        object.__setattr__(self, "values", seconds)
        object.__setattr__(self, "weights", shares / shares.sum())

    @property
    def mean(self) -> float:
        """Seconds."""
        return float(self.values @ self.weights)


Service = ServiceTimes | Sequence[float | ArrayLike | ServiceDistribution]
"""Times of batches of 1, 2, ... requests: seconds, equally likely samples, or distributions."""


def service_distributions(service: Service, max_size: int) -> tuple[ServiceDistribution, ...]:
    """Return the distributions of batches of 1, 2, ..., max_size requests.

    Of `ServiceTimes` given by quantiles, about 256 values of equal weight between them are taken.

    Raises:
        InvalidInput: a size is not covered, or a time is not one.

    >>> [each.mean for each in service_distributions([0.1, [0.1, 0.3]], 2)]
    [0.1, 0.2]
    """
    if isinstance(service, ServiceTimes):
        service.check(np.arange(1, max_size + 1))
        return tuple(
            ServiceDistribution(_midpoints(row)) for row in service.table[1 : max_size + 1]
        )
    check_covered(len(service), max_size)
    return tuple(
        s if isinstance(s, ServiceDistribution) else ServiceDistribution(s)
        for s in service[:max_size]
    )


def check_covered(covered: int, max_size: int) -> None:
    """Require a service time for every batch size."""
    if covered < max_size:
        raise InvalidInput(
            f"service covers batches of up to {covered} requests and max_size is {max_size}: "
            "give a time for every size; larger ones are not extrapolated."
        )


def _midpoints(quantiles: Floats) -> Floats:
    """Return values at the middle of equal shares, uniform between the quantiles."""
    pieces = len(quantiles) - 1
    if pieces == 0:
        return quantiles
    count = pieces * max(1, _SERVICE_VALUES // pieces)
    return np.interp((np.arange(count) + 0.5) * pieces / count, np.arange(pieces + 1), quantiles)


def _all_finite_positive(values: Floats) -> bool:
    return bool((np.isfinite(values) & (values >= 0)).all())
