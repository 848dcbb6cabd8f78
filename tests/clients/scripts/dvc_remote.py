"""DVC: data of a repository pushed to a remote on S3 and pulled from it."""

import shutil
import subprocess
from pathlib import Path

from botocore.session import get_session
from steps import BUCKET, URL, run_steps, step


def dvc(*arguments):
    done = subprocess.run(["dvc", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@step
def data_pushed_and_pulled():
    dvc("init", "--no-scm")
    Path("data").mkdir()
    for number in range(20):
        Path(f"data/{number}.txt").write_text(str(number))
    dvc("add", "data")
    dvc("remote", "add", "--default", "store", f"s3://{BUCKET}/dvc")
    dvc("remote", "modify", "store", "endpointurl", URL)
    dvc("push")
    shutil.rmtree("data")
    shutil.rmtree(".dvc/cache")
    dvc("pull")
    assert Path("data/7.txt").read_text() == "7"
    assert "in sync" in dvc("status", "--cloud")


@step
def garbage_collected():
    Path("data/7.txt").write_text("another")
    dvc("add", "data")
    dvc("gc", "--workspace", "--cloud", "--force")
    listed = get_session().create_client("s3").list_objects_v2(Bucket=BUCKET)
    assert listed["KeyCount"] == 19, listed["KeyCount"]


run_steps()
