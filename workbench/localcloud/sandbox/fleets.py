"""What routes a variant's requests to its instances: real-time fleets and serverless ones."""

import asyncio
import logging
import random
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from workbench.localcloud.core.http_client import Exchange, Failure, Outcome
from workbench.localcloud.core.tasks import TaskSet
from workbench.localcloud.sandbox.instances import Instance, Launch, LaunchFailed
from workbench.localcloud.sandbox.pool import Admission, Pool, Rate

Routing = Literal["LEAST_OUTSTANDING_REQUESTS", "RANDOM"]

_MAX_RESTART_DELAY = 30.0  # seconds between two tries of what does not come up, at most
_TIMER_SLACK_SECONDS = 0.002  # a timer that fires a moment early finds nothing to do
_log = logging.getLogger("workbench.localcloud")


@dataclass(frozen=True, slots=True)
class FleetLoad:
    """How busy a fleet was when it had answered a request, that one included.

    Attributes:
        instances: Instances that are up, of a fleet on instances; 0 for a serverless one.
        in_use: Share of a serverless fleet's concurrency; 0 for one on instances.
        provisioned: Its provisioned instances.
        provisioned_busy: How many of them were busy.
        on_provisioned: Whether one of them answered.
    """

    instances: int = 0
    in_use: float = 0.0
    provisioned: int = 0
    provisioned_busy: int = 0
    on_provisioned: bool = False


_make_load = cache(FleetLoad)  # on the way of each request


class LocalFleet(ABC):
    """Instances that answer one variant's requests; those that die are replaced.

    `size` is how many there are to be at any time, without those that come and go with requests.
    """

    def __init__(self, launch: Launch, size: int) -> None:
        self.size = size
        self._launch = launch
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._starting = TaskSet()
        self._ending = TaskSet()
        self._closed = False

    @property
    @abstractmethod
    def instances(self) -> list[Instance]:
        """Those that are up."""

    @property
    def concurrency(self) -> float:
        """Requests without an answer yet, those that wait included, by instance that is up."""
        return self._under_way / max(1, len(self.instances))

    def state(self) -> list[dict[str, Any]]:
        """Return what only the local cloud knows of the instances that are up."""
        return [instance.state() for instance in self.instances]

    @abstractmethod
    def load(self, number: int) -> FleetLoad:
        """Return the load with the request that an instance has answered; 0 for no instance."""

    @abstractmethod
    async def start(self) -> None:
        """Start what must be there before the first request.

        Raises:
            LaunchFailed: An instance did not come up; none is left behind.
        """

    @abstractmethod
    def _route(self, exchange: Exchange) -> None: ...

    @abstractmethod
    def _handle_lost(self, instance: Instance) -> None: ...

    def serve(self, exchange: Exchange) -> None:
        """Have the request answered."""
        exchange.owner = self
        self._under_way += 1
        self._idle.clear()
        self._route(exchange)

    def over(self, exchange: Exchange, outcome: Outcome) -> None:  # noqa: ARG002 - an Owner's
        """Note that a request has its outcome."""
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()

    def resend(self, exchange: Exchange) -> None:
        """Send to another instance what was not sent to one that is lost."""
        self._route(exchange)

    async def drain(self) -> None:
        """Wait until every request has its outcome."""
        await self._idle.wait()

    async def close(self) -> None:
        """End every instance, and with it what it is answering."""
        self._closed = True
        await self._starting.cancel()
        await asyncio.gather(_stop(self.instances), self._ending.finish())
        await self._launch.close()

    async def _start_many(self, count: int) -> list[Instance]:
        """Return that many new instances, or none at all."""
        loop = asyncio.get_running_loop()
        starting = [loop.create_task(self._start_one()) for _ in range(count)]
        try:
            return list(await asyncio.gather(*starting))
        except BaseException:
            for task in starting:
                task.cancel()
            outcomes = await asyncio.gather(*starting, return_exceptions=True)
            await _stop(each for each in outcomes if isinstance(each, Instance))
            raise

    async def _start_one(self) -> Instance:
        return await finish_start(self._launch(self._handle_lost))

    def _end(self, instances: Iterable[Instance]) -> None:
        """End instances beside the requests."""
        self._ending.start(_stop(instances))


async def finish_start(starting: Awaitable[Instance]) -> Instance:
    """Return the instance that is being started.

    Whatever else goes wrong than a model that does not serve (no process or descriptor is to be
    had, the disk is full, or this program has a fault) fails the start like that: requests wait for
    it, and it counts against a limit.

    Raises:
        LaunchFailed: It did not come up.
    """
    try:
        return await starting
    except LaunchFailed:
        raise
    except Exception as error:
        _log.exception("An instance did not start.")
        raise LaunchFailed(f"It did not start: {type(error).__name__}: {error}.") from error


async def _stop(instances: Iterable[Instance]) -> None:
    await asyncio.gather(*(instance.stop() for instance in instances))


class RealTimeFleet(LocalFleet):
    """`count` instances, each with a queue of its own; requests wait while none is up.

    By default `routing` is RANDOM, as on AWS.
    """

    def __init__(self, launch: Launch, *, count: int, routing: Routing = "RANDOM") -> None:
        super().__init__(launch, count)
        self.desired = count
        self._least = routing == "LEAST_OUTSTANDING_REQUESTS"
        self._ready: list[Instance] = []
        self._waiting: deque[Exchange] = deque()
        self._failed = ""

    @property
    def instances(self) -> list[Instance]:
        """Those that are up."""
        return list(self._ready)

    def load(self, number: int) -> FleetLoad:  # noqa: ARG002 - a Fleet's
        """Return how many instances share the requests."""
        return _make_load(len(self._ready))

    async def start(self) -> None:
        """Start every instance."""
        for instance in await self._start_many(self.size):
            self._add(instance)

    async def resize(self, count: int) -> None:
        """Start more instances, or end some as soon as they have answered what they have.

        Raises:
            LaunchFailed: An instance did not come up; the fleet is as before.
        """
        self.desired = count
        try:
            for instance in await self._start_many(max(0, count - self.size)):
                self._add(instance)
        except BaseException:
            self.desired = self.size
            raise
        surplus = max(0, self.size - count)
        self.size = count
        newest_idle_first = sorted(
            enumerate(self._ready), key=lambda each: (each[1].upstream.in_flight, -each[0])
        )
        for _, instance in newest_idle_first[:surplus]:
            self._ready.remove(instance)
            self._starting.start(self._retire(instance))

    async def close(self) -> None:
        """End every instance, and fail what waits for one."""
        await super().close()
        self._fail_waiting("The endpoint has ended.")

    def _add(self, instance: Instance) -> None:
        self._failed = ""
        self._ready.append(instance)
        while self._waiting:
            self._route(self._waiting.popleft())

    def _route(self, exchange: Exchange) -> None:
        if exchange.abandoned:
            exchange.finish(Failure.ABANDONED)
        elif self._ready:
            instance = self._choose()
            exchange.worker = instance.number
            instance.upstream.send(exchange)
        elif self._failed or self._closed:
            exchange.reason = self._failed
            exchange.finish(Failure.UNAVAILABLE)
        else:
            self._waiting.append(exchange)

    def _choose(self) -> Instance:
        if len(self._ready) == 1:
            return self._ready[0]
        if self._least:
            return min(self._ready, key=lambda instance: instance.upstream.in_flight)
        return random.choice(self._ready)  # noqa: S311 - routing is no secret

    def _handle_lost(self, instance: Instance) -> None:
        if instance in self._ready:
            self._ready.remove(instance)
        self._end([instance])
        if not self._closed:
            self._starting.start(self._replace())

    async def _retire(self, instance: Instance) -> None:
        try:
            await instance.upstream.wait_until_idle()
        finally:
            self._end([instance])

    async def _replace(self) -> None:
        pause = 1.0
        while len(self._ready) < self.size:
            try:
                self._add(await self._start_one())
            except LaunchFailed as error:
                self._failed = str(error)
                self._fail_waiting(self._failed)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _MAX_RESTART_DELAY)
            else:
                return

    def _fail_waiting(self, reason: str) -> None:
        while self._waiting:
            exchange = self._waiting.popleft()
            exchange.reason = reason
            exchange.finish(Failure.UNAVAILABLE)


class ServerlessFleet(LocalFleet):
    """Instances that are started when a request needs one, and ended when they were idle too long.

    Each answers one request at a time. Those `provisioned`, its size, are up from the start and
    stay. `pool` has the limit of concurrency.
    """

    def __init__(
        self,
        launch: Launch,
        *,
        max_concurrency: int,
        provisioned: int = 0,
        keep_alive: float,
        rate: Rate | None = None,
    ) -> None:
        super().__init__(launch, provisioned)
        self.pool = Pool[Instance](
            max_concurrency=max_concurrency, keep_alive=keep_alive, rate=rate
        )
        self._provisioned: set[Instance] = set()
        self._busy: dict[Exchange, Instance] = {}
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def instances(self) -> list[Instance]:
        """Those that are up."""
        return [*self._busy.values(), *self.pool.idle]

    def load(self, number: int) -> FleetLoad:
        """Return the load with the request that the instance of a number has just answered."""
        busy = self.pool.busy + (number > 0)
        provisioned = {each.number for each in self._provisioned} if self.size else ()
        mine = number in provisioned
        return FleetLoad(
            in_use=min(1.0, busy / self.pool.max_concurrency),
            provisioned=self.size,
            provisioned_busy=mine + sum(e.number in provisioned for e in self._busy.values())
            if provisioned
            else 0,
            on_provisioned=mine,
        )

    async def start(self) -> None:
        """Start the provisioned instances; without any, see that one would start, and end it."""
        started = await self._start_many(self.size or 1)
        if self.size:
            self._provision(started)
        else:
            await _stop(started)

    async def resize(self, *, max_concurrency: int, provisioned: int) -> None:
        """Change the limits of concurrency.

        Raises:
            LaunchFailed: An instance did not come up; the fleet is as before.
        """
        self._provision(await self._start_many(max(0, provisioned - self.size)))
        self.size = provisioned
        self.pool.max_concurrency = max_concurrency
        for instance in list(self._provisioned)[provisioned:]:
            self._provisioned.remove(instance)
            if instance not in self._busy.values():
                self.pool.discard(instance)
                self.pool.add(instance, now=time.monotonic())
        self._expire_later()

    async def close(self) -> None:
        """End every instance."""
        if self._expiry is not None:
            self._expiry.cancel()
        await super().close()

    def state(self) -> list[dict[str, Any]]:
        """Return what only the local cloud knows of the instances that are up."""
        return [
            instance.state() | {"provisioned": instance in self._provisioned}
            for instance in self.instances
        ]

    def over(self, exchange: Exchange, outcome: Outcome) -> None:
        """Take back the instance of a request that is over."""
        instance = self._busy.pop(exchange, None)
        if instance is not None:
            self._return_to_pool(instance)
        super().over(exchange, outcome)

    def resend(self, exchange: Exchange) -> None:
        """Send to another instance what was not sent to one that is lost."""
        del self._busy[exchange]
        self.pool.lose()
        self._route(exchange)

    def _return_to_pool(self, instance: Instance) -> None:
        if instance.upstream.closed:
            self.pool.lose()
            return
        provisioned = instance in self._provisioned
        self.pool.free(instance, now=time.monotonic(), provisioned=provisioned)
        if not provisioned:
            self._expire_later()

    def _route(self, exchange: Exchange) -> None:
        taken = self.pool.take(now=time.monotonic())
        if isinstance(taken, Instance):
            self._send(exchange, taken)
        elif taken is Admission.START and not self._closed:
            self._starting.start(self._start_for(exchange))
        else:
            exchange.finish(Failure.THROTTLED)

    def _send(self, exchange: Exchange, instance: Instance) -> None:
        self._busy[exchange] = instance
        exchange.worker = instance.number
        instance.upstream.send(exchange)

    async def _start_for(self, exchange: Exchange) -> None:
        """Pay a cold start, the request's own from here on."""
        began = time.perf_counter()
        try:
            instance = await finish_start(self._launch(self._handle_lost))
        except (LaunchFailed, asyncio.CancelledError) as error:
            self.pool.lose()
            exchange.reason = str(error)
            exchange.finish(
                error.outcome if isinstance(error, LaunchFailed) else Failure.UNAVAILABLE
            )
            return
        exchange.setup = time.perf_counter() - began
        self._send(exchange, instance)

    def _handle_lost(self, instance: Instance) -> None:
        self.pool.discard(instance)
        self._end([instance])
        if instance in self._provisioned and not self._closed:
            self._starting.start(self._replace(instance))

    async def _replace(self, instance: Instance) -> None:
        pause = 1.0
        while instance in self._provisioned:
            try:
                self._provision([await self._start_one()])
                self._provisioned.remove(instance)
            except LaunchFailed:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _MAX_RESTART_DELAY)

    def _provision(self, instances: Iterable[Instance]) -> None:
        for instance in instances:
            self._provisioned.add(instance)
            self.pool.add(instance, now=time.monotonic(), provisioned=True)

    def _expire_later(self) -> None:
        if self._expiry is None and self.pool.next_expiry < float("inf"):
            delay = self.pool.next_expiry - time.monotonic() + _TIMER_SLACK_SECONDS
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(max(0.0, delay), self._expire)

    def _expire(self) -> None:
        self._expiry = None
        self._end(self.pool.pop_expired(time.monotonic()))
        self._expire_later()
