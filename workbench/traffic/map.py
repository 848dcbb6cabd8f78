"""Markovian arrival processes, and their figures in closed form.

A `MAP` is two matrices: the rates of phase changes without an arrival (`d0`) and with one (`d1`).
One phase is a Poisson process; two phases hold most of what traffic does within minutes.
`map_fitting.fit` finds the process of a trace.
"""

from dataclasses import dataclass
from functools import cached_property
from math import factorial, log, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput
from workbench.validation import as_array, as_tuple, positive, positive_share

Floats = NDArray[np.float64]

CHUNK_GAPS = 100_000  # gaps whose matrices are held in memory
_MIN_DENSITY = 1e-300  # stands for a density that is 0 to the machine: its logarithm is finite


@dataclass(frozen=True, eq=False, repr=False, init=False)
class MAP:
    """A Markovian arrival process; equal to another of the same matrices.

    Attributes:
        d0: rates of the phase changes without an arrival, per second, shape (phases, phases).
        d1: rates of those (the diagonal: of staying) with an arrival; rows of d0 + d1 sum to 0.

    Formulas: W. Fischer and K. Meier-Hellstern, "The Markov-modulated Poisson process (MMPP)
    cookbook", Performance Evaluation 18 (1993); M. Neuts, "Structured stochastic matrices of
    M/G/1 type and their applications" (1989), chapter 5.

    >>> MAP([[-20, 20], [0, -20]], [[0, 0], [20, 0]])
    <MAP of 2 phases: 10 per second, scv 0.5, dispersion 0.5>
    """

    d0: Floats
    d1: Floats

    def __init__(self, d0: ArrayLike, d1: ArrayLike) -> None:
        for name, matrix in zip(("d0", "d1"), check_map(d0, d1), strict=True):
            matrix.setflags(write=False)
            object.__setattr__(self, name, matrix)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MAP):
            return NotImplemented
        return np.array_equal(self.d0, other.d0) and np.array_equal(self.d1, other.d1)

    def __hash__(self) -> int:
        return hash((self.d0.tobytes(), self.d1.tobytes()))

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor: an array that travelled by pickle alone is writeable again.
        return MAP, (self.d0, self.d1)

    def __repr__(self) -> str:
        return (
            f"<MAP of {self.phases} phase{'s' if self.phases > 1 else ''}: {self.rate:.4g} per "
            f"second, scv {self.scv:.4g}, dispersion {self.dispersion_limit:.4g}>"
        )

    @property
    def phases(self) -> int:
        """The number of phases."""
        return len(self.d0)

    @cached_property
    def phase_shares(self) -> Floats:
        """The share of time in each phase."""
        return stationary_distribution(self.d0 + self.d1)

    @cached_property
    def phases_after_arrival(self) -> Floats:
        """The distribution of the phase just after an arrival."""
        flow: Floats = self.phase_shares @ self.d1
        return np.asarray(flow / flow.sum())

    @cached_property
    def rate(self) -> float:
        """Arrivals per second."""
        return float((self.phase_shares @ self.d1).sum())

    def gap_moment(self, order: int) -> float:
        """Return the mean of a gap's power, in seconds to that power.

        >>> poisson_process(2.0).gap_moment(2)
        0.5
        """
        means = np.linalg.matrix_power(self._stay, order)
        return factorial(order) * float((self.phases_after_arrival @ means).sum())

    @property
    def scv(self) -> float:
        """The squared coefficient of variation of the gaps: variance over squared mean."""
        return self.gap_moment(2) * self.rate**2 - 1

    def autocorrelation(self, lag: int = 1) -> float:
        """Return the correlation of a gap with the one so many arrivals later.

        >>> poisson_process(2.0).autocorrelation()
        0.0
        """
        between = np.linalg.matrix_power(self._stay @ self.d1, lag)
        product = float((self.phases_after_arrival @ self._stay @ between @ self._stay).sum())
        return (product * self.rate**2 - 1) / self.scv

    def gap_cdf(self, gap: ArrayLike) -> Floats:
        """Return the share of gaps of at most so many seconds."""
        gaps = np.asarray(gap, dtype=np.float64).clip(0)
        longer = (self.phases_after_arrival @ _exponentials(self.d0, gaps.ravel())).sum(axis=-1)
        shares: Floats = (1 - longer).clip(0, 1).reshape(gaps.shape)[()]
        return shares

    def dispersion(self, window: ArrayLike) -> Floats:
        """Index of dispersion: variance over mean of the arrivals in a window of so many seconds.

        It is 1 for a Poisson process at every window.

        >>> burst = mmpp(rate=300, burst=6, dwell=(4, 1))
        >>> burst.dispersion([0.1, 1.0]).round(1).tolist()
        [29.8, 207.0]
        """
        windows = np.asarray(window, dtype=np.float64)
        if not (np.isfinite(windows) & (windows > 0)).all():
            raise InvalidInput(f"window must be finite seconds above 0, got {window!r}.")
        left = np.eye(self.phases) - _exponentials(self.d0 + self.d1, windows.ravel())
        starts, ends = self.phase_shares @ self.d1, self.d1.sum(axis=1)
        missing = (starts @ self._deviation @ self._deviation @ left @ ends).reshape(windows.shape)
        dispersion: Floats = (self.dispersion_limit - 2 * missing / (self.rate * windows))[()]
        return dispersion

    @property
    def dispersion_limit(self) -> float:
        """What the index of dispersion tends to as the window grows."""
        covered = self.phase_shares @ self.d1 @ self._deviation @ self.d1.sum(axis=1)
        return 1 + 2 * float(covered) / self.rate

    def log_likelihood(self, gaps: ArrayLike) -> float:
        """Return the logarithm of the density of these gaps, in this order.

        Raises:
            InvalidInput: gaps that are negative, not finite, or all 0.

        >>> poisson_process(2.0).log_likelihood([1.0, 1.0]).__round__(3)
        -2.614
        """
        times = as_gaps(gaps)
        # Without the decay that all phases share, a long gap does not underflow.
        decay = float(-np.linalg.eigvals(self.d0).real.max())
        rates = self.d0 + decay * np.eye(self.phases)
        phases, logarithm = self.phases_after_arrival, -decay * float(times.sum())
        for part in np.array_split(times, len(times) // CHUNK_GAPS + 1):
            product, scale = _long_product(_exponentials(rates, part) @ self.d1)
            phases = phases @ product
            logarithm += scale + log(max(phases.sum(), _MIN_DENSITY))
            phases = phases / max(phases.sum(), _MIN_DENSITY)
        return logarithm

    def thin(self, share: float) -> "MAP":
        """Keep each arrival with probability share, above 0 and at most 1, independently.

        >>> poisson_process(4).thin(0.25).rate
        1.0
        """
        kept = positive_share("share", share)
        return MAP(self.d0 + (1 - kept) * self.d1, kept * self.d1)

    def superpose(self, other: "MAP") -> "MAP":
        """Superpose both processes, independent of one another: the Kronecker sum; also ``a + b``.

        >>> (poisson_process(2) + poisson_process(3)).rate
        5.0
        """
        mine, theirs = np.eye(self.phases), np.eye(other.phases)
        return MAP(
            np.kron(self.d0, theirs) + np.kron(mine, other.d0),
            np.kron(self.d1, theirs) + np.kron(mine, other.d1),
        )

    __add__ = superpose

    def scale(self, factor: float) -> "MAP":
        """Return the same pattern, factor times as fast.

        >>> poisson_process(2).scale(3).rate
        6.0
        """
        positive("factor", factor)
        return MAP(self.d0 * factor, self.d1 * factor)

    def describe(self) -> dict[str, float]:
        """Return figures of gaps and counts by name, as `Trace.describe` has them of a trace.

        Rate (1/s), scv and lag-1 autocorrelation of the gaps, index of dispersion in windows of 1,
        10 and 60 s and in the limit.
        """
        windows = {f"dispersion_{w}s": float(self.dispersion(w)) for w in (1, 10, 60)}
        gaps = {"scv": self.scv, "autocorrelation_1": self.autocorrelation()}
        return {"rate": self.rate, **gaps, **windows, "dispersion_limit": self.dispersion_limit}

    @cached_property
    def _stay(self) -> Floats:
        """Mean seconds in each phase, from each phase, until the next arrival."""
        return np.asarray(np.linalg.inv(-self.d0), dtype=np.float64)

    @cached_property
    def _deviation(self) -> Floats:
        """The deviation matrix of the phases: the integral of exp(Dt) minus its limit."""
        limit = np.outer(np.ones(self.phases), self.phase_shares)
        return np.linalg.inv(limit - self.d0 - self.d1) - limit


def poisson_process(rate: float) -> MAP:
    """Return the MAP of independent arrivals at a constant rate, per second.

    >>> poisson_process(10)
    <MAP of 1 phase: 10 per second, scv 1, dispersion 1>
    """
    positive("rate", rate)
    return MAP([[-rate]], [[rate]])


def mmpp(*, rate: float, burst: float, dwell: tuple[float, float] = (4.0, 1.0)) -> MAP:
    """Return the MAP of `bursty` traffic: Poisson arrivals that switch between two rates.

    Args:
        rate: requests per second, averaged over time.
        burst: high rate over low rate, at least 1.
        dwell: mean stay in seconds in the low state, then in the high one.

    >>> mmpp(rate=300, burst=6, dwell=(4, 1)).d1.diagonal().tolist()
    [150.0, 900.0]
    """
    low, high = bursty_rates(rate=rate, burst=burst, dwell=dwell)
    up, down = 1 / dwell[0], 1 / dwell[1]
    return MAP([[-low - up, up], [down, -high - down]], np.diag([low, high]))


def stationary_distribution(generator: Floats) -> Floats:
    """Return the shares of time in each state of irreducible Markov processes, shape (..., states).

    Generators are stacked, shape (..., states, states); their diagonals are not read: with
    transition probabilities they are those of the chain. No subtraction, so no cancellation.

    Source: W. Grassmann, M. Taksar and D. Heyman, "Regenerative analysis and steady state
    distributions for Markov chains", Operations Research 33 (1985).

    >>> stationary_distribution(np.array([[-1.0, 1.0], [3.0, -3.0]])).tolist()
    [0.75, 0.25]
    """
    rates = np.array(generator, dtype=np.float64)
    states = rates.shape[-1]
    for last in range(states - 1, 0, -1):
        rates[..., :last, last] /= rates[..., last, :last].sum(axis=-1, keepdims=True)
        detour = rates[..., :last, last, None] * rates[..., None, last, :last]
        rates[..., :last, :last] += detour
    shares = np.ones(rates.shape[:-1])
    for state in range(1, states):
        shares[..., state] = (shares[..., :state] * rates[..., :state, state]).sum(axis=-1)
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def _exponentials(rates: Floats, times: Floats) -> Floats:
    """Return exp(rates * t), shape (times, phases, phases); off-diagonal rates are >= 0."""
    if len(rates) > 2:
        from scipy.linalg import expm

        return expm(rates * times[:, None, None])
    # one phase or two have a closed form, which is far faster than `expm`
    middle = np.trace(rates) / len(rates)
    rest = rates - middle * np.eye(len(rates))
    half = sqrt(float(rest[0, 0] ** 2 + rest[0, -1] * rest[-1, 0])) if len(rates) == 2 else 0.0
    # with the greater eigenvalue outside, what is left decays and never overflows
    fade = np.exp(-2 * half * times)
    slope = -np.expm1(-2 * half * times) / (2 * half) if half else times
    parts = np.multiply.outer((1 + fade) / 2, np.eye(len(rates))) + np.multiply.outer(slope, rest)
    exponentials: Floats = np.exp((middle + half) * times)[:, None, None] * parts
    return exponentials.clip(0)


def _long_product(matrices: Floats) -> tuple[Floats, float]:
    """Multiply non-negative matrices in order; return the scaled product and its log scale."""
    logarithm = 0.0
    while True:
        scale = matrices.max(axis=(1, 2)).clip(_MIN_DENSITY)
        matrices = matrices / scale[:, None, None]
        logarithm += float(np.log(scale).sum())
        if len(matrices) == 1:
            return matrices[0], logarithm
        # pairs, as NumPy multiplies a whole stack of matrices at once
        odd = matrices[len(matrices) // 2 * 2 :]
        matrices = np.concatenate([matrices[:-1:2] @ matrices[1::2], odd])


def as_gaps(values: ArrayLike) -> Floats:
    """Return gaps between arrivals as floats, in seconds; reject what is not finite."""
    given = as_array("gaps", values)
    gaps = given.astype(np.float64) if given.dtype.kind in "iuf" else np.array([np.nan])
    if gaps.ndim != 1 or not (np.isfinite(gaps) & (gaps >= 0)).all() or not gaps.any():
        raise InvalidInput("gaps must be one list of finite seconds, 0 or more and not all 0.")
    return gaps


def bursty_rates(
    *, rate: float, burst: float, dwell: tuple[float, float] = (4.0, 1.0)
) -> tuple[float, float]:
    """Return the low and the high rate of `bursty`, in requests per second.

    >>> bursty_rates(rate=300, burst=6, dwell=(4, 1))
    (150.0, 900.0)
    """
    if not positive("burst", burst) >= 1:
        raise InvalidInput(f"burst is the high rate over the low one, at least 1, got {burst!r}.")
    stays = as_tuple("dwell", dwell)
    if len(stays) != 2:
        raise InvalidInput(f"dwell must be two mean stays in seconds, low first, got {dwell!r}.")
    low_stay, high_stay = (positive("dwell", stay, "seconds") for stay in stays)
    low = positive("rate", rate) * (low_stay + high_stay) / (low_stay + burst * high_stay)
    return low, burst * low


def check_map(d0: ArrayLike, d1: ArrayLike) -> tuple[Floats, Floats]:
    """Return the matrices as float64, known to be those of a Markovian arrival process.

    Rows of D0 + D1 may miss 0 by a millionth of their rates, as printed matrices do; the diagonal
    of what is returned makes up for it.

    Raises:
        InvalidInput: not two square matrices of one shape, an entry not finite, a negative entry
            outside D0's diagonal, a row that does not sum to 0, no arrivals, or phases that cannot
            all be reached from each other.

    >>> check_map([[-3]], [[3]])[1]
    array([[3.]])
    """
    d0, d1 = _matrix("d0", d0), _matrix("d1", d1)
    if d0.shape != d1.shape:
        raise InvalidInput(f"d0 and d1 must have one shape, got {d0.shape} and {d1.shape}.")
    off = d0 - np.diag(np.diag(d0))
    _check_not_negative("d0", off, "outside the diagonal")
    _check_not_negative("d1", d1, "everywhere")
    out = (off + d1).sum(axis=1)
    wrong = np.abs(np.diag(d0) + out) > 1e-6 * np.maximum(out, -np.diag(d0))
    if wrong.any():
        row = int(wrong.argmax())
        raise InvalidInput(
            f"Each row of d0 + d1 must sum to 0, row {row + 1} sums to "
            f"{d0[row, row] + out[row]:g}: set d0's diagonal to minus the sum of the row's others."
        )
    if not d1.any():
        raise InvalidInput("d1 holds no rate above 0, so that no request would ever arrive.")
    reached = (off + d1 > 0) | np.eye(len(d1), dtype=bool)
    # squared, paths double each time: more than enough for the longest, phases - 1
    for _ in d1:
        reached = reached @ reached
    if not reached.all():
        start, end = np.argwhere(~reached)[0] + 1
        raise InvalidInput(
            f"The process is reducible: phase {end} is never reached from phase {start}. "
            "Leave out the phases that do not return."
        )
    return off - np.diag(out), d1


def _matrix(name: str, values: ArrayLike) -> Floats:
    array = as_array(name, values)
    square = array.ndim == 2 and array.shape[0] == array.shape[1] > 0
    if not square or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise InvalidInput(f"{name} must be a square matrix of finite numbers, got {values!r}.")
    return array.astype(np.float64)


def _check_not_negative(name: str, matrix: Floats, where: str) -> None:
    if (matrix < 0).any():
        row, column = np.unravel_index(matrix.argmin(), matrix.shape)
        raise InvalidInput(
            f"{name} holds rates, at least 0 {where}, "
            f"got {matrix[row, column]:g} in row {row + 1}, column {column + 1}."
        )
