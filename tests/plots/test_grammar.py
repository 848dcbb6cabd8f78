"""Altair without the grammar that jsonschema would compile while it is imported."""

import subprocess
import sys

DRAWN = """
import sys
from workbench import plots
from workbench.run import Run
spec = plots.plot_latency_ecdf(Run.from_arrays(scheduled=[0.0], finished=[1.0])).spec()
assert spec and "jsonschema" in sys.modules
assert "lark" not in sys.modules, "the grammar was compiled"
from jsonschema import FormatChecker
assert FormatChecker().conforms("http://a.b/\u00fc", "iri")
assert not FormatChecker().conforms("a b", "iri")
assert "lark" in sys.modules
import rfc3987_syntax
assert rfc3987_syntax.Lark
"""


def test_a_chart_is_drawn_without_the_grammar_and_an_iri_is_still_checked_by_it():
    done = subprocess.run([sys.executable, "-c", DRAWN], check=False, capture_output=True)

    assert done.returncode == 0, done.stderr.decode()
