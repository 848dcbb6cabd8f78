"""The local backend beside a bare ONNX Runtime loop, and what the whole request path costs."""

import statistics
import tempfile
import time

import onnxruntime as ort

import workbench as wb
from workbench.backends.base import Batch
from workbench.backends.local import LocalBackend
from workbench.measuring.load import Load, Workers, tune_process
from workbench.registry import zoo

PAIRS = 15
MODELS = ("digits-mlp-large", "digits-mlp-wide", "digits-forest")
SIZES = (1, 8, 32, 128)


def bare_session(model):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return ort.InferenceSession(
        str(model.path), sess_options=options, providers=["CPUExecutionProvider"]
    )


def seconds_of(call, arrays, least=0.1):
    """Return the mean seconds of a call over at least `least` seconds of calls."""
    calls, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < least:
        for array in arrays:
            call(array)
        calls += len(arrays)
    return spent / calls


def compare(model, size):
    """Print the local backend's throughput as a share of a bare loop's, pair by pair."""
    pool = model.samples().inputs
    arrays = [pool.take(range(k, k + size), axis=0, mode="wrap") for k in range(0, 320, 10)]
    session = bare_session(model)
    name = session.get_inputs()[0].name
    outputs = [session.get_outputs()[0].name]
    with LocalBackend(model) as backend:
        pairs = []
        for _ in range(PAIRS):
            theirs = seconds_of(lambda x: session.run(outputs, {name: x}), arrays)
            ours = seconds_of(lambda x: backend.invoke(Batch(x)), arrays)
            pairs.append((theirs, ours))
    ratios = sorted(theirs / ours for theirs, ours in pairs)
    bare = statistics.median(theirs for theirs, _ in pairs)
    print(
        f"  {model.group:>18} batch {size:>3}: bare {1e3 * bare:7.3f} ms, invoke's throughput "
        f"{statistics.median(ratios):.3f} of it ({ratios[0]:.3f} to {ratios[-1]:.3f})"
    )


def request_path(model):
    """Print what stacking, hand-off and reply add to a batch, by batch size."""
    inputs = model.samples().inputs
    trace = wb.constant(rate=1, duration=len(inputs))
    with tune_process(LocalBackend(model)) as backend:
        load = Load(trace=trace, policy=wb.BatchPolicy(), backend=backend, inputs=inputs)
        workers = Workers(load, time.perf_counter, announce=True)
        for size in SIZES:
            batches = [[(size * k + j) % len(trace) for j in range(size)] for k in range(500)]
            whole = []
            for _ in range(PAIRS):
                start = time.perf_counter()
                workers.serve(batches)
                whole.append((time.perf_counter() - start) / len(batches))
            alone = seconds_of(lambda x: backend.invoke(Batch(x)), [inputs[batches[0]]])
            extra = 1e6 * (statistics.median(whole) - alone)
            print(
                f"  {model.group:>18} batch {size:>3}: the path adds {extra:6.1f} us a batch, "
                f"{extra / size:6.2f} us a request"
            )


def main():
    with tempfile.TemporaryDirectory() as folder:
        registry = wb.Registry(folder)
        zoo.build(registry)
        print("invoke on ready arrays against a bare ONNX Runtime loop on the same arrays")
        for group in MODELS:
            for size in SIZES:
                compare(registry[group], size)
        print("stack, hand-off and reply, back to back")
        request_path(registry["digits-mlp-small"])


if __name__ == "__main__":
    main()
