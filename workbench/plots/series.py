"""Which results a chart shows, and under which names."""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import chain, count
from typing import TypeVar

from workbench.errors import InvalidInput
from workbench.quantiles import SLO
from workbench.queueing.predictions import Prediction
from workbench.run import Run
from workbench.validation import as_tuple, of_kind

Runs = Run | Iterable[Run] | Mapping[str, Run]
Result = Run | Prediction
Results = Result | Iterable[Result] | Mapping[str, Result]
AnyResult = TypeVar("AnyResult", Run, Result)
Labels = Sequence[Sequence[str]]


def name_results(
    runs: AnyResult | Iterable[AnyResult] | Mapping[str, AnyResult],
) -> dict[str, AnyResult]:
    """Return results by names that tell them apart: what their labels and origins do not share.

    Where that is nothing, it is the last of what a label lists, mostly the policy. Whoever passes
    a dictionary has named them.

    Raises:
        InvalidInput: There is no run, or one without requests.

    >>> def run(label):
    ...     return Run.from_arrays(scheduled=[0], finished=[1], facts={"label": label})
    >>> list(name_results([run("mlp:1, local, no batching"), run("mlp:1, local, up to 8, 25 ms")]))
    ['no batching', 'up to 8, 25 ms']
    """
    given = runs.values() if isinstance(runs, Mapping) else runs
    listed = [given] if isinstance(given, Run | Prediction) else list(as_tuple("runs", given))
    if not listed:
        raise InvalidInput("There is no run to show: pass at least one.")
    for run in listed:
        of_kind("Each of runs", run, Run | Prediction, "a Run or a Prediction")
        if isinstance(run, Run) and len(run) == 0:
            raise InvalidInput(f"The run {run.label!r} has no requests: there is nothing to show.")
    if isinstance(runs, Mapping):
        return {str(of_kind("The name of a run", name, str)): runs[name] for name in runs}
    names: dict[str, AnyResult] = {}
    labels, _ = _split(listed)
    for run, label in zip(listed, labels, strict=True):
        names[make_unique(label, names)] = run
    return names


def caption(runs: Mapping[str, Result]) -> str:
    """Return what the runs' labels share, and their origins."""
    _, shared = _split(list(runs.values()))
    origins = ", ".join(dict.fromkeys(run.origin for run in runs.values()))
    return ". ".join(filter(None, (shared, origins[:1].upper() + origins[1:]))) + "."


def common_slo(runs: Mapping[str, Result]) -> SLO | None:
    """Return the target of the runs, None when they have none or not the same."""
    targets = {run.slo for run in runs.values()}
    return targets.pop() if len(targets) == 1 else None


def _split(runs: Sequence[Result]) -> tuple[list[str], str]:
    """Return a short name of each run, and what their labels share."""
    parts = _parts(runs)
    if any(each != parts[0] for each in parts):
        return split_labels(parts)
    return [parts[0][-1]] * len(runs), ", ".join(parts[0][:-1])


def _parts(runs: Sequence[Result]) -> Labels:
    """Return what each label lists, and where origins differ, the origin or its first word.

    A comma before a figure ("up to 8, 25 ms") separates nothing.
    """
    labels = [re.split(r", (?=\D)", run.label) for run in runs]
    origins = [run.origin for run in runs]
    if len(set(origins)) == 1:
        return labels
    kinds = [origin.partition(":")[0] for origin in origins]
    words = kinds if len(set(kinds)) == len(set(origins)) else origins
    return [
        label if label[-1] == origin else [*label, kind]
        for label, origin, kind in zip(labels, origins, words, strict=True)
    ]


def split_labels(labels: Labels) -> tuple[list[str], str]:
    """Return what is each label's own, and what all have in common at both ends.

    >>> split_labels([["mlp", "local", "no batching"], ["mlp", "lambda", "no batching"]])
    (['local', 'lambda'], 'mlp, no batching')
    """
    head = _count_shared(labels)
    tail = _count_shared([label[head:][::-1] for label in labels])
    own = [", ".join(label[head : len(label) - tail]) for label in labels]
    if len(labels) == 1 or not all(own):
        return [", ".join(label) for label in labels], ""
    return own, ", ".join([*labels[0][:head], *labels[0][len(labels[0]) - tail :]])


def _count_shared(labels: Labels) -> int:
    """Return how many parts all labels begin with."""
    alike = [len(set(parts)) == 1 for parts in zip(*labels, strict=False)]
    return alike.index(False) if False in alike else len(alike)


def make_unique(name: str, taken: Container[str]) -> str:
    """Return the name, numbered when it is taken already."""
    numbered = (f"{name} #{number}" for number in count(2))
    return next(candidate for candidate in chain([name], numbered) if candidate not in taken)
