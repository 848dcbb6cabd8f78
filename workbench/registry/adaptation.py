"""What is done to the graph of an ONNX file before it becomes a version."""

from typing import Any

from workbench.registry.chosen_output import put_answer_first
from workbench.registry.onnx import Adapted


def adapt(proto: Any, content: bytes, *, output: str | None = None) -> Adapted:  # noqa: ANN401
    """Return a file with the answer as its first output.

    Args:
        proto: The model; it is changed.
        content: The file that it was read from, returned where nothing changes.
        output: The name of the output that is to answer.

    Raises:
        InvalidInput: There is no such output.
        InvalidModel: That output is no tensor.
    """
    before = proto.SerializeToString(deterministic=True)
    proto, note = put_answer_first(proto, output)
    if proto.SerializeToString(deterministic=True) == before:
        return Adapted(content=content)
    return Adapted(content=proto.SerializeToString(), notes=(note,) if note else ())
