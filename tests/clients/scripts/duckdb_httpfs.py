"""DuckDB: Parquet and CSV on S3 through httpfs, which comes in a package for want of a network."""

from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import duckdb_extension_httpfs
from steps import BUCKET, KEY, REGION, SECRET, URL, run_steps, step

PLACE = f"s3://{BUCKET}"
PACKAGE = Path(duckdb_extension_httpfs.__file__).parent
db = duckdb.connect()
db.load_extension(str(next(PACKAGE.rglob("httpfs.duckdb_extension"))))
db.execute(
    f"CREATE SECRET (TYPE s3, KEY_ID '{KEY}', SECRET '{SECRET}', REGION '{REGION}',"
    f" ENDPOINT '{urlsplit(URL).netloc}', URL_STYLE 'path', USE_SSL false)"
)
db.execute("CREATE TABLE t AS SELECT i, i % 3 AS part, 'x' || i AS s FROM range(100000) r(i)")


@step
def parquet_written_and_read():
    db.execute(f"COPY t TO '{PLACE}/t.parquet' (FORMAT parquet)")
    assert db.read_parquet(f"{PLACE}/t.parquet").sum("i").fetchone() == (4999950000,)


@step
def partitions_and_globs():
    db.execute(f"COPY t TO '{PLACE}/parts' (FORMAT parquet, PARTITION_BY part)")
    parts = db.read_parquet(f"{PLACE}/parts/*/*.parquet", hive_partitioning=True)
    assert parts.filter("part = 1").count("*").fetchone() == (33333,)


@step
def csv_with_a_space_in_its_name():
    db.execute(f"COPY t TO '{PLACE}/t of mine+1.csv'")
    assert db.read_csv(f"{PLACE}/t of mine+1.csv").count("*").fetchone() == (100000,)


run_steps()
