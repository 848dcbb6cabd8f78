#!/bin/sh
# moto 5.2.5: a log filter pattern that begins with no letter matches every line, a single term such as 500 among them.
#
# Guessed: FilterLogEvents with a pattern that moto does not implement, such as { $.level = "ERROR" }, is refused or
# finds nothing; single terms work, as moto's documentation says of them.
# Seen: whatever begins with neither a letter nor a quote finds all lines, `500`, `?ERROR ?WARN` and `{ ... }` alike, and
# `ERROR -timeout` finds none, where CloudWatch finds the lines with the one word and without the other. (That patterns
# it does not support find everything is said in a docstring.) So a test that searches for a status finds it in any log.
# What it means here: the local cloud refuses such a pattern with NotImplemented, and says what will do;
# tests/localcloud holds that.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "moto[logs]==5.2.5" boto3==1.44.5

AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b AWS_DEFAULT_REGION=us-east-1 "$folder/venv/bin/python" - <<'PY'
import time

import boto3
from moto import mock_aws

LINES = ["GET / 200", "GET / 500", "ERROR timeout", "ERROR memory", '{"level": "ERROR"}']
with mock_aws():
    logs = boto3.client("logs")
    place = {"logGroupName": "g", "logStreamName": "s"}
    logs.create_log_group(logGroupName="g")
    logs.create_log_stream(**place)
    now = int(time.time() * 1000)
    logs.put_log_events(**place, logEvents=[{"timestamp": now, "message": each} for each in LINES])
    counts = {
        pattern: len(logs.filter_log_events(logGroupName="g", filterPattern=pattern)["events"])
        for pattern in ("ERROR", '"500"', "500", "?memory ?timeout", "ERROR -timeout", '{ $.level = "ERROR" }')
    }
for pattern, count in counts.items():
    print(f"{pattern:24} {count} of {len(LINES)} lines")
assert list(counts.values()) == [3, 1, 5, 5, 0, 5], counts
PY
