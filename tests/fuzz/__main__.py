"""Run the fuzzers: `python -m tests.fuzz --seconds 60 s3 lambda`; all of them by default."""

import argparse
import asyncio
import random
import re
import sys
import time
from collections import Counter

from tests.fuzz.targets import TARGETS


async def run(name, seed, *, seconds=float("inf"), cases=sys.maxsize, keep_going=False):
    """Return how often each outcome came, and the faults as pairs of case and error."""
    counts, faults, end = Counter(), [], time.monotonic() + seconds
    async with TARGETS[name]() as play:
        for case in range(cases):
            if time.monotonic() > end:
                break
            rng = random.Random(f"{name} {seed} {case}")  # noqa: S311 - nothing is secret
            try:
                counts[await play(rng)] += 1
            except Exception as error:  # noqa: BLE001 - whatever a parser raises is a find
                counts["fault"] += 1
                faults.append((case, error))
                if not keep_going:
                    break
    return counts, faults


def main():
    """Print the counts of each parser, and how to see its first fault again."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("parsers", nargs="*", metavar="PARSER", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=60, help="of each (60)")
    parser.add_argument("--cases", type=int, default=sys.maxsize, help="of each at most")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--keep-going", action="store_true", help="count all faults")
    given = parser.parse_args()
    failed = False
    for name in given.parsers or TARGETS:
        limits = {"seconds": given.seconds, "cases": given.cases, "keep_going": given.keep_going}
        counts, faults = asyncio.run(run(name, given.seed, **limits))
        outcomes = ", ".join(f"{outcome} {count:,}" for outcome, count in sorted(counts.items()))
        print(f"{name}: {sum(counts.values()):,} cases: {outcomes}", flush=True)
        for case, error in _first_of_each(faults):
            failed = True
            print(f"  case {case}: {type(error).__name__}: {error}")
            print(f"  again: python -m tests.fuzz {name} --seed {given.seed} --cases {case + 1}")
    return int(failed)


def _first_of_each(faults):
    """Return the first fault of each kind, told apart by the end of what was said."""
    kinds = {
        re.sub(r"\d+", "", str(error).strip()[-60:]): (case, error) for case, error in faults[::-1]
    }
    return list(kinds.values())[-20:]


if __name__ == "__main__":
    sys.exit(main())
