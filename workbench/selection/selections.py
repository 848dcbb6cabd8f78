"""A selection: who is first and why, what became of the others, and what would change it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from workbench.ensembles import Ensemble
from workbench.errors import InvalidInput
from workbench.experiment import Experiment
from workbench.formatting import Table, dollars, duration
from workbench.plots.selection import plot_candidates, plot_flips, plot_regions
from workbench.pricing.cost import MONTH
from workbench.selection.sensitivity import (
    Flip,
    FlipRange,
    PlannedRanges,
    list_cheap_ranges,
    list_regions,
    search_planned_ranges,
)
from workbench.selection.sentences import STATES, explain, explain_nothing, find_state
from workbench.selection.standings import Ranking, RatedCandidate, Standings, to_number
from workbench.selection.weights import Weights

if TYPE_CHECKING:
    import polars as pl

    from workbench.planner.plans import Plan
    from workbench.plots.figure import Figure
    from workbench.selection.question import Question
    from workbench.selection.weights import Floats

_SHOWN = 20  # rows that are printed
_EXPLAINED = 6  # sentences that are printed
_FIGURES = (
    *("candidate", "deployment", "policy", "state", "accuracy", "effective_accuracy"),
    *("latency", "cost_per_month", "cost_per_million", "score"),
)
_IN_WORDS: dict[str, Callable[[float], str]] = {
    "latency": duration,
    "cost_per_month": dollars,
    "cost_per_million": dollars,
}
_NEAREST = 3  # misses that are named where nothing passes
_STEPS = 40  # of a side of the triangle of weights
_COLUMNS = {
    **dict.fromkeys(("candidate", "inference_type", "deployment", "policy", "state"), "String"),
    **dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high"), "Float64"),
    **dict.fromkeys(("effective_accuracy", "latency", "attainment"), "Float64"),
    **dict.fromkeys(("cost_per_month", "cost_per_million", "score"), "Float64"),
    "front": "Boolean",
    **dict.fromkeys(("engine", "sentence"), "String"),
}


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Selection:
    """Which model to run, where, and why.

    Attributes:
        question: What was asked.
        rows: The candidates, each by inference type where one was looked at.
        planned: What was planned, by model and inference types.
        seconds: Spent deciding.
        again: Returns the selection by another question; `measure=` tells whether what is not
            known is to be measured, `most=` of how many models all are planned for.
    """

    question: Question
    rows: tuple[RatedCandidate, ...]
    planned: Mapping[str, Plan]
    seconds: float
    again: Callable[..., Selection]

    @cached_property
    def standings(self) -> Standings:
        """The candidates as arrays."""
        return Standings(self.question, self.rows)

    @cached_property
    def decision(self) -> Ranking:
        """Who is first."""
        return self.standings.decide()

    @property
    def feasible(self) -> bool:
        """Whether anything passes."""
        return self.decision.first is not None

    @cached_property
    def conclusive(self) -> bool:
        """Whether nothing that was screened out could be first."""
        return self.standings.find_rival() is None

    @property
    def best(self) -> RatedCandidate:
        """The winner.

        Raises:
            InvalidInput: Nothing passes.
        """
        if self.decision.first is None:
            raise InvalidInput(self.sentence)
        return self.rows[self.decision.first]

    @property
    def experiment(self) -> Experiment:
        """The winner as an experiment, ready to run.

        Raises:
            InvalidInput: Nothing passes.
        """
        best, found = self.best, self.best.found
        assert found is not None  # noqa: S101 - what is first was searched for
        options = self.question.options
        terms: dict[str, Any] = {
            "trace": self.question.trace,
            "slo": self.question.slo,
            "row_bytes": options.row_bytes,
            "answer_bytes": options.answer_bytes,
        }
        if not isinstance(best.model, Ensemble):
            terms |= {"deployment": found.deployment, "policy": found.policy}
        return Experiment(best.model, **terms)

    # ------------------------------------------------------------------ other weights

    def scores(self, weights: Mapping[str, float]) -> Floats:
        """Return the score of each of `rows` by other weights; -inf where something is not known.

        Raises:
            InvalidInput: The weights are not what they must be.
        """
        return self._decide(weights).scores

    def winner(self, weights: Mapping[str, float]) -> RatedCandidate | None:
        """Return who is first by other weights; None where nothing passes.

        What was screened out cannot be: `select` again with these weights to be sure.

        Raises:
            InvalidInput: The weights are not what they must be.
        """
        first = self._decide(weights).first
        return None if first is None else self.rows[first]

    def weigh(self, weights: Mapping[str, float]) -> Selection:
        """Return the selection by other weights among the same candidates, without a search.

        What was screened out stays so: `select` again with these weights to be sure.

        Raises:
            InvalidInput: The weights are not what they must be, or a target decides.
        """
        if self.question.target is not None:
            raise InvalidInput("A target decides here, not weights: select with weights instead.")
        return replace(self, question=replace(self.question, weights=Weights.read(weights)))

    def _decide(self, weights: Mapping[str, float]) -> Ranking:
        read = Weights.read(weights)
        if read.quality != self.question.quality and read.shares[0]:
            raise InvalidInput(
                f"This selection weighs {self.question.quality}: select again to weigh "
                f"{read.quality}."
            )
        return self.standings.decide(read.shares)

    # ---------------------------------------------------------------------- in words

    @cached_property
    def sentence(self) -> str:
        """Why the winner is first; where nothing passes, the nearest misses."""
        first = self.decision.first
        if first is None:
            return explain_nothing(self.standings, self._list_nearest_models()[:_NEAREST])
        return explain(self.standings, self.decision, first)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """A sentence for each of `rows`."""
        return tuple(explain(self.standings, self.decision, row) for row in range(len(self.rows)))

    @cached_property
    def nearest(self) -> list[int]:
        """The numbers of the candidates that miss a need, those nearest to passing first."""

        def measure(number: int) -> tuple[bool, int, float]:
            misses = self.rows[number].misses
            return any(m.unknown for m in misses), len(misses), max(m.distance for m in misses)

        missed = [number for number, row in enumerate(self.rows) if row.misses]
        return sorted(missed, key=measure)

    def _list_nearest_models(self) -> list[int]:
        """Return the nearest misses, one a model: it mostly fails alike on all inference types."""
        by_title: dict[str, int] = {}
        for number in self.nearest:
            by_title.setdefault(self.rows[number].title, number)
        return list(by_title.values())

    @cached_property
    def order(self) -> list[int]:
        """The numbers of the candidates: the winner, what passes by score, and so on."""
        missed = {number: rank for rank, number in enumerate(self.nearest)}
        scores = self.decision.scores

        def key(number: int) -> tuple[int, float]:
            state = STATES.index(self.state(number))
            return state, missed.get(number, -float(scores[number]))

        return sorted(range(len(self.rows)), key=key)

    def state(self, number: int) -> str:
        """Return what became of a candidate: first, passes, screened out, unknown, dropped."""
        return find_state(self.rows[number], first=number == self.decision.first)

    # -------------------------------------------------------------------- as a table

    @cached_property
    def table(self) -> pl.DataFrame:
        """A row a candidate and inference type, the winner on top.

        Columns: candidate, inference_type, deployment, policy, state, accuracy, accuracy_low,
        accuracy_high (95 %), effective_accuracy, latency (seconds at the target's quantile),
        attainment, cost_per_month (US dollars, the traffic repeating itself for 730 hours),
        cost_per_million, score, front (whether none of those that pass
        beats it in accuracy, latency and cost), engine, sentence. Null is what is not known.
        """
        import polars as pl

        records = [self._record(number) for number in self.order]
        return pl.DataFrame(
            records, schema={name: getattr(pl, kind) for name, kind in _COLUMNS.items()}
        )

    @property
    def front(self) -> pl.DataFrame:
        """The rows of `table` that pass and that none beats in accuracy, latency and cost."""
        return self.table.filter("front")

    def _record(self, number: int) -> dict[str, Any]:
        row, found = self.rows[number], self.rows[number].found
        low, high = (math.nan, math.nan) if row.evidence is None else row.evidence.interval
        score = float(self.decision.scores[number])
        alone = not isinstance(row.model, Ensemble)  # whose members have policies of their own
        return {
            "candidate": row.title,
            "inference_type": row.kind,
            "deployment": found.configuration.place if found else row.kind,
            "policy": found.configuration.batching_label if found and alone else None,
            "state": self.state(number),
            "accuracy": to_number(row.accuracy),
            "accuracy_low": to_number(low),
            "accuracy_high": to_number(high),
            "effective_accuracy": to_number(row.effective_accuracy),
            "latency": to_number(row.latency),
            "attainment": None if found is None else found.attainment,
            "cost_per_month": to_number(row.cost * self._millions_a_month),
            "cost_per_million": to_number(row.cost),
            "score": to_number(score) if self.question.target is None else None,
            "front": bool(self.standings.front[number]),
            "engine": found and found.engine,
            "sentence": self.sentences[number],
        }

    def to_dict(self) -> dict[str, Any]:
        """Return question, answer, candidates and what would change it as JSON values."""
        return {
            "question": self.question.to_dict(),
            "first": _describe_first(self.best) if self.feasible else None,
            "sentence": self.sentence,
            "candidates": self.table.to_dicts(),
            "flips": [flip._asdict() | {"sentence": flip.sentence} for flip in self.flips],
            "notes": list(self.notes),
            "seconds": self.seconds,
        }

    def __repr__(self) -> str:
        return f"<Selection {self.sentence} {self.effort}>"

    def __str__(self) -> str:
        others = [self.sentences[number] for number in self.order[1:_EXPLAINED]]
        parts = [self.sentence, "", self.figures.text(), "", *others, "", self.effort]
        return "\n".join([*parts, *self.notes, *(flip.sentence for flip in self.flips)])

    def _repr_html_(self) -> str:
        return self._make_table(*_FIGURES, "sentence").html(limit=_SHOWN)

    @property
    def figures(self) -> Table:
        """The first rows of `table` in words, without their sentences."""
        return replace(self._make_table(*_FIGURES), caption=self.question.label)

    @property
    def _millions_a_month(self) -> float:
        trace = self.question.trace
        return len(trace) / 1e6 * MONTH / trace.duration

    def _make_table(self, *names: str) -> Table:
        evidence = (row.evidence for row in self.rows)
        titles = {
            "accuracy": next((each.metric for each in evidence if each), "accuracy"),
            "effective_accuracy": "right in time",
            "latency": self.question.slo.percentile,
            "cost_per_month": "$ a month",
            "cost_per_million": "$ a million",
            "sentence": "why",
        }
        shown = self.table.head(_SHOWN).select(*names).rows(named=True)
        rows = [
            [
                _IN_WORDS[name](value) if name in _IN_WORDS and value is not None else value
                for name, value in row.items()
            ]
            for row in shown
        ]
        caption = f"{self.question.label}: {self.sentence}"
        return Table([titles.get(name, name) for name in names], rows, caption)

    @property
    def effort(self) -> str:
        """What deciding took, in a sentence."""
        models = len({row.title for row in self.rows})
        left = "" if self.conclusive else " Others could still be first: allow more searches."
        return (
            f"Decided in {self.seconds:.2f} s: {models:,} models, {len(self.rows):,} rows, "
            f"{len(self.planned)} searches for settings; latency, cost and who is right in time "
            f"are simulated for the {len(self.question.trace):,} requests of this traffic.{left}"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What the figures leave out or assume, in sentences: the plans', each once."""
        return tuple(dict.fromkeys(each for plan in self.planned.values() for each in plan.notes))

    # ------------------------------------------------------------- what would change it

    @cached_property
    def ranges(self) -> list[FlipRange]:
        """Who is first by each weight and price, or accuracy target, from end to end."""
        return list_cheap_ranges(self.standings) if self.feasible else []

    @property
    def flips(self) -> list[Flip]:
        """At which weight, price and accuracy target another is first, verified on both sides."""
        return [flip for each in self.ranges for flip in each.flips]

    @cached_property
    def planned_ranges(self) -> PlannedRanges:
        """Who is first by rate and by latency target; each value is planned for, once."""

        def decide(question: Question) -> tuple[str, int]:
            answered = self.again(question, most=0)
            return answered.best.name if answered.feasible else "", len(answered.planned)

        first = self.best.name if self.feasible else ""
        return search_planned_ranges(self.question, first, decide)

    def find_planned_flips(self) -> list[Flip]:
        """Return at which rate and latency target another is first.

        It plans for some twenty values: `planned_ranges.effort` says what that took.
        """
        return [flip for each in self.planned_ranges.ranges for flip in each.flips]

    def measure(self) -> Selection:
        """Return the selection once what is not known of candidates has been measured."""
        return self.again(self.question, measure=True)

    def regions(self, steps: int = _STEPS) -> pl.DataFrame:
        """Return who is first by weights: columns accuracy, latency, cost, which make 1, first."""
        import polars as pl

        found = list_regions(self.standings, steps)
        rows = [(*shares, name or None) for shares, name in found]
        names = ["accuracy", "latency", "cost"]
        schema = {**dict.fromkeys(names, pl.Float64), "first": pl.String}
        return pl.DataFrame(rows, schema=schema, orient="row")

    # ------------------------------------------------------------------------ drawn

    def chart(self) -> Figure:
        """Return a chart of accuracy against cost: front, winner, and what is not known."""
        return plot_candidates(self.table, self.question.slo, sentence=self.sentence)

    def regions_chart(self, steps: int = _STEPS) -> Figure:
        """Return a chart of who is first by the three weights, the question's own marked."""
        return plot_regions(self.regions(steps), self.question.weights.shares)

    def flips_chart(self, *, planned: bool = False) -> Figure:
        """Return a chart of who is first by each weight, price and target, where it stands now.

        `planned` adds rate and latency target, which are planned for unless they were before.

        Raises:
            InvalidInput: Nothing passes, so that nothing changes.
        """
        if not self.feasible:
            raise InvalidInput(self.sentence)
        ranges, effort = self.ranges, ""
        if planned or "planned_ranges" in vars(self):
            ranges, effort = ranges + self.planned_ranges.ranges, self.planned_ranges.effort
        return plot_flips(_frame_of(ranges), effort)


def _frame_of(ranges: list[FlipRange]) -> pl.DataFrame:
    """Return regions of ranges: quantity, now, low, high, first, ratio."""
    import polars as pl

    return pl.DataFrame(
        [
            (each.quantity, each.now, low, high, first, each.ratio)
            for each in ranges
            for low, high, first in each.regions
        ],
        schema=["quantity", "now", "low", "high", "first", "ratio"],
        orient="row",
    )


def _describe_first(row: RatedCandidate) -> dict[str, Any]:
    """Return what is first as JSON values."""
    if isinstance(row.model, Ensemble):
        return {"model": row.title, "ensemble": row.model.to_dict()}
    assert row.found is not None  # noqa: S101 - what is first was searched for
    return {
        "model": row.title,
        "sha256": row.model.sha256,
        "deployment": row.found.deployment.to_dict(),
        "policy": row.found.policy.to_dict(),
    }
