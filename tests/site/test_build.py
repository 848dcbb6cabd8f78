"""The site's build refuses what it cannot write before it does anything."""

import build
import pytest


@pytest.mark.parametrize("option", ["--out", "--work"])
def test_a_folder_that_cannot_be_made_is_told_in_one_sentence(option, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    folders = {"--out": tmp_path / "out", "--work": tmp_path / "work"}
    folders[option] = tmp_path / "file" / "site"

    with pytest.raises(SystemExit) as ended:
        build.main(["--leave", *(f"{name}={path}" for name, path in folders.items())])

    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f": {folders[option]} cannot be written: Not a directory.")


def test_every_lesson_has_a_page_and_a_sheet_of_another_name(tmp_path):
    build.stage(tmp_path)
    lessons = tmp_path / build.CLASSROOM
    listed = (lessons / "index.md").read_text().split()

    for path in (build.ROOT / build.CLASSROOM).glob("*.md"):
        assert {path.stem, f"{path.stem}-sheet"} <= {*listed}
        assert (lessons / f"{path.stem}-sheet.md").read_bytes() == path.read_bytes()
        assert (lessons / f"{path.stem}.ipynb").exists()
    assert "classroom/index" in (tmp_path / "notebooks/index.md").read_text()
