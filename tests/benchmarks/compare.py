"""Two checkouts of the workbench side by side: the CPU time of the same work, in turns.

    .venv/bin/python tests/benchmarks/compare.py ../before [word of a case's name ...]

Each checkout has its own `.venv` and $WORKBENCH_HOME, and a new process PROCESSES times. A case is
what is made before, and the work; it uses names that both have. Printed are the medians of ROUNDS
turns in each process, and the ratio with its quartiles, of user CPU time of a process and of all
that it started, servers included: other work on a machine lengthens elapsed time. The system's time
is mostly that of page faults, which differ from process to process: the same million requests took
20 of them in one and 6,900 in the others, and from 14 to 19 ms of user time. So the ratio with it
stands apart. One process a side, a turn of 17 ms, and a checkout seems to be slower than itself by
half: `compare.py .` tells what the ratios of nothing are.
"""

import contextlib
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

ROUNDS = int(os.environ.get("ROUNDS", "3"))
PROCESSES = int(os.environ.get("PROCESSES", "5"))
PR_SET_CHILD_SUBREAPER = 36

SETUP = """
import contextlib, io, os, socket, subprocess, sys, tempfile, time, warnings, zipfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
import numpy as np
import workbench as wb
warnings.simplefilter("ignore")
def either(name, *homes):
    for home in homes:
        with contextlib.suppress(ImportError, AttributeError):
            return getattr(import_module(f"workbench.{home}"), name)
def cold(code):
    subprocess.run([sys.executable, "-c", code], check=True)
mg1 = either("mg1", "queueing")
times = wb.ServiceTimes.affine(0.02, 0.002, largest=8)
small = wb.ServiceTimes.affine(0.002, 0.0002, largest=8)
drawn = wb.ServiceTimes({1: np.linspace(0.002, 0.006, 101)})
policy = wb.BatchPolicy(max_size=8, max_wait=0.01)
alone = wb.BatchPolicy()
trace = wb.poisson(rate=1000, duration=1000, seed=1)
short = wb.poisson(rate=100, duration=100, seed=1)
brief = wb.poisson(rate=200, duration=2, seed=1)
serverless = wb.Serverless(memory_mb=2048, max_concurrency=200)
machines = wb.RealTime(instance_type="ml.m5.large", count=8)
target = wb.SLO(latency=0.1)
settings = {}  # of a local cloud
def options(**given):  # what both have
    new = {"unseen_draws": 0, "headroom": 0.0} if hasattr(wb.Options, "unseen_draws") else {}
    return wb.Options(cold_start=0.5, finalists=4, **given, **new)
"""
PAPER = """
maps = either("CITED_MAPS", "papers.batch", "batch_paper") or either("CITED", "reproduction")
errors = either("model_errors", "papers.batch", "batch_paper", "reproduction")
"""
APP = """
from workbench.widgets import App
app = App(wb.Registry())
"""
SLIDERS = """
from workbench.widgets import WhatIf
experiment = wb.Experiment(wb.Registry()["digits-mlp-small"], serverless, trace, policy, target)
sliders = WhatIf(experiment, wb.ServiceTimes.affine(0.02, 0.002, largest=32))
"""
FILES = """
folder = Path(made.enter_context(tempfile.TemporaryDirectory()))
runs = [wb.simulate(short, each, serverless, times, slo=target) for each in (policy, alone)]
"""
MODEL = """
from tests.graphs import linear
from workbench.backends.base import Batch, Reply
folder = Path(made.enter_context(tempfile.TemporaryDirectory()))
model = wb.Registry(folder / "registry").register("linear", linear(), approval="Approved")
rows = np.ones((1, 3), np.float32)
"""
BACKEND = f"""{MODEL}
LocalBackend = either("LocalBackend", "backends.local")
try: backend = LocalBackend(model)
except TypeError: backend = LocalBackend(model, wb.Local())
made.enter_context(backend)
"""
LOAD = f"""{MODEL}
Load, replay = (either(each, "measuring.load", "load") for each in ("Load", "replay"))
class Null:
    concurrency = 1
    def invoke(self, batch):
        return Reply()
def generate(policy, rate):
    sent = wb.poisson(rate=rate, duration=1, seed=1)
    load = Load(trace=sent, policy=policy, backend=Null(), inputs=np.zeros((1000, 64), np.float32))
    replay(load, on_rows=lambda rows: None)
"""
EXCHANGE = """
def packed(rows):
    file = io.BytesIO()
    np.save(file, rows)
    return file.getvalue()
def request(path, body, kind, headers={}):
    lines = {"Host": "local", "Content-Type": kind, "Accept": kind, **headers}
    head = "".join(f"{name}: {value}\\r\\n" for name, value in lines.items())
    head += f"Content-Length: {len(body)}\\r\\n\\r\\n"
    return f"POST {path} HTTP/1.1\\r\\n{head}".encode() + body
def exchange(port, sent, count):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(count):
            connection.sendall(sent)
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200"), answer
NPY, JSON, TEXT = "application/x-npy", "application/json", b"[[1.0, 2.0, 3.0]]"
"""
SERVER = f"""{MODEL}{EXCHANGE}
served = folder / "served"
served.mkdir()
(served / "model.onnx").write_bytes(linear())
module = "modelserver" if find_spec("workbench.modelserver") else "cloud.container"
read, write = os.pipe()
command = [sys.executable, "-P", "-m", f"workbench.{{module}}", "serve", "--host", "127.0.0.1"]
command += ["--port", "0", "--model", str(served), "--max-batch", "1", "--announce", str(write)]
server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
os.close(write)
port = int(os.fdopen(read).readline())
made.callback(server.wait)
made.callback(server.terminate)
"""
CLOUD = f"""{MODEL}{EXCHANGE}
cloud = made.enter_context(wb.LocalCloud(**settings))
port = int(cloud.url.rpartition(":")[2])
def client(service):
    return made.enter_context(contextlib.closing(cloud.client(service)))
s3 = client("s3")
s3.create_bucket(Bucket="numbers")
def up(deployment):
    return made.enter_context(wb.deploy(model, deployment, cloud))
"""
ENDPOINT = f"""{CLOUD}
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
one = up(wb.RealTime(instance_type="ml.m5.large"))
runtime, watch = client("sagemaker-runtime"), client("cloudwatch")
def invoke():
    answer = runtime.invoke_endpoint(EndpointName=one.name, Body=TEXT, ContentType=JSON)
    return answer["Body"].read()
path = f"/endpoints/{{one.name}}/invocations"
asked = AWSRequest("POST", cloud.url + path, data=TEXT, headers={{"Content-Type": JSON}})
SigV4Auth(Credentials(*cloud.keys), "sagemaker", "us-east-1").add_auth(asked)
signed = request(path, TEXT, JSON, {{**asked.headers, "Host": f"127.0.0.1:{{port}}"}})
metrics = either("metrics", "cloud.monitor")
invoke()
data = [{{"MetricName": "m", "Value": float(each)}} for each in range(20)]
"""
COLD = f"""settings["keep_alive"] = 0.0
{CLOUD}
one = up(wb.Serverless(memory_mb=2048, max_concurrency=2))
backend = made.enter_context(one.backend())
def start():
    while any(v["instances"] for e in cloud.state()["endpoints"] for v in e["variants"]):
        time.sleep(0.05)
    assert backend.invoke(Batch(rows)).cold
"""
ASYNC = f"""{CLOUD}
one, runtime = up(wb.Async(instance_type="ml.m5.large")), client("sagemaker-runtime")
s3.put_object(Bucket="numbers", Key="rows", Body=TEXT)
def ask(count):
    asked = {{"EndpointName": one.name, "InputLocation": "s3://numbers/rows", "ContentType": JSON}}
    places = [runtime.invoke_endpoint_async(**asked)["OutputLocation"] for _ in range(count)]
    bucket, _, key = places[0].removeprefix("s3://").partition("/")
    prefix, wanted = key.rpartition("/")[0], {{each.split("/", 3)[3] for each in places}}
    while wanted:
        time.sleep(0.2)
        found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        wanted -= {{each["Key"] for each in found}}
"""
FUNCTION = f"""{CLOUD}
file = io.BytesIO()
with zipfile.ZipFile(file, "w") as archive:
    archive.writestr("app.py", "def handler(event, context):\\n    return event\\n")
functions = client("lambda")
functions.create_function(FunctionName="echo", Role=cloud.role, Runtime="python3.11",
    Handler="app.handler", MemorySize=1769, Code={{"ZipFile": file.getvalue()}})
functions.get_waiter("function_active_v2").wait(FunctionName="echo")
def call():
    return functions.invoke(FunctionName="echo", Payload=b'{{"a": 1}}')["Payload"].read()
"""
BY_WHAT_IS_MADE = {  # before; then a case's name, and the work
    "": {
        "import": "cold('import workbench as wb; wb.Experiment')",
        "import, cold simulation": (
            "cold('import workbench as wb; wb.simulate(wb.poisson(rate=100, duration=9, seed=1), "
            "wb.BatchPolicy(), wb.Local(), wb.ServiceTimes({1: 0.005}))')"
        ),
        "agreement, drawn times": (
            "for _ in range(5): wb.simulate(trace, alone, wb.Local(workers=8), drawn)"
        ),
        "local cloud, up and down": "wb.LocalCloud().close()",
        "planner, functions": "wb.plan(small, short, target, options=options(kinds=['lambda']))",
        "planner, all types": (
            "wb.plan(small, short, target, options=options(kinds=['serverless', 'lambda', "
            "'real-time', 'async', 'batch transform']))"
        ),
        "planner, again each minute": (
            "wb.replan(small, wb.diurnal(rate=50, swing=0.8, period=600, duration=600, seed=1), "
            "target, options(kinds=['lambda']), window=60)"
        ),
        "planner, break-even": (
            "wb.plan(small, short, target, options=options(kinds=['lambda', "
            "'real-time'])).break_even()"
        ),
        "queueing, quantiles": "for _ in range(50): mg1(rate=100, service=small).quantile(0.99)",
        "simulator, a trace": (
            "wb.bursty(rate=1000, duration=1000, burst=4, dwell=(3.0, 1.0), seed=1)"
        ),
        "simulator, timer": (
            "for _ in range(10): wb.simulate(trace, policy, serverless, times, cold_start=0.5)"
        ),
        "simulator, work-conserving": (  # minutes of a long trace, before it was compiled
            "wb.simulate(short, wb.WorkConserving(max_size=8), wb.Local(workers=8), times)"
        ),
        "simulator, instances": "for _ in range(10): wb.simulate(trace, alone, machines, small)",
        "simulator, summary": (
            "for _ in range(20): wb.simulate(short, policy, serverless, times).summary()"
        ),
        "simulator, cost": (
            "for _ in range(20): wb.cost(wb.simulate(short, policy, serverless, times))"
        ),
    },
    MODEL: {
        "agreement, a run here": "wb.Experiment(model, wb.Local(), brief, policy).run()",
        "queueing, a prediction": (
            "for _ in range(5): wb.Experiment(model, serverless, short, "
            "policy).predict(small).quantile(0.95)"
        ),
        "transform, here": "wb.transform(model, np.ones((2_000_000, 3), np.float32), wb.Local())",
    },
    PAPER: {
        "queueing, BATCH's models": "errors({'m': maps['NYS 3']}, max_size=10, max_wait=0.2)",
    },
    APP: {
        "app, built in a new process": (
            "cold('import workbench as wb; from workbench.widgets import App; App(wb.Registry())')"
        ),
        "app, a simulation": "app.panel.start('simulate'); app.panel.wait(300)",
    },
    ASYNC: {
        "async, 150 requests": "ask(150)",
    },
    CLOUD: {
        "cloud agreement, a run": (
            "wb.Experiment(model, wb.Serverless(memory_mb=2048, max_concurrency=4), "
            "brief).run(cloud)"
        ),
        "lambda, deploy and call": (
            "with wb.deploy(model, wb.Lambda(memory_mb=1769, max_concurrency=2), cloud) as one, "
            "one.backend() as it: it.invoke(Batch(rows))"
        ),
        "local cloud, an endpoint": (
            "with wb.deploy(model, wb.RealTime(instance_type='ml.m5.large'), cloud): pass"
        ),
        "local cloud, S3, 1 kB": (
            "for n in range(150): s3.put_object(Bucket='numbers', Key=str(n), Body=bytes(1000)); "
            "s3.get_object(Bucket='numbers', Key=str(n))['Body'].read()"
        ),
        "local cloud, S3, 32 MB": (
            "for _ in range(4): s3.put_object(Bucket='numbers', Key='large', Body=bytes(2**25)); "
            "s3.get_object(Bucket='numbers', Key='large')['Body'].read()"
        ),
        "transform, a job": (
            "wb.transform(model, np.ones((200_000, 3), np.float32), "
            "wb.BatchTransform(instance_type='ml.m5.large'), cloud)"
        ),
    },
    SERVER: {
        "container, a row as JSON": "exchange(port, request('/invocations', TEXT, JSON), 5000)",
        "container, 64 rows as bytes": (
            "exchange(port, request('/invocations', packed(np.ones((64, 3), np.float32)), NPY), "
            "5000)"
        ),
    },
    FUNCTION: {
        "lambda, 200 calls": "for _ in range(200): call()",
    },
    LOAD: {
        "load, 10,000 requests": "generate(alone, 10_000)",
        "load, 10,000 in batches": "generate(policy, 10_000)",
    },
    ENDPOINT: {
        "local cloud, 200 calls": "for _ in range(200): invoke()",
        "local cloud, data plane": "exchange(port, signed, 3000)",
        "monitoring, put": (
            "for _ in range(100): watch.put_metric_data(Namespace='n', MetricData=data)"
        ),
        "monitoring, get": "for _ in range(20): metrics(one.name, cloud)",
    },
    COLD: {
        "local cloud, a cold start": "for _ in range(3): start()",
    },
    FILES: {
        "simulator, kept and loaded": (
            "for _ in range(10): wb.load_run(runs[0].save(folder / 'run', "
            "overwrite=True)).summary()"
        ),
        "simulator, compared": "wb.compare(runs)._repr_html_(); wb.compare(runs).figure",
        "simulator, report": (
            "wb.write_report(runs, folder / 'report.html', costs=[wb.cost(each) for each in runs])"
        ),
    },
    SLIDERS: {
        "what if, loads": "for load in range(1, 11): sliders.turn(load=load / 10)",
        "what if, batch sizes": "for size in range(1, 33): sliders.turn(max_size=size)",
    },
    BACKEND: {
        "backend, 100,000 batches": "for _ in range(100_000): backend.invoke(Batch(rows))",
    },
}
CASES = {
    name: (made, code) for made, cases in BY_WHAT_IS_MADE.items() for name, code in cases.items()
}


def cpu():
    """User and system seconds of this process, and of all that it started, ended or not."""
    ended = [resource.getrusage(each) for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    user, system = sum(each.ru_utime for each in ended), sum(each.ru_stime for each in ended)
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = child.cpu_times()
            user += times.user + times.children_user
            system += times.system + times.children_system
    return user, system


def work():
    """Do what the lines of standard input say, and tell what each took: the end of a `Checkout`."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the work prints elsewhere
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans' time counts, too
    with contextlib.ExitStack() as made:
        names = {"made": made}
        for line in sys.stdin:
            before = cpu()
            try:
                exec(json.loads(line), names)  # noqa: S102 - the cases above
                user, system = (b - a for a, b in zip(before, cpu(), strict=True))
                print(json.dumps({"took": [user, user + system]}), file=told, flush=True)
            except Exception as error:  # noqa: BLE001 - told to who asked
                print(json.dumps({"error": repr(error)}), file=told, flush=True)


class Checkout:
    """A checkout's own interpreter, which does what it is given and tells its CPU seconds."""

    def __init__(self, folder, home, setup):
        command = [folder / ".venv/bin/python", "-P", Path(__file__).resolve()]
        environment = os.environ | {"PYTHONPATH": str(folder), "WORKBENCH_HOME": home}
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self.run(setup)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate()  # which ends its input, and with it the process

    def run(self, code):
        """Return user seconds, and those with the system's."""
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        if "error" in told:
            raise RuntimeError(told["error"])
        return told["took"]


def compare(checkouts, setup, code):
    """Return what is to be printed of a case."""
    turns = []
    for _ in range(PROCESSES):
        with contextlib.ExitStack() as stack:
            try:
                both = [stack.enter_context(Checkout(*each, SETUP + setup)) for each in checkouts]
                measured = [[each.run(code) for each in both] for _ in range(ROUNDS + 1)]
            except RuntimeError as error:
                return f"not compared: {error}"
            turns += measured[1:]  # the first is warm-up
    first, second = (
        statistics.median(each[0] for each in side) for side in zip(*turns, strict=True)
    )
    low, middle, high = statistics.quantiles(b[0] / a[0] for a, b in turns)
    whole = statistics.median(b[1] / a[1] for a, b in turns)
    ratios = f"{middle:.2f} ({low:.2f} to {high:.2f}), with the system's time {whole:.2f}"
    return f"{1000 * first:8.0f} ms before, {1000 * second:8.0f} ms now: {ratios}"


def main(other, *words):
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        checkouts = (Path(other).resolve(), first), (Path(__file__).resolve().parents[2], second)
        for name, (setup, code) in CASES.items():
            if not words or any(word in name for word in words):
                print(f"{name:>28} {compare(checkouts, setup, code)}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:]) if sys.argv[1:] else work()
