"""rclone: copies and synchronises folders, by its client in Go."""

import os
import subprocess
from pathlib import Path
from urllib.request import urlopen

from steps import KEY, NAME, REGION, SECRET, URL, run_steps, step

# of the provider AWS, rclone puts buckets in front of the host, which no address allows
remote = {"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": URL, "REGION": REGION}
remote |= {"ACCESS_KEY_ID": KEY, "SECRET_ACCESS_KEY": SECRET, "CHUNK_SIZE": "5M"}
remote |= {"UPLOAD_CUTOFF": "5M"}
variables = os.environ | {f"RCLONE_CONFIG_CLOUD_{name}": text for name, text in remote.items()}


def call(*arguments):
    """Return what a command prints."""
    done = subprocess.run(
        ["rclone", *arguments, "--retries=1", "--low-level-retries=2"],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout} {done.stderr}"
    return done.stdout


@step
def bucket_and_small_files():
    call("mkdir", f"cloud:{NAME}")
    Path("hello.txt").write_bytes(b"hello")
    call("copyto", "hello.txt", f"cloud:{NAME}/a/b c+d.txt")
    assert call("cat", f"cloud:{NAME}/a/b c+d.txt") == "hello"
    assert call("cat", "--offset=1", "--count=2", f"cloud:{NAME}/a/b c+d.txt") == "el"


@step
def large_file_in_parts():
    Path("large").write_bytes(bytes(range(256)) * 50_000)  # 12.8 MB
    call("copyto", "large", f"cloud:{NAME}/large")
    call("copyto", f"cloud:{NAME}/large", "large-back")
    assert Path("large-back").read_bytes() == Path("large").read_bytes()


@step
def lists():
    assert NAME in call("lsd", "cloud:")
    assert "large" in call("lsf", f"cloud:{NAME}")
    assert '"bytes":12800005' in call("size", "--json", f"cloud:{NAME}")


@step
def synchronised_folders():
    folder = Path("folder")
    folder.mkdir()
    for number in range(5):
        (folder / str(number)).write_text(str(number))
    call("sync", "folder", f"cloud:{NAME}/folder")
    call("check", "folder", f"cloud:{NAME}/folder")
    (folder / "1").unlink()
    call("sync", "folder", f"cloud:{NAME}/folder")
    assert len(call("lsf", f"cloud:{NAME}/folder").split()) == 4


@step
def copies_and_moves():
    call("copyto", f"cloud:{NAME}/large", f"cloud:{NAME}/copy")
    call("moveto", f"cloud:{NAME}/copy", f"cloud:{NAME}/moved")
    assert "moved" in call("lsf", f"cloud:{NAME}")


@step
def presigned_url():
    url = call("link", "--expire=60s", f"cloud:{NAME}/a/b c+d.txt").strip()
    with urlopen(url) as answer:
        assert answer.read() == b"hello"


@step
def deletes():
    call("deletefile", f"cloud:{NAME}/large")
    call("cleanup", f"cloud:{NAME}")
    call("purge", f"cloud:{NAME}")
    assert NAME not in call("lsd", "cloud:").split()


run_steps()
