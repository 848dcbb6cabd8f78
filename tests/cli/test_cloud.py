"""The commands of clouds: in this process where that will do, and as a user runs them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import start_python
from tests.played import PlayedCloud, torn_down
from tests.refused import unnamed
from workbench.cli import main
from workbench.cloud.aws import Cloud
from workbench.cloud.ledger import Ledger, LedgerEntry
from workbench.localcloud import LocalCloud
from workbench.pricing.sheet import PriceSheet
from workbench.run import load_run

FAST = "digits-mlp-small"
SCRIPT = Path(sys.executable).with_name("workbench")


@pytest.fixture(autouse=True)
def at_home(fresh_home, monkeypatch, tmp_path):
    """The ready-made models, a ledger of its own and an empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return fresh_home


def write(name, **facts):
    given = {"bucket": "models", "what": "real-time 2 x ml.m5.xlarge", "hourly": 0.46}
    entry = LedgerEntry(name=name, **{"cloud": Cloud(poll=0.0), **given, **facts})
    Ledger().write(entry)
    return entry


@pytest.mark.parametrize(
    ("options", "label"),
    [
        (
            "serverless --memory-mb 2048 --max-concurrency 4 --on-limit queue",
            "serverless 2048 MB",
        ),
        ("async --instance-type ml.m5.large --concurrency 2 --ttl 60s", "async 1 x ml.m5.large"),
        ("batch-transform --instance-type ml.m5.large --period 1s", "batch transform 1 x"),
    ],
    ids=["serverless", "async", "batch transform"],
)
def test_a_model_runs_on_a_cloud(capsys, tmp_path, options, label):
    command = f"run {FAST} --rate 30 --duration 1s --on {options} --slo 1s --json --out runs"
    assert main(command.split()) == 0

    told = json.loads(capsys.readouterr().out)
    assert "measured: local cloud" in json.dumps(told)
    assert label in json.dumps(told)
    run = load_run(told["written"][0])
    assert label in run.label
    assert run.answered == len(run) > 0
    assert Ledger().entries() == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--on serverless --memory-mb 2047", ["--memory-mb", 2047]),
        ("--on serverless --memory-mb 2048 --max-concurrency 4 --threads 2", ["--threads"]),
        ("--on real-time --instance-type m5", ["--instance-type", "'ml.m5.large'", "'m5'"]),
        ("--count 2", ["--count", "--on local", "--workers"]),
        ("--on lambda --memory-mb 64 --max-concurrency 4", ["--memory-mb", 64]),
        ("--on batch-transform --instance-type ml.m5.large --ttl 60s", ["--ttl"]),
        ("--on moon", ["--on", "'moon'"]),
    ],
)
def test_options_that_do_not_go_together_are_refused(capsys, options, named):
    assert main(f"run {FAST} --rate 30 {options}".split()) == 2
    assert not unnamed(capsys.readouterr().err, *named)


def test_aws_says_what_it_needs_first(capsys, monkeypatch):
    monkeypatch.delenv("WORKBENCH_ROLE_ARN", raising=False)
    command = f"run {FAST} --rate 30 --on real-time --instance-type ml.m5.large --cloud aws"
    assert main([*command.split(), "--region", "eu-west-1", "--yes"]) == 2
    assert not unnamed(capsys.readouterr().err, "--role", "$WORKBENCH_ROLE_ARN")


def test_what_may_be_running_is_listed_with_its_price(capsys):
    write("one")
    write("two", cloud=Cloud(name="local cloud", paid=False), pid=2**22 + 1)

    assert main(["teardown", "--list"]) == 0

    told = capsys.readouterr().out
    assert "one" in told
    assert "(gone)" in told
    assert "2 may be running, $0.46 an hour." in told
    assert len(Ledger().entries()) == 2


def test_what_is_listed_as_json_can_be_read(capsys):
    write("one", pid=1)
    assert main(["teardown", "--list", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["deployments"]
    assert (told["name"], told["dollars an hour"], told["process"]) == ("one", 0.46, "1")


def test_teardown_ends_what_is_named(capsys, monkeypatch):
    cloud = PlayedCloud()
    torn_down(cloud)
    monkeypatch.setattr(Cloud, "client", lambda _, service, **__: cloud.stubbers[service].client)
    write("one")
    kept = write("two")

    assert main(["teardown", "one"]) == 0

    assert "1 ended, $0.46 an hour." in capsys.readouterr().out
    assert Ledger().entries() == [kept]
    cloud.done()


def test_an_empty_ledger_is_told_of(capsys):
    assert main(["teardown"]) == 0
    assert capsys.readouterr().out == "0 ended.\n"


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_local_cloud_serves_until_it_is_ended(ending, tmp_path):
    words = ["local-cloud", "--json", "--path", str(tmp_path / "mine")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start_python(SCRIPT, *words, **pipes) as served:
        while b"Ctrl-C" not in (line := served.stderr.readline()):
            assert line
        served.send_signal(ending)
        told = json.loads(served.stdout.read())
        assert served.wait(60) == 0
    assert told["environment"]["AWS_ENDPOINT_URL"] == told["url"]
    assert told["path"] == str(tmp_path / "mine")


def test_a_local_cloud_prints_what_to_export():
    with start_python(SCRIPT, "local-cloud", stdout=subprocess.PIPE, text=True) as served:
        lines = [served.stdout.readline() for _ in range(6)]
        url = lines[0].rsplit(" ", 1)[1].strip()
        listed = subprocess.run(
            ["bash", "-c", "".join(lines) + f"exec {sys.executable} -c '{LISTING}'"],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": os.environ["PATH"]},
        )
        served.terminate()
        assert served.wait(60) == 0
    assert lines[1] == f"export AWS_ENDPOINT_URL={url}\n"
    assert listed.stdout == "[]\n"


LISTING = 'import boto3; print(boto3.client("sagemaker").list_endpoints()["Endpoints"])'


# --- prices


def test_prices_are_shown_with_their_age(capsys):
    assert main(["prices", "show", "--region", "eu-central-1"]) == 0
    assert "ml.m5.large" in capsys.readouterr().out

    assert main(["prices"]) == 0
    told = capsys.readouterr()
    assert "serverless 2048 MB" in told.out
    assert "older than 180 days" in told.err

    assert main(["prices", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["region"] == "us-east-1"


def test_prices_are_read_anew_and_kept(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    PriceSheet.load_bundled().with_price("ml.m5.large", 9).keep()

    assert main(["prices", "refresh", "--cloud", "local"]) == 0
    told = capsys.readouterr().out
    assert "ml.m5.large  9       0.115" in told
    assert "Not kept" in told
    assert PriceSheet.load().price("ml.m5.large").dollars == 9

    with LocalCloud() as cloud:
        monkeypatch.setattr("workbench.cli.prices.aws", lambda **_: cloud)
        assert main(["prices", "refresh", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["changes"] == {"ml.m5.large": [9, 0.115]}
    assert PriceSheet.load().price("ml.m5.large").dollars == 0.115
