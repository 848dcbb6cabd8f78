"""What a source must be to become a version: checked, tried on its samples, measured."""

import contextlib
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput, InvalidModel, InvocationError
from workbench.modelserver.casts import CastError, cast
from workbench.modelserver.inputs import join_columns
from workbench.registry.adaptation import Adaptation, Adapted
from workbench.registry.adaptation_proof import prove
from workbench.registry.agreement import Agreement
from workbench.registry.agreement_probe import compare_with_file
from workbench.registry.answers import Answer, choose_answer
from workbench.registry.conversion import find_columns, from_estimator, name_columns_of
from workbench.registry.estimator_inputs import Estimator, list_initial_types
from workbench.registry.invariance import BatchInvariance
from workbench.registry.invariance_probe import compare_answers, has_trees, probe
from workbench.registry.labels import Label, correct
from workbench.registry.model import Kind, Samples, Traits
from workbench.registry.onnx import OTHER_MEANS, CheckedModel, Session, Tensor, check_model
from workbench.registry.rows import as_rows, find_missing
from workbench.validation import choose, finite, generator_from, of_kind

_METRICS = {"classification": "accuracy", "regression": "r2"}
_POOL_BYTES = 2**24  # of sample rows, where none are given
_BATCH_SIZES = (1, 8, 32)  # by which a figure is measured where answers change
_LARGE_FILE = 2**24  # bytes
_OPTIMISED_ROWS = 50  # that both files are asked
_OPTIMISED_APART = 0.05  # of the largest number in a row: 8-bit weights are off by less
_AS_IT_IS = Adaptation()
_ALIKE = (1.0, 0.0)  # as many labels alike, and scores no apart


@dataclass(frozen=True, kw_only=True)
class ModelContent:
    """What is to be stored of a version: the ONNX file, the pool of samples, the traits."""

    content: bytes
    pool: bytes
    traits: Traits
    notes: tuple[str, ...] = ()


def import_model(
    source: Any,  # noqa: ANN401 - a path, the bytes of an ONNX file, or any estimator
    *,
    estimator: Estimator = None,
    samples: Any,  # noqa: ANN401 - a `Samples`, a frame, an array, None
    task: str,
    kind: Kind | None,
    data: str,
    accuracy: float | None,
    framework: str,
    answer: Answer | None = None,
    adaptation: Adaptation = _AS_IT_IS,
    seed: int,
) -> ModelContent:
    """Run a source on its samples and return it; the arguments are those of `Registry.register`.

    Raises:
        NotFound: There is no such file.
        InvalidModel: The source is not a model the workbench can run.
        InvalidInput: The samples do not fit together, or are needed and missing.
    """
    _check_arguments(
        kind, {"task": task, "data": data, "framework": framework}, answer, adaptation.output
    )
    if accuracy is not None:
        accuracy = finite("accuracy", accuracy)
    given = samples
    if not isinstance(given, Samples | None):
        given = Samples(as_rows(None, given))
    converts = not isinstance(source, str | Path | bytes)
    estimator = source if converts else estimator
    columns = name_columns_of(estimator, None if given is None else given.inputs)
    if estimator is not None:
        from workbench.registry import boosters  # brings scikit-learn

        estimator = boosters.as_estimator(estimator)
        kind = kind or _kind_of(estimator)
        rows = find_columns(estimator, None if given is None else given.inputs)
        given = None if given is None or rows is None else replace(given, inputs=rows)
        framework = framework or (boosters.name_framework(estimator) if converts else "")
    ask = _Question(estimator, given, kind, answer, adaptation, data, seed)
    tried = _convert_and_try(ask) if converts else _compare(_try_file(source, ask), ask)
    figure = accuracy if tried.measured is None else tried.measured
    taken = tried.checked.signature.input
    traits = Traits(
        task=task,
        kind=tried.kind,
        input_schema=replace(taken, columns=columns) if taken.shape == (len(columns),) else taken,
        output_schema=tried.checked.signature.outputs,
        accuracy=figure,
        metric="" if figure is None else _METRICS.get(tried.kind, ""),
        accuracy_data="" if figure is None else data if tried.measured is None else tried.origin,
        samples=tried.origin,
        framework=framework or tried.checked.producer or "unknown",
        opset=tried.checked.opset,
        size_bytes=len(tried.checked.content),
        batch_invariance=tried.invariance,
        agreement=tried.agreement,
        classes=tried.classes,
        one_row=tried.one_row,
    )
    return ModelContent(
        content=tried.checked.content,
        pool=_npz(tried.pool),
        traits=traits,
        notes=tried.notes,
    )


def _check_arguments(
    kind: Kind | None, texts: Mapping[str, str], answer: Answer | None, output: str | None
) -> None:
    if answer is not None and output is not None:
        raise InvalidInput(
            f"answer={answer!r} and output={output!r} both say what answers: give one of them."
        )
    if kind is not None:
        choose("kind", kind, get_args(Kind))
    for name, text in texts.items():
        of_kind(name, text, str)


@dataclass(frozen=True)
class _Question:
    """What is asked of a file: to answer as the estimator does, on these samples."""

    estimator: Estimator
    given: Samples | None
    kind: Kind | None
    answer: Answer | None
    adaptation: Adaptation
    data: str
    seed: int

    @property
    def rows(self) -> NDArray[Any] | None:
        """The samples' rows, as their user has them."""
        return None if self.given is None else self.given.inputs


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """A file that passed, and what was found out about it."""

    checked: CheckedModel
    kind: Kind
    classes: tuple[Label, ...] | None
    pool: Samples
    origin: str
    invariance: BatchInvariance
    measured: float | None
    one_row: bool
    notes: tuple[str, ...]
    agreement: Agreement | None = None

    @property
    def likeness(self) -> tuple[float, float]:
        """How like the estimator it answers: share of rows, and minus how far scores are off."""
        if self.agreement is None:
            return _ALIKE
        share, apart = self.agreement.share, self.agreement.scores_apart
        return 1.0 if share is None else share, -apart if self.kind == "classification" else 0.0


def _convert_and_try(ask: _Question) -> _Tried:
    """Convert an estimator with types of inputs that make its file answer as it does.

    Where none do, the `InvalidModel` is that of the last file of those that came furthest.
    """
    found: list[_Tried] = []
    wrong: dict[int, InvalidModel] = {}
    for types in list_initial_types(ask.rows):
        steps = 0
        try:
            content = from_estimator(ask.estimator, ask.rows, types=types)
            steps = 1
            with _explain_conversion(ask.estimator):
                tried = _try_file(content, ask)
            steps = 2
            found.append(_compare(tried, ask))
        except InvalidModel as error:
            wrong[steps] = error
        if found and found[-1].likeness == _ALIKE:
            break
    if not found:
        raise wrong[max(wrong)]
    return max(found, key=lambda each: each.likeness)


def _try_file(source: str | Path | bytes, ask: _Question) -> _Tried:
    """Check a file, and run it on its samples."""
    checked = check_model(source, ask.adaptation.apply)
    adapted = checked.adapted or Adapted(content=checked.content)
    pool, origin = _pool(ask.given, checked.signature.input, ask.data, ask.seed)
    cost = prove(adapted, pool.inputs)
    checked, kind, classes = choose_answer(checked, ask.answer, ask.kind, ask.estimator, pool)
    invariance, measured = _try(checked, pool, kind, classes)
    fused = _describe_optimising(checked.content, pool.inputs) if invariance.deterministic else ""
    return _Tried(
        checked=checked,
        kind=kind,
        classes=classes,
        pool=pool,
        origin=origin,
        invariance=invariance,
        measured=measured,
        one_row=adapted.one_row,
        notes=tuple(filter(None, (*adapted.notes, cost, fused))),
    )


def _compare(tried: _Tried, ask: _Question) -> _Tried:
    """Compare a file with the estimator, if there is one."""
    if ask.estimator is None:
        return tried
    content = tried.checked.content
    large = len(content) > _LARGE_FILE
    found = compare_with_file(ask.estimator, Session(content), ask.rows, large=large)
    compared = replace(tried, agreement=found)
    if not compared.likeness[1]:
        return compared
    note = (
        f"The file's probabilities are up to {found.scores_apart:.2g} apart from those of the "
        f"{type(ask.estimator).__name__}; {100 * compared.likeness[0]:.3g} % of {found.rows} rows "
        "are answered alike."
    )
    return replace(compared, notes=(*tried.notes, note))


@contextlib.contextmanager
def _explain_conversion(estimator: Estimator) -> Iterator[None]:
    """Say of what is wrong with a file that it was made here, not by the user."""
    try:
        yield
    except InvalidModel as error:
        from workbench.registry import boosters

        kind = type(estimator).__name__
        raise InvalidModel(
            f"What {boosters.name_converter(estimator)} makes of this {kind} is no model: {error} "
            f"{OTHER_MEANS}"
        ) from error


def _kind_of(estimator: Estimator) -> Kind:
    if not hasattr(estimator, "predict"):
        only = hasattr(estimator, "fit_predict")
        raise InvalidModel(
            f"{type(estimator).__name__} cannot become a model"
            f"{', as it has labels only for the rows that it was fitted on' * only}: give the path "
            "or the bytes of an ONNX file, or a fitted scikit-learn estimator that predicts."
        )
    from sklearn.base import is_classifier, is_regressor

    try:
        if is_classifier(estimator):
            return "classification"
        return "regression" if is_regressor(estimator) else "other"
    except AttributeError as error:  # a library's own object, such as a Booster of LightGBM
        raise InvalidModel(
            f"A {type(estimator).__name__} does not say what it predicts: give the fitted "
            "estimator that its library makes for scikit-learn."
        ) from error


def _pool(given: Samples | None, wanted: Tensor, data: str, seed: int) -> tuple[Samples, str]:
    """Return a pool in the model's own input type, and where it comes from."""
    if given is None:
        return _random_pool(wanted, seed), f"random, seed {seed}"
    rows = np.ascontiguousarray(_as_taken(given.inputs, wanted))
    targets = None if given.targets is None else _complete(given.targets)
    pool = Samples(rows, targets, given.context)
    return pool, f"{len(pool)} held-out rows of {data or 'data given by the user'}"


def _complete(targets: NDArray[Any]) -> NDArray[Any]:
    """Return right answers, known not to be missing, as text where they are objects."""
    missing = find_missing(targets.astype(object) if targets.dtype.kind == "f" else targets)
    if missing.any():
        raise InvalidInput(
            f"Row {int(missing.argmax()) + 1} of the samples has no target: give one for each row, "
            "or leave such rows out."
        )
    return targets.astype(str) if targets.dtype.kind == "O" else targets


def _as_taken(rows: NDArray[Any], wanted: Tensor) -> NDArray[Any]:
    """Return samples in the model's own input type, known to hold them."""
    if wanted.fields or wanted.dtype == "str" or rows.dtype.names:
        return as_rows(wanted, rows)
    if not wanted.fits(rows) or rows.dtype.kind not in "biufO":
        raise InvalidInput(
            f"The samples are {rows.dtype} of shape {rows.shape}, and the model takes {wanted}."
        )
    try:
        return cast(rows, np.dtype(wanted.dtype))
    except CastError as error:
        raise InvalidInput(f"samples: {error.describe()}; the model takes {wanted}.") from error


def _random_pool(wanted: Tensor, seed: int) -> Samples:
    """Return up to 256 random rows in up to 16 MiB."""
    inputs = wanted.fields or (wanted,)
    for each in inputs:
        if None in each.shape:
            raise InvalidInput(f"The model takes {each}: give samples, as rows can have any size.")
        if each.dtype == "str":
            raise InvalidInput(f"The model takes text, {each}: give samples, for none can be made.")
    size = sum(
        each.numpy_dtype.itemsize * math.prod(size or 0 for size in each.shape) for each in inputs
    )
    count = int(np.clip(_POOL_BYTES // max(1, size), 8, 256))
    rng = generator_from(seed)
    columns = {each.name: _draw(each, count, rng) for each in inputs}
    return Samples(join_columns(columns) if wanted.fields else columns[wanted.name])


def _draw(wanted: Tensor, count: int, rng: np.random.Generator) -> NDArray[Any]:
    shape = (count, *(size or 0 for size in wanted.shape))
    if wanted.numpy_dtype.kind == "f":
        return rng.normal(size=shape).astype(wanted.dtype)
    # Whole numbers are often indices, where only small ones are sure to be valid.
    return rng.integers(0, 2, size=shape).astype(wanted.dtype)


def _try(
    checked: CheckedModel, pool: Samples, kind: Kind, classes: tuple[Label, ...] | None
) -> tuple[BatchInvariance, float | None]:
    """Return what batching does to answers, and the model's figure on rows that run alone."""
    opened = cache(lambda threads: Session(checked.content, threads=threads))
    labels = kind == "classification"
    try:
        forest = has_trees(checked.content)
        found = probe(opened, pool.inputs, labels=labels, forest=forest)
        if found.fault:
            raise InvalidModel(
                f"The model cannot be batched: {found.fault}. Make every operator in it keep the "
                "rows of its first axis apart, and register it again."
            )
        if found.invariant:  # what batches have cost is time alone
            return found, score(opened(1), pool, kind, _BATCH_SIZES[-1], classes)
        figures = [(size, score(opened(1), pool, kind, size, classes)) for size in _BATCH_SIZES]
    except InvocationError as error:
        raise InvalidModel(f"The model does not run on its samples: {error}") from error
    known = tuple((size, figure) for size, figure in figures if figure is not None)
    return replace(found, accuracy=known), figures[0][1]


def _describe_optimising(content: bytes, rows: NDArray[Any]) -> str:
    """Return a sentence where answers change as ONNX Runtime optimises; empty where they do not."""
    # It takes some graphs for others: see findings/onnxruntime-layer-norm-look-alikes.sh.
    if len(content) > _LARGE_FILE:
        return ""
    some = rows[:_OPTIMISED_ROWS]
    try:
        plain, fused = (Session(content, optimise=each).run(some) for each in (False, True))
    except (InvalidModel, InvocationError):  # an operator that is there only when optimised
        return ""
    changed = int((compare_answers(np.asarray(fused), np.asarray(plain)) > _OPTIMISED_APART).sum())
    if not changed:
        return ""
    return (
        f"ONNX Runtime answers {changed} of {len(some)} rows otherwise than operator by operator, "
        "as the file says: its optimiser takes a part of the graph for another. Register it with "
        "estimator= to see which is right."
    )


def score(
    session: Session, pool: Samples, kind: Kind, size: int, classes: tuple[Label, ...] | None = None
) -> float | None:
    """Return a model's figure where rows run in batches of a size.

    That is the share predicted right, for regression r2; None where there is none.
    """
    if pool.targets is None or kind == "other":
        return None
    starts = range(0, len(pool), size)
    outputs = np.concatenate([session.run(pool.inputs[at : at + size]) for at in starts])
    if kind == "classification":
        return float(correct(outputs, pool.targets, classes).mean())
    spread = pool.targets.var()
    missed = np.mean((pool.targets - outputs.reshape(-1)) ** 2)
    return float(1 - missed / spread) if spread else None


def _npz(pool: Samples) -> bytes:
    known = {"inputs": pool.inputs, "targets": pool.targets, "context": pool.context}
    arrays = {name: values for name, values in known.items() if values is not None}
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()
