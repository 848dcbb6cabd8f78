"""Every classifier, regressor and clusterer of scikit-learn becomes a file, or it is said why not.

A line of `CANNOT` that is true no longer fails its test: take it out then.
"""

import inspect
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
from skl2onnx.common._container import ModelComponentContainer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    IsolationForest,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils import all_estimators

from tests.refused import refused
from workbench.errors import InvalidModel
from workbench.registry.agreement_probe import compare_with_file
from workbench.registry.conversion import from_estimator
from workbench.registry.model_import import import_model
from workbench.registry.onnx import Session, check_model

KINDS = ("classifier", "regressor", "cluster")
ALL = {name: (kind, made) for kind in KINDS for name, made in all_estimators(kind)}

IRIS, SPECIES = load_iris(return_X_y=True)
BODIES, PROGRESS = (each[:100] for each in load_diabetes(return_X_y=True))
TUMOURS, MALIGNANT = (each[:150, ...] for each in load_breast_cancer(return_X_y=True))
BOTH = np.stack([PROGRESS, 100 * BODIES[:, 2]], axis=1)

TWO_CLASSES = {
    *("FixedThresholdClassifier", "GaussianProcessClassifier", "TunedThresholdClassifierCV"),
}
SEVERAL_TARGETS = {
    *("CCA", "MultiOutputRegressor", "MultiTaskElasticNet", "MultiTaskElasticNetCV"),
    *("MultiTaskLasso", "MultiTaskLassoCV", "PLSCanonical", "RegressorChain"),
}
SETTINGS = {"n_estimators": 5, "n_init": 1, "random_state": 0}
SLOWER = ("HistGradientBoosting", "MLP", "TheilSen")

NO_CONVERTER = "MissingShapeCalculator"
ONLY_ITS_OWN_ROWS = "labels only for the rows that it was fitted on"
CANNOT = {
    "AffinityPropagation": NO_CONVERTER,
    "AgglomerativeClustering": ONLY_ITS_OWN_ROWS,
    "Birch": NO_CONVERTER,
    "BisectingKMeans": NO_CONVERTER,
    "CCA": NO_CONVERTER,
    "ClassifierChain": NO_CONVERTER,
    "DBSCAN": ONLY_ITS_OWN_ROWS,
    "DummyClassifier": NO_CONVERTER,
    "DummyRegressor": NO_CONVERTER,
    "FeatureAgglomeration": "estimator that predicts",
    "FixedThresholdClassifier": NO_CONVERTER,
    "GaussianProcessClassifier": "com.microsoft:Solve",  # an operator that no runtime has
    "HDBSCAN": ONLY_ITS_OWN_ROWS,
    "IsotonicRegression": NO_CONVERTER,
    "KernelRidge": NO_CONVERTER,
    "LabelPropagation": NO_CONVERTER,
    "LabelSpreading": NO_CONVERTER,
    "MeanShift": NO_CONVERTER,
    "NearestCentroid": NO_CONVERTER,
    "OPTICS": ONLY_ITS_OWN_ROWS,
    "OutputCodeClassifier": NO_CONVERTER,
    "PLSCanonical": NO_CONVERTER,
    "QuadraticDiscriminantAnalysis": "one a row is wanted",  # it answers once for all rows
    "RadiusNeighborsClassifier": "out of range",  # an index of -1 for a row without neighbours
    "RegressorChain": NO_CONVERTER,
    "SelfTrainingClassifier": NO_CONVERTER,
    "SpectralClustering": ONLY_ITS_OWN_ROWS,
    "TransformedTargetRegressor": NO_CONVERTER,
    "TunedThresholdClassifierCV": "is another model",  # the threshold is left out
}


def make(name):
    """Return an estimator with small settings, around a plain one where it needs others."""
    kind, made = ALL[name]
    known = inspect.signature(made).parameters
    settings = {key: value for key, value in SETTINGS.items() if key in known}
    inner = LogisticRegression() if kind == "classifier" else Ridge()
    needed = {"estimators": [("one", inner)], "estimator": inner}
    for key in needed.keys() & known.keys():
        if known[key].default is inspect.Parameter.empty or name == "SelfTrainingClassifier":
            settings[key] = needed[key]
    if name.startswith(SLOWER):
        settings["max_iter"] = 5
    return made(**settings)


def choose_data(name):
    kind, _ = ALL[name]
    if name in TWO_CLASSES:
        return TUMOURS, MALIGNANT
    if name == "IsotonicRegression":
        return BODIES[:, 2:3], PROGRESS
    if name in ("ClassifierChain", "MultiOutputClassifier"):
        return IRIS, np.stack([SPECIES == 0, SPECIES == 1], axis=1).astype(int)
    if kind == "regressor":
        return BODIES, BOTH if name in SEVERAL_TARGETS else PROGRESS
    return IRIS, SPECIES


def fit(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that few iterations are few, and some names deprecated
        return make(name).fit(*choose_data(name))


def convert(estimator, rows):
    """Return how a file answers beside its estimator, or why there is none."""
    try:
        session = Session(check_model(from_estimator(estimator, rows)).content)
        return compare_with_file(estimator, session, rows)
    except InvalidModel as error:
        return str(error)


@pytest.mark.parametrize("name", sorted(ALL.keys() - CANNOT.keys()))
def test_an_estimator_becomes_a_file_that_answers_as_it_does(name):
    found = convert(fit(name), choose_data(name)[0])
    assert not isinstance(found, str), found
    assert found.rows == 256


@pytest.mark.parametrize("name", sorted(CANNOT))
def test_why_an_estimator_becomes_no_file_is_said(name):
    rows, _ = choose_data(name)
    with refused(InvalidModel, CANNOT[name]):
        import_whole(fit(name), rows)


def import_whole(estimator, rows):
    return import_model(
        estimator,
        samples=rows,
        task="",
        kind=None,
        data="",
        accuracy=None,
        framework="",
        seed=0,
    )


@pytest.mark.parametrize(
    ("estimator", "kind"),
    [
        (IsolationForest(n_estimators=5, random_state=0), "other"),
        (make_pipeline(StandardScaler(), LinearSVC()), "classification"),
        (make_pipeline(HistGradientBoostingClassifier(max_iter=3)), "classification"),
        (
            VotingClassifier(
                [("a", LinearDiscriminantAnalysis()), ("b", GaussianNB())],
                voting="soft",
                weights=[1, 3],
            ),
            "classification",
        ),
        (VotingRegressor([("a", Ridge()), ("b", Ridge(9.0))], weights=[1, 3]), "regression"),
    ],
    ids=[
        *("isolation forest", "linear SVC in a pipeline", "boosting in a pipeline"),
        *("soft votes", "votes of weights in a list"),
    ],
)
def test_what_once_was_refused_is_a_model(estimator, kind):
    made = import_whole(estimator.fit(IRIS, SPECIES), IRIS)
    assert (made.traits.kind, made.traits.agreement.share) == (kind, 1.0)


def test_an_estimator_is_left_as_it_was():
    votes = VotingClassifier([("a", GaussianNB())]).fit(IRIS, SPECIES)
    from_estimator(votes)
    assert votes.flatten_transform is True


def test_rows_of_float32_are_compared_with_an_estimator_that_takes_float64():
    found = convert(fit("KMeans"), IRIS.astype(np.float32))
    assert found.share == 1.0


def test_the_cause_of_a_failed_conversion_is_said(monkeypatch):
    monkeypatch.setattr("workbench.registry.conversion.list_converters", dict)
    with refused(InvalidModel, "TypeError", "boolean"):
        from_estimator(HistGradientBoostingClassifier(max_iter=1).fit(IRIS[:60], SPECIES[:60]))


def test_large_weights_are_written_as_bytes_and_answer_alike():
    plain = ModelComponentContainer.add_initializer
    rows = np.random.default_rng(1).random((30, 200), dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = MLPClassifier((100,), max_iter=2, random_state=1).fit(rows, np.arange(30) % 3)
    content = from_estimator(fitted)
    weights = onnx.load_from_string(content).graph.initializer[0]
    answers = onnxruntime.InferenceSession(content).run(None, {"input": rows})[1]

    assert (list(weights.dims), len(weights.raw_data)) == ([200, 100], 4 * 200 * 100)
    assert answers == pytest.approx(fitted.predict_proba(rows), abs=1e-5)
    assert ModelComponentContainer.add_initializer is plain
