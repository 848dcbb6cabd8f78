"""smart-open and cloudpathlib: objects as files and as paths."""

from cloudpathlib import S3Client
from smart_open import open as smart_open
from steps import BUCKET, URL, run_steps, step


@step
def lines_of_a_compressed_file():
    with smart_open(f"s3://{BUCKET}/lines.txt.gz", "w") as file:
        file.writelines(f"{number}\n" for number in range(1000))
    with smart_open(f"s3://{BUCKET}/lines.txt.gz") as file:
        assert sum(map(int, file)) == 499500


@step
def parts_and_seeks():
    with smart_open(f"s3://{BUCKET}/large", "wb") as file:
        for _ in range(13):
            file.write(b"x" * (1 << 20))
        file.write(b"end")
    with smart_open(f"s3://{BUCKET}/large", "rb") as file:
        file.seek(13 << 20)
        assert file.read() == b"end"


@step
def paths():
    root = S3Client(endpoint_url=URL).CloudPath(f"s3://{BUCKET}/paths")
    (root / "a" / "one.txt").write_text("one")
    (root / "two.txt").write_text("two")
    assert sorted(each.name for each in root.iterdir()) == ["a", "two.txt"]
    assert [each.read_text() for each in root.rglob("one*")] == ["one"]
    (root / "two.txt").rename(root / "three.txt")
    root.rmtree()
    assert not root.exists()


run_steps()
