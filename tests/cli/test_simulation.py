"""`workbench simulate`, `plan` and `idle`, and policies and functions as words."""

import json
import re
from pathlib import Path

import pytest

import workbench as wb
from tests.cli.answers import as_json
from tests.refused import refused, unnamed
from workbench.cli import main
from workbench.cli.values import parse_forecaster, parse_overflow, parse_scaling, parse_spill
from workbench.errors import InvalidInput, NotFound
from workbench.forecasts import BoostedQuantiles, MArkNetwork, Persistence, Ridge
from workbench.run import load_run

pytestmark = pytest.mark.usefixtures("somewhere")
FAST = "digits-mlp-small"
FLEET = ["--on", "real-time", "--instance-type", "ml.m5.large"]
UNBATCHED = ["--policy", "1"]


# ------------------------------------------------------------------ values as words


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("target-tracking:target=600,most=4", wb.TargetTracking(target=600, most=4)),
        ("target-tracking:target=600,most=4,out_cooldown=2min", wb.TargetTracking(
            target=600, most=4, out_cooldown=120)),
        ("scale-to-zero", wb.ScaleToZero()),
        ("scale-to-zero:idle=5min", wb.ScaleToZero(idle=300)),
        ('{"kind": "schedule", "changes": [[0, 2], [60, 4]]}', wb.Schedule([(0, 2), (60, 4)])),
    ],
)  # fmt: skip
def test_a_scaling_policy_is_its_kind_and_settings(text, policy):
    assert parse_scaling(text) == policy


def test_a_scaling_policy_is_read_from_a_file(tmp_path):
    (tmp_path / "policy.json").write_text(json.dumps(wb.ScaleToZero(idle=30).to_dict()))

    assert parse_scaling(str(tmp_path / "policy.json")) == wb.ScaleToZero(idle=30)


@pytest.mark.parametrize(
    ("text", "forecaster"),
    [
        ("persistence", Persistence()),
        ("ridge:season=1h,refit=30", Ridge(season=3600.0, refit=30)),
        ("boosted-quantiles:lags=1/2/5", BoostedQuantiles(lags=(1, 2, 5))),
        ("marks-network", MArkNetwork()),
    ],
)
def test_a_forecaster_is_its_kind_and_settings(text, forecaster):
    assert parse_forecaster(text) == forecaster


def test_functions_are_as_their_example_but_for_what_is_said():
    overflow = parse_overflow("lambda:memory=3008,arch=arm64")

    assert overflow == wb.Lambda(memory_mb=3008, max_concurrency=100, architecture="arm64")
    assert parse_overflow("serverless") == wb.Serverless.example()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("in-flight:2", wb.InFlight(2)),
        ("while-booting", wb.WhileBooting()),
        ("hedge:after=200ms", wb.Hedge(after=0.2)),
        ("by-deadline:latency=100ms,service=20ms/30ms", wb.ByDeadline(
            latency=0.1, service=(0.02, 0.03))),
    ],
)  # fmt: skip
def test_a_spill_rule_is_its_kind_and_settings(text, rule):
    assert parse_spill(text) == rule


@pytest.mark.parametrize(
    ("parse", "text", "named"),
    [
        (parse_scaling, "tracking:target=6", ["'tracking:target=6'", "target-tracking"]),
        (parse_scaling, "target-tracking:speed=6", ["'speed=6'", "target"]),
        (parse_scaling, "target-tracking:out=6", ["'out=6'"]),  # of two names
        (parse_scaling, "target-tracking:target", ["'target'"]),
        (parse_scaling, "target-tracking:target=-1,most=2", ["target", -1]),
        (parse_scaling, "target-tracking:most=2", ["target"]),
        (parse_scaling, "{", ["JSON"]),
        (parse_forecaster, "oracle", ["'oracle'", "ridge"]),
        (parse_spill, "hedge:soon", ["'soon'"]),
        (parse_overflow, "real-time:count=2", ["'real-time:count=2'", "serverless, lambda"]),
        (parse_overflow, "lambda:memory=1", [128, 10240, 1]),
    ],
)
def test_words_that_are_no_value_are_refused_with_those_that_are(parse, text, named):
    with refused(InvalidInput, *named):
        parse(text)


def test_a_file_of_a_policy_that_is_not_there_or_no_object_is_refused(tmp_path):
    (tmp_path / "list.json").write_text("[]")

    with refused(NotFound, tmp_path / "none.json"):
        parse_scaling(str(tmp_path / "none.json"))
    with refused(InvalidInput, tmp_path / "list.json", []):
        parse_scaling(str(tmp_path / "list.json"))


# ------------------------------------------------------------------ simulate


def test_policies_are_simulated_compared_and_saved(capsys):
    command = ["simulate", FAST, "--rate", "40", "--duration", "30s", "--slo", "1s", *FLEET]

    assert main([*command, "--policy", "1", "--policy", "8/50ms", "--out", "r", "--json"]) == 0

    facts = as_json(capsys)
    assert {row["origin"] for row in facts["runs"]} == {"simulated"}
    assert facts["runs"][1]["mean_batch_size"] > 1
    assert facts["written"] == ["r/no-batching", "r/up-to-8-50-ms"]
    assert load_run(Path("r/no-batching")).record.deployment == wb.RealTime(
        instance_type="ml.m5.large"
    )


def test_a_fleet_follows_the_policy_that_is_named(capsys):
    traffic = ["--rate", "10", "--burst", "1", "--duration", "10min"]
    command = ["simulate", FAST, *traffic, *UNBATCHED, *FLEET, "--out", "r"]

    assert main([*command, "--scaling", "target-tracking:target=150,most=6"]) == 0

    assert len(load_run(Path("r/no-batching")).record.instances) > 1
    assert "scaled 1 to 6" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["predictive:boot=60s", "mark-described"])
def test_a_fleet_is_planned_ahead_by_what_an_instance_can_do(capsys, kind):
    functions = ["--overflow", "lambda:memory=1769", "--slo", "1s", "--out", "r"]
    traffic = ["--rate", "20", "--duration", "2min", *UNBATCHED]
    command = ["simulate", FAST, *traffic, *FLEET, *functions]
    scaling = f"{kind}{',' if ':' in kind else ':'}capacity=4,most=9"

    assert main([*command, "--scaling", scaling]) == 0
    (capacity,) = load_run(Path("r/no-batching")).record.scaling["capacity"]
    assert capacity["rate"] == 4


def test_what_is_only_simulated_can_be_said(capsys):
    on = ["--on", "serverless", "--memory-mb", "2048", "--max-concurrency", "5"]
    traffic = ["--rate", "0.1", "--burst", "1", "--duration", "20min"]
    command = ["simulate", FAST, *traffic, *on, "--cold-start", "2s"]

    assert main([*command, "--keep-alive", "1s", "--json"]) == 0
    short = as_json(capsys)["runs"][0]["cold_starts"]
    assert main([*command, "--json"]) == 0
    assert short > as_json(capsys)["runs"][0]["cold_starts"]


def test_counts_in_a_text_file_are_traffic(capsys):
    Path("counts.txt").write_text("3 0 2")

    assert main(["simulate", FAST, "--trace", "counts.txt", "--count-period", "1s", "--json"]) == 0
    assert as_json(capsys)["runs"][0]["requests"] == 5
    assert main(["simulate", FAST, "--trace", "counts.txt"]) == 2
    assert not unnamed(capsys.readouterr().err, "counts.txt", "--count-period")
    more = ["--count-period", "1s", "--unit", "ms"]
    assert main(["simulate", FAST, "--trace", "counts.txt", *more]) == 2


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--spill", "in-flight:1"], ["--spill", "--overflow"]),
        (["--overflow", "lambda"], ["RealTime", "local, 1 worker"]),
        (["--scaling", "nothing"], ["--scaling", "'nothing'"]),
        ([*FLEET, "--cold-start", "soon"], ["--cold-start", "'soon'"]),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_a_line(capsys, more, named):
    assert main(["simulate", FAST, "--rate", "5", *more]) == 2

    error = capsys.readouterr().err
    assert not unnamed(error, *named)
    assert len(error.splitlines()) == 1


# ------------------------------------------------------------------ plan


PLAN = ["plan", FAST, "--rate", "20", "--duration", "1min", "--on", "lambda"]


def test_a_plan_begins_with_the_answer_and_says_why_others_lost(capsys):
    today = ["--today", "real-time:count=2", "--today-policy", "8/25ms"]
    assert main([*PLAN, "--on", "serverless", "--slo", "200ms", *today, "--check"]) == 0

    shown = capsys.readouterr().out
    assert shown.startswith("Take ")
    assert "the runner-up, " in shown
    assert "Today's choice, real-time 2 x ml.m5.large" in " ".join(shown.split())
    assert re.search(r"^real-time 2 x ml.m5.large \(today\) +up to 8, 25 ms", shown, re.MULTILINE)


def test_a_plan_is_json(capsys):
    assert main([*PLAN, "--slo", "200ms", "--json"]) == 0

    facts = as_json(capsys)
    assert facts["feasible"]
    assert facts["sentence"].startswith("Take lambda ")
    assert [row["kind"] for row in facts["types"]] == ["lambda"]
    assert facts["deployment"]["kind"] == "lambda"
    assert facts["candidates"][0]["deployment"].startswith("lambda")


def test_a_plan_tries_fleets_that_change_size_and_hybrids_where_asked(capsys):
    assert main([*PLAN, "--slo", "200ms", "--scaled", "--hybrid", "--json"]) == 0

    facts = as_json(capsys)
    kinds = {each["kind"] for each in facts["candidates"]}
    assert kinds >= {"lambda", "scaled real-time", "hybrid"}
    assert all(0 <= each["minutes_met"] <= 1 for each in facts["candidates"])


def test_a_target_that_nothing_meets_is_a_status_of_its_own(capsys):
    assert main([*PLAN, "--slo", "0.01ms"]) == 1
    assert capsys.readouterr().out.startswith("Nothing meets p95 ")


def test_fleets_that_change_size_and_hybrids_are_planned_by_a_forecaster(capsys, monkeypatch):
    asked = []

    def note(model, trace, slo, options, *_, **__):
        asked.append(options)
        raise InvalidInput("enough")

    monkeypatch.setattr("workbench.cli.plan.plan", note)
    flags = ["--scaled", "--hybrid", "--forecaster", "persistence", "--forecaster", "ridge"]
    assert main([*PLAN, "--slo", "200ms", *flags, "--boot", "20s"]) == 2
    assert main([*PLAN, "--slo", "200ms", "--forecaster", "ridge"]) == 2

    (options,) = asked
    assert (options.scaled, options.hybrid, options.boot) == (True, True, 20)
    assert options.forecasters == (Persistence(), Ridge())
    assert "none is searched" in capsys.readouterr().err


# ------------------------------------------------------------------ idle


def test_idle_traffic_is_reported_on(capsys):
    lambda_ = ["--on", "lambda", "--memory-mb", "1769", "--max-concurrency", "5"]
    command = ["idle", "--rate", "0.002", "--duration", "48h", *lambda_, "--hours", "8-18"]

    assert main(command) == 0
    assert "min = 1 from 8 to 18 h" in capsys.readouterr().out
    assert main([*command, "--accept", "1", "--json"]) == 0
    assert as_json(capsys)["sentence"].startswith("Set min = 0: $")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["my-endpoint", "--rate", "1"], ["endpoint", "--trace", "--rate"]),
        ([], ["endpoint", "--trace", "--rate"]),
        (["--rate", "1", "--hours", "noon"], ["--hours", "'noon'", "8-18"]),
    ],
)
def test_a_question_about_nothing_is_refused(capsys, words, named):
    assert main(["idle", *words]) == 2
    assert not unnamed(capsys.readouterr().err, *named)
