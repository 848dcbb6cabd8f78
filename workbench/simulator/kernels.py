"""The simulator's event loops, which Numba compiles: see `workbench.compilation` for when.

They work on arrays that the caller owns. Random draws come in where results go out: before a
loop runs, `finished` holds for each batch a number uniform in [0, 1) for its service time, `init`
one for its cold start and `started` one for its route; none is read where nothing is drawn. Where
the server's speed was recorded, a service time is drawn among those of the speed when it begins.

`BatchPolicy`, `Replanned` and `DeadlineAware` close batches whatever the servers do: a loop of its
own, `form_...`, closes them all before a platform's loop serves them. `WorkConserving` and
`Steered` send to free servers only, so their loops, `..._from_buffer`, couple buffer and platform;
they take the same steps (`push_completion`, `push_idle`).

All loops are in this one file because Numba compiles a loop on disk again only when the file of
that loop has changed: a step in another file would go stale unnoticed.
"""

# ruff: noqa: C901, PLR0912, PLR0915, PLR0917 - an event loop is one function, and may be long

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.compilation import compile_loop, step
from workbench.quantiles import find_rank, longest_within

for rule in (find_rank, longest_within):
    step(rule)  # compiled or not, there is one rule

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Servers = NDArray[np.int32]
Flags = NDArray[np.bool_]

LEAST_OUTSTANDING, RANDOM, SHARED = range(3)
"""How a fleet's batches find their queue: see `serve_fleet`."""

NEXT, FIRST, BUSY, DONE, SPILLED = range(5)
"""What a fleet's `state` counts: batches arrived, completions past, batches being served, answered
or expired, and left to the overflow."""

TO_COME, TO_OVERFLOW = -2, -3
"""In place of a batch's server: it has not been taken yet, or the overflow has to take it."""

KEY_BITS = 20
# a million instances, which leaves 42 bits for the batches of one times its weight
"""Bits of a key of `FleetState.tree` that hold the instance."""

# with a bit to spare: what is added to a key does not overflow
NEVER = 1 << 62
"""The key of an instance that takes no batches, and a number of batches that none ever has."""

ARRIVED, SENT, CLOSED, MAX_SIZE, UNCOVERED = range(5)
"""What a buffer's `state` counts: requests arrived and sent, batches closed, the largest batch now,
and the rows of a batch that service times do not cover (0: none)."""

ANSWERED, LATE = range(2)
"""What a steering's `counts` are: answers in the window, and those of them that were late."""

LEAST_BATCHES = 3
"""Batches of a size from which on their least latency says something of its service time; the same
number as in `batching.policies`."""


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


class Speeds(NamedTuple):
    """A `SpeedRecord` that goes round: `pace` rounds a second, from `phase` on; `pace` 0: none.

    Each instance is `apart` of a round ahead of the one before it.
    """

    levels: Floats
    slices: Servers
    pace: float
    phase: float
    apart: float


class ServiceQuantiles(NamedTuple):
    """Quantiles of service times by rows: for a server that comes from a batch, or was idle.

    Of a fleet that mixes types there are tables of `height` rows for each, one below the other.
    """

    busy: Floats
    idle: Floats
    speeds: Speeds
    height: int


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


class Settings(NamedTuple):
    """How batches are closed, by when their first request arrived: from `starts` on, ascending."""

    starts: Floats
    sizes: Counts
    waits: Floats


class Steering(NamedTuple):
    """The rules of a `Steered` policy; `window` 0: no steering."""

    latency: float
    quantile: float
    window: int
    aim: float
    gain: float
    max_size: int


class Seen(NamedTuple):
    """What a `Steered` policy has seen in the present window of answers.

    `latencies` has room for a window and one batch more. `tried` and `least` say by batch size how
    many batches there were and the shortest of their latencies, less the wait.
    """

    latencies: Floats
    counts: Counts  # ANSWERED and LATE
    tried: Counts
    least: Floats


class SharedBuffer(NamedTuple):
    """Requests that wait for a free server, and when how many of them leave.

    A batch leaves when a server is free and either `MAX_SIZE` requests wait or the first of them
    has waited for the one number in `max_wait`; steering changes both.
    """

    arrivals: Floats
    rows: Servers  # of each request
    state: Counts
    max_wait: Floats
    steering: Steering
    seen: Seen


class SpillLimits(NamedTuple):
    """When a batch is left to the overflow: see `deployment.spill`; of a plain fleet none `is_on`.

    It is where no instance has fewer than `most` batches in flight, of a RANDOM fleet the one
    drawn; or where what it has waited and `service`, by its requests, for each turn until it is
    served, come to more than `latest`.
    """

    is_on: bool
    most: int
    latest: float
    service: Floats
    arrivals: Floats


class FleetState(NamedTuple):
    """Instances of up to `workers` each, what waits for them, and what they do.

    With `routing` SHARED there is one queue, else each instance has its own. Queues are chains:
    from the batch at `head` by `following` to the one at `tail` (-1: none). Each has a part of
    `idle`, its stack of idle workers, freed at `idle_since`. Arrays by instance may have room for
    more of them.

    `tree` says who is next: its leaves, the second half, are keys by instance, and each node has
    the lesser of the two below it, so that the least is at 1. A key is the batches outstanding and
    one more, times `weight`, and then the instance.
    """

    routing: int
    workers: int
    ttl: float  # longest wait, seconds
    routable: Counts  # instances that take batches, in order of launch
    takes: Flags  # by instance: whether it is routable
    own: Counts  # by instance: its workers
    offset: Counts  # by instance: where the table of its service times begins
    weight: Counts  # by instance: how long it takes, beside others
    tree: Counts
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
    spill: SpillLimits


@step
def find_room(fleet: FleetState, most: int) -> int:
    """Return the instance of the least key among those with fewer than `most` outstanding.

    Where there is none, it is the one of the least key of all.
    """
    best, key = fleet.tree[1] & ((1 << KEY_BITS) - 1), NEVER
    # a scan: the tree is in the order of the keys, and cannot say who has room
    for instance in fleet.routable:
        own = fleet.tree[len(fleet.tree) // 2 + instance]
        if fleet.outstanding[instance] < most and own < key:
            best, key = instance, own
    return int(best)


@step
def set_key(tree: Counts, instance: int, key: int) -> None:
    """Give an instance another key, and the nodes above it the least below them."""
    node = instance + len(tree) // 2
    tree[node] = key
    while node > 1:
        key = min(key, tree[node ^ 1])  # the other child of the same parent
        node >>= 1
        if tree[node] == key:
            break  # nor does any node further up change
        tree[node] = key


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
    """Return a quantile, at a level in [0, 1), from quantiles at evenly spaced levels."""
    last = len(distribution) - 1
    if last == 0:
        return float(distribution[0])
    position = level * last
    # rounding may take a level below 1 as far as `last`
    below = min(int(position), last - 1)
    return float(
        distribution[below] + (position - below) * (distribution[below + 1] - distribution[below])
    )


@step
def find_slice(now: float, instance: int, times: tuple[float, float, float], count: int) -> int:
    """Return the slice of a record of speed, of so many, in which an instance is now.

    Where no arrays are passed, no references to them are counted: see `draw_row`.
    """
    pace, phase, apart = times
    rounds = now * pace + phase + instance * apart
    return int((rounds - math.floor(rounds)) * count)  # a third of the time that % takes


@step
def form(
    arrivals: Floats,
    span: tuple[int, int, int],
    max_size: int,
    max_wait: float,
    first: Counts,
    closed: Floats,
) -> tuple[int, int]:
    """Close the batches opened by requests of a span; return that after the last, and how many.

    The span is the first request, that after the last to open a batch, and how many batches there
    are already. The last batch may go beyond it.
    """
    begin, stop, batch = span
    total = len(arrivals)
    while begin < stop:
        due = arrivals[begin] + max_wait
        end = begin + max_size
        # a full batch is found by one look, where requests are many
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
    first[batch] = begin
    return begin, batch


@compile_loop
def form_batches(
    arrivals: Floats, max_size: int, max_wait: float, first: Counts, closed: Floats
) -> int:
    """Close batches of `max_size` requests, or `max_wait` after their first; return how many."""
    return form(arrivals, (0, len(arrivals), 0), max_size, max_wait, first, closed)[1]


@compile_loop
def form_by_settings(arrivals: Floats, settings: Settings, first: Counts, closed: Floats) -> int:
    """Close batches by the settings of the instant at which they open; return how many."""
    starts, sizes, waits = settings
    begin, batch = 0, 0
    for setting in range(len(starts)):
        stop = len(arrivals)
        if setting + 1 < len(starts):
            # a request at the very start opens its batch by the new setting
            stop = np.searchsorted(arrivals, starts[setting + 1])
        span = (begin, stop, batch)
        begin, batch = form(arrivals, span, sizes[setting], waits[setting], first, closed)
    return batch


@compile_loop
def form_by_deadline(arrivals: Floats, waits: Floats, first: Counts, closed: Floats) -> int:
    """Close batches of n when their first request has waited `waits[n - 1]`; return how many.

    A request that would thereby make the batch late closes it as it arrives, and opens the next.
    """
    total = len(arrivals)
    batch = 0
    begin = 0
    while begin < total:
        size = 1
        while True:
            due = arrivals[begin] + waits[size - 1]
            end = begin + size
            if size == len(waits):
                closed[batch] = arrivals[end - 1]  # full
                break
            if end == total or arrivals[end] > due:
                closed[batch] = due
                break
            if arrivals[begin] + waits[size] < arrivals[end]:
                closed[batch] = arrivals[end]  # it would be late with this one
                break
            size += 1
        first[batch] = begin
        batch += 1
        begin += size
    first[batch] = total
    return batch


@compile_loop
def serve_on_demand(batches: Batches, distributions: ServiceQuantiles, rules: OnDemandRules) -> int:
    """Serve batches on instances that start on demand; return how many there were."""
    _, closed, rows, started, finished, init, cold, server = batches
    limit, provisioned, keep_alive, queues, pace, depth, cold_start = rules
    levels, slices, rate, phase, apart = distributions.speeds
    turning, varies = (rate, phase, apart), rate > 0
    # a power of two, so that a mask of bits takes the place of a division
    ring = 1
    while ring < limit:
        ring *= 2
    mask = ring - 1
    when, who = np.empty(ring), np.empty(ring, np.int32)
    kept, kept_since = np.empty(limit, np.int32), np.full(limit, -np.inf)
    warm, warm_since = np.empty(limit, np.int32), np.empty(limit)
    # the lowest number on top, where `push_idle` puts it; they have been idle for ever
    for position in range(provisioned):
        kept[position] = provisioned - 1 - position
    first, busy, kept_count, warm_count, launched = 0, 0, provisioned, 0, provisioned
    # the bucket of tokens as one number, when it is full again: there is no refill to count (GCRA)
    now, full_at = -np.inf, -np.inf
    for batch in range(len(closed)):
        # a batch behind one that waited is not served before it
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
            # provisioned ones first: Lambda goes on to others where all of these are busy
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
                    # a token or a completion, whichever comes first
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
            # freed at this very instant, it has not been idle
            distribution = (
                distributions.idle[rows[batch]] if now > since else distributions.busy[rows[batch]]
            )
            level = finished[batch]
            if varies:
                place = find_slice(now + boot, one, turning, len(slices))
                level = draw_row(levels, slices[place], level)
            finished[batch] = now + boot + draw(distribution, level)
            push_completion(when, who, first, busy, (finished[batch], one))
            busy += 1
    return launched


@compile_loop
def serve_fleet(
    batches: Batches, distributions: ServiceQuantiles, fleet: FleetState, now: float, until: float
) -> None:
    """Serve batches on a fleet from `now` to `until`, both included.

    A batch goes to the instance, among those routable, whose key is least: that of the fewest
    outstanding for its weight, the first of them; or to a RANDOM one. What has waited longer than
    `ttl` fails. Whoever calls again with a later `until` may have changed the fleet in between.
    """
    _, closed, rows, started, finished, _, _, server = batches
    # arrays in variables of their own: see `serve_on_demand_from_buffer`
    routing, workers, ttl, routable, takes, own, offset, weight, tree = fleet[:9]
    idle, idle_since, idle_count, head, tail, outstanding = fleet[9:15]
    when, who, state, following, spill = fleet[15:]
    spills, most, latest, expected, arrivals = spill
    first_request, timed = batches.first, latest < np.inf
    ready, leaves = len(routable), len(tree) // 2
    busy_times, idle_times, speeds, height = distributions
    levels, slices, rate, phase, apart = speeds
    mixes = len(busy_times) > height
    turning, varies = (rate, phase, apart), rate > 0
    mask = len(when) - 1
    # all workers may lie on the one stack of a SHARED fleet, and an instance's own on its own
    width = len(idle) // len(head)
    touched = np.zeros(len(when), np.int64)  # the queues from which a batch may now be taken
    count = 1
    if routing != SHARED:  # what was lost elsewhere may wait at any
        count = ready
        touched[:count] = routable
    arriving, first, busy, done_count, spilled = state
    least = routing == LEAST_OUTSTANDING
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
                    done_count += 1
                    if least and takes[queue]:
                        set_key(tree, queue, tree[leaves + queue] - (weight[queue] << KEY_BITS))
                    continue
                idle_count[queue] -= 1
                top = queue * width + idle_count[queue]
                instance = idle[top] // workers
                row = rows[batch] + (offset[instance] if mixes else 0)
                times = idle_times if now > idle_since[top] else busy_times
                started[batch] = now
                server[batch] = instance
                level = finished[batch]
                if varies:
                    place = find_slice(now, instance, turning, len(slices))
                    level = draw_row(levels, slices[place], level)
                finished[batch] = now + draw_row(times, row, level)
                push_completion(when, who, first, busy, (finished[batch], idle[top]))
                busy += 1
        if over:
            break
        done = when[first & mask] if busy > 0 else np.inf
        due = closed[arriving] if arriving < len(closed) else np.inf
        # then once more round, at `until`: what has waited too long fails
        over = min(done, due) > until or min(done, due) == np.inf
        now = until if over else min(done, due)
        count = 0
        if over:
            count = 1 if routing == SHARED else 0  # for what expires
        # of one instant completions come first, so that what arrives finds the server free
        elif done <= due:
            while busy > 0 and when[first & mask] <= now:
                worker = who[first & mask]
                instance = worker // workers
                queue = 0 if routing == SHARED else instance
                # a retired instance needs its own stack for what still waits at it
                if routing != SHARED or takes[instance]:
                    push_idle(idle, idle_since, queue * width, idle_count[queue], (now, worker))
                    idle_count[queue] += 1
                first += 1
                busy -= 1
                done_count += 1
                outstanding[queue] -= 1
                if least and takes[queue]:
                    set_key(tree, queue, tree[leaves + queue] - (weight[queue] << KEY_BITS))
                touched[count] = queue
                count += 1
        else:
            batch = arriving
            arriving += 1
            queue, key = 0, tree[1]
            if routing == RANDOM and ready > 0:
                queue = routable[min(int(started[batch] * ready), ready - 1)]
            elif least:
                queue = key & ((1 << KEY_BITS) - 1)
            if spills:
                leaves_it = ready == 0
                if not leaves_it:
                    if mixes and outstanding[queue] >= most:
                        queue = find_room(fleet, most)  # slower, but not full
                        key = tree[leaves + queue]
                    in_flight = outstanding[queue]
                    # its limit is for each instance
                    if routing == SHARED:
                        in_flight //= ready
                    leaves_it = in_flight >= most
                    if timed and not leaves_it:
                        begin, end = first_request[batch], first_request[batch + 1]
                        turns = in_flight // own[queue] + 1
                        seconds = turns * expected[min(end - begin, len(expected)) - 1]
                        leaves_it = closed[batch] - arrivals[begin] + seconds > latest
                if leaves_it:
                    server[batch] = TO_OVERFLOW
                    spilled += 1
                    continue
            outstanding[queue] += 1
            if least:
                set_key(tree, queue, key + (weight[queue] << KEY_BITS))
            following[batch] = -1
            if head[queue] < 0:
                head[queue] = batch
            else:
                following[tail[queue]] = batch
            tail[queue] = batch
            touched[0] = queue
            count = 1
    state[NEXT], state[FIRST], state[BUSY] = arriving, first, busy
    state[DONE], state[SPILLED] = done_count, spilled


@step
def draw_row(table: Floats, row: int, level: float) -> float:
    """Return what `draw` does of a table's row, without the 10 ns of counting references to it."""
    last = table.shape[1] - 1
    if last == 0:
        return float(table[row, 0])
    position = level * last
    below = min(int(position), last - 1)
    return float(
        table[row, below] + (position - below) * (table[row, below + 1] - table[row, below])
    )


@step
def sift(heap: Floats, place: int, size: int) -> None:
    """Move a value down its heap, the least of which is first, to where it belongs."""
    value = heap[place]
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = value


@step
def select_rank(values: Floats, count: int, rank: int) -> float:
    """Return the `rank`-th smallest of the first `count` values, which change places.

    Ranks asked for are high, so a heap of the largest values is small and few of the others enter
    it: a tenth of the time of `np.partition`.
    """
    size = count - rank + 1
    for position in range(size // 2 - 1, -1, -1):
        sift(values, position, size)
    for other in range(size, count):
        if values[other] > values[0]:
            values[0] = values[other]
            sift(values, 0, size)
    return float(values[0])


@step
def note(
    latencies: Floats,
    counts: Counts,
    tried: Counts,
    least: Floats,
    arrivals: Floats,
    answer: tuple[float, int, int],
    present: tuple[float, int, int, float],
) -> None:
    """Add a batch's latencies to what a window has seen, see `Seen`.

    `answer` is when, inf for a failure, the first request of the batch and that after its last;
    `present` the target, how many requests wait, largest size and wait. The arrays come one by one
    because a tuple of them costs 20 ns a call in counts of references.
    """
    finished, begin, end = answer
    target, backlog, max_size, wait = present
    answered, late = counts[ANSWERED], counts[LATE]
    for request in range(begin, end):
        latencies[answered] = finished - arrivals[request]
        late += latencies[answered] > longest_within(target)
        answered += 1
    counts[ANSWERED], counts[LATE] = answered, late
    if backlog < max_size:  # behind a backlog, waits would pass for service
        size = end - begin
        seconds = finished - arrivals[end - 1] - wait  # the last to arrive waited least
        least[size] = min(least[size], seconds) if tried[size] > 0 else seconds
        tried[size] += 1


@step
def steer(
    steering: Steering, seen: Seen, backlog: int, max_size: int, wait: float
) -> tuple[int, float]:
    """Return largest size and wait by what a window has seen, and begin the next.

    The rule is that of `batching.policies.SteeredBatcher`, to the bit; `backlog` is how many
    requests wait.
    """
    latency, quantile, _, aim, gain, most = steering
    latencies, counts, tried, least = seen
    answered = counts[ANSWERED]
    rank = find_rank(quantile, answered)
    spare = aim * latency - select_rank(latencies, answered, rank)
    wait = min(max(0.0, wait + (gain if spare > 0 else 1.0) * spare), latency)
    slow = 0
    # downwards, so that the smallest size that is too slow stays
    for size in range(len(tried) - 1, 0, -1):
        if tried[size] >= LEAST_BATCHES and least[size] > latency / 2:
            slow = size
        tried[size] = 0
    if slow > 0:
        max_size = max(1, slow - 1)
    elif spare > 0 or backlog >= max_size:
        max_size = min(most, max_size + 1)
    counts[ANSWERED], counts[LATE] = 0, 0
    return max_size, wait


@step
def count_rows(table: Floats, height: int, rows: Servers, begin: int, end: int) -> int:
    """Return the rows of a batch; their negative where the table has no times for so many.

    Such a batch must not be served: compiled loops read tables without a check of bounds.
    """
    count = 0
    for request in range(begin, end):
        count += rows[request]
    return count if count < height and not np.isnan(table[count, 0]) else -count


@compile_loop
def serve_on_demand_from_buffer(
    buffer: SharedBuffer, batches: Batches, distributions: ServiceQuantiles, rules: OnDemandRules
) -> int:
    """Send batches to instances on demand, as long as some are free; return how many there were.

    As many are free as calls may begin below the limit. A batch may still have to wait or fail,
    where starts are paced. What fails counts as answered after all arrivals of its instant.
    """
    # arrays in variables of their own: each access by the tuple's name counts references, 5 ns
    arrivals, request_rows, state, max_wait, steering, seen = buffer
    first_request, closed, rows, started, finished, init, cold, server = batches
    limit, provisioned, keep_alive, queues, pace, depth, cold_start = rules
    busy_times, idle_times, speeds, height = distributions
    levels, slices, rate, phase, apart = speeds
    turning, varies = (rate, phase, apart), rate > 0
    steered = steering.window > 0
    latencies, counts, tried, least = seen
    # a window ends when it is full, or when more are late than its quantile can bear
    window, bearable = steering.window, (1 - steering.quantile) * steering.window
    total = len(arrivals)
    ring = 1
    while ring < limit:
        ring *= 2
    mask = ring - 1
    when, who = np.empty(ring), np.empty(ring, np.int32)  # completions, and of which batch
    kept, kept_since = np.empty(limit, np.int32), np.full(limit, -np.inf)
    warm, warm_since = np.empty(limit, np.int32), np.empty(limit)
    for position in range(provisioned):
        kept[position] = provisioned - 1 - position
    first, busy, kept_count, warm_count, launched = 0, 0, provisioned, 0, provisioned
    now, full_at = 0.0, -np.inf
    arrived, sent = 0, 0
    count, begun, failed = 0, 0, 0  # batches closed, taken up or failed, failed in this instant
    free, max_size, wait = limit, state[MAX_SIZE], max_wait[0]
    while True:
        done = when[first & mask] if busy > 0 else np.inf
        # what was sent and may not start yet waits for the next token
        if begun < count and busy < limit:
            done = min(done, full_at + pace - depth)
        arrival = arrivals[arrived] if arrived < total else np.inf
        due = arrivals[sent] + wait if free > 0 and sent < arrived else np.inf
        upcoming = min(done, arrival, due)
        if failed > 0 and upcoming > now:
            for batch in range(count - failed, count):
                if steered:
                    answer = (np.inf, first_request[batch], first_request[batch + 1])
                    present = (steering.latency, arrived - sent, max_size, wait)
                    note(latencies, counts, tried, least, arrivals, answer, present)
                    if counts[ANSWERED] >= window or counts[LATE] > bearable:
                        max_size, wait = steer(steering, seen, arrived - sent, max_size, wait)
            failed = 0
            free = limit - busy
        elif upcoming == np.inf:
            break
        elif done <= upcoming:
            now = max(now, done)
            completed = first
            while busy > 0 and when[first & mask] <= now:
                batch = who[first & mask]
                one = server[batch]
                if one < provisioned:
                    push_idle(kept, kept_since, 0, kept_count, (when[first & mask], one))
                    kept_count += 1
                else:
                    push_idle(warm, warm_since, 0, warm_count, (when[first & mask], one))
                    warm_count += 1
                first += 1
                busy -= 1
                if steered:
                    answer = (finished[batch], first_request[batch], first_request[batch + 1])
                    present = (steering.latency, arrived - sent, max_size, wait)
                    note(latencies, counts, tried, least, arrivals, answer, present)
                    if counts[ANSWERED] >= window or counts[LATE] > bearable:
                        max_size, wait = steer(steering, seen, arrived - sent, max_size, wait)
            if first > completed:
                free = max(0, limit - busy - (count - begun))
        elif arrival <= upcoming:
            arrived += 1
            # arrivals change nothing until the next completion or timer, or until a batch is full
            quiet, stop = done, total
            if free > 0:
                quiet, stop = min(done, arrivals[sent] + wait), min(total, sent + max_size)
            while failed == 0 and arrived < stop and arrivals[arrived] < quiet:
                arrived += 1
            now = arrivals[arrived - 1]
        else:
            now = max(now, due)
        while free > 0 and sent < arrived:
            if arrived - sent < max_size and now < arrivals[sent] + wait:
                break
            end = min(arrived, sent + max_size)
            rows[count] = count_rows(busy_times, height, request_rows, sent, end)
            if rows[count] < 0:
                state[UNCOVERED] = -rows[count]
                return launched
            first_request[count] = sent
            first_request[count + 1] = end
            closed[count] = now
            sent = end
            count += 1
            free -= 1
        while begun < count:
            one, since, boot, is_new = np.int32(-1), now, 0.0, False
            if kept_count > 0:
                kept_count -= 1
                one, since = kept[kept_count], kept_since[kept_count]
            elif warm_count > 0 and now <= warm_since[warm_count - 1] + keep_alive:
                warm_count -= 1
                one, since = warm[warm_count], warm_since[warm_count]
            else:
                warm_count = 0  # the top was freed last: when it has expired, all have
                if busy < limit and now >= full_at + pace - depth:
                    full_at = max(full_at, now) + pace
                    one = np.int32(launched)
                    launched += 1
                    boot, is_new = draw(cold_start, init[begun]), True
                elif queues:
                    break
            started[begun] = now
            init[begun] = boot
            cold[begun] = is_new
            server[begun] = one
            if one < 0:
                finished[begun] = np.nan
                failed += 1
            else:
                times = idle_times if now > since else busy_times
                level = finished[begun]
                if varies:
                    place = find_slice(now + boot, one, turning, len(slices))
                    level = draw_row(levels, slices[place], level)
                finished[begun] = now + boot + draw_row(times, rows[begun], level)
                push_completion(when, who, first, busy, (finished[begun], begun))
                busy += 1
            begun += 1
    state[ARRIVED], state[SENT], state[CLOSED] = arrived, sent, count
    return launched


@compile_loop
def serve_fleet_from_buffer(
    buffer: SharedBuffer,
    batches: Batches,
    distributions: ServiceQuantiles,
    fleet: FleetState,
    now: float,
    until: float,
) -> None:
    """Send batches to a fleet as long as it has free servers, from `now` to `until`, both included.

    Free are the workers of routable instances, less the batches there; a fleet without any counts
    as one, or nothing would ever wake it. Routes, waits and `ttl` are those of `serve_fleet`, but
    what waits too long fails at once, since that frees its server for the buffer. Whoever calls
    again with a later `until` may have changed the fleet in between.
    """
    arrivals, request_rows, buffered, max_wait, steering, seen = buffer
    first_request, closed, rows, started, finished, _, _, server = batches
    busy_times, idle_times, speeds, height = distributions
    levels, slices, rate, phase, apart = speeds
    mixes = len(busy_times) > height
    turning, varies = (rate, phase, apart), rate > 0
    routing, workers, ttl, routable, takes, own, offset, weight, tree = fleet[:9]
    idle, idle_since, idle_count, head, tail, outstanding = fleet[9:15]
    when, who, state, following, _ = fleet[15:]
    least_loaded, leaves = routing == LEAST_OUTSTANDING, len(tree) // 2
    steered = steering.window > 0
    latencies, counts, tried, least = seen
    # a window ends when it is full, or when more are late than its quantile can bear
    window, bearable = steering.window, (1 - steering.quantile) * steering.window
    total = len(arrivals)
    mask = len(when) - 1
    width = len(idle) // len(head)
    count, first, busy, done_count, _ = state
    arrived, sent, max_size = buffered[ARRIVED], buffered[SENT], buffered[MAX_SIZE]
    wait = max_wait[0]
    if routing == SHARED:
        spare = idle_count[0] - (outstanding[0] - busy)
        if len(routable) == 0:
            spare += 1
    else:
        spare = 0
        for instance in routable:
            spare += own[instance] - outstanding[instance]
    # below 0 after a fleet shrank: more is under way than now has workers
    free = max(0, spare)
    touched = np.zeros(len(when) + 1, np.int64)  # the queues from which a batch may now be taken
    touches = 1 if routing == SHARED else 0
    while True:
        for position in range(touches):
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
                    done_count += 1
                    if least_loaded and takes[queue]:
                        set_key(tree, queue, tree[leaves + queue] - (weight[queue] << KEY_BITS))
                    spare += 1
                    free = max(0, spare)
                    if steered:
                        answer = (np.inf, first_request[batch], first_request[batch + 1])
                        present = (steering.latency, arrived - sent, max_size, wait)
                        note(latencies, counts, tried, least, arrivals, answer, present)
                        if counts[ANSWERED] >= window or counts[LATE] > bearable:
                            max_size, wait = steer(steering, seen, arrived - sent, max_size, wait)
                    continue
                idle_count[queue] -= 1
                top = queue * width + idle_count[queue]
                times = idle_times if now > idle_since[top] else busy_times
                instance = idle[top] // workers
                row = rows[batch] + (offset[instance] if mixes else 0)
                started[batch] = now
                server[batch] = instance
                level = finished[batch]
                if varies:
                    place = find_slice(now, instance, turning, len(slices))
                    level = draw_row(levels, slices[place], level)
                finished[batch] = now + draw_row(times, row, level)
                following[batch] = idle[top]  # it has left its chain: room for its worker
                push_completion(when, who, first, busy, (finished[batch], batch))
                busy += 1
        touches = 0
        if (
            free > 0
            and sent < arrived
            and (arrived - sent >= max_size or now >= arrivals[sent] + wait)
        ):
            end = min(arrived, sent + max_size)
            rows[count] = count_rows(busy_times, height, request_rows, sent, end)
            if rows[count] < 0:
                buffered[UNCOVERED] = -rows[count]
                break
            first_request[count] = sent
            first_request[count + 1] = end
            closed[count] = now
            sent = end
            queue = 0
            if routing == RANDOM:
                queue = routable[min(int(started[count] * len(routable)), len(routable) - 1)]
            elif least_loaded:
                queue = tree[1] & ((1 << KEY_BITS) - 1)
                set_key(tree, queue, tree[1] + (weight[queue] << KEY_BITS))
            outstanding[queue] += 1
            following[count] = -1
            if head[queue] < 0:
                head[queue] = count
            else:
                following[tail[queue]] = count
            tail[queue] = count
            count += 1
            spare -= 1
            free -= 1
            touched[0] = queue
            touches = 1
            continue  # one at a time: of equal completions, the batch sent first comes first
        done = when[first & mask] if busy > 0 else np.inf
        if routing == SHARED and head[0] >= 0:
            done = min(done, np.nextafter(closed[head[0]] + ttl, np.inf))  # it has waited longer
        arrival = arrivals[arrived] if arrived < total else np.inf
        due = arrivals[sent] + wait if free > 0 and sent < arrived else np.inf
        upcoming = min(done, arrival, due)
        if upcoming > until or upcoming == np.inf:
            break
        if done <= upcoming:
            now = max(now, done)
            if routing == SHARED:
                touches = 1
                touched[0] = 0
            while busy > 0 and when[first & mask] <= now:
                batch = who[first & mask]
                worker = following[batch]
                instance = worker // workers
                queue = 0 if routing == SHARED else instance
                if routing != SHARED or takes[instance]:
                    push_idle(idle, idle_since, queue * width, idle_count[queue], (now, worker))
                    idle_count[queue] += 1
                first += 1
                busy -= 1
                done_count += 1
                outstanding[queue] -= 1
                if least_loaded and takes[queue]:
                    set_key(tree, queue, tree[leaves + queue] - (weight[queue] << KEY_BITS))
                spare += takes[instance]
                if routing != SHARED:
                    touched[touches] = queue
                    touches += 1
                if steered:
                    answer = (finished[batch], first_request[batch], first_request[batch + 1])
                    present = (steering.latency, arrived - sent, max_size, wait)
                    note(latencies, counts, tried, least, arrivals, answer, present)
                    if counts[ANSWERED] >= window or counts[LATE] > bearable:
                        max_size, wait = steer(steering, seen, arrived - sent, max_size, wait)
            free = max(0, spare)
        elif arrival <= upcoming:
            arrived += 1
            # arrivals change nothing until the next completion or timer, or until a batch is full
            quiet, stop = min(done, until), total
            if free > 0:
                quiet, stop = min(quiet, arrivals[sent] + wait), min(total, sent + max_size)
            while arrived < stop and arrivals[arrived] < quiet:
                arrived += 1
            now = arrivals[arrived - 1]
        else:
            now = max(now, due)
    state[NEXT], state[FIRST], state[BUSY], state[DONE] = count, first, busy, done_count
    buffered[ARRIVED], buffered[SENT], buffered[CLOSED] = arrived, sent, count
    buffered[MAX_SIZE], max_wait[0] = max_size, wait


@compile_loop
def latencies(arrivals: Floats, first: Counts, finished: Floats, latency: Floats) -> None:
    """Set each request's latency: the finish of its batch less its arrival, NaN where it failed."""
    for batch in range(len(finished)):
        for request in range(first[batch], first[batch + 1]):
            latency[request] = finished[batch] - arrivals[request]


@compile_loop
def find_last(server: Servers, finished: Floats, last: Floats) -> None:
    """Set the latest finish of each instance, where it is later than what is there."""
    for batch in range(len(server)):
        one = server[batch]
        if one >= 0 and finished[batch] > last[one]:
            last[one] = finished[batch]


@compile_loop
def tally(arrivals: Floats, batches: Batches, limit: float, shift: int, counts: Counts) -> int:
    """Count requests by their latency's bits less the last `shift`; return how many meet a limit.

    NaN, of those that failed, meets none and has the highest bits.
    """
    first, _, _, _, finished, _, _, _ = batches
    latency = np.empty(1)
    # floats of 0 and more are in the order of their bits: classes by size without a logarithm
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
            # rounded first: what exceeds a millisecond by rounding alone is not billed
            milliseconds += math.ceil(np.rint(1000 * span * 1e5) / 1e5)
    return calls, milliseconds


@compile_loop
def take_batches(batches: Batches, chosen: Counts, taken: Batches, requests: Counts) -> None:
    """Copy some batches, and list the requests of these by their numbers among all."""
    first, closed, rows, started, finished, init, cold, server = batches
    to_first, to_closed, to_rows, to_started, to_finished, to_init, to_cold, to_server = taken
    count = 0
    for place in range(len(chosen)):
        batch = chosen[place]
        to_first[place], to_closed[place], to_rows[place] = count, closed[batch], rows[batch]
        to_started[place], to_finished[place] = started[batch], finished[batch]
        to_init[place], to_cold[place] = init[batch], cold[batch]
        to_server[place] = server[batch]
        for request in range(first[batch], first[batch + 1]):
            requests[count] = request
            count += 1
    to_first[len(chosen)] = count


@compile_loop
def merge_answers(
    place: int,
    requests: Counts,
    batches: Batches,
    finished: Floats,
    given: NDArray[np.uint8],
    tried: NDArray[np.uint8],
) -> None:
    """Give requests the answers of one more place, where they have none that was earlier."""
    first, ends = batches.first, batches.finished
    for batch in range(len(ends)):
        at = ends[batch]
        for number in range(first[batch], first[batch + 1]):
            request = requests[number]
            tried[request] += 1
            if np.isnan(finished[request]) or at < finished[request]:  # of failures, the last
                finished[request], given[request] = at, place
