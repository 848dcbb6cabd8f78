"""Rows run alone and together, to see whether an answer depends on its company.

Layers that are quantised as rows come (one scale for the whole batch), softmax or sums over the
first axis and recurrent nets that read it as time give a row another answer in a batch than alone.
So rows are run in several sizes and orders, beside odd rows, and on more threads than one.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvocationError, RowMismatch
from workbench.registry.invariance import BatchInvariance, NeighbourEffect
from workbench.registry.rows import change_columns, columns_of
from workbench.validation import require_rows

SIZES = (1, 2, 3, 7, 16, 50, 51)
"""Rows in a batch that are tried; ONNX Runtime shares out trees in another way from 51 rows on."""

THREADS = (1, 2)
"""Threads of a session that are tried."""

SECONDS = 1.0
"""Seconds after which the rest is left out, but for batches of 2 and 3, which are always tried."""

ORDINARY, LARGE = "ordinary rows", "a large value"

_TOLERANCES = {"float16": 1e-2}  # whose steps are 1e-3 of a value
_TOLERANCE = 1e-4  # of other floats, where another order of sums makes 1e-6
_LARGE = 1000.0  # times the largest number among the rows
_MANY = 3000  # rows in which a forest's votes may tie
MANY_SIZES = (51, 129, _MANY)  # above 128 rows ONNX Runtime shares out trees in a third way
_REPEATS = 3  # of a row alone: answers at random differ
_MAX_BATCH_BYTES = 2**26  # of a larger one the machine may have no room


class BatchSession(Protocol):
    """What runs batches: a `Session`, for instance."""

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Return the answers to a batch; raise an InvocationError where the model fails."""
        ...


def probe(
    open_session: Callable[[int], BatchSession],
    rows: NDArray[Any],
    *,
    labels: bool = False,
    forest: bool = False,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> BatchInvariance:
    """Return how answers to rows depend on what is beside them.

    Args:
        open_session: Returns the model in a session of so many threads.
        rows: Rows that the model takes, shape (n, *row); the first 51 are used.
        labels: Whether answers are labels, or scores the largest of which tells the label.
        forest: Whether trees vote: then thousands of rows are tried, mixed from these, as votes
            tie in few of them.
        seconds: The time after which the rest is left out.
        clock: Tells the time, in seconds.

    Raises:
        InvocationError: The model does not run on a single row.

    >>> class RunningSum:
    ...     def run(self, batch):
    ...         return batch.cumsum(axis=0)
    >>> probe(lambda threads: RunningSum(), np.ones((4, 2))).verdict
    'changes'
    """
    found = _Probe(open_session, _Watch(clock, seconds), labels=labels)
    try:
        found.run_alone(_spread(rows[: SIZES[-1]]))
        found.run_trials()
        if forest and found.deterministic:
            found.run_many(rows)
    except _Fault as fault:
        return BatchInvariance(fault=str(fault))
    return found.sum_up()


def compare_batches(
    session: BatchSession, batches: Iterable[NDArray[Any]], *, labels: bool
) -> NeighbourEffect:
    """Return how answers to the rows of batches differ from those to the rows alone."""
    changes, at, tolerance, texts = _Changes(), 0, 0.0, False
    for batch in batches:
        together = np.asarray(session.run(batch))
        alone = np.concatenate([session.run(batch[i : i + 1]) for i in range(len(batch))])
        changed = _find_labels(together) != _find_labels(alone)
        changes.add(np.arange(at, at + len(batch)), compare_answers(together, alone), changed)
        at += len(batch)
        tolerance, texts = _tolerate(alone), alone.dtype.kind != "f"
    return changes.sum_up("the others of their batch", tolerance, labels=labels or texts)


def has_trees(content: bytes) -> bool:
    """Return whether an ONNX file has trees, by the names of its operators."""
    return b"TreeEnsemble" in content


class _Fault(Exception):
    """Batches of the model cannot be trusted at all."""


class _Watch:
    """Tells whether there is time left."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self.clock = clock
        self._began = clock()
        self._seconds = seconds

    def has(self, needed: float, *, share: float = 1.0) -> bool:
        """Return whether so many seconds are left of a share of the time."""
        return self.clock() - self._began + needed <= share * self._seconds


@dataclass(frozen=True)
class _Trial:
    """One batch: its size, the threads, what is in it, and the order (or where the odd row is)."""

    size: int
    threads: int
    beside: str
    order: str

    @property
    def essential(self) -> bool:
        """Whether it is tried however slow the model is."""
        plain = self.order in ("as they come", "first") and self.beside in (ORDINARY, LARGE)
        return plain and self.threads == 1 and self.size in (2, 3)


def _list_trials(besides: Iterable[str]) -> list[_Trial]:
    """Return what is to be tried, first what tells most."""
    plain = product(SIZES, THREADS, [ORDINARY], ["as they come", "reversed", "shuffled"])
    odd = product(SIZES[1:], THREADS, besides, ["first", "last"])
    trials = [_Trial(*each) for each in (*plain, *odd)]

    def rank(trial: _Trial) -> tuple[bool, int]:
        busy = trial.threads > 1 and (trial.size, trial.beside) != (16, ORDINARY)
        rare = busy + (trial.order in ("reversed", "shuffled", "last"))
        return not trial.essential, rare

    return sorted(trials, key=rank)


@dataclass
class _Changes:
    """What changed of numbered rows in one kind of company, each counted once."""

    deviations: NDArray[np.float64] = field(
        default_factory=lambda: np.full(SIZES[-1] + _MANY, np.nan)
    )
    labels: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(SIZES[-1] + _MANY, bool))

    def add(self, which: NDArray[np.int64], deviations: Any, labels: Any) -> None:  # noqa: ANN401
        """Note the deviations of rows, and whether their labels changed."""
        np.fmax.at(self.deviations, which, deviations)
        np.logical_or.at(self.labels, which, labels)

    def sum_up(self, beside: str, tolerance: float, *, labels: bool) -> NeighbourEffect:
        """Return it in figures."""
        compared = self.deviations[~np.isnan(self.deviations)]
        return NeighbourEffect(
            beside=beside,
            rows=len(compared),
            changed=int((compared > tolerance).sum()),
            labels=int(self.labels.sum()) if labels else None,
            deviation=float(compared.max(initial=0.0)),
        )


class _Probe:
    """A model under trial: its answers to rows alone, and what changed of them in company."""

    def __init__(
        self, open_session: Callable[[int], BatchSession], watch: _Watch, *, labels: bool
    ) -> None:
        self.deterministic = True
        self._open = open_session
        self._watch = watch
        self._labels = labels
        self._sessions: dict[int, BatchSession] = {}
        self._seconds = 0.0  # of one row alone
        self._tolerance = 0.0
        self._changes: dict[str, _Changes] = {}
        self._swaps: list[bool] = []  # of batches that changed: whether only the order did
        self._left_out = ""

    def run_alone(self, rows: NDArray[Any]) -> None:
        """Run rows alone, and some of them again."""
        answers, kept = [], []
        for number in range(len(rows)):
            if number >= 2 and not self._watch.has(self._seconds, share=1 / 3):
                break
            began = self._watch.clock()
            try:
                answers.append(self._run(rows[number : number + 1]))
            except InvocationError:
                if not number:
                    raise
                continue
            kept.append(number)
            self._seconds = self._watch.clock() - began
        self._rows, self._alone = rows[kept], np.concatenate(answers)
        self._tolerance = _tolerate(self._alone)
        for number in [*range(min(3, len(kept)))] * (_REPEATS - 1):
            again = self._run(self._rows[number : number + 1])
            self.deterministic &= not compare_answers(again, answers[number]).any()

    def run_trials(self) -> None:
        """Run rows together in every way there is time for."""
        odd = self._find_odd_rows()
        trials, left_out = _list_trials(odd), 0
        for trial in trials:
            room = trial.size * self._rows[:1].nbytes <= _MAX_BATCH_BYTES
            if room and (trial.essential or self._watch.has(trial.size * self._seconds)):
                self._run_trial(trial, odd.get(trial.beside, self._rows[:0]))
            else:
                left_out += 1
        if left_out:
            self._left_out = f"{left_out} of {len(trials)} batches, for want of time or room"
        if self.deterministic and len(self._swaps) > 1 and all(self._swaps):
            raise _Fault("Rows in a batch are answered in another order than they come")

    def run_many(self, rows: NDArray[Any]) -> None:
        """Compare thousands of rows, each column of which is drawn from the rows' own."""
        many, rng = np.resize(rows, (_MANY, *rows.shape[1:])), np.random.default_rng(0)
        many = change_columns(lambda values: rng.permuted(values, axis=0), many)
        try:
            answers = [self._run(many[at : at + 1]) for at in self._while_time(range(len(many)))]
            if not answers:
                what = "thousands of mixed rows, for want of time"
                self._left_out = "; ".join(filter(None, [self._left_out, what]))
                return
            alone = np.concatenate(answers)
            many = many[: len(alone)]
            for threads, size in (*product(THREADS, MANY_SIZES), (THREADS[-1], 1)):
                for at in self._while_time(range(0, min(len(many), 1000 * size), size)):
                    which = np.arange(at, min(at + size, len(many)))
                    found = self._run(many[which], threads)
                    self._note_answers(ORDINARY, which + SIZES[-1], found, alone[which])
        except InvocationError:
            return  # rows that are mixed were our idea

    def sum_up(self) -> BatchInvariance:
        """Return all that was found."""
        labels = self._labels or self._alone.dtype.kind != "f"
        found = (
            each.sum_up(name, self._tolerance, labels=labels)
            for name, each in self._changes.items()
        )
        return BatchInvariance(
            effects=tuple(found) if self.deterministic else (),
            tolerance=self._tolerance,
            deterministic=self.deterministic,
            left_out=self._left_out,
        )

    def _while_time(self, items: Any) -> Iterator[Any]:  # noqa: ANN401 - rows, or where they are
        for number, item in enumerate(items):
            if number % 50 or self._watch.has(50 * self._seconds):
                yield item
            else:
                return

    def _find_odd_rows(self) -> Mapping[str, NDArray[Any]]:
        """Return odd rows that the model does answer, by what is odd about them."""
        odd: dict[str, NDArray[Any]] = {}
        for beside, row in _make_odd(self._rows):
            try:
                self._run(row)
            except InvocationError:
                continue  # the model says so itself
            odd[beside] = row
        return odd

    def _run_trial(self, trial: _Trial, odd: NDArray[Any]) -> None:
        which = np.arange(trial.size - len(odd)) % len(self._rows)
        if trial.order == "reversed":
            which = which[::-1]
        elif trial.order == "shuffled":
            which = np.random.default_rng(trial.size).permutation(which)
        rows = [odd, self._rows[which]] if trial.order == "first" else [self._rows[which], odd]
        try:
            answers = self._run(np.concatenate(rows), trial.threads)
        except InvocationError as error:
            if not len(odd):
                text = f"Rows run alone, but not in a batch of {trial.size}: {error}"
                raise _Fault(text) from error
            self._note(trial.beside, which, 1.0, labels=False)
            return
        start = len(odd) if trial.order == "first" else 0
        found, alone = answers[start : start + len(which)], self._alone[which]
        deviations = self._note_answers(trial.beside, which, found, alone)
        if (deviations > self._tolerance).any() and trial.beside == ORDINARY:
            self._swaps.append(_is_swapped(found, alone))

    def _run(self, batch: NDArray[Any], threads: int = 1) -> NDArray[Any]:
        if threads not in self._sessions:
            self._sessions[threads] = self._open(threads)
        try:
            outputs = self._sessions[threads].run(np.ascontiguousarray(batch))
            return np.asarray(require_rows(outputs, len(batch)))
        except RowMismatch as error:
            raise _Fault(str(error).rstrip(".")) from error

    def _note_answers(
        self, beside: str, which: NDArray[np.int64], found: NDArray[Any], alone: NDArray[Any]
    ) -> NDArray[np.float64]:
        deviations = compare_answers(found, alone)
        changed = _find_labels(found) != _find_labels(alone) if deviations.any() else False
        self._note(beside, which, deviations, labels=changed)
        return deviations

    def _note(self, beside: str, which: NDArray[np.int64], deviations: Any, *, labels: Any) -> None:  # noqa: ANN401
        self._changes.setdefault(beside, _Changes()).add(which, deviations, labels)


def _spread(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows, with scaled ones among them where they are all alike."""
    if rows.dtype.kind not in "fV" or len(rows) >= SIZES[-1]:
        return rows
    rng, missing = np.random.default_rng(0), SIZES[-1] - len(rows)

    def scale(values: NDArray[Any]) -> NDArray[Any]:
        more = np.resize(values, (missing, *values.shape[1:]))
        if values.dtype.kind == "f":
            scales = rng.uniform(0.5, 1.5, (missing, *[1] * (values.ndim - 1)))
            more = (more * scales).astype(values.dtype)
        return np.concatenate([values, more])

    return change_columns(scale, rows)


def _make_odd(rows: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield what is odd about a row, and such a row: one odd number in it, or all of them large."""
    for name, values in columns_of(rows).items():
        for beside, odd in _make_odd(values):
            row = rows[:1].copy()
            row[name] = odd
            yield beside, row
    if rows.dtype.names or not rows[0].size:
        return
    if rows.dtype.kind == "f":
        finite = np.where(np.isfinite(rows), rows, 0)
        # a sixteenth of the largest there is, so that a sum of a few stays finite
        largest = min(
            _LARGE * max(1.0, float(abs(finite).max())), float(np.finfo(rows.dtype).max) / 16
        )
        where = int(finite.reshape(len(rows), -1).astype(float).var(axis=0).argmax())
        for beside, value in ((LARGE, largest), ("inf", np.inf), ("NaN", np.nan)):
            row = rows[:1].copy()
            row.reshape(-1)[where] = value
            yield beside, row
        yield "large values", np.full_like(rows[:1], largest)
    elif rows.dtype.kind in "iu":  # often indices, of which only small ones are valid
        for value in (int(rows.max()), min(_LARGE * int(rows.max()), np.iinfo(rows.dtype).max)):
            yield LARGE, np.full_like(rows[:1], int(value))


def compare_answers(found: NDArray[Any], alone: NDArray[Any]) -> NDArray[np.float64]:
    """Return by how much each row's answer differs, as a share of the largest number in it.

    Where a row's numbers are small beside the others', a tenth of what is usual is taken instead.
    """
    if found.dtype.kind != "f" or found.shape != alone.shape:
        same = found == alone if found.shape == alone.shape else np.zeros((len(found), 1), bool)
        return np.asarray(~np.asarray(same, bool).reshape(len(found), -1).all(axis=1), float)
    one, two = (each.reshape(len(each), -1).astype(float) for each in (found, alone))
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    if same.all():
        return np.zeros(len(found))
    finite = np.isfinite(one) & np.isfinite(two)
    sizes = np.where(finite, np.maximum(np.abs(one), np.abs(two)), 0.0).max(axis=1, initial=0.0)
    # an answer near 0 is measured by what others are, as it has no relative error to speak of
    sizes = np.maximum(sizes, max(0.1 * float(np.median(sizes)), np.finfo(float).tiny))
    with np.errstate(invalid="ignore"):
        shares = np.where(finite, np.abs(one - two) / sizes[:, None], 1.0)
    return np.asarray(np.where(same, 0.0, shares).max(axis=1, initial=0.0))


def _tolerate(answers: NDArray[Any]) -> float:
    """Return the deviation that is still called the same answer."""
    numbers = answers.dtype.kind == "f"
    return _TOLERANCES.get(answers.dtype.name, _TOLERANCE) if numbers else 0.0


def _find_labels(answers: NDArray[Any]) -> NDArray[Any]:
    if answers.ndim == 2 and answers.shape[1] > 1:
        return np.asarray(answers.argmax(axis=1))
    return answers.reshape(len(answers), -1)[:, 0]


def _is_swapped(found: NDArray[Any], alone: NDArray[Any]) -> bool:
    """Return whether answers are those of the rows alone, in another order."""
    one, two = (each.reshape(len(each), -1) for each in (found, alone))
    if one.dtype.kind == "O":
        one, two = one.astype(str), two.astype(str)
    if one.shape != two.shape:
        return False
    one, two = (each[np.lexsort(each.T)] for each in (one, two))
    return not bool((compare_answers(one, two) > _TOLERANCE).any())
