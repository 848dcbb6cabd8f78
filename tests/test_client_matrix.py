"""What `make clients` says of rows that hang, fail or cannot be tried."""

import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.clients import run
from tests.clients.environments import ROOT, CannotInstall, finished, stop_all
from tests.clients.run import Outcome, read, show, try_client
from tests.clients.table import CLIENTS
from tests.hosted import until

(TUNING,) = (each for each in CLIENTS if each.clone)


def test_a_limit_stops_what_a_script_began_too():
    script = ["sh", "-c", "tail -f /dev/null & echo begun; wait"]
    process = subprocess.Popen(script, stdout=subprocess.PIPE, start_new_session=True)
    with process.stdout as printed:
        assert printed.readline() == b"begun\n"
        assert not finished(process, 0)
        assert printed.read() == b""  # ends when the last process that holds it does


def test_a_script_that_ended_is_not_called_late():
    assert finished(subprocess.Popen(["false"], start_new_session=True), None)


def test_an_interruption_stops_what_runs():
    process = subprocess.Popen(["tail", "-f", "/dev/null"], start_new_session=True)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(finished, process, None)
        until(lambda: stop_all() or waiting.done())
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("status", [0, -9])
def test_the_step_in_which_a_script_ended_is_named(status):
    outcome = Outcome("s3fs", "1")
    read(outcome, "begun\tlists\nnoise\npassed\tlists\t0.5\nbegun\tdeletes\nno disk\n", status)
    assert (outcome.steps, outcome.took) == ({"passed": ["lists"]}, {"lists": 0.5})
    (why,) = outcome.wrong
    assert why.startswith(f"ended in 'deletes' with status {status}; ")
    assert why.endswith("deletes no disk")


@pytest.mark.parametrize(("printed", "status"), [("", 0), ("passed\tlists\t0.5\n", 1)])
def test_a_script_that_failed_without_a_failed_step_is_not_passed(printed, status):
    outcome = Outcome("s3fs", "1")
    read(outcome, printed, status)
    assert outcome.wrong[0].startswith(f"ended in no step with status {status}; ")


def test_a_script_that_passed_is_passed():
    outcome = Outcome("s3fs", "1")
    read(outcome, "begun\tlists\npassed\tlists\t0.5\n", 0)
    assert str(outcome) == "s3fs 1: passed in 0.0 s: lists 0.5"


def test_a_failed_step_tells_why():
    outcome = Outcome("s3fs", "1")
    read(outcome, "begun\tlists\nfailed\tlists\t0.5\tKeyError: 'a'\n", 1)
    assert outcome.word == "FAILED"
    assert str(outcome) == "s3fs 1: FAILED in 0.0 s: lists: KeyError: 'a'"


def test_a_row_without_its_clone_is_skipped_and_says_why(monkeypatch, capsys):
    monkeypatch.delenv(TUNING.clone, raising=False)
    outcome = try_client(None, None, TUNING, "1")
    assert (outcome.word, outcome.skipped) == ("skipped", "POWER_TUNING names no clone of it")
    show([outcome, Outcome("s3fs", "1")])
    assert capsys.readouterr().out.endswith("\n2 rows: 1 skipped, 1 passed.\n")


@pytest.mark.parametrize("error", [CannotInstall("no index"), ZeroDivisionError("of another row")])
def test_a_row_which_cannot_be_tried_does_not_end_the_others(monkeypatch, error):
    def environment(client, version):
        raise error

    monkeypatch.setattr(run, "environment", environment)
    outcome = try_client(None, None, CLIENTS[0], "1")
    assert outcome.word == "FAILED"
    assert str(error) in outcome.wrong[0]


def test_the_readme_of_the_local_cloud_names_every_version():
    text = (ROOT / "workbench" / "localcloud" / "README.md").read_text()
    table = text.partition("## Clients known to work")[2].partition("\n## ")[0]
    named = set(re.findall(r"\d[\d.]*\d", table))
    tried = {re.split("[-+]", version)[0] for each in CLIENTS for version in each.versions}
    assert tried <= named
