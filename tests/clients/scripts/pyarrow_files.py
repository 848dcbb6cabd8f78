"""pyarrow: its own client of S3, in C++, with tables in Parquet."""

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs
from steps import KEY, NAME, REGION, SECRET, URL, run_steps, step

scheme, _, address = URL.partition("://")
files = fs.S3FileSystem(
    access_key=KEY,
    secret_key=SECRET,
    region=REGION,
    endpoint_override=address,
    scheme=scheme,
    allow_bucket_creation=True,
    allow_bucket_deletion=True,
)
table = pa.table({"number": range(1000), "text": [str(each) for each in range(1000)]})


@step
def bucket_and_small_files():
    files.create_dir(NAME)
    with files.open_output_stream(
        f"{NAME}/a/b c+d.txt", metadata={"Content-Type": "text/x"}
    ) as file:
        file.write(b"hello")
    with files.open_input_stream(f"{NAME}/a/b c+d.txt") as file:
        assert file.read() == b"hello"
        assert file.metadata()["Content-Type"] == b"text/x"


@step
def ranges():
    with files.open_input_file(f"{NAME}/a/b c+d.txt") as file:
        file.seek(1)
        assert (file.read(2), file.size()) == (b"el", 5)


@step
def large_file_in_parts():
    content = bytes(range(256)) * 100_000  # 25.6 MB
    with files.open_output_stream(f"{NAME}/large") as file:
        for begin in range(0, len(content), 1 << 20):
            file.write(content[begin : begin + (1 << 20)])
    with files.open_input_stream(f"{NAME}/large") as file:
        assert file.read() == content


@step
def tables_in_parquet():
    pq.write_table(table, f"{NAME}/table.parquet", filesystem=files)
    assert pq.read_table(f"{NAME}/table.parquet", filesystem=files).equals(table)
    parts = ds.partitioning(pa.schema([("number", pa.int64())]), flavor="hive")
    few = table.slice(0, 5)
    ds.write_dataset(few, f"{NAME}/set", filesystem=files, format="parquet", partitioning=parts)
    found = ds.dataset(f"{NAME}/set", filesystem=files, partitioning=parts).to_table()
    assert found.num_rows == 5


@step
def lists_and_kinds():
    infos = files.get_file_info(fs.FileSelector(NAME, recursive=True))
    assert f"{NAME}/set/number=3" in [each.path for each in infos]
    assert files.get_file_info(f"{NAME}/none").type == fs.FileType.NotFound
    assert files.get_file_info(f"{NAME}/set").type == fs.FileType.Directory


@step
def copies_moves_and_deletes():
    files.copy_file(f"{NAME}/a/b c+d.txt", f"{NAME}/copy")
    files.move(f"{NAME}/copy", f"{NAME}/moved")
    assert files.get_file_info(f"{NAME}/moved").size == 5
    files.delete_file(f"{NAME}/moved")
    files.delete_dir(f"{NAME}/set")
    files.delete_dir(NAME)
    assert files.get_file_info(NAME).type == fs.FileType.NotFound


run_steps()
