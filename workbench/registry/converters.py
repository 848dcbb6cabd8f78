"""What skl2onnx needs beside itself to make files of more estimators: converters, shapes.

Each entry passes around one thing that skl2onnx 1.20.0 does not do by itself; the table of all
estimators in tests/registry/test_estimators.py shows when one is needed no longer.
"""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

_REASON = 200  # characters of a reason that are shown

TREE_OPSET = 3
"""Version of ONNX's domain of trees that all converters know: IsolationForest's refuses 4."""


def list_converters() -> dict[type, Callable[..., None]]:
    """Return the converters that stand in for those of skl2onnx, by type of estimator."""
    from sklearn.ensemble import (
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        VotingClassifier,
    )

    return {
        HistGradientBoostingClassifier: _convert_without_booleans,
        HistGradientBoostingRegressor: _convert_without_booleans,
        VotingClassifier: partial(convert_with, _keep_votes_apart, _convert_as_registered),
    }


def convert_with(
    change: Callable[[Any], Any],
    convert: Callable[..., None],
    scope: Any,  # noqa: ANN401
    operator: Any,  # noqa: ANN401
    container: Any,  # noqa: ANN401
) -> None:
    """Convert what a change makes of an estimator, in its place."""
    estimator = operator.raw_operator
    operator.raw_operator = change(estimator)
    try:
        convert(scope, operator, container)
    finally:
        operator.raw_operator = estimator


def settle_shapes(proto: Any) -> Any:  # noqa: ANN401 - protobuf classes have no types
    """Return a model whose outputs are declared as they are inferred, where the two differ.

    Of a PLSRegression the inputs' columns are declared, of a OneVsOneClassifier an axis too few, of
    the labels of LightGBM one row.
    """
    import onnx

    for output in proto.graph.output:
        axes = output.type.tensor_type.shape.dim
        if axes and axes[0].HasField("dim_value"):
            axes[0].dim_param = "batch"
    try:
        onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError:
        del proto.graph.value_info[:]
        for output in proto.graph.output:
            if output.type.HasField("tensor_type"):
                output.type.tensor_type.ClearField("shape")
        return onnx.shape_inference.infer_shapes(proto)
    return proto


def explain(error: BaseException) -> str:
    """Return the first line of an error and of those that it was raised from.

    >>> try:
    ...     raise TypeError("a boolean") from KeyError("ints")
    ... except TypeError as error:
    ...     explain(error)
    "TypeError: a boolean, because of KeyError: 'ints'"
    """
    lines = (
        f"{type(each).__name__}: {str(each).partition(chr(10))[0][:_REASON].strip()}"
        for each in _list_causes(error)
    )
    return ", because of ".join(lines)


def _list_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _convert_without_booleans(scope: Any, operator: Any, container: Any) -> None:  # noqa: ANN401
    """Convert with skl2onnx's own, which lists booleans as integers: protobuf 7 refuses those."""
    _convert_as_registered(scope, operator, _WithoutBooleans(container))


def _keep_votes_apart(estimator: Any) -> Any:  # noqa: ANN401
    """Return a copy without a setting that only `transform` obeys, and that skl2onnx refuses."""
    estimator = copy.copy(estimator)
    estimator.flatten_transform = False
    return estimator


def _convert_as_registered(scope: Any, operator: Any, container: Any) -> None:  # noqa: ANN401
    from skl2onnx.common._registration import get_converter

    get_converter(operator.type)(scope, operator, container)


class _WithoutBooleans:
    """A container of nodes in whose lists True is 1."""

    def __init__(self, container: Any) -> None:  # noqa: ANN401 - skl2onnx has no types
        self._container = container

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._container, name)

    def add_node(self, *place: Any, **attributes: Any) -> None:  # noqa: ANN401
        """Add a node; the arguments are skl2onnx's."""
        plain = {
            name: [int(each) if isinstance(each, bool) else each for each in value]
            if isinstance(value, list)
            else value
            for name, value in attributes.items()
        }
        self._container.add_node(*place, **plain)
