#!/bin/sh
# batched 0.1.5: while the model is busy, requests leave nearly in the reverse of the order in which they came.
#
# Guessed: of 64 requests that come one after the other while the model is busy, with a batch size of 8, the first eight leave first.
# Seen: the queue of `batched.dynamically` is a heap that compares requests by their priority alone, which is the same for all, so
# that what is taken next is about the newest: the first batch has the first request and seven that come later, up to the last, and
# the second and the fourth request leave in the last batch of eight. Under a load that never lets the queue run dry the oldest
# wait until they give up, and the largest latency has no bound, while the median looks well. Answers are right.
# What it means here: batches are made of the requests that have waited longest: tests/batching/test_timer.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check batched==0.1.5 numpy==2.4.6

"$folder/venv/bin/python" - <<'PY'
import threading
import time

import batched

COUNT, SIZE = 64, 8
busy, free, batches, answers = threading.Event(), threading.Event(), [], {}


@batched.dynamically(batch_size=SIZE, timeout_ms=10)
def predict(rows):
    """Answer a batch; the first one keeps the model busy until all requests wait."""
    batches.append(list(rows))
    busy.set()
    free.wait()
    return [10 * row for row in rows]


def ask(number):
    answers[number] = predict(number)


def start(number):
    """Start a client, and wait until its request is in the queue."""
    thread = threading.Thread(target=ask, args=(number,))
    thread.start()
    return thread


clients = [start(-1)]
busy.wait()
for number in range(COUNT):
    clients.append(start(number))
    while predict.stats.queue_size <= number:
        time.sleep(0.001)
free.set()
for client in clients:
    client.join()
first, last = batches[1], batches[-1]
print("requests, numbered as they came, in the first batch:", first)
print("and in the last one:", last)
assert all(answers[number] == 10 * number for number in range(COUNT))
assert [len(batch) for batch in batches[1:]] == [SIZE] * (COUNT // SIZE)
assert max(first) == COUNT - 1 and {1, 3} <= set(last)
PY
echo "still so: the newest are served first"
