"""ONNX files small enough to read, for tests."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]], np.float32)


def graph(nodes, inputs, outputs, weights=(), *, opset=17, domain=None, note=""):
    """The model with these nodes; inputs and outputs are triples of name, type and shape."""
    values = [[helper.make_tensor_value_info(*each) for each in side] for side in (inputs, outputs)]
    imports = [helper.make_opsetid("", opset)]
    if domain:
        imports.append(helper.make_opsetid(domain, 1))
    body = helper.make_graph(nodes, "graph", *values, list(weights))
    return helper.make_model(body, opset_imports=imports, ir_version=9, doc_string=note)


def linear(shape=("n", 3), *, kind=TensorProto.FLOAT, note=""):
    """The bytes of x @ WEIGHTS as first output "y", and twice that as second, "z"."""
    weights = numpy_helper.from_array(WEIGHTS.astype(helper.tensor_dtype_to_np_dtype(kind)), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Add", ["y", "y"], ["z"]),
    ]
    outputs = [(name, kind, [None, 2]) for name in ("y", "z")]
    return graph(nodes, [("x", kind, shape)], outputs, [weights], note=note).SerializeToString()


def one_node(op, *, inputs=None, output=TensorProto.FLOAT, domain=None, weights=(), **attributes):
    """The bytes of a model that is one operator, from inputs (name, type, shape) to "y"."""
    inputs = inputs or [("x", TensorProto.FLOAT, ["n", 3])]
    shape = [None] * len(inputs[0][2])
    names = [each[0] for each in inputs] + [each.name for each in weights]
    node = helper.make_node(op, names, ["y"], domain=domain, **attributes)
    outputs = [("y", output, shape)]
    return graph([node], inputs, outputs, weights, domain=domain).SerializeToString()


def mean():
    """The bytes of a model that answers with one number for the whole batch."""
    node = helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)
    inputs, outputs = [("x", TensorProto.FLOAT, ["n", 3])], [("y", TensorProto.FLOAT, [])]
    return graph([node], inputs, outputs).SerializeToString()


def mixed():
    """The bytes of age + (1 for "Bern", 2 for "Rome", 0) + the sum of two scores, in [n, 1]."""
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["city"],
            ["code"],
            domain="ai.onnx.ml",
            keys_strings=["Bern", "Rome"],
            values_floats=[1.0, 2.0],
            default_float=0.0,
        ),
        helper.make_node("ReduceSum", ["scores", "axis"], ["total"], keepdims=1),
        helper.make_node("Sum", ["age", "code", "total"], ["y"]),
    ]
    inputs = [
        ("age", TensorProto.FLOAT, ["n", 1]),
        ("city", TensorProto.STRING, ["n", 1]),
        ("scores", TensorProto.FLOAT, ["n", 2]),
    ]
    axis = numpy_helper.from_array(np.array([1]), "axis")
    outputs = [("y", TensorProto.FLOAT, ["n", 1])]
    made = graph(nodes, inputs, outputs, [axis])
    made.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return made.SerializeToString()


def answering(kind):
    """The bytes of a model whose first output "y" is a sequence or an optional of its input."""
    inputs, outputs = [("x", TensorProto.FLOAT, ["n", 3])], [("z", TensorProto.FLOAT, ["n", 3])]
    nodes = [
        helper.make_node("SequenceConstruct" if kind == "sequence" else "Optional", ["x"], ["y"]),
        helper.make_node("Identity", ["x"], ["z"]),
    ]
    made = graph(nodes, inputs, outputs)
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n", 3])
    make = getattr(helper, f"make_{kind}_type_proto")
    made.graph.output.insert(0, helper.make_value_info("y", make(tensor)))
    return made.SerializeToString()


def lookup():
    """The bytes of a model that takes indices and fails at every one but 0."""
    table = numpy_helper.from_array(np.zeros((1, 1), np.float32), "table")
    node = helper.make_node("Gather", ["table", "x"], ["y"])
    outputs = [("y", TensorProto.FLOAT, [None, 1])]
    inputs = [("x", TensorProto.INT64, ["n"])]
    return graph([node], inputs, outputs, [table]).SerializeToString()


def with_external_data(folder):
    """The path of `linear`, its weights in a second file."""
    path = folder / "external.onnx"
    onnx.save_model(
        onnx.load_model_from_string(linear()),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    return path


def two_inputs(second=("n", 2)):
    """The bytes of a model that answers the sum of a column "a" (n, 1) and vectors "b"."""
    node = helper.make_node("Add", ["a", "b"], ["y"])
    inputs = [("a", TensorProto.FLOAT, ["n", 1]), ("b", TensorProto.FLOAT, second)]
    return graph([node], inputs, [("y", TensorProto.FLOAT, [None, 2])]).SerializeToString()


def text(shape=("n", 1)):
    """The bytes of a model that answers texts "x" as they are."""
    node = helper.make_node("Identity", ["x"], ["y"])
    inputs, outputs = [("x", TensorProto.STRING, shape)], [("y", TensorProto.STRING, shape)]
    return graph([node], inputs, outputs).SerializeToString()
