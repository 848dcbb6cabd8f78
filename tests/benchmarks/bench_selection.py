"""Selecting among a thousand models on seven inference types, once profiles and answers exist.

Service times, accuracies and answers are drawn: from 0.2 to 60 ms for one row, the more accurate
the slower but for luck. Each question is put as it would be the first time in a process that has
compiled the formulas; nothing of one question is kept for the next. Where latency is weighed,
bounds rule little out, and the searches are limited: how often the answer was conclusive is told.
Beside it: what it would take to plan for all of them, and what a slider takes.
"""

import statistics
import tempfile
import time
from dataclasses import replace

import numpy as np

import workbench as wb
from workbench.measuring.outcomes import Outcomes
from workbench.planner import Options, plan
from workbench.registry import zoo
from workbench.service_times import ServiceTimes

MODELS, ROWS, REPEATS = 1000, 2000, 5
QUESTIONS = {
    "accuracy 0.7, cost 0.3": {"weights": {"accuracy": 0.7, "cost": 0.3}},
    "all three alike, 5 searches": {"searches": 5},
    "the cheapest, surely 90 % right": {"target": 0.9},
}


def candidates(model, seed):
    """Return models with drawn service times and answers, by name."""
    rng = np.random.default_rng(seed)
    size = rng.random(MODELS)
    seconds = 0.0002 * 300 ** np.clip(size + 0.1 * rng.standard_normal(MODELS), 0, 1)
    accuracy = 0.6 + 0.33 * size**0.5 + 0.02 * rng.standard_normal(MODELS)
    hard = rng.random(ROWS)  # rows that are hard for one are hard for others
    models, profiles, outcomes = [], {}, {}
    for number in range(MODELS):
        each = replace(model, group=f"model-{number}")
        right = (0.7 * hard + 0.3 * rng.random(ROWS)).argsort().argsort() < accuracy[number] * ROWS
        base = 0.7 * seconds[number]
        models.append(each)
        profiles[each.name] = ServiceTimes.affine(base, seconds[number] - base, largest=32)
        outcomes[each.name] = Outcomes(right, np.full(ROWS, np.nan), right.astype(float))
    return models, {"profiles": profiles, "outcomes": outcomes}


def timed(work):
    began, busy = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - began, time.process_time() - busy, found


def told(name, seconds, more=""):
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    print(f"  {name:34} {middle:8.4f} s  ({low:.4f} to {high:.4f})  {more}", flush=True)


def main():
    options = Options(
        deployments=[wb.Local(hourly_price=0.1), wb.OnPremise.example()],
        cold_start=0.4,
    )
    with tempfile.TemporaryDirectory() as folder:
        registry = wb.Registry(folder)
        zoo.build(registry, names=["digits-mlp-small"])
        model = registry["digits-mlp-small"]
        traffic = {"poisson": wb.poisson, "bursty": wb.bursty}
        for name, draw in traffic.items():
            more = {"burst": 5} if draw is wb.bursty else {}
            trace = draw(rate=50, duration=120, seed=1, **more)
            print(f"{MODELS:,} models x {len(options.kinds)} inference types, {trace!r}, {name}")
            measure(model, trace, options)


def measure(model, trace, options):
    asked = {"trace": trace, "slo": wb.SLO(latency=0.2), "options": options}
    models, known = candidates(model, 0)
    wb.select(models[:1], **asked, **known)  # compiles
    for question, settings in QUESTIONS.items():
        seconds, busy, searches, conclusive = [], [], [], 0
        for repeat in range(REPEATS):
            models, known = candidates(model, repeat)
            spent, cpu, found = timed(lambda: wb.select(models, **asked, **known, **settings))  # noqa: B023
            seconds.append(spent)
            busy.append(cpu)
            searches.append(len(found.planned))
            conclusive += found.conclusive
        more = f"CPU {statistics.median(busy):.3f} s, {statistics.median(searches):.0f} searches"
        more += f", conclusive {conclusive} of {REPEATS}"
        told(question, seconds, more)
    each, *_ = timed(
        lambda: [plan(known["profiles"][m.name], trace, asked["slo"], options) for m in models[:10]]
    )
    print(f"  a plan for each of {MODELS:,} would take {MODELS * each / 10:.0f} s")
    told(
        "a slider: winner(weights)",
        [timed(lambda: found.winner({"cost": 1}))[0] for _ in range(REPEATS)],
    )


if __name__ == "__main__":
    main()
