"""What a version of a model is: its traits, its lineage, its files, and how it is opened."""

import io
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.batching.timer import Policy, require_batcher
from workbench.errors import InvalidInput
from workbench.files import read_and_verify
from workbench.registry.agreement import NOT_CHECKED, Agreement
from workbench.registry.invariance import BatchInvariance
from workbench.registry.labels import Label, are_probabilities, are_scores, correct, find_labels
from workbench.registry.onnx import Nan, Session, Tensor
from workbench.registry.rows import as_rows
from workbench.validation import as_array, as_context, keep

if TYPE_CHECKING:
    from workbench.run.record import ModelRecord
    from workbench.traffic.trace import Context, Trace

Approval = Literal["PendingManualApproval", "Approved", "Rejected"]
Kind = Literal["classification", "regression", "other"]


@dataclass(frozen=True, eq=False)
class Samples:
    """A pool of rows that a model can be asked about, with the right answers where known.

    Args:
        inputs: Shape `(n, *row)`, n at least 1, in the model's input type. Of several inputs: a
            frame of Polars or pandas, columns by name, or dicts; kept as a structured array (n,).
        targets: Shape (n,), or None.
        context: Kind of each row, such as "noisy"; None where it is not known.

    >>> Samples(np.zeros((3, 2), np.float32), np.array([0, 1, 1]))
    Samples(3 rows, with targets)
    """

    inputs: NDArray[Any]
    targets: NDArray[Any] | None = None
    context: "Context | None" = None

    def __post_init__(self) -> None:
        inputs = _freeze("inputs", as_rows(None, self.inputs))
        targets = None if self.targets is None else _freeze("targets", self.targets)
        if inputs.ndim < 1 or not len(inputs):
            raise InvalidInput(f"Samples need at least 1 row, got shape {inputs.shape}.")
        if targets is not None and targets.shape != (len(inputs),):
            raise InvalidInput(
                f"targets must have shape ({len(inputs)},), one for each row, got {targets.shape}."
            )
        keep(self, inputs=inputs, targets=targets, context=as_context(self.context, len(inputs)))

    def context_of(self, trace: "Trace") -> "Context | None":
        """Return the kind of each request: its own, else that of the first row that it carries."""
        if trace.context is not None or self.context is None:
            return trace.context
        return self.context[trace.sample % len(self)]

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        return f"Samples({len(self)} rows, with{'' if self.targets is not None else 'out'} targets)"


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a version can do, as measured when it was registered.

    Attributes:
        task: What it is for, e.g. "digits".
        kind: "classification", "regression" or "other".
        input_schema: Name, type and row shape of the input.
        output_schema: The same of each output; the first is the answer.
        accuracy: Its figure in `metric`, None when unknown.
        metric: "accuracy" (share right) or "r2"; "" when unknown.
        accuracy_data: The data `accuracy` was measured on.
        samples: Where the pool of samples comes from.
        framework: What the model was made with.
        opset: ONNX operator set.
        size_bytes: Size of the ONNX file.
        batch_invariance: Whether an answer depends on the batch; None where that was not checked.
        agreement: How the file answers beside the estimator it was made of; None: not checked.
        classes: What the columns of a classifier's scores stand for, where it answers with scores;
            None: for their own numbers, or it answers with labels.
        one_row: Whether its file takes one row a call, so that rows of a batch run in turn.
        user: What its user said of it, such as {"licence": "MIT"}.
    """

    task: str
    kind: Kind
    input_schema: Tensor
    output_schema: tuple[Tensor, ...]
    accuracy: float | None
    metric: str
    accuracy_data: str
    samples: str
    framework: str
    opset: int
    size_bytes: int
    batch_invariance: BatchInvariance | None = None
    agreement: Agreement | None = None
    classes: tuple[Label, ...] | None = None
    one_row: bool = False
    user: dict[str, Label] = field(default_factory=dict, hash=False)

    @property
    def score_classes(self) -> tuple[Label, ...] | None:
        """What each column of a classifier's scores stands for; None where it has no such."""
        columns = self.output_schema[0].shape
        if self.kind != "classification" or len(columns) != 1 or (columns[0] or 0) < 2:
            return None
        return self.classes or tuple(range(columns[0] or 0))

    @property
    def batches(self) -> str:
        """Whether an answer depends on the batch, in a word or two."""
        return self.batch_invariance.verdict if self.batch_invariance else NOT_CHECKED

    @property
    def batch_caveat(self) -> str:
        """A sentence for who batches requests; empty where answers stay the same, or unchecked."""
        found = self.batch_invariance
        if found is None or found.invariant:
            return ""
        if not found.deterministic:
            return f"Whether batching changes answers cannot be known: {found.sentence}."
        return f"Batching changes answers: {found.sentence}."


@dataclass(frozen=True)
class Change:
    """One line of a version's history: `field` ("approval" or "stage") became `value`.

    The last line of a version that was removed says that its approval became "Removed".
    """

    at: str
    who: str
    field: str
    value: str
    why: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Model:
    """One version of a group: a value that says what the registry knew when it was read."""

    group: str
    version: int
    approval: Approval
    stage: str
    created: str
    traits: Traits
    lineage: dict[str, Any] = field(hash=False)
    sha256: str
    samples_sha256: str
    artifacts: Path

    @property
    def name(self) -> str:
        """Group and version, as `registry[name]` takes it."""
        return f"{self.group}:{self.version}"

    @property
    def path(self) -> Path:
        """The ONNX file."""
        return self.artifacts / f"{self.sha256}.onnx"

    @property
    def samples_path(self) -> Path:
        """The file of the pool of samples."""
        return self.artifacts / f"{self.samples_sha256}.npz"

    @property
    def files(self) -> dict[Path, str]:
        """The sha256 of each file."""
        return {self.path: self.sha256, self.samples_path: self.samples_sha256}

    @property
    def size_bytes(self) -> int:
        """Size of the ONNX file."""
        return self.traits.size_bytes

    @cached_property
    def row_bytes(self) -> float:
        """Bytes of a row in a request, as it is in the pool of samples."""
        return float(self.samples().inputs[:1].nbytes)

    @property
    def answer_bytes(self) -> float | None:
        """Bytes of the answer to a row; None where they differ, as those of text do."""
        answer = self.traits.output_schema[0]
        sizes = [size for size in answer.shape if size is not None]
        if len(sizes) < len(answer.shape) or answer.dtype == "str":
            return None
        return float(np.prod(sizes) * np.dtype(answer.dtype).itemsize)

    def __repr__(self) -> str:
        known = self.traits.accuracy is not None
        score = f", {self.traits.metric} {self.traits.accuracy:.3f}" if known else ""
        warning = ", batching changes answers" if self.traits.batches == "changes" else ""
        size = f"{self.size_bytes / 1e3:,.1f} kB"
        return f"Model({self.name}, {self.approval}{score}, {size}{warning})"

    def session(self, threads: int = 1, *, nan: Nan = "allow") -> Session:
        """Load the model into ONNX Runtime, after a check of its file's hash.

        Raises:
            Damaged: The file is missing or is not what was registered.
        """
        content = read_and_verify(self.path, self.sha256, self.name)
        return Session(content, threads=threads, nan=nan)

    def samples(self) -> Samples:
        """Return the pool of held-out samples (random ones where none were given: see the traits).

        Raises:
            Damaged: The file is missing or is not what was registered.
        """
        content = read_and_verify(self.samples_path, self.samples_sha256, self.name)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return Samples(arrays["inputs"], arrays.get("targets"), arrays.get("context"))

    def labels(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return the class of each row where this is a classifier, else what was answered."""
        classifies = self.traits.kind == "classification"
        return find_labels(outputs, self.traits.classes) if classifies else outputs

    def confidence(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probability of each row's class; NaN where the answer holds none."""
        if self.traits.kind != "classification" or not are_scores(outputs):
            return np.full(len(outputs), np.nan)
        sure = outputs.max(axis=1).astype(float).clip(max=1)
        return np.where(are_probabilities(outputs), sure, np.nan)

    def check_policy(self, policy: Policy) -> None:
        """Require a batching policy that makes no batches of a model that takes one row a call.

        Raises:
            InvalidInput: It does, or is none.
        """
        require_batcher(policy)
        if self.traits.one_row and policy.max_size > 1:
            raise InvalidInput(
                f"{self.name} takes one row a call, and the policy joins up to {policy.max_size} "
                "requests, which would take as long as one after the other: give BatchPolicy(), or "
                "register the model with a free batch axis (free_batch=True, where it has one by "
                "declaration alone)."
            )

    def record(self) -> "ModelRecord":
        """Return what the record of a run says of the model."""
        from workbench.run.record import ModelRecord

        facts = {
            "name": self.name,
            "sha256": self.sha256,
            "traits": asdict(self.traits),
            "lineage": self.lineage,
        }
        return ModelRecord(**json.loads(json.dumps(facts, default=str)))

    def record_fields(self) -> dict[str, Any]:
        """Return the fields of a run's record that follow from the model."""
        traits = self.traits
        invariance = str(traits.batch_invariance or traits.batches)
        return {"model": self.record(), "batch_invariance": invariance}

    def correct(self, outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Return which rows a classifier got right; None for other models."""
        if self.traits.kind != "classification":
            return None
        return correct(outputs, targets, self.traits.classes)


def _freeze(name: str, values: ArrayLike) -> NDArray[Any]:
    view = as_array(name, values).view()
    view.flags.writeable = False
    return view
