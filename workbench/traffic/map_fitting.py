"""The Markovian arrival process that fits a trace, and how far it is from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from math import sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from workbench.errors import InvalidInput, TooFewSamples
from workbench.formatting import duration
from workbench.traffic.map import CHUNK_GAPS, MAP, Floats, as_gaps, poisson_process
from workbench.traffic.trace import Trace
from workbench.validation import positive

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["poisson", "mmpp2", "map2"]

_MIN_GAPS = 200  # ten for each of the blocks, whose spread is to say something
_BLOCKS = 20  # consecutive parts of a trace whose spread gives a figure's standard error
_WINDOWS = 12  # evenly on a logarithmic scale
_MAX_LOGIT = 20.0  # beyond this a logit is 0 or 1


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MapFit:
    """The process that fits a trace, and how far it is from it.

    Attributes:
        map: the fitted process.
        kind: "poisson", "mmpp2" or "map2".
        trace: figures of the trace, by name.
        fitted: the same figures of the process.
        errors: their standard errors in the trace.
        misfit: root mean square of the distances between the two, in standard errors (of no
            less than 1 %); near 1 where the process explains the trace.
        ks_distance: largest distance between the gaps' distributions (Kolmogorov-Smirnov).
        gaps: of the trace, in seconds.
        warnings: what of the trace's burstiness the process misses, in sentences.
    """

    map: MAP
    kind: Kind
    trace: Mapping[str, float]
    fitted: Mapping[str, float]
    errors: Mapping[str, float]
    misfit: float
    ks_distance: float
    gaps: Floats
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        warned = f", warnings: {len(self.warnings)}" if self.warnings else ""
        return f"<Fit {self.kind}, misfit {self.misfit:.2g}{warned}: {self.map!r}>"

    @cached_property
    def log_likelihood(self) -> float:
        """The logarithm of the likelihood of the trace's gaps, per gap."""
        return self.map.log_likelihood(self.gaps) / len(self.gaps)

    @property
    def frame(self) -> "pl.DataFrame":
        """One row a figure: its name, of the trace, of the process, standard error in the trace."""
        import polars as pl

        columns = {"trace": self.trace, "fitted": self.fitted, "error": self.errors}
        values = {name: list(figures.values()) for name, figures in columns.items()}
        return pl.DataFrame({"figure": list(self.trace)} | values)


def fit(
    trace: Trace | ArrayLike, kind: Kind | Literal["auto"] = "auto", *, window: float | None = None
) -> MapFit:
    """Fit a Markovian arrival process to a trace: its rate exactly, its other figures nearly.

    The others are the second and third moment of the gaps, their lag-1 autocorrelation, and the
    index of dispersion in windows from one mean gap to a twentieth of the trace. Their squared
    distances, in standard errors, are minimised: over a grid first, then from its best points.

    - "poisson" has the rate alone.
    - "mmpp2" is a Poisson process that switches between two rates: the figures of Heffes and
      Lucantoni, "A Markov modulated characterization of packetized voice", IEEE JSAC 4 (1986),
      with more windows and gaps in place of the counts' third moment.
    - "map2" is any MAP of two phases, in the canonical form of Bodrog, Heindl, Horvath and Telek,
      "A Markovian canonical form of second-order matrix-exponential processes", EJOR 190 (2008).
    - "auto" is the first of these that is about as near as the ones after it.

    Two phases know one time scale: of a trace that is bursty on several, one is met and the
    warnings name a window of the others.

    Args:
        trace: a Trace, or gaps in seconds from one arrival to the next.
        kind: of process.
        window: seconds whose burstiness matters, such as a batch's longest wait.

    Raises:
        TooFewSamples: fewer than 200 gaps, or not 20 windows in the trace.
        InvalidInput: an unknown kind; gaps that are negative, not finite, or all 0.

    >>> from workbench.traffic.patterns import bursty
    >>> fit(bursty(rate=100, burst=5, dwell=(2, 2), duration=600, seed=1)).kind
    'mmpp2'
    """
    observed = _observe(trace, window)
    if kind != "auto":
        return _assess(_fit_kind(kind, observed), kind, observed)
    plain = _assess(poisson_process(observed.rate), "poisson", observed)
    # 1 is what chance alone makes: near it, the simplest process will do
    if plain.misfit < 1.7:
        return plain
    switching, general = (_assess(_fit_kind(k, observed), k, observed) for k in ("mmpp2", "map2"))
    # the one of fewer parameters, unless the other is clearly nearer
    return switching if switching.misfit < 1.1 * general.misfit + 0.1 else general


@dataclass(frozen=True, kw_only=True)
class _TraceStatistics:
    gaps: Floats
    rate: float
    windows: Floats
    span: float
    requested_window: float | None
    figures: Floats  # logs of second and third moment in mean gaps, lag-1, logs of dispersions
    errors: Floats

    @property
    def tolerances(self) -> Floats:
        # Without the 1 %, the figures of a long trace that no process meets outweigh all others.
        return np.hypot(self.errors, 0.01)

    def name_figures(self, rate: float, figures: Floats) -> dict[str, float]:
        """Return the figures in plain units, by name."""
        second, third = np.exp(figures[:2]).tolist()
        gaps = {"scv": second - 1, "third_moment": third, "autocorrelation_1": float(figures[2])}
        dispersions = np.exp(figures[3:]).tolist()
        named = {f"dispersion_{w:.3g}s": d for w, d in zip(self.windows, dispersions, strict=True)}
        return {"rate": rate} | gaps | named

    def errors_by_name(self) -> dict[str, float]:
        """Return standard errors of `name_figures`: those of logarithms are relative ones."""
        values = self.name_figures(self.rate, self.figures)
        of_rate = sqrt(self.rate * list(values.values())[-1] / self.span)
        slopes = np.exp(self.figures)
        slopes[2] = 1.0
        return dict(zip(values, [of_rate, *(slopes * self.errors).tolist()], strict=True))


def _observe(trace: Trace | ArrayLike, window: float | None) -> _TraceStatistics:
    times, span = _times(trace)
    gaps = np.diff(times)
    if len(gaps) < _MIN_GAPS:
        raise TooFewSamples(
            f"Fitting needs at least {_MIN_GAPS} gaps between arrivals, got {len(gaps)}: "
            "use a longer trace."
        )
    rate = len(times) / span
    longest = span / _BLOCKS
    if window is not None and positive("window", window, "seconds") > longest:
        raise TooFewSamples(
            f"window must fit {_BLOCKS} times into the trace of {span:.6g} s, got "
            f"{window!r}: use a longer trace or a shorter window."
        )
    windows = np.geomspace(1 / rate, longest, _WINDOWS)
    if window is not None:  # in place of those that would bear the same name
        others = windows[~np.isclose(windows, window, rtol=0.01)]
        windows = np.sort(np.append(others, window))
    counted = [_dispersion(times, span, w) for w in windows]
    blocks = np.array([_gap_figures(part) for part in np.array_split(gaps, _BLOCKS)])
    spread = blocks.std(axis=0, ddof=1) / sqrt(_BLOCKS)
    relative = [sqrt(2 / (int(span / w) - 1)) for w in windows]
    return _TraceStatistics(
        gaps=gaps,
        rate=rate,
        span=span,
        windows=windows,
        requested_window=window,
        figures=np.concatenate([_gap_figures(gaps), np.log(counted)]),
        errors=np.concatenate([spread, relative]),
    )


def _times(trace: Trace | ArrayLike) -> tuple[Floats, float]:
    if isinstance(trace, Trace):
        return trace.arrivals, trace.duration
    gaps = as_gaps(trace)
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    # the mean gap comes after the last arrival as well, so that the rate is 1 / mean
    return times, float(times[-1]) * (1 + 1 / len(gaps))


def _gap_figures(gaps: Floats) -> Floats:
    mean = gaps.mean() or 1.0
    relative = gaps / mean
    away = relative - 1
    variance = float((away**2).mean())
    lag = float((away[1:] * away[:-1]).mean()) / variance if variance > 1e-12 else 0.0
    second, third = float((relative**2).mean()), float((relative**3).mean())
    return np.array([np.log(max(second, 1.0)), np.log(max(third, 1.0)), lag])


def _dispersion(times: Floats, span: float, window: float) -> float:
    edges = window * np.arange(int(span / window) + 1)
    counts = np.diff(np.searchsorted(times, edges))
    return max(float(counts.var(ddof=1) / counts.mean()), 0.01)  # 0 has no logarithm


def _fit_kind(kind: Kind, observed: _TraceStatistics) -> MAP:
    if kind == "poisson":
        return poisson_process(observed.rate)
    if kind == "mmpp2":
        most = observed.figures[3:].max() + 2
        # from slower than the longest window shows to faster than requests come
        speeds = np.linspace(-np.log(observed.windows[-1]) - 2, np.log(observed.rate) + 2, 16)
        grid = _grid(np.linspace(most - 12, most, 14), speeds, np.linspace(-6, 6, 9))
        found = [_search(_mmpp2_matrices, grid, observed)]
    elif kind == "map2":
        logits = np.concatenate([np.linspace(-4, 4, 9), [6.0, 9.0]])
        grid = _grid(np.linspace(-3, 8, 12), logits, logits)
        forms = [partial(_map2_matrices, positive=positive) for positive in (True, False)]
        found = [_search(form, grid, observed) for form in forms]
    else:
        raise InvalidInput(f'kind must be "auto", "poisson", "mmpp2" or "map2", got {kind!r}.')
    return min(found, key=lambda pair: pair[0])[1]


Form = Callable[[Floats, float], tuple[Floats, Floats]]


def _search(form: Form, grid: Floats, observed: _TraceStatistics) -> tuple[float, MAP]:
    """Return the least squared distance over a form's parameters, and the process that has it."""
    from scipy.optimize import least_squares

    def distances(parameters: Floats) -> Floats:
        figures = _figures(*form(parameters, observed.rate), observed.windows, observed.rate)
        return (figures - observed.figures) / observed.tolerances

    # least squares may end in a local minimum: from the best of a grid, computed at once
    costs = (distances(grid) ** 2).sum(axis=-1)
    starts = grid[np.argsort(costs)[:4]]
    ends = [least_squares(distances, start, max_nfev=200) for start in starts]
    best = min(ends, key=lambda end: float(end.cost))
    return float(best.cost), MAP(*form(best.x, observed.rate))


def _figures(d0: Floats, d1: Floats, windows: Floats, rate: float) -> Floats:
    """Return what `_TraceStatistics` holds, of two-phase processes: shape (..., figures)."""
    both = d0 + d1
    speed = both[..., 0, 1] + both[..., 1, 0]
    shares = np.stack([both[..., 1, 0], both[..., 0, 1]], axis=-1) / speed[..., None]
    flow = np.einsum("...i,...ij->...j", shares, d1)
    stay = np.linalg.inv(-d0)
    first = np.einsum("...i,...ij->...j", flow / rate, stay)
    second = np.einsum("...i,...ij->...j", first, stay)
    third = np.einsum("...i,...ij->...j", second, stay)
    variance = 2 * second.sum(axis=-1) * rate**2 - 1
    lag = (np.einsum("...i,...ij->...", second, d1 @ stay) * rate**2 - 1) / variance
    excess = np.einsum("...i,...i->...", flow, d1.sum(axis=-1)) - rate**2
    turns = speed[..., None] * windows
    # expm1, as 1 - exp(-x) loses its digits in short windows
    risen = 1 + np.expm1(-turns) / turns
    counts = 1 + (2 * excess / (rate * speed))[..., None] * risen
    moments = np.stack([variance + 1, 6 * third.sum(axis=-1) * rate**3], axis=-1)
    return np.concatenate([np.log(moments), lag[..., None], np.log(counts.clip(0.01))], axis=-1)


def _mmpp2_matrices(parameters: Floats, rate: float) -> tuple[Floats, Floats]:
    """Return matrices of an MMPP(2) of this rate, from unbounded parameters of shape (..., 3)."""
    # The logarithms of the excess dispersion in the limit and of the speed of the phases, and the
    # share of time in the high phase, as the logit of its share of what is possible.
    excess, speed, logit = np.moveaxis(parameters.clip(-_MAX_LOGIT, _MAX_LOGIT), -1, 0)
    variance, speed = rate * np.exp(excess + speed) / 2, np.exp(speed)
    high_share = _logistic(logit) * rate**2 / (rate**2 + variance)
    high = rate + np.sqrt(variance * (1 - high_share) / high_share)
    low = (rate - np.sqrt(variance * high_share / (1 - high_share))).clip(0)
    up, down = speed * high_share, speed * (1 - high_share)
    none = np.zeros_like(up)
    return _matrix([[-low - up, up], [down, -high - down]]), _matrix([[low, none], [none, high]])


def _map2_matrices(parameters: Floats, rate: float, *, positive: bool) -> tuple[Floats, Floats]:
    """Return the canonical MAP(2) of this rate, its gaps correlated with one sign or none."""
    # The logarithm of by how much the fast phase is faster, and the logits of the chances that the
    # canonical form calls a and b.
    ratio, a, b = np.moveaxis(parameters.clip(-_MAX_LOGIT, _MAX_LOGIT), -1, 0)
    fast, none = 1 + np.exp(ratio), np.zeros_like(ratio)
    stay, leave = fast * _logistic(b), fast * _logistic(-b)
    d0 = _matrix([[none - 1, _logistic(-a)], [none, -fast]])
    first, second = [_logistic(a), none], [leave, stay]
    d1 = _matrix([first, second] if positive else [first[::-1], second[::-1]])
    both = d0 + d1
    up, down, ends = both[..., 0, 1], both[..., 1, 0], d1.sum(axis=-1)
    factor = rate * (up + down) / (down * ends[..., 0] + up * ends[..., 1])  # to have this rate
    return d0 * factor[..., None, None], d1 * factor[..., None, None]


def _matrix(rows: list[list[Floats]]) -> Floats:
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _logistic(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def _grid(*axes: Floats) -> Floats:
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))


def _assess(found: MAP, kind: Kind, observed: _TraceStatistics) -> MapFit:
    moments = [found.gap_moment(k) * found.rate**k for k in (2, 3)]
    dispersions = found.dispersion(observed.windows).clip(0.01)
    figures = np.concatenate([np.log(moments), [found.autocorrelation()], np.log(dispersions)])
    missed = (figures - observed.figures) / observed.tolerances
    ks_distance = _ks_distance(found, observed.gaps)
    warnings = _window_warnings(figures[3:], observed)
    if ks_distance > 0.1:
        share = f"{100 * ks_distance:.0f} %"
        where = f"up to some length, trace and process differ by {share} of them."
        warnings += (f"The gaps are missed: {where}",)
    return MapFit(
        map=found,
        kind=kind,
        trace=observed.name_figures(observed.rate, observed.figures),
        fitted=observed.name_figures(found.rate, figures),
        errors=observed.errors_by_name(),
        misfit=float(np.sqrt((missed**2).mean())),
        ks_distance=ks_distance,
        gaps=observed.gaps,
        warnings=warnings,
    )


def _ks_distance(found: MAP, gaps: Floats) -> float:
    # at most so many places, as each one takes a matrix exponential
    places = np.linspace(0, len(gaps) - 1, min(len(gaps), CHUNK_GAPS)).astype(np.int64)
    expected = found.gap_cdf(np.sort(gaps)[places])
    above, below = (places + 1) / len(gaps) - expected, expected - places / len(gaps)
    return float(np.maximum(above, below).max())


def _window_warnings(dispersions: Floats, observed: _TraceStatistics) -> tuple[str, ...]:
    """Return sentences on the watched window, where missed, and on the worst other one."""
    ratios = np.exp(dispersions - observed.figures[3:])
    # above 1: off by more than a tenth, and by more than three standard errors
    excess = np.abs(np.log(ratios)) / np.maximum(np.log(1.1), 3 * observed.errors[3:])
    watched = observed.windows == observed.requested_window
    worst = np.arange(len(excess)) == np.where(watched, 0, excess).argmax()
    return tuple(
        f"Burstiness in windows of {duration(observed.windows[i])} is missed: "
        f"the index of dispersion is {np.exp(observed.figures[3 + i]):.3g} in the trace and "
        f"{np.exp(dispersions[i]):.3g} in the fitted process"
        f"{', at the window that matters' if watched[i] else ''}."
        for i in np.flatnonzero((excess > 1) & (watched | worst))
    )
