"""What skl2onnx needs beside itself to make files of more estimators: converters, shapes.

Each entry passes around one thing that skl2onnx 1.20.0 does not do by itself; the table of all
estimators in tests/registry/test_estimators.py shows when one is needed no longer.
"""

import copy
from collections.abc import Callable
from functools import partial
from textwrap import shorten
from typing import Any, TypeAlias

import numpy as np

from workbench.registry.estimator_inputs import Estimator
from workbench.registry.graph_inputs import Proto

Part: TypeAlias = Any
"""What skl2onnx hands to a converter: it has no types."""

_REASON = 200  # characters of a reason that are shown

TREE_OPSET = 3
"""Version of ONNX's domain of trees that all converters know: IsolationForest's refuses 4."""


def list_converters() -> dict[type, Callable[..., None]]:
    """Return the converters that stand in for those of skl2onnx, by type of estimator."""
    from sklearn import ensemble, tree
    from sklearn.feature_extraction.text import (
        CountVectorizer,
        TfidfTransformer,
        TfidfVectorizer,
    )
    from sklearn.impute import SimpleImputer

    trees: tuple[type, ...] = (
        *(tree.DecisionTreeClassifier, tree.DecisionTreeRegressor),
        *(tree.ExtraTreeClassifier, tree.ExtraTreeRegressor),
        *(ensemble.RandomForestClassifier, ensemble.RandomForestRegressor),
        *(ensemble.ExtraTreesClassifier, ensemble.ExtraTreesRegressor),
        *(ensemble.GradientBoostingClassifier, ensemble.GradientBoostingRegressor),
    )
    return dict.fromkeys(trees, partial(convert_narrowly, _convert_as_registered)) | {
        ensemble.HistGradientBoostingClassifier: _convert_without_booleans,
        ensemble.HistGradientBoostingRegressor: _convert_without_booleans,
        SimpleImputer: _convert_imputer,
        **dict.fromkeys((CountVectorizer, TfidfTransformer, TfidfVectorizer), _convert_words),
        **dict.fromkeys(
            (ensemble.VotingClassifier, ensemble.VotingRegressor),
            partial(convert_with, _prepare_votes, _convert_as_registered),
        ),
    }


def convert_with(
    change: Callable[[Any], Any],
    convert: Callable[..., None],
    scope: Part,
    operator: Part,
    container: Part,
) -> None:
    """Convert what a change makes of an estimator, in its place."""
    estimator = operator.raw_operator
    operator.raw_operator = change(estimator)
    try:
        convert(scope, operator, container)
    finally:
        operator.raw_operator = estimator


def convert_narrowly(
    convert: Callable[..., None], scope: Part, operator: Part, container: Part
) -> None:
    """Convert with a cast where numbers are float64, of trees that look at float32 themselves."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    from skl2onnx.proto import onnx_proto

    given = operator.inputs[0]
    if len(operator.inputs) != 1 or not isinstance(given.type, DoubleTensorType):
        convert(scope, operator, container)
        return
    narrow = scope.declare_local_variable("narrow", FloatTensorType(given.type.shape))
    to = onnx_proto.TensorProto.FLOAT
    _add_node(scope, container, ("Cast", 13), [given.full_name], narrow.full_name, to=to)
    for output in operator.outputs:
        if isinstance(output.type, DoubleTensorType):
            output.type = FloatTensorType(output.type.shape)
    convert(scope, _Fed(operator, narrow), container)


def settle_shapes(proto: Proto) -> Proto:
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
    said = f"{type(error).__name__}: {shorten(str(error).partition(chr(10))[0], _REASON)}"
    return said if error.__cause__ is None else f"{said}, because of {explain(error.__cause__)}"


def _convert_without_booleans(scope: Part, operator: Part, container: Part) -> None:
    """Convert with skl2onnx's own, which lists booleans as integers: protobuf 7 refuses those."""
    _convert_as_registered(scope, operator, _WithoutBooleans(container))


def _convert_imputer(scope: Part, operator: Part, container: Part) -> None:
    """Convert with plain operators where numbers are float64: ONNX Runtime has no other way."""
    from skl2onnx.common.data_types import DoubleTensorType
    from skl2onnx.proto import onnx_proto

    imputer = operator.raw_operator
    gaps = np.asarray(imputer.missing_values, object), np.asarray(imputer.statistics_, object)
    if (
        imputer.add_indicator
        or not isinstance(operator.inputs[0].type, DoubleTensorType)
        or [bool((each != each).any()) for each in gaps] != [True, False]  # noqa: PLR0124 - NaN
    ):
        _convert_as_registered(scope, operator, container)
        return
    rows = operator.inputs[0].full_name
    fill, missing = (scope.get_unique_variable_name(name) for name in ("fill", "missing"))
    values = imputer.statistics_.astype(float)
    container.add_initializer(fill, onnx_proto.TensorProto.DOUBLE, [1, len(values)], values)
    _add_node(scope, container, ("IsNaN", 13), [rows], missing)
    filled = operator.outputs[0].full_name
    _add_node(scope, container, ("Where", 16), [missing, fill, rows], filled)


def _convert_words(scope: Part, operator: Part, container: Part) -> None:
    """Convert counts of words, or their weights; of a TfidfVectorizer skl2onnx asks for both."""
    step = operator.raw_operator
    if getattr(step, "stop_words", None) and step.ngram_range[1] > 1:
        raise NotImplementedError(
            "stop_words beside ngram_range, as ONNX cannot leave words out before it makes pairs: "
            "fit it with stop_words=None or ngram_range=(1, 1)"
        )
    if operator.type != "SklearnTfidfTransformer" or not step.sublinear_tf:
        _convert_as_registered(scope, operator, container)
        return
    from skl2onnx.common.data_types import guess_proto_type

    # A weight that grows sublinearly is 1 + log(count), where skl2onnx has log(1 + count).
    (counts,) = operator.inputs
    raised = scope.declare_local_variable("raised", counts.type)
    kind = guess_proto_type(counts.type)
    zero, one, some, log, more = map(
        scope.get_unique_variable_name, ("zero", "one", "some", "log", "more")
    )
    container.add_initializer(zero, kind, [1], [0.0])
    container.add_initializer(one, kind, [1], [1.0])
    _add_node(scope, container, ("Greater", 13), [counts.full_name, zero], some)
    _add_node(scope, container, ("Log", 13), [counts.full_name], log)
    _add_node(scope, container, ("Add", 14), [log, one], more)
    _add_node(scope, container, ("Where", 16), [some, more, counts.full_name], raised.full_name)
    weights = copy.copy(getattr(step, "_tfidf", step))
    weights.sublinear_tf = False
    _convert_as_registered(scope, _Fed(operator, raised, weights), container)


def _add_node(
    scope: Part,
    container: Part,
    operator: tuple[str, int],
    inputs: list[str],
    output: str,
    **attributes: Any,  # noqa: ANN401
) -> None:
    """Add a node of ONNX's own operator, of a version, to a container."""
    kind, version = operator
    name = scope.get_unique_operator_name(kind)
    container.add_node(kind, inputs, output, name=name, op_version=version, **attributes)


def _prepare_votes(estimator: Estimator) -> Estimator:
    """Return a copy that skl2onnx takes: weights are an array, and votes lie side by side."""
    # Only `transform` obeys the latter; skl2onnx refuses its default, and weights in a list.
    estimator = copy.copy(estimator)
    estimator.flatten_transform = False
    if estimator.weights is not None:
        estimator.weights = np.asarray(estimator.weights, float)
    return estimator


def _convert_as_registered(scope: Part, operator: Part, container: Part) -> None:
    from skl2onnx.common._registration import get_converter

    get_converter(operator.type)(scope, operator, container)


class _Fed:
    """An operator whose input is another variable, and its estimator perhaps another one."""

    def __init__(self, operator: Part, given: Part, estimator: Estimator = None) -> None:
        self._operator = operator
        self.raw_operator = estimator or operator.raw_operator
        self.inputs = [given]
        self.input_full_names = [given.full_name]

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._operator, name)


class _WithoutBooleans:
    """A container of nodes in whose lists True is 1."""

    def __init__(self, container: Part) -> None:
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
