import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.refused import refused
from workbench.errors import Damaged, InvalidInput, NotFound, StorageError
from workbench.files import delete_frame, load_frame, save_frame, write_file

FRAME = pl.DataFrame({"a": [1, 2]})


def fill_the_disk(file):
    file.write(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    with refused(StorageError, path, "No space left on device"):
        write_file(path, fill_the_disk)

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_leaves_the_saved_frame_as_it_was(tmp_path, monkeypatch):
    save_frame(tmp_path / "saved", FRAME, {"n": 1})
    monkeypatch.setattr(pl.DataFrame, "write_parquet", lambda _, file: fill_the_disk(file))

    with refused(StorageError, tmp_path / "saved", "No space left on device"):
        save_frame(tmp_path / "saved", FRAME, {"n": 2}, overwrite=True)

    assert load_frame(tmp_path / "saved")[1] == {"n": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_a_disk_that_fills_under_polars_is_told_plainly_and_leaves_no_folder(tmp_path, full_after):
    path = tmp_path / "new" / "runs" / "saved"
    many = pl.DataFrame({"a": np.random.default_rng(1).random(100_000)})

    with full_after(10_000), refused(StorageError, path, "File too large"):
        save_frame(path, many, {})

    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with refused(StorageError, tmp_path / "file" / "saved"):
        save_frame(tmp_path / "file" / "saved", FRAME, {})


@pytest.mark.parametrize("path", [None, b"saved", 5, "", "a\0b"])
def test_what_is_no_path_is_refused(path):
    for use in (
        lambda: save_frame(path, FRAME, {}),
        lambda: load_frame(path),
        lambda: write_file(path, fill_the_disk),
    ):
        with refused(InvalidInput, "path", repr(path)):
            use()


def test_names_that_cannot_be_are_reported(tmp_path):
    for path in ("/", tmp_path / ("x" * 300)):
        with refused(StorageError, path):
            save_frame(path, FRAME, {})
        with refused(StorageError, path):
            write_file(path, fill_the_disk)
        with refused(NotFound, path):
            load_frame(path)
    assert not list(tmp_path.iterdir())


def test_facts_that_json_cannot_hold_are_refused_and_leave_nothing(tmp_path):
    for facts in ({"a": object()}, {"a": np.int64(1)}, {1: 1, "b": 2}):
        with refused(InvalidInput, "JSON"):
            save_frame(tmp_path / "saved", FRAME, facts)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_may_not_be_read_is_reported(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    folder = save_frame(tmp_path / "saved", FRAME, {})
    monkeypatch.setattr(Path, "read_bytes", refuse)  # root, who may run this, may read anything

    with refused(StorageError, folder, "Permission denied"):
        load_frame(folder)


def test_a_changed_file_is_damaged(tmp_path):
    folder = save_frame(tmp_path / "saved", FRAME, {})
    with (folder / "rows.parquet").open("ab") as file:
        file.write(b"more")

    with refused(Damaged, folder / "rows.parquet"):
        load_frame(folder)


def test_rows_that_are_missing_are_damage(tmp_path):
    folder = save_frame(tmp_path / "saved", FRAME, {})
    (folder / "rows.parquet").unlink()

    with refused(Damaged, folder / "rows.parquet", "No such file or directory"):
        load_frame(folder)


@pytest.mark.parametrize("facts", ["{", "[]", "\N{DEGREE SIGN}", json.dumps({"no": "hash"})])
def test_facts_that_make_no_sense_are_damaged(tmp_path, facts):
    folder = save_frame(tmp_path / "saved", FRAME, {})
    (folder / "facts.json").write_text(facts, encoding="latin-1")

    with refused(Damaged, folder / "facts.json"):
        load_frame(folder)


def test_a_saved_frame_is_removed_also_where_it_is_damaged(tmp_path):
    folder = save_frame(tmp_path / "saved", FRAME, {})
    (folder / "rows.parquet").unlink()

    delete_frame(folder)

    assert list(tmp_path.iterdir()) == []
    with refused(NotFound, folder):
        delete_frame(folder)


def test_a_folder_with_anything_else_in_it_is_not_removed(tmp_path):
    folder = save_frame(tmp_path / "saved", FRAME, {})
    (folder / "notes.txt").touch()

    with refused(StorageError, folder, "notes.txt"):
        delete_frame(folder)

    with pytest.raises(NotFound):
        delete_frame(tmp_path)
    assert load_frame(folder)[0].equals(FRAME)


OVERWRITE = """
import sys
import polars as pl
from workbench.files import save_frame
for i in range(1, 100):
    save_frame(sys.argv[1], pl.DataFrame({"a": [i]}), {"n": i}, overwrite=True)
"""


def test_a_folder_is_whole_at_every_instant_while_it_is_overwritten(tmp_path):
    path = save_frame(tmp_path / "saved", pl.DataFrame({"a": [0]}), {"n": 0})

    seen = []
    with subprocess.Popen([sys.executable, "-c", OVERWRITE, str(path)]) as writer:
        while writer.poll() is None:
            frame, facts = load_frame(path)
            assert frame["a"].to_list() == [facts["n"]]
            seen.append(facts["n"])

    assert writer.returncode == 0
    assert seen == sorted(seen)
    assert load_frame(path)[1] == {"n": 99}
    assert list(tmp_path.iterdir()) == [path]


def test_a_system_without_exchange_overwrites_in_two_steps(tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.drafts._exchange", lambda one, other: False)  # noqa: ARG005
    path = save_frame(tmp_path / "saved", FRAME, {"n": 1})

    save_frame(path, FRAME, {"n": 2}, overwrite=True)

    assert load_frame(path)[1] == {"n": 2}
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import os, sys, time
from pathlib import Path
import polars as pl
from workbench.files import save_frame
pl.DataFrame.write_parquet = lambda frame, file: (print("at work", flush=True), time.sleep(600))
save_frame(sys.argv[1], pl.DataFrame({"a": [1]}), {})
"""


def test_the_draft_of_a_killed_process_is_removed_and_that_of_a_living_one_stays(tmp_path):
    def look():
        return [path for path in tmp_path.iterdir() if path.name.endswith(".draft")]

    arguments = [sys.executable, "-c", KILLED, str(tmp_path / "saved")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        (draft,) = look()
        os.utime(draft, (0, 0))
        save_frame(tmp_path / "other", FRAME, {})
        assert look() == [draft]
        writer.kill()

    save_frame(tmp_path / "third", FRAME, {})

    assert not look()


def test_what_is_saved_is_its_owners_alone(tmp_path):
    folder = save_frame(tmp_path / "saved", FRAME, {})
    save_frame(folder, FRAME, {"n": 1}, overwrite=True)

    assert folder.stat().st_mode & 0o077 == 0
