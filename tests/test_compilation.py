"""When event loops are compiled, and what is kept of them on disk."""

import subprocess
import sys

from tests.children import start_python

LOOP = """
from typing import NamedTuple

import numpy as np

from workbench import compilation

compilation.BUDGET.steps = 0


class {name}(NamedTuple):
    values: np.ndarray


@compilation.compile_loop
def total(box):
    return box.values.sum()
"""


def test_what_an_earlier_version_kept_is_compiled_again(tmp_path):
    def total(name):
        (tmp_path / "box.py").write_text(LOOP.format(name=name))
        script = f"import box, numpy; print(box.total(box.{name}(numpy.ones(3))))"
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert total("Before") == total("Afterwards") == "3.0\n"

    kept = list((tmp_path / "__pycache__").glob("box.total-*.nbi"))
    assert len(kept) == 1
    assert b"Before" not in kept[0].read_bytes()


def test_of_processes_that_ask_at_once_one_compiles(tmp_path):
    (tmp_path / "box.py").write_text(LOOP.format(name="Box"))
    (tmp_path / "ask.py").write_text(
        "import box, numpy; box.total(box.Box(numpy.ones(3)))\n"
        "print(sum(box.total.dispatcher.stats.cache_misses.values()))"
    )
    options = {"cwd": tmp_path, "stdout": subprocess.PIPE}
    with (
        start_python(tmp_path / "ask.py", **options) as first,
        start_python(tmp_path / "ask.py", **options) as second,
    ):
        assert {first.communicate()[0], second.communicate()[0]} == {b"0\n", b"1\n"}
