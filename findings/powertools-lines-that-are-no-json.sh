#!/bin/sh
# Powertools for AWS Lambda 3.37.0 and aws-embedded-metrics 3.5.0: a NaN makes a line of metrics no JSON; a second unit relabels.
#
# Guessed: a metric that cannot be written, such as the latency NaN of a call that failed, is refused or left out, and the others
# of the invocation are kept; a second value of a metric in another unit is refused or kept in its own.
# Seen: Powertools writes [NaN] into the one line that holds all metrics of the invocation. That is no JSON (RFC 8259), which a
# strict reader such as Node's refuses, so that the counts beside it are lost with it; aws-embedded-metrics refuses NaN. Of 5 in
# milliseconds and 5 in seconds, Powertools makes two values in seconds, aws-embedded-metrics two in milliseconds, each without
# a word: 5 ms become 5 s, or 5 s 5 ms. Powertools for TypeScript 2.36.0 refuses the second unit.
# What it means here: metrics go by `PutMetricData`; a value that is no number is refused with its place, and each has its
# own unit: tests/localcloud/test_cloudwatch.py. A failed request has no latency, and no value of that metric.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    aws-lambda-powertools==3.37.0 aws-embedded-metrics==3.5.0
cd "$folder"

cat > lines.py <<'PY'
import contextlib
import io
import json
import math
import subprocess

from aws_embedded_metrics import metric_scope
from aws_embedded_metrics.config import get_config
from aws_embedded_metrics.exceptions import InvalidMetricError
from aws_lambda_powertools import Metrics

get_config().environment = "local"
STRICT = "JSON.parse(require('fs').readFileSync(0, 'utf8'))"


def powertools(values):
    """Return the line of metrics of an invocation."""
    metrics = Metrics(namespace="models", service="digits")
    metrics.clear_metrics()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for name, unit, value in values:
            metrics.add_metric(name, unit, value)
        metrics.flush_metrics()
    return printed.getvalue()


def embedded(values):
    """Return the same of aws-embedded-metrics."""

    @metric_scope
    def handler(metrics):
        for name, unit, value in values:
            metrics.put_metric(name, value, unit)

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        handler()
    return printed.getvalue()


def read_units(line, name="Latency"):
    """Return values and unit of a metric in a line."""
    found = json.loads(line)
    return found[name], found["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Unit"]


failed = [("Requests", "Count", 3), ("Latency", "Milliseconds", math.nan)]
line = powertools(failed)
print("Powertools, a latency NaN:", line.strip()[-60:])
strict = subprocess.run(["node", "-e", STRICT], input=line, text=True, capture_output=True, check=False)
print("a strict reader of JSON:", [each for each in strict.stderr.splitlines() if "SyntaxError" in each][0][:60])
assert '"Latency":[NaN]' in line and strict.returncode != 0
good = subprocess.run(["node", "-e", STRICT], input=powertools(failed[:1]), text=True, check=False)
assert good.returncode == 0
try:
    embedded(failed)
    raise AssertionError("NaN was taken")
except InvalidMetricError as error:
    print("aws-embedded-metrics, a latency NaN:", error)

units = [("Latency", "Milliseconds", 5), ("Latency", "Seconds", 5)]
for name, write, wanted in (("Powertools", powertools, "Seconds"), ("aws-embedded-metrics", embedded, "Milliseconds")):
    values, unit = read_units(write(units))
    print(f"{name}, 5 ms and 5 s: {values} {unit}")
    assert values == [5, 5] and unit == wanted
PY
POWERTOOLS_SERVICE_NAME=digits "$folder/venv/bin/python" -W ignore lines.py
echo "still so: a NaN spoils the line of all metrics, and two units become one"
