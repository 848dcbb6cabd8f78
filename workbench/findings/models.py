"""What becomes of a model of one's own: imported, served, placed, and known in several ways."""

from typing import TYPE_CHECKING

from workbench.comparison.prediction_errors import is_measured
from workbench.errors import InvalidInput
from workbench.findings.conclusion import Conclusion
from workbench.formatting import duration, percent, percentile, span
from workbench.measuring.outcomes import Accuracy
from workbench.quantiles import has_enough_samples, samples_needed
from workbench.run.verdict import find_flaw

if TYPE_CHECKING:
    from workbench.cloud.doctor import Diagnosis
    from workbench.comparison import Comparison
    from workbench.planner.decisions import Decision
    from workbench.registry.model import Model


def check_import(model: "Model") -> Conclusion:
    """Say whether a model's file answers as its estimator does, and how often it is right."""
    agreement, accuracy = model.traits.agreement, model.traits.accuracy
    if agreement is None or agreement.share is None:
        return Conclusion(f"{model.name} came as a file: nothing tells what it was made of.", None)
    text = f"{percent(agreement.share)} of {agreement.rows:,} rows get the same answer from "
    text += f"{model.name} as from its estimator"
    if accuracy is not None and model.traits.metric == "accuracy":
        rows = len(model.samples().inputs)
        found = Accuracy.of(accuracy * rows, rows)
        text += f"; of {rows:,} held-out rows {found} are answered rightly, at 95 % confidence"
    return Conclusion(f"{text}.", holds=agreement.share == 1)


def check_service(diagnosis: "Diagnosis") -> Conclusion:
    """Say whether a model keeps the contract with containers, and how many rows a request takes."""
    wrong = [check for check in diagnosis.checks if not check.ok]
    text = f"{len(diagnosis.checks) - len(wrong)} of {len(diagnosis.checks)} checks are well"
    text += "".join(f"; {check.name}: {check.finding}" for check in wrong)
    if diagnosis.fits:
        least = min(diagnosis.fits, key=lambda fit: fit.rows)
        most = max(diagnosis.fits, key=lambda fit: fit.rows)
        text += f"; a request takes up to {least.rows:,} rows as {least.kind}, the fewest, and up "
        text += f"to {most.rows:,} as {most.kind}"
    return Conclusion(f"{text}.", holds=not wrong)


def choose_type(decision: "Decision") -> Conclusion:
    """Say which inference type is the cheapest that keeps the target, and what the next lacks."""
    return Conclusion(decision.sentence, holds=decision.feasible)


def compare_origins(comparison: "Comparison", q: float = 0.95) -> Conclusion:
    """Say whether what was known beforehand lies in the interval of what was measured.

    Raises:
        InvalidInput: There is not one measured run, or nothing beside it.
    """
    measured = [run for run in comparison.runs.values() if is_measured(run)]
    others = {name: each for name, each in comparison.results.items() if each not in measured}
    if len(measured) != 1 or not others:
        raise InvalidInput(
            f"One measured run is compared with what was known before, got {len(measured)} and "
            f"{len(others)}."
        )
    count = min(len(run) for run in comparison.runs.values())
    if not has_enough_samples(q, count):
        return Conclusion(
            f"{percentile(q)} takes {samples_needed(q)} requests, here are {count}.", None
        )
    found = {name: float(each.quantile(q)) for name, each in others.items()}
    said = ", ".join(f"{duration(value)} {name}" for name, value in found.items())
    text = f"{percentile(q)} is {said} and {duration(measured[0].quantile(q))} measured"
    if flaw := find_flaw(measured[0]):
        return Conclusion(f"{text}; {flaw}.", None)
    if measured[0].count_missing(q):
        return Conclusion(f"{text}. {measured[0].explain_missing(q)}", None)
    low, high = measured[0].interval(q)
    outside = [name for name, value in found.items() if not low <= value <= high]
    text += f", which is {span(low, high)} at 95 % confidence"
    if outside:
        return Conclusion(f"{text}: {' and '.join(outside)} not.", holds=False)
    return Conclusion(f"{text}: all of these lie in that.")
