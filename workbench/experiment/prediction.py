"""The prediction of an experiment: what formulas say of its one model, or of each of an ensemble's.

A router that does not look at load sends each request the same way whatever the load, so that the
ways are known beforehand: each member is predicted with the requests that reach it, latencies along
a way are added up, and the ways are mixed by their shares.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.errors import NotPredictable
from workbench.measuring.deployed_times import find_part_times, list_warnings
from workbench.measuring.error_history import read_past_errors
from workbench.measuring.member_facts import MemberFacts, find_facts
from workbench.measuring.setup import AnySetup, RoutedSetup, Setup, as_plain, is_routed, record_of
from workbench.prediction import predict
from workbench.prediction.hybrid import predict_hybrid
from workbench.pricing.cost import Cost, monthly
from workbench.queueing.compositions import Mixture, Sum
from workbench.queueing.predictions import Floats, Prediction
from workbench.routing.base import Place, PlaceAnswer, RoutedRequest, silent_places
from workbench.routing.calls import RoutedCalls
from workbench.run.record import RunRecord
from workbench.traffic.map import MAP
from workbench.traffic.map_fitting import MapFit


def predict_experiment(
    setup: AnySetup,
    profile: Any = None,  # noqa: ANN401 - see Experiment.predict
    *,
    arrivals: MapFit | MAP | None = None,
    **terms: Any,  # noqa: ANN401 - the other arguments of Experiment.predict
) -> Prediction:
    """Return what formulas say of an experiment, where they say anything.

    Arguments and errors are those of `Experiment.predict`.
    """
    if is_routed(setup):
        prediction = _predict_ensemble(setup, profile, arrivals, **terms)
    else:
        prediction = _predict_plain(as_plain(setup), profile, arrivals, **terms)
    return replace(prediction, past_errors=read_past_errors("predicted"))


def _predict_plain(
    setup: Setup,
    profile: Any,  # noqa: ANN401 - see find_times
    arrivals: MapFit | MAP | None,
    **terms: Any,  # noqa: ANN401 - of find_times
) -> Prediction:
    found = find_part_times(setup, profile, **terms)
    parts, times = (setup.load, setup.policy, setup.deployment), [each.times for each in found]
    known: dict[str, Any] = {"record": record_of(setup), "notes": list_warnings(found)}
    if len(times) > 1:
        return predict_hybrid(*parts, times, arrivals=arrivals, **known)
    return predict(*parts, times[0], arrivals=arrivals, **known)


def _predict_ensemble(
    setup: RoutedSetup,
    profile: Any,  # noqa: ANN401 - see find_facts
    arrivals: MapFit | MAP | None,
    **terms: Any,  # noqa: ANN401 - of find_facts
) -> Prediction:
    ensemble = setup.model
    if getattr(ensemble.router, "sees_load", True):
        raise NotPredictable(
            f"The router '{ensemble.router.label}' looks at latencies or at calls in flight, and "
            "no formula is known for that: use simulate()."
        )
    process = arrivals.map if isinstance(arrivals, MapFit) else arrivals
    facts = find_facts(setup, profile, **terms)
    places, record = facts.places(setup), record_of(setup)
    ways = _find_ways(setup, facts, places)
    parts = {
        number: _predict_place(
            setup, facts, number, ways.asked[:, number], record=record, process=process
        )
        for number in np.flatnonzero(ways.asked.any(axis=0)).tolist()
    }
    shares = Counter(ways.steps)
    latencies = tuple(
        Sum(
            tuple(parts[number].latency for number in way),
            sum(places[number].network_of(0) for number in way),
        )
        for way in shares
    )
    named = [(places[number].name, part) for number, part in parts.items()]
    said = ["No place fails or is given up."]
    if any(len(way) > 1 for way in shares):
        said += [
            "A request's latencies at one place and the next are independent.",
            "Requests that are asked again arrive there as they first arrived, without delay.",
        ]
    return Prediction(
        formula="; ".join(f"{name}: {part.formula}" for name, part in named),
        assumptions=(*said, *_prefix(named, "assumptions"), *facts.warnings),
        rate=setup.trace.rate if process is None else process.rate,
        latency=Mixture(latencies, tuple(each / len(setup.trace) for each in shares.values())),
        batch_sizes=_mix_batches(list(parts.values())),
        concurrency=sum(part.concurrency for part in parts.values()),
        cost=_add_costs(setup, parts),
        label=setup.label,
        slo=setup.slo,
        warnings=tuple(_prefix(named, "warnings")),
        setup=record,
    )


class _Ways(NamedTuple):
    """The places whose answers each request waits for, in order, and all those it was asked of."""

    steps: list[tuple[int, ...]]
    asked: NDArray[np.bool_]  # shape (requests, places)


def _find_ways(setup: RoutedSetup, facts: MemberFacts, places: Sequence[Place]) -> _Ways:
    """Return which way the router sends each request, when every answer comes at once."""
    trace = setup.trace
    router = setup.model.router.router(places)
    silent = silent_places(router)
    calls = RoutedCalls(router, places)
    answers = facts.list_answers(trace)
    context = setup.model.samples().context_of(trace)
    kinds = [""] * len(trace) if context is None else context.tolist()
    ways = _Ways([], np.zeros((len(trace), len(places)), bool))
    for number, (arrival, rows) in enumerate(zip(trace.arrivals, trace.rows, strict=True)):
        steps: list[int] = []
        reaction = calls.arrive(RoutedRequest(number, int(rows), kinds[number]), arrival)
        while reaction.given is None:
            stage = [place for _, place in reaction.ask]
            ways.asked[number, stage] = True
            steps += (place for place in stage if place not in silent)
            if len(set(stage) - silent) > 1:
                raise NotPredictable(
                    f"The router '{setup.model.router.label}' asks several places at once, and no "
                    "formula is known for the first of several answers: use simulate()."
                )
            reactions = [
                calls.answer(number, PlaceAnswer(place, 0.0, *answers[place][number]), arrival)
                for place in stage
            ]
            reaction = next(each for each in reactions if each.ask or each.given)
        ways.steps.append(tuple(steps))
    return ways


def _predict_place(
    setup: RoutedSetup,
    facts: MemberFacts,
    number: int,
    asked: NDArray[np.bool_],
    *,
    record: RunRecord,
    process: MAP | None,
) -> Prediction:
    """Return the prediction of a member with the requests that it is asked."""
    name = setup.model.names[number]
    member = setup.model.members[name]
    return predict(
        setup.load.only(asked),
        member.policy,
        member.deployment,
        facts.times[name].times,
        record=record,
        arrivals=None if process is None else process.thin(float(asked.mean())),
    )


def _prefix(named: Sequence[tuple[str, Prediction]], field: str) -> Iterator[str]:
    return (f"{name}: {each}" for name, part in named for each in getattr(part, field))


def _mix_batches(parts: Sequence[Prediction]) -> Floats:
    """Return the share of all batches that hold 1, 2, ... requests."""
    rates = np.array([part.rate / part.mean_batch_size for part in parts])
    sizes = np.zeros(max(len(part.batch_sizes) for part in parts))
    for share, part in zip(rates / rates.sum(), parts, strict=True):
        sizes[: len(part.batch_sizes)] += share * part.batch_sizes
    return sizes


def _add_costs(setup: RoutedSetup, parts: Mapping[int, Prediction]) -> Cost | None:
    """Return what all members cost; None where that of one is not known."""
    costs = [part.cost for part in parts.values()]
    if any(each is None for each in costs):
        return None
    idle = [
        member.deployment
        for number, member in enumerate(setup.model.members.values())
        if number not in parts
    ]
    kept = [each.bill(each.idle_usage(setup.trace.duration)) for each in idle]
    items = tuple(item for items in (*(each.items for each in costs), *kept) for item in items)
    return Cost(
        items=items,
        answered=len(setup.trace),
        origin=Prediction.origin,
        notes=tuple(dict.fromkeys(note for each in costs for note in each.notes)),
        per_month=monthly(items, setup.trace.duration),
    )
