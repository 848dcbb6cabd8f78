"""Which inference type to take, what it costs a month, and why the others lose.

A decision is a plan with one row a type, and a sentence::

    decision = wb.decide(model, trace, wb.SLO(latency=0.1), today=wb.Lambda(memory_mb=1769))
    print(decision.sentence)
    plot_decision(decision)                      # of workbench.plots
    decision.winner.deployment, decision.winner.policy
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from workbench.batching.timer import BatchPolicy
from workbench.deployment.base import Deployment
from workbench.errors import InvalidInput
from workbench.formatting import Table, dollars, duration, percent
from workbench.planner.candidates import CandidateTable, Configuration, Reliability
from workbench.planner.plans import Candidate, Plan
from workbench.planner.reasons import divide
from workbench.planner.search import plan
from workbench.pricing.cost import total
from workbench.quantiles import SLO
from workbench.run.verdict import Verdict, judge_share
from workbench.validation import as_tuple

if TYPE_CHECKING:
    import polars as pl

    from workbench.planner.options import Options
    from workbench.planner.service_sources import Measured
    from workbench.progress import Progress
    from workbench.registry.model import Model
    from workbench.traffic.trace import Trace

Today: TypeAlias = Configuration | tuple[Deployment, BatchPolicy] | Deployment
"""What is there already: where, and how requests become batches; a deployment alone has none."""

_VERBS = {
    "met": "meets the target",
    "missed": "misses the target",
    "cannot tell": "may or may not meet the target",
    "invalid": "is not possible",
}


@dataclass(frozen=True, kw_only=True)
class DecisionRow:
    """The best of an inference type, or what is there today.

    Attributes:
        kind: The inference type, or "scaled real-time" and "hybrid".
        configuration: Deployment, policy and scaling.
        cost_per_month: US dollars, the trace repeating itself; NaN where nothing can be simulated.
        latency: Seconds at the target's quantile, simulated; infinite where so many requests fail.
        attainment: Share of the requests within the target.
        verdict: Whether the target is met, as far as the requests of the trace can tell.
        unseen: On how many other days it keeps to the limit; None: it was not tried on any.
        reason: Why it won or lost.
        front: Whether no other row is both faster and cheaper.
        winner: Whether it is the one to take.
        today: Whether it is what is there already.
    """

    kind: str
    configuration: Configuration
    cost_per_month: float
    latency: float
    attainment: float
    verdict: Verdict
    reason: str
    unseen: Reliability | None = None
    front: bool = False
    winner: bool = False
    today: bool = False

    @property
    def deployment(self) -> Deployment:
        """Where."""
        return self.configuration.deployment

    @property
    def policy(self) -> BatchPolicy:
        """How requests become batches."""
        return self.configuration.policy

    @property
    def label(self) -> str:
        """Deployment and policy in a few words."""
        return f"{self.configuration.place}, {self.configuration.batching_label}"

    @property
    def name(self) -> str:
        """The same, the policy in brackets."""
        return f"{self.configuration.place} ({self.configuration.batching_label})"

    @property
    def possible(self) -> bool:
        """Whether there is a latency and a cost to show."""
        return math.isfinite(self.latency) and math.isfinite(self.cost_per_month)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Decision:
    """The winner, the best of each other type and what is there today.

    Attributes:
        plan: What the rows are taken from.
        rows: A row a type, the best first; then today's choice, unless it is one of these.
        notes: What the figures leave out or assume, in sentences.
    """

    plan: Plan
    rows: tuple[DecisionRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def slo(self) -> SLO:
        """The latency target."""
        return self.plan.slo

    @property
    def feasible(self) -> bool:
        """Whether the winner meets the target; else it misses it least."""
        return self.plan.feasible

    @property
    def winner(self) -> DecisionRow:
        """The row to take."""
        return next(row for row in self.rows if row.winner)

    @property
    def runner_up(self) -> DecisionRow | None:
        """The best of another type; None where only one was searched."""
        return self.rows[1] if len(self.plan.fields) > 1 else None

    @property
    def today(self) -> DecisionRow | None:
        """What is there already; None where nothing was named, or it cannot be simulated."""
        return next((row for row in self.rows if row.today), None)

    @property
    def difference(self) -> float:
        """US dollars a month that the winner costs less than today's choice; NaN without one."""
        return self.today.cost_per_month - self.winner.cost_per_month if self.today else math.nan

    @cached_property
    def front(self) -> pl.DataFrame:
        """The candidates of the plan that none beats in both latency and cost: see `Plan.front`."""
        return self.plan.front

    @property
    def sentence(self) -> str:
        """The winner, dollars a month, how far it is from the target, and the runner-up's fault."""
        words = self._describe_winner() if self.feasible else self._describe_nearest()
        verdict = self.winner.verdict
        if verdict.word == "cannot tell":
            words += f", {verdict.reason[:1].lower()}{verdict.reason[1:].rstrip('.')}"
        return f"{words}{self._describe_runner_up()}."

    def _describe_winner(self) -> str:
        best, task = self.winner, self.plan.task
        words = f"Take {best.name}: {dollars(best.cost_per_month)} a month, {self._outcome}"
        if task.budget is not None:
            return f"{words}, the fastest within {_price(task.budget)}"
        below = percent(1 - best.latency / self.slo.latency)
        words += f", {below} below the target of {duration(self.slo.latency)}"
        if self.plan.has_headroom:
            return words
        return f"{words} and so without the headroom of {percent(task.options.headroom)}"

    def _describe_nearest(self) -> str:
        """Return what comes next to what nothing keeps to: limits, the budget or the target."""
        best, budget = self.winner, self.plan.task.budget
        if best.verdict.word == "invalid":
            reason = best.verdict.reason.rstrip(".")
            return f"Nothing keeps to the limits of its platform: of {best.name}, {reason}"
        month = f"at {dollars(best.cost_per_month)} a month"
        if budget is not None:
            most = f"exceeds it least ({dollars(self.plan.best.cost_per_million)})"
            return f"Nothing keeps to {_price(budget)}: {best.name} {most} {month}"
        most = f" ({self._outcome})" if best.possible else ""
        return f"Nothing meets {self.slo.label}: {best.name} misses it least{most} {month}"

    @property
    def _outcome(self) -> str:
        return f"{self.slo.percentile} {duration(self.winner.latency)}"

    def _describe_runner_up(self) -> str:
        second = self.runner_up
        if second is None:
            return ""
        cost = f" at {dollars(second.cost_per_month)}" if second.possible else ""
        return f"; the runner-up, {second.label}{cost}, loses: {second.reason}"

    @property
    def cost_sentence(self) -> str:
        """What the winner's month is made of, "" where it costs nothing."""
        items = sorted(self.plan.items, key=lambda item: -item.dollars)
        amounts = ", ".join(f"{item.what} {dollars(item.dollars)}" for item in items)
        return f"A month of it: {amounts}." if total(items) else ""

    @property
    def batching_sentence(self) -> str:
        """What the winner saves by joining requests, and who joins them; "" where it does not."""
        best, limited = self.winner, self.plan.task.budget is None and self.feasible
        if best.policy.max_size == 1 or best.deployment.by_job or not limited:
            return ""
        who = "Requests are joined before the endpoint, by a buffer of yours that no price counts."
        alone = self.plan.without_batches
        if alone is None:
            return f"Without batching nothing meets the target. {who}"
        saved = 1 - divide(best.cost_per_month, alone.cost_per_month)
        words = f"Batching saves {percent(saved) if saved > 0 else 'nothing'}"
        month = f"{alone.configuration.place} at {dollars(alone.cost_per_month)} a month"
        return f"{words}: without it the cheapest is {month}. {who}"

    @property
    def today_sentence(self) -> str:
        """What today's choice comes to beside the winner, "" where none was named."""
        own = self.today
        if own is None:
            return ""
        if own.winner:
            return "Today's choice is the winner."
        words = f"Today's choice, {own.label}, {_VERBS[own.verdict.word]}"
        if own.verdict.word == "invalid":
            return f"{words}: {own.verdict.reason.rstrip('.')}."
        if not own.possible:
            return f"{words}: {own.reason}."
        if not own.cost_per_month:
            return f"{words}; give it a price to compare its cost."
        apart = dollars(abs(self.difference))
        more = f"{apart} a month {'less' if self.difference >= 0 else 'more'}"
        if apart == dollars(0):
            more = "as much"
        return f"{words} at {dollars(own.cost_per_month)} a month; the winner costs {more}."

    def find(self, kind: str, place: str, batching: str) -> Configuration | None:
        """Return what a row or a candidate of the front is called: kind, deployment, policy.

        None where there is no such candidate.
        """
        known = [row.configuration for row in self.rows if row.kind == kind]
        known += [each.configuration for each in self.plan.finalists if each.kind == kind]
        for table in self.plan.fields:
            labels = [each.label for each in table.deployments]
            if table.kind == kind and place in labels:
                rows = (table.place == labels.index(place)).nonzero()[0].tolist()
                known += [table.configuration(row) for row in rows]
        names = place, batching
        return next((each for each in known if (each.place, each.batching_label) == names), None)

    @cached_property
    def frame(self) -> pl.DataFrame:
        """A row a type and today's: texts, US dollars, seconds and shares; verdict in a word."""
        import polars as pl

        return pl.DataFrame(
            [
                {
                    "kind": row.kind,
                    "deployment": row.configuration.place,
                    "policy": row.configuration.batching_label,
                    "cost_per_month": row.cost_per_month,
                    "latency": row.latency,
                    "attainment": row.attainment,
                    "verdict": row.verdict.word,
                    "unseen": row.unseen and row.unseen.label,
                    "front": row.front,
                    "winner": row.winner,
                    "today": row.today,
                    "reason": row.reason,
                }
                for row in self.rows
            ],
            schema_overrides={"unseen": pl.String},
        )

    def __repr__(self) -> str:
        return f"<Decision {self.sentence}>"

    def table(self) -> Table:
        """Return the rows as people read them, with sentence and origin as the caption."""
        columns = ["deployment", "policy", "$ a month", self.slo.percentile, "in time", "verdict"]
        rows = [
            [
                f"{row.configuration.place}{_when(row)}",
                row.configuration.batching_label,
                *_outcome_of(row),
                percent(row.attainment),
                row.verdict.word,
                row.unseen and row.unseen.label,
                row.reason,
            ]
            for row in self.rows
        ]
        caption = " ".join(filter(None, [self.sentence, self.today_sentence, "Simulated."]))
        return Table([*columns, "other days", "reason"], rows, caption)

    def short_table(self) -> Table:
        """Return the rows in fewer columns, for a page that says the sentence itself."""
        rows = [
            [f"{row.name}{_when(row)}", *_outcome_of(row), row.verdict.word, row.reason]
            for row in self.rows
        ]
        columns = ["deployment", "$ a month", self.slo.percentile, "verdict", "reason"]
        return Table(columns, rows, "The best of each type (simulated)")

    def _repr_html_(self) -> str:
        return self.table().html()


def decide(
    source: Model | Measured,
    trace: Trace,
    slo: SLO,
    options: Options | None = None,
    *,
    today: Today | None = None,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Decision:
    """Return the inference type to take, beside the best of each other and what is there today.

    Args:
        source: A model, a profile or service times, as `plan` takes it.
        trace: The traffic.
        slo: The target.
        options: What to choose from; with `unseen_draws=0` a first look that takes a fraction.
        today: What is there already; simulated with the same traffic.
        progress: As for `plan`.
        clock: As for `plan`.

    Raises:
        InvalidInput: As `plan`; or `today` is no deployment, with a policy or without.

    >>> from workbench.service_times import ServiceTimes
    >>> from workbench.traffic.patterns import poisson
    >>> times = ServiceTimes.affine(0.02, 0.004, largest=8)
    >>> traffic = poisson(rate=40, duration=60, seed=1)
    >>> found = decide(times, traffic, SLO(latency=0.3))
    >>> found.winner.kind, found.winner.verdict.word, found.feasible
    ('lambda', 'met', True)
    """
    own = None if today is None else _configuration(today)
    made = plan(source, trace, slo, options, progress=progress, clock=clock)
    return summarize_plan(made, today=own)


def summarize_plan(made: Plan, *, today: Today | None = None) -> Decision:
    """Return the decision that a plan comes to: see `decide`."""
    notes, firsts = made.notes, {each.kind: each for each in reversed(made.finalists)}
    first = made.best
    kinds = list(dict.fromkeys(each.kind for each in made.finalists))
    rows = [_row(made, firsts[kind], winner=firsts[kind] is first) for kind in kinds]
    rows += [_impossible(table) for table in made.fields if table.kind not in firsts]
    if today is not None:
        try:
            own = _configuration(today)
            if own in [row.configuration for row in rows]:
                rows = [replace(row, today=row.configuration == own) for row in rows]
            else:
                rows.append(replace(_row(made, made.weigh(own)), today=True))
        except InvalidInput as error:
            notes += (f"Today's choice is not shown: {error}",)
    return Decision(plan=made, rows=_mark_front(rows), notes=notes)


def _configuration(today: Today) -> Configuration:
    """Return deployment, policy and scaling of what is there today."""
    parts = (today, BatchPolicy()) if isinstance(today, Deployment) else as_tuple("today", today)
    known = 2 <= len(parts) <= 3 and isinstance(parts[0], Deployment)
    if not (known and hasattr(parts[1], "batcher")):
        raise InvalidInput(
            f"today must be a deployment, or a deployment and a policy, got {today!r}: write "
            "today=(wb.RealTime(...), wb.BatchPolicy(...))."
        )
    return Configuration(*parts)


def _row(made: Plan, candidate: Candidate, *, winner: bool = False) -> DecisionRow:
    verdict = judge_share(candidate.attainment, len(made.task.trace), made.slo.quantile)
    return DecisionRow(
        kind=candidate.kind,
        configuration=candidate.configuration,
        cost_per_month=candidate.cost_per_month,
        latency=candidate.latency,
        attainment=candidate.attainment,
        verdict=Verdict("invalid", candidate.broken) if candidate.broken else verdict,
        reason=candidate.reason,
        unseen=candidate.unseen,
        winner=winner,
    )


def _impossible(table: CandidateTable) -> DecisionRow:
    """Return the row of a type of which nothing could be simulated."""
    reason = next((str(note) for note in table.notes if note), "nothing of it can do this work")
    return DecisionRow(
        kind=table.kind,
        configuration=table.configuration(0),
        cost_per_month=math.nan,
        latency=math.inf,
        attainment=0.0,
        verdict=Verdict("missed", reason),
        reason=reason,
    )


def _mark_front(rows: list[DecisionRow]) -> tuple[DecisionRow, ...]:
    points = [(row.cost_per_month, row.latency) for row in rows if row.possible]
    return tuple(
        replace(
            row,
            front=row.possible
            and not any(
                cost <= row.cost_per_month
                and late <= row.latency
                and (cost, late) != (row.cost_per_month, row.latency)
                for cost, late in points
            ),
        )
        for row in rows
    )


def _when(row: DecisionRow) -> str:
    return " (today)" if row.today else ""


def _outcome_of(row: DecisionRow) -> tuple[str | None, str | None]:
    """Return dollars a month and latency in words, None where there is none."""
    if not row.possible:
        return None, None
    return dollars(row.cost_per_month) if row.cost_per_month else "free", duration(row.latency)


def _price(dollars_a_million: float) -> str:
    return f"{dollars(dollars_a_million)} a million"
