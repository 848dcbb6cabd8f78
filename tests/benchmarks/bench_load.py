"""The open-loop generator against a backend that does nothing, beside MLPerf LoadGen."""

import ctypes
import resource
import statistics
import time

import numpy as np

import workbench as wb
from workbench.backends.base import Reply
from workbench.measuring.collector import RunOptions
from workbench.measuring.load import Load, lag_facts, replay_in_process
from workbench.measuring.routed_load import RoutedLoad, replay_routed_in_process
from workbench.measuring.routed_rows import RoutedCollector
from workbench.routing.base import Place
from workbench.routing.simple import RoundRobin
from workbench.run.record import RunRecord

RATES = (2_000, 10_000, 30_000, 50_000)
SECONDS = 5.0
RUNS = 5


class Null:
    """Answers at once, with nothing."""

    concurrency = 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def invoke(self, _):
        return Reply()


def generate(rate, seed):
    """Return lag facts and processor seconds a second of one run at this rate."""
    trace = wb.poisson(rate=rate, duration=SECONDS, seed=seed)
    load = Load(
        trace=trace,
        policy=wb.BatchPolicy(),
        backend=Null(),
        inputs=np.zeros((1000, 64), np.float32),
    )
    parts = []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    replay_in_process(load, on_rows=parts.append)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    columns = {
        name: np.concatenate([part[name] for part in parts])
        for name in ("request", "sent", "finished")
    }
    assert len(columns["request"]) == len(trace)
    due = trace.arrivals[columns["request"]]
    facts = lag_facts(columns["sent"] - due, columns["finished"] - due)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return facts, cpu / SECONDS


def ours():
    print("open-loop generator, one request a batch, null backend in the generator's process")
    for rate in RATES:
        runs = [generate(rate, seed) for seed in range(RUNS)]
        show(rate, runs)


def show(rate, runs):
    p99 = sorted(1e3 * facts["lag"]["p99"] for facts, _ in runs)
    cpu = statistics.median(cpu for _, cpu in runs)
    valid = sum(facts["valid"] for facts, _ in runs)
    print(
        f"  {rate:>6} req/s: p99 lag {statistics.median(p99):.3f} ms "
        f"({p99[0]:.3f} to {p99[-1]:.3f}), {cpu:.2f} cores, {valid} of {RUNS} runs valid"
    )


class Digits:
    """Answers at once, with the scores of ten classes, of which the first has the largest."""

    concurrency = 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def invoke(self, batch):
        return Reply(np.tile(SCORES, (len(batch.inputs), 1)))

    def labels(self, outputs):
        return outputs.argmax(axis=1)

    def confidence(self, outputs):
        return outputs.max(axis=1)

    def correct(self, outputs, targets):
        return outputs.argmax(axis=1) == targets


SCORES = np.array([[0.55, *[0.05] * 9]])
ROUTED_RATES = (1_000, 3_000, 6_000)
PLACES = 3


def route(rate, seed):
    """Return lag facts and processor seconds a second of a routed run at this rate."""
    trace = wb.poisson(rate=rate, duration=SECONDS, seed=seed)
    digits = Digits()
    load = Load(
        trace=trace,
        policy=wb.BatchPolicy(),
        backend=digits,
        inputs=np.zeros((1000, 64), np.float32),
        targets=np.zeros(1000, np.int64),
        correct=digits.correct,
    )
    routed = RoutedLoad(
        loads=(load,) * PLACES,
        readers=(digits,) * PLACES,
        places=tuple(Place(name=str(place)) for place in range(PLACES)),
        policy=RoundRobin(),
        patience=5.0,
    )
    collector = RoutedCollector(trace, RunOptions(), RunRecord)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    replay_routed_in_process(routed, on_rows=collector.take)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    frame, facts = collector.collect()
    assert len(frame) == len(collector.calls) == len(trace)
    assert (frame["correct"] == 1).all()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return facts, cpu / SECONDS


def routed():
    print(f"routed open-loop generator, {PLACES} places that answer with scores, round robin")
    for rate in ROUTED_RATES:
        show(rate, [route(rate, seed) for seed in range(RUNS)])


def machine():
    """Print how late this machine wakes a process that does nothing but sleep and look."""
    late = []
    libc = ctypes.CDLL(None)
    libc.prctl(29, 1000, 0, 0, 0)  # PR_SET_TIMERSLACK, as the generator sets it
    due = time.perf_counter()
    for _ in range(int(2000 * SECONDS)):
        due += 1 / 2000
        if (seconds := due - time.perf_counter()) > 0:
            time.sleep(seconds)
        late.append(time.perf_counter() - due)
    p50, p99 = (1e3 * value for value in np.quantile(late, [0.5, 0.99]))
    print(f"this machine, a bare sleep every 0.5 ms: late by {p50:.3f} ms, p99 {p99:.3f} ms")


def loadgen():
    try:
        import mlperf_loadgen as lg
    except ImportError:
        print("MLPerf LoadGen is not installed: pip install mlcommons-loadgen")
        return
    print("MLPerf LoadGen (C++), Server scenario, null system under test in Python")
    for rate in (*RATES, 100_000):
        issued = []

        def issue(samples, issued=issued):
            issued.append(time.perf_counter())
            lg.QuerySamplesComplete([lg.QuerySampleResponse(s.id, 0, 0) for s in samples])

        settings = lg.TestSettings()
        settings.scenario = lg.TestScenario.Server
        settings.mode = lg.TestMode.PerformanceOnly
        settings.server_target_qps = rate
        settings.server_target_latency_ns = 50_000_000
        settings.min_duration_ms = int(1000 * SECONDS)
        settings.min_query_count = 100
        logs = lg.LogSettings()
        output = lg.LogOutputSettings()
        output.outdir = "/tmp"  # noqa: S108 - LoadGen writes its logs, which nobody reads
        output.prefix = "loadgen-"
        output.copy_summary_to_stdout = False
        logs.log_output = output
        logs.enable_trace = False
        sut = lg.ConstructSUT(issue, lambda: None)
        qsl = lg.ConstructQSL(1000, 1000, lambda _: None, lambda _: None)
        lg.StartTestWithLogSettings(sut, qsl, settings, logs)
        lg.DestroyQSL(qsl)
        lg.DestroySUT(sut)
        achieved = (len(issued) - 1) / (issued[-1] - issued[0])
        verdict, lag = summary("/tmp/loadgen-summary.txt")  # noqa: S108
        print(f"  {rate:>6} req/s asked, {achieved:,.0f} done: p99 latency {lag}, {verdict}")


def summary(path):
    """Return LoadGen's verdict and its 99th percentile of latency."""
    from pathlib import Path

    lines = Path(path).read_text(encoding="utf-8").splitlines()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    p99 = next(value for name, value in facts.items() if name.startswith("99.00 percentile"))
    verdict = next(value for name, value in facts.items() if name.startswith("Result is"))
    return verdict.strip(), f"{int(p99) / 1e6:.3f} ms"


def main():
    machine()
    ours()
    routed()
    machine()
    loadgen()


if __name__ == "__main__":
    main()
