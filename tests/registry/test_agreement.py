"""The file made of an estimator is compared with the estimator itself."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, TunedThresholdClassifierCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from tests.graphs import WEIGHTS, linear, one_node
from tests.refused import refused
from workbench.errors import InvalidModel
from workbench.registry.agreement import Agreement, read_agreement
from workbench.registry.agreement_probe import compare_with_file
from workbench.registry.api import Registry, Samples
from workbench.registry.conversion import from_estimator
from workbench.registry.onnx import Session

IRIS, SPECIES = load_iris(return_X_y=True)
TRAIN, TEST = slice(0, None, 2), slice(1, None, 2)
TWO = (SPECIES == 1).astype(int)


@pytest.fixture
def mine(tmp_path):
    return Registry(tmp_path / "registry")


def register(registry, estimator, rows=IRIS, targets=SPECIES):
    fitted = estimator.fit(rows[TRAIN], targets[TRAIN])
    known = targets[TEST] if targets.ndim == 1 else None
    return registry.register("group", fitted, samples=Samples(rows[TEST], known))


def with_gaps(rows=IRIS):
    return np.where(np.random.default_rng(0).random(rows.shape) < 0.2, np.nan, rows)


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        GaussianNB(),
        LinearSVC(),
        make_pipeline(StandardScaler(), LinearSVC()),
        GridSearchCV(make_pipeline(StandardScaler(), LinearSVC()), {"linearsvc__C": [1.0]}, cv=2),
        make_pipeline(StandardScaler(), GridSearchCV(LinearSVC(), {"C": [1.0]}, cv=2)),
        RandomizedSearchCV(LogisticRegression(max_iter=500), {"C": [1.0]}, n_iter=1, cv=2),
        DecisionTreeClassifier(random_state=0),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_right_conversion_is_registered_with_its_agreement(mine, estimator):
    agreement = register(mine, estimator).traits.agreement

    assert (agreement.rows, agreement.share) == (256, 1.0)
    ((name, size),) = agreement.differences
    assert name == "probabilities"
    assert size < 1e-4


@pytest.mark.parametrize(
    ("estimator", "rows", "targets"),
    [
        (TunedThresholdClassifierCV(LogisticRegression(), scoring="recall"), IRIS, TWO),
        (RandomForestClassifier(20, random_state=0), with_gaps(), SPECIES),
        (RandomForestClassifier(3, random_state=0), IRIS, np.full(150, 3)),
        (GaussianNB(), IRIS, SPECIES * 2**33 + 7),
        (KNeighborsRegressor(weights="distance"), *load_diabetes(return_X_y=True)),
    ],
    ids=["tuned threshold", "missing values", "one class", "labels beyond 32 bits", "by distance"],
)
def test_another_model_is_refused_with_rows_that_differ(mine, estimator, rows, targets):
    with refused(InvalidModel, type(estimator).__name__, "another model", "of 256 rows") as no:
        register(mine, estimator, rows, targets)

    assert type(estimator).__name__ in str(no.value)
    assert mine.groups() == []


def test_the_rows_of_a_refusal_are_those_of_the_user(mine):
    trained = TunedThresholdClassifierCV(LogisticRegression(), scoring="recall").fit(IRIS, TWO)
    file = Session(from_estimator(trained)).run(IRIS.astype(np.float32))
    row = int((trained.predict(IRIS) != file).argmax())

    with pytest.raises(InvalidModel) as no:
        mine.register("group", trained, samples=IRIS)

    told = f"Row {row + 1} of the samples: estimator {trained.predict(IRIS)[row]}, file {file[row]}"
    assert told in str(no.value)


def test_probabilities_behind_right_labels_are_told(tmp_path):
    told = []
    mine = Registry(tmp_path / "registry", progress=told.append)
    isotonic = CalibratedClassifierCV(GaussianNB(), method="isotonic")
    rows, targets = load_breast_cancer(return_X_y=True)
    fitted = isotonic.fit(rows[TRAIN], targets[TRAIN])
    model = mine.register("group", fitted, samples=rows[TEST])

    size = dict(model.traits.agreement.differences)["probabilities"]
    assert model.traits.agreement.share >= 0.99
    assert size == pytest.approx(0.088, abs=0.001)
    assert f"probabilities within {size:.2g}" in mine.table()["agreement"][0]
    assert any(f"up to {size:.2g} apart" in each for each in told)


def test_rows_with_gaps_are_told_where_the_samples_have_none(mine):
    model = register(mine, RandomForestClassifier(20, random_state=0))

    assert model.traits.agreement.share == 1.0
    assert model.traits.agreement.missing_rows == 64
    assert model.traits.agreement.missing_share < 0.99
    assert "64 rows with missing values" in mine._repr_html_()


def test_an_estimator_made_for_gaps_is_held_to_them(mine):
    imputer = make_pipeline(SimpleImputer(), RandomForestClassifier(5, random_state=0))

    assert register(mine, imputer).traits.agreement.missing_share == 1.0


def test_an_indicator_of_gaps_is_refused_and_no_export_is_blamed(mine):
    pipeline = make_pipeline(SimpleImputer(add_indicator=True), DecisionTreeClassifier())

    with refused(InvalidModel, "skl2onnx", "Pipeline") as no:
        register(mine, pipeline, with_gaps())
    assert "xport" not in str(no.value)


def test_rows_that_float32_cannot_tell_apart_are_named_as_the_cause(mine):
    numbers = 2.0**30 + np.arange(200.0)[:, None]
    estimator = LinearRegression().fit(numbers, np.arange(200.0))

    with refused(InvalidModel, "LinearRegression", "float32"):
        mine.register("group", estimator, samples=numbers)


def test_labels_that_score_alike_are_a_tie(mine):
    rows = np.repeat([[0.0], [1.0]], 4, axis=0)
    estimator = KNeighborsClassifier(2).fit(rows + np.tile([0, 1e-3], 4)[:, None], [0, 1] * 4)
    session = Session(from_estimator(estimator))
    half = np.array([[0.0005], [1.0005]])

    assert (estimator.predict_proba(half) == 0.5).all()
    assert compare_with_file(estimator, session, half).share == 1.0


def test_without_samples_rows_are_made(mine):
    fitted = LogisticRegression(max_iter=500).fit(IRIS, SPECIES)

    assert mine.register("group", fitted).traits.agreement.rows == 256


def test_one_row_is_enough(mine):
    model = mine.register("group", LinearRegression().fit(IRIS, SPECIES), samples=IRIS[:1])

    assert model.traits.agreement.share == 1.0


def test_samples_that_the_estimator_refuses_are_refused(mine):
    fitted = LogisticRegression(max_iter=500).fit(IRIS, SPECIES)

    with refused(InvalidModel, "LogisticRegression", "ValueError", "NaN"):
        mine.register("group", fitted, samples=with_gaps())


def test_outputs_without_a_counterpart_are_said_to_be_not_compared(mine):
    both = np.stack([SPECIES, TWO], axis=1)
    several = register(mine, MultiOutputClassifier(LogisticRegression(max_iter=500)), IRIS, both)
    votes = VotingClassifier([("a", GaussianNB())], flatten_transform=False)

    for model in (several, register(mine, votes)):
        assert model.traits.agreement.differences == (("probabilities", None),)
        assert "probabilities not compared" in str(model.traits.agreement)


def test_a_file_of_any_converter_is_compared_with_the_estimator_given(mine):
    regressor = LinearRegression().fit(np.eye(3), WEIGHTS)
    regressor.intercept_ = np.zeros(2)
    regressor.coef_ = WEIGHTS.T

    assert mine.register("same", linear(), estimator=regressor).traits.agreement.share == 1.0
    regressor.coef_ = 1.5 * WEIGHTS.T
    with refused(InvalidModel, "LinearRegression", "another model"):
        mine.register("other", linear(), estimator=regressor)


def test_a_bag_whose_file_answers_a_row_a_member_is_refused(mine):
    with refused(InvalidModel, "BaggingClassifier", "1 row", "10 answers"):
        register(mine, BaggingClassifier(LinearSVC(), random_state=0))


def test_a_file_that_answers_logarithms_of_amounts_is_refused(mine):
    # as one converter writes models of counts: findings/ebm2onnx-logarithms-for-amounts.sh
    counts = PoissonRegressor().fit(np.eye(3), [1.0, 2.0, 3.0])
    counts.intercept_, counts.coef_ = 0.0, np.array([0.5, -0.5, 1.0])
    weights = [numpy_helper.from_array(counts.coef_.astype(np.float32)[:, None], "w")]
    logarithms = one_node("MatMul", weights=weights)

    with refused(InvalidModel, "PoissonRegressor", "another model"):
        mine.register("counts", logarithms, estimator=counts)


def test_a_file_alone_is_not_checked(mine):
    model = mine.register("group", linear())

    assert model.traits.agreement is None
    assert mine.table()["agreement"].to_list() == ["not checked"]


def test_an_agreement_is_kept(mine):
    made = register(mine, GaussianNB()).traits.agreement

    assert Registry(mine.path)["group:1"].traits.agreement == made
    assert read_agreement(None) is None


def test_an_answer_that_is_not_finite_has_the_largest_difference(mine):
    regressor = LinearRegression().fit(np.eye(3), WEIGHTS)
    broken = onnx.load_model_from_string(linear())
    broken.graph.initializer[0].raw_data = np.full((3, 2), np.nan, np.float32).tobytes()

    with refused(InvalidModel, "LinearRegression", "[nan, nan]"):
        mine.register("group", broken.SerializeToString(), estimator=regressor)
    assert str(Agreement(rows=0, share=None)).startswith("not checked: no rows")


def test_an_object_that_is_no_estimator_of_scikit_learn_is_refused(tmp_path):
    class Booster:
        def predict(self, rows):
            return rows

    with refused(InvalidModel, "Booster"):
        Registry(tmp_path).register("m", Booster())
