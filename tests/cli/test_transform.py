"""`workbench transform`, and files of times as `workbench run` reads them."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.refused import unnamed
from workbench.cli import main

FAST = "digits-mlp-small"
pytestmark = pytest.mark.usefixtures("somewhere")


def test_the_rows_of_a_file_are_answered_from_the_shell(model, capsys):
    rows = model.samples().inputs[:5]
    names = [f"pixel{at}" for at in range(64)]
    frame = pl.DataFrame(rows, schema=names).insert_column(0, pl.Series("id", ["01"] * 5))
    frame.write_csv("rows.csv")
    options = ["--columns", ",".join(names), "--schema", "pixel0=float32", "--json"]
    assert main(["transform", FAST, "rows.csv", "--output", "out.parquet", *options]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 5
    kept = pl.read_parquet("out.parquet")
    np.testing.assert_array_equal(kept["prediction"].to_numpy(), model.session().run(rows))
    assert kept["id"].to_list() == ["01"] * 5


def test_rows_and_answers_are_written_as_csv_too(registry, model, capsys):
    rows = model.samples().inputs[:5]
    pl.DataFrame(rows, schema=[f"pixel{at}" for at in range(64)]).write_csv("rows.csv")

    assert main(["transform", FAST, "rows.csv", "--out", "out.csv"]) == 0
    kept = pl.read_csv("out.csv")
    answers = kept.select(f"prediction_{at}" for at in range(10)).to_numpy()
    np.testing.assert_allclose(answers, model.session().run(rows), rtol=1e-6)
    np.testing.assert_array_equal(kept[:, :64].to_numpy(), rows)
    assert main(["transform", FAST, "rows.csv", "--out", "out.txt"]) == 2
    assert not unnamed(capsys.readouterr().err, "--out", ".parquet", ".csv", ".npy", "out.txt")


def test_a_file_without_a_header_says_so_in_one_line(model, capsys, recwarn):
    np.savetxt("rows.csv", model.samples().inputs[:3], delimiter=",")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.filters", [("always", None, UserWarning, None, 0)])
        assert main(["transform", FAST, "rows.csv", "--output", "out.npy"]) == 0
    assert len(np.load("out.npy")) == 3
    assert not unnamed(capsys.readouterr().err, "rows.csv", "--header", "--no-header")
    assert main(["transform", FAST, "rows.csv", "--no-header", "--output", "2.npy"]) == 0
    assert not recwarn.list


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--columns", "a"], ["'a'"]),
        (["--schema", "pixel0"], ["--schema", "'pixel0'"]),
        (["--missing", "zero"], ["--missing", "'zero'"]),
    ],
)
def test_what_makes_no_sense_is_one_line(capsys, arguments, named):
    Path("rows.csv").write_text(",".join(f"pixel{at}" for at in range(64)) + "\n")
    assert main(["transform", FAST, "rows.csv", "--output", "out.npy", *arguments]) == 2
    assert not unnamed(capsys.readouterr().err, *named)


@pytest.mark.parametrize(
    ("name", "text", "options", "requests"),
    [
        ("log.jsonl", '{"ts": 1732832853000}\n{"ts": 1732832853100}\n', "--column ts --unit ms", 2),
        ("log.csv", "1672766933\n1672766933\n", "--no-header --unit s --trace-duration 100ms", 2),
        ("log.csv", "at,x\n0.2,\n0.1,\n", "--column at --origin 0.1 --sort", 2),
    ],
)
def test_a_log_is_replayed_as_the_options_say(capsys, name, text, options, requests):
    Path(name).write_text(text)
    assert main(["run", FAST, "--trace", name, *options.split(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["requests"] == requests


@pytest.mark.parametrize("name", ["azure-llm-2023-code", "log.parquet"])
def test_options_for_files_of_text_are_refused_elsewhere(capsys, name):
    assert main(["run", FAST, "--trace", name, "--header"]) == 2
    assert not unnamed(capsys.readouterr().err, name, "--header")
