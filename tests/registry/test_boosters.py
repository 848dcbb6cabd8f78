"""Models of LightGBM, XGBoost and CatBoost become files that answer as they do, or none."""

import sys

import catboost
import lightgbm
import numpy as np
import pandas as pd
import polars as pl
import pytest
import xgboost
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.refused import refused
from workbench.errors import InvalidInput, InvalidModel
from workbench.registry import boosters
from workbench.registry.conversion import find_columns, from_estimator, name_columns_of
from workbench.registry.model_import import import_model
from workbench.registry.onnx import Session
from workbench.registry.rows import as_rows

IRIS, SPECIES = load_iris(return_X_y=True)
BODIES, PROGRESS = load_diabetes(return_X_y=True)
TUMOURS, MALIGNANT = (each[:200] for each in load_breast_cancer(return_X_y=True))
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]

QUIET = {"verbose": -1, "n_jobs": 1}
QUIET_CAT = {"verbose": 0, "allow_writing_files": False, "thread_count": 1}
LIGHT = {"classifier": lightgbm.LGBMClassifier, "regressor": lightgbm.LGBMRegressor}
MAKERS = {
    "LightGBM": lambda kind: LIGHT[kind](n_estimators=5, **QUIET),
    "XGBoost": lambda kind: {
        "classifier": xgboost.XGBClassifier,
        "regressor": xgboost.XGBRegressor,
    }[kind](n_estimators=5, n_jobs=1),
    "CatBoost": lambda kind: {
        "classifier": catboost.CatBoostClassifier,
        "regressor": catboost.CatBoostRegressor,
    }[kind](iterations=5, **QUIET_CAT),
}
DATA = {
    "three classes": ("classifier", IRIS, SPECIES),
    "two classes": ("classifier", TUMOURS, MALIGNANT),
    "values": ("regressor", BODIES, PROGRESS),
}


def register(model, rows, **more):
    settings = {"task": "", "kind": None, "data": "", "accuracy": None, "framework": ""}
    return import_model(model, samples=rows, seed=0, **settings | more).traits


def boost(settings, rows=BODIES, targets=PROGRESS):
    settings = {"objective": "regression", "num_threads": 1, "verbose": -1} | settings
    return lightgbm.train(settings, lightgbm.Dataset(rows, targets), 5)


def boost_x(settings, rows=BODIES, targets=PROGRESS):
    return xgboost.train({"nthread": 1} | settings, xgboost.DMatrix(rows, targets), 5)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("library", MAKERS)
def test_a_fitted_estimator_is_a_model(library, data):
    kind, rows, targets = DATA[data]
    traits = register(MAKERS[library](kind).fit(rows, targets), rows)
    assert traits.agreement.share == 1.0
    assert all(size < 1e-3 for _, size in traits.agreement.differences)
    assert traits.kind == {"classifier": "classification", "regressor": "regression"}[kind]
    assert traits.framework.startswith(library.lower())


@pytest.mark.parametrize("library", MAKERS)
def test_probabilities_of_named_columns_are_answered(library):
    frame = pl.DataFrame(IRIS, schema=["a b", "c", "d", "e"]).to_pandas()
    model = MAKERS[library]("classifier").fit(frame, SPECIES)
    traits = register(model, IRIS, answer="probabilities")
    assert (traits.classes, traits.agreement.share) == ((0, 1, 2), 1.0)


@pytest.mark.parametrize("library", ["LightGBM", "CatBoost"])
def test_labels_that_are_texts_stay_texts(library):
    content = from_estimator(MAKERS[library]("classifier").fit(IRIS, NAMES))
    assert Session(content).run(IRIS[:1].astype(np.float32)).tolist() == ["setosa"]


@pytest.mark.parametrize(
    ("library", "targets"),
    [("LightGBM", SPECIES), ("XGBoost", SPECIES), ("CatBoost", NAMES), ("CatBoost", IRIS[:, 0])],
    ids=["LightGBM", "XGBoost", "CatBoost", "CatBoost values"],
)
def test_a_pipeline_may_end_in_boosted_trees(library, targets):
    kind = "regressor" if targets.dtype.kind == "f" else "classifier"
    model = make_pipeline(StandardScaler(), MAKERS[library](kind))
    agreement = register(model.fit(IRIS, targets), IRIS).agreement
    assert agreement.share == 1.0
    assert not agreement.scores_apart


@pytest.mark.parametrize("library", MAKERS)
def test_missing_values_go_the_way_they_were_taught(library):
    gaps = BODIES.copy()
    gaps[::3, 2] = np.nan
    model = MAKERS[library]("regressor").fit(gaps, PROGRESS)
    assert register(model, gaps).agreement.share == 1.0


BOOSTERS = {
    "LightGBM values": (lambda: boost({}), BODIES, "regression"),
    "LightGBM two classes": (
        lambda: boost({"objective": "binary"}, TUMOURS, MALIGNANT),
        TUMOURS,
        "classification",
    ),
    "LightGBM three classes": (
        lambda: boost({"objective": "multiclass", "num_class": 3}, IRIS, SPECIES),
        IRIS,
        "classification",
    ),
    "XGBoost counts": (lambda: boost_x({"objective": "count:poisson"}), BODIES, "regression"),
    "XGBoost two classes": (
        lambda: boost_x({"objective": "binary:logistic"}, TUMOURS, MALIGNANT),
        TUMOURS,
        "classification",
    ),
    "XGBoost labels": (
        lambda: boost_x({"objective": "multi:softmax", "num_class": 3}, IRIS, SPECIES),
        IRIS,
        "classification",
    ),
    "CatBoost values": (
        lambda: catboost.CatBoost({"iterations": 5, **QUIET_CAT}).fit(BODIES, PROGRESS),
        BODIES,
        "regression",
    ),
    "CatBoost two classes": (
        lambda: catboost.CatBoost({"iterations": 5, "loss_function": "Logloss", **QUIET_CAT}).fit(
            TUMOURS, MALIGNANT
        ),
        TUMOURS,
        "classification",
    ),
}


@pytest.mark.parametrize("name", BOOSTERS)
def test_a_booster_is_a_model(name):
    train, rows, kind = BOOSTERS[name]
    traits = register(train(), rows)
    assert (traits.kind, traits.agreement.share) == (kind, 1.0)
    if name != "XGBoost labels":  # of which onnxmltools 1.16 makes other probabilities
        assert all(size < 1e-3 for _, size in traits.agreement.differences)


CHANGED = {  # what onnxmltools 1.16 makes another model of, without a word
    "LightGBM, linear trees": lambda: boost({"linear_tree": True}),
    "LightGBM, forest": lambda: boost(
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}
    ),
    "XGBoost, logistic": lambda: boost_x({"objective": "reg:logistic"}, BODIES, PROGRESS > 140),
    # its file answers logarithms: findings/catboost-files-of-counts-and-gaps.sh
    "CatBoost, counts": lambda: catboost.CatBoostRegressor(
        iterations=5, loss_function="Poisson", **QUIET_CAT
    ).fit(BODIES, PROGRESS),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_file_that_answers_otherwise_is_refused_with_the_rows(name):
    with refused(InvalidModel, "another model", "256 rows", "Row 1"):
        register(CHANGED[name](), BODIES)


def test_probabilities_that_are_others_are_refused_where_they_are_the_answer():
    settings = {"iterations": 5, "loss_function": "MultiClassOneVsAll", **QUIET_CAT}
    model = catboost.CatBoostClassifier(**settings).fit(IRIS, SPECIES)
    assert register(model, IRIS).agreement.share == 1.0  # the labels are the same
    with refused(InvalidModel, "CatBoostClassifier", "another model", "Row 1"):
        register(model, IRIS, answer="probabilities")


@pytest.mark.parametrize(
    "model",
    [
        lightgbm.LGBMClassifier(n_estimators=2, min_child_samples=2, verbose=-1),
        xgboost.XGBClassifier(n_estimators=2, enable_categorical=True),
    ],
    ids=["lightgbm", "xgboost"],
)
def test_texts_as_categories_are_refused_by_column(model):
    columns = pd.DataFrame({"age": [1.0, 2, 3, 4] * 5, "city": pd.Categorical(["a", "b"] * 10)})
    fitted = model.fit(columns, [0, 1] * 10)

    for estimator in (fitted, make_pipeline(fitted)):
        for rows in (as_rows(None, columns), None):
            with refused(InvalidModel, "['city']", "OrdinalEncoder"):
                find_columns(estimator, rows)


def test_numbers_as_categories_are_refused_too():
    columns = pd.DataFrame({"city": pd.Categorical([10, 20, 30, 40] * 5)})
    fitted = xgboost.XGBClassifier(n_estimators=2, enable_categorical=True)
    fitted.fit(columns, [0, 1, 1, 0] * 5)

    with refused(InvalidModel, "xgboost.XGBClassifier", "['city']"):
        register(fitted, as_rows(None, columns))


NAMED = pd.DataFrame({"the age": [1.0, 2, 3, 4] * 5, "pay": [1.0, -1] * 10})
COLUMNS = ["the age", "pay"]
RIGHT = [0, 0, 1, 1] * 5


@pytest.mark.parametrize(
    "train",
    [
        lambda: lightgbm.train(
            {"objective": "binary", "min_child_samples": 2, "verbose": -1},
            lightgbm.Dataset(NAMED, RIGHT),
            2,
        ),
        lambda: lightgbm.LGBMClassifier(n_estimators=2, min_child_samples=2, verbose=-1).fit(
            NAMED, RIGHT
        ),
        lambda: xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(NAMED, RIGHT), 2),
        lambda: catboost.CatBoostClassifier(iterations=2, verbose=0, allow_writing_files=False).fit(
            NAMED, RIGHT
        ),
    ],
    ids=["lightgbm.Booster", "LGBMClassifier", "xgboost.Booster", "CatBoostClassifier"],
)
def test_columns_of_samples_are_found_by_the_names_that_it_was_trained_on(train):
    fitted = train()
    swapped = as_rows(None, NAMED[COLUMNS[::-1]])

    rows = find_columns(boosters.as_estimator(fitted), swapped)
    np.testing.assert_array_equal(rows, NAMED.to_numpy())
    assert name_columns_of(fitted, swapped) == tuple(COLUMNS)
    with refused(InvalidInput, "pay", "the age"):
        find_columns(boosters.as_estimator(fitted), as_rows(None, NAMED[COLUMNS[:1]]))


def test_what_onnxmltools_cannot_convert_is_said():
    with refused(InvalidModel, "onnxmltools", "l1"):
        register(boost({"objective": "l1"}), BODIES)


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "onnxmltools"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Hidden(), *sys.meta_path])
    with refused(InvalidModel, "inference-workbench[boosted]"):
        register(boost({}), BODIES)
    assert "[boosted]" in boosters.name_missing("no shape for '<class 'lightgbm.sklearn.LGBM'>'")
    assert not boosters.name_missing("no shape for '<class 'sklearn.dummy.DummyClassifier'>'")


class _Hidden:
    """Lets nobody import onnxmltools."""

    def find_spec(self, name, *_):
        if name.split(".")[0] == "onnxmltools":
            raise ImportError(name)
