"""`workbench select`: needs and weights as words, the answer as text and JSON."""

import json

import pytest

from workbench.cli import main
from workbench.service_times import ServiceTimes

ASK = ["select", "--slo", "50ms", "--rate", "50", "--on", "serverless", "--cold-start", "0.1s"]


@pytest.fixture(autouse=True)
def profiled(at_home, monkeypatch):
    """Known service times, by the file's size, in the place of measured ones."""
    monkeypatch.setattr(
        "workbench.selection.knowledge.ensure_profile",
        lambda model, **_: ServiceTimes.affine(0.001, 1e-9 * model.size_bytes, largest=64),
    )


def test_needs_and_weights_decide_and_are_in_the_json(capsys):
    needs = ["--need", "task=digits", "--min", "accuracy=0.9", "--max", "size_bytes=1e6"]
    assert main([*ASK, *needs, "--weights", "accuracy=0.7,cost=0.3", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)

    assert facts["question"]["needs"]["size_bytes"] == {"low": None, "high": 1e6}
    assert facts["question"]["weights"] == {"accuracy": 0.7, "latency": 0.0, "cost": 0.3}
    assert facts["first"]["deployment"]["kind"] == "serverless"
    dropped = {row["candidate"] for row in facts["candidates"] if row["state"] == "dropped"}
    assert {"diabetes-ridge:1", "digits-mlp-wide:1"} <= dropped


def test_a_target_is_printed_with_its_reasons(capsys):
    assert main([*ASK, "digits-mlp-small", "digits-logistic", "--target", "0.94"]) == 0
    text = capsys.readouterr().out

    assert text.startswith("digits-logistic:1 on serverless")
    assert "at least 0.94 with 95 % confidence" in text
    assert "digits-mlp-small:1 is dropped" in text
    assert "start without delay" not in text


def test_that_nobody_said_what_a_cold_start_takes_is_said_once(capsys):
    asked = ASK[: ASK.index("--cold-start")]
    assert main([*asked, "digits-mlp-small", "digits-logistic"]) == 0
    text = capsys.readouterr().out

    assert text.count("start without delay: give --cold-start 2s.") == 1
    assert main([*asked, "digits-logistic", "--json"]) == 0
    assert "give --cold-start 2s." in " ".join(json.loads(capsys.readouterr().out)["notes"])


def test_a_cascade_is_one_candidate_more(capsys):
    both = "digits-logistic,digits-mlp-wide,0.99"
    assert main([*ASK, "digits-logistic", "--cascade", both, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["candidates"]

    assert {row["inference_type"] for row in rows} == {"serverless", "ensemble"}
    (cascade,) = (row for row in rows if row["inference_type"] == "ensemble")
    small = rows[0] if rows[0] is not cascade else rows[1]
    steps = "digits-logistic on serverless 0.99 digits-mlp-wide on serverless"
    assert cascade["candidate"] == f"cascade {steps}"
    assert cascade["accuracy"] > small["accuracy"]


def test_nothing_that_passes_is_a_status_of_its_own(capsys):
    assert main([*ASK, "digits-logistic", "--min", "accuracy=0.9999"]) == 1
    assert "The nearest: digits-logistic:1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--need", "task"], "task=digits"),
        (["--min", "accuracy=high"], "accuracy=0.9"),
        (["--cascade", "digits-logistic"], "small,large"),
        (["--weights", "accuracy=-1"], "accuracy"),
        (["--need", "licence=MIT"], "licence"),
        (["--need", "opset=17", "--min", "opset=3"], "opset"),
        ([], "tasks"),
    ],
)
def test_bad_words_are_refused(words, named, capsys):
    assert main([*ASK, *words]) == 2
    assert named in capsys.readouterr().err
