"""`workbench serve`, as a user runs it."""

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.children import start_python
from workbench.cli import main
from workbench.cli.serve import make_router

SCRIPT = Path(sys.executable).with_name("workbench")
MODELS = "digits-logistic,digits-mlp-wide"


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_models_are_served_until_they_are_ended(at_home, ending):
    words = ["serve", MODELS, "--router", "cascade", "--threshold", "1"]
    with start_python(SCRIPT, *words, stdout=subprocess.PIPE, text=True) as served:
        try:
            url = served.stdout.readline().rsplit(" ", 1)[1].strip()
            row = ",".join(["0"] * 64).encode()
            request = urllib.request.Request(url, row, {"Content-Type": "text/csv"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert answer.headers["x-workbench-place"] == "digits-mlp-wide"
            served.send_signal(ending)
            assert served.wait(60) == 0
        finally:
            served.kill()


def test_a_router_is_made_of_its_kind_and_the_order_of_the_models():
    names = ["a", "b", "c"]
    assert make_router("cascade", names, ()).thresholds == (0.9, 0.9)
    assert make_router("cascade", names, (0.8,)).thresholds == (0.8, 0.8)
    assert make_router("cascade", names, (0.8, 0.7)).thresholds == (0.8, 0.7)
    assert make_router("vote", names, ()).names == ("a", "b", "c")
    assert make_router("random", names, ()).kind == "random"


@pytest.mark.parametrize(
    "options",
    [
        "--threshold 0.9",  # of a round robin
        "--router cascade --threshold x",
        "--router cascade --threshold 0.9,0.8",
        "--router cascade --host 0.0.0.0",
        "--router canary",  # which place?
    ],
)
def test_what_cannot_be_served_is_refused(at_home, capsys, options):
    assert main(["serve", MODELS, *options.split()]) == 2
    assert capsys.readouterr().err.startswith("workbench:")
