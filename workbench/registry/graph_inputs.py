"""Inputs of an ONNX graph: what is always the same is written into it, and batches come first."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput

Proto: TypeAlias = Any
"""A model of ONNX, or a part of one: protobuf's classes have no types."""


def put_constants_in(
    proto: Proto, constants: Mapping[str, Any], batch_axes: Mapping[str, int]
) -> dict[str, NDArray[Any]]:
    """Write inputs that have the same value in every call into a graph, and return the values.

    One whose axis of the batch is 1 long, such as a state at its start, is repeated for each row.

    Raises:
        InvalidInput: There is no such input, or the value is not of its type and shape.
    """
    import onnx

    batch = _name_batch(proto)
    arrays = {}
    repeated = {}
    for name, value in constants.items():
        inputs = find_inputs(proto)
        if name not in inputs:
            raise InvalidInput(f"constants name {name!r}, and the inputs are {list(inputs)}.")
        wanted = inputs[name]
        arrays[name] = array = _fit(name, value, wanted)
        axis = batch_axes.get(name, _find_axis(wanted, batch))
        if axis is not None and array.shape[axis : axis + 1] == (1,):
            repeated[name] = axis
        proto.graph.input.remove(wanted)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    if find_inputs(proto):
        for name, axis in repeated.items():
            _repeat(proto, name, axis, arrays[name].ndim, batch_axes)
    return arrays


def _repeat(proto: Proto, name: str, axis: int, axes: int, batch_axes: Mapping[str, int]) -> None:
    """Repeat a constant along an axis for each row of the first input."""
    import onnx

    first, value = next(iter(find_inputs(proto).items()))
    at = batch_axes.get(first, _find_axis(value, _name_batch(proto)) or 0)
    kept = next(each for each in proto.graph.initializer if each.name == name)
    kept.name = f"{name}/one"
    sizes = {"place": [at], "before": [1] * axis, "after": [1] * (axes - axis - 1)}
    for key, numbers in sizes.items():
        array = np.array(numbers, np.int64)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, f"{name}/{key}"))
    node = onnx.helper.make_node
    parts = [f"{name}/{key}" for key in ("before", "rows", "after")]
    nodes = [
        node("Shape", [first], [f"{name}/shape"]),
        node("Gather", [f"{name}/shape", f"{name}/place"], [f"{name}/rows"]),
        node("Concat", parts, [f"{name}/sizes"], axis=0),
        node("Expand", [kept.name, f"{name}/sizes"], [name]),
    ]
    # a node must stand after those whose outputs it takes
    for each in reversed(nodes):
        proto.graph.node.insert(0, each)


def find_inputs(proto: Proto) -> dict[str, Proto]:
    """Return the inputs that have no value of their own, by name."""
    known = {each.name for each in proto.graph.initializer}
    return {each.name: each for each in proto.graph.input if each.name not in known}


def list_graphs(graph: Proto) -> Iterator[Proto]:
    """Yield a graph and those within its nodes, such as the body of a loop."""
    yield graph
    for node in graph.node:
        for each in node.attribute:
            for inner in (*([each.g] if each.HasField("g") else []), *each.graphs):
                yield from list_graphs(inner)


def list_axes(value: Proto) -> list[int | None]:
    """Return the declared size of each axis of an input or output; None: any."""
    axes = value.type.tensor_type.shape.dim
    return [each.dim_value if each.HasField("dim_value") else None for each in axes]


def find_batch_axes(proto: Proto, given: Mapping[str, int]) -> dict[str, int]:
    """Return the axis of the batch of each input and output that has another one than the first.

    Without a word of the user it is the only axis of free size, or the one that is named as the
    first axis of the first input; of outputs only where an input has such an axis.
    """
    inputs = find_inputs(proto)
    values = inputs | {each.name: each for each in proto.graph.output}
    for name, axis in given.items():
        count = len(list_axes(values[name])) if name in values else 0
        if name not in values or not isinstance(axis, int) or not 0 <= axis < count:
            raise InvalidInput(
                f"batch_axes name the axis {axis!r} of {name!r}, and the inputs and outputs are "
                f"{', '.join(f'{key} with {len(list_axes(each))}' for key, each in values.items())}"
                " axes, counted from 0."
            )
    found = {name: _find_axis(each, _name_batch(proto)) or 0 for name, each in values.items()}
    if not any({**found, **given}[name] for name in inputs):
        found = {}  # an answer alone that has its rows elsewhere may be no answer to them
    return {name: axis for name, axis in (found | dict(given)).items() if axis}


def put_batches_first(proto: Proto, axes: Mapping[str, int]) -> None:
    """Move the axis of the batch of inputs and outputs to the front of each."""
    import onnx

    inputs = find_inputs(proto)
    for name, axis in axes.items():
        inner = f"{name}/moved"
        _rename(proto.graph, name, inner)
        value = inputs.get(name) or next(each for each in proto.graph.output if each.name == inner)
        value.name = name
        order = [axis, *(each for each in range(len(list_axes(value))) if each != axis)]
        sizes = [value.type.tensor_type.shape.dim[each] for each in order]
        # copies, as the list takes its own along when it is emptied
        kept = [
            onnx.TensorShapeProto.Dimension.FromString(each.SerializeToString()) for each in sizes
        ]
        del value.type.tensor_type.shape.dim[:]
        value.type.tensor_type.shape.dim.extend(kept)
        if name in inputs:
            back = [int(each) for each in np.argsort(order)]
            node = onnx.helper.make_node("Transpose", [name], [inner], perm=back)
            proto.graph.node.insert(0, node)
        else:
            node = onnx.helper.make_node("Transpose", [inner], [name], perm=order)
            proto.graph.node.append(node)


def widen_bfloat16(proto: Proto) -> bool:
    """Make inputs and outputs of bfloat16, which NumPy lacks, float32; return if any were."""
    import onnx

    short, wide = onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT
    outputs = {each.name: each for each in proto.graph.output}
    values = find_inputs(proto) | outputs
    found = [each for each in values.values() if each.type.tensor_type.elem_type == short]
    for value in found:
        name, inner = value.name, f"{value.name}/bfloat16"
        _rename(proto.graph, name, inner)
        value.name = name
        value.type.tensor_type.elem_type = wide
        if name in outputs:
            proto.graph.node.append(onnx.helper.make_node("Cast", [inner], [name], to=wide))
        else:
            proto.graph.node.insert(0, onnx.helper.make_node("Cast", [name], [inner], to=short))
    return bool(found)


def _fit(name: str, value: Any, wanted: Proto) -> NDArray[Any]:  # noqa: ANN401
    """Return a value in the type and shape of an input."""
    import onnx

    kind = onnx.helper.tensor_dtype_to_np_dtype(wanted.type.tensor_type.elem_type)
    shape = list_axes(wanted)
    array = np.asarray(value)
    try:
        exact = array.astype(kind)
        same = kind.kind == "O" or bool(np.all(exact == array)) or kind.kind == "f"
    except (TypeError, ValueError):
        same = False
    if not same:
        raise InvalidInput(f"The constant {name!r} must be of {kind}, got {value!r}.")
    if exact.ndim == 0 and shape.count(None) <= 1:
        return np.full([size or 1 for size in shape], exact)
    if exact.size == 1 and all(size in (None, 1) for size in shape):
        return exact.reshape([1] * len(shape))
    fits = len(shape) == exact.ndim
    if not fits or any(w not in (None, g) for w, g in zip(shape, exact.shape, strict=True)):
        raise InvalidInput(
            f"The constant {name!r} must have the shape {shape}, got {list(exact.shape)}."
        )
    return exact


def _name_batch(proto: Proto) -> str:
    """Return the name of the first axis of the first input, where it has one."""
    first = next(iter(find_inputs(proto).values()), None)
    axes = [] if first is None else first.type.tensor_type.shape.dim
    return str(axes[0].dim_param) if axes else ""


def _find_axis(value: Proto, batch: str) -> int | None:
    """Return the axis of the batch of an input or output; None where nothing tells it."""
    names = [each.dim_param for each in value.type.tensor_type.shape.dim]
    if batch and batch in names:
        return names.index(batch)
    free = [axis for axis, size in enumerate(list_axes(value)) if size is None]
    return free[0] if len(free) == 1 else None


def _rename(graph: Proto, old: str, new: str) -> None:
    """Rename a value everywhere in a graph, and in those within its nodes."""
    for each in list_graphs(graph):
        for node in each.node:
            for names in (node.input, node.output):
                for at, name in enumerate(names):
                    if name == old:
                        names[at] = new
        for value in (*each.output, *each.value_info):
            if value.name == old:
                value.name = new
