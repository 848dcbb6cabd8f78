"""A hybrid that scales ahead of demand, simulated and on the local cloud, in compressed time.

The promise: instance counts within one of one another for 95 % of the time, the share that spills
over within 3 points, cost within 5 %; the median of 3 runs of a minute, in which an instance boots
in a second or two, and the policy decides every few. What the simulator is told is measured just
before each run, through the endpoints themselves: how long calls take, boots and cold starts.

On two cores instances, functions, the cloud's front and a load generator share what there is, so
that the load is low: an instance is taken to be full at so many requests a second that it computes
a sixth of the time.
"""

import os
import statistics
import tempfile
import time

import numpy as np
from bench_agreement import deep
from bench_cloud_agreement import LEVELS, calls

import workbench as wb
from workbench.cloud.client import CloudClient
from workbench.forecasts.naive import Persistence
from workbench.localcloud import LocalCloud
from workbench.service_times import ServiceTimes

SECONDS = float(os.environ.get("BENCH_SECONDS", "60"))
RUNS = int(os.environ.get("BENCH_RUNS", "3"))
LOAD = 1 / 6
INTERVAL = 4.0
MOST = 4
BOOTS = 3
BASE = wb.RealTime(instance_type="ml.m5.large")
FUNCTIONS = wb.Lambda(memory_mb=1769, max_concurrency=8, on_limit="queue")
HYBRID = wb.Hybrid(base=BASE, overflow=FUNCTIONS, spill=wb.InFlight(1))
STEP = 0.05  # seconds between two comparisons of counts


def wave(rate, seed):
    """Requests whose rate goes from a half of one instance's to three times as much and back."""
    times = np.linspace(0, SECONDS, 400)
    rates = rate * (0.5 + 1.25 * (1 - np.cos(2 * np.pi * times / SECONDS)))
    generator = np.random.default_rng(seed)
    most = rates.max()
    offered = np.cumsum(generator.exponential(1 / most, int(3 * most * SECONDS)))
    offered = offered[offered < SECONDS]
    kept = generator.random(len(offered)) * most < np.interp(offered, times, rates)
    return wb.Trace(offered[kept], duration=SECONDS)


def times_of(deployed):
    """Service times through a deployment, in calls with pauses, and seconds of its cold start."""
    rows = deployed.model.samples().inputs
    with deployed.backend(concurrency=1) as backend:
        _, (first,) = calls(backend, rows, count=1)
        calls(backend, rows, count=20)
        busy, _ = calls(backend, rows, count=100)
        pause = float(np.median(busy)) * (1 / LOAD - 1)
        idle, _ = calls(backend, rows, count=100, pause=pause)
    times = ServiceTimes(
        {1: np.quantile(busy, LEVELS)},
        after_idle={1: np.quantile(idle, LEVELS)},
        label="through the endpoint",
    )
    return times, first.init


def boots(deployed):
    """Seconds from asking for a second instance until it is in service."""
    found = []
    with CloudClient(deployed.cloud) as aws:
        for count in [2, 1] * BOOTS:
            began = time.perf_counter()
            change = {"VariantName": "all", "DesiredInstanceCount": count}
            aws.sagemaker(
                "update_endpoint_weights_and_capacities",
                EndpointName=deployed.name,
                DesiredWeightsAndCapacities=[change],
            )
            while (
                aws.sagemaker("describe_endpoint", EndpointName=deployed.name)["EndpointStatus"]
                != "InService"
            ):
                time.sleep(0.02)
            if count == 2:
                found.append(time.perf_counter() - began)
    return found


def policy_of(rate, boot):
    capacity = wb.InstanceCapacity(instance_type="ml.m5.large", rate=rate, hourly_price=0.115)
    return wb.Predictive(
        forecaster=Persistence(),
        capacity=capacity,
        quantile=0.8,
        boot=boot,
        interval=INTERVAL,
        least=1,
        most=MOST,
    )


def clip(run):
    """The run with its instances' time while the trace lasted alone."""
    base, *others = run.record.members
    spans = [(max(0.0, up), min(SECONDS, down)) for up, down in base.instances]
    spans = tuple((up, down) for up, down in spans if up < down)
    facts = {"name": base.name, "deployment": base.deployment, "instances": spans}
    return run.amend(members=(type(base)(**facts), *others))


def counts_of(run):
    at = np.arange(STEP / 2, SECONDS, STEP)
    spans = np.array(run.record.members[0].instances)
    return ((spans[:, :1] <= at) & (at < spans[:, 1:])).sum(axis=0)


def spilled(run):
    return 100 * float((run.frame["place"] == 1).mean())


def pair(model, cloud, seed):
    with wb.deploy(model, HYBRID, cloud) as deployed:
        base, overflow = deployed.members.values()
        (at_base, _), (at_overflow, cold) = times_of(base), times_of(overflow)
        booted = boots(base)
    rate = LOAD / float(at_base.means[1])
    experiment = wb.Experiment(model, HYBRID, wave(rate, seed))
    policy = policy_of(rate, statistics.median(booted))
    measured = clip(experiment.run(cloud, scaling=policy))
    simulated = clip(
        experiment.simulate(
            at_base,
            measured={BASE.size: at_base, FUNCTIONS.size: at_overflow},
            boot=booted,
            cold_start=cold,
            scaling=policy,
            seed=seed,
        )
    )
    return simulated, measured, booted, cold


def main():
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCloud(f"{folder}/cloud", cold_start="imported") as cloud,
    ):
        registry = wb.Registry(f"{folder}/registry")
        model = registry.register("deep", deep(layers=30), approval="Approved")
        for seed in range(RUNS):
            simulated, measured, booted, cold = pair(model, cloud, seed)
            counts = counts_of(simulated), counts_of(measured)
            within = 100 * float((np.abs(counts[0] - counts[1]) <= 1).mean())
            same = 100 * float((counts[0] == counts[1]).mean())
            bills = wb.cost(simulated).total, wb.cost(measured).total
            rows.append(
                (within, abs(spilled(simulated) - spilled(measured)), abs(bills[0] / bills[1] - 1))
            )
            print(
                f"  {len(measured):,} requests, boots {statistics.median(booted):.2f} s, cold "
                f"start {cold:.2f} s: counts within one {within:.1f} % of the time, the same "
                f"{same:.1f} %; means {counts[0].mean():.2f} simulated, {counts[1].mean():.2f} "
                f"measured; spilled {spilled(simulated):.2f} % and {spilled(measured):.2f} %; "
                f"{1e3 * bills[0]:.4f} and {1e3 * bills[1]:.4f} thousandths of a dollar; "
                f"{len(measured) - measured.answered} failed {'; '.join(measured.warnings)}",
                flush=True,
            )
    within, points, off = (statistics.median(column) for column in zip(*rows, strict=True))
    kept = within >= 95, points <= 3, off <= 0.05
    print(
        f"  median of {RUNS}: within one {within:.1f} % of the time (95 wanted), spill-over "
        f"{points:.2f} points apart (3), cost {100 * off:.1f} % (5): "
        f"{'all kept' if all(kept) else 'NOT all kept'}"
    )
