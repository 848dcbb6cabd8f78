"""The handler that answers Lambda's events, called as AWS's runtime calls it."""

import base64
import json
import shutil

import numpy as np
import pytest

from workbench.backends.sagemaker import NPY, pack_npy, unpack_npy
from workbench.modelserver.errors import RequestError
from workbench.modelserver.function import ModelFunction, find_model, handler

ENVIRONMENT = {
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/26/[$LATEST]abc",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency",
}


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    shutil.copy(model.path, folder / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def function(folder):
    return ModelFunction(folder, ENVIRONMENT)


@pytest.fixture(scope="module")
def rows(model):
    return model.samples().inputs[:3]


@pytest.fixture(scope="module")
def expected(model, rows):
    """As texts have it: with the digits that a float of 32 bits needs."""
    return [[float(str(value)) for value in row] for row in model.session().run(rows)]


def event(content, content_type, *, coded):
    body = base64.b64encode(content).decode() if coded else content.decode()
    return {"headers": {"Content-Type": content_type}, "body": body, "isBase64Encoded": coded}


def test_numpys_format_is_answered_in_kind_and_in_base64(function, rows, expected):
    answer = function(event(pack_npy(rows), NPY, coded=True), None)

    assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, True)
    found = unpack_npy(base64.b64decode(answer["body"]))
    assert (found == np.array(expected, np.float32)).all()
    assert json.loads(json.dumps(answer)) == answer


@pytest.mark.parametrize("accept", ["text/csv", "text/html, text/csv;q=0.5"])
def test_an_answer_is_of_the_type_that_is_accepted(function, rows, expected, accept):
    asked = event(json.dumps(rows.tolist()).encode(), "application/json", coded=False)
    asked["headers"]["Accept"] = accept

    answer = function(asked, None)

    assert answer["headers"]["content-type"] == "text/csv"
    lines = answer["body"].split()
    assert [[float(cell) for cell in line.split(",")] for line in lines] == expected


def test_an_event_of_many_valued_headers_is_answered_in_kind(function, rows, expected):
    many = {"Content-Type": ["application/json"], "Accept": ["text/html", "text/csv;q=0.5"]}
    body = json.dumps(rows.tolist())

    alone = function({"multiValueHeaders": many, "body": body}, None)
    beside = function(
        {"headers": {"accept": "text/html"}, "multiValueHeaders": many, "body": body}, None
    )

    assert alone["multiValueHeaders"]["content-type"] == ["text/csv"]
    assert "headers" not in alone
    assert beside["headers"]["content-type"] == "text/csv"
    assert "multiValueHeaders" not in beside
    assert len(alone["body"].split()) == len(expected)


def test_a_type_that_no_answer_can_have_is_refused_with_406(function, rows):
    asked = event(json.dumps(rows.tolist()).encode(), "application/json", coded=False)
    asked["headers"]["accept"] = "text/html"

    assert function(asked, None)["statusCode"] == 406


def test_text_is_answered_as_text(function, rows, expected):
    answer = function(event(json.dumps(rows.tolist()).encode(), "application/json", coded=False), 0)

    assert answer["headers"]["content-type"] == "application/json"
    assert answer["isBase64Encoded"] is False
    assert json.loads(answer["body"]) == expected


def test_the_environment_says_which_one_it_is_and_how_it_was_started(function, rows):
    said = function(event(pack_npy(rows), NPY, coded=True), None)["headers"]

    assert said["x-workbench-environment"] == "2026/11/26/[$LATEST]abc"
    assert said["x-workbench-initialized"] == "provisioned-concurrency"


def test_rows_may_be_the_event_itself(function, rows, expected):
    wanted = {"predictions": expected}

    assert function({"instances": rows.tolist()}, None) == wanted
    assert function(rows.tolist(), None) == wanted


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"body": "[[1, 2]]"}, 400),
        ({"body": "no json"}, 400),
        ({"body": "!", "isBase64Encoded": True}, 400),
        ({"body": "1", "headers": {"content-type": "image/png"}}, 415),
        ({"body": "1", "headers": None}, 400),
        ({"body": "1", "headers": "content-type"}, 400),
        ({"body": "1", "multiValueHeaders": {"accept": 5}}, 400),
        ({"body": "1", "multiValueHeaders": {"content-type": []}}, 400),
    ],
)
def test_what_is_no_batch_for_the_model_is_refused(function, wrong, status):
    answer = function(wrong, None)

    assert answer["statusCode"] == status
    assert answer["body"]


def test_rows_that_are_the_event_and_do_not_fit_are_an_error(function):
    with pytest.raises(RequestError):
        function({"instances": [[1, 2]]}, None)


def test_a_model_beside_the_program_goes_before_one_in_s3(tmp_path):
    (tmp_path / "model").mkdir()
    told = {"LAMBDA_TASK_ROOT": str(tmp_path), "WORKBENCH_MODEL": "s3://models/model.tar.gz"}

    assert find_model(told) == tmp_path / "model"


def test_importing_the_handler_elsewhere_loads_nothing():
    assert handler is None


@pytest.mark.parametrize(
    "event",
    [
        {"headers": "text/csv", "body": "1"},
        {"headers": {"accept": 1}, "body": "1"},
        {"body": "\ud800"},
        {"body": "\ud800", "isBase64Encoded": True},
        {"body": "é", "isBase64Encoded": True},
    ],
)
def test_an_event_that_is_not_that_of_a_url_is_refused(function, event):
    assert function(event, None)["statusCode"] in (400, 406)


def test_rows_that_no_json_holds_are_refused(function):
    with pytest.raises(RequestError):
        function([[2**64]], None)
