"""What a router learns of places: latency by calls in flight, what they share, and accuracy.

All begin with what is known beforehand, forget old answers, and read no clock::

    latency = LatencyModel(seconds=0.05, servers=2)
    latency.learn(3, 0.08)           # with three calls in flight an answer took 80 ms
    latency.estimate(6)              # mean and standard deviation in seconds
"""

import math
from collections.abc import Mapping

_OUTLIER = 4.0  # times the estimate: a longer latency counts as so long, as of a cold start
_MEMORY = 200.0  # answers after which an old one weighs 1/e
_HALF_LIFE = 1000.0  # requests that went elsewhere, after which an answer weighs half
_LEAST = 1e-6  # answers' worth that is never forgotten, so that there is a mean
_FEW = 5.0  # answers on which an estimate stands badly
_RIDGE = 0.5  # weight of the slope expected beforehand, in squared units of load
_LEVEL_WEIGHT = 2.0  # answers' worth of the straight line against the mean at just this load
_FIRST_SPREAD = 0.25  # standard deviation over mean, before answers say
_CLEAR = 4.0  # standard errors by which work elsewhere must be seen to delay answers
_SURE = 50.0  # rows' worth of an accuracy known for just this kind of request
_VAGUE = 5.0  # the same of an accuracy over all kinds
_GRADED = 20.0  # rows' worth of an answer that is graded, not right or wrong


class LatencyModel:
    """Latency of one place, network apart, as a function of the calls in flight there.

    A straight line in load, which is calls in flight over servers but at least 1, is fitted to
    answers by least squares that forget; at a load that was seen, the mean there counts as well.
    Before anything is seen, latency is `seconds` times load: a queue in front of busy servers.

    Args:
        seconds: Service time of one call alone; NaN: not known.
        servers: Calls served at once.

    >>> model = LatencyModel(seconds=0.1, servers=2)
    >>> [round(model.estimate(calls)[0], 3) for calls in (1, 2, 4)]
    [0.1, 0.1, 0.2]
    >>> for _ in range(100):
    ...     model.learn(4, 0.3)
    >>> round(model.estimate(4)[0], 2)
    0.3
    """

    __slots__ = ("_estimates", "_levels", "_servers", "_squares", "_sums", "answered", "is_known")

    def __init__(self, seconds: float = math.nan, servers: int = 1) -> None:
        self._servers = servers
        self.is_known = not math.isnan(seconds)
        self.answered = 1.0
        """Share of calls that were answered, the last ones foremost."""
        # sums of 1, load, load squared, seconds and load x seconds
        self._sums = [1.0, 1.0, 1.0, seconds, seconds] if self.is_known else [0.0] * 5
        self._squares = [1.0, _FIRST_SPREAD**2]  # weight and sum of squared relative errors
        self._levels: dict[int, list[float]] = {}  # calls in flight: weight and mean
        self._estimates: dict[int, tuple[float, float]] = {}

    def estimate(self, in_flight: int) -> tuple[float, float]:
        """Return mean and standard deviation in seconds, infinite where nothing is known.

        `in_flight` counts the call itself.
        """
        if in_flight not in self._estimates:
            self._estimates[in_flight] = self._compute(in_flight)
        return self._estimates[in_flight]

    def hope(self, age: float) -> float:
        """Return the seconds of one call alone that are not ruled out.

        The estimate is halved for each thousand requests that went elsewhere since (`age`), and
        sooner where it stands on few answers.
        """
        if not self.is_known:
            return 0.0
        half_life = _HALF_LIFE * self._sums[0] / (self._sums[0] + _FEW)
        return self.estimate(1)[0] * math.exp2(-age / half_life)

    def forget(self, age: float) -> None:
        """Halve the weight of what was learned for each thousand requests that went elsewhere."""
        keep = max(math.exp2(-age / _HALF_LIFE), min(1.0, _LEAST / (self._sums[0] or _LEAST)))
        self._sums = [keep * each for each in self._sums]
        for level in self._levels.values():
            level[0] *= keep

    def learn(self, in_flight: int, seconds: float) -> None:
        """Learn that an answer took so long; an infinite time is a failure."""
        if not math.isfinite(seconds):
            # the last ten foremost, as failures come and go together
            self.answered += (0.0 - self.answered) / 10
            return
        self.answered += (1.0 - self.answered) / 10
        keep = 1 - 1 / _MEMORY
        if self.is_known:
            expected = max(self.estimate(in_flight)[0], 1e-9)
            seconds = min(seconds, _OUTLIER * expected)
            error = seconds / expected - 1
            weight, total = self._squares
            self._squares = [keep * weight + 1, keep * total + error * error]
        load = self._load(in_flight)
        news = (1.0, load, load * load, seconds, load * seconds)
        self._sums = [keep * old + new for old, new in zip(self._sums, news, strict=True)]
        weight, mean = self._levels.get(in_flight, (0.0, 0.0))
        weight = min(weight + 1, _MEMORY / 4)
        self._levels[in_flight] = [weight, mean + (seconds - mean) / weight]
        self.is_known = True
        self._estimates.clear()

    def _load(self, in_flight: int) -> float:
        return max(1.0, in_flight / self._servers)

    def _compute(self, in_flight: int) -> tuple[float, float]:
        if not self.is_known:
            return math.inf, 0.0
        count, loads, squares, seconds, products = self._sums
        load, mean = loads / count, seconds / count
        expected = mean / load  # a queue: each unit of load takes as long as the first
        slope = products - load * seconds + _RIDGE * expected
        slope = max(0.0, slope / (squares - load * loads + _RIDGE))
        line = max(mean + slope * (self._load(in_flight) - load), mean / 10)
        weight, level = self._levels.get(in_flight, (0.0, 0.0))
        found = (weight * level + _LEVEL_WEIGHT * line) / (weight + _LEVEL_WEIGHT)
        return found, found * math.sqrt(self._squares[1] / self._squares[0])


class SharedDelay:
    """How far places delay each other, as models on one machine do that share its processors.

    A straight line through what the places' own latencies leave unexplained, over the seconds of
    work that was under way at other places. Its slope is kept where answers do not clearly speak
    against it: a router that keeps that work steady learns nothing more of it.

    >>> shared = SharedDelay()
    >>> for work in range(20):
    ...     shared.learn(work, work / 2)
    >>> shared.slope
    0.5
    """

    __slots__ = ("_sums", "slope")

    def __init__(self) -> None:
        self._sums = [0.0] * 6  # of 1, work, seconds, and of their squares and product
        self.slope = 0.0
        """Seconds by which a second of work elsewhere delays an answer, 0 or more."""

    def learn(self, work: float, seconds: float) -> None:
        """Learn that an answer took so many seconds more than expected with so much work there."""
        keep = 1 - 1 / _MEMORY
        news = (1.0, work, seconds, work * work, seconds * seconds, work * seconds)
        self._sums = [keep * old + new for old, new in zip(self._sums, news, strict=True)]
        count, works, delays, squares, errors, products = self._sums
        # times the number of answers, the variance of work
        spread = squares - works * works / count
        if count <= _FEW or spread <= 0:
            return
        slope = (products - works * delays / count) / spread
        left = max(0.0, errors - delays * delays / count - slope * slope * spread)
        # the standard error of a slope, of which two values are estimated
        error = _CLEAR * math.sqrt(left / (count - 2) / spread)
        if abs(slope - self.slope) > error:
            self.slope = max(0.0, slope)


class AccuracyModel:
    """Share of right answers of one place, by kind of request.

    What is known beforehand counts as fifty rows where it is known of the kind, else as five. Where
    it is not known at all, the mean of other kinds' answers takes its place, if there is one.

    Args:
        accuracy: Share of right answers over all kinds; NaN: not known.
        by_context: The same by kind of request.

    >>> model = AccuracyModel(0.9, {"noisy": 0.6})
    >>> model.estimate("clean"), model.estimate("noisy")
    (0.9, 0.6)
    >>> model.learn("clean", 0.0)
    >>> model.estimate("clean")
    0.75
    """

    __slots__ = ("_accuracy", "_all", "_by_context", "_estimates", "_seen")

    def __init__(self, accuracy: float, by_context: Mapping[str, float]) -> None:
        self._accuracy = accuracy
        self._by_context = by_context
        self._all = [0.0, 0.0]  # weight and sum
        self._seen: dict[str, list[float]] = {}
        self._estimates: dict[str, float] = {}

    def estimate(self, context: str) -> float:
        """Return the expected share of right answers; 0 where nothing is known."""
        if context not in self._estimates:
            self._estimates[context] = self._compute(context)
        return self._estimates[context]

    def hope(self, context: str) -> float:
        """Return an accuracy that is not ruled out: two standard errors, at most, above."""
        weight = self._seen.get(context, (0.0,))[0] + 1
        return min(1.0, self.estimate(context) + 1 / math.sqrt(weight))

    def learn(self, context: str, correct: float, rows: int = 1) -> None:
        """Learn which share of an answer's rows was right; NaN teaches nothing.

        A share that so many rows cannot have is a grade: it scatters less than right or wrong does.
        """
        if math.isnan(correct):
            return
        count = correct * rows
        worth = rows * (1 if abs(count - round(count)) < 1e-9 else _GRADED)
        keep = 1 - 1 / _MEMORY
        for sums in (self._all, self._seen.setdefault(context, [0.0, 0.0])):
            sums[0] = keep * sums[0] + worth
            sums[1] = keep * sums[1] + worth * correct
        self._estimates.clear()

    def _compute(self, context: str) -> float:
        known = self._by_context.get(context, math.nan)
        worth = _SURE
        if math.isnan(known):
            is_all = not (context or self._by_context)
            known, worth = self._accuracy, _SURE if is_all else _VAGUE
        if math.isnan(known):
            known = self._all[1] / self._all[0] if self._all[0] else 0.0
        weight, total = self._seen.get(context, (0.0, 0.0))
        return (total + worth * known) / (weight + worth)
