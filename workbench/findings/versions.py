"""What the versions of a group show: which is better, what was decided, what a copy keeps."""

import contextlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from workbench.errors import InvalidInput, NotFound
from workbench.findings.conclusion import Conclusion
from workbench.formatting import duration, percent, percentile
from workbench.measuring.outcomes import find_outcomes
from workbench.quantiles import SLO, find_rank, has_enough_samples, longest_within, samples_needed
from workbench.run.verdict import find_flaw
from workbench.selection.evidence import compare_accuracy, gather_evidence

if TYPE_CHECKING:
    from workbench.registry.api import Registry
    from workbench.registry.model import Change, Model
    from workbench.run import Run

_CHANCE = 0.05  # p-value from which on two accuracies cannot be distinguished


def list_versions(registry: "Registry", group: str) -> Conclusion:
    """Say whether versions count from 1, and none of a group answers before it is approved."""
    versions = registry.versions(group)
    numbers = [each.version for each in versions]
    approved = [each.name for each in versions if each.approval == "Approved"]
    text = f"{group!r} has the versions {', '.join(map(str, numbers))}, and "
    text += f"{', '.join(approved)} of them approved" if approved else "none of them is approved"
    given = None
    with contextlib.suppress(NotFound):
        given = registry[group]
    served = f"registry[{group!r}] is {given.name}" if given else "it gives no model yet"
    first = numbers == list(range(1, len(numbers) + 1))
    return Conclusion(f"{text}: {served}.", holds=first and not approved and given is None)


def compare_versions(old: "Model", new: "Model") -> Conclusion:
    """Say whether a version is right more often than another, by more than chance would make it.

    By McNemar's test on the rows of their pool that only one of the two answers right.

    Raises:
        InvalidInput: It is not known which rows are right, or they do not have one pool.
    """
    one, other = (gather_evidence(each, {}, find_outcomes(each)) for each in (old, new))
    chance = compare_accuracy(one, other)
    if math.isnan(chance) or one.outcomes is None or other.outcomes is None:
        raise InvalidInput(
            f"{old.name} and {new.name} were not asked the same rows with known answers: register "
            "both with the same samples."
        )
    before, after = one.outcomes.correct, other.outcomes.correct
    text = (
        f"Of {len(before)} held-out rows {new.name} is right on {int((after > before).sum())} that "
        f"{old.name} misses, and misses {int((before > after).sum())} that it has: "
        f"{percent(other.accuracy)} beside {percent(one.accuracy)}"
    )
    if chance >= _CHANCE:
        return Conclusion(f"{text}, which may be chance (p = {chance:.2g}).", holds=None)
    return Conclusion(f"{text} (p = {chance:.2g}).", holds=other.accuracy > one.accuracy)


def judge_canary(run: "Run", new: str, *, q: float = 0.5) -> Conclusion:
    """Say whether the new one of two models that share the requests misses the run's target.

    `q` is the quantile of latency that is said of each.

    Raises:
        InvalidInput: The run has no target, or not two models, `new` one of them.
    """
    places = run.record.places
    if run.slo is None or len(places) != 2 or new not in places:
        raise InvalidInput(f"That takes a run with a target, of {new!r} and another; got {places}.")
    parts = {name: run.frame.filter(place=number) for number, name in enumerate(places)}
    for name, rows in parts.items():
        if not has_enough_samples(q, rows.height):
            few = f"{name} got {rows.height} requests; {percentile(q)} takes {samples_needed(q)}."
            return Conclusion(few, None)
    late = {name: _late_share(rows, run.slo) for name, rows in parts.items()}
    said = {name: f"{percent(late[name])} late, {_describe(parts[name], q)}" for name in places}
    (old,) = set(places) - {new}
    share, allowed = parts[new].height / len(run), 1 - run.slo.quantile
    text = (
        f"{new} got {percent(share)} of the requests: {said[new]}; {old} the rest: {said[old]}. "
        f"Late is beyond {duration(run.slo.latency)}, which {percent(allowed)} may be"
    )
    if flaw := find_flaw(run):
        return Conclusion(f"{text}; {flaw}.", None)
    return Conclusion(f"{text}.", holds=late[new] > allowed)


def _late_share(rows: pl.DataFrame, slo: SLO) -> float:
    within = rows["latency"].fill_nan(math.inf).to_numpy() <= longest_within(slo.latency)
    return float(1 - within.mean())


def _describe(rows: pl.DataFrame, q: float) -> str:
    latencies = rows["latency"].fill_nan(math.inf).sort()
    right = float(rows["correct"].drop_nans().to_numpy().mean())
    value = duration(latencies[find_rank(q, len(latencies)) - 1])
    return f"{percentile(q)} {value}, {percent(right)} right"


def follow_decisions(registry: "Registry", group: str) -> Conclusion:
    """Say what a group gave after each decision, and whether each decision has a reason."""
    decided = _decisions(registry, group)
    approved: set[int] = set()
    given: list[str] = ["none"]
    for version, change in decided:
        (approved.add if change.value == "Approved" else approved.discard)(version)
        now = f"version {max(approved)}" if approved else "none"
        given += [now] if now != given[-1] else []
    bare = [f"{group}:{version}" for version, change in decided if not change.why]
    text = f"registry[{group!r}] gave in turn: {', '.join(given)}; "
    text += f"{len(decided)} decisions are kept, each with who, when and why"
    if bare:
        text = text.removesuffix(", each with who, when and why")
        return Conclusion(f"{text}, and of {', '.join(bare)} nobody said why.", holds=False)
    return Conclusion(f"{text}.", holds=bool(decided))


def _decisions(registry: "Registry", group: str) -> "list[tuple[int, Change]]":
    """Return each approval and rejection of a group's versions, in order of time."""
    decided = [
        (each.version, change)
        for each in registry.versions(group)
        for change in registry.history(group, each.version)
        if change.field == "approval" and change.value in ("Approved", "Rejected")
    ]
    return sorted(decided, key=lambda pair: pair[1].at)


def check_copies(here: "Registry", there: "Registry", groups: Sequence[str]) -> Conclusion:
    """Say whether another registry has the same versions: files, traits, approval and reason."""
    models = [model for group in groups for model in here.versions(group)]
    others = [model.name for model in models if not _is_same(here, there, model)]
    text = f"{len(models)} versions came back under the numbers that they had"
    if others:
        return Conclusion(f"{text}, and {', '.join(others)} are not what they were.", holds=False)
    return Conclusion(f"{text}, with the same files, traits, approvals and reasons.")


def _is_same(here: "Registry", there: "Registry", model: "Model") -> bool:
    copy = there.version(model.group, model.version)
    facts = [
        (each.sha256, each.samples_sha256, each.traits, each.approval) for each in (model, copy)
    ]
    mine, its = (
        [each for each in registry.history(model.group, model.version) if each.field == "approval"]
        for registry in (here, there)
    )
    return facts[0] == facts[1] and mine[-1].why in its[-1].why  # to which a cloud adds by whom
