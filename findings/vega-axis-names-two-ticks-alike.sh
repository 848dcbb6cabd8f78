#!/bin/sh
# Vega in vl-convert 1.9.0.post1 (d3-scale): an axis of dollars whose ticks are 0.02 apart names 0.1 and 0.12 alike.
#
# Guessed: the format "$,~r", which leaves the number of digits to the axis, gives each tick a label of its own.
# Seen: from 0 to 0.12 the labels are ... $0.08, $0.1, $0.1. The digits follow from the last tick less one step, and 0.12 less
# 0.02 is 0.09999999999999999, one digit less than 0.1. From 0 to 0.3 in steps of 0.05 all are right.
# What it means here: formats of axes say how many digits they may have ("$,.4~r"); tests/plots/test_plots.py holds that.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check vl-convert-python==1.9.0.post1

"$folder/venv/bin/python" - <<'PY'
import re
from importlib.metadata import version

import vl_convert


def labels(most, digits):
    axis = {"format": f"$,{digits}~r", "tickCount": 6}
    spec = {
        "data": {"values": [{"dollars": most}]},
        "mark": "bar",
        "encoding": {"x": {"field": "dollars", "type": "quantitative", "axis": axis}},
        "width": 400,
    }
    svg = vl_convert.vegalite_to_svg(spec)
    return re.findall(r">(\$[^<]*)<", svg)


print("vl-convert-python", version("vl-convert-python"))
for most in (0.12, 0.3):
    for digits in ("", ".4"):
        print(f"up to {most}, format $,{digits}~r:", *labels(most, digits))
assert labels(0.12, "")[-2:] == ["$0.1", "$0.1"]
assert labels(0.12, ".4")[-2:] == ["$0.1", "$0.12"]
assert labels(0.3, "")[-2:] == ["$0.25", "$0.3"]
PY
echo "still so: two ticks have one name"
