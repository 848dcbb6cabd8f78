"""Which output of a classifier is its answer: the label, or the probabilities of all classes."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput
from workbench.registry.agreement import MIN_SHARE
from workbench.registry.chosen_output import put_first, read_mapped_classes
from workbench.registry.estimator_inputs import Estimator
from workbench.registry.graph_inputs import list_graphs
from workbench.registry.labels import Label, are_probabilities
from workbench.registry.onnx import CheckedModel, Session, Tensor

if TYPE_CHECKING:
    from workbench.registry.model import Kind, Samples

Answer = Literal["probabilities"]

_ROWS = 128  # of the pool, to find out what the columns are
_USUAL_NAME = "probabilities"  # skl2onnx's


def choose_answer(
    checked: CheckedModel,
    answer: Answer | None,
    kind: "Kind | None",
    estimator: Estimator,
    pool: "Samples",
) -> "tuple[CheckedModel, Kind, tuple[Label, ...] | None]":
    """Return the model with what it is to answer as its first output, its kind, and its classes.

    The classes are those of the columns of probabilities, None where only their numbers are known.
    Where the file has labels, too, they must agree with what the estimator or the file names.

    Raises:
        InvalidInput: It has no probabilities, or what they stand for cannot be known.
    """
    if answer is None:
        if kind in (None, "classification") and _answers_with_scores(checked):
            with contextlib.suppress(InvalidInput):
                return checked, "classification", _find_classes(checked, estimator, pool)
        return checked, kind or _guess_kind(checked), None
    if answer not in get_args(Answer):
        raise InvalidInput(f'answer must be "probabilities" or None, got {answer!r}.')
    if kind not in (None, "classification"):
        raise InvalidInput(f'answer="probabilities" is for classifiers, and this is {kind}.')
    reordered = _put_scores_first(checked)
    return reordered, "classification", _find_classes(reordered, estimator, pool)


def _answers_with_scores(checked: CheckedModel) -> bool:
    """Return whether scores come first, and labels behind them."""
    first, *others = checked.signature.outputs
    return _holds_scores(first) and any(
        each.shape in ((), (1,)) and not each.dtype.startswith("float") for each in others
    )


def _guess_kind(checked: CheckedModel) -> "Kind":
    """Return the task: whole numbers or text, one a row, are labels; one float is a value."""
    answer = checked.signature.outputs[0]
    if answer.shape not in ((), (1,)):
        return "other"
    return "regression" if answer.dtype.startswith("float") else "classification"


def _put_scores_first(checked: CheckedModel) -> CheckedModel:
    """Return the model with the scores of its classes as the first output."""
    import onnx

    outputs = checked.signature.outputs
    found = [each.name for each in outputs if _holds_scores(each)]
    named = [name for name in found if name == _USUAL_NAME] or found
    if len(named) != 1:
        raise InvalidInput(
            f'answer="probabilities" needs one output of floats with a column a class, and this '
            f"model has {len(found)} among {', '.join(map(str, outputs))}. Make the file without "
            'maps (in skl2onnx: options={"zipmap": False}), or register it without answer=.'
        )
    if named[0] == outputs[0].name:
        return checked
    proto = onnx.load_model_from_string(checked.content)
    put_first(proto, named[0])
    # Checked already: the outputs are the same, and large files take seconds.
    first = sorted(outputs, key=lambda each: each.name != named[0])
    signature = replace(checked.signature, outputs=tuple(first))
    return replace(checked, content=proto.SerializeToString(), signature=signature)


def _find_classes(
    checked: CheckedModel, estimator: Estimator, pool: "Samples"
) -> tuple[Label, ...] | None:
    """Return what the columns of the scores stand for."""
    outputs = Session(checked.content).run_all(pool.inputs[:_ROWS])
    scores, *others = outputs.values()
    if not are_probabilities(scores).all():
        raise InvalidInput(
            f"The scores of this model are no probabilities: they run from {scores.min():.3g} to "
            f"{scores.max():.3g}. Calibrate it, as CalibratedClassifierCV does, or register it "
            "without answer=."
        )
    columns = scores.argmax(axis=1)
    arrays = (each for each in others if isinstance(each, np.ndarray) and each.dtype.kind != "f")
    labels = next((each for each in arrays if each.size == len(scores)), None)
    known = [_as_labels(each) for each in _list_known(checked, estimator)]
    for classes in known:
        if len(classes) == scores.shape[1] and _agree(np.asarray(classes)[columns], labels):
            return classes
    if labels is None:
        return None
    if _agree(columns, labels):
        return tuple(range(scores.shape[1]))
    if any(len(classes) == scores.shape[1] for classes in known):
        raise InvalidInput(
            "The class with the largest score is not the label that this model answers, so that "
            "its answers would change, as an SVC's do. Calibrate it, as CalibratedClassifierCV "
            "does, or register it without answer=."
        )
    raise InvalidInput(
        f"What the {scores.shape[1]} columns of the scores stand for is not in the file: register "
        "it with estimator=, or without answer=."
    )


def _holds_scores(output: Tensor) -> bool:
    return output.dtype.startswith("float") and len(output.shape) == 1 and output.shape != (1,)


def _agree(classes: NDArray[Any], labels: NDArray[Any] | None) -> bool:
    """Return whether classes are the labels, but for few of rows between two."""
    if labels is None:
        return True
    return bool((classes.astype(str) == labels.reshape(-1).astype(str)).mean() >= MIN_SHARE)


def _list_known(checked: CheckedModel, estimator: Estimator) -> Iterator[NDArray[Any]]:
    """Yield the classes that an estimator or a file names."""
    import onnx

    estimator = getattr(estimator, "best_estimator_", estimator)
    classes = getattr(estimator, "classes_", None)
    if classes is not None and np.ndim(classes) == 1:
        yield np.asarray(classes)
    proto = onnx.load_model_from_string(checked.content)
    yield from read_mapped_classes(proto)
    graphs = list(list_graphs(proto.graph))
    nodes = (node for graph in graphs for node in graph.node)
    for each in (attribute for node in nodes for attribute in node.attribute):
        if each.name.startswith("classlabels_") and (each.ints or each.strings):
            texts = [text.decode() for text in each.strings]
            yield np.array(texts or list(each.ints))
    for tensor in (tensor for graph in graphs for tensor in graph.initializer):
        # skl2onnx takes labels from it; in the body of a loop over rows names have a prefix
        if tensor.name.rpartition("/")[2].startswith("classes"):
            yield onnx.numpy_helper.to_array(tensor).reshape(-1)


def _as_labels(classes: NDArray[Any]) -> tuple[Label, ...]:
    """Return classes as values of Python, which JSON keeps."""
    if classes.dtype.kind == "O":
        classes = np.array([each.decode() if isinstance(each, bytes) else each for each in classes])
    return tuple(classes.tolist())
