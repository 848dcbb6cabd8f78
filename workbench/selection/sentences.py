"""Why a candidate is first, why not, and what would change it: one plain sentence each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workbench.formatting import duration
from workbench.selection.sensitivity import find_price

if TYPE_CHECKING:
    from workbench.selection.question import Question
    from workbench.selection.standings import Ranking, RatedCandidate, Standings

STATES = ("first", "passes", "screened out", "unknown", "dropped")


def find_state(row: RatedCandidate, *, first: bool) -> str:
    """Return in a word or two what became of a candidate."""
    if first:
        return "first"
    if row.misses:
        return "unknown" if all(miss.unknown for miss in row.misses) else "dropped"
    return "screened out" if row.found is None else "passes"


def explain(standings: Standings, decision: Ranking, row: int) -> str:
    """Return the sentence of a candidate."""
    one = standings.rows[row]
    match find_state(one, first=row == decision.first):
        case "first":
            return _explain_first(standings, decision)
        case "passes":
            return _explain_behind(standings, decision, row)
        case "screened out":
            return _explain_screened(standings, decision, row)
        case "unknown":
            return f"{one.label} cannot be first yet: {_list_misses(one)}."
    return f"{one.label} is dropped: {_list_misses(one)}."


def _list_misses(row: RatedCandidate) -> str:
    return "; ".join(
        f"{miss.reason} ({miss.remedy})" if miss.remedy else miss.reason for miss in row.misses
    )


def describe_figures(row: RatedCandidate, question: Question) -> str:
    """Return accuracy with its interval, latency and cost in words."""
    quantile = question.slo.percentile
    return (
        f"{describe_accuracy(row)}, {quantile} {duration(row.latency)}, ${row.cost:.3g} per million"
    )


def describe_accuracy(row: RatedCandidate) -> str:
    """Return the accuracy with its interval, in percent, or another metric as a figure."""
    evidence = row.evidence
    if evidence is None or math.isnan(row.accuracy):
        return "accuracy not known"
    if evidence.metric != "accuracy":
        return f"{evidence.metric} {row.accuracy:.3f}"
    low, high = evidence.interval
    interval = "" if math.isnan(low) else f" ({100 * low:.1f} to {100 * high:.1f} %)"
    return f"{100 * row.accuracy:.1f} % right{interval}"


def _explain_first(standings: Standings, decision: Ranking) -> str:
    question, first, leader = standings.question, decision.first, decision.leader
    assert first is not None  # noqa: S101 - who asks has seen to it
    assert leader is not None  # noqa: S101
    row = standings.rows[first]
    words = f"{row.label} is first: {describe_figures(row, question)}"
    if question.target is not None:
        return (
            f"{words}; the cheapest whose accuracy is at least {question.target:g} with "
            f"{100 * question.confidence:g} % confidence (its own is at least {row.bound:.4g})."
        )
    score = f"score {decision.scores[first]:.3f} (weights: {question.describe_weights()})"
    price = find_price(standings, first)
    known = price is not None and math.isfinite(price)
    stays = f". It stays first up to ${price:.3g} per million" if known else ""
    if leader != first:
        ahead = standings.rows[leader]
        return (
            f"{words}; {score}. {ahead.name} scores {decision.scores[leader]:.3f}, but their "
            f"accuracies cannot be distinguished on {_count_rows(row):,} rows (McNemar's test, "
            f"p {decision.p:.2g}), and this one costs less{stays}."
        )
    second = _find_second(standings, decision)
    if second is None:
        return f"{words}; {score}; nothing else passes."
    gap = decision.scores[first] - decision.scores[second]
    return f"{words}; {score}: {gap:.3f} more than {standings.rows[second].name}{stays}."


def _count_rows(row: RatedCandidate) -> int:
    known = row.evidence is not None and row.evidence.outcomes is not None
    return len(row.evidence.outcomes) if known else 0  # type: ignore[union-attr,arg-type]


def _find_second(standings: Standings, decision: Ranking) -> int | None:
    rows = [
        row
        for row in range(len(standings.rows))
        if standings.passes[row] and row != decision.first and decision.scores[row] > -math.inf
    ]
    return max(rows, key=lambda row: decision.scores[row], default=None)


def _explain_behind(standings: Standings, decision: Ranking, row: int) -> str:
    one, first = standings.rows[row], decision.first
    assert first is not None  # noqa: S101 - something passes
    winner = standings.rows[first]
    words = f"{one.label} passes; against {winner.name} it has {_compare(standings, row, first)}"
    if standings.question.target is None:
        mine, its = float(decision.scores[row]), float(decision.scores[first])
        words += f"; score {mine:.3f} against {its:.3f}"
    price = find_price(standings, row)
    if price is None:
        return f"{words}; no price would make it first."
    return f"{words}; it would be first at ${price:.3g} per million."


def _compare(standings: Standings, row: int, first: int) -> str:
    one, winner = standings.rows[row], standings.rows[first]
    parts = []
    points = 100 * (one.accuracy - winner.accuracy)
    if math.isfinite(points) and abs(points) >= 0.05:
        parts.append(f"{abs(points):.1f} points {'more' if points > 0 else 'less'} accuracy")
        parts[0] += " (which may be chance)" if standings.may_be_chance(row, first) else ""
    for name, mine, its in (
        ("latency", one.latency, winner.latency),
        ("cost", one.cost, winner.cost),
    ):
        if its > 0 and abs(mine / its - 1) >= 0.005:
            parts.append(f"{mine / its:.3g} times the {name}")
    return ", ".join(parts) or "the same accuracy, latency and cost"


def _explain_screened(standings: Standings, decision: Ranking, row: int) -> str:
    one, first = standings.rows[row], decision.first
    cost = f"${one.least_cost:.3g} per million"
    if first is None or standings.question.target is not None:
        return f"{one.label} was not searched: it costs at least {cost}, more than the winner."
    best = standings.score_limits()[row]
    return (
        f"{one.label} was not searched: were it as fast as its shortest batch "
        f"({duration(one.least_latency)}) and cost {cost}, which no settings undercut, its "
        f"score would be {best:.3f} against {decision.scores[first]:.3f}."
    )


def explain_nothing(standings: Standings, nearest: list[int]) -> str:
    """Return why nothing passes, with the nearest misses."""
    rows = [standings.rows[row] for row in nearest]
    parts = [f"{one.label}, {_list_misses(one)}" for one in rows]
    return f"Nothing passes. The nearest: {'. '.join(parts)}."
