"""What the model server makes of bodies for models of several inputs, and of text."""

import asyncio
import csv
import io
import json

import numpy as np
import pytest
from onnx import TensorProto

from tests.graphs import mixed, one_node
from tests.refused import refused
from workbench.modelserver.chunks import json_rows, whole_lines
from workbench.modelserver.contract import Contract
from workbench.modelserver.engine import Engine
from workbench.modelserver.errors import RequestError
from workbench.modelserver.formats import CSV, JSON, JSONLINES, NPY
from workbench.modelserver.function import ModelFunction
from workbench.modelserver.http import Request
from workbench.modelserver.inputs import TEXT, ModelInput
from workbench.modelserver.options import EVEN_IF_ANSWERS_CHANGE, ServerOptions
from workbench.modelserver.records import make_reader

FLOAT = np.dtype(np.float32)
READER = make_reader(
    [
        ModelInput("age", FLOAT, (), (1,)),
        ModelInput("city", TEXT, (), (1,)),
        ModelInput("scores", FLOAT, (2,), (2,)),
    ]
)
TEXTS = make_reader([ModelInput("text", TEXT, (), (1,))])

RECORDS = [
    {"age": 41, "city": "Bern", "scores": [1, 2]},
    {"scores": [0.5, 0], "age": 7.5, "city": 'Ro,"me'},
]
COLUMNS = {name: [each[name] for each in RECORDS] for name in ("scores", "city", "age")}
TABLE = 'city,scores_0,age,scores_1\nBern,1,41,2\n"Ro,""me",0.5,7.5,0\n'


def structured(width=9):
    """The records as an array, its fields in another order and of other types than the model's."""
    made = np.empty(2, [("city", f"U{width}"), ("scores", "f8", 2), ("age", "f8")])
    for name in made.dtype.names:
        made[name] = COLUMNS[name]
    return made


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def read(content_type, body, reader=READER):
    return reader.read(content_type, body if isinstance(body, bytes) else body.encode())


def refusal(content_type, body, reader=READER):
    with pytest.raises(RequestError) as caught:
        read(content_type, body, reader)
    assert caught.value.status == 400
    return str(caught.value)


FORMS = {
    "records": (JSON, json.dumps(RECORDS)),
    "instances": (JSON, json.dumps({"instances": RECORDS})),
    "columns": (JSON, json.dumps({"inputs": COLUMNS})),
    "lists": (JSON, json.dumps([[41, "Bern", [1, 2]], [7.5, 'Ro,"me', [0.5, 0]]])),
    "features": (JSON, json.dumps({"instances": [{"features": RECORDS[0]}, RECORDS[1]]})),
    "lines": (JSONLINES, "\n\n".join(map(json.dumps, RECORDS))),
    "header": (CSV, TABLE),
    "Excel": (CSV, "\ufeff" + TABLE.replace("\n", "\r\n")),
    "no header": (CSV, '41,Bern,1,2\n\n7.5,"Ro,""me",0.5,0'),
    "array": (NPY, npy(structured())),
    "wide": (NPY, npy(structured(width=4000))),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_names_the_inputs(form):
    rows = read(*FORMS[form]).rows

    assert rows.dtype.names == ("age", "city", "scores")
    assert rows["age"].dtype == rows["scores"].dtype == np.float32
    assert rows["age"].tolist() == [41, 7.5]
    assert rows["city"].tolist() == ["Bern", 'Ro,"me']
    assert rows["scores"].tolist() == [[1, 2], [0.5, 0]]


@pytest.mark.parametrize(
    ("form", "wrapped"), [("records", ""), ("instances", "predictions"), ("columns", "outputs")]
)
def test_answers_are_wrapped_as_rows_came(form, wrapped):
    assert read(*FORMS[form]).wrapped == wrapped


def test_one_object_is_a_row_without_an_axis_for_the_batch():
    for content_type, body in ((JSON, json.dumps(RECORDS[0])), (NPY, npy(structured()[0]))):
        asked = read(content_type, body)

        assert asked.single
        assert asked.rows["city"].tolist() == ["Bern"]


WRONG = [
    (JSON, '[{"age": 1, "city": "a", "scores": [1, 2]}, {"age": 1}]', "Row 2"),
    (JSON, '[{"age": 1, "city": "a", "scores": [1, 2], "id": 3}]', "'id'"),
    (JSON, '[{"age": "x", "city": "a", "scores": [1, 2]}]', "Row 1, input 'age' is x"),
    (JSON, '[{"age": null, "city": "a", "scores": [1, 2]}]', "input 'age' is missing"),
    (JSON, '[{"age": 1, "city": 5, "scores": [1, 2]}]', "input 'city' is 5"),
    (JSON, '[{"age": 1, "city": null, "scores": [1, 2]}]', "input 'city' is missing"),
    (JSON, '[{"age": 1, "city": "a\\u0000", "scores": [1, 2]}]', "NUL"),
    (JSON, '[{"age": 1, "city": "a", "scores": [1, 2, 3]}]', "(3,)"),
    (JSON, '[{"age": 1, "city": "a", "scores": [1, "b"]}]', "input 'scores', value [2] is b"),
    (JSON, '[{"age": 1, "city": "a", "scores": [1, [2]]}]', "Row 1, input 'scores'"),
    (JSON, '[{"age": [1], "city": ["a", "b"], "scores": [1, 2]}]', "input 'city'"),
    (JSON, '[{"age": 1e39, "city": "a", "scores": [1, 2]}]', "at most"),
    (JSON, '[{"age": 16777217, "city": "a", "scores": [1, 2]}]', "exactly"),
    (JSON, "[1, 2]", "Row 1 is 1"),
    (JSON, "[[1, 2]]", "2 values"),
    (JSON, "[]", "no rows"),
    (JSON, "5", "list"),
    (JSON, '{"instances": 5}', "list"),
    (JSON, '{"inputs": {"age": [1], "city": ["a", "b"], "scores": [[1, 2]]}}', "differ"),
    (JSON, '{"inputs": {"age": 1, "city": ["a"], "scores": [[1, 2]]}}', "list"),
    (JSON, '{"inputs": [1]}', "list"),
    (JSONLINES, '{"age": 1}\n', "'city', 'scores'"),
    (CSV, TABLE.replace("41", "old"), "Row 1, input 'age' is old"),
    (CSV, TABLE.replace("41", "1_000"), "Row 1, input 'age'"),
    (CSV, TABLE.replace("41", ""), "input 'age' is missing"),
    (CSV, TABLE.replace("41,2", "41"), "3 cells"),
    (CSV, TABLE.replace("7.5", '"7.5'), "CSV"),
    (CSV, "city,scores_0,age,scores_1\n", "no rows"),
    (CSV, "", "no rows"),
    (CSV, b"\xff", "CSV"),
    (NPY, npy(np.ones((2, 4))), "structured"),
    (NPY, npy(np.zeros(2, [("age", "f4")])), "'age'"),
    (NPY, npy(structured()).replace(b"'<U9'", b"'|O' "), "records"),
    (NPY, npy(structured()).replace(b"B\0\0\0", b"B\0\xff\xff"), "Unicode"),
    (NPY, npy(structured()).replace(b"B\0\0\0", b"\0\xd8\0\0"), "Unicode"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_the_model_does_not_take_is_refused_by_row_and_input(number):
    content_type, body, named = WRONG[number]
    said = refusal(content_type, body)

    assert named in said
    assert "Error" not in said


ONE_TEXT = [
    (JSON, '["a", "b"]'),
    (JSON, '[["a"], ["b"]]'),
    (JSON, '{"instances": ["a", "b"]}'),
    (JSON, '{"instances": [{"text": "a"}, {"text": "b"}]}'),
    (JSON, '{"inputs": ["a", "b"]}'),
    (JSONLINES, '"a"\n"b"\n'),
    (CSV, "text\na\nb\n"),
    (CSV, "a\nb\n"),
    (NPY, npy(np.array(["a", "b"]))),
    (NPY, npy(np.array([["a"], ["b"]]))),
]


@pytest.mark.parametrize("number", range(len(ONE_TEXT)))
def test_a_model_of_one_text_takes_texts(number):
    assert read(*ONE_TEXT[number], TEXTS).rows.tolist() == ["a", "b"]


def test_one_text_is_a_row_without_an_axis_for_the_batch():
    for content_type, body in ((JSON, '"a"'), (JSON, '{"text": "a"}'), (NPY, npy(np.array("a")))):
        assert read(content_type, body, TEXTS).single


def test_texts_of_one_input_may_be_vectors():
    reader = make_reader([ModelInput("text", TEXT, (2,), (2,))])
    for body in ('[["a", "b"]]', '[{"text": ["a", "b"]}]', '{"text": ["a", "b"]}', '["a", "b"]'):
        assert read(JSON, body, reader).rows.tolist() == [["a", "b"]]


def test_a_csv_has_no_cells_for_an_input_of_any_size():
    for kind in (FLOAT, TEXT):
        reader = make_reader(
            [ModelInput("age", FLOAT, (), ()), ModelInput("any", kind, (None,), ())]
        )
        said = refusal(CSV, "1,2\n", reader)
        assert "Row 1, input 'any'" in said


def test_names_of_any_script_are_kept():
    reader = make_reader([ModelInput("年齢", FLOAT, (), ()), ModelInput("é", FLOAT, (), ())])
    with pytest.warns(UserWarning, match="3.0"):
        body = npy(np.array([(1, 2)], [("年齢", "f4"), ("é", "f4")]))

    assert read(NPY, body, reader).rows["年齢"].tolist() == [1]


def test_a_free_axis_has_one_size_in_a_batch():
    reader = make_reader([ModelInput("a", FLOAT, (None,), (None,)), ModelInput("b", TEXT, (), ())])

    assert read(JSON, '[{"a": [1, 2], "b": ""}]', reader).rows["a"].shape == (1, 2)
    assert "Row 2" in refusal(JSON, '[{"a": [1], "b": ""}, {"a": [1, 2], "b": ""}]', reader)


LONG = [{"age": n, "city": f'a "[{{{n}]}},\\', "scores": [n, 0.5]} for n in range(50_000)]


def long(content_type):
    if content_type == JSON:
        return json.dumps({"instances": LONG}).encode()
    if content_type == JSONLINES:
        return "".join(json.dumps(each) + "\n" for each in LONG).encode()
    made = np.zeros(50_000, [("age", "f8"), ("city", "U20"), ("scores", "f4", 2)])
    made["age"] = np.arange(50_000)
    made["city"] = [each["city"] for each in LONG]
    return npy(made)


@pytest.mark.parametrize("content_type", [JSON, JSONLINES, NPY])
def test_large_bodies_come_in_blocks_whatever_their_texts_hold(content_type):
    body = long(content_type)
    blocks = [b.rows for b in READER.blocks(content_type, io.BytesIO(body), len(body))]

    assert len(blocks) > 2
    assert max(map(len, blocks)) < 40_000
    assert np.concatenate(blocks)["age"].tolist() == list(range(50_000))
    assert np.concatenate(blocks)["city"].tolist() == [each["city"] for each in LONG]


def test_a_header_counts_for_all_blocks_of_a_csv_and_lines_go_on_within_quotes():
    body = "city,age,scores_0,scores_1\n" + "".join(
        f'"a ""[{n}]\n,",{n},{n},0.5\n' for n in range(60_000)
    )
    blocks = [b.rows for b in READER.blocks(CSV, io.BytesIO(body.encode()), len(body))]

    assert len(blocks) > 1
    assert np.concatenate(blocks)["city"].tolist() == [f'a "[{n}]\n,' for n in range(60_000)]


@pytest.mark.parametrize("content_type", [JSON, JSONLINES])
def test_a_wrong_value_of_a_later_block_is_named_by_its_row(content_type):
    body = long(content_type).replace(b'"age": 49000', b'"age": "no"')

    with refused(RequestError, "Row 49001", "'age'", "no"):
        list(READER.blocks(content_type, io.BytesIO(body), len(body)))


@pytest.mark.parametrize("piece", range(1, 30))
def test_pieces_of_any_size_are_cut_between_rows(piece):
    document = b'["a,\\"]", "\\\\", "\\\\\\",[", "b"]'
    rows = [
        each
        for part in json_rows(io.BytesIO(document), 1, piece=piece)
        for each in json.loads(part)
    ]
    table = b'"a\n""b",1\r\n\n"",2\n"\n\n",3\r"c",4'
    cells = [
        row
        for part in whole_lines(io.BytesIO(table), piece=piece, quoted=True)
        for row in csv.reader(io.StringIO(part.decode(), newline=""), strict=True)
        if row
    ]

    assert rows == json.loads(document)
    assert cells == [['a\n"b', "1"], ["", "2"], ["\n\n", "3"], ["c", "4"]]


@pytest.fixture(name="engine", scope="module")
def _engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "model.onnx").write_bytes(mixed())
    return Engine(folder)


def test_the_model_answers_records(engine):
    reader = make_reader(engine.inputs)
    engine.warm()

    for form in FORMS.values():
        assert engine.run(read(*form, reader).rows).tolist() == [[45.0], [8.0]]


def test_a_model_of_one_text_answers(tmp_path):
    (tmp_path / "model.onnx").write_bytes(
        one_node(
            "Identity", inputs=[("x", TensorProto.STRING, ["n", 1])], output=TensorProto.STRING
        )
    )
    engine = Engine(tmp_path)
    engine.warm()
    rows = read(JSON, '["a", "é"]', make_reader(engine.inputs)).rows

    assert engine.run(rows).tolist() == [["a"], ["é"]]


def test_requests_of_several_inputs_are_stacked(engine, monkeypatch):
    sizes, answers, answer = [], [], engine.run
    monkeypatch.setattr(engine, "run", lambda rows: sizes.append(len(rows)) or answer(rows))

    async def ask():
        contract = Contract(engine, ServerOptions(max_batch=8, stack=EVEN_IF_ANSWERS_CHANGE))
        for content_type, body in (FORMS["records"], FORMS["header"], FORMS["wide"]):
            request = Request()
            request.method, request.path = "POST", "/invocations"
            request.headers = {"content-type": content_type, "accept": JSON}
            request.body = body if isinstance(body, bytes) else body.encode()
            contract.handle(request, answers.append)
        while len(answers) < 3:
            await asyncio.sleep(0)

    asyncio.run(ask())
    assert sizes == [6]
    assert {each.body for each in answers} == {b"[[45.0],[8.0]]"}


def test_a_function_answers_records(tmp_path):
    (tmp_path / "model.onnx").write_bytes(mixed())
    function = ModelFunction(tmp_path, {})

    assert function(RECORDS, None) == {"predictions": [[45.0], [8.0]]}
    assert function({"inputs": COLUMNS}, None) == {"outputs": [[45.0], [8.0]]}
    event = {"headers": {"content-type": CSV}, "body": TABLE}
    assert function(event, None)["body"] == "45.0\n8.0\n"


def test_values_may_be_missing_where_the_samples_lacked_some(tmp_path):
    (tmp_path / "model.onnx").write_bytes(mixed())
    body = b'[{"age": null, "city": null, "scores": [1, null]}]'
    with refused(RequestError, "Row 1", "'age'"):
        make_reader(Engine(tmp_path).inputs).read(JSON, body)

    (tmp_path / "model.json").write_text('{"gaps": true}')
    reader = make_reader(Engine(tmp_path).inputs)
    for content_type, each in ((JSON, body), (CSV, b",,1,NA\n")):
        rows = reader.read(content_type, each).rows
        assert np.isnan(rows["age"]).all()
        assert rows["city"].tolist() == [""]
        assert np.isnan(rows["scores"]).tolist() == [[False, True]]
    assert "is x" in refusal(JSON, '[{"age": "x", "city": null, "scores": [1, 2]}]', reader)
