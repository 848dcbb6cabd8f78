"""MuLambda's sixteen cells: published, rebuilt, and chosen by what sees load and kind.

400 requests a caller, three seeds; mean response time in s and accuracy, each the mean over seeds.
Simulated throughout; what is published was measured by the thesis. Distances to the published come
from shared/data where that is beside the checkout, else from the means that are cited.
"""

import time
from pathlib import Path

import polars as pl

from workbench.mulambda_paper import (
    PUBLISHED_FILE,
    SELECTORS,
    compare_selectors,
    see_load_and_kind,
)

DATA = Path(__file__).parents[3] / "shared" / "data"
OURS = "load and kind"


def cell_lines(table):
    print("                |    published      |  rebuilt weighted (seeds)       |  rebuilt     |")
    print(
        "placement, use  | weighted   lots   |  time         accuracy   off    |  lots        |  "
        "load and kind (seeds)     of weighted  accuracy  p95"
    )
    for weighted in table.filter(selector="weighted").rows(named=True):
        cell = {name: weighted[name] for name in ("placement", "use_case")}
        of = {row["selector"]: row for row in table.filter(**cell).rows(named=True)}
        lots, ours = of["random"], of[OURS]
        best = min(of["random"]["published_mean"], of["round-robin"]["published_mean"])
        off = weighted["mean"] / weighted["published_mean"] - 1
        miss = weighted["accuracy"] - weighted["published_accuracy"]
        gain = ours["accuracy"] - weighted["accuracy"]
        print(
            f"{cell['placement']:>11} {cell['use_case']} | {weighted['published_mean']:.2f} "
            f"{weighted['published_accuracy']:.3f}  {best:.2f}   | {weighted['mean']:.2f} "
            f"({weighted['mean_low']:.2f} to {weighted['mean_high']:.2f}) "
            f"{weighted['accuracy']:.3f} {off:+4.0%} {miss:+.3f} | {lots['mean']:.2f} "
            f"{lots['accuracy']:.3f}   | {ours['mean']:.3f} ({ours['mean_low']:.3f} to "
            f"{ours['mean_high']:.3f}) {ours['mean'] / weighted['mean']:.2f}         "
            f"{ours['accuracy']:.3f} {gain:+.3f} {ours['p95']:.2f}, not {weighted['p95']:.2f}"
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
    weighted, ours = (table.filter(selector=name) for name in ("weighted", OURS))
    faster = ours["mean"] / weighted["mean"]
    gain = ours["accuracy"] - weighted["accuracy"]
    print(
        f"load and kind against weighted, rebuilt: mean time {faster.min():.2f} to "
        f"{faster.max():.2f} of it (goal: at most 0.35), accuracy {gain.min():+.3f} to "
        f"{gain.max():+.3f} (at least -0.04), at least equal in {(gain >= 0).sum()} of 16 (11), "
        f"p95 below in {(ours['p95'] < weighted['p95']).sum()} of 16"
    )
    for figures in ("published_mean", "mean"):
        slower = weighted.filter(weighted[figures] > table.filter(selector="random")[figures])
        cases = ", ".join(slower["use_case"].unique(maintain_order=True))
        print(f"weighted slower than lots by {figures}: {slower.height} of 16 cells: {cases}")
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
