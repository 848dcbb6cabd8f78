"""What a model answers to every row of its pool: known once, whatever the load.

An answer does not depend on when it was asked for. So these outcomes give each request of a trace
its label, how sure the model was, and whether it was right, without another run of the model.
"""

import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput, NotFound
from workbench.files import home, write_file
from workbench.progress import Progress
from workbench.registry.model import Model, Samples
from workbench.traffic.contexts import read_mix
from workbench.traffic.trace import Context, Trace

Floats = NDArray[np.float64]

_NORMAL_95 = 1.959963984540054  # 97.5th percentile of the normal distribution
_KEPT_IN_MEMORY = 64  # models: a selection asks for all of a registry again and again
_ROWS_A_REPORT = 50  # between two reports of progress


@dataclass(frozen=True)
class Accuracy:
    """A share of right answers, with the interval that holds the true one with 95 % confidence.

    >>> print(Accuracy.of(90, 100))
    90.0 % (82.6 to 94.5 %)
    """

    share: float
    low: float
    high: float
    rows: int

    @classmethod
    def of(cls, right: float, rows: int) -> "Accuracy":
        """Return the accuracy of so many right of so many rows, with Wilson's interval (1927)."""
        share, z2 = right / rows, _NORMAL_95**2
        middle = (right + z2 / 2) / (rows + z2)
        half = sqrt(z2 * (share * (1 - share) * rows + z2 / 4)) / (rows + z2)
        return cls(share, max(0.0, middle - half), min(1.0, middle + half), rows)

    def __str__(self) -> str:
        low, high = 100 * self.low, 100 * self.high
        return f"{100 * self.share:.1f} % ({low:.1f} to {high:.1f} %)"


@dataclass(frozen=True, eq=False)
class RequestOutcomes:
    """What a model answers to each request of a trace.

    Attributes:
        label: What it answers; a tuple of a label a row where requests have several.
        confidence: That of the request's least certain row; NaN where it is not known.
        correct: Share of its rows that are right; NaN where that is not known.
    """

    label: NDArray[Any]
    confidence: Floats
    correct: Floats

    def to_list(self) -> list[tuple[Any, float, float]]:
        """Return label, confidence and the share of right rows, by request."""
        columns = self.label.tolist(), self.confidence.tolist(), self.correct.tolist()
        return list(zip(*columns, strict=True))


@dataclass(frozen=True, eq=False, repr=False)
class Outcomes(RequestOutcomes):
    """What a model answers to each row of a pool.

    Attributes:
        label: The class of a classifier, else the answer itself.
        confidence: The probability of that class; NaN of a model that does not answer with any.
        correct: 1 or 0; NaN where it is not known, as of a regression.
        context: The kind of each row; None where it is not known.
    """

    context: Context | None = None

    @classmethod
    def of(cls, model: Model, answers: NDArray[Any], samples: Samples) -> "Outcomes":
        """Return the outcomes of a model's answers to its samples."""
        known = None if samples.targets is None else model.correct(answers, samples.targets)
        correct = np.full(len(samples), np.nan) if known is None else known.astype(float)
        return cls(model.labels(answers), model.confidence(answers), correct, samples.context)

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        figure = str(self.accuracy) if self.has_targets else "accuracy not known"
        return f"Outcomes({len(self)} rows, {figure})"

    @property
    def has_targets(self) -> bool:
        """Whether the right answers are known."""
        return not np.isnan(self.correct).any()

    @property
    def accuracy(self) -> Accuracy:
        """The share of all rows that are right.

        Raises:
            InvalidInput: It is not known which are.
        """
        return self._accuracy(np.ones(len(self), bool))

    @property
    def accuracy_by_context(self) -> dict[str, Accuracy]:
        """The share of right rows of each kind; empty where no kinds are known.

        Raises:
            InvalidInput: It is not known which rows are right.
        """
        if self.context is None:
            return {}
        kinds = np.unique(self.context[self.context != ""]).tolist()
        return {kind: self._accuracy(self.context == kind) for kind in kinds}

    def accuracy_for(self, traffic: Trace | Mapping[str, float]) -> Accuracy:
        """Return the accuracy in a traffic's own mix of kinds, or in a mix given by its shares.

        The mix of a pool is not that of the traffic, and a figure of the one misleads about the
        other (SneakPeek, arXiv 2505.06641). The interval combines Wilson's of each kind as in
        G. Zou and A. Donner, "Construction of confidence limits about effect measures", 2008.
        Where neither has kinds, it is that of all rows.

        Raises:
            InvalidInput: A kind of the traffic is not among the rows, or it is not known which
                rows are right.
        """
        mix = self.mix_of(traffic) if isinstance(traffic, Trace) else traffic
        if not mix:
            return self.accuracy
        shares = read_mix(mix, self.context)
        parts = [(share, self.accuracy_by_context[kind]) for kind, share in shares.items()]
        middle = sum(share * each.share for share, each in parts)
        below = sqrt(sum((share * (each.share - each.low)) ** 2 for share, each in parts))
        above = sqrt(sum((share * (each.high - each.share)) ** 2 for share, each in parts))
        rows = sum(each.rows for _, each in parts)
        return Accuracy(middle, max(0.0, middle - below), min(1.0, middle + above), rows)

    def mix_of(self, trace: Trace) -> dict[str, float]:
        """Return the share of each kind among the requests of a trace; empty if none are known."""
        context = trace.context
        if context is None and self.context is not None:
            context = self.context[trace.sample % len(self)]
        if context is None:
            return {}
        kinds, counts = np.unique(context, return_counts=True)
        return dict(zip(kinds.tolist(), (counts / len(trace)).tolist(), strict=True))

    def of_requests(self, trace: Trace) -> RequestOutcomes:
        """Return what is answered to each request of a trace.

        >>> outcomes = Outcomes(np.array([3, 7]), np.array([0.9, 0.6]), np.array([1.0, 0.0]))
        >>> outcomes.of_requests(Trace([0, 1], 2, sample=[1, 2])).correct.tolist()
        [0.0, 1.0]
        """
        first, rows = trace.sample % len(self), trace.rows
        if (rows == 1).all():
            return RequestOutcomes(self.label[first], self.confidence[first], self.correct[first])
        starts = np.cumsum(rows) - rows
        within = np.arange(rows.sum()) - np.repeat(starts, rows)
        each = (np.repeat(first, rows) + within) % len(self)
        label = np.empty(len(trace), object)
        label[:] = [tuple(part.tolist()) for part in np.split(self.label[each], starts[1:])]
        return RequestOutcomes(
            label,
            np.minimum.reduceat(self.confidence[each], starts),
            np.add.reduceat(self.correct[each], starts) / rows,
        )

    def _accuracy(self, chosen: NDArray[np.bool_]) -> Accuracy:
        if not self.has_targets:
            raise InvalidInput(
                "Which rows are right is not known: that takes a classifier, and samples with "
                "targets."
            )
        return Accuracy.of(float(self.correct[chosen].sum()), int(chosen.sum()))


def find_outcomes(model: Model, *, progress: Progress | None = None) -> Outcomes:
    """Return what a model answers to each row of its pool; computed once, then kept.

    `progress` is notified of how many rows are answered, of how many, where they are not kept.

    Answers are those to rows that are asked alone: together only where that changes none. They are
    kept below `home()`, in outcomes/<sha256 of the model>-<sha256 of the samples>.npz. A file
    there that is damaged is made again.

    Raises:
        Damaged: The model's files are not what was registered.
        InvocationError: The model failed.
        StorageError: The outcomes cannot be written.
    """
    known = recall_outcomes(model)
    if known is not None:
        return known
    path, samples = _path_of(model), model.samples()
    answers = _answer(model, samples.inputs, progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, lambda file: np.savez(file, allow_pickle=False, answers=answers))
    return _read_outcomes(path, model)


def recall_outcomes(model: Model) -> Outcomes | None:
    """Return what is kept of a model's answers to its pool; None if nothing is."""
    try:
        return _read_outcomes(_path_of(model), model)
    except NotFound:
        return None


def _path_of(model: Model) -> Path:
    return home() / "outcomes" / f"{model.sha256}-{model.samples_sha256}.npz"


@lru_cache(maxsize=_KEPT_IN_MEMORY)  # which keeps no errors
def _read_outcomes(path: Path, model: Model) -> Outcomes:
    samples = model.samples()
    answers = _read_answers(path, len(samples))
    if answers is None:
        raise NotFound(f"No answers of {model.name} are kept.")
    return Outcomes.of(model, answers, samples)


def _read_answers(path: Path, count: int) -> NDArray[Any] | None:
    """Return the answers that are kept; None where there are none, or not as they must be."""
    with contextlib.suppress(Exception):  # whatever a damaged file makes NumPy raise
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            answers: NDArray[Any] = arrays["answers"]
        if answers.ndim and len(answers) == count:
            return answers
    return None


def _answer(model: Model, inputs: NDArray[Any], progress: Progress | None) -> NDArray[Any]:
    """Return the answers to rows; each alone, unless it is known that company changes none."""
    from workbench.deployment.local import Local
    from workbench.measuring.batch_inference import transform

    found = model.traits.batch_invariance
    if found is not None and found.invariant:
        answers = transform(model, inputs, Local(), progress=progress).outputs
        assert answers is not None  # noqa: S101 - no output file was named
    else:
        answers = np.concatenate(list(_answer_alone(model, inputs, progress)))
    return answers.astype(str) if answers.dtype.kind == "O" else answers


def _answer_alone(
    model: Model, inputs: NDArray[Any], progress: Progress | None
) -> Iterator[NDArray[Any]]:
    session = model.session()
    for at in range(len(inputs)):
        if progress and at % _ROWS_A_REPORT == 0:
            progress(at, len(inputs))
        yield session.run(inputs[at : at + 1])
    if progress:
        progress(len(inputs), len(inputs))
