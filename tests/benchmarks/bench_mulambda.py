"""MuLambda's sixteen cells: published, rebuilt, and chosen by what sees load and kind.

400 requests a caller, three seeds; mean response time in s and accuracy, each the mean over seeds.
Simulated throughout; what is published was measured by the thesis. Distances to the published come
from shared/data where that is beside the checkout, else from the means that are cited.
"""

import time
from pathlib import Path

import polars as pl

from workbench.papers.mulambda import (
    PUBLISHED_FILE,
    SELECTORS,
    compare_selectors,
    list_slower,
    see_load_and_kind,
    tabulate,
)

DATA = Path(__file__).parents[3] / "shared" / "data"
OURS = "load and kind"


def cell_lines(table):
    spread = {
        name: table.filter(selector=name).select("mean_low", "mean_high").rows()
        for name in ("weighted", OURS)
    }
    print("placement, use case: published weighted, lots | rebuilt weighted, lots | ours")
    rows = tabulate(table, OURS).rows(named=True)
    for row, of_weighted, own in zip(rows, spread["weighted"], spread[OURS], strict=True):
        print(
            f"{row['placement']:>10} {row['use_case']}: {row['published']:.2f} s "
            f"{row['published_accuracy']:.3f}, {row['lots_published']:.2f} s | "
            f"{row['rebuilt']:.2f} s ({of_weighted[0]:.2f} to {of_weighted[1]:.2f}, "
            f"{row['off']:+.0%}) {row['rebuilt_accuracy']:.3f}, {row['lots']:.2f} s | "
            f"{row['time']:.3f} s ({own[0]:.3f} to {own[1]:.3f}, {row['share']:.2f} of weighted) "
            f"{row['accuracy']:.3f} ({row['gain']:+.3f}), "
            f"p95 {row['p95']:.2f} s, not {row['p95_weighted']:.2f}"
        )


def distances(table):
    print("rebuilt against published: mean response time off by, accuracy off by")
    off = (pl.col("mean") / pl.col("published_mean") - 1).abs()
    miss = (pl.col("accuracy") - pl.col("published_accuracy")).abs()
    for name in SELECTORS:
        rows = table.filter(selector=name)
        (mean, median, worst, accuracy) = rows.select(
            off.mean(), off.median().alias("m"), off.max().alias("w"), miss.max()
        ).row(0)
        print(
            f"  {name:>11}: {mean:.0%} on average, median {median:.0%}, worst {worst:.0%}; "
            f"accuracy at worst {accuracy:.3f}"
        )


def goals(table):
    cells = tabulate(table, OURS)
    share, gain = cells["share"], cells["gain"]
    print(
        f"load and kind against weighted, rebuilt: mean time {share.min():.2f} to "
        f"{share.max():.2f} of it (goal: at most 0.35), accuracy {gain.min():+.3f} to "
        f"{gain.max():+.3f} (at least -0.04), at least equal in "
        f"{(gain >= 0).sum()} of 16 (11), "
        f"p95 below in {(cells['p95'] < cells['p95_weighted']).sum()} of 16"
    )
    for own, lots in (("published", "lots_published"), ("rebuilt", "lots")):
        cases = ", ".join(list_slower(cells, own, lots))
        print(f"weighted slower than lots in every placement, {own}: {cases}")
    print(
        "why: its estimate is the time of the last call, which knows no calls under way, so that\n"
        "all callers choose the same instance, and each waits there for the four others"
    )


def main():
    folder = DATA if (DATA / PUBLISHED_FILE).exists() else None
    start = time.perf_counter()
    table = compare_selectors(dict(SELECTORS) | {OURS: see_load_and_kind}, folder=folder)
    cell_lines(table)
    distances(table)
    goals(table)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
