"""What a client is told when the model itself fails: which row, with which values."""

import asyncio
import io
import json

import numpy as np
import pytest

from tests.graphs import lookup
from tests.refused import refused
from workbench.errors import InvocationError
from workbench.modelserver import failures
from workbench.modelserver.contract import Contract
from workbench.modelserver.engine import Engine
from workbench.modelserver.failures import ModelRunError, explain_failure
from workbench.modelserver.formats import JSON
from workbench.modelserver.function import ModelFunction
from workbench.modelserver.http import Request
from workbench.modelserver.options import ServerOptions
from workbench.registry.onnx import Session

ROWS = np.array([0, 0, 5, 0, 7])
NAMED = ("row 3", "x", 5, "Gather", "indices element out of data bounds")


@pytest.fixture(autouse=True)
def _search_for_as_long_as_it_takes(monkeypatch):
    monkeypatch.setattr(failures, "SEARCH_SECONDS", 600.0)


@pytest.fixture(name="folder")
def _folder(tmp_path):
    (tmp_path / "model.onnx").write_bytes(lookup())
    return tmp_path


def test_session_engine_and_function_name_the_row_and_the_input(folder):
    with refused(InvocationError, *NAMED):
        Session(lookup()).run(ROWS)
    with refused(ModelRunError, *NAMED):
        Engine(folder).run(ROWS)
    with refused(ModelRunError, *NAMED):
        ModelFunction(folder, {})(ROWS.tolist(), None)


@pytest.mark.parametrize("rows", [5, 300_000])
def test_the_server_names_the_row_however_many_blocks_it_takes(folder, rows):
    body = json.dumps([0] * (rows - 3) + [5, 0, 7]).encode()

    async def ask():
        answers = []
        request = Request()
        request.method, request.path = "POST", "/invocations"
        request.headers, request.body = {"content-type": JSON}, body
        if rows > 5:
            request.spool_file, request.received = io.BytesIO(body), len(body)
        Contract(Engine(folder), ServerOptions()).handle(request, answers.append)
        while not answers:
            await asyncio.sleep(0)
        return answers[0]

    answer = asyncio.run(ask())
    assert answer.status == 500
    said = f"The model failed: at row {rows - 2:}, where x is 5: Gather: "
    assert json.loads(answer.body)["error"].startswith(said)


def test_several_inputs_are_named_and_long_values_cut():
    rows = np.zeros(9, [("age", "f4"), ("city", "U300"), ("scores", "f4", 40)])
    rows["age"][7], rows["city"] = 99, "x" * 300

    def run(some):
        if (some["age"] > 90).any():
            raise ValueError("[ONNXRuntimeError] : 1 : FAIL : too old")

    error = ValueError("[ONNXRuntimeError] : 1 : FAIL : too old")
    said = str(explain_failure(error, run, rows, ""))

    assert said.startswith("at row 8, where age is 99. and city is 'xxx")
    assert said.endswith(": too old")
    assert len(said) < 250


def test_rows_that_fail_only_together_are_not_blamed_on_one():
    def run(some):
        if len(some) > 1:
            raise ValueError("not together")

    assert str(explain_failure(ValueError("not together"), run, ROWS, "x")) == "not together"
