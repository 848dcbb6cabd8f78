"""An ensemble that other programs call: http on this machine, each request answered by its router.

::

    with EnsembleServer(ensemble) as server:
        requests.post(f"{server.url}/invocations", data=rows, headers={"Content-Type": "text/csv"})

Bodies and answers are those of the model server. An answer says in `x-workbench-place` whose it is,
and in `x-workbench-tried` how many places were asked; a request may say its kind in
`x-workbench-context`. Each request is a batch of its own: members' policies are not used.
"""

import asyncio
import ipaddress
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Self

from numpy.typing import NDArray

from workbench.backends import base
from workbench.backends.local import LocalBackend
from workbench.ensembles import Ensemble, Member
from workbench.errors import InvalidInput, NotAvailable, Stopped
from workbench.extras import require_extra
from workbench.registry.rows import as_rows
from workbench.routing.base import PlaceAnswer, RoutedRequest
from workbench.routing.calls import GivenAnswer, Reaction, RoutedCalls
from workbench.validation import of_kind, whole_number

if TYPE_CHECKING:
    from workbench.modelserver.http import Reply, Request

PLACE, TRIED, CONTEXT = "x-workbench-place", "x-workbench-tried", "x-workbench-context"

_START_TIMEOUT = 600.0  # seconds in which the models must be ready
_STOP_TIMEOUT = 30.0  # seconds for its thread to end
_GRACE = 5.0  # seconds for what is in flight when the server ends

Deliver = Callable[[GivenAnswer, NDArray[Any] | None], None]


class EnsembleServer:
    """Answers at /invocations and /ping from `with` to its end, on this machine alone.

    Args:
        ensemble: Its members are on this machine: this process runs their models.
        host: A loopback address.
        port: Where it listens; 0 is a free one.
        seed: For routers that draw.

    Raises:
        InvalidInput: The address is not this machine's own, a member is elsewhere or takes
            another type, or the router does not fit the members.
        NotAvailable: On entering: the port is taken. Before: a package is missing.
    """

    def __init__(
        self, ensemble: Ensemble, *, host: str = "127.0.0.1", port: int = 0, seed: int = 0
    ) -> None:
        self._host = _check_loopback(host)
        self._port = whole_number("port", port, low=0, high=65535)
        require_extra("cloud", "Serving")
        self._caller = _Caller(of_kind("ensemble", ensemble, Ensemble), seed)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started: Future[int] = Future()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._port = self._started.result(_START_TIMEOUT)
        except TimeoutError as error:
            raise NotAvailable(
                f"The models were not ready within {_START_TIMEOUT:g} s: serve fewer of them."
            ) from error
        except OSError as error:
            raise NotAvailable(
                f"{self.url} cannot be listened at: {error.strerror}. Choose another port, or 0."
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(_STOP_TIMEOUT)  # a daemon: what hangs ends with this process

    def _run(self) -> None:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        from workbench.modelserver.contract import error_response
        from workbench.modelserver.http import Server, ServerSettings

        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        with ExitStack() as stack:
            try:
                self._caller.start(stack)
                contract = _RoutedContract(self._caller)
                server = Server(ServerSettings(contract.handle, error_response))
                contract.port = await server.listen(self._host, self._port)
            except Exception as error:  # noqa: BLE001 - it is raised on entering
                self._started.set_exception(error)
                return
            self._started.set_result(contract.port)
            await self._ended.wait()
            await server.close(_GRACE)


class _RoutedContract:
    """Reads requests, and writes what they are answered."""

    def __init__(self, caller: "_Caller") -> None:
        from workbench.modelserver.contract import ping

        self.port = 0
        self._caller = caller
        self._reader = caller.taken.make_reader()
        self._routes = {"/invocations": ("POST", self._invocations), "/ping": ("GET", ping)}

    def handle(self, request: "Request", reply: "Reply") -> None:
        """Answer a request that is meant for this machine, and that no web page sent."""
        from workbench.modelserver.contract import error_response, follow_route
        from workbench.modelserver.loopback import find_foreign

        if reason := find_foreign(request, self.port):
            reply(error_response(403, reason))
        else:
            follow_route(self._routes, request, reply)

    def _invocations(self, request: "Request", reply: "Reply") -> None:
        from workbench.modelserver.contract import check_encoding, error_response, read_batch
        from workbench.modelserver.errors import RequestError
        from workbench.modelserver.formats import write
        from workbench.modelserver.http import Response

        try:
            check_encoding(request)
            batch, accept = read_batch(self._reader, request)
        except RequestError as refused:
            reply(error_response(refused.status, str(refused)))
            return

        def deliver(given: GivenAnswer, outputs: NDArray[Any] | None) -> None:
            if outputs is None:
                response = error_response(500, f"No model answered: {given.answer.error}")
            else:
                response = Response(200, write(accept, outputs, batch), accept)
            name = self._caller.names[given.answer.place]
            response.headers = [(PLACE, name), (TRIED, str(given.tried))]
            reply(response)

        context = request.headers.get(CONTEXT, "")
        self._caller.call(batch.rows, context, deliver, lambda: not request.abandoned)


@dataclass
class _OpenCall:
    """A request without an answer: its rows, and what places have answered so far."""

    rows: NDArray[Any]
    deliver: Deliver
    is_wanted: Callable[[], bool]
    outputs: dict[int, NDArray[Any]] = field(default_factory=dict)


class _Caller:
    """Asks the members that the router wants asked, in threads; all else in the loop's thread."""

    def __init__(self, ensemble: Ensemble, seed: int) -> None:
        self.names = ensemble.names
        self._members = [_check_member(*each) for each in ensemble.members.items()]
        schemas = [each.model.traits.input_schema for each in self._members]
        self.taken = schemas[0]
        kinds = {str(each) if each.fields else each.dtype for each in schemas}
        if len(kinds) > 1:
            raise InvalidInput(
                f"Members must take rows of one type, got {', '.join(sorted(kinds))}."
            )
        places = ensemble.places()
        router = ensemble.router.router(places, seed)
        self._calls = RoutedCalls(router, places, patience=ensemble.patience)
        self._open: dict[int, _OpenCall] = {}
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None

    def start(self, stack: ExitStack) -> None:
        """Load the models."""
        self._loop = asyncio.get_running_loop()
        self._backends = [stack.enter_context(_open_backend(each)) for each in self._members]
        self._pools = [
            stack.enter_context(ThreadPoolExecutor(each.concurrency)) for each in self._backends
        ]

    def call(
        self, rows: NDArray[Any], context: str, deliver: Deliver, is_wanted: Callable[[], bool]
    ) -> None:
        """Have a request answered, unless it is no longer wanted when its turn comes."""
        if rows.dtype.hasobject:  # texts, as the model server has them
            rows = as_rows(self.taken, rows)
        number = next(self._numbers)
        now = time.perf_counter()  # uvloop's own clock ticks once a millisecond
        request = RoutedRequest(number, rows=len(rows), context=context, arrival=now)
        reaction = self._calls.arrive(request, now)
        self._open[number] = _OpenCall(rows, deliver, is_wanted)
        self._react(reaction)

    def _react(self, reaction: Reaction) -> None:
        for number, place in reaction.ask:
            self._ask(number, place)
        if reaction.given is not None:
            call = self._open.pop(reaction.given.request)
            call.deliver(reaction.given, call.outputs.get(reaction.given.answer.place))
        if self._calls.due < math.inf and self._timer is None:
            seconds = max(0.0, self._calls.due - time.perf_counter())
            self._timer = self._loop.call_later(seconds, self._wake)

    def _ask(self, number: int, place: int) -> None:
        future = self._pools[place].submit(self._invoke, place, self._open[number])
        future.add_done_callback(
            lambda done: self._loop.call_soon_threadsafe(self._take, number, place, done)
        )

    def _invoke(self, place: int, call: _OpenCall) -> base.Reply:
        if not call.is_wanted():
            raise Stopped("The client has left.")
        return self._backends[place].invoke(base.Batch(call.rows))

    def _take(self, number: int, place: int, done: "Future[Any]") -> None:
        """Take what a place answered, or that it failed."""
        try:
            outputs = done.result().outputs
            answer = _describe_answer(self._members[place], place, outputs)
        except Exception as error:  # noqa: BLE001 - whatever it is, the router has to know
            answer = PlaceAnswer(place, math.inf, error=str(error) or type(error).__name__)
        else:
            if number in self._open:
                self._open[number].outputs[place] = outputs
        self._react(self._calls.answer(number, answer, time.perf_counter()))

    def _wake(self) -> None:
        self._timer = None
        for reaction in self._calls.wake(time.perf_counter()):
            self._react(reaction)
        self._react(Reaction())


def _describe_answer(member: Member, place: int, outputs: NDArray[Any]) -> PlaceAnswer:
    """Return an answer as a router sees it: its label, and the confidence of its least sure row."""
    labels = member.model.labels(outputs).tolist()
    return PlaceAnswer(
        place,
        math.inf,  # `RoutedCalls` knows when it was asked
        label=labels[0] if len(labels) == 1 else tuple(map(str, labels)),
        confidence=float(member.model.confidence(outputs).min()),
    )


def _open_backend(member: Member) -> LocalBackend:
    deployment = member.deployment
    return LocalBackend(
        member.model, workers=deployment.instance_workers, threads=deployment.session_threads
    )


def _check_member(name: str, member: Member) -> Member:
    """Return the member, known to be on this machine."""
    if member.deployment.needs or member.deployment.part_here()[1] > 1:
        raise InvalidInput(
            f"This process runs the models that it serves, and {name} is on "
            f"{member.deployment.label}: put it on Local()."
        )
    return member


def _check_loopback(host: str) -> str:
    """Return the host, known to be one that no other machine can call."""
    try:
        ours = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        ours = False
    if not ours:
        raise InvalidInput(
            f"host must be this machine's own, 127.0.0.1 or ::1, got {host!r}: whoever may call it "
            "needs no key."
        )
    return host
