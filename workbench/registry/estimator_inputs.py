"""What a fitted estimator takes of a frame: its columns' types, and what its text needs in ONNX.

ONNX has no missing text, so that in a file an empty one stands for it. Its words are found by
another library than scikit-learn's, which has to know what a letter is.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidModel
from workbench.registry.graph_inputs import Proto, list_graphs

Estimator: TypeAlias = Any
"""An estimator of scikit-learn, or what has its methods: they have no types."""

# In this order: every operator has float32 but few have float64; whole numbers may be categories,
# which are exact; what neither fits is tried otherwise, and the answers decide.
_CASTS: tuple[dict[str, str], ...] = (
    {"f": "float32", "i": "int64", "u": "int64", "b": "bool"},
    {"f": "float32", "i": "int64", "u": "int64", "b": "int64"},
    {"f": "float32", "i": "float32", "u": "float32", "b": "float32"},
    {"f": "float64", "i": "int64", "u": "int64", "b": "bool"},
    {"f": "float64", "i": "float64", "u": "float64", "b": "float64"},
)

_NO_TEXT = "\N{INFORMATION SEPARATOR FOUR}"  # nobody's text: what fills such gaps never meets one

# skl2onnx looks for [a-zA-Z0-9_]+, to which "naïve" is two words and "a" is one.
_WORDS = {r"(?u)\b\w\w+\b": r"[\p{L}\p{N}_]{2,}", r"(?u)\b\w+\b": r"[\p{L}\p{N}_]+"}


def list_initial_types(rows: NDArray[Any] | None) -> list[list[tuple[str, Any]] | None]:
    """Return the types of inputs that are to be tried for such rows, each as skl2onnx takes them.

    A matrix of numbers needs none: it is float32.

    >>> rows = np.zeros(1, [("age", "f8"), ("city", "U4")])
    >>> [[type(kind).__name__ for _, kind in each] for each in list_initial_types(rows)]
    [['FloatTensorType', 'StringTensorType'], ['DoubleTensorType', 'StringTensorType']]
    """
    from skl2onnx.common import data_types

    if rows is None or rows.dtype.kind not in "UV":
        return [None]
    kinds = {
        "float32": data_types.FloatTensorType,
        "float64": data_types.DoubleTensorType,
        "int64": data_types.Int64TensorType,
        "bool": data_types.BooleanTensorType,
        "str": data_types.StringTensorType,
    }
    columns = {name: rows[name] for name in rows.dtype.names or ()} or {"input": rows}
    tried: dict[tuple[str, ...], None] = {}
    for casts in _CASTS:
        known = {"U": "str"} | casts
        tried[tuple(known[each.dtype.kind] for each in columns.values())] = None
    return [
        [
            (name, kinds[kind]([None, int(np.prod(each.shape[1:], initial=1))]))
            for (name, each), kind in zip(columns.items(), chosen, strict=True)
        ]
        for chosen in tried
    ]


def find_text_gap(estimator: Estimator) -> Any:  # noqa: ANN401
    """Return what stands for a missing text to an estimator: None or NaN; "" where it knows none.

    An encoder was fitted on it; a step that fills gaps may know another than the one that is met.
    """
    gaps = [gap for step in list_steps(estimator) for gap in _list_gaps(step)]
    return min(gaps, key=lambda gap: gap is not None, default="")


def fill_text_gaps(estimator: Estimator) -> Estimator:
    """Return an estimator to which a missing text is an empty one: a copy where it was not."""
    gap = find_text_gap(estimator)
    if isinstance(gap, str):
        return estimator
    estimator = copy.deepcopy(estimator)
    for step in list_steps(estimator):
        gaps = list(_list_gaps(step))
        if gaps and hasattr(step, "statistics_"):
            step.missing_values = "" if (gaps[0] is None) == (gap is None) else _NO_TEXT
        elif gaps and type(step).__name__ == "OneHotEncoder":
            step.categories_ = [_fill(each) for each in step.categories_]
    return estimator


def list_text_options(estimator: Estimator) -> dict[int, dict[str, str]]:
    """Return skl2onnx's options for the steps that find words in text, by the step's `id`."""
    options = {}
    for step in list_steps(estimator):
        if not hasattr(step, "vocabulary_") or not hasattr(step, "token_pattern"):
            continue
        plain = all(str(word).isascii() for word in step.vocabulary_)
        # By default it asks for en_US.UTF-8, which containers lack, and no file could be loaded.
        option = {"locale": "C" if plain else "C.UTF-8"}
        if step.analyzer == "word" and step.token_pattern in _WORDS:
            option["tokenexp"] = _WORDS[step.token_pattern]
        options[id(step)] = option
    return options


def drop_unused_inputs(proto: Proto) -> None:
    """Take out of a graph the inputs that nothing in it reads, such as columns it drops."""
    nodes = (node for graph in list_graphs(proto.graph) for node in graph.node)
    used = {each.name for each in proto.graph.output}.union(*(node.input for node in nodes))
    kept = [each for each in proto.graph.input if each.name in used]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)


def list_steps(estimator: Estimator) -> Iterator[Estimator]:
    """Yield an estimator and every fitted one in it."""
    seen: set[int] = set()
    waiting = [estimator]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list | tuple):
            waiting.extend(each)
        elif isinstance(each, Mapping):
            waiting.extend(each.values())
        elif hasattr(each, "get_params") and not isinstance(each, type) and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting.extend(vars(each).values())


def _list_gaps(step: Estimator) -> Iterator[Any]:
    """Yield the signs for a missing text that a step knows, but for a text."""
    if hasattr(step, "statistics_") and np.asarray(step.statistics_).dtype.kind in "OU":
        if not isinstance(step.missing_values, str):
            yield step.missing_values
    elif type(step).__name__ in ("OneHotEncoder", "OrdinalEncoder") and hasattr(
        step, "categories_"
    ):
        for categories in step.categories_:
            if any(isinstance(each, str) for each in categories):
                yield from (each for each in categories if not isinstance(each, str))


def _fill(categories: NDArray[Any]) -> NDArray[Any]:
    if "" in categories.tolist() and any(isinstance(each, str) for each in categories):
        raise InvalidModel(
            "A category of this encoder is the empty text and another is missing, which are one in "
            "ONNX: give the missing one a name, then fit it again."
        )
    texts = any(isinstance(each, str) for each in categories)
    filled = ["" if texts and not isinstance(each, str) else each for each in categories]
    return np.array(filled, dtype=object) if texts else categories
