"""Which output of an ONNX file answers, where the first one cannot, or another one is asked for."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidModel
from workbench.registry.graph_inputs import Proto
from workbench.validation import choose

_CLASSES = "workbench.classes"  # key of a file's metadata: what maps had named, as JSON


def put_answer_first(proto: Proto, output: str | None = None) -> tuple[Proto, str]:
    """Return a model whose first output answers, and a sentence where that was chosen for its user.

    Maps of classes to scores (ZipMap) become plain scores, a column for each class. Without a name
    the first output answers, unless that is a sequence, a map or one number for all rows, and
    another one is none of these.

    Args:
        proto: The model; it is changed.
        output: The name of the output that is to answer.

    Raises:
        InvalidInput: It has no such output.
        InvalidModel: That output is a sequence or a map.
    """
    _replace_maps(proto)
    outputs = {each.name: each for each in proto.graph.output}
    if output is None:
        return _put_usable_first(proto, list(outputs.values()))
    choose("output", output, outputs)
    if not outputs[output].type.HasField("tensor_type"):
        raise InvalidModel(
            f"Output {output!r} is a {_name_type(outputs[output])}, and an answer is a tensor with "
            f"one row for each of the input. Choose another one of {list(outputs)}."
        )
    put_first(proto, output)
    return proto, ""


def read_mapped_classes(proto: Proto) -> Iterator[NDArray[Any]]:
    """Yield the classes of the columns of scores, where a file had them in maps."""
    for each in proto.metadata_props:
        if each.key == _CLASSES:
            yield np.array(json.loads(each.value))


def _put_usable_first(proto: Proto, outputs: Sequence[Proto]) -> tuple[Proto, str]:
    usable = [each.name for each in outputs if _may_answer(each)]
    if not usable or _may_answer(outputs[0]):
        return proto, ""
    put_first(proto, usable[0])
    return proto, (
        f"The first output, {outputs[0].name!r}, is a {_name_type(outputs[0])}, so that "
        f"{usable[0]!r} answers; output= chooses another one."
    )


def _may_answer(output: Proto) -> bool:
    """Return whether an output can have a row for each of the input."""
    tensor = output.type.tensor_type
    is_number = tensor.HasField("shape") and not tensor.shape.dim
    return bool(output.type.HasField("tensor_type")) and not is_number


def _name_type(output: Proto) -> str:
    kind = str(output.type.WhichOneof("value") or "value without a type").removesuffix("_type")
    return "number for all rows" if kind == "tensor" else kind


def put_first(proto: Proto, name: str) -> None:
    """Make an output the first, and leave the others in their order."""
    ordered = sorted(proto.graph.output, key=lambda each: each.name != name)
    del proto.graph.output[:]
    proto.graph.output.extend(ordered)


def _replace_maps(proto: Proto) -> None:
    """Replace each ZipMap by what it is made of."""
    import onnx

    outputs = {each.name: each for each in proto.graph.output}
    for node in proto.graph.node:
        if node.op_type != "ZipMap" or node.output[0] not in outputs:
            continue
        given = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        texts = [each.decode() for each in given.get("classlabels_strings", [])]
        classes = texts or list(given.get("classlabels_int64s", []))
        onnx.helper.set_model_props(
            proto,
            {each.key: each.value for each in proto.metadata_props}
            | {_CLASSES: json.dumps(classes)},
        )
        scores = onnx.helper.make_tensor_value_info(
            node.output[0], onnx.TensorProto.FLOAT, ["batch", len(classes)]
        )
        outputs[node.output[0]].CopyFrom(scores)
        plain = onnx.helper.make_node("Identity", node.input, node.output, name=node.name)
        node.CopyFrom(plain)
