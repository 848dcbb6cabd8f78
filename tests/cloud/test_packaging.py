import io
import json
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from tests.refused import refused
from workbench.cloud.packaging import (
    HANDLER,
    MAX_UNZIPPED,
    MODEL_FILE,
    archive,
    function_zip,
    unpack,
    unzip,
)
from workbench.errors import Damaged, InvalidInput, StorageError
from workbench.registry.onnx import Session


def tar_of(path, *members, mode="w:gz"):
    """An archive of (name, content) pairs; a TarInfo is taken as it is."""
    with tarfile.open(path, mode) as tar:
        for each in members:
            if isinstance(each, tarfile.TarInfo):
                tar.addfile(each)
                continue
            info = tarfile.TarInfo(each[0])
            info.size = len(each[1])
            tar.addfile(info, io.BytesIO(each[1]))
    return path


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_an_archive_holds_the_model_and_what_is_known_of_it(model, tmp_path):
    folder = unpack(archive(model, tmp_path / "model.tar.gz"), tmp_path / "model")

    facts = json.loads((folder / "model.json").read_text())
    inputs = model.samples().inputs[:4]
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.onnx"]
    assert facts["name"] == model.name
    assert facts["traits"]["task"] == "digits"
    assert np.array_equal(Session(folder / "model.onnx").run(inputs), model.session().run(inputs))


def test_one_model_always_gives_the_same_bytes(model, tmp_path):
    first, second = (archive(model, tmp_path / name) for name in ("a.tar.gz", "b.tar.gz"))

    assert first.read_bytes() == second.read_bytes()


def test_an_archive_that_cannot_be_written_is_an_error(model, tmp_path):
    with refused(StorageError, tmp_path / "nowhere" / "model.tar.gz"):
        archive(model, tmp_path / "nowhere" / "model.tar.gz")


def test_folders_in_an_archive_are_kept(tmp_path):
    source = tar_of(
        tmp_path / "a.tar.gz",
        special("./code", tarfile.DIRTYPE),
        ("./code/model.onnx", b"1"),
        ("deep/er/b", b"2"),
    )

    folder = unpack(source, tmp_path / "out")

    assert (folder / "code/model.onnx").read_bytes() == b"1"
    assert (folder / "deep/er/b").read_bytes() == b"2"


@pytest.mark.parametrize(
    ("member", "named"),
    [
        (("../evil", b""), "'../evil'"),
        (("/evil", b""), "'/evil'"),
        (("a/../../evil", b""), "'a/../../evil'"),
        (special("link", tarfile.SYMTYPE, "/etc/passwd"), "'link'"),
        (special("link", tarfile.LNKTYPE, "model.onnx"), "'link'"),
        (special("pipe", tarfile.FIFOTYPE), "'pipe'"),
        (("big", bytes(101)), "100 bytes"),
    ],
)
def test_what_an_archive_must_not_hold_is_refused_and_leaves_nothing(tmp_path, member, named):
    source = tar_of(tmp_path / "a.tar.gz", ("model.onnx", b""), member)

    with refused(InvalidInput, named):
        unpack(source, tmp_path / "out", max_bytes=100)

    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_what_is_no_whole_archive_is_damaged(tmp_path):
    whole = tar_of(tmp_path / "a.tar.gz", ("model.onnx", bytes(range(256)) * 99)).read_bytes()
    bent = whole[:60] + bytes(len(whole) - 60)
    for content in (b"", b"no archive", whole[: len(whole) // 2], bent):
        (tmp_path / "b.tar.gz").write_bytes(content)
        with refused(Damaged, tmp_path / "b.tar.gz"):
            unpack(tmp_path / "b.tar.gz", tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_missing_archive_is_an_error(tmp_path):
    with refused(StorageError, tmp_path / "a.tar.gz", "No such file or directory"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")


def test_a_folder_that_is_there_is_not_unpacked_into(tmp_path):
    with refused(InvalidInput, tmp_path):
        unpack(tar_of(tmp_path / "a.tar.gz"), tmp_path)


def test_a_function_zip_holds_handler_and_model_and_is_always_the_same(model, tmp_path):
    first = function_zip(model, tmp_path / "a.zip")
    second = function_zip(model, tmp_path / "b.zip")
    folder = unzip(first, tmp_path / "f")

    assert first.read_bytes() == second.read_bytes()
    assert (folder / "model" / MODEL_FILE).read_bytes() == model.path.read_bytes()
    *packages, _ = HANDLER.split(".")
    assert (folder / "/".join(packages)).with_suffix(".py").is_file()


def test_a_function_zip_holds_all_of_our_code_that_it_imports(model, tmp_path):
    folder = unzip(function_zip(model, tmp_path / "f.zip"), tmp_path / "unpacked")
    package = HANDLER.rpartition(".")[0].rpartition(".")[0]
    modules = [
        f"{package}.{each.stem}" for each in folder.glob(f"{package.replace('.', '/')}/*.py")
    ]
    lines = f"import sys; sys.path.insert(0, {str(folder)!r}); import {', '.join(modules)} as last"

    found = subprocess.run(
        [sys.executable, "-I", "-c", f"{lines}; print(last.__file__)"],
        check=True,
        capture_output=True,
        text=True,
    )

    assert found.stdout.startswith(str(folder))


def test_libraries_go_beside_the_handler(model, tmp_path):
    libraries = tmp_path / "libraries"
    (libraries / "numpy" / "__pycache__").mkdir(parents=True)
    (libraries / "numpy" / "__init__.py").write_text("one = 1")
    (libraries / "numpy" / "__pycache__" / "x.pyc").write_text("")

    folder = unzip(function_zip(model, tmp_path / "a.zip", libraries=libraries), tmp_path / "f")

    assert [path.name for path in (folder / "numpy").iterdir()] == ["__init__.py"]


def test_libraries_that_are_too_large_are_refused_before_aws_does(model, tmp_path):
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MAX_UNZIPPED)

    with refused(InvalidInput, "262,144,000"):
        function_zip(model, tmp_path / "a.zip", libraries=tmp_path)


def zip_of(path, name, mode=0o100644, content="x"):
    with zipfile.ZipFile(path, "w") as packed:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        packed.writestr(member, content)
    return path


@pytest.mark.parametrize(
    ("name", "mode"), [("../out", 0o100644), ("/out", 0o100644), ("link", 0o120777)]
)
def test_zips_that_would_write_elsewhere_are_refused(tmp_path, name, mode):
    with pytest.raises(InvalidInput):
        unzip(zip_of(tmp_path / "a.zip", name, mode), tmp_path / "f")

    assert not (tmp_path / "f").exists()


def test_a_zip_larger_than_allowed_or_broken_leaves_nothing(tmp_path):
    packed = zip_of(tmp_path / "a.zip", "a", content="x" * 100)

    with refused(InvalidInput, "99 bytes"):
        unzip(packed, tmp_path / "f", max_bytes=99)
    damaged = [packed.read_bytes()[:-30], packed.read_bytes()[5:]]  # an end, an offset before it
    for content in damaged:
        (tmp_path / "b.zip").write_bytes(content)
        with pytest.raises(StorageError):
            unzip(tmp_path / "b.zip", tmp_path / "f")
        assert not (tmp_path / "f").exists()
