"""Paths of filters, and how objects become requests, without a cloud."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.refused import refused
from workbench.errors import InvalidInput
from workbench.localcloud.sagemaker.jsonpath import PathNotFound, parse
from workbench.localcloud.sagemaker.records import Processing, Splitting

RECORD = {"id": 7, "x": [1, 2, {"y": 3}], "a b": "text"}


@pytest.mark.parametrize(
    ("path", "picked"),
    [
        ("$", RECORD),
        ("$.id", 7),
        ("$['a b']", "text"),
        ("$.x[2].y", 3),
        ("$.x[-1]['y']", 3),
        ("$.x[0,1]", [1, 2]),
        ("$.x[0, 1:]", [1, 2, {"y": 3}]),
        ("$.x[:2]", [1, 2]),
        ("$.x[5:]", []),
        ("$.['id','x']", {"id": 7, "x": [1, 2, {"y": 3}]}),
        ("$.x[*]", [1, 2, {"y": 3}]),
        ("$.*", [7, [1, 2, {"y": 3}], "text"]),
    ],
)
def test_a_path_picks_what_it_says(path, picked):
    assert parse(path).pick(RECORD) == picked


@pytest.mark.parametrize("path", ["$.y", "$.x.y", "$[0]", "$.x[3]", "$['id','y']", "$.id[0]"])
def test_what_is_not_there_is_said(path):
    with refused(PathNotFound, path):
        parse(path).pick(RECORD)


@pytest.mark.parametrize("path", ["", "x", "$x", "$[", "$[a]", "$..x", "$['a',0]", "$[?(@.x)]"])
def test_what_is_no_path_is_refused(path):
    with refused(InvalidInput, repr(path)):
        parse(path)


@pytest.mark.parametrize(
    ("path", "sign"),
    [
        ("$[0:2,3:]", "[0:2,3:]"),
        ("$[:1, 0, 2:]", "[:1, 0, 2:]"),
        ("$['id','x.y']", "['id','x.y']"),
        ("$['account_id']", "'_'"),
        ("$.account_id", "'_'"),
        ('$["id"]', "'\"'"),
    ],
)
def test_what_sagemaker_refuses_is_refused(path, sign):
    with refused(InvalidInput, repr(path), sign):
        parse(path)


@given(
    st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=40),
    st.integers(31, 100),
    st.booleans(),
)
def test_lines_are_packed_without_loss_and_within_the_limit(lines, most, single):
    content = b"\n".join(lines)
    splitting = Splitting(lines=True, single=single, max_payload=most)
    payloads = list(splitting.payloads(io.BytesIO(content)))
    sent = [line for each in payloads for line in each.body.split(b"\n")]
    assert all(len(each.body) <= most for each in payloads)
    assert [line for line in sent if line.strip()] == [
        line.rstrip(b"\r") if single else line for line in lines if line.strip()
    ]
    if single:
        assert all(each.count == 1 for each in payloads)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(8, 40))
def test_records_are_numbered_as_they_are_in_the_object(values, most):
    content = "".join(f"{value}\n" for value in values).encode()
    splitting = Splitting(lines=True, single=False, max_payload=most)
    at = 1
    for payload in splitting.payloads(io.BytesIO(content)):
        assert payload.first == at
        at += payload.count
    assert at == len(values) + 1


def test_answers_that_are_not_as_many_as_the_records_are_refused():
    processing = Processing.of({"JoinSource": "Input"}, "text/csv", "")
    splitting = Splitting(lines=True, single=False, max_payload=100, processing=processing)
    (payload,) = splitting.payloads(io.BytesIO(b"1\n2\n"))
    with refused(InvalidInput, 2, 1):
        splitting.assemble_answer(payload, b"3\n")


def test_a_whole_json_object_is_one_record():
    wanted = {"JoinSource": "Input", "InputFilter": "$.rows"}
    processing = Processing.of(wanted, "application/json", "application/json")
    splitting = Splitting(lines=False, single=False, max_payload=100, processing=processing)
    (payload,) = splitting.payloads(io.BytesIO(b'{"rows":\n[[1], [2]]}'))
    assert json.loads(payload.body) == [[1], [2]]
    assert json.loads(splitting.assemble_answer(payload, b"[3, 4]")) == {
        "rows": [[1], [2]],
        "SageMakerOutput": [3, 4],
    }
