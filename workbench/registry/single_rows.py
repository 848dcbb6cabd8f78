"""Files whose batch is fixed at one row: run a row at a time, or with that axis made free."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.errors import InvalidModel
from workbench.registry.graph_inputs import Proto, find_inputs, list_axes

_OLDEST_OPSET = 9  # of Scan as it is today


def takes_one_row(proto: Proto, axes: Mapping[str, int]) -> bool:
    """Return whether every input is declared with a batch of 1."""
    found = [list_axes(each)[axes.get(name, 0) :][:1] for name, each in find_inputs(proto).items()]
    return bool(found) and all(each == [1] for each in found)


def free_batch(proto: Proto, axes: Mapping[str, int]) -> Proto:
    """Return a copy in which the batch may have any size by declaration."""
    freed = copy.deepcopy(proto)
    del freed.graph.value_info[:]
    for value in (*find_inputs(freed).values(), *freed.graph.output):
        at = axes.get(value.name, 0)
        sizes = value.type.tensor_type.shape.dim
        if len(sizes) > at and list_axes(value)[at] == 1:
            sizes[at].dim_param = "batch"
    return freed


def find_shapes(proto: Proto) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor that a model of one row answers; blank rows tell it."""
    import onnx

    from workbench.registry.onnx import open_runtime

    fed = {}
    for name, value in find_inputs(proto).items():
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        shape = [1 if size is None else size for size in list_axes(value)]
        fed[name] = np.full(shape, "" if kind.kind == "O" else 0, kind)
    try:
        session = open_runtime(proto.SerializeToString())
        names = [each.name for each in session.get_outputs() if each.type.startswith("tensor(")]
        return dict(zip(names, (each.shape for each in session.run(names, fed)), strict=True))
    except Exception as error:
        raise InvalidModel(f"The model does not run on a blank row: {error}") from error


def run_row_by_row(
    proto: Proto, axes: Mapping[str, int], shapes: Mapping[str, tuple[int, ...]]
) -> Proto:
    """Return a model that takes batches and runs their rows one after the other.

    The graph becomes the body of a Scan, which every runtime of ONNX has.

    Args:
        proto: The model of one row; it may get a version of operators that it lacks.
        axes: The axis of the batch of inputs and outputs, where it is not the first.
        shapes: What each output has for one row.

    Raises:
        InvalidModel: The model's operators are older than Scan.
    """
    import onnx

    opset = _read_opset(proto)
    # a body must not have names of the graph around it
    body = onnx.compose.add_prefix_graph(proto.graph, "row/")
    outputs = []
    inputs = [
        _Edge(value, axes.get(name, 0), squeezed=True) for name, value in find_inputs(proto).items()
    ]
    for value in proto.graph.output:
        if value.name in shapes:
            at = axes.get(value.name, 0)
            squeezed = shapes[value.name][at : at + 1] == (1,)
            outputs.append(_Edge(value, at, squeezed=squeezed, shape=shapes[value.name]))
    _enter(body, inputs, opset)
    _leave(body, outputs, opset)
    scan = onnx.helper.make_node(
        "Scan",
        [each.name for each in inputs],
        [each.name for each in outputs],
        name="rows",
        body=body,
        num_scan_inputs=len(inputs),
    )
    whole = copy.deepcopy(proto)
    taken, given = ([each.declare(each.name, ["batch"]) for each in e] for e in (inputs, outputs))
    whole.graph.CopyFrom(onnx.helper.make_graph([scan], proto.graph.name, taken, given))
    return whole


def _read_opset(proto: Proto) -> int:
    """Return the version of ONNX's own operators; the oldest that will do where it has none."""
    import onnx

    known = [each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")]
    if not known:
        proto.opset_import.append(onnx.helper.make_opsetid("", _OLDEST_OPSET))
        return _OLDEST_OPSET
    if known[0] < _OLDEST_OPSET:
        raise InvalidModel(
            f"The model's batch is fixed at 1 row, and its operators are of version {known[0]}: "
            f"export it again with {_OLDEST_OPSET} or later. onnx.version_converter does it, too, "
            "but changes what some operators answer: compare both, or give estimator=."
        )
    return int(known[0])


class _Edge:
    """An input or output of the model, of which the Scan has one row."""

    def __init__(
        self, value: Proto, axis: int, *, squeezed: bool, shape: tuple[int, ...] | None = None
    ) -> None:
        self.name = value.name
        self.axis = axis
        self.squeezed = squeezed
        self.kind = value.type.tensor_type.elem_type
        self.dims: list[Any] = list(list_axes(value) if shape is None else shape)
        if squeezed:
            del self.dims[axis]

    def declare(self, name: str, batch: list[str]) -> Proto:
        """Return what declares it, with the axis of the batch first, if any."""
        import onnx

        return onnx.helper.make_tensor_value_info(name, self.kind, [*batch, *self.dims])


def _enter(body: Proto, inputs: list[_Edge], opset: int) -> None:
    """Let a body take rows without the axis that the model wants."""
    for each in inputs:
        old = next(value for value in body.input if value.name == f"row/{each.name}")
        body.input.remove(old)
        body.input.append(each.declare(f"one/{each.name}", []))
        body.node.insert(0, _make("Unsqueeze", f"one/{each.name}", old.name, each.axis, opset))
    _add_axes(body, inputs, opset)


def _leave(body: Proto, outputs: list[_Edge], opset: int) -> None:
    """Let a body give rows without the axis that the model gives."""
    del body.output[:]
    for each in outputs:
        inner, outer = f"row/{each.name}", f"one/{each.name}"
        if each.squeezed:
            body.node.append(_make("Squeeze", inner, outer, each.axis, opset))
        body.output.append(each.declare(outer if each.squeezed else inner, []))
    _add_axes(body, [each for each in outputs if each.squeezed], opset)


def _make(kind: str, source: str, target: str, axis: int, opset: int) -> Proto:
    import onnx

    if opset < 13:  # later versions take axes as an input
        return onnx.helper.make_node(kind, [source], [target], axes=[axis])
    return onnx.helper.make_node(kind, [source, f"axis/{axis}"], [target])


def _add_axes(body: Proto, edges: list[_Edge], opset: int) -> None:
    import onnx

    known = {each.name for each in body.initializer}
    for axis in sorted({each.axis for each in edges} if opset >= 13 else ()):
        if f"axis/{axis}" not in known:
            value = onnx.numpy_helper.from_array(np.array([axis]), f"axis/{axis}")
            body.initializer.append(value)
