"""Finding out about candidates: what traits and bounds do not rule out is planned for, in order."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from workbench.deployment.base import KINDS
from workbench.ensembles import Ensemble
from workbench.errors import InvalidInput, NotPredictable
from workbench.experiment import Experiment
from workbench.measuring.setup import find_largest, list_plain
from workbench.planner.candidates import latencies_of
from workbench.planner.search import plan
from workbench.planner.service_sources import describe_model
from workbench.progress import Progress
from workbench.quantiles import longest_within
from workbench.registry.api import Registry
from workbench.registry.model import Model
from workbench.registry.user_traits import FIGURES
from workbench.selection.compositions import first_model, is_fixed
from workbench.selection.ensembles import describe_ensemble, rate_run, read_run, simulate
from workbench.selection.floors import Floors, find_floors
from workbench.selection.knowledge import Knowledge
from workbench.selection.needs import Miss, check_needs, find_miss, traits_of
from workbench.selection.question import Question
from workbench.selection.selections import Selection
from workbench.selection.standings import RatedCandidate, Standings, title_of
from workbench.validation import as_tuple, flag, of_kind, whole_number

if TYPE_CHECKING:
    from workbench.deployment.base import Deployment
    from workbench.measuring.outcomes import Outcomes
    from workbench.measuring.profile import Profile
    from workbench.planner.options import Options
    from workbench.planner.plans import Candidate, Plan
    from workbench.quantiles import SLO
    from workbench.run import Run
    from workbench.selection.evidence import Evidence
    from workbench.service_times import ServiceTimes
    from workbench.traffic.trace import Trace

_UNMEASURED = Miss(
    "latency",
    "its service times on this machine are not known",
    "selection.measure() finds them out",
    unknown=True,
)
PLANNED_WHOLE = 20
"""So many models are all planned for; of more, only those that could be first."""

Doing = Callable[[str], object]
"""Called with what comes next, in words."""

_Candidate = TypeVar("_Candidate", bound=Model | Ensemble)


def select(
    candidates: Registry | Model | Ensemble | Iterable[Model | Ensemble],
    *,
    trace: Trace,
    slo: SLO,
    needs: Mapping[str, Any] | None = None,
    weights: Mapping[str, float] | None = None,
    target: float | None = None,
    confidence: float = 0.95,
    deployments: Sequence[Deployment | str] | None = None,
    budget: float | None = None,
    options: Options | None = None,
    profiles: Mapping[str, Profile | ServiceTimes] | None = None,
    outcomes: Mapping[str, Outcomes] | None = None,
    measure: bool = True,
    searches: int | None = None,
    progress: Progress | None = None,
    doing: Doing | None = None,
) -> Selection:
    """Return which model to run, and where, with the reasons.

    Traits rule candidates out before anything is computed. Of those left, arithmetic on service
    times (`workbench.selection.floors`) gives a latency and a cost that no setting of an inference
    type is below: what misses the target or the budget even so is dropped. Then the settings of
    each model are searched for as `workbench.plan` does, once for all its inference types, and
    requests are simulated with its own answers. Of more than 20 models only those are planned for
    that could be first, with their bounds for figures; the others are "screened out".

    Args:
        candidates: A registry (the newest approved version of each group), models, ensembles. What
            an ensemble runs on is given, and simulated as it is; which rows of the pool it answers
            right is known of cascades and votes, exactly where requests carry a row each.
        trace: The traffic.
        slo: The latency target, which must be met.
        needs: Values that traits must have, or `at_least(...)`, `at_most(...)`, `Bounds(...)` of
            numbers, by the name of a trait or of a figure: accuracy, effective_accuracy, latency
            (seconds), attainment, cost_per_million (US dollars). Traits of one's own count.
        weights: Of accuracy or effective_accuracy, latency and cost: above 0; what is not named is
            not weighed. By default all three alike. What they weigh: `workbench.selection.weights`.
        target: Instead of weights: the cheapest is taken whose accuracy is at least this. A bound
            for any number of rows says so (Clopper and Pearson), and its risk is divided among
            the models, so that it holds for whichever is taken.
        confidence: With which probability, where there is a target.
        deployments: Where it may run: deployments, or inference types by name; by default those
            that `options` names.
        budget: US dollars per million requests that it may cost.
        options: What a plan may choose from.
        profiles: Service times on this machine by the model's name, where they are known already.
        outcomes: Answers to the pool of samples by the model's name, likewise.
        measure: Whether profiles and answers that are not kept are measured now. Without that,
            what is not known of a candidate is shown so, and `Selection.measure` finds it out.
        searches: The most searches for settings where there are more than 20 models; None: as
            many as it takes. Where they do not suffice, the selection is not `conclusive`.
        progress: Notified of models done, of those measured and then of those planned for; what
            it raises ends the selection.
        doing: Called with which model is measured or planned for next, in words.

    Raises:
        InvalidInput: An argument is not what it must be; the candidates are of several tasks;
            no accuracy is known that could be weighed.

    >>> import workbench as wb
    >>> wb.select([], trace=wb.poisson(rate=9, duration=9, seed=1), slo=wb.SLO(latency=1))
    Traceback (most recent call last):
    workbench.errors.InvalidInput: There are no candidates: give a registry or models.
    """
    question = Question.read(
        trace=trace,
        slo=slo,
        deployments=deployments,
        options=options,
        weights=weights,
        target=target,
        confidence=confidence,
        budget=budget,
    )
    models = _collect_candidates(candidates)
    question = replace(
        question, needs=check_needs(needs, lambda: [_traits(each) for each in models])
    )
    known = Knowledge(dict(profiles or {}), dict(outcomes or {}), measure=flag("measure", measure))
    if searches is not None:
        whole_number("searches", searches, low=1)
    return answer(question, models, known, progress, doing, searches=searches)


def answer(
    question: Question,
    models: Sequence[Model | Ensemble],
    known: Knowledge,
    progress: Progress | None = None,
    doing: Doing | None = None,
    *,
    most: int = PLANNED_WHOLE,
    searches: int | None = None,
) -> Selection:
    """Return the selection of models by a question, reusing what is known of them.

    Up to `most` models are all planned for; of more, those alone that could be first.
    """
    began = time.perf_counter()
    search = _CandidateSearch(question, known, progress, doing, searches=searches or math.inf)
    rows = search.run(models, most=most)
    return Selection(
        question=question,
        rows=rows,
        planned=search.planned,
        seconds=time.perf_counter() - began,
        again=partial(_answer_again, models, known),
    )


def _answer_again(
    models: Sequence[Model | Ensemble],
    known: Knowledge,
    question: Question,
    *,
    measure: bool = False,
    most: int = PLANNED_WHOLE,
) -> Selection:
    return answer(question, models, known.renew(measure=measure), most=most)


def _collect_candidates(
    candidates: Registry | Model | Ensemble | Iterable[Model | Ensemble],
) -> list[Model | Ensemble]:
    if isinstance(candidates, Registry):
        candidates = candidates.models()
    given = [candidates] if isinstance(candidates, Model | Ensemble) else candidates
    named: dict[str, Model | Ensemble] = {}
    for each in as_tuple("candidates", given):
        of_kind("Each candidate", each, Model | Ensemble, "a Model or an Ensemble")
        title = title_of(each)
        if named.setdefault(title, each) != each and isinstance(each, Ensemble):
            raise InvalidInput(
                f"Two ensembles are '{title}': give the members of one other names, such as where "
                "they run."
            )
    if not named:
        raise InvalidInput("There are no candidates: give a registry or models.")
    return list(named.values())


def _traits(candidate: Model | Ensemble) -> dict[str, Any]:
    if isinstance(candidate, Ensemble):
        return describe_ensemble(candidate)
    return traits_of(candidate)


class _CandidateSearch:
    """One question put to models: what is known of each grows until the answer is sure."""

    def __init__(
        self,
        question: Question,
        known: Knowledge,
        progress: Progress | None,
        doing: Doing | None,
        *,
        searches: float,
    ) -> None:
        self._question, self._known, self._searches = question, known, searches
        self._progress = progress or (lambda *_: None)
        self._doing = doing or (lambda _: None)
        self._step = self._said = "", 0, 0
        self._mixes: dict[str, dict[str, float]] = {}
        self._shares: dict[str, Any] = {}
        self._runs: dict[str, Run] = {}
        self.planned: dict[str, Plan] = {}
        self._rows: dict[tuple[str, str | None], RatedCandidate] = {}
        self._unbatched: list[RatedCandidate] = []

    def run(
        self, candidates: Sequence[Model | Ensemble], *, most: int
    ) -> tuple[RatedCandidate, ...]:
        """Return every model that traits exclude once, and the others by inference type."""
        able = [each for each in candidates if not self._exclude(each)]
        _check_tasks([first_model(each) for each in able])
        able = self._read_accuracy(able)
        for each in self._take("Simulating {}", [e for e in able if isinstance(e, Ensemble)]):
            self._rate_ensemble(each)
        left = self._screen([each for each in able if isinstance(each, Model)])
        if len(left) <= most:
            for model in self._take("Searching settings for {}", left):
                self._report()
                self._plan(model)
            self._progress(len(left), len(left))
        else:
            self._plan_rivals()
        return (*self._rows.values(), *self._unbatched)

    def _take(self, words: str, candidates: Sequence[_Candidate]) -> Iterator[_Candidate]:
        """Yield candidates in turn; `_report` says that of the present one there is work to do."""
        for number, each in enumerate(candidates):
            self._step = words.format(title_of(each)), number, len(candidates)
            yield each

    def _report(self, *_: int) -> None:
        """Say once what is under way, and tell as it goes on how many models are done."""
        words, number, count = self._step
        if self._said != self._step:
            self._said = self._step
            self._doing(words)
        self._progress(number, count)

    def _put(self, row: RatedCandidate) -> None:
        self._rows[row.title, row.kind] = row

    def _rate_ensemble(self, ensemble: Ensemble) -> None:
        run = self._simulate(ensemble)
        whole = self._rows.pop((ensemble.label, None))
        if run is None:
            self._put(replace(whole, misses=(_UNMEASURED,)))
            return
        row = rate_run(whole, run, self._question)
        self._put(replace(row, misses=tuple(self._list_misses(row))))

    def _simulate(self, ensemble: Ensemble) -> Run | None:
        """Return the run of an ensemble; None where it takes what is not to be measured."""
        if ensemble.label not in self._runs:
            setup = Experiment(ensemble, trace=self._question.trace)
            times = {
                name: self._known.find_times(
                    alone.model, find_largest(alone), alone.deployment.session_threads, self._report
                )
                for name, alone in zip(ensemble.names, list_plain(setup), strict=True)
            }
            known = {name: each for name, each in times.items() if each is not None}
            outcomes = self._known.find_member_outcomes(ensemble, self._report)
            if len(known) < len(times) or (outcomes is None and not self._known.measure):
                return None
            self._runs[ensemble.label] = simulate(ensemble, self._question, known, outcomes)
        return self._runs[ensemble.label]

    def _exclude(self, model: Model | Ensemble) -> bool:
        """Keep which traits rule a model out, and return whether any does."""
        needs = {name: to for name, to in self._question.needs.items() if name not in FIGURES}
        traits = _traits(model) if needs else {}
        found = [find_miss(name, traits.get(name), wanted) for name, wanted in needs.items()]
        misses = [miss for miss in found if miss is not None]
        if misses:
            self._put(RatedCandidate(model=model, misses=tuple(misses)))
        return bool(misses)

    def _read_accuracy(self, models: Sequence[Model | Ensemble]) -> list[Model | Ensemble]:
        """Put every candidate in, with its accuracy; return those that it does not exclude."""
        question, risk = self._question, (1 - self._question.confidence) / max(1, len(models))
        for model in self._take("Measuring what {} answers", models):
            evidence = self._gather(model)
            bound = math.nan if question.target is None else evidence.lower_bound(risk)
            row = RatedCandidate(model=model, evidence=evidence, bound=bound)
            self._put(replace(row, misses=tuple(self._miss_accuracy(row))))
        rows = [self._rows[title_of(each), None] for each in models]
        if self._known.measure:
            _check_accuracy(question, rows)
        return [model for model, row in zip(models, rows, strict=True) if not row.misses]

    def _gather(self, candidate: Model | Ensemble) -> Evidence:
        if isinstance(candidate, Ensemble) and not is_fixed(candidate):
            run = self._simulate(candidate)
            return self._known.gather(candidate, {}) if run is None else read_run(candidate, run)
        outcomes = self._known.find_outcomes(candidate, self._report)
        mix: dict[str, float] = {}
        if outcomes is not None:
            pool = first_model(candidate).samples_sha256
            if pool not in self._mixes:
                self._mixes[pool] = outcomes.mix_of(self._question.trace)
            mix = self._mixes[pool]
        return self._known.gather(candidate, mix)

    def _miss_accuracy(self, row: RatedCandidate) -> list[Miss]:
        question, evidence = self._question, row.evidence
        assert evidence is not None  # noqa: S101 - it was just read
        misses = []
        if "accuracy" in question.needs:
            miss = find_miss("accuracy", row.accuracy, question.needs["accuracy"])
            misses += [miss] if miss else []
        if question.target is not None and not row.bound >= question.target:
            misses.append(_miss_bound(row, evidence, question))
        elif question.asks_accuracy and not misses and math.isnan(row.accuracy):
            reason = evidence.note or "its accuracy is not known"
            misses.append(Miss("accuracy", reason, evidence.remedy, unknown=True))
        return misses

    def _screen(self, models: Sequence[Model]) -> list[Model]:
        """Replace each model by a row for each inference type, with its bounds."""
        options, trace = self._question.options, self._question.trace
        timed: dict[str, tuple[Model, ServiceTimes]] = {}
        for model in self._take("Measuring how long {} takes", models):
            times = self._find_times(model)
            if times is None:
                self._put(replace(self._rows[model.name, None], misses=(_UNMEASURED,)))
            else:
                timed[model.name] = model, times
        if timed:
            floors = find_floors(
                [times for _, times in timed.values()], trace, self._question.slo, options
            )
            for number, (model, _) in enumerate(timed.values()):
                self._put_kinds(model, floors, number)
        return [model for model, _ in timed.values() if self._open_kinds(model)]

    def _find_times(self, model: Model) -> ServiceTimes | None:
        options, trace = self._question.options, self._question.trace
        largest = max(options.sizes(max(options.max_sizes or (32,)))[0]) * int(trace.rows.max())
        return self._known.find_times(model, largest, options.threads, self._report)

    def _put_kinds(self, model: Model, floors: Floors, number: int) -> None:
        whole = self._rows.pop((model.name, None))
        for column, kind in enumerate(self._question.options.kinds):
            latency = float(floors.latency[number, column])
            cost = float(floors.cost[number, column])
            misses = (
                self._question.find_target_miss(latency, bound=True),
                self._question.find_budget_miss(cost, bound=True),
            )
            row = replace(whole, kind=kind, least_latency=latency, least_cost=cost)
            self._put(replace(row, misses=tuple(filter(None, misses))))

    def _open_kinds(self, model: Model) -> list[str]:
        kinds = self._question.options.kinds
        rows = {kind: self._rows[model.name, kind] for kind in kinds}
        return [kind for kind, row in rows.items() if row.found is None and not row.misses]

    def _plan_rivals(self) -> None:
        """Plan for whoever could be first until nobody is left who could."""
        while len(self.planned) < self._searches:
            standings = Standings(self._question, (*self._rows.values(), *self._unbatched))
            rival = standings.find_rival()
            if rival is None:
                return
            row = standings.rows[rival]
            assert isinstance(row.model, Model)  # noqa: S101 - an ensemble is never open
            done = len(self.planned)
            self._step = f"Searching settings for {row.title}", done, done + 1
            self._report()
            self._plan(row.model, [row.kind] if row.kind else None)

    def _plan(self, model: Model, kinds: Sequence[str] | None = None) -> None:
        """Search the settings of a model on inference types, by default all that are open."""
        question, kinds = self._question, kinds or self._open_kinds(model)
        values = [each for each in question.options.deployments if each.kind in kinds]
        try:
            options = replace(question.options, kinds=kinds, deployments=values)
            options, _ = describe_model(model, options).spare(model)
            times = self._find_times(model)
            assert times is not None  # noqa: S101 - without times no type of it is open
            found = plan(times, question.trace, question.slo, options)
        except (InvalidInput, NotPredictable) as error:
            miss = Miss("deployment", str(error).rstrip("."), "allow other deployments")
            for kind in kinds:
                self._put(replace(self._rows[model.name, kind], misses=(miss,)))
            return
        self.planned[f"{model.name} {' '.join(kinds)}"] = found
        best: dict[str, Candidate] = {}
        for candidate in found.finalists:
            best.setdefault(candidate.deployment.kind, candidate)
        for kind in kinds:
            self._put(self._rate(self._rows[model.name, kind], found, best.get(kind)))
        if question.target is None:
            self._add_unbatched(model, best, options)

    def _add_unbatched(self, model: Model, best: Mapping[str, Candidate], options: Options) -> None:
        """Add rows without batching: a plan takes the cheapest, and weights may prefer the faster.

        Without them a model that cannot be batched would win for its latency alone.
        """
        kinds = [
            kind
            for kind, each in best.items()
            if each.policy.max_size > 1 and not KINDS[kind].by_job
        ]
        if not kinds or 1 not in (options.max_sizes or (1,)):
            return
        values = [each for each in options.deployments if each.kind in kinds]
        alone = replace(options, kinds=kinds, deployments=values, max_sizes=[1], max_waits=[0.0])
        times = self._find_times(model)
        assert times is not None  # noqa: S101 - without times nothing of it was planned
        try:
            found = plan(times, self._question.trace, self._question.slo, alone)
        except InvalidInput:  # the traffic is too much for that: no row more
            return
        seen = set()
        for candidate in found.finalists:
            if candidate.deployment.kind not in seen and candidate.policy.max_size == 1:
                seen.add(candidate.deployment.kind)
                row = replace(self._rows[model.name, candidate.deployment.kind], unbatched=True)
                self._unbatched.append(self._rate(row, found, candidate))

    def _rate(
        self, row: RatedCandidate, found: Plan, candidate: Candidate | None
    ) -> RatedCandidate:
        """Return the row with what a plan found for it, and which needs that misses."""
        if candidate is None:
            miss = Miss("deployment", f"nothing was found on {row.kind}", "allow more settings")
            return replace(row, misses=(miss,))
        rated = replace(row, found=candidate)
        if row.evidence is not None and row.evidence.outcomes is not None:
            rated = replace(rated, effective_accuracy=self._share_in_time(row, found, candidate))
        return replace(rated, misses=tuple(self._list_misses(rated)))

    def _share_in_time(self, row: RatedCandidate, found: Plan, candidate: Candidate) -> float:
        """Return the share of requests that are answered right and in time, from simulated rows."""
        assert row.evidence is not None  # noqa: S101 - who asks has seen to it
        assert row.evidence.outcomes is not None  # noqa: S101
        task = found.task
        outcome = task.serve(candidate.configuration)
        late, _ = latencies_of(outcome, candidate.deployment, task.content)
        if row.title not in self._shares:
            self._shares[row.title] = row.evidence.outcomes.of_requests(task.trace).correct
        in_time = late <= longest_within(task.slo.latency)
        return float(np.mean(self._shares[row.title] * in_time))

    def _list_misses(self, row: RatedCandidate) -> list[Miss]:
        question = self._question
        misses = [
            question.find_target_miss(row.latency, bound=False),
            question.find_budget_miss(row.cost, bound=False),
        ]
        for name, wanted in question.needs.items():
            if name in FIGURES and name != "accuracy":
                misses.append(find_miss(name, row.figure(name), wanted))
        if row.found is not None and row.found.reason.startswith("not possible: "):
            misses.append(Miss("deployment", row.found.reason, "allow other deployments"))
        return [miss for miss in misses if miss is not None]


def _miss_bound(row: RatedCandidate, evidence: Evidence, question: Question) -> Miss:
    assert question.target is not None  # noqa: S101 - who asks has seen to it
    if math.isnan(row.bound):
        reason = evidence.note or "how sure its accuracy is cannot be known"
        return Miss("accuracy", reason, evidence.remedy, unknown=True)
    sure = f"{100 * question.confidence:g} %"
    return Miss(
        "accuracy",
        f"its accuracy of {row.accuracy:.4g} is at least {row.bound:.4g} with {sure} confidence, "
        f"below the target of {question.target:g}",
        f"it takes a target of {row.bound:.4g}, or more rows to show it",
        1 - row.bound / question.target,
    )


def _check_tasks(models: Sequence[Model]) -> None:
    """Require one task and one metric."""
    tasks = sorted({each.traits.task for each in models})
    if len(tasks) > 1:
        shown = ", ".join(repr(task) for task in tasks)
        raise InvalidInput(
            f"The candidates are of {len(tasks)} tasks, {shown}: say which, as in "
            f"needs={{'task': {tasks[-1]!r}}}."
        )
    kinds = sorted({each.traits.kind for each in models})
    if len(kinds) > 1:
        raise InvalidInput(
            f"The candidates are of several kinds, {', '.join(kinds)}, whose accuracies do not "
            f"compare: say which, as in needs={{'kind': {kinds[0]!r}}}."
        )


def _check_accuracy(question: Question, rows: Sequence[RatedCandidate]) -> None:
    """Require that what is asked of accuracies is known of one candidate."""
    evidence = [row.evidence for row in rows if row.evidence is not None]
    if not evidence:
        return
    counted = any(each.outcomes is not None for each in evidence)
    if "effective_accuracy" in (question.quality, *question.needs) and not counted:
        raise InvalidInput(
            "Effective accuracy is the share of requests answered right and in time, and of these "
            f"candidates no answer is known to be right: they have {evidence[0].metric} "
            f"({evidence[0].note or 'which counts no right answers'}). Weigh accuracy instead."
        )
    if question.target is not None and not counted:
        raise InvalidInput(
            "A target needs rows that are answered right or wrong, and no candidate has any: "
            "register them with samples that have targets, or give weights."
        )
    if question.asks_accuracy and all(math.isnan(each.accuracy) for each in evidence):
        raise InvalidInput(
            "No accuracy is known of any candidate: register them with samples that have targets "
            "or with accuracy=, or weigh latency and cost alone."
        )
