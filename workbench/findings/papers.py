"""What published evaluations show, computed again, and what a choice of models does."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.findings.conclusion import Conclusion
from workbench.formatting import dollars, duration, percent
from workbench.papers.mulambda import list_slower

if TYPE_CHECKING:
    import polars as pl

    from workbench.ensembles import Ensemble
    from workbench.selection import Selection

Floats: TypeAlias = NDArray[np.float64]


def compare_errors(errors: "pl.DataFrame") -> Conclusion:
    """Say whether BATCH's formulas err most where a batch is short, and the exact model never so.

    Args:
        errors: From `papers.batch.model_errors`: service, released and exact, as shares.
    """
    slow, fast = (errors.filter(service=each)["released"].to_numpy() for each in ("slow", "fast"))
    exact = float(errors["exact"].to_numpy().max())
    text = (
        f"The exact model misses the simulation, itself not free of chance, by {percent(exact)} at "
        "most; BATCH's formulas by "
        f"{_spread(slow)} where a batch takes seconds, and by {_spread(fast)} where it takes a "
        "fraction of one"
    )
    return Conclusion(f"{text}.", holds=bool(max(exact, np.median(slow)) < np.median(fast)))


def _spread(errors: Floats) -> str:
    """Return the median of errors and their largest."""
    return f"a median of {percent(float(np.median(errors)))}, at most {percent(errors.max())}"


def compare_choices(choices: Mapping[str, "pl.DataFrame"]) -> Conclusion:
    """Say whether BATCH's choice misses the target, or costs more than the exact model's.

    Args:
        choices: From `papers.batch.optima`, by what they were made for.
    """
    said, worse = [], []
    for name, table in choices.items():
        exact, batch = (
            table.filter(chosen_by=each).row(0, named=True) for each in ("exact model", "BATCH")
        )
        more = batch["cost"] / exact["cost"] - 1
        prices = f"{dollars(batch['cost'])} a million for {dollars(exact['cost'])}"
        missed = f"misses the target with {duration(batch['latency'])}"
        kept = "keeps the target" if batch["met"] else missed
        said.append(f"{name}: it {kept}, and costs {prices}")
        worse.append(not batch["met"] or more > 0)
    count = f"In {sum(worse)} of {len(worse)} cases BATCH's choice is worse than the exact model's"
    return Conclusion(f"{count}. {'; '.join(said)}.", holds=all(worse))


def count_spoiled(shares: "pl.DataFrame") -> Conclusion:
    """Say which models are right less often in larger batches, and that others are not.

    Args:
        shares: Of rows predicted right: model, then a column for each number of rows in a batch.
    """
    model, alone, *_, together = shares.columns
    spoiled: list[str] = []
    kept: list[str] = []
    for row in shares.iter_rows(named=True):
        change = f"{row[model]} is right on {percent(row[alone])} of the rows {alone}, on "
        change += f"{percent(row[together])} {together}"
        (spoiled if row[together] < row[alone] else kept).append(change)
    if not spoiled:
        return Conclusion(f"Batches spoil no answer: {'; '.join(kept)}.", holds=False)
    rest = f" Not so the others: {'; '.join(kept)}." if kept else ""
    return Conclusion(f"Batches spoil answers: {'; '.join(spoiled)}.{rest}", holds=bool(kept))


def compare_selectors(cells: "pl.DataFrame") -> Conclusion:
    """Say whether a router that sees load and kind is faster than the weighted choice throughout.

    The cells are those of `papers.mulambda.tabulate`.
    """
    count = cells["use_case"].n_unique()
    published = list_slower(cells, "published", "lots_published")
    rebuilt = list_slower(cells, "rebuilt", "lots")
    share, gain = cells["share"].to_numpy(), float(cells["gain"].to_numpy().mean())
    better = bool((cells["p95"] < cells["p95_weighted"]).all())
    text = (
        f"In {len(published)} of {count} use cases the published choice is slower than drawing "
        f"lots in every placement ({', '.join(published) or 'none'}), rebuilt in {len(rebuilt)} "
        f"({', '.join(rebuilt) or 'none'}). With load and kind seen, the mean time is "
        f"{percent(share.min())} to {percent(share.max())} of that of the rebuilt choice, p95 "
        f"{'lower' if better else 'not lower'} "
        f"in every cell, and accuracy {100 * gain:+.1f} points on average"
    )
    return Conclusion(f"{text}.", holds=better and bool(share.max() < 1) and gain > 0)


def compare_strategies(summary: "pl.DataFrame", alone: str = "ResNet") -> Conclusion:
    """Say whether switching, and sets of models more so, beat the best model alone.

    Args:
        summary: From `model_tables.summarize`: strategy and effective, the share right in time.
        alone: How the names of single models begin.
    """
    shares = dict(summary.select("strategy", "effective").rows())
    best = max((name for name in shares if name.startswith(alone)), key=shares.__getitem__)
    text = f"Alone, {best} is best: {percent(shares[best])} are right and in time"
    for name in ("switching", "sets"):
        text += f"; {name} {100 * (shares[name] - shares[best]):+.1f} points"
    return Conclusion(f"{text}.", shares["sets"] > shares["switching"] > shares[best])


def compare_learners(learned: Mapping[str, float], worth: Mapping[str, float]) -> Conclusion:
    """Say whether a router that is advised learns more than one that does not see the kind.

    Args:
        learned: The share right of each router, the first that does not see the kind, the last
            that is advised.
        worth: From `model_tables.value_context`.
    """
    blind, *_, advised = learned.values()
    said = ", ".join(f"{name} {percent(share)}" for name, share in learned.items())
    text = (
        f"The best single model is right on {percent(worth['best single'])}, the best by class, "
        f"chosen and counted on the same images, on {percent(worth['best by class'])}; at last "
        f"were right: {said}"
    )
    return Conclusion(f"{text}.", holds=advised > max(blind, worth["best single"]))


def find_most_effective(measured: "pl.DataFrame", requests: int) -> Conclusion:
    """Say which run has the highest share right and in time, if that is not chance.

    Two shares differ where they lie more than two standard errors of their difference apart, as of
    independent requests.

    Args:
        measured: A row for each run: run, effective and "in time", as shares.
        requests: Of each run.
    """
    best, *others = measured.sort("effective", descending=True).iter_rows(named=True)
    text = (
        f'"{best["run"]}" has the highest share right and in time, {percent(best["effective"])} of '
        f"{requests:,} requests"
    )
    if not others:
        return Conclusion(f"{text}.", holds=None)
    first, second = best["effective"], others[0]["effective"]
    error = math.sqrt((first * (1 - first) + second * (1 - second)) / requests)
    text += f'; the next, "{others[0]["run"]}", {percent(second)}'
    if first - second > 2 * error:
        return Conclusion(f"{text}.")
    return Conclusion(f"{text}: that may be chance.", holds=None)


def compare_weights(found: "Selection") -> Conclusion:
    """Say whether another model is first by accuracy alone than by cost alone."""
    firsts = {name: found.winner({name: 1}) for name in ("accuracy", "latency", "cost")}
    said = [
        f"by {name} alone {row.name}, {percent(row.accuracy)} right, {dollars(row.cost)} a million"
        for name, row in firsts.items()
        if row
    ]
    if len(said) < len(firsts):
        return Conclusion(found.sentence, holds=None)
    flips = [flip.sentence for flip in found.flips if flip.quantity.startswith("weight of cost")]
    text = f"First is {'; '.join(said)}. {' '.join(flips) or 'No weight of cost changes that.'}"
    apart = firsts["accuracy"].model is not firsts["cost"].model  # type: ignore[union-attr]
    return Conclusion(text, holds=apart)


def value_cascade(found: "Selection", cascade: "Ensemble", passed: float) -> Conclusion:
    """Say whether a cascade costs more than the most accurate model alone.

    Args:
        found: What was selected among both.
        cascade: One of the candidates.
        passed: The share of requests of which a row is unsure, so that both models are asked.
    """
    best = found.winner({"accuracy": 1})
    own = next((row for row in found.rows if row.model is cascade), None)
    if best is None or own is None:
        return Conclusion(found.sentence, holds=None)
    text = (
        f"{percent(passed)} of the requests are asked twice; the cascade costs "
        f"{dollars(own.cost)} a million, {best.name} {dollars(best.cost)}"
    )
    return Conclusion(f"{text}.", holds=own.cost > best.cost)
