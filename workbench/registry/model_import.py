"""What a source must be to become a version: checked, tried on its samples, measured."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InvalidInput, InvalidModel, InvocationError
from workbench.modelserver.casts import CastError, cast
from workbench.registry.adaptation import adapt
from workbench.registry.agreement import Agreement
from workbench.registry.agreement_probe import compare_with_file
from workbench.registry.answers import Answer, choose_answer
from workbench.registry.invariance import BatchInvariance
from workbench.registry.invariance_probe import has_trees, probe
from workbench.registry.labels import Label, correct
from workbench.registry.model import Kind, Samples, Traits
from workbench.registry.onnx import (
    OTHER_MEANS,
    CheckedModel,
    Session,
    Tensor,
    check_model,
    from_estimator,
)
from workbench.validation import as_array, finite, generator_from, of_kind

_METRICS = {"classification": "accuracy", "regression": "r2"}
_POOL_BYTES = 2**24
_BATCH_SIZES = (1, 8, 32)  # by which a figure is measured where answers change
_LARGE_FILE = 2**24  # bytes


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
    estimator: Any = None,  # noqa: ANN401
    samples: Samples | ArrayLike | None,
    task: str,
    kind: Kind | None,
    data: str,
    accuracy: float | None,
    framework: str,
    answer: Answer | None = None,
    output: str | None = None,
    seed: int,
) -> ModelContent:
    """Run a source on its samples and return it; the arguments are those of `Registry.register`.

    Raises:
        NotFound: There is no such file.
        InvalidModel: The source is not a model the workbench can run.
        InvalidInput: The samples do not fit together, or are needed and missing.
    """
    _check_arguments(kind, {"task": task, "data": data, "framework": framework}, answer, output)
    if accuracy is not None:
        accuracy = finite("accuracy", accuracy)
    given = samples
    if not isinstance(given, Samples | None):
        given = Samples(as_array("samples", given))
    explain: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    converts = not isinstance(source, str | Path | bytes)
    estimator = source if converts else estimator
    if estimator is not None:
        from workbench.registry import boosters  # brings scikit-learn

        estimator = boosters.as_estimator(estimator)
        kind = kind or _kind_of(estimator)
    if converts:
        source = from_estimator(estimator, None if given is None else given.inputs)
        framework = framework or boosters.name_framework(estimator)
        explain = _explain_conversion(estimator)
    with explain:
        checked = check_model(source, partial(adapt, output=output))
        pool, origin = _pool(given, checked.signature.input, data, seed)
        checked, kind, classes = choose_answer(checked, answer, kind, estimator, pool)
        found, measured = _try(checked, pool, kind, classes)
    agreement = None if estimator is None else _compare(estimator, checked.content, given)
    figure = accuracy if measured is None else measured
    traits = Traits(
        task=task,
        kind=kind,
        input_schema=checked.signature.input,
        output_schema=checked.signature.outputs,
        accuracy=figure,
        metric="" if figure is None else _METRICS.get(kind, ""),
        accuracy_data="" if figure is None else data if measured is None else origin,
        samples=origin,
        framework=framework or checked.producer or "unknown",
        opset=checked.opset,
        size_bytes=len(checked.content),
        batch_invariance=found,
        agreement=agreement,
        classes=classes,
    )
    return ModelContent(
        content=checked.content, pool=_npz(pool), traits=traits, notes=checked.notes
    )


def _check_arguments(
    kind: Kind | None, texts: Mapping[str, str], answer: Answer | None, output: str | None
) -> None:
    if answer is not None and output is not None:
        raise InvalidInput(
            f"answer={answer!r} and output={output!r} both say what answers: give one of them."
        )
    if kind not in (None, *get_args(Kind)):
        raise InvalidInput(f"kind must be one of {get_args(Kind)}, got {kind!r}.")
    for name, text in texts.items():
        of_kind(name, text, str)


def _compare(estimator: Any, content: bytes, given: Samples | None) -> Agreement:  # noqa: ANN401
    rows = None if given is None else given.inputs
    large = len(content) > _LARGE_FILE
    return compare_with_file(estimator, Session(content), rows, large=large)


@contextlib.contextmanager
def _explain_conversion(estimator: Any) -> Iterator[None]:  # noqa: ANN401
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


def _kind_of(estimator: Any) -> Kind:  # noqa: ANN401
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
    rows = given.inputs
    if not wanted.fits(rows) or rows.dtype.kind not in "biufO":
        raise InvalidInput(
            f"The samples are {rows.dtype} of shape {rows.shape}, and the model takes {wanted}."
        )
    try:
        rows = cast(rows, np.dtype(wanted.dtype))
    except CastError as error:
        raise InvalidInput(f"samples: {error.describe()}; the model takes {wanted}.") from error
    targets = given.targets
    if targets is not None and targets.dtype.kind == "O":  # text labels, e.g. out of a frame
        targets = targets.astype(str)
    pool = Samples(np.ascontiguousarray(rows), targets, given.context)
    return pool, f"{len(pool)} held-out rows of {data or 'data given by the user'}"


def _random_pool(wanted: Tensor, seed: int) -> Samples:
    """Return up to 256 random rows in up to 16 MiB."""
    if None in wanted.shape:
        raise InvalidInput(f"The model takes {wanted}: give samples, as rows can have any size.")
    row = tuple(size or 0 for size in wanted.shape)
    dtype = np.dtype(wanted.dtype)
    rows = int(np.clip(_POOL_BYTES // max(1, dtype.itemsize * int(np.prod(row))), 8, 256))
    rng = generator_from(seed)
    if dtype.kind == "f":
        return Samples(rng.normal(size=(rows, *row)).astype(dtype))
    # Whole numbers are often indices, where only small ones are sure to be valid.
    return Samples(rng.integers(0, 2, size=(rows, *row)).astype(dtype))


def _try(
    checked: CheckedModel, pool: Samples, kind: Kind, classes: tuple[Label, ...] | None
) -> tuple[BatchInvariance, float | None]:
    """Return what batching does to answers, and the model's figure on rows that run alone."""
    opened = cache(partial(_open, checked.content))
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


def _open(content: bytes, threads: int) -> Session:
    return Session(content, threads=threads)


def score(
    session: Session,
    pool: Samples,
    kind: Kind,
    size: int,
    classes: tuple[Label, ...] | None = None,
) -> float | None:
    """Return a model's figure where rows run in batches of a size.

    That is the share predicted right, for regression r2; None where there is none.

    Raises:
        InvocationError: The model fails, or does not answer row by row.
    """
    if pool.targets is None or kind == "other":
        return None
    starts = range(0, len(pool), size)
    outputs = np.concatenate([session.run(pool.inputs[at : at + size]) for at in starts])
    if kind == "classification":
        return float(correct(outputs, pool.targets, classes).mean())
    return _r2(outputs.reshape(-1), pool.targets)


def _r2(values: NDArray[Any], targets: NDArray[Any]) -> float | None:
    """Return the explained share of the targets' variance; None when they have none."""
    if not targets.var():
        return None
    return float(1 - np.mean((targets - values) ** 2) / targets.var())


def _npz(pool: Samples) -> bytes:
    known = {"inputs": pool.inputs, "targets": pool.targets, "context": pool.context}
    arrays = {name: values for name, values in known.items() if values is not None}
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()
