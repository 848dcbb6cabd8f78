#!/bin/sh
# Ray Serve 2.60.0: while the model is busy, requests leave the queue in batches of one, and no batch is joined afterwards.
#
# Guessed: with a batch size of 8 and a wait of 0.1 s, eight requests that come while the model is busy leave together when it is free,
# as they do that wait for a worker elsewhere.
# Seen: the timer runs whether or not the model is free: after 0.1 s (0.01 s by default) a batch is closed with what it has, and stands in
# line with others that are closed, to which nothing is added. Eight requests that come 0.4 s apart are eight batches of one,
# however long the model is busy. So load does not make batches larger: a model that takes 1 s a batch of any size
# serves one request a second, and more than that wait without a bound.
# What it means here: what is due while all servers are busy leaves as one is free, in the largest batch that there is:
# `WorkConserving`, tests/batching/test_policies.py, site/howto/coming-from.md.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "ray[serve]==2.60.0"
cd "$folder"

"$folder/venv/bin/python" - <<'PY'
import asyncio

from ray import serve
from ray.serve._private.common import DeploymentID, ReplicaID
from ray.serve._private.config import DeploymentConfig
from ray.serve.context import _set_internal_replica_context
from ray.serve.schema import ReplicaRank

# a replica without a cluster around it, as Ray's own tests of its batches make one
_set_internal_replica_context(
    replica_id=ReplicaID("replica", DeploymentID("model")),
    servable_object=None,
    _deployment_config=DeploymentConfig(max_ongoing_requests=100),
    rank=ReplicaRank(rank=0, node_rank=0, local_rank=0),
    world_size=1,
)
batches = []


async def main():
    free = asyncio.Event()

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.1)
    async def predict(rows):
        batches.append(rows)
        await free.wait()
        return rows

    requests = [asyncio.create_task(predict(0))]
    while not batches:
        await asyncio.sleep(0.01)
    for number in range(1, 9):
        requests.append(asyncio.create_task(predict(number)))
        await asyncio.sleep(0.4)
    assert batches == [[0]]  # the model is busy since
    free.set()
    assert await asyncio.gather(*requests) == list(range(9))
    print("batches, of requests numbered as they came:", batches)
    assert batches == [[number] for number in range(9)]


asyncio.run(main())
PY
echo "still so: a busy model gets batches of one"
