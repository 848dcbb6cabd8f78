"""Whether the file made of an estimator answers as the estimator does.

A converter can change a model without a word: it leaves out a tuned threshold, an indicator of
missing values or a rule for ties. So both are asked the same rows: the estimator as its user has
them, the file rounded to the type that it takes, because that is what it will be sent.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidModel
from workbench.registry.agreement import MIN_SHARE, Agreement
from workbench.registry.converters import explain
from workbench.registry.labels import find_labels
from workbench.registry.onnx import OTHER_MEANS, Session

_ROWS = 256
_ROWS_OF_LARGE_FILE = 32  # of files beyond 2**24 bytes, of which a row takes milliseconds
_MISSING_ROWS = 64
_SPREAD = 0.01  # by which values may differ, in standard deviations of the estimator's values
_ROUNDING = 16 * float(np.finfo(np.float32).eps)  # and beside that, relative to the value
_TIE = 1e-5  # labels whose scores differ by less, relative to the largest score, are a tie
_LARGEST = float(np.finfo(np.float64).max)
_SCORES = ("predict_proba", "decision_function")


def compare_with_file(
    estimator: Any,  # noqa: ANN401
    session: Session,
    given: NDArray[Any] | None,
    *,
    large: bool = False,
) -> Agreement:
    """Ask an estimator and its file the same rows.

    Few rows are filled up with mixtures of them; without any, rows of many scales are made.

    Args:
        estimator: A fitted scikit-learn estimator.
        session: The file made of it.
        given: Rows as their user has them, in a type of their own; None: there are none.
        large: Whether the file is so large that fewer rows must do.

    Raises:
        InvalidModel: They agree on less than `MIN_SHARE` of the rows, or the estimator does not
            answer the rows given.
    """
    pair = _Pair(estimator, session)
    wanted = _ROWS_OF_LARGE_FILE if large else _ROWS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names of features, infinite logarithms: not ours to say
        found = _compare_rows(pair, given, wanted)
        if found is None:
            return Agreement(rows=0, share=None)
        found.check()
        missing = _compare_missing(pair, found.inputs)
        if missing is not None and _is_made_for_missing(estimator):
            missing.check()
    return Agreement(
        rows=len(found.equal),
        share=found.share,
        differences=tuple(found.differences.items()),
        missing_rows=0 if missing is None else len(missing.equal),
        missing_share=None if missing is None else missing.share,
    )


@dataclass(frozen=True, eq=False)
class _Pair:
    """An estimator and its file."""

    estimator: Any
    session: Session

    @property
    def name(self) -> str:
        return type(self.estimator).__name__

    @cached_property
    def holds_values(self) -> bool:
        """Whether the first output are values, not labels."""
        from sklearn.base import is_regressor

        return bool(is_regressor(self.estimator))

    @property
    def dtype(self) -> str:
        return self.session.signature.input.dtype

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        try:
            return _dense(self.estimator.predict(rows))
        except ValueError:
            if rows.dtype != np.float32:
                raise
            # A KMeans that was fitted on float64 takes nothing else.
            return _dense(self.estimator.predict(rows.astype(np.float64)))

    def compare(self, rows: NDArray[Any], numbers: NDArray[Any]) -> "_Comparison":
        """Ask both; raises whatever they raise."""
        expected = self.predict(rows)
        outputs = self.session.run_all(rows.astype(self.dtype))
        (name, first), *others = outputs.items()
        if self._holds_scores(first):  # the label beside them is made of them
            others = [(name, first), *(each for each in others if each[1].dtype.kind == "f")]
            first = find_labels(first, tuple(self.estimator.classes_.tolist()))
        differences = {key: self._difference(rows, value) for key, value in others}
        if self.holds_values:
            differences = {name: _largest_difference(expected, first)} | differences
        return _Comparison(self, rows, numbers, expected, first, differences)

    def _holds_scores(self, first: NDArray[Any]) -> bool:
        """Return whether the first output is a score for each class, not a label."""
        classes = getattr(self.estimator, "classes_", None)
        return (
            isinstance(classes, np.ndarray)
            and isinstance(first, np.ndarray)
            and first.dtype.kind == "f"
            and first.shape[1:] == classes.shape != (1,)
        )

    def scores(self, rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Yield what the estimator can say of rows beside its prediction."""
        classifies = hasattr(self.estimator, "classes_")
        for method in _SCORES if classifies else (*_SCORES, "transform", "score_samples"):
            try:
                scores = _dense(getattr(self.estimator, method)(rows))
            except Exception:  # noqa: BLE001, S112 - it has no such method, or not for this model
                continue
            yield scores
            if scores.ndim == 1:
                yield np.stack([-scores, scores], axis=1)
            if method == "predict_proba":  # a classifier that has it is held to it
                return

    def _difference(self, rows: NDArray[Any], output: Any) -> float | None:  # noqa: ANN401
        """Return the largest difference of an output from what it should be, None if unknown."""
        if not isinstance(output, np.ndarray):  # a sequence, of maps for instance
            return None
        known = (_largest_difference(scores, output) for scores in self.scores(rows))
        return min((size for size in known if size is not None), default=None)


@dataclass(frozen=True, eq=False)
class _Comparison:
    """Answers of both to some rows; `numbers` are those of the user's rows, -1 of others."""

    pair: _Pair
    inputs: NDArray[Any]
    numbers: NDArray[Any]
    expected: NDArray[Any]
    found: NDArray[Any]
    differences: Mapping[str, float | None]

    @cached_property
    def equal(self) -> NDArray[np.bool_]:
        """Which rows have equal first outputs."""
        count = len(self.inputs)
        if self.found.size != self.expected.size:
            return np.zeros(count, bool)
        expected, found = self.expected.reshape(count, -1), self.found.reshape(count, -1)
        if self.pair.holds_values:
            return _are_close(expected, found)
        equal = np.asarray((_labels(expected) == _labels(found)).all(axis=1))
        return equal if equal.all() else equal | self._find_ties()

    @property
    def share(self) -> float:
        return float(self.equal.mean())

    def check(self) -> None:
        """Require that enough rows have equal answers.

        Raises:
            InvalidModel: They have not.
        """
        if self.share >= MIN_SHARE:
            return
        raise InvalidModel(
            f"The file made of this {self.pair.name} is another model: it answers "
            f"{(~self.equal).sum()} of {len(self.equal)} rows otherwise than the estimator, and "
            f"{100 * (1 - MIN_SHARE):.2g} % may differ. {self._examples()}{self._cause()} "
            f"{OTHER_MEANS}"
        )

    def _find_ties(self) -> NDArray[np.bool_]:
        """Return where the estimator itself scores both labels alike but for rounding."""
        known = getattr(self.pair.estimator, "classes_", None)
        scores = next((each for each in self.pair.scores(self.inputs) if each.ndim == 2), None)
        tied = np.zeros(len(self.inputs), bool)
        if scores is None or self.expected.ndim > 1:
            return tied
        labels = _labels(np.arange(scores.shape[1]) if known is None else np.asarray(known))
        for row, pair in enumerate(zip(self.expected, self.found.reshape(-1), strict=True)):
            places = [np.flatnonzero(labels == _labels(np.asarray(label))) for label in pair]
            if scores.shape[1] == len(labels) and all(len(place) for place in places):
                one, other = (scores[row, place[0]] for place in places)
                tied[row] = abs(one - other) <= _TIE * np.abs(scores[row]).max()
        return tied

    def _examples(self) -> str:
        """Return a sentence for the first rows that differ."""
        if self.found.size != self.expected.size:
            return (
                f"For {len(self.inputs)} rows the estimator gives an array of shape "
                f"{self.expected.shape}, the file one of {self.found.shape}."
            )
        said = []
        for row in np.flatnonzero(~self.equal)[:3]:
            number = self.numbers[row]
            what = f"Row {number + 1} of the samples" if number >= 0 else _brief(self.inputs[row])
            one, other = (_brief(each[row]) for each in (self.expected, self.found))
            said.append(f"{what}: estimator {one}, file {other}.")
        return " ".join(said)

    def _cause(self) -> str:
        """Return a sentence where the rounding of the rows is what makes the difference."""
        kind = self.pair.dtype
        if self.inputs.dtype == kind or self.found.size != self.expected.size:
            return ""
        again = self.pair.predict(self.inputs.astype(kind).astype(self.inputs.dtype))
        if replace(self, found=again).share >= MIN_SHARE:
            return ""
        return (
            f" The file takes {kind}, and rows rounded to it get other answers from the estimator "
            "itself: scale the columns before it is fitted, so that they need fewer digits."
        )


def _compare_rows(pair: _Pair, given: NDArray[Any] | None, wanted: int) -> _Comparison | None:
    """Return both answers to the rows given and to more like them; None if there are none."""
    if given is None:
        made = _make_rows(pair.session.signature.input.shape, wanted)
        return _try_rows(pair, made, np.full(len(made), -1))
    numbers = np.unique(np.linspace(0, len(given) - 1, min(wanted, len(given))).astype(int))
    rows = given[numbers]
    more = _mix_rows(rows, wanted - len(rows))
    both = np.concatenate([numbers, np.full(len(more), -1)])
    found = _try_rows(pair, np.concatenate([rows, more]), both)
    if found is not None:
        return found
    try:
        return pair.compare(rows, numbers)
    except Exception as error:
        raise InvalidModel(
            f"This {pair.name} does not answer its samples: {explain(error)} Give rows that it "
            "takes."
        ) from error


def _try_rows(pair: _Pair, rows: NDArray[Any], numbers: NDArray[Any]) -> _Comparison | None:
    """Return both answers; None where one of the two takes no such rows, which were our idea."""
    try:
        return pair.compare(rows, numbers)
    except Exception:  # noqa: BLE001 - an estimator may raise anything
        return None


def _compare_missing(pair: _Pair, rows: NDArray[Any]) -> _Comparison | None:
    """Return both answers to rows with gaps; None if there are gaps already, or none are taken."""
    if np.isnan(np.asarray(rows, float)).any():
        return None
    gaps = np.array(rows[:_MISSING_ROWS], float)
    rng = np.random.default_rng(0)
    gaps[rng.random(gaps.shape) < 0.2] = np.nan
    gaps[np.arange(len(gaps)), rng.integers(0, gaps.shape[1], len(gaps))] = np.nan
    return _try_rows(pair, gaps, np.full(len(gaps), -1))


def _is_made_for_missing(estimator: Any) -> bool:  # noqa: ANN401
    """Return whether an estimator, or a step of it, has a setting for missing values."""
    return any(name.endswith("missing_values") for name in estimator.get_params())


def _make_rows(shape: tuple[int | None, ...], count: int) -> NDArray[Any]:
    """Return random rows, half of them of scales from 0.1 to 1,000."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(count, *(size or 1 for size in shape)))
    rows[::2] *= 10 ** rng.uniform(-1, 3, (len(rows[::2]), *([1] * len(shape))))
    return rows.astype(np.float32)


def _mix_rows(rows: NDArray[Any], count: int) -> NDArray[Any]:
    """Return rows of which each value is one of its column, and near it where rows are few."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, len(rows), (max(0, count), *rows.shape[1:]))
    mixed = np.take_along_axis(rows, chosen, axis=0)
    if len(rows) < 8 and mixed.dtype.kind == "f":
        mixed = (mixed * (1 + 0.1 * rng.normal(size=mixed.shape))).astype(rows.dtype)
    return mixed


def _dense(answer: Any) -> NDArray[Any]:  # noqa: ANN401 - an array, sparse or not
    return np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)


def _labels(values: NDArray[Any]) -> NDArray[Any]:
    """Return labels that can be compared: numbers, else texts."""
    return values if values.dtype.kind in "biuf" else values.astype(str)


def _are_close(expected: NDArray[Any], found: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows of values are equal but for rounding."""
    limit = _SPREAD * np.nanstd(expected, axis=0) + _ROUNDING * np.abs(expected)
    sizes = _differences(expected, found)
    return np.asarray(((sizes == 0) | (sizes <= limit)).all(axis=1))


def _largest_difference(expected: NDArray[Any], found: NDArray[Any]) -> float | None:
    if found.dtype.kind not in "biuf" or expected.dtype.kind not in "biuf":
        return None
    if not found.size or found.size != expected.size or len(found) != len(expected):
        return None
    return min(float(_differences(expected.reshape(found.shape), found).max()), _LARGEST)


def _differences(expected: NDArray[Any], found: NDArray[Any]) -> NDArray[Any]:
    """Return absolute differences: 0 between two NaN, infinite beside one."""
    sizes = np.abs(np.asarray(expected, float) - found)
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    return np.where(same, 0.0, np.nan_to_num(sizes, nan=np.inf, posinf=np.inf))


def _brief(value: Any) -> str:  # noqa: ANN401 - a number, a text or a row
    if np.ndim(value) == 0 or np.size(value) == 1:
        return repr(np.asarray(value).reshape(-1)[0].item())
    more = ", ..." if np.size(value) > 4 else ""
    return f"[{', '.join(f'{each:.6g}' for each in np.ravel(value)[:4])}{more}]"
