"""Rows of several inputs: frames, dicts and arrays as what a model takes."""

import io
from dataclasses import asdict

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tests.graphs import linear, text, two_inputs
from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.registry.model import Samples
from workbench.registry.onnx import Session, Tensor
from workbench.registry.rows import as_frame, as_rows, columns_of

CITY, AGE = Tensor("city", "str", ()), Tensor("age", "float32", ())
PERSON = Tensor.record([CITY, AGE])
COLUMNS = {"age": [31, 7], "city": ["Rome", "Oslo"]}
WANTED = [("Rome", 31.0), ("Oslo", 7.0)]


@pytest.mark.parametrize(
    "data",
    [
        pl.DataFrame(COLUMNS),
        pl.DataFrame(COLUMNS).with_columns(pl.col("city").cast(pl.Categorical), other=1),
        pl.DataFrame(COLUMNS, schema_overrides={"city": pl.Enum(["Oslo", "Rome"])}),
        pd.DataFrame(COLUMNS),
        pd.DataFrame(COLUMNS, dtype=object),
        pd.DataFrame(COLUMNS).astype({"city": "category", "age": "Int64"}),
        pd.DataFrame(COLUMNS, index=[7, 7]),
        COLUMNS,
        {name: np.array(values) for name, values in COLUMNS.items()},
        {name: pl.Series(values) for name, values in COLUMNS.items()},
        pl.DataFrame(COLUMNS).to_dicts(),
        pl.DataFrame(COLUMNS).to_numpy(structured=True),
        np.array(WANTED, object),
    ],
    ids=range(13),
)
def test_rows_of_any_kind_become_the_same_array(data):
    rows = as_rows(PERSON, data)

    assert rows.dtype.names == ("city", "age")
    assert rows.dtype["age"] == np.float32
    assert rows.tolist() == WANTED
    assert PERSON.fits(rows)
    assert PERSON.holds(rows.dtype)


def test_without_a_model_types_are_those_of_the_values():
    frame = pd.DataFrame(
        {
            "whole": [1, 2],
            "gaps": pd.array([1, None], "Int64"),
            "number": np.array([1.5, np.nan], np.float32),
            "truth": [True, False],
            "text": ["a", None],
            "category": pd.Categorical([3, 4]),
        }
    )

    kinds = {
        name: column.dtype.str[1:] for name, column in columns_of(as_rows(None, frame)).items()
    }
    assert kinds == {
        "whole": "i8",
        "gaps": "f8",
        "number": "f4",
        "truth": "b1",
        "text": "U1",
        "category": "i8",
    }


@pytest.mark.parametrize("empty", [None, np.nan, pd.NA])
def test_missing_is_nan_or_an_empty_text_or_refused(empty):
    data = pd.DataFrame({"city": ["Rome", empty], "age": pd.Series([empty, 7], dtype=object)})

    rows = as_rows(PERSON, data)
    assert rows["city"].tolist() == ["Rome", ""]
    assert np.isnan(rows["age"][0])
    with refused(InvalidInput, "Row 12", "city"):
        as_rows(PERSON, data, missing="refuse", first=10)


def test_a_column_of_texts_may_lack_them_all():
    rows = as_rows(PERSON, pd.DataFrame({"city": [np.nan, np.nan], "age": [1, 2]}))

    assert rows["city"].tolist() == ["", ""]


def test_a_whole_number_or_boolean_cannot_be_missing():
    for dtype in ("int64", "bool"):
        with refused(InvalidInput, "Row 2", "n"):
            as_rows(
                Tensor.record([Tensor("n", dtype, ()), CITY]), {"n": [1, None], "city": ["a", "b"]}
            )


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"city": ["a"], "age": ["x"]}, ["Row 1", "age", "x", "number"]),
        ({"city": ["a", 3], "age": [1, 2]}, ["Row 2", "city", 3, "text"]),
        ({"city": [4], "age": [1]}, ["Row 1", "city", 4, "text"]),
        ({"city": ["a\0b"], "age": [1]}, ["Row 1", "city", "NUL"]),
        ({"city": ["\ud800"], "age": [1]}, ["Row 1", "city", r"'\ud800'"]),
        ({"city": ["a"], "age": [2**24 + 1]}, ["Row 1", "age", 16777217]),
        ({"city": ["a"], "age": [[1, 2]]}, ["age", "(1, 2)"]),
        ({"city": ["a"]}, ["['age']", "['city']"]),
        ({"city": ["a", "b"], "age": [1]}, ["city", 2, "age", 1]),
        ({"city": "a", "age": [1]}, ["city", "a"]),
        ({3: [1]}, [3]),
        ([{"city": "a", "age": 1}, 5], ["Row 2", "int", "row 1", "dict"]),
        (pl.DataFrame(COLUMNS).lazy(), ["LazyFrame", "collect()"]),
        (pd.DataFrame([[1, 2]], columns=["age", "age"]), ["['age']"]),
        (np.zeros((2, 3)), ["2 columns", "float64", "(2, 3)"]),
        ({}, ["columns", 1]),
    ],
    ids=range(16),
)
def test_what_does_not_fit_is_named_by_row_and_column(data, named):
    with refused(InvalidInput, *named):
        as_rows(PERSON, data)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, "x"], "text and whole number"),
        ([1j], "complex"),
        (pl.Series([0]).cast(pl.Date), "date"),
        (pd.Series(pd.to_datetime(["2026-01-01"])), "Timestamp"),
        ([[1, 2], [3]], "list"),
    ],
)
def test_a_column_of_no_one_kind_is_refused_by_name(values, kind):
    with refused(InvalidInput, "'when'", kind):
        as_rows(None, {"when": values})


def test_columns_that_the_model_does_not_take_may_hold_anything():
    data = pd.DataFrame(COLUMNS).assign(
        born=pd.to_datetime("2026-01-01"), marks=[[[1], [2, 3]]] * 2
    )

    assert as_rows(PERSON, data).tolist() == as_rows(PERSON, COLUMNS).tolist()


def test_a_frame_of_pandas_without_names_is_taken_by_its_numbers():
    frame = pd.DataFrame([[1, 2], [3, 4]])

    assert as_rows(Tensor("x", "float32", (2,)), frame).tolist() == [[1, 2], [3, 4]]
    assert as_rows(None, frame).dtype.names == ("0", "1")


def test_a_gap_in_a_vector_is_nan_or_named():
    tensor, data = Tensor("x", "float32", (2,)), {"x": [[1, 2], [3, None]]}

    for rows in (as_rows(tensor, data), as_rows(None, data)["x"]):
        assert np.array_equal(rows, [[1, 2], [3, np.nan]], equal_nan=True)
    with refused(InvalidInput, "Row 2", "x", "[2]"):
        as_rows(tensor, data, missing="refuse")


def test_whole_numbers_that_numpy_has_no_type_for_are_refused_by_row():
    with refused(InvalidInput, "Row 2", "n", 2**70):
        as_rows(None, pl.DataFrame({"n": [1, 2**70]}, {"n": pl.Int128}))


def test_columns_stand_side_by_side_for_a_model_of_one_input():
    row = Tensor("x", "float32", (2,))

    assert as_rows(row, {"a": [1, 2], "b": [3, 4]}).tolist() == [[1, 3], [2, 4]]
    assert as_rows(Tensor("x", "str", ()), {"t": ["a", "bc"]}).tolist() == ["a", "bc"]
    with refused(InvalidInput, "row 1", "(2,)", "x: float32 (batch, 2)"):
        as_rows(row, {"a": [1, 2]})


def test_vectors_are_a_field_with_a_shape():
    rows = as_rows(None, {"a": [1.0, 2.0], "b": [[1, 2], [3, 4]]})

    assert rows.dtype["b"].shape == (2,)
    assert np.concatenate([rows, rows[::-1]])["b"].tolist() == [[1, 2], [3, 4], [3, 4], [1, 2]]


def test_samples_keep_records_and_their_file_needs_no_pickle():
    samples = Samples(pd.DataFrame(COLUMNS), pd.Series([0, 1]))
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, inputs=samples.inputs)
    file.seek(0)

    assert np.load(file, allow_pickle=False)["inputs"].tolist() == samples.inputs.tolist()
    assert not samples.inputs.flags.writeable
    assert repr(samples) == "Samples(2 rows, with targets)"
    assert as_frame(samples.inputs).equals(pl.DataFrame(COLUMNS))


def test_a_session_feeds_every_input_of_a_record():
    session = Session(two_inputs(), nan="refuse")
    rows = as_rows(session.signature.input, {"b": [[1, 2], [3, 4]], "a": [10, 20]})

    assert str(session.signature.input) == "a: float32 (batch), b: float32 (batch, 2)"
    assert session.run(rows).tolist() == [[11, 12], [23, 24]]
    assert session.run_all(rows[::-1])["y"].tolist() == [[23, 24], [11, 12]]
    rows["a"][1] = np.nan
    with refused(InvalidInput, "a", "NaN"):
        session.run(rows)


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((2, 3), np.float32),
        np.zeros(2, [("b", "f4", 2), ("a", "f4")]),
        np.zeros(2, [("a", "f4"), ("b", "f4", 3)]),
        np.zeros(2, [("a", "f8"), ("b", "f4", 2)]),
        np.zeros(0, [("a", "f4"), ("b", "f4", 2)]),
    ],
    ids=range(5),
)
def test_a_record_that_does_not_fit_is_refused(batch):
    with refused(InvalidInput, "batch"):
        Session(two_inputs()).run(batch)


@pytest.mark.parametrize("shape", [("n",), ("n", 1)])
def test_a_text_input_takes_text_of_any_width(shape):
    session = Session(text(shape))

    assert session.signature.input == Tensor("x", "str", ())
    assert session.run(np.array(["a", "bcd"])).reshape(-1).tolist() == ["a", "bcd"]
    with refused(InvalidInput, "int64", "x: str", "as_rows"):
        session.run(np.array([1]))


def test_tensors_are_read_from_json_of_any_version():
    assert Tensor.from_dict(asdict(PERSON)) == PERSON
    old = {"name": "y", "dtype": "tensor(string)", "shape": [None]}
    assert Tensor.from_dict(old) == Tensor("y", "str", (None,))
    assert PERSON.numpy_dtype.names == ("city", "age")


def test_a_plain_input_is_still_one_array():
    assert Session(linear()).signature.input == Tensor("x", "float32", (3,))
