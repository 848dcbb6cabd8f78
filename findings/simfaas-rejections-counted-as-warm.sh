#!/bin/sh
# SimFaaS 0.2.2: get_request_custom_states counts rejected requests as warm ones; its column "rej" is always 0.
#
# Guessed: the column "rej" adds up to the requests that the simulator rejected.
# Seen: it is 0 in each state, and "warm" holds warm and rejected requests together.
# What it means here: rates of warm starts by state, taken from that table, are too high wherever a limit bites; the
# totals of print_trace_results are right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check simfaas==0.2.2 numpy==2.4.6 \
    pandas==3.1.1 scipy==1.17.1 matplotlib==3.11.2

MPLBACKEND=agg "$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
from simfaas.ServerlessSimulator import ServerlessSimulator

np.random.seed(1)
simulator = ServerlessSimulator(
    arrival_rate=2.0, warm_service_rate=1.0, cold_service_rate=1.0, expiration_threshold=600, max_time=5000,
    maximum_concurrency=2,
)
simulator.generate_trace()
simulator.calculate_time_lengths()
table = simulator.get_request_custom_states(simulator.hist_server_count)
warm, rejected = simulator.total_warm_count, simulator.total_reject_count
print("simfaas", version("simfaas"), f"warm {warm}, rejected {rejected}; in the table:", dict(table[["warm", "rej"]].sum()))
assert rejected > 1000
assert table["rej"].sum() == 0, "rejected requests are counted now"
assert abs(table["warm"].sum() - warm - rejected) <= 5, "warm ones are warm ones now"
PY
echo "still so: rejected requests stand in the column of warm ones"
