"""The simulator's event loops, which Numba compiles: see `compilation` for when.

They work on arrays that the caller owns. Draws from laws come in where results go out: before a
loop runs, `finished` holds for each batch a number uniform in [0, 1) for its service time, `init`
one for its cold start and `started` one for its route; none is read where nothing is drawn.

`BatchPolicy` closes batches whatever the servers do, so `form_batches` is a pass of its own. A
policy that watches servers needs a loop that couples the two: one that takes the same steps
(`push_completion`, `push_idle`, `draw`) and asks the policy between completions and arrivals,
where `serve_fleet` asks its queues.
"""

# ruff: noqa: C901, PLR0912, PLR0915 - an event loop is one function, and may be long

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.simulator.compilation import compile_loop, step

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Servers = NDArray[np.int32]
Flags = NDArray[np.bool_]

LEAST_OUTSTANDING, RANDOM, SHARED = range(3)
"""How a fleet's batches find their queue: see `serve_fleet`."""

NEXT, FIRST, BUSY = range(3)
"""What a fleet's `state` counts: batches arrived, completions past, batches being served."""


class Batches(NamedTuple):
    """One entry a batch, in the order in which they close; a request is in the one it closed in.

    `first` is the number of its first request, and has one entry more, the number of requests.
    """

    first: Counts
    closed: Floats  # when it left the buffer
    rows: Counts  # in all its requests together
    started: Floats  # when an instance took it, or refused it; NaN when none did
    finished: Floats  # NaN when it failed
    init: Floats  # seconds of cold start between the two
    cold: Flags  # whether an instance was started for it
    server: Servers  # the instance's number, -1 when none took it


class ServiceQuantiles(NamedTuple):
    """Quantiles of service times by rows: for a server that comes from a batch, or was idle."""

    busy: Floats
    idle: Floats


class OnDemandRules(NamedTuple):
    """The rules of instances that start on demand.

    At most `limit` are busy, of which those numbered below `provisioned` are kept warm. Past it a
    batch waits its turn where `queues`, else it fails. Starts are paced by a bucket of tokens that
    gains one every `pace` seconds and is full after `depth` seconds; `depth` inf: no pace.
    """

    limit: int
    provisioned: int
    keep_alive: float
    queues: bool
    pace: float
    depth: float
    cold_start: Floats  # quantiles of its seconds


class FleetState(NamedTuple):
    """Instances of `workers` each, what waits for them, and what they do.

    With `routing` SHARED there is one queue, else each instance has its own. Queues are chains:
    from the batch at `head` by `following` to the one at `tail` (-1: none). Each has a part of
    `idle`, its stack of idle workers, freed at `idle_since`.
    """

    routing: int
    workers: int
    ttl: float  # longest wait, seconds
    routable: Counts  # instances that take batches, in order of launch
    retired: Flags  # by instance: whether it takes nothing more from a shared queue
    idle: Servers
    idle_since: Floats
    idle_count: Counts
    head: Counts
    tail: Counts
    outstanding: Counts  # by queue: batches waiting and being served
    when: Floats  # completions, see `push_completion`
    who: Servers  # the worker that completes
    state: Counts
    following: Counts


@step
def push_completion(
    when: Floats, who: Servers, first: int, count: int, event: tuple[float, int]
) -> None:
    """Enter a completion among `count` others, sorted by time in a ring that starts at `first`.

    The ring's length is a power of two. A batch taken up later mostly completes later, so the
    search from the end is short; at worst it passes all batches being served.
    """
    mask = len(when) - 1
    position = first + count
    time, server = event
    while position > first and when[(position - 1) & mask] > time:
        when[position & mask] = when[(position - 1) & mask]
        who[position & mask] = who[(position - 1) & mask]
        position -= 1
    when[position & mask] = time
    who[position & mask] = server


@step
def push_idle(
    idle: Servers, since: Floats, bottom: int, count: int, event: tuple[float, int]
) -> None:
    """Put a server on a stack of idle ones: the last freed on top, of those the lowest number."""
    position = bottom + count
    time, server = event
    while position > bottom and since[position - 1] == time and idle[position - 1] < server:
        idle[position] = idle[position - 1]
        since[position] = time
        position -= 1
    idle[position] = server
    since[position] = time


@step
def draw(distribution: Floats, level: float) -> float:
    """Return the value of a law, given by quantiles at evenly spaced levels, at one in [0, 1)."""
    last = len(distribution) - 1
    if last == 0:
        return float(distribution[0])
    position = level * last
    below = min(int(position), last - 1)
    return float(
        distribution[below] + (position - below) * (distribution[below + 1] - distribution[below])
    )


@compile_loop
def form_batches(
    arrivals: Floats, max_size: int, max_wait: float, first: Counts, closed: Floats
) -> int:
    """Close batches of `max_size` requests, or `max_wait` after their first; return how many."""
    total = len(arrivals)
    batch = 0
    begin = 0
    while begin < total:
        due = arrivals[begin] + max_wait
        end = begin + max_size
        if end <= total and arrivals[end - 1] <= due:
            closed[batch] = arrivals[end - 1]
        else:
            last = min(end, total)
            end = begin + 1
            while end < last and arrivals[end] <= due:
                end += 1
            closed[batch] = due
        first[batch] = begin
        batch += 1
        begin = end
    first[batch] = total
    return batch


@compile_loop
def serve_on_demand(batches: Batches, distributions: ServiceQuantiles, rules: OnDemandRules) -> int:
    """Serve batches on instances that start on demand; return how many there were."""
    _, closed, rows, started, finished, init, cold, server = batches
    limit, provisioned, keep_alive, queues, pace, depth, cold_start = rules
    ring = 1
    while ring < limit:
        ring *= 2
    mask = ring - 1
    when, who = np.empty(ring), np.empty(ring, np.int32)
    kept, kept_since = np.empty(limit, np.int32), np.full(limit, -np.inf)
    warm, warm_since = np.empty(limit, np.int32), np.empty(limit)
    for position in range(provisioned):
        kept[position] = provisioned - 1 - position
    first, busy, kept_count, warm_count, launched = 0, 0, provisioned, 0, provisioned
    now, full_at = -np.inf, -np.inf
    for batch in range(len(closed)):
        now = max(now, closed[batch])
        while True:
            while busy > 0 and when[first & mask] <= now:
                one = who[first & mask]
                if one < provisioned:
                    push_idle(kept, kept_since, 0, kept_count, (when[first & mask], one))
                    kept_count += 1
                else:
                    push_idle(warm, warm_since, 0, warm_count, (when[first & mask], one))
                    warm_count += 1
                first += 1
                busy -= 1
            one, since, boot, is_new = np.int32(-1), now, 0.0, False
            if kept_count > 0:
                kept_count -= 1
                one, since = kept[kept_count], kept_since[kept_count]
            elif warm_count > 0 and now <= warm_since[warm_count - 1] + keep_alive:
                warm_count -= 1
                one, since = warm[warm_count], warm_since[warm_count]
            else:
                warm_count = 0  # the top was freed last: when it has expired, all have
                ready = full_at + pace - depth
                if busy < limit and now >= ready:
                    full_at = max(full_at, now) + pace
                    one = np.int32(launched)
                    launched += 1
                    boot, is_new = draw(cold_start, init[batch]), True
                elif queues:
                    now = ready if busy < limit else np.inf
                    if busy > 0:
                        now = min(now, when[first & mask])
                    continue
            break
        started[batch] = now
        init[batch] = boot
        cold[batch] = is_new
        server[batch] = one
        if one < 0:
            finished[batch] = np.nan
        else:
            distribution = (
                distributions.idle[rows[batch]] if now > since else distributions.busy[rows[batch]]
            )
            finished[batch] = now + boot + draw(distribution, finished[batch])
            push_completion(when, who, first, busy, (finished[batch], one))
            busy += 1
    return launched


@compile_loop
def serve_fleet(
    batches: Batches, distributions: ServiceQuantiles, fleet: FleetState, now: float, until: float
) -> None:
    """Serve batches on a fleet from `now` to `until`, both included.

    A batch goes to the instance, among those routable, that has the fewest outstanding (the first
    of them), or to a RANDOM one. What has waited longer than `ttl` fails. Whoever calls again with
    a later `until` may have changed the fleet in between.
    """
    _, closed, rows, started, finished, _, _, server = batches
    routing, workers, ttl, routable, retired = fleet[:5]
    idle, idle_since, idle_count, head, tail, outstanding = fleet[5:11]
    when, who, state, following = fleet[11:]
    mask = len(when) - 1
    width = len(idle) // len(head)
    touched = np.zeros(len(when), np.int64)  # the queues from which a batch may now be taken
    count = 1 if routing == SHARED else 0
    arriving, first, busy = state
    over = False
    while True:
        for position in range(count):
            queue = touched[position]
            while head[queue] >= 0:
                batch = head[queue]
                late = closed[batch] + ttl < now
                if not late and idle_count[queue] == 0:
                    break
                head[queue] = following[batch]
                if late:
                    started[batch], finished[batch], server[batch] = np.nan, np.nan, -1
                    outstanding[queue] -= 1
                    continue
                idle_count[queue] -= 1
                top = queue * width + idle_count[queue]
                distribution = (
                    distributions.idle[rows[batch]]
                    if now > idle_since[top]
                    else distributions.busy[rows[batch]]
                )
                started[batch] = now
                finished[batch] = now + draw(distribution, finished[batch])
                server[batch] = idle[top] // workers
                push_completion(when, who, first, busy, (finished[batch], idle[top]))
                busy += 1
        if over:
            break
        done = when[first & mask] if busy > 0 else np.inf
        due = closed[arriving] if arriving < len(closed) else np.inf
        over = min(done, due) > until or min(done, due) == np.inf
        now = until if over else min(done, due)
        count = 0
        if over:
            count = 1 if routing == SHARED else 0  # for what expires
        elif done <= due:
            while busy > 0 and when[first & mask] <= now:
                worker = who[first & mask]
                queue = 0 if routing == SHARED else worker // workers
                if not retired[worker // workers]:
                    push_idle(idle, idle_since, queue * width, idle_count[queue], (now, worker))
                    idle_count[queue] += 1
                first += 1
                busy -= 1
                outstanding[queue] -= 1
                touched[count] = queue
                count += 1
        else:
            batch = arriving
            arriving += 1
            queue = 0
            if routing == RANDOM:
                queue = routable[min(int(started[batch] * len(routable)), len(routable) - 1)]
            elif routing == LEAST_OUTSTANDING:
                queue = routable[0]
                for other in routable:
                    if outstanding[other] < outstanding[queue]:
                        queue = other
                    if outstanding[queue] == 0:
                        break
            outstanding[queue] += 1
            following[batch] = -1
            if head[queue] < 0:
                head[queue] = batch
            else:
                following[tail[queue]] = batch
            tail[queue] = batch
            touched[0] = queue
            count = 1
    state[NEXT], state[FIRST], state[BUSY] = arriving, first, busy


@compile_loop
def latencies(arrivals: Floats, first: Counts, finished: Floats, latency: Floats) -> None:
    """Set each request's latency: the finish of its batch less its arrival, NaN where it failed."""
    for batch in range(len(finished)):
        for request in range(first[batch], first[batch + 1]):
            latency[request] = finished[batch] - arrivals[request]


@compile_loop
def tally(arrivals: Floats, batches: Batches, limit: float, shift: int, counts: Counts) -> int:
    """Count requests by their latency's bits less the last `shift`; return how many meet a limit.

    NaN, of those that failed, meets none and has the highest bits.
    """
    first, _, _, _, finished, _, _, _ = batches
    latency = np.empty(1)
    bits = latency.view(np.int64)
    met = 0
    for batch in range(len(finished)):
        for request in range(first[batch], first[batch + 1]):
            latency[0] = finished[batch] - arrivals[request]
            met += latency[0] <= limit
            counts[bits[0] >> shift] += 1
    return met


@compile_loop
def collect_latencies(
    arrivals: Floats, batches: Batches, low: float, high: float, found: Floats
) -> None:
    """Fill in the latencies from `low` to below `high`, as many as there are."""
    first, _, _, _, finished, _, _, _ = batches
    count = 0
    for batch in range(len(finished)):
        for request in range(first[batch], first[batch + 1]):
            latency = finished[batch] - arrivals[request]
            if low <= latency < high:
                found[count] = latency
                count += 1


@compile_loop
def sum_billed_ms(batches: Batches, with_cold_starts: bool) -> tuple[int, int]:  # noqa: FBT001 - Numba's
    """Return how many batches were answered, and their milliseconds, rounded as by `billed_ms`."""
    _, _, _, started, finished, init, _, _ = batches
    calls, milliseconds = 0, 0
    for batch in range(len(finished)):
        if math.isfinite(finished[batch]):
            span = finished[batch] - started[batch]
            if not with_cold_starts:
                span -= init[batch]
            calls += 1
            milliseconds += math.ceil(np.rint(1000 * span * 1e5) / 1e5)
    return calls, milliseconds


class Requests(NamedTuple):
    """What holds of a batch, for each of its requests."""

    started: Floats
    finished: Floats
    latency: Floats
    batch: Counts
    batch_size: Servers
    server: Servers
    cold: Flags
    init: Floats


@compile_loop
def spread(arrivals: Floats, batches: Batches, requests: Requests) -> None:
    """Fill in `requests` from their batches."""
    first, _, _, started, finished, init, cold, server = batches
    for batch in range(len(finished)):
        size = first[batch + 1] - first[batch]
        for request in range(first[batch], first[batch + 1]):
            requests.started[request] = started[batch]
            requests.finished[request] = finished[batch]
            requests.latency[request] = finished[batch] - arrivals[request]
            requests.batch[request] = batch
            requests.batch_size[request] = size
            requests.server[request] = server[batch]
            requests.cold[request] = cold[batch]
            requests.init[request] = init[batch]
