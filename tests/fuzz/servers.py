"""The model server and the HTTP of both servers, asked without a socket."""

import asyncio
import io
import json
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import httptools
import numpy as np

from tests.graphs import linear, mixed
from workbench.modelserver.contract import Contract, error_response
from workbench.modelserver.engine import Engine
from workbench.modelserver.errors import RequestError
from workbench.modelserver.formats import npy_header
from workbench.modelserver.function import ModelFunction
from workbench.modelserver.http import Connection, FilePart, Request, Response, ServerSettings
from workbench.modelserver.options import ServerOptions
from workbench.modelserver.streaming import spool

CSV = b"1,2,3\n4.5,-5,6e2\n"
ROWS = [[1, 2, 3], [4.5, -5, 600]]


def npy(kind="<f4"):
    """Rows as NumPy's own format."""
    rows = np.array(ROWS, kind)
    return npy_header(rows.dtype, rows.shape) + rows.tobytes()


BODIES = [
    ("application/json", json.dumps(ROWS).encode()),
    ("application/json", b"[1, 2, 3]"),
    ("application/json", json.dumps({"instances": ROWS}).encode()),
    ("application/json", json.dumps({"instances": [{"features": each} for each in ROWS]}).encode()),
    ("application/jsonlines", b"[1, 2, 3]\n[4.5, -5, 600]\n"),
    ("text/csv; charset=utf-8", CSV),
    ("text/csv", b'"1",nan,3\n4.5, -5 ,NA\n'),
    ("application/x-npy", npy()),
    ("application/x-npy", npy("<f8")),
    ("application/x-npy", npy("<i8")),
]
PEOPLE = [{"age": 41, "city": "Bern", "scores": [1, 2]}, {"age": 7, "city": "", "scores": [3, 4]}]


def npy_records():
    """Records as NumPy's own format."""
    kinds = [("age", "<f4"), ("city", "<U9"), ("scores", "<f4", 2)]
    file = io.BytesIO()
    np.save(file, np.array([tuple(each.values()) for each in PEOPLE], kinds))
    return file.getvalue()


RECORDS = [
    ("application/json", json.dumps(PEOPLE).encode()),
    ("application/json", json.dumps({"instances": PEOPLE}).encode()),
    ("application/json", b'{"inputs": {"age": [41], "city": ["Bern"], "scores": [[1, 2]]}}'),
    ("application/jsonlines", b"".join(json.dumps(each).encode() + b"\n" for each in PEOPLE)),
    ("text/csv", b'41,Bern,1,2\n7,"a, ""b""",3,4\n'),
    ("application/x-npy", npy_records()),
]
ACCEPTS = [
    "",
    "*/*",
    "application/json",
    "text/*;q=0.5, application/jsonlines",
    "application/x-npy",
]


@asynccontextmanager
async def open_bodies(damage_bytes, damage_text, judge):
    """Bodies of the model server in each format, whole and streamed, for one input and several."""
    with tempfile.TemporaryDirectory() as folder:
        contracts = []
        for number, (model, bodies) in enumerate(((linear(), BODIES), (mixed(), RECORDS))):
            (place := Path(folder) / str(number)).mkdir()
            (place / "model.onnx").write_bytes(model)
            contracts.append((Contract(Engine(place), ServerOptions()), bodies))

        async def play(rng):
            contract, bodies = rng.choice(contracts)
            kind, body = rng.choice(bodies)
            request = Request()
            request.method, request.path = "POST", "/invocations"
            kind = damage_text(rng, kind) if rng.random() < 0.1 else kind
            accept = rng.choice(ACCEPTS)
            accept = damage_text(rng, accept) if rng.random() < 0.1 else accept
            request.headers = {"content-type": kind, "accept": accept}
            body = damage_bytes(rng, body)
            request.received = len(body)
            if rng.random() < 0.5:
                request.body = body
            else:
                request.spool_file = spool()
                request.spool_file.write(body)
            answered = asyncio.get_running_loop().create_future()
            contract.handle(request, answered.set_result)
            response = await asyncio.wait_for(answered, 30)
            answer = response.body
            if isinstance(answer, FilePart):
                with answer.file as file:
                    answer = file.read()
            streamed = request.spool_file is not None
            return judge(response.status, answer, repr((kind, accept, streamed, body[:500])))

        yield play


@asynccontextmanager
async def open_events(damage_json, fault):
    """Events of the model as a function of Lambda."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.onnx").write_bytes(linear())
        function = ModelFunction(Path(folder), {})
        event = {"headers": {"content-type": "text/csv", "accept": "text/csv"}, "body": "1,2,3"}
        coded = {"headers": {}, "body": "W1sxLDIsM11d", "isBase64Encoded": True}

        async def play(rng):
            given = damage_json(rng, rng.choice([event, coded]))
            try:
                given = json.loads(json.dumps(given))
                answer = function(given, None)
            except Exception as error:
                called = isinstance(given, dict) and "body" in given
                if called or not isinstance(error, RequestError):
                    raise fault(f"{given!r:.1000}: {error!r}") from error
                return type(error).__name__  # the answer to what is not such an event: Lambda's own
            return str(answer.get("statusCode", 200))

        yield play


class _Transport:
    """Keeps what a connection sends."""

    def __init__(self):
        self.sent, self.closed = b"", False

    def write(self, data):
        self.sent += data

    def writelines(self, parts):
        self.sent += b"".join(parts)

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True

    abort = close

    def write_eof(self):
        pass

    def pause_reading(self):
        pass

    resume_reading = pause_reading

    def get_write_buffer_size(self):
        return 0


_HEAD = b"POST /invocations?a=b HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"
_CHUNKS = b"4;a=b\r\n1,2,\r\n2\r\n3\n\r\n0\r\nX-A: b\r\n\r\n"
REQUESTS = [
    _HEAD + b"Content-Length: 6\r\n\r\n1,2,3\n",
    _HEAD + b"Expect: 100-continue\r\nContent-Length: 6\r\n\r\n1,2,3\n",
    _HEAD + b"Transfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n" + _CHUNKS,
    b"GET /ping HTTP/1.1\r\n\r\nGET /%C3%A4/ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    _HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 6\r\n\r\n1,2,3\n",
]


@asynccontextmanager
async def open_http(damage_bytes, fault):
    """Requests on the wire, in pieces: heads, lengths, chunks and trailers."""

    def handle(request, reply):
        said = f"{request.method} {request.path} {request.query}".encode()
        kind = request.headers.get("content-type", "")
        if request.spool_file is not None:
            request.spool_file.close()
        reply(Response(200, said, "text/plain", [("x-content", kind)]))

    def give_spool(request):
        return spool() if "transfer-encoding" in request.headers else None

    settings = ServerSettings(handle, error_response, max_body=100, spool=give_spool)

    async def play(rng):
        transport, connection = _Transport(), Connection(settings, set(), 100)
        data = damage_bytes(rng, rng.choice(REQUESTS))
        connection.connection_made(transport)
        try:
            while data and not transport.closed:
                size = rng.choice([1, 7, 50, 1000, 1000])
                connection.data_received(data[:size])
                data = data[size:]
        finally:
            connection.connection_lost(None)
        statuses = _read_statuses(transport.sent, fault)
        if any(status >= 500 for status in statuses):
            raise fault(f"{transport.sent!r:.1000}")
        return "+".join(map(str, statuses[:2])) or "waiting"

    yield play


def _read_statuses(sent, fault):
    """Return the statuses of answers, which must be HTTP."""
    statuses = []

    class Reader:
        def on_message_complete(self):
            statuses.append(parser.get_status_code())

    parser = httptools.HttpResponseParser(Reader())
    try:
        parser.feed_data(sent)
    except httptools.HttpParserError as error:
        raise fault(f"{sent!r:.1000}: {error}") from error
    return [status for status in statuses if status != 100]


@asynccontextmanager
async def open_signatures(damage_bytes, fault):
    """Requests that are signed, in a header and in the query, with something changed."""
    from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    from workbench.localcloud.core.access import AccessControl
    from workbench.localcloud.core.access_keys import make_access_key
    from workbench.localcloud.core.protocol import AwsError

    key = make_access_key()
    access = AccessControl(key)
    access.port = 8000
    credentials = Credentials(key.id, key.secret)
    signed = []
    for sign, body in (
        (SigV4Auth(credentials, "sagemaker", "us-east-1"), b"hello"),
        (S3SigV4Auth(credentials, "s3", "us-east-1"), b"hello"),
        (S3SigV4QueryAuth(credentials, "s3", "us-east-1"), b""),
        (HmacV1QueryAuth(credentials), b""),
    ):
        made = AWSRequest("PUT", "http://localhost:8000/one/a%20b?x=1&y", data=body)
        sign.add_auth(made)
        path, _, query = made.url.partition(":8000")[2].partition("?")
        headers = {name.lower(): str(value) for name, value in made.headers.items()}
        signed.append((path, query, headers | {"host": "localhost:8000"}, body))

    def check(path, query, headers, body):
        request = Request()
        request.method, request.raw_path, request.path, request.query = "PUT", path, path, query
        request.headers, request.body = headers, body
        try:
            access.check(request)
        except AwsError as error:
            return error.code
        return "admitted"

    for each in signed:
        assert check(*each) == "admitted", each

    async def play(rng):
        path, query, headers, body = rng.choice(signed)
        parts = {"path": path, "query": query, **headers}
        for name in rng.sample(sorted(parts), rng.choice([1, 1, 2])):
            text = damage_bytes(rng, parts[name].encode()).decode("latin-1")
            parts[name] = "".join(each for each in text if each not in "\0\r\n")
        try:
            return check(parts.pop("path"), parts.pop("query"), parts, body)
        except Exception as error:
            raise fault(f"{parts!r:.2000}: {error!r}") from error

    yield play
