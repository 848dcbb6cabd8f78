"""Files that no batch was made for: one row a call, constant inputs, batches on another axis."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LogisticRegression

from tests.graphs import graph
from tests.refused import refused
from workbench.batching.timer import BatchPolicy
from workbench.cli import main
from workbench.deployment import Local
from workbench.ensembles import Member
from workbench.errors import InvalidInput, InvalidModel
from workbench.experiment import Experiment
from workbench.planner.options import Options
from workbench.registry.api import Registry
from workbench.registry.model import Samples
from workbench.traffic.patterns import poisson

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(9, 4)).astype(np.float32)
WEIGHTS = RNG.normal(size=(4, 3)).astype(np.float32)
BY_NAME = numpy_helper.from_array(WEIGHTS, "w")
node = helper.make_node


@pytest.fixture
def said():
    return []


@pytest.fixture
def registry(tmp_path, said):
    return Registry(tmp_path, progress=said.append)


def declared_only(opset=17, rows=1):
    """A product whose batch is 1 by declaration alone."""
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    made = graph(
        nodes, [("x", FLOAT, [rows, 4])], [("y", FLOAT, [rows, 3])], [BY_NAME], opset=opset
    )
    return made.SerializeToString()


def calculated(opset=17):
    """A product with a Reshape to one row, which no batch gets through."""
    nodes = [node("Reshape", ["x", "one"], ["flat"]), node("MatMul", ["flat", "w"], ["y"])]
    one = numpy_helper.from_array(np.array([1, 4]), "one")
    inputs, outputs = [("x", FLOAT, [1, 4])], [("y", FLOAT, [1, 3])]
    return graph(nodes, inputs, outputs, [BY_NAME, one], opset=opset).SerializeToString()


def mixing():
    """A softmax over the rows of a batch, which is 1 by declaration."""
    nodes = [node("Softmax", ["x"], ["y"], axis=0), node("Add", ["y", "x"], ["z"])]
    return graph(nodes, [("x", FLOAT, [1, 4])], [("z", FLOAT, [1, 4])]).SerializeToString()


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("make", [declared_only, calculated])
def test_a_file_of_one_row_answers_batches_row_by_row(registry, make, opset):
    model = registry.register("m", make(opset), samples=ROWS)
    assert model.traits.one_row
    assert model.traits.batches == "identical"
    np.testing.assert_allclose(model.session().run(ROWS), ROWS @ WEIGHTS, rtol=1e-5)
    assert model.session().run(ROWS[:1]).shape == (1, 3)
    assert registry["m:1"].traits.one_row


def test_a_file_of_one_row_may_have_operators_of_another_domain_alone(registry):
    scale = node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0], scale=[2.0])
    made = graph([scale], [("x", FLOAT, [1, 4])], [("y", FLOAT, [1, 4])])
    del made.opset_import[:]
    made.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    model = registry.register("m", made.SerializeToString(), samples=ROWS)
    np.testing.assert_allclose(model.session().run(ROWS), 2 * ROWS)


def test_what_one_row_a_call_costs_is_said_and_what_would_be_gained(registry, said):
    registry.register("m", declared_only(), samples=ROWS)
    assert "8 rows take" in said[0]
    assert "free_batch=True" in said[0]
    registry.register("m", calculated(), samples=ROWS)
    assert "free_batch" not in said[1]
    assert "Export it" in said[1]


def test_an_axis_that_is_1_by_declaration_is_made_free(registry, said):
    model = registry.register("m", declared_only(), samples=ROWS, free_batch=True)
    assert not model.traits.one_row
    np.testing.assert_allclose(model.session().run(ROWS), ROWS @ WEIGHTS, rtol=1e-5)
    operators = {each.op_type for each in onnx.load(model.path).graph.node}
    assert (operators, said) == ({"MatMul"}, [])


@pytest.mark.parametrize(
    ("make", "named"),
    [(calculated, ["2 rows", "Reshape"]), (mixing, ["rows 1 to 2", "batch of 2"])],
    ids=["fails", "differs"],
)
def test_an_axis_that_is_more_than_a_declaration_is_not_made_free(registry, make, named):
    with refused(InvalidModel, *named):
        registry.register("m", make(), samples=ROWS, free_batch=True)
    assert len(registry) == 0


def test_a_file_that_takes_batches_has_no_axis_to_free(registry):
    with refused(InvalidInput, "free_batch", "1 row"):
        registry.register("m", declared_only(rows="n"), samples=ROWS, free_batch=True)


def test_a_batch_fixed_at_more_rows_is_refused(registry):
    with refused(InvalidModel, "x", "[4, 4]"):
        registry.register("m", declared_only(rows=4), samples=ROWS)


def test_operators_too_old_to_run_row_by_row_are_refused(registry):
    with refused(InvalidModel, "version 8"):
        registry.register("m", calculated(opset=8), samples=ROWS)


def test_one_number_for_one_row_is_one_for_each(registry):
    nodes = [node("ReduceMean", ["x"], ["y"], keepdims=0)]
    content = graph(nodes, [("x", FLOAT, [1, 4])], [("y", FLOAT, [])]).SerializeToString()
    model = registry.register("m", content, samples=ROWS)
    np.testing.assert_allclose(model.session().run(ROWS), ROWS.mean(axis=1), rtol=1e-5)


def test_the_classes_of_a_file_of_one_row_are_found(registry):
    names = np.array(["a", "b", "c"])[np.arange(len(ROWS)) % 3]
    estimator = LogisticRegression().fit(ROWS, names)
    made = convert_sklearn(
        estimator,
        initial_types=[("x", FloatTensorType([1, 4]))],
        options={id(estimator): {"zipmap": False}},
        target_opset=17,
    )
    model = registry.register(
        "m", made.SerializeToString(), samples=Samples(ROWS, names), answer="probabilities"
    )
    assert model.traits.one_row
    assert model.traits.classes == ("a", "b", "c")


def test_policies_that_batch_are_refused_for_a_model_of_one_row(registry):
    model = registry.register("m", declared_only(), samples=ROWS)
    trace = poisson(rate=5, duration=2, seed=0)
    with refused(InvalidInput, "m:1", 8, "free_batch=True"):
        Experiment(model, Local(), trace, BatchPolicy(max_size=8, max_wait=0.01))
    with refused(InvalidInput, "m:1", 2):
        Member(model, Local(), BatchPolicy(max_size=2, max_wait=0.01))
    assert Experiment(model, Local(), trace).model is model
    options, note = Options().spare(model)
    assert list(options.max_sizes) == [1]
    assert "one row a call" in note


def recurrent(batch="n", state_axis="n"):
    """A step of a sum, with a state (2, batch, 3) and a rate, as voice detectors have them."""
    nodes = [
        node("MatMul", ["sound", "w"], ["step"]),
        node("Cast", ["sr"], ["rate"], to=FLOAT),
        node("Div", ["step", "rate"], ["slow"]),
        node("Add", ["state", "slow"], ["next"]),
        node("ReduceSum", ["next", "first"], ["answer"], keepdims=0),
    ]
    first = numpy_helper.from_array(np.array([0]), "first")
    inputs = [
        ("sound", FLOAT, [batch, 4]),
        ("state", FLOAT, [2, state_axis, 3]),
        ("sr", INT, []),
    ]
    outputs = [("answer", FLOAT, [batch, 3]), ("next", FLOAT, [2, state_axis, 3])]
    return graph(nodes, inputs, outputs, [BY_NAME, first]).SerializeToString()


STATES = RNG.normal(size=(9, 2, 3)).astype(np.float32)


def sounds():
    rows = np.empty(9, [("sound", "f4", (4,)), ("state", "f4", (2, 3))])
    rows["sound"], rows["state"] = ROWS, STATES
    return rows


@pytest.mark.parametrize(
    ("content", "arguments", "one_row"),
    [
        (recurrent(), {}, False),
        (recurrent(None, None), {"batch_axes": {"state": 1, "next": 1}}, False),
        (recurrent(1, 1), {"batch_axes": {"state": 1, "next": 1}}, True),
        (
            recurrent(1, 1),
            {"batch_axes": {"state": 1, "next": 1}, "free_batch": True},
            False,
        ),
    ],
    ids=["named alike", "named by the user", "one row", "made free"],
)
def test_constants_and_a_batch_on_another_axis_are_taken(registry, content, arguments, one_row):
    rows = sounds()
    model = registry.register("m", content, samples=rows, constants={"sr": 2}, **arguments)
    outputs = model.session().run_all(rows)
    step = ROWS @ WEIGHTS / 2
    np.testing.assert_allclose(outputs["answer"], STATES.sum(axis=1) + 2 * step, rtol=1e-4)
    np.testing.assert_allclose(outputs["next"], STATES + step[:, None], rtol=1e-4)
    assert model.traits.one_row == one_row
    assert [each.name for each in model.traits.input_schema.fields] == ["sound", "state"]


def test_a_constant_may_be_long(registry):
    table = np.arange(2**16 + 1, dtype=np.float32)
    nodes = [
        node("ReduceSum", ["table"], ["total"], keepdims=0),
        node("Add", ["x", "total"], ["y"]),
    ]
    inputs, outputs = [("table", FLOAT, [None]), ("x", FLOAT, [1, "n"])], [("y", FLOAT, [1, "n"])]
    model = registry.register(
        "m",
        graph(nodes, inputs, outputs).SerializeToString(),
        samples=np.ones((3, 1), np.float32),
        constants={"table": table},
    )
    np.testing.assert_allclose(model.session().run(np.zeros((1, 1), np.float32)), table.sum(), 1e-5)


@pytest.mark.parametrize(
    ("content", "arguments"),
    [
        (recurrent(), {}),
        (recurrent("n", 1), {"batch_axes": {"state": 1}}),
        (recurrent(1, 1), {"batch_axes": {"state": 1}, "free_batch": True}),
        (recurrent(1, 1), {"batch_axes": {"state": 1}}),
    ],
    ids=["named alike", "named by the user", "made free", "one row"],
)
@pytest.mark.parametrize("state", [0.5, np.full((2, 1, 3), 0.5)], ids=["number", "array"])
def test_a_state_that_is_always_the_same_is_repeated_for_each_row(
    registry, content, arguments, state
):
    constants = {"sr": 2, "state": state}
    model = registry.register("m", content, samples=ROWS, constants=constants, **arguments)
    np.testing.assert_allclose(model.session().run(ROWS), 1 + ROWS @ WEIGHTS, rtol=1e-4, atol=1e-5)
    assert str(model.traits.input_schema) == "sound: float32 (batch, 4)"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"constants": {"rate": 2}}, ["constants", "rate", "['sound', 'state', 'sr']"]),
        ({"constants": {"sr": 2.5}}, ["sr", "int64", 2.5]),
        ({"constants": {"sr": "fast"}}, ["sr", "int64", "fast"]),
        ({"constants": {"sr": [1, 2]}}, ["sr", "[]", "[2]"]),
        ({"batch_axes": {"state": 3}}, ["batch_axes", "axis 3", "state"]),
        ({"batch_axes": {"mood": 0}}, ["batch_axes", "mood"]),
    ],
)
def test_a_constant_or_axis_that_does_not_fit_is_refused(registry, arguments, named):
    with refused(InvalidInput, *named):
        registry.register(
            "m", recurrent(), samples=sounds(), **{"constants": {"sr": 2}} | arguments
        )


def test_an_axis_that_is_no_batch_is_found_out(registry):
    content = recurrent(None, None)
    with refused(InvalidModel, "state", "[3, 2, None]"):
        registry.register(
            "m", content, samples=sounds(), constants={"sr": 2}, batch_axes={"state": 2}
        )


def test_the_command_line_takes_constants_axes_and_a_free_batch(tmp_path, capsys):
    (tmp_path / "m.onnx").write_bytes(recurrent(1, 1))
    axes = ["--batch-axis", "state=1", "--batch-axis", "next=1", "--free-batch"]
    where = ["--registry", str(tmp_path / "registry")]
    command = ["registry", "register", "m", str(tmp_path / "m.onnx"), "--output", "next"]
    assert main([*command, "--constant", "sr=2", *axes, *where]) == 0
    model = Registry(tmp_path / "registry")["m:1"]
    assert model.session().run(sounds()).shape == (9, 2, 3)
    assert not model.traits.one_row


@pytest.mark.parametrize("save", [np.save, np.savez])
def test_the_command_line_takes_samples_out_of_arrays(tmp_path, save):
    (tmp_path / "m.onnx").write_bytes(recurrent())
    file = tmp_path / f"rows.{'npy' if save is np.save else 'npz'}"
    save(file, **{"arr" if save is np.save else "sound": ROWS})
    where = ["--registry", str(tmp_path / "registry"), "--samples", str(file)]
    command = ["registry", "register", "m", str(tmp_path / "m.onnx")]
    assert main([*command, "--constant", "sr=2", "--constant", "state=0", *where]) == 0
    model = Registry(tmp_path / "registry")["m:1"]
    np.testing.assert_array_equal(model.samples().inputs, ROWS)


def test_damaged_arrays_are_no_samples(tmp_path, capsys):
    (tmp_path / "m.onnx").write_bytes(declared_only())
    command = ["registry", "register", "m", str(tmp_path / "m.onnx")]
    for name in ("rows.npy", "rows.npz"):
        (tmp_path / name).write_bytes(b"nothing")
        assert main([*command, "--samples", str(tmp_path / name)]) == 2
        assert "cannot be read as np" in capsys.readouterr().err
