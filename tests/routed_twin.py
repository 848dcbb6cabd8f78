"""Requests routed among places once more, slow and plain: servers behind one queue at each place.

Nothing here is shared with the simulator but the values it is given. No batching: each request is a
batch of its own. At one instant completions come first, in order of places, then answers, then
arrivals; an escalated request begins at once where it is sent.
"""

import heapq
import itertools
from dataclasses import dataclass, field

COMPLETION, ANSWER, ARRIVAL = range(3)


@dataclass
class Station:
    servers: int
    seconds: float
    after_idle: float  # of a server that has been idle since an earlier instant
    delay: float  # until the client sees an answer
    confidence: list
    idle_since: list = field(default_factory=list)
    queue: list = field(default_factory=list)
    under_way: int = 0


@dataclass
class Journey:
    """What becomes of one request: the stations it was asked of, when, and when it was done."""

    asked: list = field(default_factory=list)
    started: dict = field(default_factory=dict)
    finished: dict = field(default_factory=dict)
    given: int = -1
    done: float = -1.0


def simulate(arrivals, stations, threshold):
    """Send each request where the fewest are under way, and on while confidence is too low."""
    for station in stations:
        station.idle_since = [float("-inf")] * station.servers
    world = World(stations, [Journey() for _ in arrivals], threshold)
    for request, arrival in enumerate(arrivals):
        world.plan(arrival, ARRIVAL, 0, request)
    while world.events:
        world.step()
    return world.journeys


class World:
    """Time, and what happens in it."""

    def __init__(self, stations, journeys, threshold):
        self.stations = stations
        self.journeys = journeys
        self.threshold = threshold
        self.events = []
        self.order = itertools.count()

    def plan(self, at, kind, place, request):
        rank = place if kind == COMPLETION else 0
        heapq.heappush(self.events, (at, kind, rank, next(self.order), place, request))

    def step(self):
        now, kind, rank, _, place, request = heapq.heappop(self.events)
        if kind == ARRIVAL:
            self.ask(request, now)
        elif kind == ANSWER:
            self.answer(request, place, now)
        else:
            self.journeys[request].finished[place] = now
            self.stations[place].idle_since.append(now)
            self.plan(now + self.stations[place].delay, ANSWER, place, request)
            # all that complete now give their servers back before the next request takes one
            if not self.events or self.events[0][:3] != (now, kind, rank):
                self.begin(place, now)

    def ask(self, request, now):
        asked = self.journeys[request].asked
        left = [place for place in range(len(self.stations)) if place not in asked]
        place = min(left, key=lambda each: (self.stations[each].under_way, each))
        asked.append(place)
        self.stations[place].under_way += 1
        self.stations[place].queue.append(request)
        self.begin(place, now)

    def begin(self, place, now):
        station = self.stations[place]
        while station.queue and station.idle_since:
            request = station.queue.pop(0)
            since = max(station.idle_since)  # the one freed last
            station.idle_since.remove(since)
            seconds = station.after_idle if now > since else station.seconds
            self.journeys[request].started[place] = now
            self.plan(now + seconds, COMPLETION, place, request)

    def answer(self, request, place, now):
        journey = self.journeys[request]
        self.stations[place].under_way -= 1
        sure = self.stations[place].confidence[request] >= self.threshold
        if sure or len(journey.asked) == len(self.stations):
            journey.given, journey.done = place, now
        else:
            self.ask(request, now)
