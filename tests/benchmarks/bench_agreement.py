"""A simulated experiment beside the same one really run on this machine, at half load.

The slow model (90 products of 256 x 256 matrices, 10 ms and more a request) is the promise: within
5 % at p50 and 10 % at p95, median of 5 runs of 300 seconds. The fast ones are printed only. A
profile is measured just before each run, since the machine's speed drifts. Where it drifts within a
run, no profile from before can foresee it: so each run is also simulated with the service times
that it had itself, which leaves what the simulator is to blame for.
"""

import os
import statistics
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import workbench as wb
from workbench.registry import zoo
from workbench.service_times import ServiceTimes

SECONDS = float(os.environ.get("BENCH_SECONDS", "300"))
RUNS = 5
THOROUGH = {"precision": 0.001, "budget": 10}
QUANTILES = (0.5, 0.95)
LEVELS = np.linspace(0, 1, 101)


def deep(layers=90, width=256, seed=0):
    """The bytes of an ONNX network of random weights: digits in, one score out.

    Every row becomes a matrix of 256 x 256 that is multiplied through the layers, so that time goes
    into arithmetic. A model that streams its weights from memory is slowed by whatever else the
    machine does, which would be measured instead.
    """
    rng = np.random.default_rng(seed)
    shapes = {"spread": (1, width), "mix": (width, 64), "score": (width, 1)}
    shapes |= {f"w{number}": (width, width) for number in range(layers)}
    weights = [numpy_helper.from_array(np.array([2], np.int64), "last")]
    for name, shape in shapes.items():
        values = (rng.standard_normal(shape) * (2 / shape[0]) ** 0.5).astype(np.float32)
        weights.append(numpy_helper.from_array(values, name))
    nodes = [
        helper.make_node("Unsqueeze", ["x", "last"], ["column"]),
        helper.make_node("MatMul", ["column", "spread"], ["wide"]),
        helper.make_node("MatMul", ["mix", "wide"], ["r0"]),
    ]
    for number in range(layers):
        nodes.append(helper.make_node("MatMul", [f"r{number}", f"w{number}"], [f"m{number}"]))
        nodes.append(helper.make_node("Relu", [f"m{number}"], [f"r{number + 1}"]))
    nodes.append(helper.make_node("MatMul", [f"r{layers}", "score"], ["scores"]))
    nodes.append(helper.make_node("ReduceMean", ["scores"], ["y"], axes=[1], keepdims=0))
    graph = helper.make_graph(
        nodes,
        "deep",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 1])],
        weights,
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def pair(model, policy, *, seconds, seed):
    """Simulated over measured, by quantile, and both runs."""
    profile = wb.profile(model, batch_sizes=sorted({1, policy.max_size}), **THOROUGH)
    rate = 0.5 * profile.capacity(policy.max_size)
    trace = wb.poisson(rate=rate, duration=seconds, seed=seed)
    if policy.max_size > 1:
        profile = wb.profile(model, batch_sizes=range(1, policy.max_size + 1), **THOROUGH)
    experiment = wb.Experiment(model, wb.Local(), trace, policy)
    simulated, measured = experiment.simulate(profile), experiment.run()
    again = experiment.simulate(own_times(measured)) if policy.max_size == 1 else simulated
    return [off(each, measured) for each in (simulated, again)], profile, simulated, measured


def own_times(run):
    """The service times that the requests of an unbatched run had."""
    took = (run.frame["finished"] - run.frame["started"]).drop_nulls().drop_nans().to_numpy()
    return ServiceTimes({1: np.quantile(took, LEVELS)}, label="of the run itself")


def off(simulated, measured):
    return [simulated.quantile(q) / measured.quantile(q) - 1 for q in QUANTILES]


def compare(model, policy, *, seconds, runs):
    rows, own = [], []
    for seed in range(runs):
        (errors, again), profile, simulated, measured = pair(
            model, policy, seconds=seconds, seed=seed
        )
        rows.append(errors)
        own.append(again)
        told = ", ".join(
            f"p{100 * q:g} {1e3 * simulated.quantile(q):.2f} ms simulated, "
            f"{1e3 * measured.quantile(q):.2f} measured ({100 * error:+.1f} %)"
            for q, error in zip(QUANTILES, errors, strict=True)
        )
        print(
            f"    {1e3 * profile.service_time(1):.2f} ms at batch 1, {len(measured):,} requests: "
            f"{told} {'; '.join(measured.warnings)}",
            flush=True,
        )
    tell("", rows)
    if policy.max_size == 1:
        tell(", with the run's own service times", own)


def tell(what, rows):
    for q, errors in zip(QUANTILES, zip(*rows, strict=True), strict=True):
        percent = [100 * abs(error) for error in errors]
        print(
            f"    p{100 * q:g}{what}: error median {statistics.median(percent):.1f} % "
            f"({min(percent):.1f} to {max(percent):.1f}) of {len(rows)} runs",
            flush=True,
        )


def main():
    with tempfile.TemporaryDirectory() as folder:
        registry = wb.Registry(folder)
        zoo.build(registry)
        slow = registry.register("deep", deep(), approval="Approved")
        alone, joined = wb.BatchPolicy(), wb.BatchPolicy(max_size=8, max_wait=0.05)
        for model, policy, seconds, runs in (
            (slow, alone, SECONDS, RUNS),
            (slow, joined, SECONDS / 5, 3),
            (registry["digits-mlp-wide"], alone, SECONDS / 10, 3),
            (registry["digits-mlp-large"], alone, SECONDS / 10, 3),
        ):
            print(f"  {model.name}, {policy.label}, {seconds:g} s at half load")
            compare(model, policy, seconds=seconds, runs=runs)


if __name__ == "__main__":
    main()
