"""The plan: what won, what lost and why, and what deciding took."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from workbench.batching.timer import BatchPolicy
from workbench.deployment.base import Deployment
from workbench.errors import InvalidInput
from workbench.experiment import Experiment
from workbench.formatting import Table, dollars, duration
from workbench.planner.candidates import (
    CandidateMetrics,
    CandidateTable,
    Configuration,
    Reliability,
    SimulatedCandidate,
)
from workbench.planner.reasons import Reasons, divide
from workbench.planner.screened_rows import EXACT, SCREENED_OUT, list_screened_rows
from workbench.quantiles import SLO
from workbench.registry.model import Model
from workbench.scaling.base import ScalingPolicy
from workbench.traffic.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from workbench.planner.out_of_sample import OutOfSample
    from workbench.planner.problem import PlanningProblem
    from workbench.pricing.cost import Items

SIMULATOR = "simulator"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to deploy and to batch, what it comes to, and why it won or lost.

    Attributes:
        kind: what was searched: the inference type, or "scaled real-time" and "hybrid".
        deployment: where.
        policy: how requests become batches.
        scaling: how a fleet changes its size; None: it does not.
        latency: seconds at the target's quantile; infinite where that many requests failed.
        attainment: share of the requests within the target.
        cost_per_million: US dollars.
        cost_per_month: US dollars, the trace repeating itself.
        engine: "simulator" or "exact model": which says so.
        predicted: seconds by the exact model, whatever the engine; a lower bound for fleets.
        reason: a sentence.
        broken: which limits of the platform its calls break, in words; "" where they keep to all.
        unseen: on how many other days it keeps to the target; None: it was not tried on any.
        out_of_sample: how it does on traffic that nothing was chosen on, where it was tried.
        worst_minute: share of the requests within the target in the worst minute that has some.
        minutes_met: share of the minutes with requests that meet the target by themselves.
    """

    kind: str
    deployment: Deployment
    policy: BatchPolicy
    scaling: ScalingPolicy | None
    latency: float
    attainment: float
    cost_per_million: float
    cost_per_month: float
    engine: str
    predicted: float
    reason: str
    broken: str = ""
    unseen: Reliability | None = None
    out_of_sample: OutOfSample | None = None
    worst_minute: float = math.nan
    minutes_met: float = math.nan

    @property
    def label(self) -> str:
        """The candidate in a few words."""
        return f"{self.configuration.place}, {self.configuration.batching_label}"

    @property
    def configuration(self) -> Configuration:
        """Deployment, policy and scaling."""
        return Configuration(self.deployment, self.policy, self.scaling)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Plan:
    """What to deploy and how to batch, what else there is, and what deciding took.

    Attributes:
        task: traffic, target and choices.
        fields: the candidates by inference type.
        spent: seconds by step: "profile" where there was one, "fit", "screen and simulate".
        notes: what the figures leave out or assume, in sentences.
        model: the model, where the plan was made for one.
    """

    task: PlanningProblem
    fields: tuple[CandidateTable, ...]
    spent: Mapping[str, float]
    notes: tuple[str, ...] = ()
    model: Model | None = field(default=None)

    @property
    def slo(self) -> SLO:
        """The latency target."""
        return self.task.slo

    @property
    def seconds(self) -> float:
        """Seconds spent deciding."""
        return sum(self.spent.values())

    @property
    def dollars(self) -> float:
        """What they cost."""
        return self.seconds * self.task.options.planning_price

    @cached_property
    def _ranking(self) -> list[tuple[CandidateTable, SimulatedCandidate]]:
        pairs = [(table, finalist) for table in self.fields for finalist in table.finalists]
        return sorted(pairs, key=lambda pair: self.task.rank_judged(*pair))

    @property
    def feasible(self) -> bool:
        """Whether the best meets the target, or keeps to the budget; see `has_headroom`."""
        return self.task.meets_target(self._winner)

    @property
    def has_headroom(self) -> bool:
        """Whether the best leaves as much of the target as `Options(headroom=...)` wants."""
        return self.task.meets_constraint(self._winner)

    @cached_property
    def finalists(self) -> tuple[Candidate, ...]:
        """What was simulated, the best first."""
        return tuple(self._candidate(*pair) for pair in self._ranking)

    @property
    def best(self) -> Candidate:
        """The winner; where nothing meets the target, what misses it least."""
        return self.finalists[0]

    def _candidate(self, table: CandidateTable, finalist: SimulatedCandidate) -> Candidate:
        configuration, metrics, row = finalist
        return Candidate(
            kind=table.kind,
            deployment=configuration.deployment,
            policy=configuration.policy,
            scaling=configuration.scaling,
            latency=metrics.latency,
            attainment=metrics.attainment,
            worst_minute=metrics.worst_minute,
            minutes_met=metrics.minutes_met,
            cost_per_million=metrics.cost,
            cost_per_month=metrics.month,
            engine=SIMULATOR,
            predicted=float(table.predicted[row]),
            reason=self._reasons.explain(table, finalist),
            broken=metrics.broken,
            unseen=table.judged.get(configuration),
            out_of_sample=table.out_of_sample.get(configuration),
        )

    def weigh(self, configuration: Configuration) -> Candidate:
        """Return a setting of one's own as the candidates are: simulated, tried on other days.

        Raises:
            InvalidInput: Service times do not cover it.
        """
        from workbench.planner.reliability import judge

        blank = np.array([np.nan])
        table = CandidateTable(
            kind=configuration.deployment.kind,
            deployments=[configuration.deployment],
            place=np.zeros(1, dtype=np.int64),
            max_size=np.ones(1, dtype=np.int64),
            max_wait=blank,
            predicted=blank,
            attainment=blank,
            cost=blank,
            notes=np.array([""], dtype=object),
        )
        own = SimulatedCandidate(configuration, self.task.simulate(configuration), 0)
        if self.task.days is not None and self.task.meets_constraint(own.figures):
            judge(self.task, [(own, table)])
        return self._candidate(table, own)

    @property
    def surcharge(self) -> float:
        """How much dearer the winner is than the cheapest for this trace alone, as a share.

        With a budget, how much slower than the fastest.
        """
        met = [
            self.task.weigh(finalist.figures)
            for _, finalist in self._ranking
            if self.task.meets_constraint(finalist.figures)
        ]
        winner = self.task.weigh(self._winner)
        return divide(winner, min(met)) - 1 if met else 0.0

    @cached_property
    def items(self) -> Items:
        """What a month of the best costs, item by item."""
        return self.task.bill_month(self.best.configuration)

    @cached_property
    def without_batches(self) -> Candidate | None:
        """The cheapest that meets the target on this trace and joins no requests.

        It is searched for when it is asked for. None: there is none, or with a budget.
        """
        from workbench.planner.type_search import search_types

        alone = self.task.without_batches()
        if alone is None:
            return None
        pairs = [
            (table, each)
            for table in search_types(alone)
            for each in table.finalists
            if alone.meets_constraint(each.figures)
        ]
        first = min(pairs, key=lambda pair: alone.rank(pair[1].figures), default=None)
        return first and self._candidate(*first)

    @cached_property
    def _reasons(self) -> Reasons:
        return Reasons(self.task, self._winner, self.surcharge)

    @property
    def _winner(self) -> CandidateMetrics:
        return self._ranking[0][1].figures

    @cached_property
    def frame(self) -> pl.DataFrame:
        """A row a candidate, finalists first, the best of them on top.

        Columns: kind, deployment, policy, latency and predicted (seconds), attainment,
        worst_minute and minutes_met (see `Candidate`; null where not simulated), cost_per_million,
        cost_per_month (US dollars), engine, reason, unseen (on how many other days it keeps to the
        target, "19 of 20"), out_of_sample (attainment on traffic that nothing was chosen on, null
        where it was not tried there), service (where its service times come from), max_size,
        max_wait. What has engine "screened out" was not simulated, and the exact model gives a
        lower bound alone, or it was unstable.
        """
        import polars as pl

        rows = [
            {
                "kind": one.kind,
                "deployment": one.configuration.place,
                "policy": one.configuration.batching_label,
                "latency": one.latency,
                "predicted": one.predicted,
                "attainment": one.attainment,
                "worst_minute": one.worst_minute,
                "minutes_met": one.minutes_met,
                "cost_per_million": one.cost_per_million,
                "cost_per_month": one.cost_per_month,
                "engine": one.engine,
                "reason": one.reason,
                "unseen": one.unseen and one.unseen.label,
                "out_of_sample": one.out_of_sample and one.out_of_sample.attainment,
                "service": self.task.service_label(one.deployment),
                "max_size": one.policy.max_size,
                "max_wait": one.policy.max_wait,
            }
            for one in self.finalists
        ]
        kinds = {"unseen": pl.String(), "out_of_sample": pl.Float64()}
        head = pl.DataFrame(rows, schema_overrides=kinds)
        rest = pl.concat(
            [list_screened_rows(self.task, table, self._winner) for table in self.fields]
        )
        order = ["engine", "cost_per_million" if self.task.budget is None else "latency"]
        return pl.concat([head, rest.sort(order).select(head.columns)])

    @cached_property
    def front(self) -> pl.DataFrame:
        """The rows of `frame` that none beats in both latency and cost, the cheapest first."""
        import polars as pl

        known = self.frame.filter(
            (pl.col("engine") != SCREENED_OUT) & pl.col("latency").is_finite()
        ).sort("cost_per_million", "latency")
        fastest = pl.col("latency").cum_min().shift(1).fill_null(float("inf"))
        return known.filter(pl.col("latency") < fastest)

    @cached_property
    def near_misses(self) -> pl.DataFrame:
        """What came next, as rows of `frame`: the best of each deployment but the winner's.

        Settings of one deployment that differ in batching alone, and fleets that differ in their
        number of instances alone, are one.
        """
        import polars as pl

        count = len(self._ranking)
        ones = [each.deployment.with_count(1).label for each in self.finalists]
        aim, limited = ("cost_per_million", "latency")[:: 1 if self.task.budget is None else -1]
        late = pl.col(limited) > self.task.limit
        rest = self.frame[count:].filter(pl.col("engine") == EXACT)
        rest = rest.sort(late, pl.when(late).then(limited).otherwise(aim), aim)
        known = pl.concat([self.frame[:count], rest])
        what = known["kind"] + " " + pl.Series([*ones, *rest["deployment"]])
        known = known.with_columns(what=what)
        return known.unique("what", keep="first", maintain_order=True)[1:].drop("what")

    @cached_property
    def by_kind(self) -> pl.DataFrame:
        """The best row of each inference type, the winner on top."""
        return self.frame.unique("kind", keep="first", maintain_order=True)

    def break_even(self, rates: Sequence[float] | None = None) -> pl.DataFrame:
        """Return the least cost of each inference type that meets the target as traffic grows.

        The trace is played slower or faster, and planned for as `plan` does, with cold starts and
        on other days.

        Args:
            rates: requests per second; by default 7 from a hundredth of the trace's to tenfold.

        Returns:
            A row a rate and type: rate, kind, deployment, policy, latency, cost_per_million,
            cost_per_month, unseen, engine, cheapest (a plan's choice at that rate). A type that
            cannot meet the target has no cost. Where the cheapest type changes,
            `workbench.planner.crossings` says.
        """
        from workbench.planner.break_even import break_even

        return break_even(self.task, rates)

    def experiment(self, model: Model | None = None, trace: Trace | None = None) -> Experiment:
        """Return the winner as an experiment.

        Raises:
            InvalidInput: The plan was made from a profile and no model is given.
        """
        chosen = model or self.model
        if chosen is None:
            raise InvalidInput(
                "This plan was made from service times, not from a model: "
                "say which, plan.experiment(model)."
            )
        deployment, policy, options = self.best.deployment, self.best.policy, self.task.options
        parts = chosen, deployment, trace or self.task.trace, policy, self.slo
        return Experiment(*parts, options.row_bytes, options.answer_bytes)

    @property
    def label(self) -> str:
        """The winner and what it comes to, in a sentence."""
        best = self.best
        return (
            f"{best.label}: {self.slo.percentile} {duration(best.latency)}, "
            f"{dollars(best.cost_per_million)} per million, "
            f"{dollars(best.cost_per_month)} a month; {best.reason}"
        )

    @property
    def effort(self) -> str:
        """What deciding took, in a sentence."""
        screened = sum(len(table.place) for table in self.fields)
        steps = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in self.spent.items())
        own = self.task.options.deciding_price is not None
        machine = "the price given for this machine" if own else "what an ml.m5.large costs"
        return (
            f"Decided in {self.seconds:.2f} s ({steps}): {screened:,} candidates by the exact "
            f"model, {len(self._ranking)} simulations. Deciding took {dollars(self.dollars)} of "
            f"computing, at {machine}."
        )

    def __repr__(self) -> str:
        return f"<Plan {self.label}. {self.effort}>"

    def __str__(self) -> str:
        return "\n".join([f"Plan for {self.slo.label}: {self.label}.", self.effort, *self.notes])

    def _repr_html_(self) -> str:
        import polars as pl

        columns = {
            "deployment": "deployment",
            "policy": "policy",
            "latency": f"{self.slo.percentile} (s)",
            "attainment": "attainment",
            "cost_per_million": "$ per million",
            "cost_per_month": "$ a month",
            "out_of_sample": "out of sample",
            "unseen": "other days",
            "engine": "engine",
            "reason": "reason",
        }
        shown = pl.concat([self.frame.head(1), self.near_misses])
        rows = shown.select(*columns).rows()
        return Table(list(columns.values()), rows, str(self)).html(limit=20)
