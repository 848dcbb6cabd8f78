"""Weights that an ONNX file keeps in other files beside it."""

from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import InvalidModel

if TYPE_CHECKING:
    from workbench.registry.graph_inputs import Proto

_LARGEST = 2**31 - 1  # bytes of a message of protobuf, and so of an ONNX file


def take_weights_in(proto: "Proto", folder: Path | None, name: str) -> None:
    """Read weights that are kept in other files into a model.

    Args:
        proto: The model; it is changed.
        folder: Where the file is; None where only its bytes are known.
        name: What the file is called in messages.

    Raises:
        InvalidModel: They are not there, lie outside the folder, or are too large for one file.
    """
    import onnx

    if folder is None:
        raise InvalidModel(
            f"{name} keeps weights in other files: give the path of the file, beside which they "
            "are, or put them in with onnx.save_model(onnx.load(path), new_path)."
        )
    try:
        onnx.external_data_helper.load_external_data_for_model(proto, str(folder))
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise InvalidModel(
            f"{name} keeps weights in other files beside it, which cannot be read: {reason}"
        ) from error
    if proto.ByteSize() > _LARGEST:
        raise InvalidModel(
            f"{name} has {proto.ByteSize()} bytes with its weights, and one file of ONNX holds "
            f"{_LARGEST}: make it smaller, with weights of float16 or 8 bits for instance."
        )
