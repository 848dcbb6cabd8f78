"""Polars: frames written to and scanned from a bucket, by its client in Rust."""

import boto3
import polars as pl
from steps import KEY, NAME, REGION, SECRET, URL, run_steps, step

options = {
    "aws_access_key_id": KEY,
    "aws_secret_access_key": SECRET,
    "aws_region": REGION,
    "aws_endpoint_url": URL,
    "aws_allow_http": "true",
}
frame = pl.DataFrame({"number": range(200_000), "text": [f"row {i}" for i in range(200_000)]})


boto3.client("s3").create_bucket(Bucket=NAME)  # which Polars does not


@step
def frames_in_parquet():
    frame.write_parquet(f"s3://{NAME}/set/frame.parquet", storage_options=options)
    back = pl.read_parquet(f"s3://{NAME}/set/frame.parquet", storage_options=options)
    assert back.equals(frame)


@step
def scans_that_read_little():
    scan = pl.scan_parquet(f"s3://{NAME}/set/*.parquet", storage_options=options)
    found = scan.filter(pl.col("number") == 7).select("text").collect()
    assert found["text"].to_list() == ["row 7"]


@step
def large_frames_in_parts():
    large = pl.DataFrame({"text": [f"{i:064d}" for i in range(400_000)]})  # 25 MB
    large.lazy().sink_ipc(
        f"s3://{NAME}/large.arrow", compression="uncompressed", storage_options=options
    )
    back = pl.scan_ipc(f"s3://{NAME}/large.arrow", storage_options=options).collect()
    assert back.equals(large)


@step
def text_files():
    frame.head(3).write_csv(f"s3://{NAME}/few.csv", storage_options=options)
    back = pl.scan_csv(f"s3://{NAME}/few.csv", storage_options=options).collect()
    assert back.equals(frame.head(3))


@step
def what_is_not_there():
    scan = pl.scan_parquet(f"s3://{NAME}/none.parquet", storage_options=options)
    try:
        scan.collect()
    except OSError as error:
        found = str(error).lower()
    assert "not found" in found or "404" in found, found


run_steps()
