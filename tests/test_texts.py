"""Texts that no file, no database and no terminal takes: each is refused where it comes in."""

from pathlib import Path

import pytest

from workbench.errors import CloudError, InvalidInput, NotFound, StorageError
from workbench.localcloud import LocalCloud
from workbench.registry.api import Registry
from workbench.registry.onnx import Session
from workbench.report.templates import read_template
from workbench.run import load_run
from workbench.traffic.replay import from_counts, from_csv, from_jsonl, from_parquet
from workbench.traffic.trace import Trace

HALF = "a\ud800b"
TAKERS = {
    "run": load_run,
    "csv": from_csv,
    "jsonl": from_jsonl,
    "parquet": from_parquet,
    "counts": lambda text: from_counts(text + "/a", period=1, seed=1),
    "template": lambda text: read_template(Path(text)),
    "registry": Registry,
    "model file": Session,
    "model name": lambda text: Registry(Path("r"))[text],
    "group": lambda text: Registry(Path("r")).versions(text),
    "trace name": lambda text: Trace([0.0], 1.0, name=text),
    "trace context": lambda text: Trace([0.0, 0.5], 1.0, context=["", text]),
}


@pytest.mark.parametrize("taker", TAKERS)
def test_half_of_a_character_is_refused_in_words_that_can_be_printed(taker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InvalidInput) as caught:
        TAKERS[taker](HALF)

    assert str(caught.value).encode()


@pytest.mark.parametrize("taker", ["run", "csv", "template", "registry", "model file"])
def test_a_path_with_a_nul_is_refused(taker):
    with pytest.raises(InvalidInput):
        TAKERS[taker]("a\0b")


@pytest.mark.parametrize("text", [HALF, "a\0b"], ids=["half", "nul"])
def test_a_local_cloud_is_not_kept_where_no_folder_can_be(text, tmp_path):
    with pytest.raises(StorageError) as caught:
        LocalCloud(tmp_path / text)

    assert str(caught.value).encode()


@pytest.mark.parametrize("kind", [InvalidInput, StorageError, CloudError, NotFound])
def test_an_error_that_quotes_half_a_character_can_be_written(kind):
    assert str(kind(f"It is {HALF}.")).encode() == b"It is a\\ud800b."
