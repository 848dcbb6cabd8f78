#!/bin/sh
# SimFaaS 0.2.2: when all allowed instances are busy, free places inside them are not used.
#
# Guessed: ParServerlessSimulator with 10 requests an instance and at most 1 instance loses next to nothing at a load of
# 2 (Erlang's formula for 10 places: 0.004 %).
# Seen: it rejects two thirds, as one place would (Erlang's formula for 1 place: 66.7 %), and 2 instances of 4 places
# reject 9.8 %, where 8 places lose .09 %. An arrival is rejected while as many instances run as maximum_concurrency
# allows, whether or not one of them has room.
# What it means here: its rejections beside a limit are comparable to ours only with one request an instance.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check simfaas==0.2.2 numpy==2.4.6 \
    pandas==3.1.1 scipy==1.17.1 matplotlib==3.11.2

MPLBACKEND=agg "$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import version
from math import factorial

import numpy as np
from simfaas.ParServerlessSimulator import ParServerlessSimulator

LOAD = 2.0


def erlang_loss(places):
    weights = [LOAD**k / factorial(k) for k in range(places + 1)]
    return weights[-1] / sum(weights)


def rejected_share(places, instances):
    np.random.seed(1)
    simulator = ParServerlessSimulator(
        places, arrival_rate=LOAD, warm_service_rate=1.0, cold_service_rate=1000.0,
        expiration_threshold=600, max_time=5000, maximum_concurrency=instances,
    )
    simulator.generate_trace()
    return simulator.total_reject_count / simulator.total_req_count


print("simfaas", version("simfaas"))
shares = {}
for instances, places in ((1, 1), (1, 10), (2, 4)):
    shares[instances, places] = share = rejected_share(places, instances)
    print(f"{instances} x {places} places: rejected {share:.4f}; Erlang's formula {erlang_loss(instances * places):.4f}")
assert abs(shares[1, 1] - erlang_loss(1)) < 0.02, "one place is something else now"
assert abs(shares[1, 10] - erlang_loss(1)) < 0.02, "free places of one instance are used now"
assert shares[2, 4] > 50 * erlang_loss(8), "free places of two instances are used now"
PY
echo "still so: a full fleet rejects although its instances have room"
