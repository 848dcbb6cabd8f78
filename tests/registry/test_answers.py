"""What a classifier answers with: its label, or the probabilities of all classes."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from tests.refused import refused
from workbench.errors import InvalidInput, InvalidModel
from workbench.measuring.outcomes import find_outcomes
from workbench.registry.api import Registry, Samples
from workbench.registry.conversion import from_estimator

ROWS, NUMBERS = load_iris(return_X_y=True)
ROWS = ROWS.astype(np.float32)
NAMES = np.array(["setosa", "versicolor", "virginica"])[NUMBERS]
FAR = NUMBERS * 10 + 7  # labels that are no numbers of columns


@pytest.fixture
def mine(tmp_path):
    return Registry(tmp_path)


def fit(targets, estimator=None):
    return (estimator or LogisticRegression(max_iter=500)).fit(ROWS, targets)


def register(registry, targets, source, **more):
    samples = Samples(ROWS, targets)
    return registry.register("iris", source, samples=samples, answer="probabilities", **more)


@pytest.mark.parametrize("targets", [NUMBERS, NAMES, FAR], ids=["numbers", "names", "far"])
def test_probabilities_come_first_and_keep_the_names_of_their_classes(mine, targets):
    fitted = fit(targets)
    model = register(mine, targets, fitted)

    answers = model.session().run(ROWS)
    assert answers == pytest.approx(fitted.predict_proba(ROWS), abs=1e-5)
    assert model.traits.classes == tuple(fitted.classes_.tolist())
    assert model.traits.output_schema[0].name == "probabilities"
    assert model.traits.kind == "classification"
    assert (model.labels(answers) == fitted.predict(ROWS)).all()
    assert model.confidence(answers) == pytest.approx(answers.max(axis=1))
    assert model.traits.accuracy == model.correct(answers, targets).mean() > 0.9
    assert model.traits.agreement.share == 1.0
    assert dict(model.traits.agreement.differences)["probabilities"] < 1e-5
    assert mine["iris:1"].traits == model.traits


def test_a_file_alone_tells_its_classes(mine):
    content = from_estimator(make_pipeline(StandardScaler(), fit(NAMES)).fit(ROWS, NAMES))

    model = register(mine, NAMES, content)

    assert model.traits.classes == ("setosa", "versicolor", "virginica")
    assert model.traits.accuracy > 0.9


def test_a_search_answers_with_the_probabilities_of_its_best(mine):
    search = fit(FAR, GridSearchCV(LogisticRegression(max_iter=500), {"C": [1.0]}, cv=2))

    assert register(mine, FAR, search).traits.classes == (7, 17, 27)


def test_a_file_that_has_only_scores_numbers_its_classes(mine):
    proto = onnx.load_model_from_string(from_estimator(fit(NUMBERS)))
    scores = [each for each in proto.graph.output if each.name == "probabilities"]
    del proto.graph.output[:]
    proto.graph.output.extend(scores)
    for node in proto.graph.node:  # and what the classes are called is gone
        for each in node.attribute:
            if each.name.startswith("classlabels"):
                each.ints[:] = [0, 1, 2]
    model = register(mine, NUMBERS, proto.SerializeToString())

    assert model.traits.accuracy > 0.9
    assert model.correct(model.session().run(ROWS), NUMBERS).mean() == model.traits.accuracy


@pytest.mark.parametrize(
    ("estimator", "error", "named"),
    [
        (RidgeClassifier(), InvalidInput, ["probabilities", "answer="]),
        (LinearSVC(), InvalidInput, ["probabilities", "answer="]),
        (FixedThresholdClassifier(LogisticRegression(), threshold=0.9), InvalidModel, ["skl2onnx"]),
    ],
    ids=["ridge", "svc", "threshold"],
)
def test_what_does_not_answer_with_probabilities_is_refused(mine, estimator, error, named):
    targets = NUMBERS > 0 if "Fixed" in type(estimator).__name__ else NUMBERS
    with refused(error, *named):
        register(mine, targets, fit(targets, estimator))
    assert mine.groups() == []


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"answer": "label"}, ["answer", "label"]),
        ({"kind": "regression"}, ["probabilities", "regression"]),
    ],
)
def test_what_is_no_answer_is_refused(mine, more, named):
    with refused(InvalidInput, *named):
        mine.register("iris", fit(NUMBERS), **{"answer": "probabilities"} | more)


def test_a_regression_has_no_probabilities(mine):
    from sklearn.linear_model import LinearRegression

    with refused(InvalidInput, "probabilities", "regression"):
        register(mine, None, LinearRegression().fit(ROWS, NUMBERS))


def test_labels_stay_the_answer_where_nothing_else_is_asked_for(mine):
    model = mine.register("iris", fit(FAR), samples=Samples(ROWS, FAR))

    answers = model.session().run(ROWS)
    assert set(answers) == {7, 17, 27}
    assert model.traits.classes is None
    assert np.isnan(model.confidence(answers)).all()
    assert (model.labels(answers) == answers).all()


def test_scores_that_are_none_of_a_class_s_probability_give_no_confidence(mine):
    model = register(mine, NUMBERS, fit(NUMBERS))

    sure = model.confidence(np.array([[0.25, 0.75, 0.0], [3.0, -1.0, 0.2]]))
    assert sure[0] == 0.75
    assert np.isnan(sure[1])


def test_outcomes_say_how_sure_the_model_was(mine, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    fitted = fit(NAMES)

    outcomes = find_outcomes(register(mine, NAMES, fitted))

    assert (outcomes.label == fitted.predict(ROWS)).all()
    assert outcomes.confidence == pytest.approx(fitted.predict_proba(ROWS).max(axis=1), abs=1e-5)


def test_a_file_that_answers_with_probabilities_is_known_for_a_classifier(mine):
    first = register(mine, NAMES, fit(NAMES))

    again = mine.register("again", first.path, samples=first.samples())

    assert (again.traits.kind, again.traits.classes) == ("classification", first.traits.classes)
    assert again.traits.accuracy == first.traits.accuracy
    assert mine.register("other", first.path, kind="other").traits.kind == "other"


def test_traits_of_an_older_version_have_no_classes(mine):
    model = mine.register("iris", fit(NUMBERS), samples=Samples(ROWS, NUMBERS))
    facts = json.loads(json.dumps(dataclasses.asdict(model.traits)))
    del facts["classes"]

    from workbench.registry.api import _traits

    assert _traits(facts) == model.traits


def test_a_forest_of_two_classes_answers_with_probabilities_though_one_is_rounded_below_0(mine):
    from sklearn.ensemble import RandomForestClassifier

    targets = NUMBERS > 1
    forest = RandomForestClassifier(20, random_state=0).fit(ROWS, targets)
    model = register(mine, targets, forest)
    answers = model.session().run(ROWS)

    assert answers.min() < 0  # 1 less a sum of twenty shares
    assert model.confidence(answers) == pytest.approx(forest.predict_proba(ROWS).max(1), abs=1e-5)


def test_labels_that_are_not_those_of_the_largest_score_are_refused_with_the_reason(mine):
    """As those of a vector machine, whose probabilities are fitted apart."""
    proto = onnx.load_model_from_string(from_estimator(fit(NUMBERS > 0)))
    maker = next(each for each in proto.graph.node if "probabilities" in each.output)
    maker.output[list(maker.output).index("probabilities")] = "straight"
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 0]), "columns"))
    swap = onnx.helper.make_node("Gather", ["straight", "columns"], ["probabilities"], axis=1)
    proto.graph.node.append(swap)

    with refused(InvalidInput, "label", "answer="):
        register(mine, NUMBERS > 0, proto.SerializeToString())
