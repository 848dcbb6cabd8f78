"""The command `workbench`, in this process where that will do, and as a user runs it."""

import contextlib
import errno
import os
import re
import shlex
import signal
import subprocess
import sys
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.answers import as_json
from tests.refused import refused, unnamed
from workbench import cli
from workbench.cli import demo, main, options
from workbench.cli import run as run_command
from workbench.cli.arguments import expect_task, parse_policy
from workbench.cli.commands import COMMANDS
from workbench.cli.deployments import deployment_of
from workbench.cli.traffic import read_traffic
from workbench.deployment import KINDS
from workbench.errors import InvalidInput, NotFound
from workbench.measuring.profile import load_profile
from workbench.measuring.profile_cache import recall_profile
from workbench.quantiles import SLO
from workbench.registry.api import Registry
from workbench.registry.rows import as_frame
from workbench.run import load_run
from workbench.traffic.patterns import poisson
from workbench.validation import parse_seconds
from workbench.widgets.presets import DEFAULT_GROUP, Preset

FAST = "digits-mlp-small"
CALM = ["--burst", "1", "--policy", "1"]
SCRIPT = Path(sys.executable).with_name("workbench")


@pytest.fixture(autouse=True)
def at_home(workbench_home, monkeypatch, tmp_path):
    """The ready-made models, and an empty folder to work in."""
    monkeypatch.setenv("WORKBENCH_HOME", str(workbench_home))
    monkeypatch.delenv("WORKBENCH_TRACEBACK", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def onnx_file(model, tmp_path):
    path = tmp_path / "given.onnx"
    path.write_bytes(model.path.read_bytes())
    return path


@pytest.fixture
def saved(capsys):
    """The folder of a run of 100 requests."""
    assert main(["run", FAST, *CALM, "--rate", "200", "--duration", "0.5s", "--out", "saved"]) == 0
    capsys.readouterr()
    return Path("saved/no-batching")


def files():
    return sorted(str(path) for path in Path().rglob("*"))


# ------------------------------------------------------------------------------------------- demo


def test_the_demo_shows_writes_and_can_be_reported_on_again(capsys, monkeypatch):
    monkeypatch.setattr(demo, "BATCH_SIZES", (1, 32))
    monkeypatch.setattr(demo, "MODEL", "digits-mlp-large")  # a tenth of the other's time

    assert main(["demo", "--duration", "0.5s"]) == 0

    told = capsys.readouterr()
    assert re.search(r"^digits-forest:1 .*accuracy 0\.9", told.out, re.MULTILINE)
    assert re.search(r"^ +no batching +up to 32, ", told.out, re.MULTILINE)
    assert re.search(r"^rows predicted right +9\d\.?\d* % +9\d\.?\d* %$", told.out, re.MULTILINE)
    assert len(re.findall(r"^(?:Finding|Not so here|Cannot tell)\. ", told.out, re.MULTILINE)) == 4
    assert "Report: reports/demo/report.html" in told.out
    assert "make lab" in told.out
    assert "Profiling digits-mlp-large:1 ..." in told.err
    assert "<svg" in Path("reports/demo/report.html").read_text()

    again = "report reports/demo/no-batching reports/demo/batching --profile reports/demo/profile"
    assert main(again.split()) == 0
    page = Path("report.html").read_text()
    assert "Service time by batch size" in page
    assert f"{Path.cwd()}/" not in page
    assert f"{Path.home()}/" not in page


def test_the_demo_fails_before_it_measures_where_it_may_not_write(capsys):
    Path("file").touch()

    assert main(["demo", "--out", "file/demo"]) == 2
    assert "Profiling" not in capsys.readouterr().err


# -------------------------------------------------------------------------------------------- run


def test_several_policies_are_run_and_compared(capsys):
    command = "run digits-mlp-small --rate 400 --duration 0.5s --slo 1s --policy 1 --policy 4/5ms"

    assert main([*command.split(), *CALM[:2], "--out", "runs", "--json", "--seed", "7"]) == 0

    facts = as_json(capsys)
    assert [row["run"] for row in facts["runs"]] == ["no batching", "up to 4, 5 ms"]
    shares = [load_run(folder).attainment() for folder in facts["written"]]
    assert [row["attainment"] for row in facts["runs"]] == shares
    assert facts["runs"][1]["mean_batch_size"] > 1
    assert facts["written"] == ["runs/no-batching", "runs/up-to-4-5-ms"]
    run = load_run("runs/up-to-4-5-ms")
    assert len(run) == len(poisson(rate=400, duration=0.5, seed=7))
    assert run.slo.label == "p95 ≤ 1 s"


def test_a_run_without_out_leaves_nothing_behind(capsys):
    assert main(["run", FAST, *CALM, "--rate", "50", "--duration", "200ms"]) == 0

    told = capsys.readouterr()
    assert "no batching" in told.out
    assert "Running no batching ..." in told.err
    assert files() == []


def test_the_settings_of_a_run_are_those_given(capsys):
    words = "--workers 2 --threads 1 --hourly-price 3.6 --burst 4 --dwell 100ms/50ms"
    command = f"run {FAST}:1 --rate 300 --duration 0.4s {words} --slo 50ms --quantile 0.9"

    assert main([*command.split(), "--policy", "1", "--out", "it", "--json"]) == 0

    facts = load_run("it/no-batching").facts
    assert facts["deployment"] == {"kind": "local", "workers": 2, "threads": 1, "hourly_price": 3.6}
    assert facts["trace"]["name"].startswith("bursty(rate=300, burst=4, dwell=(0.1, 0.05), ")
    assert facts["slo"] == {"latency": 0.05, "quantile": 0.9}
    assert as_json(capsys)["runs"][0]["per_million"] > 0


def test_a_stored_trace_is_replayed_at_the_rate_and_for_the_time_asked(capsys):
    trace = poisson(rate=100, duration=10, seed=1)
    trace.to_csv("arrivals.csv")
    command = f"run {FAST} --trace arrivals.csv --rate 1000 --duration 500ms --json"

    assert main(command.split()) == 0

    expected = trace.scale(1000 / trace.rate).clip(0, 0.5)
    assert as_json(capsys)["runs"][0]["requests"] == len(expected)


def test_the_terms_of_other_peoples_traces_are_told(capsys):
    trace = poisson(rate=100, duration=0.2, seed=1)
    type(trace)(trace.arrivals, 0.2, notice="Cite us.").to_parquet("theirs.parquet")

    assert main(["run", FAST, "--trace", "theirs.parquet"]) == 0
    assert "Cite us." in capsys.readouterr().err


def test_an_interrupt_keeps_what_was_measured(capsys, monkeypatch):
    @contextlib.contextmanager
    def interrupting(_):
        yield lambda done, _: done and signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(run_command, "show_progress", interrupting)
    command = f"run {FAST} --rate 100 --duration 600s --policy 1 --policy 2/1ms --out kept"

    assert main(command.split()) == 130

    told = capsys.readouterr()
    rest = "what was measured was kept: run it again, with another --out, for the rest."
    assert told.err.splitlines()[-1] == f"workbench: interrupted; {rest}"
    assert "stopped early" in told.out
    run = load_run("kept/no-batching")
    assert not run.complete
    assert 0 < len(run) < 60_000
    assert [path.name for path in Path("kept").iterdir()] == ["no-batching"]


def test_an_interrupt_before_a_run_sends_anything_keeps_the_runs_before_it(capsys, monkeypatch):
    real = run_command.Experiment.run

    def interrupted_at_the_second(experiment, *arguments, **settings):
        if experiment.policy.max_size == 2:
            signal.raise_signal(signal.SIGINT)
        return real(experiment, *arguments, **settings)

    monkeypatch.setattr(run_command.Experiment, "run", interrupted_at_the_second)
    command = f"run {FAST} --rate 100 --duration 0.5s --policy 1 --policy 2/1ms --out kept"

    assert main(command.split()) == 130
    told = capsys.readouterr()
    rest = "what was measured was kept: run it again, with another --out, for the rest."
    assert told.err.splitlines()[-1] == f"workbench: interrupted; {rest}"
    assert [path.name for path in Path("kept").iterdir()] == ["no-batching"]
    assert load_run("kept/no-batching").complete


def test_an_interrupt_before_the_first_run_sends_anything_says_so(capsys, monkeypatch):
    def interrupt(*_arguments, **_settings):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(run_command.Experiment, "run", interrupt)

    assert main(["run", FAST, "--rate", "1", "--out", "kept"]) == 130
    assert "nothing was measured" in capsys.readouterr().err
    assert files() == []


def test_an_interrupt_before_the_first_answer_says_that_nothing_was_measured(capsys, monkeypatch):
    real = run_command.Experiment.run

    def stopped_at_once(*arguments, stopped, **settings):
        stopped.set()
        return real(*arguments, stopped=stopped, **settings)

    monkeypatch.setattr(run_command.Experiment, "run", stopped_at_once)

    assert main(["run", FAST, "--rate", "1", "--duration", "600s", "--out", "kept"]) == 130
    assert "nothing was measured" in capsys.readouterr().err
    assert files() == []


# ---------------------------------------------------------------------------------------- profile


def test_a_profile_is_shown_and_saved(capsys):
    command = f"profile {FAST} --batch-sizes 1,2,4,8 --budget 20ms --out p"

    assert main(command.split()) == 0

    told = capsys.readouterr()
    assert "digits-mlp-small:1, 1 thread" in told.out
    assert "Best fit: " in told.out
    assert "Profiling digits-mlp-small:1: 8 of 8" in told.err
    assert load_profile("p").times()["batch_size"].to_list() == [1, 2, 4, 8]


@pytest.mark.usefixtures("fresh_home")
def test_a_profile_is_measured_again_and_kept(capsys, model):
    command = ["profile", FAST, "--batch-sizes", "1,2", "--budget", "20ms", "--json"]

    before = recall_profile(model).frame
    assert main(command) == 0
    assert recall_profile(model).frame.equals(before)
    capsys.readouterr()
    assert main([*command, "--again"]) == 0
    shown = as_json(capsys)["rows"]
    kept = recall_profile(model).frame.to_dicts()
    assert [row["median"] for row in kept] == [row["median"] for row in shown]


def test_a_busy_machine_is_said_with_the_command_that_measures_again(capsys, monkeypatch):
    monkeypatch.setattr("workbench.measuring.profile.read_load", lambda: 1e4)

    assert main(["profile", FAST, "--batch-sizes", "1", "--budget", "10ms"]) == 0
    assert "while it rests: workbench profile digits-mlp-small --again." in capsys.readouterr().err


def test_a_profile_as_json_has_a_row_for_each_state(capsys):
    command = f"profile {FAST} --batch-sizes 2 --threads 1,2 --budget 10ms --json"

    assert main(command.split()) == 0

    rows = as_json(capsys)["rows"]
    assert [(row["threads"], row["state"]) for row in rows] == [
        (threads, state) for threads in (1, 2) for state in ("back to back", "after idle")
    ]


def test_an_interrupted_profile_shows_the_rows_it_has(capsys, monkeypatch):
    @contextlib.contextmanager
    def interrupting(_):
        yield lambda done, _: done == 1 and signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(run_command, "show_progress", interrupting)
    command = f"profile {FAST} --batch-sizes {','.join(map(str, range(1, 65)))} --budget 20ms"

    assert main(command.split()) == 130

    told = capsys.readouterr()
    assert "back to back" in told.out
    assert "interrupted; what was measured was kept" in told.err


# --------------------------------------------------------------------------------------- registry


def test_a_model_is_registered_approved_and_rejected_with_reasons(capsys, onnx_file):
    own = ["--registry", "own"]

    assert main(["registry", "register", "mine", str(onnx_file), "--why", "a try", *own]) == 0
    assert "PendingManualApproval" in capsys.readouterr().out
    assert main(["registry", "approve", "mine:1", "--why", "good", "--who", "Ada", *own]) == 0
    assert main(["registry", "reject", "mine:1", "--why", "too slow", *own]) == 0
    capsys.readouterr()

    assert main(["registry", "history", "mine:1", "--json", *own]) == 0
    changes = [c for c in as_json(capsys)["history"] if c["field"] == "approval"]
    assert [(change["value"], change["why"]) for change in changes] == [
        ("PendingManualApproval", "a try"),
        ("Approved", "good"),
        ("Rejected", "too slow"),
    ]
    assert changes[1]["who"] == "Ada"
    assert main(["registry", "history", "mine:1", *own]) == 0
    assert "too slow" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_samples_of_a_file_of_columns_come_from_a_table(capsys, kind, tmp_path, registry):
    model = registry["penguins-logistic"]
    rows = (
        as_frame(model.samples().inputs)
        .fill_nan(None)
        .with_columns(species=pl.Series(model.samples().targets))
    )
    file = tmp_path / f"birds.{kind}"
    {"csv": rows.write_csv, "jsonl": rows.write_ndjson, "parquet": rows.write_parquet}[kind](file)
    command = ["registry", "register", "birds", str(model.path), "--registry", "own"]
    table = ["--samples", str(file), "--target", "species"]

    assert main([*command, "--answer", "probabilities", *table, "--json"]) == 0
    assert as_json(capsys)["traits"]["accuracy"] == model.traits.accuracy
    assert main(["registry", "show", "birds:1", "--registry", "own"]) == 0
    assert "island: str (batch)" in capsys.readouterr().out
    assert main([*command, "--samples", str(file), "--target", "name"]) == 2
    assert not unnamed(capsys.readouterr().err, "'name'")
    assert main([*command, "--samples", "nothing.csv"]) == 2
    assert main(command) == 2
    assert "takes text" in capsys.readouterr().err


@pytest.mark.parametrize("group", ["mine", "digits-forest"])
def test_a_file_that_is_no_model_is_refused_before_anything_is_trained(
    group, capsys, monkeypatch, tmp_path
):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "fresh"))
    monkeypatch.setattr("workbench.registry.zoo.build", lambda *_, **__: pytest.fail("trained"))
    write("text.onnx", b"once upon a time")

    for file in ("nothing.onnx", "text.onnx"):
        assert main(["registry", "register", group, file]) == 2
        told = capsys.readouterr().err
        assert told.startswith("workbench: ")
        assert told.count("\n") == 1
        assert file in told


def test_a_model_is_registered_without_training_those_it_does_not_need(
    capsys, monkeypatch, onnx_file, tmp_path
):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "fresh"))

    assert main(["registry", "register", "mine", str(onnx_file)]) == 0

    assert "mine:1" in capsys.readouterr().out
    assert Registry(tmp_path / "fresh/registry").groups() == ["mine"]


def test_a_model_is_registered_with_traits_and_answers_with_probabilities(
    capsys, registry, tmp_path
):
    file = str(registry["digits-logistic"].path)
    traits = ["--trait", "licence=MIT", "--trait", "age=12", "--trait", "reviewed=true"]
    own = ["--registry", str(tmp_path / "own")]

    command = ["registry", "register", "mine", file, "--answer", "probabilities", *traits, *own]
    assert main([*command, "--json"]) == 0

    kept = as_json(capsys)["traits"]
    assert kept["user"] == {"licence": "MIT", "age": 12, "reviewed": True}
    assert kept["classes"] == list(range(10))


def test_models_for_a_task_are_trained_when_asked_for(capsys, tmp_path):
    own = ["--registry", str(tmp_path / "own")]

    assert main(["registry", "train", "framed-digits-kind", *own]) == 0
    assert "framed-digits-gate:1" in capsys.readouterr().out
    assert main(["registry", "train", "faces", *own]) == 2
    assert not unnamed(capsys.readouterr().err, "'faces'")


def test_models_are_listed(capsys, registry):
    assert main(["registry", "list"]) == 0
    listed = capsys.readouterr().out
    assert main(["registry", "list", "--json"]) == 0
    rows = as_json(capsys)["models"]

    assert [row["group"] for row in rows] == registry.groups()
    assert all(row["group"] in listed for row in rows)


def test_an_empty_registry_says_so(capsys):
    assert main(["registry", "list", "--registry", "own"]) == 0
    assert not unnamed(capsys.readouterr().out, "own")


def test_a_model_is_shown_with_its_traits(capsys, model):
    assert main(["registry", "show", FAST]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^input schema +input: float32", shown, re.MULTILINE)
    assert max(len(line) for line in shown.splitlines() if not line.startswith("path")) <= 96
    assert "{" not in shown
    assert "Development" not in shown
    assert main(["registry", "show", FAST, "--json"]) == 0
    assert as_json(capsys)["traits"]["accuracy"] == model.traits.accuracy


def test_verify_finds_a_damaged_file(capsys, onnx_file):
    own = ["--registry", "own"]
    main(["registry", "register", "mine", str(onnx_file), "--approve", *own])
    capsys.readouterr()

    assert main(["registry", "verify", *own]) == 0
    assert "1 version" in capsys.readouterr().out
    (artifact,) = Path("own/artifacts").glob("*.onnx")
    artifact.write_bytes(b"changed")
    assert main(["registry", "verify", *own]) == 1
    assert "mine:1" in capsys.readouterr().out
    assert main(["registry", "verify", "--json", *own]) == 1
    assert len(as_json(capsys)["problems"]) == 1


# ----------------------------------------------------------------------------------------- report


def test_a_report_is_checked_as_other_commands_are(capsys, saved):
    assert main(["report", str(saved), "--check"]) == main(["compare", str(saved), "--check"]) != 0
    assert Path("report.html").exists()
    assert main(["report", "capacity", "--check"]) == 2
    assert not unnamed(capsys.readouterr().err, "--check")


def test_a_report_is_written_into_a_new_folder(capsys, saved):
    assert main(["report", str(saved), "--out", "new/page.html", "--title", "Mine", "--json"]) == 0

    facts = as_json(capsys)
    assert facts["report"] == "new/page.html"
    assert facts["runs"][0]["requests"] == len(load_run(saved))
    assert "<h1>Mine</h1>" in Path("new/page.html").read_text()


# ------------------------------------------------------------------------------------------ errors


def write(name, content):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content)


BAD_RUNS = [  # words, and what the error names
    ("--rate -5", "--rate", -5.0),
    ("--rate nan", "--rate", "nan"),
    ("--rate 0", "--rate", 0.0),
    ("--rate many", "--rate", "'many'", 10, "workbench run --help"),
    ("--rate 2,000rps", "--rate", "'2,000rps'", 2000, "workbench run --help"),
    ("--seed 1.5", "--seed", "'1.5'", 1, "workbench run --help"),
    ("--rate", "--rate", "workbench run --help"),
    ("--json=3", "--json", "'3'", "workbench run --help"),
    ("more --rate 5", "more", "workbench run --help"),
    ("--rate 9 --duration nan", "--duration", "nan"),
    ("--rate 9 --duration=-1s", "--duration", -1.0),
    ("--rate 9 --duration soon", "--duration", "'soon'"),
    ("--rate 9 --burst 0.5", "--burst", 1, 0.5),
    ("--rate 9 --burst 2 --dwell 1s", "--dwell", (1.0,)),
    ("--rate 9 --policy 0", "--policy", "SIZE", 0),
    ("--rate 9 --policy 8/25", "--policy", "25ms", "25s"),
    ("--rate 9 --policy 8/nan", "--policy", "WAIT", "nan"),
    ("--rate 9 --policy 8/-5ms", "--policy", "WAIT", -0.005),
    ("--rate 9 --policy many", "--policy", "'many'", "16/20ms"),
    ("--rate 9 --policy 0,25ms", "--policy", "'0,25ms'"),
    ("--rate 9 --workers 0", "--workers", 0),
    ("--rate 9 --threads 0", "--threads", 0),
    ("--rate 9 --hourly-price nan", "--hourly-price", "nan"),
    ("--rate 9 --slo 0ms", "--slo", 0.0),
    ("--rate 9 --slo 100", "--slo", "'100'", "100ms", "100s"),
    ("--rate 9 --slo 1s --quantile 2", "--quantile", 2.0),
    ("--rate 9 --policy 1 --out there", "there/no-batching"),
    ("--rate 9 --out file/run", "file/run", "Not a directory"),
    ("--rate 9 --frequency 5", "--frequency", "workbench run --help"),
    ("--sl 9", "--sl", "--slo", "workbench run --help"),
    ("--trace nothing.csv", "nothing.csv"),
    ("--trace nothing", "'nothing'", "burstgpt"),
    ("--trace empty.csv", "empty.csv", "times"),
    ("--trace unsorted.csv", "unsorted.csv", "row 2", "--sort"),
    ("--trace nan.csv", "nan.csv", "row 2", "'nan'"),
    ("--trace text.csv", "text.csv", "row 2", "'soon'"),
    ("--trace good.csv --rate -1", "--rate", -1.0),
    ("--trace good.csv --duration 100s", "--duration", "100s", "1s"),
]


@pytest.mark.parametrize("case", BAD_RUNS, ids=itemgetter(0))
def test_what_a_run_cannot_do_is_one_line(case, capsys):
    words, *named = case
    write("there/no-batching/x", b"") if "there" in words else None
    write("file", b"")
    write("empty.csv", b"arrival\n")
    write("unsorted.csv", b"arrival\n2\n1\n")
    write("nan.csv", b"arrival\n1\nnan\n")
    write("text.csv", b"arrival\n1\nsoon\n")
    write("good.csv", b"arrival\n0\n1\n")
    before = files()

    assert main(["run", FAST, *words.split()]) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("workbench: ")
    assert told.err.count("\n") == 1
    assert not unnamed(told.err, *named)
    assert files() == before


BAD_COMMANDS = [
    ("run nobody --rate 5", "'nobody'", "breast-cancer-forest"),
    ("run digits-forst", "'digits-forst'", "Did you mean digits-forest", "breast-cancer-forest"),
    ("run nobody --registry nowhere", "'nobody'", "none yet", "nowhere"),
    ("transform", "model", "data", "--out/--output", "workbench transform --help"),
    (f"run {FAST}:7 --rate 5", "version 7", f"'{FAST}'", "1 (Approved)"),
    (f"profile {FAST} --batch-sizes 1,0", "--batch-sizes", 0),
    (f"profile {FAST} --batch-sizes 1,x", "--batch-sizes", "'x'"),
    (f"profile {FAST} --threads 0", "--threads", 0),
    (f"profile {FAST} --out given.onnx", "given.onnx"),
    ("registry show nobody", "'nobody'"),
    (f"registry approve {FAST}", f"{FAST}:1", f"'{FAST}'"),
    (f"registry history {FAST}:9", "version 9", f"'{FAST}'"),
    ("registry register mine nothing.onnx", "nothing.onnx"),
    ("registry register mine truncated.onnx", "truncated.onnx", "ONNX"),
    ("registry register mine text.onnx", "text.onnx", "ONNX"),
    ("registry register mine folder", "folder"),
    ("registry register mine! given.onnx", "'mine!'", 63),
    ("registry register mine given.onnx --kind magic", "--kind", "'magic'", "regression"),
    ("registry list --registry given.onnx", "given.onnx"),
    ("report nothing", "nothing", "'nothing'", "capacity"),
    ("report damaged", "damaged/facts.json"),
    ("report", "workbench report --list"),
    ("dance", "'dance'", "demo, plan", "workbench --help"),
    ("pln", "'pln'", "Did you mean plan", "demo, plan"),
    ("registry shw x", "'shw'", "Did you mean show", "list, show"),
    ("plan --on lamda", "--on", "'lamda'", "Did you mean lambda", "serverless, lambda"),
    ("report capcity", "'capcity'", "NAME.ipynb", "Did you mean capacity"),
    ("traces azure-llm", "'azure-llm'", "Did you mean azure-llm-2023-conv"),
    ("app --preset cold", "'cold'", "Did you mean cold-starts"),
    ("plan --forecaster rige", "'rige'", "Did you mean ridge", "workbench plan --help"),
    ("demo --duration 0", "--duration", 0.0),
    ("app --preset nope", "'nope'", "bursts"),
]


UNKNOWN_MODELS = [
    ("plan nobody --rate 5", "'nobody'"),
    ("simulate nobody --rate 5", "'nobody'"),
    (f"run {FAST}:9 --rate 5", "version 9", f"'{FAST}'"),
    ("profile nobody", "'nobody'"),
    ("doctor nobody", "'nobody'"),
    ("select nobody --rate 5", "'nobody'"),
    ("serve nobody,other", "'nobody'"),
    (f"select {FAST} --rate 5 --cascade {FAST},nobody,0.9", "'nobody'"),
    ("registry show nobody", "'nobody'"),
    ("registry approve nobody:1 --why x", "'nobody'"),
    ("registry history nobody:1", "'nobody'"),
    ("registry push nobody", "'nobody'"),
    ("report capacity -p model=nobody", "'nobody'"),
    ("report choice -p task=digit", "'digit'", "Did you mean digits"),
    ("select --need task=digit --rate 5", "'digit'", "Did you mean digits"),
    ("report capacity --sweep models.toml", "'nobody'"),
    ("report choice --sweep tasks.toml", "'nothing'"),
]


@pytest.mark.parametrize("case", UNKNOWN_MODELS, ids=itemgetter(0))
def test_an_unknown_model_is_refused_before_any_is_trained(case, capsys, monkeypatch, tmp_path):
    words, *named = case
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "fresh"))
    monkeypatch.setattr("workbench.registry.zoo.build", lambda *_, **__: pytest.fail("trained"))
    write("models.toml", f"model = ['{FAST}', 'nobody']".encode())
    write("tasks.toml", b"task = ['digits', 'nothing']")

    assert main(words.split()) == 2

    assert not unnamed(capsys.readouterr().err, *named)
    assert not Path("reports").exists()


def test_a_task_is_known_of_a_version_that_is_not_approved(onnx_file, tmp_path):
    registry = Registry(tmp_path / "own")
    registry.register("own", onnx_file, task="reading")

    expect_task(registry, "reading")
    with refused(NotFound, "'reeding'", "breast-cancer, diabetes, digits, penguins, reading"):
        expect_task(registry, "reeding")


@pytest.mark.parametrize("case", BAD_COMMANDS, ids=itemgetter(0))
def test_what_a_command_cannot_do_is_one_line(case, capsys, onnx_file):
    words, *named = case
    write("truncated.onnx", onnx_file.read_bytes()[:1000])
    write("text.onnx", b"once upon a time")
    write("damaged/facts.json", b"{")
    Path("folder").mkdir()
    own = ["--registry", "own"] if "register" in words.split() else []

    assert main([*words.split(), *own]) == 2

    told = capsys.readouterr()
    *progress, error = told.err.splitlines()
    assert all(line.startswith("Profiling ") for line in progress)
    assert error.startswith("workbench: ")
    assert not unnamed(error, *named)
    if own:
        assert main(["registry", "list", *own]) == 0
        assert capsys.readouterr().out == "No models in own yet.\n"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that even root cannot write")
@pytest.mark.parametrize(
    "words", [f"run {FAST} --rate 9 --out", f"profile {FAST} --out", "demo --out"]
)
def test_a_read_only_folder_is_refused_before_anything_is_measured(words, capsys):
    assert main([*words.split(), "/proc/workbench"]) == 2

    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert re.match("workbench: /proc.* cannot be written: ", told.err)


def test_a_disk_that_fills_while_saving_leaves_nothing_half_written(capsys, monkeypatch):
    def full(_, file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)

    assert main(["run", FAST, *CALM, "--rate", "50", "--duration", "200ms", "--out", "runs"]) == 2

    told = capsys.readouterr()
    assert "no batching" in told.out  # the figures are shown all the same
    assert not unnamed(told.err, "runs/no-batching", "No space left on device")
    assert [path for path in files() if Path(path).is_file()] == []


def test_a_report_on_a_truncated_run_is_refused(capsys, saved):
    rows = saved / "rows.parquet"
    rows.write_bytes(rows.read_bytes()[:100])

    assert main(["report", str(saved)]) == 2
    assert not unnamed(capsys.readouterr().err, rows)
    assert not Path("report.html").exists()


@pytest.mark.parametrize("way", ["option", "variable"])
def test_a_traceback_is_shown_to_who_asks(way, monkeypatch):
    if way == "variable":
        monkeypatch.setenv("WORKBENCH_TRACEBACK", "1")

    with refused(NotFound, "'nobody'"):
        main(["registry", "show", "nobody", *(["--traceback"] if way == "option" else [])])


def test_an_interrupt_anywhere_else_is_one_line(capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("workbench.registry.api.Registry", interrupt)

    assert main(["registry", "list"]) == 130
    assert capsys.readouterr().err == "workbench: interrupted.\n"


# ------------------------------------------------------------------------------- as a user runs it


def test_the_installed_command_tells_its_version():
    told = subprocess.run([SCRIPT, "--version"], capture_output=True, text=True, check=True)

    assert told.stdout.split() == ["workbench", version("inference-workbench")]


def test_the_installed_command_shows_no_traceback():
    told = subprocess.run(
        [SCRIPT, "run", FAST, "--rate", "nan"], capture_output=True, text=True, check=False
    )

    assert told.returncode == 2
    assert told.stdout == ""
    assert re.fullmatch(r"workbench: --rate must be .*\n", told.stderr)


def test_a_reader_that_goes_away_is_no_news():
    reading, writing = os.pipe()
    os.close(reading)
    told = subprocess.run(
        [SCRIPT, "registry", "list"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)

    assert (told.returncode, told.stderr) == (141, b"")


# --------------------------------------------------------------------------------- words and lines


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_shows_examples_that_are_understood(command, capsys):
    with pytest.raises(SystemExit) as leaving:
        main([*command.split(), "--help"])
    assert leaving.value.code == 0
    _, _, shown = capsys.readouterr().out.replace("\\\n", "").partition("examples:")
    examples = re.findall(rf"workbench ({command}\b.*)$", shown, re.MULTILINE)

    assert examples
    for example in examples:
        words = shlex.split(re.split(r" > |\)$", example)[0])
        assert callable(cli._parser(words).parse_args(words).command)


@pytest.mark.parametrize("words", [[], ["registry"]])
def test_a_command_that_is_given_nothing_shows_its_help(words, capsys):
    assert main(words) == 0
    assert capsys.readouterr().out.startswith(" ".join(["usage: workbench", *words]))


def test_the_help_lists_every_command_and_exit_status(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"^    {name}\s", shown, re.MULTILINE) for name in COMMANDS)
    statuses = re.findall(r"^  (\d+) ", shown, re.MULTILINE)
    assert statuses == ["0", "1", "2", "3", "4", "130", "141"]


def test_the_defaults_are_what_the_app_begins_with():
    begins, words = Preset(question=""), ["simulate"]
    arguments = cli._parser(words).parse_args(words)

    assert read_traffic(arguments) == begins.trace
    assert deployment_of(arguments) == begins.deployment
    assert (options.POLICY, SLO(latency=arguments.slo)) == (begins.policy, begins.slo)
    assert options.MODEL == DEFAULT_GROUP


@pytest.mark.parametrize("kind", KINDS)
def test_an_inference_type_begins_as_its_form_does(kind):
    words = ["simulate", "--on", kind.replace(" ", "-")]
    assert deployment_of(cli._parser(words).parse_args(words)) == KINDS[kind].example()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("25ms", 0.025), ("0.1s", 0.1), ("1e-3s", 0.001), ("3 min", 180), ("2h", 7200), ("5us", 5e-6)],
)
def test_times_may_have_a_unit(text, expected):
    assert parse_seconds(text) == pytest.approx(expected, rel=1e-15)


@given(st.floats(min_value=0, max_value=1e9))
def test_a_number_without_a_unit_is_no_time_unless_it_is_0(value):
    assert parse_seconds(f"{value}s") == value
    if not value:
        assert parse_seconds(str(value)) == 0
        return
    with refused(InvalidInput, f"'{value}'", f"{value}ms", f"{value}s"):
        parse_seconds(str(value))


@pytest.mark.parametrize("text", ["", "ms", "5 parsecs", "1.2.3", "1,5"])
def test_what_is_no_time_is_refused(text):
    with refused(InvalidInput, repr(text)):
        parse_seconds(text)


def test_a_policy_is_a_size_and_a_wait():
    assert (parse_policy("16/20ms").max_size, parse_policy("16/20ms").max_wait) == (16, 0.02)
    assert parse_policy("4").max_wait == 0


# ------------------------------------------------------------------------------------------- runs


def test_kept_runs_are_listed_and_deleted_by_name(saved, capsys, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", "mine")
    assert main(["runs"]) == 0
    assert not unnamed(capsys.readouterr().out, Path("mine/runs"))
    for name in ("one", "two"):
        load_run(saved).save(Path("mine/runs") / name)
    Path("mine/runs/two/rows.parquet").write_bytes(b"no rows")

    assert main(["runs"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^one +measured: this machine +\d+ +0\.0 MB", told, re.MULTILINE)
    assert re.search(r"^two +damaged ", told, re.MULTILINE)
    assert main(["runs", "--delete", "one", "nope"]) == 2
    assert not unnamed(capsys.readouterr().err, "'nope'")
    assert main(["runs", "--json"]) == 0
    listed = as_json(capsys)["runs"]
    assert [each["name"] for each in listed] == ["one", "two"]  # none was deleted

    assert main(["runs", "--delete", "one", "two", "--json"]) == 0
    assert as_json(capsys) == {"deleted": ["one", "two"]}
    assert list(Path("mine/runs").iterdir()) == []
