"""awswrangler (the AWS SDK for pandas): frames on S3 as Parquet, CSV and JSON, both ways."""

import awswrangler as wr
import pandas as pd
from steps import BUCKET, URL, run_steps, step

wr.config.s3_endpoint_url = URL
FRAME = pd.DataFrame(
    {
        "day": pd.to_datetime(["2026-01-01", "2026-01-01", "2026-01-02"]),
        "model": ["a", "b", "a"],
        "latency": [0.01, 0.02, float("nan")],
    }
)
PLACE = f"s3://{BUCKET}"


@step
def parquet_files():
    wr.s3.to_parquet(FRAME, f"{PLACE}/one.parquet")
    pd.testing.assert_frame_equal(wr.s3.read_parquet(f"{PLACE}/one.parquet"), FRAME, **LOOSE)
    types, _ = wr.s3.read_parquet_metadata(f"{PLACE}/one.parquet")
    assert types["latency"] == "double", types


@step
def parquet_data_sets_with_partitions():
    put = {"path": f"{PLACE}/set/", "dataset": True, "partition_cols": ["model"]}
    wr.s3.to_parquet(FRAME, **put)
    wr.s3.to_parquet(FRAME, **put, mode="append")
    assert len(wr.s3.read_parquet(f"{PLACE}/set/", dataset=True)) == 6
    only = wr.s3.read_parquet(
        f"{PLACE}/set/", dataset=True, partition_filter=lambda part: part["model"] == "b"
    )
    assert list(only["latency"]) == [0.02, 0.02]
    wr.s3.to_parquet(FRAME[FRAME.model == "b"], **put, mode="overwrite_partitions")
    assert len(wr.s3.read_parquet(f"{PLACE}/set/", dataset=True)) == 5
    wr.s3.to_parquet(FRAME, **put, mode="overwrite")
    assert len(wr.s3.read_parquet(f"{PLACE}/set/", dataset=True)) == 3


@step
def frames_in_chunks():
    chunks = wr.s3.read_parquet(f"{PLACE}/set/", dataset=True, chunked=2)
    assert [len(each) for each in chunks] == [2, 1]


@step
def csv_files():
    wr.s3.to_csv(FRAME, f"{PLACE}/one.csv", index=False)
    back = wr.s3.read_csv(f"{PLACE}/one.csv", parse_dates=["day"])
    pd.testing.assert_frame_equal(back, FRAME, **LOOSE)
    assert len(wr.s3.read_csv([f"{PLACE}/one.csv"] * 2)) == 6


@step
def json_files():
    wr.s3.to_json(FRAME, f"{PLACE}/one.json", orient="records", lines=True)
    back = wr.s3.read_json(f"{PLACE}/one.json", lines=True)
    assert list(back["model"]) == ["a", "b", "a"]


@step
def lists_copies_and_deletes():
    assert wr.s3.does_object_exist(f"{PLACE}/one.csv")
    assert set(wr.s3.list_directories(f"{PLACE}/")) == {f"{PLACE}/set/"}
    assert wr.s3.size_objects([f"{PLACE}/one.csv"])[f"{PLACE}/one.csv"] > 0
    wr.s3.describe_objects(f"{PLACE}/one.csv")
    wr.s3.copy_objects([f"{PLACE}/one.csv"], PLACE, f"{PLACE}/copies")
    wr.s3.wait_objects_exist([f"{PLACE}/copies/one.csv"])
    wr.s3.download(f"{PLACE}/copies/one.csv", "one.csv")
    wr.s3.upload("one.csv", f"{PLACE}/again.csv")
    wr.s3.delete_objects(f"{PLACE}/")
    assert wr.s3.list_objects(f"{PLACE}/") == []


LOOSE = {"check_dtype": False, "check_index_type": False}  # nullable types and units differ
run_steps()
