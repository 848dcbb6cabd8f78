#!/bin/sh
# Numba 0.68.1: renaming a NamedTuple beside a cached function breaks the cache instead of renewing it.
#
# Guessed: the edited file is newer than the cache, so the cache counts as stale and the function is
# compiled again. Seen: the index of the cache is unpickled before its stamp is compared, and names
# the argument type by its old name: the call ends in an AttributeError until the cache is deleted.
# What it means here: whoever upgrades in place could not simulate. `workbench.compilation` removes
# such a cache and compiles again; tests/test_compilation.py holds that.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numba==0.68.1 numpy==2.4.6
cd "$folder"

cat > box.py <<'PY'
from typing import NamedTuple

import numpy as np
from numba import njit


class Before(NamedTuple):
    values: np.ndarray


@njit(cache=True)
def total(box):
    return box.values.sum()
PY

venv/bin/python -c 'import box, numpy; print("cached:", box.total(box.Before(numpy.ones(3))))'
sed 's/Before/Afterwards/' box.py > renamed.py
mv renamed.py box.py
seen=$(venv/bin/python -c '
import box, numpy
try:
    print("compiled again:", box.total(box.Afterwards(numpy.ones(3))))
except AttributeError as error:
    print("AttributeError:", str(error).split(" on ")[0])
')
echo "after the rename: $seen"
[ "$seen" = "AttributeError: Can't get attribute 'Before'" ]
