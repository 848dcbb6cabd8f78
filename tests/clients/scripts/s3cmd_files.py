"""s3cmd: a command line of its own, which signs for itself."""

import hashlib
import subprocess
from pathlib import Path

from steps import KEY, NAME, SECRET, URL, run_steps, step

address = URL.partition("://")[2]
common = ["s3cmd", "--no-ssl", "--no-progress", f"--access_key={KEY}", f"--secret_key={SECRET}"]
common += [f"--host={address}", f"--host-bucket={address}", "--config=/dev/null"]


def call(*arguments):
    """Return what a command prints."""
    done = subprocess.run([*common, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stdout} {done.stderr}"
    return done.stdout


@step
def bucket_and_small_files():
    call("mb", f"s3://{NAME}")
    Path("hello.txt").write_bytes(b"hello")
    call("put", "hello.txt", f"s3://{NAME}/a/b c+d.txt", "--add-header=x-amz-meta-who:me")
    call("get", f"s3://{NAME}/a/b c+d.txt", "back.txt")
    assert Path("back.txt").read_bytes() == b"hello"


@step
def large_file_in_parts():
    content = bytes(range(256)) * 50_000  # 12.8 MB
    Path("large").write_bytes(content)
    call("put", "large", f"s3://{NAME}/large", "--multipart-chunk-size-mb=5")
    call("get", f"s3://{NAME}/large", "large-back")
    assert (
        hashlib.sha256(Path("large-back").read_bytes()).digest() == hashlib.sha256(content).digest()
    )


@step
def lists_and_facts():
    assert f"s3://{NAME}" in call("ls")
    assert f"s3://{NAME}/large" in call("ls", "--recursive", f"s3://{NAME}")
    told = call("info", f"s3://{NAME}/a/b c+d.txt")
    assert "MD5 sum:   5d41402abc4b2a76b9719d911017c592" in told, told
    assert "us-east-1" in call("info", f"s3://{NAME}")
    assert call("du", f"s3://{NAME}/large").split()[0] == str(256 * 50_000)


@step
def tags():
    if "settagging" not in call("--help"):  # s3cmd 2.3 has it not
        return
    call("settagging", f"s3://{NAME}/large", "stage=test")
    assert "test" in call("gettagging", f"s3://{NAME}/large")


@step
def copies_moves_and_sync():
    call("cp", f"s3://{NAME}/large", f"s3://{NAME}/copy")
    call("mv", f"s3://{NAME}/copy", f"s3://{NAME}/moved")
    folder = Path("folder")
    folder.mkdir()
    for number in range(3):
        (folder / str(number)).write_text(str(number))
    call("sync", "folder/", f"s3://{NAME}/folder/")
    (folder / "1").unlink()
    call("sync", "--delete-removed", "folder/", f"s3://{NAME}/folder/")
    assert call("ls", f"s3://{NAME}/folder/").count("s3://") == 2


@step
def presigned_url():
    from urllib.request import urlopen

    url = call("signurl", f"s3://{NAME}/a/b c+d.txt", "+60").strip()
    with urlopen(url) as answer:
        assert answer.read() == b"hello"


@step
def deletes():
    call("del", "--recursive", "--force", f"s3://{NAME}")
    call("rb", f"s3://{NAME}")
    assert f"s3://{NAME}\n" not in call("ls")


run_steps()
