"""Weights in other files, and numbers of 16 bits."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.graphs import WEIGHTS, graph, linear, with_external_data
from tests.refused import refused
from workbench.errors import InvalidModel
from workbench.registry.api import Registry
from workbench.registry.onnx import check_model

ROWS = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "registry")


def test_weights_beside_a_file_are_taken_in(registry, tmp_path):
    path = with_external_data(tmp_path)
    model = registry.register("m", path, samples=ROWS)
    (tmp_path / "weights.bin").unlink()
    np.testing.assert_allclose(model.session().run(ROWS), ROWS @ WEIGHTS, rtol=1e-5)


def test_weights_beside_a_file_are_taken_into_branches(registry, tmp_path):
    weight = onnx.load(with_external_data(tmp_path), load_external_data=False).graph.initializer[0]
    inner = helper.make_node("MatMul", ["x", "w"], ["inner"])
    output = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    branch = helper.make_graph([inner], "branch", [], [output], [weight])
    flag = numpy_helper.from_array(np.array(True), "flag")
    node = helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)
    made = graph(
        [node], [("x", TensorProto.FLOAT, ["n", 3])], [("y", TensorProto.FLOAT, [None, 2])], [flag]
    )
    path = tmp_path / "branches.onnx"
    path.write_bytes(made.SerializeToString())
    model = registry.register("m", path, samples=ROWS)
    np.testing.assert_allclose(model.session().run(ROWS), ROWS @ WEIGHTS, rtol=1e-5)


def test_weights_that_are_not_there_are_named(tmp_path):
    path = with_external_data(tmp_path)
    (tmp_path / "weights.bin").unlink()
    with refused(InvalidModel, "weights.bin"):
        check_model(path)


def test_weights_are_found_from_a_path_alone(tmp_path):
    with refused(InvalidModel, "path"):
        check_model(with_external_data(tmp_path).read_bytes())


def test_more_weights_than_one_file_holds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.registry.external_weights._LARGEST", 100)
    with refused(InvalidModel, "external.onnx", 100):
        check_model(with_external_data(tmp_path))


def test_a_model_of_float16_is_registered(registry):
    rows = ROWS.astype(np.float16)
    model = registry.register("m", linear(kind=TensorProto.FLOAT16), samples=ROWS)
    assert model.traits.input_schema.dtype == "float16"
    np.testing.assert_allclose(model.session().run(rows), rows @ WEIGHTS, rtol=1e-2, atol=1e-2)


def test_weights_of_bfloat16_and_inputs_and_outputs_of_it_are_taken(registry):
    short = TensorProto.BFLOAT16
    weight = helper.make_tensor("w", short, WEIGHTS.shape, WEIGHTS.ravel().tolist())
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["w"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["wide", "weights"], ["product"]),
        helper.make_node("Cast", ["product"], ["y"], to=short),
    ]
    made = graph(nodes, [("x", short, ["n", 3])], [("y", short, ["n", 2])], [weight])
    model = registry.register("m", made.SerializeToString(), samples=ROWS)
    assert model.traits.input_schema.dtype == "float32"
    np.testing.assert_allclose(model.session().run(ROWS), ROWS @ WEIGHTS, rtol=0.05, atol=0.05)


def test_operators_of_bfloat16_that_onnx_runtime_lacks_are_said(registry):
    content = linear(kind=TensorProto.BFLOAT16)
    with refused(InvalidModel, "MatMul", "bfloat16", "float32"):
        registry.register("m", content, samples=ROWS)
