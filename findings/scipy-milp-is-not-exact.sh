#!/bin/sh
# SciPy 1.17.1: `milp` calls a dearer answer optimal, and its integers are no integers.
#
# Guessed: without options a small integer programme is solved to its optimum, as status 0 and "HiGHS Status 7:
# Optimal" say; variables with integrality 1 come back as whole numbers.
# Seen: HiGHS stops at a relative gap of 1e-4, a default that SciPy's page of `milp` does not name: of 400 fleets of 4
# to 8 instance types that must serve a rate, some cost more than with mip_rel_gap=0, and one of these has other
# counts in its answer. About a fifth of the answers hold a count such as 2.9999999999, which int() makes 2.
# What it means here: counts of `workbench.scaling.provision` and the bound of `clairvoyant` are asked for with a gap of
# 0 and rounded to the nearest; tests/scaling hold that greedy counts never cost less.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check scipy==1.17.1 numpy==2.4.6

"$folder/venv/bin/python" - <<'PY'
import numpy as np
from scipy.optimize import LinearConstraint, milp

rng = np.random.default_rng(0)
dearer = broken = cut = 0
for _ in range(400):
    types = int(rng.integers(4, 9))
    rate = rng.integers(50, 2000, types).astype(float)
    price = rate * rng.uniform(0.9, 1.1, types) * 0.17 / 490
    enough = LinearConstraint(rate[None, :], lb=float(rng.integers(20_000, 400_000)))
    usual, exact = (
        milp(price, constraints=enough, integrality=np.ones(types), options=options)
        for options in ({}, {"mip_rel_gap": 0})
    )
    assert usual.status == exact.status == 0, (usual.message, exact.message)
    dearer += usual.fun > exact.fun * (1 + 1e-9)
    broken += bool((usual.x != np.round(usual.x)).any())
    cut += bool((usual.x.astype(int) < np.round(usual.x)).any())
print(f"called optimal, status 0: 400 of 400; dearer than with a gap of 0: {dearer}")
print(f"answers with a count that is not whole: {broken}; that int() makes smaller: {cut}")
assert dearer >= 1 and broken >= 10 and cut >= 1
PY
