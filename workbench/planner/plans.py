"""The plan: what won, what lost and why, and what deciding took."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from workbench.batching.timer import BatchPolicy
from workbench.deployment.base import Deployment, is_by_job
from workbench.errors import InvalidInput
from workbench.experiment import Experiment
from workbench.formatting import Table, dollars, duration, percent
from workbench.planner.candidates import (
    CandidateMetrics,
    CandidateTable,
    Configuration,
    Reliability,
    SimulatedCandidate,
)
from workbench.pricing.cost import MONTH
from workbench.quantiles import SLO
from workbench.registry.model import Model
from workbench.run.verdict import judge_share
from workbench.scaling.base import ScalingPolicy
from workbench.traffic.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from workbench.planner.out_of_sample import OutOfSample
    from workbench.planner.problem import PlanningProblem

EXACT, SIMULATOR, SCREENED_OUT = "exact model", "simulator", "screened out"


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
        return self.task.meets_target(self._ranking[0][1].figures)

    @property
    def has_headroom(self) -> bool:
        """Whether the best leaves as much of the target as `Options(headroom=...)` wants."""
        return self.task.meets_constraint(self._ranking[0][1].figures)

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
            cost_per_month=metrics.cost * self._millions_a_month,
            engine=SIMULATOR,
            predicted=float(table.predicted[row]),
            reason=self._reason(table, finalist),
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
    def _millions_a_month(self) -> float:
        return self.task.trace.rate * MONTH / 1e6

    def _reason(self, table: CandidateTable, finalist: SimulatedCandidate) -> str:
        metrics, judged = finalist.figures, table.judged.get(finalist.configuration)
        proof = table.out_of_sample.get(finalist.configuration)
        winner = self._ranking[0][1].figures
        if metrics is winner:
            proved = f"; out of sample {proof.label}" if proof else ""
            trusted = self._why_trusted(judged)
            return self._why_best(winner) + self._doubt(winner, proof) + trusted + proved
        if metrics.broken:
            return f"not possible: {metrics.broken}"
        if not self.task.meets_constraint(metrics):
            return self._miss(metrics)
        what = "cost" if self.task.budget is None else "latency"
        against, aim = self.task.aim(metrics), self.task.aim(winner)
        if judged is not None and not judged.holds(self.task.options.unseen_share):
            return f"{self._keeps} on {judged.label} other days only"
        if against < aim:
            return f"{self._keeps} on this trace for less; not tried on other days"
        return _format_ratio(against, aim, what)

    @property
    def _keeps(self) -> str:
        return "meets the target" if self.task.budget is None else "keeps to the budget"

    def _doubt(self, winner: CandidateMetrics, proof: OutOfSample | None) -> str:
        """Return in words that chance may decide whether the winner meets the target, or ""."""
        if not self.task.meets_target(winner) or self.task.budget is not None:
            return ""
        wanted, share = self.slo.quantile, winner.attainment
        unsure = judge_share(share, len(self.task.trace), wanted).word == "cannot tell"
        if not unsure and (proof is None or proof.low >= wanted):
            return ""
        return f"; {percent(share)} in time is within its own uncertainty of the target"

    def _why_trusted(self, judged: Reliability | None) -> str:
        """Return how the winner does on other days, and what holding there costs."""
        if judged is None:
            return ""
        share = self.task.options.unseen_share
        words = f" on {judged.label} other days"
        if not judged.holds(share):
            return f"; no pick does so on {100 * share:g} % of other days, this{words}"
        price = self.surcharge
        if price <= 0:
            return f", and{words}"
        what = "more than the cheapest" if self.task.budget is None else "slower than the fastest"
        more = f"{100 * price:.3g} % {what}" if price < math.inf else f"{what}, which is free,"
        return f", and{words}; that makes it {more} for this trace alone"

    @property
    def surcharge(self) -> float:
        """How much dearer the winner is than the cheapest for this trace alone, as a share.

        With a budget, how much slower than the fastest.
        """
        met = [
            self.task.aim(finalist.figures)
            for _, finalist in self._ranking
            if self.task.meets_constraint(finalist.figures)
        ]
        winner = self.task.aim(self._ranking[0][1].figures)
        return _divide(winner, min(met)) - 1 if met else 0.0

    def _why_best(self, winner: CandidateMetrics) -> str:
        if winner.broken:
            return f"nothing keeps to the limits of its platform; here {winner.broken}"
        if self.task.meets_constraint(winner):
            if self.task.budget is not None:
                return "the fastest within the budget"
            return "meets the target at the least cost"
        if self.task.meets_target(winner):
            return f"meets the target, if {self._barely(winner.latency)}; nothing leaves more"
        if self.task.budget is None:
            over = 100 * (winner.latency / self.slo.latency - 1)
            return f"nothing meets the target; this misses it least, by {over:.3g} %"
        over = 100 * (winner.cost / self.task.budget - 1)
        return f"nothing keeps to the budget; this exceeds it least, by {over:.3g} %"

    def _barely(self, latency: float) -> str:
        """Return how much of the target is left, in words."""
        left = 1 - latency / self.slo.latency
        return (
            f"with {percent(max(left, 0))} headroom instead of "
            f"{percent(self.task.options.headroom)}"
        )

    def _miss(self, metrics: CandidateMetrics) -> str:
        if self.task.meets_target(metrics):
            return f"{self._quantile} {duration(metrics.latency)}, {self._barely(metrics.latency)}"
        if self.task.budget is None:
            return (
                f"{self._quantile} {duration(metrics.latency)} above the target of "
                f"{duration(self.slo.latency)}"
            )
        return f"${metrics.cost:.4g} per million above the budget of ${self.task.budget:.4g}"

    @property
    def _quantile(self) -> str:
        return f"p{100 * self.slo.quantile:g}"

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
        rest = pl.concat([self._candidate_rows(table) for table in self.fields])
        order = ["engine", "cost_per_million" if self.task.budget is None else "latency"]
        return pl.concat([head, rest.sort(order).select(head.columns)])

    def _candidate_rows(self, table: CandidateTable) -> pl.DataFrame:
        """Return the rows of an inference type that no simulation has evaluated."""
        import polars as pl

        left = np.ones(len(table.place), dtype=bool)
        left[[finalist.row for finalist in table.finalists]] = False
        pairs = np.stack([table.place, table.max_size, table.max_wait], axis=1)[left]
        _, policies, named = np.unique(
            pairs if is_by_job(table.kind) else pairs[:, 1:],
            axis=0,
            return_index=True,
            return_inverse=True,
        )
        rows_left = np.flatnonzero(left)
        joined = np.array(
            [table.configuration(rows_left[row]).batching_label for row in policies], dtype=object
        )
        deployments, distributions = (
            np.array(labels, dtype=object)[table.place[left]].tolist()
            for labels in (
                [deployment.label for deployment in table.deployments],
                [self.task.service_label(deployment) for deployment in table.deployments],
            )
        )
        notes = table.notes[left]
        rows = pl.DataFrame(
            {
                "deployment": deployments,
                "service": distributions,
                "policy": joined[named.ravel()].tolist(),
                "latency": table.predicted[left],
                "predicted": table.predicted[left],
                "attainment": table.attainment[left],
                "cost_per_million": table.cost[left],
                "note": notes.tolist(),
                "max_size": table.max_size[left],
                "max_wait": table.max_wait[left],
            },
            schema_overrides=dict.fromkeys(("note", "deployment", "service", "policy"), pl.String),
        )
        out = pl.col("note") != ""
        return rows.with_columns(
            kind=pl.lit(table.kind),
            cost_per_month=pl.col("cost_per_million") * self._millions_a_month,
            unseen=pl.lit(None, pl.String),
            out_of_sample=pl.lit(None, pl.Float64),
            worst_minute=pl.lit(None, pl.Float64),
            minutes_met=pl.lit(None, pl.Float64),
            engine=pl.when(out | pl.lit(table.bound))
            .then(pl.lit(SCREENED_OUT))
            .otherwise(pl.lit(EXACT)),
            reason=pl.when(out).then("note").otherwise(self._reasons(bound=table.bound)),
        )

    def _reasons(self, *, bound: bool) -> pl.Expr:
        """Return why rows that were not simulated lost, as an expression."""
        import polars as pl

        winner = self._ranking[0][1].figures
        latency, cost = pl.col("latency"), pl.col("cost_per_million")
        least = "at least " if bound else ""
        slow = pl.format(
            "{} {}{} above the target of {}",
            pl.lit(self._quantile),
            pl.lit(least),
            _format_seconds_column(latency),
            pl.lit(duration(self.slo.latency)),
        )
        near = pl.lit("not simulated: its neighbours promised more, or did worse than predicted")
        if self.task.budget is None:
            dear = _format_ratio_column(cost, winner.cost, "cost", least)
            other = pl.when(cost >= winner.cost).then(dear).otherwise(near)
            barely = pl.format(
                "{} {}{}, less than {} below the target",
                pl.lit(self._quantile),
                pl.lit(least),
                _format_seconds_column(latency),
                pl.lit(percent(self.task.options.headroom)),
            )
            return (
                pl.when(latency > self.task.target)
                .then(slow)
                .when(latency > self.task.limit)
                .then(barely)
                .otherwise(other)
            )
        over = pl.format(
            "${} per million above the budget of ${}",
            _round_column(cost),
            pl.lit(f"{self.task.budget:.4g}"),
        )
        slower = _format_ratio_column(latency, winner.latency, "latency", least)
        other = pl.when(latency >= winner.latency).then(slower).otherwise(near)
        return pl.when(cost > self.task.budget).then(over).otherwise(other)

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
        deployment, policy = self.best.deployment, self.best.policy
        return Experiment(chosen, deployment, trace or self.task.trace, policy, self.slo)

    @property
    def label(self) -> str:
        """The winner and what it comes to, in a sentence."""
        best = self.best
        return (
            f"{best.label}: {self._quantile} {duration(best.latency)}, "
            f"${best.cost_per_million:.4g} per million, ${best.cost_per_month:,.4g} a month; "
            f"{best.reason}"
        )

    @property
    def effort(self) -> str:
        """What deciding took, in a sentence."""
        screened = sum(len(table.place) for table in self.fields)
        steps = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in self.spent.items())
        return (
            f"Decided in {self.seconds:.2f} s ({dollars(self.dollars)}; {steps}): {screened:,} "
            f"candidates by the exact model, {len(self._ranking)} simulations."
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
            "latency": f"{self._quantile} (s)",
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


def _divide(value: float, by: float) -> float:
    """Return a ratio; of what costs nothing to what costs nothing it is 1."""
    if by:
        return value / by
    return math.inf if value else 1.0


def _format_ratio(value: float, of: float, what: str) -> str:
    ratio = _divide(value, of)
    if ratio == math.inf:
        return f"above the winner's {what}, which is 0"
    if ratio < 1.1:
        return f"{100 * (ratio - 1):.2g} % above the winner's {what}"
    return f"{ratio:.3g} times the winner's {what}"


def _round_column(value: pl.Expr, digits: int = 4) -> pl.Expr:
    import polars as pl

    return value.round_sig_figs(digits).cast(pl.String).str.strip_suffix(".0")


def _format_seconds_column(seconds: pl.Expr) -> pl.Expr:
    import polars as pl

    long = pl.format("{} s", _round_column(seconds))
    return (
        pl.when(seconds >= 10)
        .then(long)
        .otherwise(pl.format("{} ms", _round_column(1000 * seconds)))
    )


def _format_ratio_column(value: pl.Expr, of: float, what: str, least: str) -> pl.Expr:
    """Return what `_format_ratio` does, of a column."""
    import polars as pl

    if not of:
        words = [pl.lit(_format_ratio(each, of, what)) for each in (1.0, 0.0)]
        return pl.when(value > 0).then(words[0]).otherwise(words[1])
    ratio = value / of
    little = pl.format(
        "{}{} % above the winner's {}",
        pl.lit(least),
        _round_column(100 * (ratio - 1), 2),
        pl.lit(what),
    )
    much = pl.format(
        "{}{} times the winner's {}", pl.lit(least), _round_column(ratio, 3), pl.lit(what)
    )
    return pl.when(ratio < 1.1).then(little).otherwise(much)
