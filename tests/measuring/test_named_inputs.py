"""Tables as the rows of models of several inputs and of text, and answers that are texts."""

import io
import json

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tests.refused import refused
from workbench.backends.sagemaker import pack_npy, unpack_npy
from workbench.errors import InvalidInput
from workbench.measuring.conversion import InputSpec
from workbench.measuring.inputs import open_source
from workbench.measuring.outputs import open_writer
from workbench.registry.onnx import Tensor
from workbench.registry.rows import as_rows

TENSOR = Tensor.record(
    [Tensor("age", "float32", ()), Tensor("city", "str", ()), Tensor("scores", "float32", (2,))]
)
COLUMNS = {
    "id": ["007", "008", "009"],
    "city": ["Bern", 'Ro,"me\n', ""],
    "age": [41.0, 7.5, 1.0],
    "scores": [[1.0, 2.0], [0.5, 0.0], [3.0, 4.0]],
}
FRAME = pl.DataFrame(COLUMNS)
FLAT = FRAME.select(
    "age",
    "city",
    pl.col("scores").list.get(0).alias("scores_0"),
    pl.col("scores").list.get(1).alias("scores_1"),
)
ROWS = as_rows(TENSOR, COLUMNS)


def values(rows):
    return {name: rows[name].tolist() for name in rows.dtype.names}


def read(*args, **options):
    pieces = list(open_source(*args, **options).pieces(workers=2))
    return np.concatenate([piece.inputs() for piece in pieces])


def data(kind, folder):
    path = folder / f"rows.{kind}"
    if kind == "parquet":
        FRAME.write_parquet(path)
    elif kind == "csv":
        FLAT.select(reversed(FLAT.columns)).with_columns(pl.lit("x").alias("other")).write_csv(path)
    elif kind == "jsonl":
        FRAME.write_ndjson(path)
    elif kind == "json":
        path.write_text(json.dumps(FRAME.to_dicts()))
    elif kind == "npy":
        np.save(path, ROWS)
    else:
        categories = FRAME.with_columns(pl.col("city").cast(pl.Categorical))
        return {
            "frame": FRAME,
            "categories": categories,
            "pandas": pd.DataFrame(COLUMNS),
            "columns": COLUMNS,
            "dicts": FRAME.to_dicts(),
            "array": ROWS,
        }[kind]
    return path


KINDS = ["parquet", "csv", "jsonl", "json", "npy", "frame", "categories", "pandas", "columns"]


@pytest.mark.parametrize("kind", [*KINDS, "dicts", "array"])
def test_every_kind_of_table_is_taken_by_names_in_pieces(kind, tmp_path):
    source = open_source(data(kind, tmp_path), TENSOR)
    pieces = list(source.pieces(workers=2))
    rows = np.concatenate([piece.inputs() for piece in pieces])

    assert rows.dtype.names == ("age", "city", "scores")
    assert values(rows) == values(ROWS)
    assert [name for piece in pieces for name in piece.frame()["city"]] == COLUMNS["city"]


def test_a_csv_without_a_header_is_in_the_order_of_the_model(tmp_path):
    path = tmp_path / "rows.csv"
    FLAT.write_csv(path, include_header=False)

    assert values(read(path, TENSOR, header=False)) == values(ROWS)
    with refused(InvalidInput, "41.0,Bern,1.0,2.0", "header=True"):
        open_source(path, TENSOR)


def test_columns_of_other_names_are_given_in_the_order_of_the_model():
    frame = FRAME.rename({"age": "years", "city": "town", "scores": "marks"})
    rows = read(frame, TENSOR, columns=["years", "town", "marks"])

    assert values(rows) == values(ROWS)


def test_a_model_of_one_text_takes_a_column_or_an_array_of_texts():
    text = Tensor("text", "str", ())
    for given in (FRAME, np.array(COLUMNS["city"])):
        columns = ["city"] if given is FRAME else None
        assert read(given, text, columns=columns).tolist() == COLUMNS["city"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"age": [1, None, 2]}, ["Row 2", "age"]),
        ({"age": [1, "x", 2]}, ["age", "row 1"]),
        ({"age": ["a", "b", "c"]}, ["age", "text"]),
        ({"age": [1.0, 1e39, 0.0]}, ["Row 2", "age", 1e39]),
        ({"city": ["a", None, "b"]}, ["Row 2", "city"]),
        ({"city": [1, 2, 3]}, ["Row 1", "city", 1]),
        ({"city": ["a", "\ud800", "b"]}, ["Row 2", "city", r"\ud800"]),
        ({"age": [1, 2**70, 2]}, ["Row 2", "age", 2**70]),
        ({"scores": [[1.0, 2.0], None, [3.0, 4.0]]}, ["Row 2", "scores"]),
        ({"scores": [[1.0], [2.0], [3.0]]}, ["row 1", "(1, 1)", "scores"]),
        ({"scores": [[1.0, 2.0], [2.0], [3.0, 4.0]]}, ["row 2", "(1, 1)", "scores"]),
    ],
)
def test_a_value_that_an_input_does_not_take_is_named(change, named):
    with refused(InvalidInput, *named):
        read(COLUMNS | change, TENSOR)


@pytest.mark.parametrize("make", [dict, lambda columns: pd.DataFrame(columns, dtype=object)])
def test_whole_numbers_and_others_stand_in_one_column(make):
    columns = {"age": [41, 7.5, None], "city": ["a", "b", np.nan], "scores": [[1, 2.5]] * 3}

    rows = read(make(columns), TENSOR, missing="nan")
    assert np.array_equal(rows["age"], [41, 7.5, np.nan], equal_nan=True)
    assert rows["city"].tolist() == ["a", "b", ""]
    assert rows["scores"].tolist() == [[1, 2.5]] * 3
    with refused(InvalidInput, "Row 3", "age"):
        read(make(columns), TENSOR)


def test_a_column_that_is_not_there_is_named():
    with refused(InvalidInput, "['city']", "['age', 'scores']"):
        open_source(FRAME.select("age", "scores"), TENSOR)


def test_an_input_of_any_size_is_not_filled_from_other_columns():
    taken = Tensor.record([Tensor("age", "float32", ()), Tensor("scores", "float32", (None,))])

    assert read(COLUMNS, taken)["scores"].tolist() == COLUMNS["scores"]
    with refused(InvalidInput, "['scores']"):
        read({"age": [1.0, 2.0]}, taken)


def test_what_is_missing_is_nan_or_no_text_where_that_is_asked_for():
    frame = pl.DataFrame({"age": [1.0, None], "city": [None, "a"], "scores": [[1.0, 2.0]] * 2})
    rows = read(frame, TENSOR, missing="nan")

    assert np.isnan(rows["age"]).tolist() == [False, True]
    assert rows["city"].tolist() == ["", "a"]


def test_rows_in_the_middle_of_data_are_counted_from_the_first():
    with refused(InvalidInput, "Row 1003"):
        InputSpec(TENSOR).of(pl.DataFrame(COLUMNS | {"age": [1.0, 2.0, None]}), first=1000)


def test_records_are_sent_as_an_array_and_any_name_is():
    named = np.array([(1, "é")], [("年齢", "f4"), ("b", "U3")])
    many = np.zeros(2, [(f"an input of a long name, {n}", "f4") for n in range(3000)])

    for rows in (ROWS, ROWS[1:]):
        assert values(unpack_npy(pack_npy(rows))) == values(rows)
        assert unpack_npy(pack_npy(rows)).dtype == rows.dtype
    for rows in (named, many):
        sent = np.load(io.BytesIO(pack_npy(rows)), allow_pickle=False, max_header_size=2**20)
        assert sent.dtype == rows.dtype


def test_answers_that_are_texts_are_kept_whatever_their_lengths(tmp_path):
    parts = [np.array(part, object) for part in (["no"], ["yes", "a"], ["perhaps"], ["b"])]
    piece = next(open_source(FRAME, TENSOR).pieces())
    with open_writer(tmp_path / "answers.npy", ()) as answers:
        for part in parts:
            answers.take(part, piece)
        answers.finish()

    kept = np.load(tmp_path / "answers.npy", allow_pickle=False)
    assert kept.tolist() == ["no", "yes", "a", "perhaps", "b"]


@pytest.mark.parametrize(
    ("tensor", "columns"),
    [
        (Tensor("x", "float32", (2, 2)), {"x_0": [1], "x_1": [2], "x_2": [3], "x_3": [4]}),
        (Tensor("x", "float32", (2,)), {"x": [[1, 2], [3, 4]]}),
        (Tensor("x", "float32", (2,)), {"y": [5], "x": [[1, 2]]}),
        (Tensor("x", "float32", (2,)), {"y": [5], "x": [6]}),
        (Tensor("x", "float32", ()), {"x": [[1], [2]]}),
        (Tensor("x", "float32", (1,)), {"y": [1, 2]}),
        (Tensor("x", "float32", (None,)), {"y": [1, 2], "z": [3, 4]}),
        (Tensor.record([Tensor("x", "float32", (2,))]), {"x_1": [1], "x_0": [2]}),
        (Tensor.record([Tensor("x", "float32", ()), Tensor("t", "str", ())]), {"t": ["a"]}),
        (Tensor("x", "float32", (3,)), {"y": [1, 2]}),
        (Tensor("x", "float32", (3,)), {"x": [[1, 2]]}),
    ],
    ids=str,
)
def test_a_table_fits_or_not_by_one_rule_in_memory_and_in_jobs(tensor, columns):
    def outcome(read):
        try:
            return repr(read().tolist())
        except InvalidInput:
            return "refused"

    ways = (lambda: as_rows(tensor, columns), lambda: InputSpec(tensor).of(pl.DataFrame(columns)))
    once, again = map(outcome, ways)
    assert once == again
