"""Which output answers, where the first one cannot or another one is asked for."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from tests.graphs import answering
from tests.refused import refused
from workbench.errors import InvalidInput, InvalidModel
from workbench.registry.api import Registry

ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)
IRIS, SPECIES = load_iris(return_X_y=True)


@pytest.fixture
def said():
    return []


@pytest.fixture
def registry(tmp_path, said):
    return Registry(tmp_path, progress=said.append)


def build(nodes, *outputs):
    """Return a file of the input "x", floats of shape (n, 4)."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    proto = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs), opset_imports=opsets, ir_version=9
    )
    return proto.SerializeToString()


def floats(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def maps(name):
    kind = helper.make_map_type_proto(
        TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    return helper.make_value_info(name, helper.make_sequence_type_proto(kind))


MEAN = helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0)
TWICE = helper.make_node("Add", ["x", "x"], ["twice"])
SPLIT = helper.make_node("SplitToSequence", ["x"], ["parts"], axis=0)
PARTS = helper.make_value_info(
    "parts",
    helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None)),
)


def test_the_output_that_answers_is_chosen_by_name(registry, said):
    same = helper.make_node("Identity", ["x"], ["same"])
    content = build([same, TWICE], floats("same", ["n", 4]), floats("twice", ["n", 4]))
    model = registry.register("m", content, samples=ROWS, output="twice")
    assert model.session().run(ROWS).tolist() == (2 * ROWS).tolist()
    assert [each.name for each in model.traits.output_schema] == ["twice", "same"]
    assert said == []


@pytest.mark.parametrize("kind", ["sequence", "optional"])
def test_where_the_first_output_is_no_tensor_the_next_one_answers(registry, said, kind):
    rows = ROWS[:, :3]
    model = registry.register("m", answering(kind), samples=rows)
    assert model.session().run(rows).tolist() == rows.tolist()
    assert len(said) == 1
    assert kind in said[0]


def test_where_the_first_output_is_one_number_for_all_the_next_one_answers(registry):
    content = build([MEAN, TWICE], floats("mean", []), floats("twice", ["n", 4]))
    model = registry.register("m", content, samples=ROWS)
    assert model.session().run(ROWS).tolist() == (2 * ROWS).tolist()


def test_maps_of_scores_become_columns_of_named_classes(registry):
    names = ["a", "b", "c", "d"]
    node = helper.make_node("ZipMap", ["x"], ["m"], domain="ai.onnx.ml", classlabels_strings=names)
    rows = np.eye(4, dtype=np.float32)
    model = registry.register("m", build([node], maps("m")), samples=rows, answer="probabilities")
    assert model.traits.classes == tuple(names)
    assert model.labels(model.session().run(rows)).tolist() == names


def test_a_classifier_with_maps_answers_with_probabilities(registry):
    estimator = LogisticRegression(max_iter=1000).fit(IRIS, SPECIES)
    content = to_onnx(estimator, IRIS[:1].astype(np.float32)).SerializeToString()
    assert "ZipMap" in {node.op_type for node in onnx.load_from_string(content).graph.node}
    model = registry.register(
        "m", content, estimator=estimator, samples=IRIS, answer="probabilities"
    )
    assert (model.traits.classes, model.traits.agreement.share) == ((0, 1, 2), 1.0)


@pytest.mark.parametrize(
    ("output", "error", "named"),
    [
        ("z", InvalidInput, ["output", "twice, parts", "z"]),
        (1, InvalidInput, ["output", 1]),
        ("parts", InvalidModel, ["parts", "sequence"]),
    ],
)
def test_an_output_that_cannot_answer_is_refused(registry, output, error, named):
    content = build([SPLIT, TWICE], floats("twice", ["n", 4]), PARTS)
    with refused(error, *named):
        registry.register("m", content, samples=ROWS, output=output)
    assert len(registry) == 0


def test_an_answer_by_kind_and_one_by_name_are_refused_together(registry):
    content = build([TWICE], floats("twice", ["n", 4]))
    with refused(InvalidInput, "answer='probabilities'", "output='twice'"):
        registry.register("m", content, answer="probabilities", output="twice")


def test_a_file_without_a_usable_output_is_refused(registry):
    with refused(InvalidModel, "parts"):
        registry.register("m", build([SPLIT], PARTS), samples=ROWS)
