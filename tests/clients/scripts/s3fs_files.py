"""s3fs: a bucket as a file system, as pandas and Dask use it."""

import s3fs
from steps import KEY, NAME, SECRET, URL, run_steps, step

files = s3fs.S3FileSystem(
    key=KEY,
    secret=SECRET,
    endpoint_url=URL,
    # No region_name: mkdir would ask for a bucket in it by name, which AWS refuses of us-east-1.
    use_listings_cache=False,
)


@step
def bucket_and_small_files():
    files.mkdir(NAME)
    files.pipe_file(f"{NAME}/a/b c+d.txt", b"hello")
    assert files.cat_file(f"{NAME}/a/b c+d.txt") == b"hello"
    assert files.info(f"{NAME}/a/b c+d.txt")["size"] == 5
    assert files.exists(f"{NAME}/a")
    assert not files.exists(f"{NAME}/none")


@step
def ranges():
    assert files.cat_file(f"{NAME}/a/b c+d.txt", start=1, end=3) == b"el"
    with files.open(f"{NAME}/a/b c+d.txt") as file:
        file.seek(-2, 2)
        assert file.read() == b"lo"


@step
def large_file_in_parts():
    content = bytes(range(256)) * 50_000  # 12.8 MB
    with files.open(f"{NAME}/large", "wb", block_size=5 << 20) as file:
        file.write(content)
    with files.open(f"{NAME}/large", "rb") as file:
        assert file.read() == content
    files.cp_file(f"{NAME}/large", f"{NAME}/again")
    assert files.info(f"{NAME}/again")["size"] == len(content)


@step
def lists_and_walks():
    for number in range(5):
        files.touch(f"{NAME}/list/{number}")
    assert len(files.ls(f"{NAME}/list")) == 5
    assert f"{NAME}/list/3" in files.find(NAME)
    assert files.glob(f"{NAME}/list/[12]") == [f"{NAME}/list/1", f"{NAME}/list/2"]
    assert NAME in files.ls("")


@step
def metadata_and_tags():
    files.setxattr(f"{NAME}/a/b c+d.txt", copy_kwargs={}, who="me")
    assert files.getxattr(f"{NAME}/a/b c+d.txt", "who") == "me"
    files.put_tags(f"{NAME}/list/1", {"stage": "test"})
    assert files.get_tags(f"{NAME}/list/1") == {"stage": "test"}


@step
def presigned_url():
    from urllib.request import urlopen

    with urlopen(files.sign(f"{NAME}/a/b c+d.txt", expiration=60)) as answer:
        assert answer.read() == b"hello"


@step
def moves_and_deletes():
    files.mv(f"{NAME}/list/0", f"{NAME}/moved")
    assert files.exists(f"{NAME}/moved")
    assert not files.exists(f"{NAME}/list/0")
    files.rm(NAME, recursive=True)
    assert not files.exists(NAME)


run_steps()
