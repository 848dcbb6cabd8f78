"""A cascade of two registered models: its ends are its models, its promise that of their pool."""

import dataclasses
from types import MappingProxyType

import numpy as np
import pytest

from tests.refused import refused
from workbench.deployment import Local
from workbench.ensembles import Ensemble, Member
from workbench.errors import InvalidInput, TooFewSamples
from workbench.measuring.cascade_promise import promise_cascade
from workbench.measuring.outcomes import find_outcomes
from workbench.routing import Cascade
from workbench.routing.cascade import is_sure

SMALL, LARGE = "digits-logistic", "digits-mlp-small"


@pytest.fixture(autouse=True)
def models(registry, at_home):
    return registry[SMALL], registry[LARGE]


def with_traits(model, **changes):
    return dataclasses.replace(model, traits=dataclasses.replace(model.traits, **changes))


@pytest.mark.parametrize(("threshold", "number"), [(0, 0), (1, 1)])
def test_at_the_ends_a_cascade_answers_as_one_of_its_models(models, threshold, number):
    small, large = map(find_outcomes, models)

    right = np.where(is_sure(small.confidence, threshold), small.correct, large.correct)

    np.testing.assert_array_equal(right, (small, large)[number].correct)


def test_the_promise_is_measured_on_the_rows_of_the_pool(models):
    promise = promise_cascade(*models, loss=0.05)

    rows = len(find_outcomes(models[0]))
    assert promise.chosen_on + promise.measured_on == rows
    assert promise.accuracy >= promise.large_accuracy - 0.05
    assert promise.cascade("a", "b") == Cascade("a", "b", promise.threshold)
    assert f"{promise.threshold:g}" in promise.sentence


def test_too_few_rows_for_a_promise_are_refused(models):
    with refused(TooFewSamples, 0.01, 618):
        promise_cascade(*models, loss=0.01)


def test_models_that_differ_in_classes_are_no_cascade_and_no_ensemble(models):
    small, large = models
    other = with_traits(large, classes=tuple("abcdefghij"))

    with refused(InvalidInput, "classes", small.name, other.name):
        promise_cascade(small, other)
    members = MappingProxyType({"a": Member(small, Local()), "b": Member(other, Local())})
    with refused(InvalidInput, "classes", "a", "b"):
        Ensemble(members, Cascade("a", "b"))


def test_a_regression_is_no_part_of_a_cascade(models):
    with refused(InvalidInput, models[1].name, "regression"):
        promise_cascade(models[0], with_traits(models[1], kind="regression"))


def test_a_model_that_answers_with_labels_escalates_nothing_by_itself(models, monkeypatch):
    unsure = dataclasses.replace(
        find_outcomes(models[0]), confidence=np.full(len(find_outcomes(models[0])), np.nan)
    )
    monkeypatch.setattr("workbench.measuring.cascade_promise.find_outcomes", lambda _: unsure)

    with refused(InvalidInput, models[0].name, "answer='probabilities'"):
        promise_cascade(*models)
