"""pandas and Dask: frames on S3 through fsspec, told where by `storage_options`."""

import dask.dataframe as dd
import pandas as pd
from steps import BUCKET, KEY, SECRET, URL, run_steps, step

OPTIONS = {"key": KEY, "secret": SECRET, "client_kwargs": {"endpoint_url": URL}}
FRAME = pd.DataFrame({"model": ["a", "b", "a"] * 1000, "latency": [0.1, 0.2, 0.3] * 1000})
PLACE = f"s3://{BUCKET}"


@step
def parquet_with_pandas():
    FRAME.to_parquet(f"{PLACE}/one.parquet", storage_options=OPTIONS)
    back = pd.read_parquet(f"{PLACE}/one.parquet", storage_options=OPTIONS, columns=["latency"])
    assert list(back["latency"]) == list(FRAME["latency"])


@step
def partitions_with_pandas():
    FRAME.to_parquet(f"{PLACE}/parts", partition_cols=["model"], storage_options=OPTIONS)
    back = pd.read_parquet(
        f"{PLACE}/parts", filters=[("model", "==", "b")], storage_options=OPTIONS
    )
    assert len(back) == 1000


@step
def csv_and_json_with_pandas():
    FRAME.to_csv(f"{PLACE}/one.csv.gz", index=False, storage_options=OPTIONS)
    assert len(pd.read_csv(f"{PLACE}/one.csv.gz", storage_options=OPTIONS)) == 3000
    FRAME.to_json(f"{PLACE}/one.json", orient="records", lines=True, storage_options=OPTIONS)
    assert len(pd.read_json(f"{PLACE}/one.json", lines=True, storage_options=OPTIONS)) == 3000


@step
def data_sets_with_dask():
    frame = dd.from_pandas(FRAME, npartitions=3)
    frame.to_parquet(f"{PLACE}/dask", storage_options=OPTIONS, write_index=False)
    back = dd.read_parquet(f"{PLACE}/dask", storage_options=OPTIONS)
    assert back.npartitions == 3
    means = back.groupby("model")["latency"].mean().compute()
    assert abs(means["a"] - 0.2) < 1e-9
    frame.to_csv(f"{PLACE}/dask-*.csv", storage_options=OPTIONS, index=False)
    assert len(dd.read_csv(f"{PLACE}/dask-*.csv", storage_options=OPTIONS)) == 3000


run_steps()
