"""Short runs of the fuzzers with a fixed seed; `make fuzz` runs them for longer, with others."""

import asyncio
from collections import Counter

import pytest

from tests.fuzz.__main__ import run
from tests.fuzz.targets import TARGETS

SEED = 16
CASES = 100
SELDOM_TAKEN = ("forms", "function-zips")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("parser", TARGETS)
def test_damaged_input_is_refused_and_never_a_fault_of_ours(parser):
    counts, faults = asyncio.run(run(parser, SEED, cases=CASES))

    assert not faults, faults[0]
    assert counts.total() == CASES
    assert len(counts) > 1 or parser in SELDOM_TAKEN, "what is always answered alike tests nothing"


def test_a_case_comes_again_with_its_seed():
    first, second = (asyncio.run(run("http", 7, cases=50))[0] for _ in range(2))

    assert first == second != Counter()
