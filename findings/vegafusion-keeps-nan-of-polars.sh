#!/bin/sh
# VegaFusion 2.0.3 with Altair 6.3.0: `transformed_data` of a Polars frame takes NaN for the largest latency, the chart for none.
#
# Guessed: a frame of Polars and the same one of pandas give the same numbers, and these are the chart's: NaN, a request that
# failed, is left out of median, mean and `valid`.
# Seen, of latencies 1, 2, 3, 4 and twice NaN: the chart has median 2.5, mean 2.5, 4 valid and 2 missing, and so has
# `transformed_data` of pandas. Of Polars it has median 3.5, mean NaN, 6 valid and none missing, without a word, and a filter
# `isValid(datum.latency)` keeps all 6. A running sum is NaN from the first failure on.
# What it means here: `Run.frame` is of Polars and has NaN where a request failed. Who takes numbers from a chart of it gives it
# `run.frame.fill_nan(None)`, with which both agree: site/howto/results.md.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check altair==6.3.0 vegafusion==2.0.3 \
    vl-convert-python==1.9.0.post1 pandas==3.1.1 polars==2.1.0 pyarrow==26.0.1 numpy==2.4.6
cd "$folder"

cat > summarise.py <<'PY'
import math
import re

import altair as alt
import pandas as pd
import polars as pl
import vl_convert

latencies = {"latency": [1.0, 2.0, math.nan, 3.0, 4.0, math.nan]}
FIGURES = ("median", "mean", "valid", "missing")


def summarise(frame):
    """Return a chart of the frame's figures."""
    return alt.Chart(frame).mark_text().transform_aggregate(**{each: f"{each}(latency)" for each in FIGURES})


def compute(frame):
    """Return figures by `transformed_data`, and how many rows it takes for valid."""
    row = summarise(frame).transformed_data()
    kept = alt.Chart(frame).mark_point().transform_filter("isValid(datum.latency)").transformed_data()
    return [float(row[each][0]) for each in FIGURES], len(kept)


drawn = summarise(pl.DataFrame(latencies)).transform_calculate(
    text="+".join(f"datum.{each}+' '" for each in FIGURES)
).encode(text="text:N")
[text] = re.findall(r"<text[^>]*>([^<]*)</text>", vl_convert.vegalite_to_svg(drawn.to_dict()))
chart = [float(each) for each in text.split()]
pandas, polars = compute(pd.DataFrame(latencies)), compute(pl.DataFrame(latencies))
filled = compute(pl.DataFrame(latencies).fill_nan(None))
for name, found in (("chart", chart), ("pandas", pandas), ("Polars", polars), ("Polars, fill_nan(None)", filled)):
    print(f"{name}: {FIGURES} and rows kept: {found}")
assert chart == [2.5, 2.5, 4, 2]
assert pandas == filled == (chart, 4)
assert polars[0][0] == 3.5 and math.isnan(polars[0][1]) and polars[0][2:] == [6, 0] and polars[1] == 6
PY
"$folder/venv/bin/python" -W ignore summarise.py
echo "still so: NaN in a frame of Polars is a latency to transformed_data and none to the chart"
