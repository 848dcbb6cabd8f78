"""`workbench predict`, `sweep`, `compare` and `traces`, and the exit statuses of `--check`."""

import io
import re
import shlex
import subprocess
from pathlib import Path

import polars as pl
import pytest

import workbench as wb
from tests.cli.answers import as_json
from tests.refused import unnamed
from workbench.cli import main
from workbench.cli.arguments import Parser
from workbench.cli.commands import make_parser
from workbench.cli.option_names import name_options
from workbench.cli.plan import options_from
from workbench.cli.sweep import list_combinations
from workbench.planner import Options
from workbench.run import Run, load_run

pytestmark = pytest.mark.usefixtures("somewhere")
FAST = "digits-mlp-small"
CALM = ["--burst", "1", "--policy", "1"]
ON_DEMAND = ["--on", "serverless"]


def save_run(name, latency, *, requests=1000, slo=0.1, valid=True):
    """A run whose requests all take this long."""
    scheduled = [0.1 * k for k in range(requests)]
    run = Run.from_arrays(
        scheduled=scheduled,
        finished=[at + latency for at in scheduled],
        facts={"label": name, "slo": {"latency": slo, "quantile": 0.95}, "valid": valid},
    )
    run.save(name)
    return name


# ------------------------------------------------------------------ predict


def test_a_formula_answers_and_its_table_is_written(capsys):
    command = ["predict", FAST, "--rate", "50", *CALM, *ON_DEMAND, "--out", "it.csv", "--json"]

    assert main([*command, "--check"]) == 0

    facts = as_json(capsys)
    assert facts["runs"][0]["origin"] == "predicted"
    assert facts["written"] == ["it.csv"]
    assert pl.read_csv("it.csv")["p95"].to_list() == [facts["runs"][0]["p95"]]


def test_what_no_formula_says_names_the_command_that_does(capsys):
    assert main(["predict", FAST, "--rate", "50", "--burst", "1", "--policy", "8/25ms"]) == 2
    assert not unnamed(capsys.readouterr().err, "workbench simulate")


def test_a_table_of_another_format_is_refused_before_anything_is_done(capsys):
    assert main(["predict", FAST, "--out", "it.xls"]) == 2
    assert ".csv, .json, .parquet" in capsys.readouterr().err


# ------------------------------------------------------------------ compare and --check


def test_saved_runs_are_compared_under_names_of_ones_own(capsys):
    slow, fast = save_run("slow", 0.09), save_run("fast", 0.02)

    assert main(["compare", f"today={slow}", f"after all={fast}", "--out", "c.parquet"]) == 0

    told = capsys.readouterr().out
    assert re.search("today +after all", told)
    assert pl.read_parquet("c.parquet")["run"].to_list() == ["today", "after all"]


@pytest.mark.parametrize(
    ("command", "written"),
    [
        (["compare", "it", "--out", "it.csv"], "it.csv"),
        (["simulate", FAST, *CALM, "--rate", "20", "--duration", "5s", "--out", "runs"], "runs"),
    ],
)
def test_a_reader_that_goes_away_loses_nothing_that_is_to_be_kept(command, written, monkeypatch):
    save_run("it", 0.02)

    def close(*_):
        raise BrokenPipeError

    monkeypatch.setattr("workbench.cli.results.print_text", close)
    monkeypatch.setattr("workbench.cli._drop_output", lambda: None)

    assert main(command) == 141
    assert Path(written).exists()


def test_runs_that_the_app_keeps_are_found_by_name(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    save_run("home/runs/mine", 0.02)

    assert main(["compare", "mine", "--json"]) == 0
    assert as_json(capsys)["runs"][0]["requests"] == 1000


@pytest.mark.parametrize(
    ("facts", "status", "said"),
    [
        ({"latency": 0.02}, 0, ""),
        ({"latency": 0.2}, 3, "missed"),
        ({"latency": 0.02, "requests": 50}, 3, "cannot tell"),
        ({"latency": 0.2, "valid": False}, 4, "invalid"),
    ],
)
def test_a_check_is_a_status_and_says_why(capsys, facts, status, said):
    save_run("it", **facts)

    assert main(["compare", "it"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["compare", "it", "--check"]) == status
    assert said in capsys.readouterr().err


def test_the_worst_of_several_is_the_status():
    names = [
        save_run("good", 0.02),
        save_run("late", 0.2),
        save_run("off", 0.02, valid=False),
    ]
    assert main(["compare", *names[:2], "--check"]) == 3
    assert main(["compare", *names, "--check"]) == 4


def test_a_terminal_that_lacks_a_character_gets_a_question_mark(monkeypatch):
    save_run("good", 0.02)
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", terminal)

    assert main(["compare", "good"]) == 0
    assert b"p95 ? 100 ms" in terminal.buffer.getvalue()


def test_a_simulation_and_a_plan_are_checked_likewise(capsys):
    command = [FAST, "--rate", "50", "--slo", "10us"]

    assert main(["simulate", *command, "--check"]) == 3
    assert main(["simulate", *command]) == 0
    assert main(["plan", *command, "--on", "lambda", "--check"]) == 3


# ------------------------------------------------------------------ sweep


def test_every_combination_is_simulated_and_kept(capsys):
    values = ["--rate", "20", "40", "--policy", "1", "8/50ms", "--burst", "1", "--duration", "30s"]

    assert main(["sweep", FAST, *values, "--out", "grid", "--json"]) == 0

    told = as_json(capsys)
    rows = told["runs"]
    assert [(row["--rate"], row["--policy"]) for row in rows] == [
        (20.0, "no batching"),
        (20.0, "up to 8, 50 ms"),
        (40.0, "no batching"),
        (40.0, "up to 8, 50 ms"),
    ]
    assert rows[3]["mean_batch_size"] > rows[0]["mean_batch_size"] == 1
    assert pl.read_csv(*told["written"])["p95"].to_list() == [row["p95"] for row in rows]
    kept = [load_run(path.parent) for path in Path("grid").glob("*/facts.json")]
    assert len(kept) == 4


def test_a_sweep_equals_what_simulate_says(capsys):
    command = [FAST, "--rate", "40", "--burst", "1", "--seed", "7", *ON_DEMAND]

    assert main(["sweep", *command, "--memory-mb", "1024", "2048", "--json"]) == 0
    swept = {row["--memory-mb"]: row["p95"] for row in as_json(capsys)["runs"]}
    assert main(["simulate", *command, "--memory-mb", "1024", "--json"]) == 0
    assert swept[1024] == as_json(capsys)["runs"][0]["p95"]
    assert swept[1024] > swept[2048]


def test_a_setting_varies_only_where_an_inference_type_has_it(capsys):
    words = ["--on", "lambda", "local", "--memory-mb", "512", "1024", "--workers", "1", "2"]
    from workbench.cli import _parser

    found = list_combinations(_parser(["sweep"]).parse_args(["sweep", FAST, *words]))

    assert [(each["on"], each["memory_mb"], each["workers"]) for each in found] == [
        ("lambda", 512, None),
        ("lambda", 1024, None),
        ("local", None, 1),
        ("local", None, 2),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--memory-mb", "512"], "--memory-mb is no option of --on local"),
        (["--how", "predict", "--cold-start", "1s"], "Only --how simulate takes --cold-start"),
        (["--processes", "0"], "--processes must be at least 1"),
        (["--how", "predict", "--policy", "8/25ms"], "None of the experiments"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(capsys, words, said):
    assert main(["sweep", FAST, "--rate", "20", *words]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


# ------------------------------------------------------------------ traces


def test_public_traces_are_listed(capsys):
    assert main(["traces", "--json"]) == 0
    named = [each["name"] for each in as_json(capsys)["traces"]]
    assert named == wb.public_traces()["name"].to_list()
    assert main(["traces"]) == 0
    assert "burstgpt" in capsys.readouterr().out


def test_a_log_is_described_and_written_as_a_trace(capsys):
    Path("log.jsonl").write_text('{"ts": 3000, "x": 1}\n{"ts": 1000, "x": 2}\n{"ts": 2500}\n')
    how = ["--column", "ts", "--unit", "ms", "--sort", "--origin", "1000"]

    assert main(["traces", "log.jsonl", *how, "--out", "it.csv", "--json"]) == 0

    assert as_json(capsys)["requests"] == 3
    assert wb.from_csv("it.csv").arrivals.tolist() == [0.0, 1.5, 2.0]
    assert main(["traces", "it.csv"]) == 0
    assert re.search(r"^requests +3$", capsys.readouterr().out, re.MULTILINE)


def test_a_part_of_a_trace_is_taken(capsys):
    whole = wb.poisson(rate=20, duration=60, seed=1)
    whole.to_csv("it.csv")
    part = ["--start", "10s", "--stop", "0.5min", "--share", "0.5", "--seed", "3"]

    assert main(["traces", "it.csv", *part, "--out", "part.csv"]) == 0
    expected = whole.thin(0.5, seed=3).clip(10, 30)
    assert wb.from_csv("part.csv").arrivals.tolist() == expected.arrivals.tolist()
    assert main(["traces", "it.csv", "--start", "2023-11-16 18:20"]) == 2
    assert not unnamed(capsys.readouterr().err, "--start", "'2023-11-16 18:20'")
    assert main(["traces", "it.csv", "--start", "10"]) == 2
    assert not unnamed(capsys.readouterr().err, "--start", "10ms", "10s")


def test_traffic_is_drawn_and_written_as_code_draws_it():
    words = ["--rate", "50", "--burst", "8", "--duration", "1min", "--seed", "3"]

    assert main(["traces", *words, "--out", "new/it.parquet"]) == 0
    drawn = wb.bursty(rate=50, burst=8, dwell=(4, 1), duration=60, seed=3)
    assert wb.from_parquet("new/it.parquet") == drawn


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--out", "it.csv"], ["--out", "--rate"]),
        (["a.csv", "--trace", "b.csv"], ["a.csv", "b.csv"]),
        (["--rate", "5", "--out", "it.txt"], ["--out", "'it.txt'", ".csv, .parquet"]),
        (["--rate", "5", "--start", "1s"], ["--start", "--trace"]),
        (["log.csv", "--burst", "5"], ["--burst", "--trace"]),
        (["log.csv"], ["log.csv", "--column", "a, b"]),
        (["log.csv", "--count-period", "0"], ["--count-period", 0.0]),
    ],
)
def test_a_trace_that_cannot_be_had_is_refused(capsys, words, named):
    Path("log.csv").write_text("a,b\n1,2\n")
    assert main(["traces", *words]) == 2
    assert not unnamed(capsys.readouterr().err, *named)


# ------------------------------------------------------------------ messages and completion


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("max_concurrency must be 1", "--max-concurrency must be 1"),
        ("give Options(scaled=True, boot=...)", "give --scaled --boot 3min"),
        ("Options(unknown=1) stays", "Options(unknown=1) stays"),
        ("the rate of rate limits", "the rate of rate limits"),
        ("do it with sort=True.", "do it with --sort."),
        ("say which, as in needs={'task': 'digits'}.", "say which, as in --need task=digits."),
        ("or workbench.aws(role=...) or $ROLE", "or --role or $ROLE"),
        ("or name another: aws(profile=...).", "or name another: --aws-profile."),
        ("pass yes=True if that is fine.", "pass --yes if that is fine."),
        ("drawn from poisson(rate=50, boot=1)", "drawn from poisson(rate=50, boot=1)"),
    ],
)
def test_a_message_names_options_as_they_are_written_here(text, shown):
    from argparse import Namespace

    known = dict.fromkeys(["max_concurrency", "scaled", "boot", "rate", "sort", "role"])
    known |= {"aws_profile": None, "yes": None}
    known = Namespace(**known)
    assert name_options(text, known) == shown


def test_a_plan_is_given_what_is_0():
    """A headroom of 0, or a start that takes no time, is not what goes without saying."""
    words = ["plan", FAST, "--headroom", "0", "--unseen-draws", "0", "--boot", "0", "--scaled"]
    parser = make_parser("plan", Parser, "")

    found = options_from(parser.parse_args(words))

    assert (found.headroom, found.unseen_draws, found.boot, found.scaled) == (0, 0, 0, True)
    assert options_from(parser.parse_args(["plan", FAST])) == Options(seed=1)  # as its traffic has


def test_the_option_that_was_given_is_named(capsys):
    assert main(["plan", FAST, "--lambda-memory-mb", "64"]) == 2
    assert not unnamed(capsys.readouterr().err, "--lambda-memory-mb", 64)


def test_the_notes_of_a_plan_name_options(capsys):
    assert main(["plan", FAST, "--rate", "20", "--on", "lambda", "--json"]) == 0
    notes = " ".join(as_json(capsys)["notes"])
    assert "give --cold-start 2s." in notes
    assert "Options(" not in notes


@pytest.mark.parametrize("kind", ["serverless", "lambda", "real-time", "async", "batch-transform"])
def test_the_line_that_checks_a_plan_simulates_what_it_says(capsys, kind):
    words = ["--rate", "20", "--duration", "1min", "--slo", "10min", "--row-bytes", "5000"]
    assert main(["plan", FAST, *words, "--on", kind, "--unseen-draws", "0", "--json"]) == 0
    planned = as_json(capsys)

    assert main([*shlex.split(planned["check"])[1:], "--json"]) == 0

    run, best = as_json(capsys)["runs"][0], planned["types"][0]
    assert (run["p95"], run["per_month"]) == pytest.approx(
        (best["latency"], best["cost_per_month"])
    )
    assert sum(planned["items"].values()) == pytest.approx(best["cost_per_month"])


def test_a_plan_says_that_one_draw_may_be_too_short_for_a_verdict(capsys):
    words = ["--rate", "20", "--duration", "5s", "--slo", "300ms", "--on", "lambda"]
    main(["plan", FAST, *words, "--unseen-draws", "0"])

    assert "may be too short for a verdict of its own: " in capsys.readouterr().out


COMPLETE = """
source {script}
COMP_WORDS=({words} ""); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
$(complete -p workbench | sed 's/.*-F \\([^ ]*\\).*/\\1/')
echo "${{COMPREPLY[@]}}"
"""


def test_a_shell_completes_commands_and_choices(capsys):
    assert main(["completion", "bash"]) == 0
    Path("it.bash").write_text(capsys.readouterr().out)

    def complete(words):
        script = COMPLETE.format(script="it.bash", words=words)
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert {"plan", "sweep", "traces"} <= set(complete("workbench"))
    assert complete("workbench simulate --on")[:2] == ["local", "on-premise"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_too(capsys, shell):
    assert main(["completion", shell, "--json"]) == 0
    assert "lambda-memory-mb" in as_json(capsys)["script"]


def list_actions(parser):
    for action in parser._actions:
        yield parser.prog, action
        for command in action.choices.values() if isinstance(action.choices, dict) else ():
            yield from list_actions(command)


def test_every_option_has_its_help_in_words_of_the_shell():
    parser = make_parser(None, Parser, "")
    offences = [
        f"{prog} {'/'.join(action.option_strings) or action.dest}: {action.help}"
        for prog, action in list_actions(parser)
        if not isinstance(action.choices, dict)
        and (not action.help or re.search(r"\bNone\b|\bTrue\b|`", action.help))
    ]
    assert not offences, "\n".join(offences)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "a/runs"), "a/runs: No space left on device."),
        (PermissionError(13, "Permission denied", "b"), "b: Permission denied."),
    ],
)
def test_what_cannot_be_written_is_said_in_a_line(capsys, monkeypatch, error, said):
    def refuse(*_):
        raise error

    monkeypatch.setattr("workbench.cli.runs._list", refuse)
    assert main(["runs"]) == 2
    assert capsys.readouterr().err == f"workbench: {said}\n"


@pytest.mark.parametrize(
    ("out", "said"),
    [
        (["--out", "grid"], "what was done is in grid: run it again to go on"),
        ([], "nothing was kept: --out keeps it"),
    ],
)
def test_an_interrupted_sweep_says_how_to_go_on(out, said, monkeypatch, capsys):
    def interrupt(*_arguments, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("workbench.cli.sweep.sweep", interrupt)

    assert main(["sweep", "digits-mlp-small", "--rate", "5", *out]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == f"workbench: interrupted; {said}."
