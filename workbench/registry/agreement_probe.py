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
from workbench.modelserver.inputs import join_columns
from workbench.registry.agreement import MIN_SHARE, SCORES_APART, Agreement
from workbench.registry.converters import explain
from workbench.registry.estimator_inputs import Estimator, find_text_gap
from workbench.registry.labels import find_labels
from workbench.registry.onnx import OTHER_MEANS, Session, Tensor
from workbench.registry.rows import as_rows, change_columns, columns_of, list_user_frames

_ROWS = 256  # a fault in one of a hundred rows is among them in 92 of 100 cases
_ROWS_OF_LARGE_FILE = 32  # of files beyond 2**24 bytes, of which a row takes milliseconds
_MISSING_ROWS = 64  # of those, once more with gaps
_SPREAD = 0.01  # by which values may differ, in standard deviations of the estimator's values
_ROUNDING = 16 * float(np.finfo(np.float32).eps)  # and beside that, relative to the value
_TIE = 1e-5  # labels whose scores differ by less, relative to the largest score, are a tie
_LARGEST = float(np.finfo(np.float64).max)
_SCORES = ("predict_proba", "decision_function")


def compare_with_file(
    estimator: Estimator, session: Session, given: NDArray[Any] | None, *, large: bool = False
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
        if missing is not None and any(
            name.endswith("missing_values") for name in estimator.get_params()
        ):  # the estimator, or a step of it, is made for them
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

    estimator: Estimator
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
    def file_input(self) -> Tensor:
        """What the file takes."""
        return self.session.signature.input

    @cached_property
    def text_gap(self) -> Any:  # noqa: ANN401 - None, NaN, a text
        """What stands for a missing text to the estimator."""
        return find_text_gap(self.estimator)

    def ask(self, method: str, rows: NDArray[Any]) -> NDArray[Any]:
        """Return what the estimator says of rows, which are a frame to it if they have columns."""
        answer = getattr(self.estimator, method)
        if rows.dtype.names is None:
            return _dense(answer(rows))
        errors = []
        for frame in list_user_frames(rows, self.text_gap):
            try:
                return _dense(answer(frame))
            except Exception as error:  # noqa: BLE001 - of a library that it was not fitted on
                errors.append(error)
        raise errors[0]

    def round(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return rows as the file takes them."""
        plain = not self.file_input.fields and rows.dtype.kind in "biuf"
        return rows.astype(self.file_input.dtype) if plain else as_rows(self.file_input, rows)

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        try:
            return self.ask("predict", rows)
        except ValueError:
            if rows.dtype != np.float32:
                raise
            # A KMeans that was fitted on float64 takes nothing else.
            return self.ask("predict", rows.astype(np.float64))

    def compare(self, rows: NDArray[Any], numbers: NDArray[Any]) -> "_Comparison":
        """Ask both; raises whatever they raise."""
        expected = self.predict(rows)
        outputs = self.session.run_all(self.round(rows))
        (name, first), *others = outputs.items()
        scores = None
        if self._holds_scores(first):  # the label beside them is made of them
            if hasattr(self.estimator, "predict_proba"):
                probabilities = self.ask("predict_proba", rows)
                scores = (probabilities, first) if probabilities.shape == first.shape else None
            others = [(name, first), *(each for each in others if each[1].dtype.kind == "f")]
            first = find_labels(first, tuple(self.estimator.classes_.tolist()))
        differences = {key: self._difference(rows, value) for key, value in others}
        if self.holds_values:
            differences = {name: _largest_difference(expected, first)} | differences
        return _Comparison(self, rows, numbers, expected, first, differences, scores)

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
                scores = self.ask(method, rows)
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
    """Answers of both to some rows; `numbers` are those of the user's rows, -1 of others.

    `scores` are the probabilities of both, where they are what the file answers with.
    """

    pair: _Pair
    inputs: NDArray[Any]
    numbers: NDArray[Any]
    expected: NDArray[Any]
    found: NDArray[Any]
    differences: Mapping[str, float | None]
    scores: tuple[NDArray[Any], NDArray[Any]] | None = None

    @cached_property
    def equal(self) -> NDArray[np.bool_]:
        """Which rows have equal first outputs."""
        count = len(self.inputs)
        if self.found.size != self.expected.size:
            return np.zeros(count, bool)
        expected, found = self.expected.reshape(count, -1), self.found.reshape(count, -1)
        if self.pair.holds_values:  # they are equal but for rounding
            limit = _SPREAD * np.nanstd(expected, axis=0) + _ROUNDING * np.abs(expected)
            sizes = _differences(expected, found)
            return np.asarray(((sizes == 0) | (sizes <= limit)).all(axis=1))
        equal = np.asarray((_labels(expected) == _labels(found)).all(axis=1))
        equal = equal if equal.all() else equal | self._find_ties()
        if self.scores is not None:
            equal &= (_differences(*self.scores) <= SCORES_APART).all(axis=1)
        return equal

    @property
    def share(self) -> float:
        return float(self.equal.mean())

    def check(self) -> None:
        """Require that enough rows have equal answers."""
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
            shown = self.scores or (self.expected, self.found)
            one, other = (_brief(each[row]) for each in shown)
            said.append(f"{what}: estimator {one}, file {other}.")
        return " ".join(said)

    def _cause(self) -> str:
        """Return a sentence where the rounding of the rows is what makes the difference."""
        taken = self.pair.file_input
        rounded = _round_floats(self.inputs, taken)
        if rounded is None or self.found.size != self.expected.size:
            return ""
        if replace(self, found=self.pair.predict(rounded)).share >= MIN_SHARE:
            return ""
        return (
            f" The file takes {taken}, and rows rounded to it get other answers from the estimator "
            "itself: scale the columns before it is fitted, so that they need fewer digits."
        )


def _compare_rows(pair: _Pair, given: NDArray[Any] | None, wanted: int) -> _Comparison | None:
    """Return both answers to the rows given and to more like them; None if there are none."""
    if given is None:
        if pair.file_input.fields or pair.file_input.dtype == "str":
            return None
        made = _make_rows(pair.file_input.shape, wanted)
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
    rng = np.random.default_rng(0)
    texts = not isinstance(pair.text_gap, str)

    def open_gaps(column: NDArray[Any]) -> NDArray[Any]:
        if column.dtype.kind == "U":
            return np.where(rng.random(column.shape) < 0.2, "", column) if texts else column
        if rows.dtype.names and column.dtype.kind != "f":
            return column
        gaps = np.array(column, float)
        gaps[rng.random(gaps.shape) < 0.2] = np.nan
        if gaps.ndim > 1:
            gaps[np.arange(len(gaps)), rng.integers(0, gaps.shape[1], len(gaps))] = np.nan
        return gaps

    if _has_gaps(rows, texts=texts):
        return None
    gaps = change_columns(open_gaps, rows[:_MISSING_ROWS])
    return _try_rows(pair, gaps, np.full(len(gaps), -1))


def _has_gaps(rows: NDArray[Any], *, texts: bool) -> bool:
    columns = columns_of(rows).values() or [rows]
    return any(
        (texts and not each.astype(bool).all())
        if each.dtype.kind == "U"
        else bool(np.isnan(np.asarray(each, float)).any())
        for each in columns
    )


def _round_floats(rows: NDArray[Any], taken: Tensor) -> NDArray[Any] | None:
    """Return rows with their floats rounded to the file's type; None where that changes none."""
    types = {each.name: each.numpy_dtype for each in taken.fields or [taken]}
    columns = columns_of(rows) or {taken.name: rows}
    rounded = {
        name: each.astype(types.get(name, each.dtype)).astype(each.dtype)
        if each.dtype.kind == "f"
        else each
        for name, each in columns.items()
    }
    if all(
        np.array_equal(rounded[name], each, equal_nan=True)
        for name, each in columns.items()
        if each.dtype.kind == "f"
    ):
        return None
    return join_columns(rounded) if rows.dtype.names else rounded[taken.name]


def _make_rows(shape: tuple[int | None, ...], count: int) -> NDArray[Any]:
    """Return random rows, half of them of scales from 0.1 to 1,000."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(count, *(size or 1 for size in shape)))
    rows[::2] *= 10 ** rng.uniform(-1, 3, (len(rows[::2]), *([1] * len(shape))))
    return rows.astype(np.float32)


def _mix_rows(rows: NDArray[Any], count: int) -> NDArray[Any]:
    """Return rows of which each value is one of its column, and near it where rows are few."""
    rng = np.random.default_rng(0)

    def mix(column: NDArray[Any]) -> NDArray[Any]:
        chosen = rng.integers(0, len(column), (max(0, count), *column.shape[1:]))
        mixed = np.take_along_axis(column, chosen, axis=0)
        # of few rows, mixtures are the same ones again and again
        if len(column) < 8 and mixed.dtype.kind == "f":
            mixed = (mixed * (1 + 0.1 * rng.normal(size=mixed.shape))).astype(column.dtype)
        return mixed

    return change_columns(mix, rows)


def _dense(answer: Any) -> NDArray[Any]:  # noqa: ANN401 - an array, sparse or not
    return np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)


def _labels(values: NDArray[Any]) -> NDArray[Any]:
    """Return labels that can be compared: numbers, else texts."""
    return values if values.dtype.kind in "biuf" else values.astype(str)


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
    if isinstance(value, np.void):
        fields = value.item()
        return f"[{', '.join(map(_brief, fields[:4]))}{', ...' * (len(fields) > 4)}]"
    if np.ndim(value) == 0 or np.size(value) == 1:
        return repr(np.asarray(value).reshape(-1)[0].item())
    more = ", ..." if np.size(value) > 4 else ""
    return f"[{', '.join(f'{each:.6g}' for each in np.ravel(value)[:4])}{more}]"
