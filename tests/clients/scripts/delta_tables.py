"""Delta Lake: a table on S3, its commits guarded by conditional puts."""

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from steps import BUCKET, KEY, REGION, SECRET, URL, run_steps, step

OPTIONS = {
    "AWS_ENDPOINT_URL": URL,
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_REGION": REGION,
    "AWS_ALLOW_HTTP": "true",
    "aws_conditional_put": "etag",
}
PLACE = f"s3://{BUCKET}/table"
ROWS = pa.table({"model": ["a", "b"], "latency": [0.1, 0.2]})


@step
def tables_written_and_read():
    write_deltalake(PLACE, ROWS, storage_options=OPTIONS)
    write_deltalake(PLACE, ROWS, mode="append", storage_options=OPTIONS)
    table = DeltaTable(PLACE, storage_options=OPTIONS)
    assert table.version() == 1
    assert sum(pa.table(table.to_pyarrow_table()).column("latency").to_pylist()) > 0.59


@step
def versions_and_deletes():
    table = DeltaTable(PLACE, storage_options=OPTIONS)
    table.delete("model = 'a'")
    assert len(DeltaTable(PLACE, storage_options=OPTIONS).to_pyarrow_table()) == 2
    assert len(DeltaTable(PLACE, version=0, storage_options=OPTIONS).to_pyarrow_table()) == 2
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert len(DeltaTable(PLACE, storage_options=OPTIONS).to_pyarrow_table()) == 2


run_steps()
