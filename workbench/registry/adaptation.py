"""What is done to the graph of an ONNX file before it becomes a version."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from workbench.errors import InvalidInput
from workbench.registry.chosen_output import put_answer_first
from workbench.registry.graph_inputs import (
    Proto,
    find_batch_axes,
    put_batches_first,
    put_constants_in,
    widen_bfloat16,
)
from workbench.registry.single_rows import (
    find_shapes,
    free_batch,
    run_row_by_row,
    takes_one_row,
)


@dataclass(frozen=True, kw_only=True)
class Original:
    """A file as it came, which answers one row at a time."""

    content: bytes
    constants: Mapping[str, NDArray[Any]]
    axes: Mapping[str, int]
    answer: str


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """A file whose graph is as the workbench runs it.

    Attributes:
        content: The file.
        notes: Sentences that its user should know.
        one_row: Whether it runs the rows of a batch one after the other.
        original: The file as it came, where more was changed than the order of outputs.
        freed: The file with the axis of its batch made free, where it has one row by declaration.
    """

    content: bytes
    notes: tuple[str, ...] = ()
    one_row: bool = False
    original: Original | None = None
    freed: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """What the user asks to be done to a graph.

    Attributes:
        output: The name of the output that answers.
        constants: Inputs that are the same in every call, by name.
        batch_axes: The axis of the batch of inputs and outputs, where it is not the first.
        free_batch: Whether a batch of 1, if it is so by declaration alone, is made free.
    """

    output: str | None = None
    constants: Mapping[str, Any] = field(default_factory=dict)
    batch_axes: Mapping[str, int] = field(default_factory=dict)
    free_batch: bool = False

    def apply(self, proto: Proto, content: bytes) -> Adapted:
        """Return a file that the workbench runs.

        Args:
            proto: The model; it is changed.
            content: The file that it was read from, returned where nothing changes.

        Raises:
            InvalidInput: There is no such output, input or axis, or a constant does not fit.
            InvalidModel: The output is no tensor, or the model is too old to be changed.
        """
        before = proto.SerializeToString(deterministic=True)
        if widen_bfloat16(proto):
            content = proto.SerializeToString()  # NumPy could not ask the file as it came
        constants = put_constants_in(proto, self.constants, self.batch_axes)
        proto, note = put_answer_first(proto, self.output)
        given = {key: axis for key, axis in self.batch_axes.items() if key not in constants}
        axes = find_batch_axes(proto, given)
        single = takes_one_row(proto, axes)
        if self.free_batch and not single:
            raise InvalidInput("free_batch is for a file whose batch is fixed at 1 row.")
        original = Original(
            content=content,
            constants=constants,
            axes=axes,
            answer=proto.graph.output[0].name,
        )
        notes = (note,) if note else ()
        if single:
            return self._adapt_single(proto, axes, original, notes)
        if axes:
            put_batches_first(proto, axes)
        after = proto.SerializeToString(deterministic=True)
        if after == before:
            return Adapted(content=content)
        changed = original if axes or self.constants else None
        return Adapted(content=after, notes=notes, original=changed)

    def _adapt_single(
        self, proto: Proto, axes: Mapping[str, int], original: Original, notes: tuple[str, ...]
    ) -> Adapted:
        """Return a file of one row with its axis free, or one that runs rows in turn."""
        freed = free_batch(proto, axes)
        put_batches_first(freed, axes)
        if self.free_batch:
            content = freed.SerializeToString()
            return Adapted(content=content, notes=notes, original=original)
        return Adapted(
            content=run_row_by_row(proto, axes, find_shapes(proto)).SerializeToString(),
            notes=notes,
            one_row=True,
            original=original,
            freed=freed.SerializeToString(),
        )
