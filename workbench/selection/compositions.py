"""What an ensemble answers to each row of the pool, where its members' answers alone decide that.

So it is of a cascade or a vote. Of other routers, which look at load or draw lots, only what a
simulated run answers is known.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workbench.ensembles import Ensemble
from workbench.measuring.outcomes import Outcomes
from workbench.routing.base import PlaceAnswer, RoutedRequest
from workbench.routing.calls import RoutedCalls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.registry.model import Model


def first_model(candidate: Model | Ensemble) -> Model:
    """Return a model, or that of the first member, whose task and samples are those of all."""
    return candidate.first if isinstance(candidate, Ensemble) else candidate


def is_fixed(ensemble: Ensemble) -> bool:
    """Return whether an ensemble answers a row the same whenever it is asked."""
    return getattr(ensemble.router, "by_answers", False) and math.isinf(ensemble.patience)


def compose_outcomes(ensemble: Ensemble, outcomes: Mapping[str, Outcomes]) -> Outcomes:
    """Return what an ensemble answers to each row of the pool, sent alone, by members' answers.

    The router itself is asked about each row, so that this is what a run would give.
    """
    places = ensemble.places()
    calls = RoutedCalls(ensemble.router.router(places), places)
    answers = [outcomes[name].to_list() for name in ensemble.names]
    given = []
    for row in range(len(answers[0])):
        reaction = calls.arrive(RoutedRequest(row), 0.0)
        pending = list(reaction.ask)
        while reaction.given is None:
            _, place = pending.pop(0)
            answer = PlaceAnswer(place, 0.0, *answers[place][row])
            reaction = calls.answer(row, answer, 0.0)
            pending += reaction.ask
        given.append(reaction.given.answer)
        for _, place in pending:
            calls.answer(row, PlaceAnswer(place, 0.0, *answers[place][row]), 0.0)
    return Outcomes(
        np.array([each.label for each in given]),
        np.array([each.confidence for each in given]),
        np.array([each.correct for each in given]),
        outcomes[ensemble.names[0]].context,
    )
