"""The threshold of a cascade of two models, chosen on the rows that both are known by."""

import numpy as np

from workbench.errors import InvalidInput
from workbench.measuring.outcomes import find_outcomes
from workbench.registry.model import Model
from workbench.routing.promise import CascadePromise, choose_threshold
from workbench.validation import Seed, of_kind


def promise_cascade(
    small: Model,
    large: Model,
    *,
    loss: float = 0.01,
    confidence: float = 0.95,
    share: float = 0.5,
    seed: Seed = 0,
) -> CascadePromise:
    """Return the threshold at which a cascade loses at most `loss` against its large model.

    It holds for requests that carry one row each, drawn as those of the models' pool were, each on
    its own; where several rows of the pool show the same thing, for rows of the pool alone. Of
    several rows in a request the least sure decides, so that more is escalated.

    Args:
        small: Answers with probabilities.
        large: Answers the same rows.
        loss: The most accuracy that may be lost.
        confidence: How sure that must be.
        share: Of the rows of the pool, on which to choose; the others measure.
        seed: Divides them.

    Raises:
        InvalidInput: The models differ in classes or rows, which rows are right is not known, or
            the small one does not say how sure it is.
        TooFewSamples: No threshold keeps the promise on so few rows; it says how many it takes.

    ::

        promise = promise_cascade(small, large, loss=0.005)
        print(promise.sentence)
        Ensemble(members, promise.cascade("small", "large"))
    """
    _check_classes(small, large)
    mine, its = find_outcomes(small), find_outcomes(large)
    _check_pools(small, large)
    for model, outcomes in ((small, mine), (large, its)):
        if not outcomes.has_targets:
            raise InvalidInput(
                f"Which answers of {model.name} are right is not known: register it with samples "
                "that have targets."
            )
    if np.isnan(mine.confidence).all():
        raise InvalidInput(
            f"{small.name} does not say how sure it is: register it with answer='probabilities'."
        )
    return choose_threshold(
        mine.correct,
        mine.confidence,
        its.correct,
        loss=loss,
        confidence=confidence,
        share=share,
        seed=seed,
    )


def _check_classes(small: Model, large: Model) -> None:
    for name, model in (("small", small), ("large", large)):
        if of_kind(name, model, Model).traits.kind != "classification":
            raise InvalidInput(
                f"A cascade takes classifiers; {model.name} is of kind {model.traits.kind}."
            )
    mine, its = small.traits.score_classes, large.traits.score_classes
    if None not in (mine, its) and mine != its:
        raise InvalidInput(
            f"The models of a cascade must have the same classes: {small.name} has {mine}, "
            f"{large.name} has {its}."
        )


def _check_pools(small: Model, large: Model) -> None:
    if small.samples_sha256 == large.samples_sha256:
        return
    mine, its = small.samples(), large.samples()
    if not (
        np.array_equal(mine.inputs, its.inputs) and np.array_equal(mine.targets, its.targets)  # type: ignore[arg-type]
    ):
        raise InvalidInput(
            f"{small.name} and {large.name} have other samples: register both with the same."
        )
