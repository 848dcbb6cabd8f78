"""What the model sees is what the user's tables hold, or the value that it cannot is named."""

import math

import numpy as np
import polars as pl
import pytest
from onnx import helper

import workbench as wb
from tests.refused import refused
from workbench.errors import InvalidInput

pytestmark = pytest.mark.usefixtures("at_home")
HERE = wb.Local()


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """A maker of models that answer with their rows, of a type and shape."""
    registry = wb.Registry(tmp_path_factory.mktemp("mirrors"))

    def make(kind, *row):
        name = "-".join(map(str, ["m", kind, *row]))
        code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        values = [helper.make_tensor_value_info(end, code, ["n", *row]) for end in "xy"]
        graph = helper.make_graph(
            [helper.make_node("Identity", ["x"], ["y"])], "g", values[:1], values[1:]
        )
        opset = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=9)
        return registry.register(name, model.SerializeToString(), approval="Approved")

    return make


def seen(model, data, **how):
    return wb.transform(model, data, HERE, **how).outputs.tolist()


def write(folder, text, name="rows.csv"):
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("uint8", "a,b\n255,0\n", [[255, 0]]),
        ("bool", "a,b\n1,0\ntrue,False\n", [[True, False], [True, False]]),
        ("int64", "a,b\n9007199254740993, 1\n", [[2**53 + 1, 1]]),
        ("uint64", "a,b\n18446744073709551615,1\n", [[2**64 - 1, 1]]),
        ("float32", "a,b\n" + "1,2\n" * 120 + "1.5,2\n", [[1, 2]] * 120 + [[1.5, 2]]),
        ("float32", "a,b\n1,2\n3,4\n\n\n", [[1, 2], [3, 4]]),
        ("float32", "a,b\n1,2\n  \n", [[1, 2]]),
        ("float32", "\ufeffa,b\r\n1,inf\r\n\r\n", [[1, math.inf]]),
    ],
)
def test_a_csv_is_read_as_the_model_s_type_wherever_its_decimals_begin(
    mirror, tmp_path, kind, text, expected
):
    assert seen(mirror(kind, 2), write(tmp_path, text)) == expected


@pytest.mark.parametrize(
    ("kind", "text", "named"),
    [
        ("int32", "a,b\n1,2\n4294967301,1\n", ["Row 2", "a", 4294967301]),
        ("uint8", "a,b\n1,-1\n", ["Row 1", "b", -1]),
        ("int64", "a,b\n1,1.5\n", ["Row 1", "b", 1.5]),
        ("bool", "a,b\n1,2\n", ["Row 1", "b", 2]),
        ("float16", "a,b\n1,70000\n", ["Row 1", "b", 70000]),
        ("float32", "a,b\n1,1e39\n", ["Row 1", "b", 1e39]),
        ("float64", "a,b\n1,1e400\n", ["Row 1", "b", "1e400"]),
        ("float32", "a,b\n0.5,2\n16777217,2\n", ["Row 2", "a", 16777217]),
        ("float64", "a,b\n0.5,2\n9007199254740993,2\n", ["Row 2", "a", 9007199254740993]),
        ("int64", "a,b\n9223372036854775808,1\n", ["Row 1", "a", 9223372036854775808]),
        ("float32", "a,b\n1,2\n1,x\n", ["Row 2", "b", "x"]),
    ],
)
def test_a_cell_that_the_model_cannot_hold_is_named_by_row_and_column(
    mirror, tmp_path, kind, text, named
):
    with refused(InvalidInput, *named):
        seen(mirror(kind, 2), write(tmp_path, text))


def test_a_row_is_counted_through_the_pieces_of_every_form(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.measuring.inputs.PIECE_BYTES", 8)
    rows = np.ones((50, 2), np.int64)
    rows[40, 1] = 300
    frame = pl.DataFrame(rows, schema=["a", "b"])
    frame.write_parquet(tmp_path / "rows.parquet")
    frame.write_csv(tmp_path / "rows.csv")
    frame.write_ndjson(tmp_path / "rows.jsonl")
    np.save(tmp_path / "rows.npy", rows)
    for data in (rows, frame, *sorted(tmp_path.iterdir())):
        with refused(InvalidInput, "Row 41", 300):
            seen(mirror("uint8", 2), data)


def test_columns_of_different_types_are_not_made_one_before_they_are_the_model_s(mirror):
    frame = pl.DataFrame({"a": [2**53 + 1], "b": [1.0]})
    assert seen(mirror("int64", 2), frame) == [[2**53 + 1, 1]]
    with refused(InvalidInput, "Row 1", "a", 2**53 + 1):
        seen(mirror("float64", 2), frame)


@pytest.mark.parametrize("cell", ["", "nan", "NaN", "NA", "null", "NULL"])
def test_a_missing_value_is_refused_or_nan_where_that_is_asked_for(mirror, tmp_path, cell):
    path = write(tmp_path, f"a,b\n1,2\n1,{cell}\n")
    with refused(InvalidInput, "Row 2", "b", "missing='nan'"):
        seen(mirror("float32", 2), path)
    np.testing.assert_array_equal(
        seen(mirror("float32", 2), path, missing="nan"), [[1, 2], [1, math.nan]]
    )
    with refused(InvalidInput, "Row 2", "b"):
        seen(mirror("int64", 2), path, missing="nan")


def test_null_of_a_frame_and_of_json_is_a_missing_value(mirror, tmp_path):
    lines = write(tmp_path, '{"a": 1, "b": null}\n{"a": 2, "b": 3}\n', "rows.jsonl")
    for data in (pl.DataFrame({"a": [1, 2], "b": [None, 3]}), lines):
        with refused(InvalidInput, "Row 1", "b"):
            seen(mirror("float32", 2), data)
        found = seen(mirror("float32", 2), data, missing="nan")
        np.testing.assert_array_equal(found, [[1, math.nan], [2, 3]])


def test_a_first_line_of_numbers_is_a_row_unless_it_is_said_to_be_a_header(mirror, tmp_path):
    path, model = write(tmp_path, "1.5,2.5\n3.5,4.5\n"), mirror("float32", 2)
    with pytest.warns(UserWarning, match="taken as a row"):
        assert seen(model, path) == [[1.5, 2.5], [3.5, 4.5]]
    assert seen(model, path, header=False, columns=["x1", "x0"]) == [[2.5, 1.5], [4.5, 3.5]]
    assert seen(model, path, header=True) == [[3.5, 4.5]]


@pytest.mark.parametrize("line", ["0,1", "id,1.5"])
def test_a_first_line_that_may_be_either_is_asked_about(mirror, tmp_path, line):
    with refused(InvalidInput, line, "header=True", "header=False"):
        seen(mirror("float32", 2), write(tmp_path, f"{line}\n3,4\n"))
    assert seen(mirror("float32", 2), write(tmp_path, f"{line}\n3,4\n"), header=True) == [[3, 4]]


def test_columns_that_are_not_used_may_hold_anything(mirror, tmp_path):
    path = write(tmp_path, "id,a,b\n007,1,2\nx,3,4\n")
    output = tmp_path / "answers.parquet"
    wb.transform(mirror("float32", 2), path, HERE, columns=["a", "b"], output=output)
    kept = pl.read_parquet(output)
    assert kept["id"].to_list() == ["007", "x"]
    assert kept["a"].to_list() == [1, 3]


def test_a_schema_says_what_columns_are(mirror, tmp_path):
    path, output = write(tmp_path, "a,b\n16777217,2\n"), tmp_path / "answers.parquet"
    model = mirror("float32", 2)
    wb.transform(model, path, HERE, schema={"a": "float64", "b": pl.Float64}, output=output)
    assert pl.read_parquet(output)["prediction"].to_list() == [[16777216, 2]]
    for schema in ({"a": "bool"}, {"c": "int64"}, {"a": "number"}):
        with pytest.raises(InvalidInput):
            seen(model, path, schema=schema)


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2.5]\n\n[3, 4]\n",
        '{"features": [1, 2.5]}\n{"features": [3, 4]}\n\n',
        '{"a": 1, "b": 2.5}\n{"a": 3, "b": 4}\n',
    ],
)
def test_json_lines_hold_lists_or_named_values(mirror, tmp_path, text):
    path = write(tmp_path, text, "rows.jsonl")
    assert seen(mirror("float32", 2), path) == [[1, 2.5], [3, 4]]


def test_json_lines_without_values_are_no_table(mirror, tmp_path):
    path = write(tmp_path, "{}\n{}\n", "rows.jsonl")
    with refused(InvalidInput, path, "columns"):
        seen(mirror("float32", 2), path)


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
@pytest.mark.parametrize("row", [(4,), (2, 2), (1,), ()])
def test_answers_of_one_model_are_rows_of_the_next(mirror, tmp_path, row, form):
    rows = np.arange(3 * math.prod(row), dtype=np.float32).reshape(3, *row)
    path = tmp_path / "first.parquet"
    wb.transform(mirror("float32", *row), rows, HERE, output=path)
    if form == "jsonl":
        pl.read_parquet(path).select("prediction").write_ndjson(path := tmp_path / "first.jsonl")
    assert seen(mirror("float32", *row), path, columns=["prediction"]) == rows.tolist()


def test_vectors_and_numbers_stand_side_by_side_and_vectors_have_one_length(mirror):
    frame = pl.DataFrame({"v": [[1, 2], [3, 4]], "x": [0.5, 1.5]})
    assert seen(mirror("float32", 3), frame) == [[1, 2, 0.5], [3, 4, 1.5]]
    ragged = pl.DataFrame({"v": [[1, 2, 3], [3, 4]]})
    with refused(InvalidInput, "row 2", "(1, 2)"):
        seen(mirror("float32", 3), ragged)
    with refused(InvalidInput, "Row 2", "v", "[2]"):
        seen(mirror("float32", 2), pl.DataFrame({"v": [[1, 2], [3, None]]}))


def test_samples_for_the_registry_keep_to_the_same_rule(mirror, tmp_path):
    model = mirror("uint8", 2)
    registry = wb.Registry(tmp_path / "more")
    kept = registry.register("m", model.path, samples=np.array([[255, 1], [0, 2]]))
    assert kept.samples().inputs.dtype == np.uint8
    with refused(InvalidInput, "samples", "Row 2", "column 1", 256):
        registry.register("m", model.path, samples=np.array([[255, 1], [256, 2]]))
