"""Sessions, signatures, and what is no model."""

import pickle

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from sklearn.cluster import KMeans
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from tests.graphs import WEIGHTS, graph, linear, lookup, one_node, with_external_data
from tests.refused import refused
from workbench.errors import InvalidInput, InvalidModel, InvocationError, NotFound
from workbench.modelserver.engine import Engine, ModelLoadError
from workbench.registry.conversion import from_estimator
from workbench.registry.onnx import (
    Session,
    Signature,
    Tensor,
    check_model,
    read_signature,
)

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
LABELS = np.array([0, 0, 1, 1])


def save(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    return path


def test_a_session_answers_with_the_first_output():
    session = Session(linear())

    assert np.array_equal(session.run(ROWS), ROWS @ WEIGHTS)
    assert repr(session) == "Session(x: float32 (batch, 3), threads=1)"


def test_all_outputs_can_be_had_by_name():
    outputs = Session(linear()).run_all(ROWS)

    assert list(outputs) == ["y", "z"]
    assert np.array_equal(outputs["z"], 2 * outputs["y"])


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_the_answer(model, threads):
    inputs = model.samples().inputs

    assert np.array_equal(model.session(threads=threads).run(inputs), model.session().run(inputs))


def test_a_path_and_its_bytes_are_one_model(tmp_path):
    path = save(tmp_path, linear())

    assert read_signature(path) == read_signature(str(path)) == read_signature(linear())


def test_a_signature_tells_names_types_and_row_shapes():
    assert read_signature(linear()) == Signature(
        Tensor("x", "float32", (3,)),
        (Tensor("y", "float32", (2,)), Tensor("z", "float32", (2,))),
    )


def test_rows_and_columns_in_any_memory_order_give_one_answer():
    assert np.array_equal(Session(linear()).run(np.asfortranarray(ROWS)), ROWS @ WEIGHTS)


@pytest.mark.parametrize(
    ("batch", "named"),
    [
        ([[1.0, 2.0, 3.0]], ["batch", "list"]),
        (ROWS.astype(np.float64), ["float64", "x: float32 (batch, 3)", "batch.astype('float32')"]),
        (ROWS[:, :2], ["batch", "(4, 2)", "x: float32 (batch, 3)"]),
        (ROWS[0], ["batch", "(3,)"]),
        (ROWS[:0], ["batch", "rows", 1]),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(batch, named):
    session = Session(linear())

    for run in (session.run, session.run_all):
        with refused(InvalidInput, *named):
            run(batch)


def test_a_single_number_is_no_batch_even_of_numbers():
    session = Session(one_node("Relu", inputs=[("x", TensorProto.FLOAT, ["n"])]))

    assert session.run(np.ones(2, np.float32)).shape == (2,)
    with refused(InvalidInput, "()"):
        session.run(np.array(1, np.float32))


def test_an_axis_of_any_size_takes_any_size():
    session = Session(one_node("Relu", inputs=[("x", TensorProto.FLOAT, ["n", "length", 2])]))

    assert str(session.signature.input) == "x: float32 (batch, any, 2)"
    assert session.run(np.ones((2, 5, 2), np.float32)).shape == (2, 5, 2)
    with refused(InvalidInput, "(2, 5, 3)"):
        session.run(np.ones((2, 5, 3), np.float32))


def test_nan_is_allowed_or_refused():
    batch = np.where(ROWS == 5, np.nan, ROWS)
    infinite = np.where(ROWS == 5, np.inf, ROWS)

    assert np.isnan(Session(linear()).run(batch)).any()
    assert Session(linear(), nan="refuse").run(infinite).shape == (4, 2)
    with refused(InvalidInput, "batch", "NaN"):
        Session(linear(), nan="refuse").run(batch)


def test_whole_numbers_hold_no_nan():
    session = Session(linear(kind=TensorProto.INT32), nan="refuse")

    assert session.run(ROWS.astype(np.int32)).dtype == np.int32


def test_identifiers_that_share_32_bits_or_a_float32_stay_apart():
    known = numpy_helper.from_array(np.array([5, 2**24, 1_700_000_000_000]), "known")
    session = Session(
        one_node(
            "Sub",
            inputs=[("x", TensorProto.INT64, ["n", 3])],
            output=TensorProto.INT64,
            weights=[known],
        )
    )

    answers = session.run(np.array([[2**32 + 5, 2**24 + 1, 1_700_000_000_123]]))

    assert answers.tolist() == [[2**32, 1, 123]]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"threads": "2"}, ["threads", 2]),
        ({"threads": 0}, ["threads", 0]),
        ({"nan": "maybe"}, ["nan", "maybe"]),
    ],
)
def test_a_session_checks_its_arguments(arguments, named):
    with refused(InvalidInput, *named):
        Session(linear(), **arguments)


def test_a_failure_inside_the_model_is_one_error_and_no_log(capfd):
    session = Session(lookup())

    for run in (session.run, session.run_all):
        with refused(InvocationError, "row 1", 7, "Gather"):
            run(np.array([7]))
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_is_not_found(tmp_path):
    for read in (Session, read_signature, check_model):
        with refused(NotFound, tmp_path / "none.onnx"):
            read(tmp_path / "none.onnx")


def test_a_directory_is_no_model(tmp_path):
    with refused(InvalidModel, tmp_path, "Is a directory"):
        check_model(tmp_path)


def test_a_checked_model_tells_about_itself():
    checked = check_model(from_estimator(LinearRegression().fit(ROWS, LABELS)))

    assert checked.producer.startswith("skl2onnx")
    assert checked.opset > 10
    assert checked.signature == read_signature(checked.content)


@pytest.mark.parametrize("suffix", ["pkl", "pickle", "joblib"])
def test_a_pickle_is_never_loaded_from_a_path(tmp_path, suffix):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("boom").touch, ())

    path = tmp_path / f"model.{suffix}"
    path.write_bytes(pickle.dumps(Bomb()))

    with refused(InvalidModel, path, "pickle", "wb.Registry(folder).register(group, estimator"):
        check_model(path)
    assert not (tmp_path / "boom").exists()


@given(st.integers(min_value=0, max_value=len(linear()) - 1))
@settings(max_examples=60)
def test_a_file_cut_anywhere_is_no_model(length):
    with pytest.raises(InvalidModel):
        check_model(linear()[:length])


@given(st.binary(max_size=200))
@settings(max_examples=60)
def test_random_bytes_are_no_model(content):
    with pytest.raises(InvalidModel):
        check_model(content)


def test_weights_in_other_files_are_found_inside_branches(tmp_path):
    weight = onnx.load(with_external_data(tmp_path), load_external_data=False).graph.initializer[0]
    inner = helper.make_node("Identity", ["w"], ["inner"])
    output = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    branch = helper.make_graph([inner], "branch", [], [output], [weight])
    flag = numpy_helper.from_array(np.array(True), "flag")
    node = helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)
    inputs = [("x", TensorProto.FLOAT, ["n", 3])]
    content = graph([node], inputs, [("y", TensorProto.FLOAT, [None, None])], [flag])

    with refused(InvalidModel, "weights", "path"):
        check_model(content.SerializeToString())


@pytest.mark.parametrize(
    ("shape", "named"),
    [
        ((1, 3), ["[1, 3]", "constants={'x'", "batch_axes={'x'", "dynamic_axes={'x'"]),
        ((), ["x", "constants={'x'"]),
    ],
)
def test_a_batch_axis_must_be_free(shape, named):
    content = one_node("Relu", inputs=[("x", TensorProto.FLOAT, shape)])

    with refused(InvalidModel, *named):
        check_model(content)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (
            one_node(
                "Add",
                inputs=[("a", TensorProto.FLOAT, ["n", 3]), ("b", TensorProto.FLOAT, [1, 3])],
            ),
            ["b", "[1, 3]"],
        ),
        (one_node("NoSuchOperator"), ["checker", "NoSuchOperator"]),
        (one_node("Magic", domain="com.example"), ["Magic"]),
    ],
    ids=["one of two inputs fixed", "no such operator", "operator of another make"],
)
def test_what_cannot_be_run_is_no_model(content, named):
    with refused(InvalidModel, *named):
        check_model(content)


def test_an_exported_classifier_answers_with_its_labels():
    estimator = LogisticRegression().fit(ROWS, LABELS)
    outputs = Session(from_estimator(estimator)).run_all(ROWS)

    assert outputs["label"].tolist() == estimator.predict(ROWS).tolist()
    assert np.allclose(outputs["probabilities"], estimator.predict_proba(ROWS), atol=1e-6)


def test_an_exported_regressor_answers_with_its_values():
    estimator = LinearRegression().fit(ROWS, LABELS)
    values = Session(from_estimator(estimator)).run(ROWS)

    assert np.allclose(values.reshape(-1), estimator.predict(ROWS), atol=1e-5)


def test_two_exports_of_an_estimator_are_equal():
    estimator = LogisticRegression().fit(ROWS, LABELS)

    assert from_estimator(estimator) == from_estimator(estimator)


def test_samples_give_the_number_of_features_where_the_estimator_does_not():
    estimator = KMeans(2, n_init=1, random_state=0).fit(ROWS)
    del estimator.n_features_in_

    assert read_signature(from_estimator(estimator, ROWS)).input.shape == (3,)
    with refused(InvalidModel, "KMeans", "samples"):
        from_estimator(estimator)


def test_an_estimator_must_be_fitted():
    with refused(InvalidModel, "LogisticRegression", "fit"):
        from_estimator(LogisticRegression())


def test_what_skl2onnx_cannot_convert_is_said_in_one_line():
    estimator = DummyClassifier().fit(ROWS, LABELS)

    with refused(InvalidModel, "skl2onnx", "DummyClassifier") as caught:
        from_estimator(estimator)
    assert "\n" not in str(caught.value)


def test_a_model_without_an_output_is_refused_by_registry_and_server(tmp_path):
    model = onnx.load_from_string(linear())
    del model.graph.output[:]
    content = model.SerializeToString()
    (tmp_path / "model.onnx").write_bytes(content)

    with refused(InvalidModel, "output"):
        Session(content)
    with refused(ModelLoadError, "input", "output"):
        Engine(tmp_path)
