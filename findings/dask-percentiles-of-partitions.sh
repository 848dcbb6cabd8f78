#!/bin/sh
# dask 2026.8.0: the 99th percentile of latencies is a fifth of what it is where one partition of eight was slow.
#
# Guessed: `frame.latency.quantile(0.99)`, which is documented as approximate, is within a tenth of the exact value, and percentiles
# that are asked for one by one are those that are asked for together.
# Seen: each partition is asked for that percentile alone, and what they answer is joined by straight lines. Of eight
# partitions of 5,000 latencies, an hour each, seven near 20 and the last near 1,100, the median is 53 for 21, and the 90th,
# 95th, 99th and 99.9th percentile are all 344, for 842 to 2,314. Asked for together they are other numbers, the median 29. Shuffled
# over the partitions, the same latencies give all of them within a tenth.
# What it means here: percentiles are by rank of all rows of a run, never of parts (tests/test_quantiles.py); a cluster of Dask's
# computes whole experiments, and what it returns are runs: site/howto/sweeps.md.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    "dask[dataframe]==2026.8.0" pandas==3.1.1 numpy==2.4.6 pyarrow==26.0.1
cd "$folder"

cat > quantiles.py <<'PY'
import dask.dataframe as dd
import numpy as np
import pandas as pd

SHARES = [0.5, 0.9, 0.95, 0.99, 0.999]
rng = np.random.default_rng(0)
latencies = np.concatenate([rng.lognormal(3 if hour < 7 else 7, 0.3, 5000) for hour in range(8)])


def compute(values):
    """Return percentiles of eight partitions, asked for one by one and together."""
    column = dd.from_pandas(pd.DataFrame({"latency": values}), npartitions=8).latency
    return [float(column.quantile(q).compute()) for q in SHARES], column.quantile(SHARES).compute().tolist()


exact = np.quantile(latencies, SHARES)
one_by_one, together = compute(latencies)
shuffled, _ = compute(rng.permutation(latencies))
for name, found in (("exact", exact), ("one by one", one_by_one), ("together", together), ("shuffled", shuffled)):
    print(f"{name}: {dict(zip(SHARES, np.round(found, 1).tolist()))}")
assert one_by_one[0] > 2.5 * exact[0] and one_by_one[3] < exact[3] / 4
assert len({round(each, 6) for each in one_by_one[1:]}) == 1
assert abs(together[0] / one_by_one[0] - 1) > 0.2
assert np.all(np.abs(np.array(shuffled) / exact - 1) < 0.1)
PY
"$folder/venv/bin/python" -W ignore quantiles.py
echo "still so: percentiles of a dask frame depend on which latencies share a partition"
