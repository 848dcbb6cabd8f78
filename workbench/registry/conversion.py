"""Fitted estimators as ONNX files, by skl2onnx and what it needs beside itself."""

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput, InvalidModel
from workbench.modelserver.inputs import join_columns
from workbench.registry.converters import TREE_OPSET, explain, list_converters, settle_shapes
from workbench.registry.estimator_inputs import (
    Estimator,
    drop_unused_inputs,
    fill_text_gaps,
    list_steps,
    list_text_options,
)
from workbench.registry.onnx import OTHER_MEANS
from workbench.registry.rows import columns_of

_MANY_NUMBERS = 10_000  # number by number, these take 2 ms
_weights_lock = threading.Lock()


def find_columns(estimator: Estimator, rows: NDArray[Any] | None) -> NDArray[Any] | None:
    """Return rows as the estimator takes them: a structured array by its columns, or a matrix.

    Raises:
        InvalidModel: It takes columns, and there are no rows that tell their types; or it was
            fitted on categories, and its converter knows none.
        InvalidInput: The rows lack some of them.
    """
    from workbench.registry import boosters  # brings scikit-learn

    boosters.check_categories(estimator)
    names = _match(boosters.name_features(estimator), rows)
    by_column = any(type(e).__name__ == "ColumnTransformer" for e in list_steps(estimator))
    if rows is None:
        if by_column and names:
            raise InvalidModel(
                f"This {type(estimator).__name__} takes columns of a frame, {_brief(names)}, and "
                "their types are not known: give samples=, a frame that has them."
            )
        return None
    if rows.dtype.names is None:
        if not (by_column and names) or rows.shape[1:] != (len(names),):
            return rows
        columns = {name: rows[:, at] for at, name in enumerate(names)}
    else:
        columns = columns_of(rows)
    lacking = [name for name in names if name not in columns]
    if set(lacking) - _find_dropped(estimator):
        raise InvalidInput(
            f"The samples lack {_brief(lacking)}, which this {type(estimator).__name__} was fitted "
            f"on; they have {_brief(list(columns))}."
        )
    kept = {name: columns[name] for name in names or columns if name in columns}
    if by_column or any(each.dtype.kind == "U" for each in kept.values()):
        return join_columns(kept)
    return np.column_stack(list(kept.values()))


def name_columns_of(estimator: Estimator, rows: NDArray[Any] | None) -> tuple[str, ...]:
    """Return the names of the columns that a matrix was made of, as far as any are known."""
    from workbench.registry import boosters  # brings scikit-learn

    named = () if rows is None else rows.dtype.names or ()
    known = [] if estimator is None else boosters.name_features(estimator)
    return tuple(_match(known, rows)) or named


def from_estimator(
    estimator: Estimator,
    inputs: NDArray[Any] | None = None,
    *,
    types: "Sequence[tuple[str, Any]] | None" = None,
) -> bytes:
    """Convert a fitted scikit-learn estimator to an ONNX file with a dynamic batch axis.

    Classifiers answer with labels first, then a plain array of probabilities. Of a search, the
    best estimator is converted, which is the one that answers for it.

    Args:
        estimator: A fitted estimator or pipeline.
        inputs: Rows it can predict, for its number of features; else `n_features_in_` tells.
        types: Inputs by name in skl2onnx's types, where there are several or of text.

    Raises:
        InvalidModel: It is not fitted, tells no number of features, or skl2onnx cannot convert it.
    """
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    from workbench.registry import boosters  # brings scikit-learn

    kind = type(estimator).__name__
    try:
        check_is_fitted(estimator)
    except (NotFittedError, TypeError) as error:
        raise InvalidModel(f"{kind} is not fitted; call its fit method first.") from error
    columns = getattr(estimator, "n_features_in_", None if inputs is None else inputs.shape[-1])
    if types is None and columns is None:
        raise InvalidModel(f"This {kind} does not tell its number of features; give samples.")
    estimator = fill_text_gaps(getattr(estimator, "best_estimator_", estimator))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of skl2onnx's calls, none of our user
            boosters.register_converters()
            if writer := boosters.find_writer(estimator):
                proto = writer(estimator, columns or 0)
            else:
                proto = _convert(estimator, types, columns)
            drop_unused_inputs(proto)
            return bytes(settle_shapes(proto).SerializeToString())
    except InvalidModel:
        raise
    except Exception as error:
        reason = explain(error).rstrip(".")
        raise InvalidModel(
            f"{boosters.name_converter(estimator)} cannot convert this {kind} ({reason}). "
            f"{boosters.name_missing(reason)}{OTHER_MEANS}"
        ) from error


def _convert(
    estimator: Estimator,
    types: "Sequence[tuple[str, Any]] | None",
    columns: int | None,
) -> Any:  # noqa: ANN401
    """Return what skl2onnx makes of an estimator, without maps where it knows how to omit them."""
    from skl2onnx import convert_sklearn, get_latest_tested_opset_version
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.base import is_classifier
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import LinearSVC

    texts = list_text_options(estimator)

    def convert(options: dict[Any, Any]) -> Any:  # noqa: ANN401 - by type or by id
        return convert_sklearn(
            estimator,
            name=type(estimator).__name__,  # else a random one, and no two files had one hash
            initial_types=types or [("input", FloatTensorType([None, columns]))],
            options=options | texts,
            target_opset={"": get_latest_tested_opset_version(), "ai.onnx.ml": TREE_OPSET},
            custom_conversion_functions=list_converters(),
        )

    with _raw_weights():
        if not is_classifier(estimator):
            return convert({})
        try:
            return convert({id(estimator): {"zipmap": False}})
        except NameError:
            # A LinearSVC never answers with maps and does not know the option. In a pipeline
            # skl2onnx sets it by itself, unless the step's type has options already.
            return convert({LinearSVC: {}, GridSearchCV: {}})


@contextmanager
def _raw_weights() -> Iterator[None]:
    """Have skl2onnx write large arrays as bytes: number by number 26 million take it 6 s."""
    from onnx import helper, numpy_helper
    from skl2onnx.common._container import ModelComponentContainer

    plain = ModelComponentContainer.add_initializer

    def add_initializer(self: Any, name: str, kind: int, shape: Any, content: Any) -> Any:  # noqa: ANN401
        if isinstance(content, np.ndarray) and content.size >= _MANY_NUMBERS and shape:
            numbers = content.astype(helper.tensor_dtype_to_np_dtype(kind))
            content = numpy_helper.from_array(numbers.reshape(shape))
        return plain(self, name, kind, shape, content)

    with _weights_lock:
        ModelComponentContainer.add_initializer = add_initializer
        try:
            yield
        finally:
            ModelComponentContainer.add_initializer = plain


def _match(names: list[str], rows: NDArray[Any] | None) -> list[str]:
    """Return an estimator's columns as the rows call them: LightGBM writes "_" for a space."""
    there = () if rows is None else rows.dtype.names or ()
    spaced = {name.replace(" ", "_"): name for name in there}
    return [name if name in there else spaced.get(name, name) for name in names]


def _find_dropped(estimator: Estimator) -> set[str]:
    """Return the columns that the first ColumnTransformer leaves out: it can do without them."""
    found = (each for each in list_steps(estimator) if hasattr(each, "transformers_"))
    first = next(found, None)
    names = list(getattr(first, "feature_names_in_", []))
    return {
        str(each if isinstance(each, str) else names[each])
        for _, step, columns in getattr(first, "transformers_", [])
        if isinstance(step, str) and step == "drop"
        for each in ([columns] if isinstance(columns, str) else columns)
    }


def _brief(names: list[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{', '.join(map(repr, names[:8]))}{more}"
