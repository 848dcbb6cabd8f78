"""An ensemble answers other programs by http: real models, real connections to this machine."""

# ruff: noqa: ARG002 - a router takes more than these look at

import http.client
import json
import math
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from tests.hosted import until
from tests.modelserver.test_server import READ, WRITE
from tests.refused import refused
from workbench.backends.base import FunctionBackend
from workbench.deployment import Local, Serverless
from workbench.ensembles import Ensemble, Member
from workbench.ensembles.server import EnsembleServer
from workbench.errors import InvalidInput, NotAvailable
from workbench.routing import Cascade, RoundRobin, Vote
from workbench.routing.base import RoutingRule, SingleAnswerRouter

NAMES = ("digits-logistic", "digits-mlp-wide")


@pytest.fixture(scope="module")
def models(registry):
    return {name: registry[name] for name in NAMES}


def ensemble(models, router, **settings):
    return Ensemble(
        {name: Member(each, Local()) for name, each in models.items()}, router, **settings
    )


@pytest.fixture(scope="module")
def server(models):
    with EnsembleServer(ensemble(models, Cascade(*NAMES, 0.99))) as server:
        yield server


def ask(server, body=b"", method="POST", path="/invocations", **headers):
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@contextmanager
def played(models, monkeypatch, functions, router, **settings):
    """A server whose members answer by functions."""
    backends = iter(map(FunctionBackend, functions))
    monkeypatch.setattr("workbench.ensembles.server._open_backend", lambda _: next(backends))
    with EnsembleServer(ensemble(models, router, **settings)) as server:
        yield server


def fail(_):
    raise ValueError("no memory")


def score(label, confidence=0.9):
    """A function that answers each row with the same label."""
    row = np.full(10, (1 - confidence) / 9, np.float32)
    row[label] = confidence
    return lambda rows: np.tile(row, (len(rows), 1))


ROW = b",".join([b"0"] * 64) + b"\n"


@pytest.mark.parametrize("kind", READ)
def test_each_format_is_answered_as_the_model_answers(server, models, kind):
    rows = models[NAMES[0]].samples().inputs[:6]
    expected = {name: each.session().run(rows) for name, each in models.items()}
    for number in range(len(rows)):
        body = WRITE[kind](rows[number : number + 1])

        status, headers, body = ask(server, body, content_type=kind)

        name = headers["x-workbench-place"]
        assert (status, headers["content-type"]) == (200, kind)
        assert int(headers["x-workbench-tried"]) == 1 + NAMES.index(name)
        np.testing.assert_allclose(READ[kind](body).reshape(-1), expected[name][number], rtol=1e-5)


def test_the_cascade_escalates_what_the_small_model_is_not_sure_of(server, models):
    small = models[NAMES[0]]
    inputs = small.samples().inputs[:60]
    sure = small.confidence(small.session().run(inputs)) >= 0.99
    assert 0 < sure.sum() < 60

    places = [
        ask(server, WRITE["text/csv"](row[None]), content_type="text/csv")[1]["x-workbench-place"]
        for row in inputs
    ]

    assert places == [NAMES[0] if each else NAMES[1] for each in sure]


def test_a_request_of_several_rows_is_as_sure_as_the_least_sure(models, monkeypatch):
    def answer(rows):
        return np.concatenate([score(1)(rows[1:]), score(2, 0.3)(rows[:1])])

    with played(models, monkeypatch, [answer, score(3)], Cascade(*NAMES, 0.8)) as server:
        one = ask(server, ROW, content_type="text/csv", accept="application/json")
        two = ask(server, 2 * ROW, content_type="text/csv")

    assert one[1]["x-workbench-place"] == two[1]["x-workbench-place"] == NAMES[1]
    assert np.argmax(json.loads(one[2])) == 3


def test_models_that_agree_answer_a_vote(models, monkeypatch):
    with played(models, monkeypatch, [score(1), score(1)], Vote(NAMES)) as server:
        assert ask(server, ROW, content_type="text/csv")[1]["x-workbench-tried"] == "2"


def test_a_model_that_fails_is_replaced_by_another(models, monkeypatch):
    with played(models, monkeypatch, [fail, score(4)], RoundRobin()) as server:
        status, headers, _ = ask(server, ROW, content_type="text/csv")

    assert (status, headers["x-workbench-place"], headers["x-workbench-tried"]) == (
        *(200, NAMES[1]),
        "2",
    )


def test_a_request_that_no_model_answers_says_why(models, monkeypatch):
    with played(models, monkeypatch, [fail, fail], RoundRobin()) as server:
        status, _, body = ask(server, ROW, content_type="text/csv")
        assert ask(server, method="GET", path="/ping")[0] == 200

    assert (status, "no memory" in json.loads(body)["error"]) == (500, True)


def test_a_model_that_stalls_is_given_up(models, monkeypatch):
    released = threading.Event()

    def stall(rows):
        released.wait(60)
        return score(5)(rows)

    with played(models, monkeypatch, [stall, score(4)], RoundRobin(), patience=0.01) as server:
        _, headers, _ = ask(server, ROW, content_type="text/csv")
        released.set()

    assert headers["x-workbench-place"] == NAMES[1]


@dataclass(frozen=True)
class ByKind(RoutingRule):
    """Asks the place that the request names as its kind."""

    kind: ClassVar[str] = "by kind"

    def router(self, places, seed=0):
        class Chooser(SingleAnswerRouter):
            def choose(self, request, states, now):
                return [each.index for each in states if each.place.name == request.context]

        return Chooser()


def test_the_router_sees_the_kind_that_a_request_says(models, monkeypatch):
    with played(models, monkeypatch, [score(1), score(2)], ByKind()) as server:
        for name in NAMES:
            _, headers, _ = ask(server, ROW, content_type="text/csv", x_workbench_context=name)
            assert headers["x-workbench-place"] == name


class Listening(SingleAnswerRouter):
    """Asks the first place, and remembers what it answers."""

    def __init__(self):
        self.seen = []

    def choose(self, request, states, now):
        return (states[0].index,)

    def observe(self, request, answer, now):
        self.seen.append((answer.latency, now - request.arrival))


def test_the_router_learns_how_long_an_answer_took(models, monkeypatch):
    router = Listening()
    monkeypatch.setattr(RoundRobin, "router", lambda *_: router)
    with played(models, monkeypatch, [score(1), score(2)], RoundRobin()) as server:
        ask(server, ROW, content_type="text/csv")

    ((latency, since),) = router.seen
    assert latency == since > 0


def test_an_answer_that_cannot_be_read_is_a_failure_and_another_model_is_asked(models, monkeypatch):
    monkeypatch.setattr(RoundRobin, "router", lambda *_: Listening())
    nothing = lambda _: np.empty((0, 10), np.float32)  # noqa: E731
    with played(models, monkeypatch, [nothing, score(4)], RoundRobin()) as server:
        status, headers, _ = ask(server, ROW, content_type="text/csv")

    assert (status, headers["x-workbench-place"]) == (200, NAMES[1])


@pytest.mark.parametrize(
    ("status", "asked"),
    [
        (400, {"body": b"1,2\n", "content_type": "text/csv"}),
        (415, {"body": b"<a/>", "content_type": "text/html"}),
        (415, {"body": ROW, "content_type": "text/csv", "content_encoding": "gzip"}),
        (406, {"body": ROW, "content_type": "text/csv", "accept": "text/html"}),
        (404, {"path": "/else"}),
        (405, {"method": "GET"}),
        (403, {"body": ROW, "content_type": "text/csv", "origin": "http://example.org"}),
        (403, {"body": ROW, "content_type": "text/csv", "host": "example.org"}),
    ],
)
def test_what_is_no_request_of_this_machine_for_these_models_is_refused(server, status, asked):
    assert ask(server, **asked)[0] == status


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "example.org", ""])  # noqa: S104
def test_other_machines_cannot_call(models, host):
    with refused(InvalidInput, "host", "127.0.0.1", repr(host)):
        EnsembleServer(ensemble(models, RoundRobin()), host=host)


def test_a_member_elsewhere_is_refused(models):
    members = {"away": Member(models[NAMES[0]], Serverless(memory_mb=2048, max_concurrency=2))}

    with refused(InvalidInput, "away", "serverless 2048 MB"):
        EnsembleServer(Ensemble(members, RoundRobin()))


def test_a_router_that_does_not_fit_is_refused_before_anything_starts(models):
    with refused(InvalidInput, "place", "huge"):
        EnsembleServer(ensemble(models, Cascade("digits-logistic", "huge")))


def test_a_port_that_is_taken_is_refused(models):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = EnsembleServer(ensemble(models, RoundRobin()), port=taken.getsockname()[1])
        with refused(NotAvailable, server.url):
            server.__enter__()


def test_a_server_that_has_ended_answers_nobody(models, monkeypatch):
    with played(models, monkeypatch, [score(1), score(2)], RoundRobin()) as server:
        assert math.isfinite(ask(server, method="GET", path="/ping")[0])

    with pytest.raises(ConnectionRefusedError):
        ask(server, method="GET", path="/ping")


def test_a_request_whose_client_has_left_is_not_computed(models, monkeypatch):
    began, gate, seen = threading.Event(), threading.Event(), []

    def hold(rows):
        seen.append(rows[0, 0])
        began.set()
        gate.wait(60)
        return score(3)(rows)

    def send(first):
        link = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
        body = b",".join([first] + [b"0"] * 63)
        link.request("POST", "/invocations", body, {"content-type": "text/csv"})
        return link

    with played(models, monkeypatch, [hold, hold], Cascade(*NAMES, 0.5)) as server:
        waiting = server._caller._open
        first = send(b"1")
        began.wait(60)
        left = send(b"2")
        until(lambda: len(waiting) == 2)
        left.close()
        until(lambda: not all(call.is_wanted() for call in waiting.values()))
        last = send(b"3")
        until(lambda: len(waiting) == 3)
        gate.set()
        statuses = [link.getresponse().status for link in (first, last)]
        for link in (first, last):
            link.close()

    assert (statuses, seen) == ([200, 200], [1, 3])
