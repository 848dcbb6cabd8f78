#!/bin/sh
# Alibi Detect 0.13.0: one missing value among 500 turns a drift detector off, and it says that nothing drifted.
#
# Guessed: a NaN among the values is refused, left out, or counts as a value of its own; values a hundred times as large as the
# reference's are a drift with or without it.
# Seen: KSDrift and CVMDrift of one feature have the p value NaN and is_drift 0, without a warning; so has the feature of a
# TabularDrift, whose other features are judged. A NaN in the reference does the same for as long as the detector lives.
# What it means here: `input_drift` counts a missing number among named inputs as a value of its own and refuses one elsewhere, and
# a `Detector` refuses it; tests/run/test_drift.py holds that one does not hide the others.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    alibi-detect==0.13.0 numpy==1.26.4 scipy==1.17.1 transformers==4.57.6
cd "$folder"

cat > detect.py <<'PY'
import numpy as np
from alibi_detect.cd import CVMDrift, KSDrift, TabularDrift

reference = np.random.default_rng(0).lognormal(size=(500, 2)).astype("f4")
drifted = reference * 100
one_missing = drifted.copy()
one_missing[7, 0] = np.nan
spoilt = reference.copy()
spoilt[3, 0] = np.nan


def judge(detector, known, rows):
    found = detector(known, p_val=0.05).predict(rows)["data"]
    return found["is_drift"], float(np.ravel(found["p_val"])[0])


for detector in (KSDrift, CVMDrift):
    found = [judge(detector, *pair) for pair in (
        (reference[:, :1], drifted[:, :1]), (reference[:, :1], one_missing[:, :1]), (spoilt[:, :1], drifted[:, :1]))]
    print(f"{detector.__name__}: drift and p, values x 100 {found[0]}; one of 500 missing {found[1]}; one in the reference {found[2]}")
    assert found[0][0] == 1 and all(told == 0 and np.isnan(p) for told, p in found[1:])
by_feature = TabularDrift(reference, p_val=0.05).predict(one_missing, drift_type="feature")["data"]["is_drift"]
print("TabularDrift, by feature, one missing in the first:", by_feature.tolist())
assert by_feature.tolist() == [0, 1]
PY
"$folder/venv/bin/python" -W ignore detect.py 2>&1 | grep -v "None of PyTorch"
echo "still so: one missing value is enough for is_drift 0"
