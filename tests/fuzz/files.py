"""Files that people hand on: traces, templates of reports, saved runs."""

import json
import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import nbformat

from tests.fuzz.damage import damage_bytes, damage_json, encode
from workbench.batching.timer import BatchPolicy
from workbench.deployment import Local
from workbench.errors import WorkbenchError
from workbench.files import _FACTS
from workbench.report.templates import find_template, read_template
from workbench.run import load_run
from workbench.service_times import ServiceTimes
from workbench.simulator import simulate
from workbench.traffic.replay import from_counts, from_csv, from_jsonl
from workbench.traffic.trace import Trace


def _reading(read, write, damage):
    """Return a target for a file: `damage` spoils it, and `read` raises errors of ours alone."""

    @asynccontextmanager
    async def open_target():
        with tempfile.TemporaryDirectory() as folder:
            valid = write(Path(folder))
            read(valid)

            async def play(rng):
                spoilt = damage(rng, valid)
                try:
                    read(valid)
                except WorkbenchError as error:
                    str(error).encode()
                    return type(error).__name__
                except Exception as error:
                    raise AssertionError(f"{spoilt!r:.1500}\n{error!r}") from error
                return "read"

            yield play

    return open_target


def _damage_text(rng, path):
    content = damage_bytes(rng, _kept(path).read_bytes())
    path.write_bytes(content)
    return content


def _damage_json_file(rng, path):
    content = encode(rng, damage_json(rng, json.loads(_kept(path).read_bytes())))
    path.write_bytes(content)
    return content


def _damage_run(rng, folder):
    return _damage_json_file(rng, folder / _FACTS)


def _kept(path):
    """Return a copy of the file as it was valid."""
    kept = path.with_name(f"{path.name}.kept")
    if not kept.exists():
        shutil.copy(path, kept)
    return kept


def _write_csv(folder):
    trace = Trace([0.0, 0.5, 2.0], 3.0, rows=[1, 2, 1], context=["a", "b", ""])
    trace.to_csv(folder / "trace.csv")
    return folder / "trace.csv"


def _write_jsonl(folder):
    path = folder / "trace.jsonl"
    rows = [{"time": f"2026-01-01T00:00:0{n}Z", "rows": 1, "context": "a"} for n in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _write_counts(folder):
    (folder / "counts.txt").write_text("3 1 4\n1 5\n")
    return folder / "counts.txt"


def _read_run(folder):
    run = load_run(folder)
    return repr(run), run.facts, run.label


def _read_counts(path):
    return from_counts(path, period=60, seed=1)


def _write_template(folder):
    path = folder / "template.ipynb"
    shutil.copy(find_template(), path)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = notebook.cells[:3]
    nbformat.write(notebook, path)
    return path


def _write_run(folder):
    trace = Trace([0.0, 0.5, 2.0], 3.0)
    run = simulate(trace, BatchPolicy(), Local(), ServiceTimes({1: 0.01}), seed=1)
    return run.save(folder / "run")


FILES = {
    "csv-traces": _reading(from_csv, _write_csv, _damage_text),
    "jsonl-traces": _reading(from_jsonl, _write_jsonl, _damage_text),
    "counts": _reading(
        lambda path: from_counts(path, period=60, seed=1), _write_counts, _damage_text
    ),
    "templates": _reading(read_template, _write_template, _damage_json_file),
    "runs": _reading(_read_run, _write_run, _damage_run),
}
"""Targets by name."""
