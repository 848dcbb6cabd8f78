"""Boosted trees of LightGBM, XGBoost and CatBoost as estimators, and as ONNX files.

CatBoost writes ONNX itself; onnxmltools (extra `boosted`) converts the others. What a Booster's
library tells of it makes an estimator, so that it is compared with its file as others are.
"""

import contextlib
import copy
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from workbench.errors import InvalidModel
from workbench.extras import tell_install
from workbench.registry.converters import convert_narrowly, convert_with
from workbench.registry.estimator_inputs import Estimator, list_steps

_LIBRARIES = ("lightgbm", "xgboost", "catboost")
_OPTIONS = {"nocl": [True, False], "zipmap": [True, False, "columns"]}


class _Booster(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What both kinds have in common."""

    def __init__(self, booster: Any, scores: Any, columns: int) -> None:  # noqa: ANN401
        self.booster = booster
        self.scores = scores
        self.columns = columns
        self.n_features_in_ = columns

    def fit(self, *_: Any) -> "_Booster":  # noqa: ANN401 - what scikit-learn knows estimators by
        """Return itself: a Booster is trained already."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True


class BoosterRegressor(RegressorMixin, _Booster):  # type: ignore[misc]  # scikit-learn has no types
    """A Booster that gives values, with scikit-learn's methods."""

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the value of each row."""
        return np.asarray(self.scores(rows))


class BoosterClassifier(ClassifierMixin, _Booster):  # type: ignore[misc]  # scikit-learn has no types
    """A Booster that tells classes apart, with scikit-learn's methods."""

    def __init__(self, booster: Any, scores: Any, columns: int, classes: Any) -> None:  # noqa: ANN401
        super().__init__(booster, scores, columns)
        self.classes = classes
        self.classes_ = np.asarray(classes)

    def predict_proba(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the probability of each class."""
        scores = np.asarray(self.scores(rows))
        return scores if scores.ndim == 2 else np.stack([1 - scores, scores], axis=1)

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the class of each row."""
        return np.asarray(self.classes_[self.predict_proba(rows).argmax(axis=1)])


def as_estimator(model: Estimator) -> Estimator:
    """Return an estimator that answers as a Booster does; any other model is returned as it is."""
    kind = name_kind(model)
    if kind not in _BOOSTERS:
        return model
    try:
        scores, columns, classes = _BOOSTERS[kind](model)
    except Exception as error:
        raise InvalidModel(
            f"What this {kind} predicts cannot be known ({error}): give the fitted estimator that "
            "its library makes for scikit-learn."
        ) from error
    if classes is None:
        return BoosterRegressor(model, scores, columns)
    return BoosterClassifier(model, scores, columns, classes)


def name_kind(model: Estimator) -> str:
    """Return library and class of a model, such as "lightgbm.Booster"."""
    kind = type(model)
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


def name_framework(estimator: Estimator) -> str:
    """Return library and version of a boosted model; of any other estimator scikit-learn's."""
    library = name_kind(_unwrap(estimator)).partition(".")[0]
    if library not in _LIBRARIES:
        return f"scikit-learn {version('scikit-learn')}"
    return f"{library} {sys.modules[library].__version__}"


def name_converter(estimator: Estimator) -> str:
    """Return what makes the file of an estimator."""
    writer = find_writer(estimator)
    if writer is None:
        return f"skl2onnx {version('skl2onnx')}"
    return "CatBoost" if writer is _write_with_catboost else "onnxmltools"


def find_writer(estimator: Estimator) -> "Callable[[Any, int], Any] | None":
    """Return what makes a file of a model that skl2onnx cannot take; None of all others."""
    return _WRITERS.get(name_kind(_unwrap(estimator)))


def name_missing(reason: str) -> str:
    """Return what to install where a library's converter is what was missing, else nothing."""
    if "onnxmltools" in sys.modules or not any(f"{name}." in reason for name in _LIBRARIES):
        return ""
    return f"Converters of LightGBM and XGBoost: {tell_install('boosted')}. "


def check_categories(estimator: Estimator) -> None:
    """Check that no boosted trees in it were fitted on categories of a frame's columns.

    A file would take a category's number, which only the library knows, for its value.
    """
    for model in map(_unwrap, list_steps(estimator)):
        library = name_kind(model).partition(".")[0]
        if library not in _LIBRARIES or not _is_fitted(model):
            continue
        if columns := _CATEGORIES[library](model):
            raise InvalidModel(
                f"This {name_kind(model)} was fitted on categories, {columns}, for which no "
                "converter makes an ONNX file: put an encoder before it, such as make_pipeline("
                "ColumnTransformer([('c', OrdinalEncoder(), columns)], remainder='passthrough'), "
                "model), and fit that."
            )


def name_features(estimator: Estimator) -> list[str]:
    """Return the columns that an estimator was fitted on, in its order; [] where it knows none."""
    inner = getattr(estimator, "best_estimator_", None)
    if inner is None and hasattr(estimator, "steps"):
        inner = estimator.steps[0][1]
    names = getattr(estimator, "feature_names_in_", None)
    if names is None and inner is not None:
        return name_features(inner)
    model = _unwrap(estimator)
    library = name_kind(model).partition(".")[0]
    if names is None and library in _LIBRARIES:
        names = _FEATURES[library](model)
    found = [] if names is None else [str(name) for name in names]
    # as CatBoost ("0") and LightGBM ("Column_0") name columns that have no names
    unnamed = any(found == [f"{word}{at}" for at in range(len(found))] for word in ("", "Column_"))
    return [] if unnamed else found


def _is_fitted(model: Estimator) -> bool:
    tell = getattr(model, "__sklearn_is_fitted__", getattr(model, "is_fitted", lambda: True))
    return bool(tell())


def _list_lightgbm_categories(model: Estimator) -> list[Any]:
    booster: Any = getattr(model, "booster_", model)
    if not booster.pandas_categorical:
        return []
    facts = booster.dump_model(num_iteration=1)["feature_infos"]
    return [name for name, each in facts.items() if each["values"]] or booster.pandas_categorical


def _list_xgboost_categories(model: Estimator) -> list[Any]:
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    if booster.feature_names is None:  # of an array, whose values are the categories' numbers
        return []
    pairs = zip(booster.feature_names, booster.feature_types or (), strict=False)
    return [name for name, kind in pairs if kind == "c"]


def _unwrap(estimator: Estimator) -> Estimator:
    return estimator.booster if isinstance(estimator, _Booster) else estimator


def register_converters() -> None:
    """Let skl2onnx convert those of the libraries that are in use, in pipelines too."""
    for library, register in _REGISTER.items():
        if library in sys.modules:
            with contextlib.suppress(ImportError):
                register(sys.modules[library])


def _register_lightgbm(library: Any) -> None:  # noqa: ANN401
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

    _register(library.LGBMClassifier, library.LGBMRegressor, convert_lightgbm)


def _register_xgboost(library: Any) -> None:  # noqa: ANN401
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost

    convert = partial(convert_with, _drop_names, convert_xgboost)
    _register(library.XGBClassifier, library.XGBRegressor, partial(convert_narrowly, convert))


def _register_catboost(library: Any) -> None:  # noqa: ANN401
    convert = partial(convert_narrowly, _convert_catboost)
    _register(library.CatBoostClassifier, library.CatBoostRegressor, convert, _parse_classifier)


def _convert_catboost(scope: Any, operator: Any, container: Any) -> None:  # noqa: ANN401
    """Add the one node that CatBoost's own file has, beside a map of scores, to a container."""
    from onnx.helper import get_attribute_value

    (node,) = (
        each
        for each in _write_with_catboost(operator.raw_operator, 0).graph.node
        if each.op_type != "ZipMap"
    )
    container.add_node(
        node.op_type,
        [operator.inputs[0].full_name],
        [each.full_name for each in operator.outputs],
        name=scope.get_unique_operator_name(node.op_type),
        op_domain=node.domain,
        **{each.name: get_attribute_value(each) for each in node.attribute},
    )


def _parse_classifier(scope: Any, model: Estimator, inputs: list[Any], **_: Any) -> Any:  # noqa: ANN401
    """Declare the outputs of a classifier that skl2onnx does not know for one."""
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType

    operator = scope.declare_local_operator(f"Workbench{type(model).__name__}", model)
    operator.inputs = inputs
    for name, kind in (("label", Int64TensorType), ("probabilities", FloatTensorType)):
        operator.outputs.append(scope.declare_local_variable(name, kind()))
    return operator.outputs


def _register(
    classifier: type,
    regressor: type,
    convert: Callable[..., None],
    parser: Callable[..., Any] | None = None,
) -> None:
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    for kind, shapes, options, parse in (
        (classifier, calculate_linear_classifier_output_shapes, _OPTIONS, parser),
        (regressor, calculate_linear_regressor_output_shapes, None, None),
    ):
        alias = f"Workbench{kind.__name__}"
        update_registered_converter(kind, alias, shapes, convert, parser=parse, options=options)


def _drop_names(model: Estimator) -> Estimator:
    """Return a copy without the names of a frame's columns, which onnxmltools cannot read."""
    model = copy.deepcopy(model)
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    booster.feature_names = None
    return model


def _read_lightgbm(model: Estimator) -> "_Reading":
    facts = model.dump_model(num_iteration=1)
    objective = str(facts.get("objective", "")).partition(" ")[0]
    classes = range({"binary": 2, "multiclass": facts["num_class"]}.get(objective, 0))
    return model.predict, model.num_feature(), list(classes) or None


def _read_xgboost(model: Estimator) -> "_Reading":
    from xgboost import DMatrix

    learner = json.loads(model.save_config())["learner"]
    objective = learner["objective"]["name"]
    several = int(learner["learner_model_param"]["num_class"])
    classes = {"binary:logistic": 2, "multi:softprob": several, "multi:softmax": several}

    def predict(rows: NDArray[Any]) -> Any:  # noqa: ANN401
        data = DMatrix(rows, feature_names=model.feature_names)
        if objective != "multi:softmax":  # which gives labels, and no probabilities
            return model.predict(data)
        return softmax(model.predict(data, output_margin=True), axis=1)

    return predict, model.num_features(), list(range(classes.get(objective, 0))) or None


def _read_catboost(model: Estimator) -> "_Reading":
    if not len(model.classes_):
        return model.predict, model.n_features_in_, None
    predict = partial(model.predict, prediction_type="Probability")
    return predict, model.n_features_in_, np.asarray(model.classes_).tolist()


def _write_with_onnxmltools(estimator: Estimator, columns: int) -> Any:  # noqa: ANN401
    booster = estimator.booster
    library = name_kind(booster).partition(".")[0]
    try:
        from onnxmltools import convert
        from onnxmltools.convert.common.data_types import FloatTensorType
    except ImportError as error:
        raise InvalidModel(
            f"Boosters are converted by onnxmltools: {tell_install('boosted')}."
        ) from error
    types = [("input", FloatTensorType([None, columns]))]
    if library == "lightgbm":
        return convert.convert_lightgbm(booster, "Booster", types, zipmap=False)
    return convert.convert_xgboost(_drop_names(booster), "Booster", types)


def _write_with_catboost(estimator: Estimator, columns: int) -> Any:  # noqa: ANN401, ARG001
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        _unwrap(estimator).save_model(str(path), format="onnx")
        return onnx.load(path)


_Reading: TypeAlias = tuple[Callable[..., Any], int, list[Any] | None]

_BOOSTERS: dict[str, Callable[[Any], _Reading]] = {
    "lightgbm.Booster": _read_lightgbm,
    "xgboost.Booster": _read_xgboost,
    "catboost.CatBoost": _read_catboost,
}
_REGISTER: dict[str, Callable[[Any], None]] = {
    "lightgbm": _register_lightgbm,
    "xgboost": _register_xgboost,
    "catboost": _register_catboost,
}
_FEATURES: Mapping[str, Callable[[Any], Any]] = {
    "lightgbm": lambda model: model.feature_name() if hasattr(model, "feature_name") else None,
    "xgboost": lambda model: getattr(model, "feature_names", None),
    "catboost": lambda model: model.feature_names_,
}
_CATEGORIES: Mapping[str, Callable[[Any], list[Any]]] = {
    "lightgbm": _list_lightgbm_categories,
    "xgboost": _list_xgboost_categories,
    "catboost": lambda model: [model.feature_names_[at] for at in model.get_cat_feature_indices()],
}
_WRITERS: dict[str, Callable[[Any, int], Any]] = {
    "lightgbm.Booster": _write_with_onnxmltools,
    "xgboost.Booster": _write_with_onnxmltools,
    "catboost.CatBoost": _write_with_catboost,
    "catboost.CatBoostClassifier": _write_with_catboost,
    "catboost.CatBoostRegressor": _write_with_catboost,
}
