"""SageMaker's contract, kept by the model server as a process of its own.

Source: SageMaker developer guide, "Custom Inference Code with Hosting Services" and "... with
Batch Transform" (2026-11).
"""

import http.client
import json
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import psutil
import pytest

from tests.children import start_python
from tests.graphs import WEIGHTS, linear
from tests.hosted import most_resident
from workbench.backends.sagemaker import NPY, pack_npy, unpack_npy

ROWS = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
READ = {
    NPY: lambda body: np.asarray(unpack_npy(body)),
    "application/json": lambda body: np.array(json.loads(body)),
    "text/csv": lambda body: np.array(
        [[float(cell) for cell in line.split(",")] for line in body.decode().splitlines()]
    ),
    "application/jsonlines": lambda body: np.array(
        [json.loads(line) for line in body.splitlines()]
    ),
}
WRITE = {
    NPY: pack_npy,
    "application/json": lambda rows: json.dumps(rows.tolist()).encode(),
    "text/csv": lambda rows: "\n".join(",".join(map(str, row)) for row in rows.tolist()).encode(),
    "application/jsonlines": lambda rows: "\n".join(map(json.dumps, rows.tolist())).encode(),
}


@contextmanager
def serving(folder, *arguments):
    """A model server of a folder, its address, and all that it prints after it."""
    words = ["serve", "--port", "0", "--model", str(folder), *arguments]
    pipes = {"stderr": subprocess.PIPE, "text": True}
    with start_python("workbench.modelserver", *words, **pipes) as server:
        try:
            said = []
            for line in server.stderr:
                said.append(line)
                if found := re.match(r"Serving at http://(\S+)", line):
                    yield server, found[1]
                    return
            raise AssertionError("".join(said))
        finally:
            server.kill()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.onnx").write_bytes(linear())
    return folder


@pytest.fixture(scope="module")
def address(folder):
    with serving(folder, "--workers", "3", "--max-payload-mb", "1") as (_, address):
        yield address


def ask(address, method, path, body=None, **headers):
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_ping_is_answered_with_200_and_nothing_else(address):
    status, headers, body = ask(address, "GET", "/ping")

    assert (status, body, headers["content-length"]) == (200, b"", "0")


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1]], ids=["two rows", "one row"])
@pytest.mark.parametrize("accept", READ)
@pytest.mark.parametrize("content_type", WRITE)
def test_rows_of_each_type_are_answered_in_each_type(address, content_type, accept, rows):
    body = WRITE[content_type](rows)

    status, headers, answer = ask(
        address, "POST", "/invocations", body, content_type=content_type, accept=accept
    )

    assert (status, headers.get_content_type()) == (200, accept)
    np.testing.assert_allclose(READ[accept](answer), rows @ WEIGHTS)


@pytest.mark.parametrize("content_type", WRITE)
def test_who_does_not_say_what_is_read_gets_what_was_sent(address, content_type):
    _, headers, answer = ask(
        address, "POST", "/invocations", WRITE[content_type](ROWS), content_type=content_type
    )

    assert headers.get_content_type() == content_type
    np.testing.assert_allclose(READ[content_type](answer), ROWS @ WEIGHTS)


def test_batch_transform_is_told_how_to_send(address):
    status, headers, body = ask(address, "GET", "/execution-parameters")

    assert (status, headers.get_content_type()) == (200, "application/json")
    assert json.loads(body) == {
        "MaxConcurrentTransforms": 3,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": 1,
    }


@pytest.mark.parametrize(
    ("asked", "headers", "status"),
    [
        (("GET", "/models"), {}, 404),
        (("POST", "/ping"), {}, 405),
        (("GET", "/invocations"), {}, 405),
        (("POST", "/invocations", b"1,2,3"), {"content_type": "text/plain"}, 415),
        (("POST", "/invocations", b"1,2"), {"content_type": "text/csv"}, 400),
        (("POST", "/invocations", b"[[1, 2,"), {"content_type": "application/json"}, 400),
        (("POST", "/invocations", b"1,2,3"), {"content_type": "text/csv", "accept": "a/b"}, 406),
        (("POST", "/invocations", b"1" * (2**20 + 1)), {"content_type": "text/csv"}, 413),
    ],
)
def test_an_error_has_its_status_and_says_why_in_json(address, asked, headers, status):
    answered, told, answer = ask(address, *asked, **headers)

    assert (answered, told.get_content_type()) == (status, "application/json")
    assert json.loads(answer)["error"].endswith(".")


@pytest.fixture(scope="module")
def roomy(folder):
    with serving(folder) as served:
        yield served


LINE = b"1.00000000, 2.00000000, 3.00000000"


def large(content_type, *, last=b""):
    """A body that is answered in blocks, and how many rows it has before those that are `last`."""
    if content_type == NPY:
        rows = np.tile(ROWS, (64 * 2**20 // 24, 1))
        return pack_npy(rows), len(rows)
    count = 9 * 2**20 // len(LINE)
    if content_type == "text/csv":
        return (LINE + b"\n") * count + last, count
    if content_type == "application/jsonlines":
        return (b"[" + LINE + b"]\n") * count, count
    return b"[" + b",".join([b"[" + LINE + b"]"] * count) + b"]", count


@pytest.mark.parametrize("content_type", WRITE)
def test_a_large_body_is_answered_at_bounded_memory(roomy, content_type):
    server, address = roomy
    body, count = large(content_type)
    before = psutil.Process(server.pid).memory_info().rss

    status, headers, answer = ask(address, "POST", "/invocations", body, content_type=content_type)

    assert (status, headers["content-type"]) == (200, content_type)
    answers = READ[content_type](answer)
    assert len(answers) == count
    np.testing.assert_allclose(answers[0], ROWS[0] @ WEIGHTS, rtol=1e-5)
    np.testing.assert_array_equal(answers[2:], answers[:-2])
    # Parsed at once, the rows would take hundreds of MB; 21 to 43 were seen, with coverage.
    assert most_resident(server.pid) - before < 60e6


def test_an_error_in_the_last_line_of_a_large_body_is_an_error(roomy):
    body, _ = large("text/csv", last=b"1,2\n")

    status, _, answer = ask(roomy[1], "POST", "/invocations", body, content_type="text/csv")

    assert status == 400
    assert "as many in each row" in json.loads(answer)["error"]


def test_a_body_in_chunks_of_any_number_is_answered_like_others(address):
    body = WRITE[NPY](ROWS)

    status, _, answer = ask(
        address, "POST", "/invocations", iter([body[:50], body[50:]]), content_type=NPY
    )
    refused, _, _ = ask(address, "POST", "/invocations", iter([body[:50]]), content_type=NPY)

    assert (status, refused) == (200, 400)
    np.testing.assert_allclose(unpack_npy(answer), ROWS @ WEIGHTS, rtol=1e-5)


def test_a_container_that_is_told_to_end_answers_what_it_has_begun(folder):
    with serving(folder) as (server, address):
        connection = http.client.HTTPConnection(address, timeout=60)
        connection.putrequest("POST", "/invocations")
        connection.putheader("content-type", "text/csv")
        connection.putheader("content-length", "5")
        connection.endheaders(b"1,2")
        assert ask(address, "GET", "/ping")[0] == 200  # so the first half has been read as well

        server.send_signal(signal.SIGTERM)
        while refused(address) is None:
            pass
        connection.send(b",3")
        answer = connection.getresponse()

        assert (answer.status, READ["text/csv"](answer.read()).tolist()) == (200, [[7.0, -1.0]])
        connection.close()
        assert server.wait(60) == 0


def refused(address):
    """Why nobody answers there, or None where somebody does."""
    try:
        ask(address, "GET", "/ping")
    except OSError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("content", "said"), [(None, "model.onnx"), (b"no model", "model.onnx")], ids=["none", "broken"]
)
def test_a_folder_that_cannot_be_served_ends_it_with_1_and_the_reason(tmp_path, content, said):
    if content:
        (tmp_path / "model.onnx").write_bytes(content)

    ended = subprocess.run(
        [sys.executable, "-m", "workbench.modelserver", "serve", "--model", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
