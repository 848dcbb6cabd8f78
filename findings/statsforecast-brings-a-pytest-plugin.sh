#!/bin/sh
# statsforecast 2.0.1: installing it adds a plugin to every pytest session of the environment.
#
# Guessed: a forecasting package leaves pytest as it was.
# Seen: fugue, which statsforecast requires, registers a pytest plugin (entry point pytest11). A session over a test
# that knows nothing of either lists the plugin and prints "Fugue tests will be initialized with options:".
# What it means here: the extra `forecast` does that to the tests of whoever installs it; the line is harmless, and
# `-p no:fugue_test` leaves the plugin out.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    statsforecast==2.0.1 fugue==0.9.4 pytest==9.1.1

echo 'def test_nothing(): pass' > "$folder/test_plain.py"
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import entry_points

for each in entry_points(group="pytest11"):
    print("pytest11:", each.name, "of", each.dist.name, each.dist.version)
PY
"$folder/venv/bin/python" -m pytest test_plain.py > out.txt
"$folder/venv/bin/python" -m pytest -p no:fugue_test test_plain.py > without.txt
grep "Fugue tests will be initialized" out.txt
if grep "Fugue tests will be initialized" without.txt; then exit 1; fi
echo "still so: the plugin is there, and can be left out"
