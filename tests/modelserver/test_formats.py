"""What the container makes of bodies, and what it writes."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.refused import refused
from workbench.modelserver.casts import as_numbers, cast, pack_floats
from workbench.modelserver.chunks import PIECE_BYTES
from workbench.modelserver.errors import RequestError
from workbench.modelserver.formats import (
    CSV,
    JSON,
    JSONLINES,
    NPY,
    TYPES,
    InputBatch,
    Reader,
    choose,
    write,
)
from workbench.modelserver.streaming import BlockWriter

READER = Reader(np.dtype(np.float32), (3,))
ROWS = np.array([[1, 2, 3], [4, 5.5, -6]], np.float32)


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def bodies(rows):
    return {
        NPY: npy(rows),
        JSON: json.dumps(rows.tolist()).encode(),
        CSV: "".join(",".join(map(str, row)) + "\r\n" for row in rows.tolist()).encode(),
        JSONLINES: "".join(json.dumps(row) + "\n" for row in rows.tolist()).encode(),
    }


def refusal(content_type, body, reader=READER):
    with pytest.raises(RequestError) as caught:
        reader.read(content_type, body)
    return caught.value.status, str(caught.value)


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("count", [1, 2])
def test_each_type_is_read_and_written(content_type, count):
    asked = READER.read(content_type, bodies(ROWS[:count])[content_type])
    written = write(content_type, asked.rows, asked)
    again = READER.read(content_type, written)

    assert asked.rows.dtype == np.float32
    assert np.array_equal(asked.rows, ROWS[:count])
    assert np.array_equal(again.rows, asked.rows)
    assert not asked.single


@pytest.mark.parametrize(("content_type", "body"), [(JSON, b"[1,2,3]"), (NPY, npy(ROWS[0]))])
def test_a_row_without_an_axis_for_the_batch_is_answered_without(content_type, body):
    asked = READER.read(content_type, body)

    assert asked.rows.shape == (1, 3)
    assert READER.read(content_type, write(content_type, asked.rows, asked)).single


def test_instances_are_answered_as_predictions():
    for body in (b'{"instances":[[1,2,3]]}', b'{"instances":[{"features":[1,2,3]}]}'):
        asked = READER.read(JSON, body)
        assert write(JSON, asked.rows, asked) == b'{"predictions":[[1.0,2.0,3.0]]}'


def test_lines_may_name_their_features():
    asked = READER.read(JSONLINES, b'{"features":[1,2,3]}\n\n[4,5,6]\n')

    assert asked.rows.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    "line", [b'+1,.5,"3"', b" 1, 0.5 ,3e0", b"1e0,5E-1,3.", b"1,0.5,3\n", b"1,0.5,3\r\n\r\n"]
)
def test_csv_may_write_numbers_as_people_do(line):
    assert READER.read(CSV, line).rows.tolist() == [[1, 0.5, 3]]


def test_csv_holds_whole_rows_of_any_shape():
    square, scalars = Reader(np.dtype(np.float32), (2, 2)), Reader(np.dtype(np.float32), ())

    assert square.read(CSV, b"1,2,3,4\n5,6,7,8").rows.shape == (2, 2, 2)
    assert scalars.read(CSV, b"1\n2\n").rows.tolist() == [1, 2]
    assert scalars.read(JSON, b"7").single


def test_a_free_axis_takes_any_size():
    free = Reader(np.dtype(np.float32), (None, 2))

    assert free.read(JSON, b"[[[1,2],[3,4]]]").rows.shape == (1, 2, 2)
    assert refusal(JSON, b"[[[1,2,3]]]", free)[0] == 400


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("int64", b"[[1,2,3]]", [[1, 2, 3]]),
        ("uint8", b"[[0,2,255]]", [[0, 2, 255]]),
        ("bool", b"[[true,false,true]]", [[True, False, True]]),
        ("bool", b"[[1,0,1.0]]", [[True, False, True]]),
        ("int32", b"[[1,2,3.0]]", [[1, 2, 3]]),
        ("float16", b"[[1,0.5,3]]", [[1, 0.5, 3]]),
        ("float64", b"[[0.1,2,true]]", [[0.1, 2, 1]]),
    ],
)
def test_values_are_read_in_the_model_s_own_type(kind, body, expected):
    rows = Reader(np.dtype(kind), (3,)).read(JSON, body).rows

    assert rows.dtype == kind
    assert rows.tolist() == expected


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("int64", b"[[1,2,0.5]]"),
        ("uint8", b"[[0,2,256]]"),
        ("uint8", b"[[0,2,-1]]"),
        ("bool", b"[[1,0,2]]"),
        ("float16", b"[[1,2,70000]]"),
        ("float32", b"[[1,2,1e39]]"),
        ("float32", b"[[0.5,2,16777217]]"),
        ("float64", b"[[0.5,2,9007199254740993]]"),
        ("int64", b"[[1,2,99999999999999999999999]]"),
    ],
)
def test_values_that_would_not_survive_the_model_s_type_are_refused(kind, body):
    assert refusal(JSON, body, Reader(np.dtype(kind), (3,)))[0] == 400


@pytest.mark.parametrize(
    ("content_type", "body", "complaint"),
    [
        (JSON, b"", "not JSON"),
        (JSON, b"[1,2", "not JSON"),
        (JSON, b"[[1,2,NaN]]", "not JSON"),
        (JSON, b"\xff", "not JSON"),
        (JSON, b"[" * 5000, "not JSON"),
        (JSON, b"[]", "no rows"),
        (JSON, b"[[1,2,3],[1,2]]", "one shape"),
        (JSON, b"[[1,2]]", "shape"),
        (JSON, b"[[[1,2,3]]]", "shape"),
        (JSON, b'[["1","2","3"]]', "must be a number"),
        (JSON, b"[[1,2,null]]", "Row 1, column 3 is missing"),
        (JSON, b"[1,null,3]", "Row 1, column 2 is missing"),
        (CSV, b"1,2,3\n1,NA,3\n", "Row 2, column 2 is missing"),
        (CSV, b"1,2,3\n1,nan,3\n", "Row 2, column 2 is missing"),
        (CSV, b"1,1_000,3\n", "must hold numbers"),
        (JSON, b'{"rows":[[1,2,3]]}', "instances"),
        (JSON, b'{"instances":3}', "list"),
        (JSON, b'{"instances":[{"x":1}]}', "must be a number"),
        (JSON, b"7", "shape"),
        (JSONLINES, b"", "no rows"),
        (JSONLINES, b"[1,2,3]\nx\n", "not JSON"),
        (JSONLINES, b"[1,2,3],[1,2,3]\n", "one JSON value"),
        (CSV, b"\n", "no rows"),
        (CSV, b"a,b,c\n1,2,3\n", "must hold numbers"),
        (CSV, b"1,2,3\n1,2\n", "must hold numbers"),
        (CSV, b"1,2\n", "shape"),
        (CSV, b"1,,3\n", "Row 1, column 2 is missing"),
        (CSV, b"1,true,x\n", "must hold numbers"),
        (CSV, b"\xff\n", "must hold numbers"),
        (CSV, b'"' + b"1" * 200_000, "must hold numbers"),
        (CSV, "\x85".encode(), "shape (1, 1)"),  # a line's end in text, not in bytes
        (NPY, npy(ROWS).replace(b"}", b"("), "NumPy's format"),
        (NPY, b"", "numpy.save"),
        (NPY, b"[[1,2,3]]abcdefgh", "numpy.save"),
        (NPY, npy(ROWS)[:-1], "not as long"),
        (NPY, npy(ROWS) + b"1", "not as long"),
        (NPY, npy(ROWS)[:40], "NumPy's format"),
        (NPY, b"\x93NUMPY\x09\x00" + npy(ROWS)[8:], "NumPy's format"),
        (NPY, npy(np.zeros((0, 3), np.float32)), "shape"),
        (NPY, npy(np.array([[None] * 3])), "numbers, got object"),
        (NPY, npy(np.array([["a"] * 3])), "numbers, got"),
        (NPY, npy(np.ones((2, 3), complex)), "numbers, got complex"),
        (NPY, npy(np.zeros(2, [("a", "f4")])), "numbers, got"),
    ],
)
def test_a_body_that_is_wrong_is_refused_with_what_is_wrong(content_type, body, complaint):
    new = Reader(np.dtype(np.float32), (3,))  # which has read nothing yet that was right
    for reader in (new, READER):
        status, reason = refusal(content_type, body, reader)

        assert status == 400
        assert complaint in reason


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.no_cover
def test_a_value_far_down_a_streamed_body_is_named_by_its_row(content_type):
    rows = np.ones((PIECE_BYTES // 8, 3), np.int64)
    rows[-2, 1] = 300
    reader = Reader(np.dtype(np.uint8), (3,))
    file = io.BytesIO(bodies(rows)[content_type])

    with refused(RequestError, f"Row {len(rows) - 1}", "column 2", 300) as caught:
        list(reader.blocks(content_type, file, len(file.getvalue())))
    assert caught.value.status == 400


def test_an_array_like_the_one_before_is_read_with_its_own_values():
    reader = Reader(np.dtype(np.float32), (2, 2))
    rows = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    arrays = [rows[:1], rows[1:2], rows, rows[0], rows[1], rows[1].T, rows.astype(">f4"), rows * 2]
    for array in [each for each in arrays for _ in range(2)]:
        for one in (array, array + 1):
            read = reader.read(NPY, npy(one))
            assert np.array_equal(read.rows, one.reshape(-1, 2, 2))
            assert read.single == (one.ndim == 2)
    for wrong in (npy(rows * 2)[:-4], npy(rows * 2) + b"more"):
        assert refusal(NPY, wrong, reader)[0] == 400


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
LEAVES = FLOATS | st.integers(-(2**70), 2**70) | st.booleans() | st.sampled_from([None, "1", {}])


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@given(value=st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=8))
def test_numbers_that_are_packed_at_once_are_those_of_the_rule(kind, value):
    packed = pack_floats(value, np.dtype(kind))
    if packed is not None:
        slow = cast(as_numbers(value, np.dtype(kind)), np.dtype(kind))
        assert packed.dtype == slow.dtype
        assert packed.shape == slow.shape
        assert packed.tobytes() == slow.tobytes()


def test_a_header_that_promises_a_huge_array_costs_nothing():
    huge = npy(ROWS).replace(b"(2, 3)", b"(999999999, 3)"[:14].ljust(6))

    assert refusal(NPY, huge)[0] == 400


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_each_version_of_numpy_s_format_is_read(version):
    file = io.BytesIO()
    np.lib.format.write_array(file, ROWS, version=version)

    assert np.array_equal(READER.read(NPY, file.getvalue()).rows, ROWS)


def test_arrays_in_any_order_and_of_other_numbers_are_read():
    for array in (np.asfortranarray(ROWS), ROWS.astype(">f8"), ROWS.astype(np.int16)):
        rows = READER.read(NPY, npy(array)).rows
        assert rows.dtype == np.float32
        assert np.array_equal(rows, array.astype(np.float32))


def test_more_kinds_of_headers_than_are_kept_are_read():
    for count in range(1, 300):
        assert len(READER.read(NPY, npy(np.zeros((count, 3), np.float32))).rows) == count


@pytest.mark.parametrize("content_type", ["", "text/html", "application/x-npz", "json"])
def test_other_types_are_not_supported(content_type):
    assert refusal(content_type, b"")[0] == 415


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", CSV),
        ("*/*", CSV),
        ("text/html, *;q=.2", CSV),
        ("text/csv", CSV),
        ("text/*", CSV),
        ("application/*", NPY),
        ("Application/JSON", JSON),
        ("application/json; charset=utf-8", JSON),
        ("text/html, application/jsonlines;q=0.2, application/json;q=0.9", JSON),
        ("application/json;q=0, */*;q=0.1", CSV),
        ("application/json;q=x, application/x-npy", NPY),
    ],
)
def test_an_answer_has_the_type_the_client_prefers(accept, chosen):
    assert choose(accept, "Text/CSV; header=absent") == chosen


@pytest.mark.parametrize("accept", ["text/html", "image/*", "application/json;q=0"])
def test_types_that_cannot_be_written_are_not_acceptable(accept):
    with refused(RequestError, "Accept", repr(accept)) as caught:
        choose(accept, JSON)
    assert caught.value.status == 406


def written(outputs, asked=None):
    asked = asked or READER.read(JSON, b"[[1,2,3]]")
    return {name: write(name, np.asarray(outputs), asked) for name in TYPES}


def test_labels_are_written_in_each_type():
    got = written(np.array(["a", 'say "b", c'], object))

    assert json.loads(got[JSON]) == ["a", 'say "b", c']
    assert got[CSV] == b'a\n"say ""b"", c"\n'
    assert got[JSONLINES] == b'"a"\n"say \\"b\\", c"\n'
    assert np.load(io.BytesIO(got[NPY])).tolist() == ["a", 'say "b", c']


def test_one_label_is_written_in_each_type():
    asked = READER.read(JSON, b"[1,2,3]")

    assert written(np.array(["a"], object), asked)[JSON] == b'"a"'
    assert written(np.array([7]), asked)[JSON] == b"7"
    assert np.load(io.BytesIO(written(np.array([7]), asked)[NPY])).shape == ()


def test_what_json_cannot_say_is_null():
    got = written(np.array([[np.nan, np.inf]], np.float32))

    assert got[JSON] == b"[[null,null]]"
    assert got[CSV] == b"nan,inf\n"


def test_floats_survive_being_written_as_text():
    values = np.array([[0.1, 1 / 3, 1e-30, 16777217]], np.float32)
    got = written(values)

    for text in (got[JSON][1:-1], got[JSONLINES].strip(), b"[" + got[CSV].strip() + b"]"):
        assert np.array(json.loads(text), np.float32).tolist() == values[0].tolist()


@pytest.mark.parametrize("kind", ["int64", "uint8", "bool", "float64", "float16"])
def test_numbers_of_each_type_are_written(kind):
    values = np.array([[0, 1], [1, 0]], kind)

    assert json.loads(written(values)[JSON]) == values.tolist()
    assert np.load(io.BytesIO(written(values)[NPY])).dtype == kind


def test_answers_need_not_be_contiguous():
    values = np.arange(12, dtype=np.float32).reshape(4, 3).T

    assert json.loads(written(values)[JSON]) == values.tolist()
    assert np.array_equal(np.load(io.BytesIO(written(values)[NPY])), values)


@pytest.mark.parametrize("kind", [np.int64, np.longlong, np.float32, np.bool_, np.str_])
def test_labels_of_any_type_are_written_one_a_line_or_alone(kind):
    labels = np.array([1, 0], dtype=kind)
    lines = write(JSONLINES, labels, InputBatch(labels))
    alone = write(JSON, labels, InputBatch(labels, single=True))

    assert [json.loads(line) for line in lines.splitlines()] == labels.tolist()
    assert json.loads(alone) == labels.tolist()[0]


def in_blocks(content_type, body, reader=READER):
    return list(reader.blocks(content_type, io.BytesIO(body), len(body)))


@pytest.fixture(scope="module")
def many():
    rows = np.arange(540_000, dtype=np.float32).reshape(-1, 3)
    return rows, bodies(rows)


@pytest.mark.parametrize("content_type", TYPES)
def test_a_large_body_is_read_in_blocks_that_hold_what_the_whole_does(content_type, many):
    rows, written = many

    blocks = in_blocks(content_type, written[content_type])

    assert len(blocks) > 2
    assert max(block.rows.nbytes for block in blocks) < rows.nbytes / 2
    np.testing.assert_array_equal(np.concatenate([block.rows for block in blocks]), rows)


def test_an_array_that_lies_column_by_column_is_read_in_blocks():
    reader = Reader(np.dtype("float32"), (2, 3))
    rows = np.asfortranarray(np.arange(600_000, dtype=np.float64).reshape(-1, 2, 3))

    blocks = in_blocks(NPY, npy(rows), reader)

    assert len(blocks) > 2
    np.testing.assert_array_equal(np.concatenate([block.rows for block in blocks]), rows)


def long(first, then, last="", *, join=","):
    """Text of more than a block."""
    return (first + join.join([then] * 200_000) + last).encode()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (JSON, long("[", "[1, 2, 3]")),
        (JSON, long("[", "[1, 2, 3]", "]]")),
        (JSON, long("[", "[1, 2, 3]", ", 1, 2, 3]")),
        (JSON, long("[", "[1, 2, 3]", ",]")),
        (JSON, long("[", "[1, 2, 3]", ", [1, 2, 3]")),
        (JSON, long("[", "[1, 2, 3]", ", [[1, 2, 3]]]")),
        (JSON, long('{"instances": [', "[1, 2, 3]", "]")),
        (JSON, long('{"instances": [', "[1, 2, 3]", '], "instances": [[1, 2, 3]]}')),
        (JSON, long('{"instances": [', "[1, 2, 3]", ', "]"]}')),
        (JSONLINES, long("", "[1, 2, 3]", "\n[1, 2]", join="\n")),
        (CSV, long("", "1, 2, 3", "\n1, 2", join="\n")),
        (CSV, b" \n" * 600_000),
        (NPY, npy(np.ones((400_000, 3)))[:-1]),
        (NPY, npy(np.ones((400_000, 2)))),
        (NPY, b"no array"),
    ],
)
def test_a_large_body_that_is_wrong_at_its_end_is_refused(content_type, body):
    with pytest.raises(RequestError) as error:
        in_blocks(content_type, body)

    assert error.value.status == 400


def test_rows_of_a_free_axis_have_one_size_in_all_blocks():
    reader = Reader(np.dtype("float32"), (None,))

    body = b"1," * (PIECE_BYTES // 2 - 1) + b"1\n"  # a block of its own
    with refused(RequestError, "shape", "float32"):
        in_blocks(CSV, body + b"1,2\n", reader)


@pytest.mark.parametrize("row", [npy(np.ones(3)), b"[1, 2, 3]"], ids=["npy", "json"])
def test_a_single_row_is_one_block(row):
    (asked,) = in_blocks(NPY if row[0] == 0x93 else JSON, row)

    assert asked.single
    assert asked.rows.shape == (1, 3)


def test_instances_stay_instances_in_blocks():
    body = long('{"instances": [', '{"features": [1, 2, 3]}', '], "other": 1}')
    blocks = in_blocks(JSON, body)

    assert len(blocks) > 2
    assert all(block.wrapped for block in blocks)
    assert sum(len(block.rows) for block in blocks) == 200_000


def put_together(content_type, parts, **options):
    """The bytes of answers that were written one after another."""
    writer = BlockWriter(content_type, io.BytesIO())
    for part in parts:
        writer.add(part, InputBatch(part, **options))
    made = writer.finish()
    with made.file as file:
        file.seek(made.offset)
        return file.read(made.length)


@pytest.mark.parametrize("wrapped", ["", "predictions", "outputs"])
@pytest.mark.parametrize("content_type", TYPES)
def test_answers_in_blocks_are_those_of_the_whole(content_type, wrapped):
    whole = np.arange(12, dtype=np.float32).reshape(4, 3)

    made = put_together(content_type, [whole[:1], whole[1:]], wrapped=wrapped)

    assert made == write(content_type, whole, InputBatch(whole, wrapped=wrapped))


@pytest.mark.parametrize("content_type", TYPES)
def test_labels_in_blocks_are_those_of_the_whole(content_type):
    whole = np.array(["a", "much longer", "b"], object)

    made = put_together(content_type, [whole[:1], whole[1:]])

    assert made == write(content_type, whole, InputBatch(whole))


def test_answers_whose_shape_changes_are_an_error():
    with refused(ValueError, "(2,)", "(3,)"):
        put_together(NPY, [np.ones((1, 2)), np.ones((1, 3))])
