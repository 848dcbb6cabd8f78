"""The clients of the matrix: one row for each, with its versions from the oldest to the newest."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Client:
    """One outside client.

    Attributes:
        name: What the table and `ONLY=` call it.
        kind: Who installs it: "pip", "npm" or "apt".
        versions: Exact ones, the oldest first.
        script: A file in scripts/: `.py` is run by the environment's Python (of apt, by ours),
            `.mjs` by Node.js.
        package: What the index calls it, where that is not its name.
        beside: Requirements installed with it.
        clone: The variable that names a folder with the rest of it, which is in no index.
        patience: Seconds that one version's script may take.
    """

    name: str
    kind: str
    versions: tuple[str, ...]
    script: str
    package: str = ""
    beside: tuple[str, ...] = ()
    clone: str = ""
    patience: float = 900.0

    def requirements(self, version):
        """What is installed for one version, as its kind writes it."""
        joint = {"pip": "==", "npm": "@", "apt": "="}[self.kind]
        return (f"{self.package or self.name}{joint}{version}", *self.beside)


OLD_S3FS = "s3fs==0.4.2"  # pip tries hundreds of others, each with a botocore of its own
CLIENTS = (
    Client("boto3", "pip", ("1.34.162", "1.38.46", "1.40.76", "1.44.8"), "boto3_sdk.py"),
    Client("awscli", "pip", ("1.32.117", "1.46.3"), "aws_cli.py"),
    Client("awscli2", "apt", ("2.9.19-1",), "aws_cli.py", package="awscli"),
    Client("aiobotocore", "pip", ("2.5.4", "3.10.0"), "async_sdk.py"),
    Client("awswrangler", "pip", ("3.4.2",), "wrangler.py", beside=("pyarrow<15",)),
    Client("awswrangler", "pip", ("3.17.1",), "wrangler.py"),
    Client(
        *("mlflow", "pip", ("2.10.2",), "mlflow_store.py"),
        beside=("boto3", "onnx<1.19", "onnxruntime", "setuptools<81", "sqlalchemy<2.1"),
    ),
    Client(
        *("mlflow", "pip", ("3.17.2",), "mlflow_store.py"),
        beside=("boto3", "onnx", "onnxruntime"),
    ),
    Client(
        *("pandas", "pip", ("2.2.3", "3.1.1"), "frames.py"),
        beside=("dask[dataframe]", "pyarrow", "s3fs"),
    ),
    Client("dvc", "pip", ("3.50.1",), "dvc_remote.py", "dvc[s3]", beside=("pathspec<0.12.1",)),
    Client("dvc", "pip", ("3.67.1",), "dvc_remote.py", "dvc[s3]"),
    Client("deltalake", "pip", ("1.0.2", "1.6.6"), "delta_tables.py", beside=("pyarrow",)),
    Client(
        "duckdb", "pip", ("1.1.3", "1.5.5"), "duckdb_httpfs.py", package="duckdb-extension-httpfs"
    ),
    Client("minio", "pip", ("7.1.17", "7.2.20"), "minio_sdk.py"),
    Client(
        *("smart-open", "pip", ("7.0.5", "9.0.2"), "open_files.py", "smart-open[s3]"),
        beside=("cloudpathlib[s3]",),
    ),
    Client("s3fs", "pip", ("2024.6.1", "2026.9.0"), "s3fs_files.py"),
    Client("pyarrow", "pip", ("20.0.0", "26.0.1"), "pyarrow_files.py"),
    Client("polars", "pip", ("1.36.1", "2.1.0"), "polars_frames.py", beside=("boto3==1.44.8",)),
    Client("s3cmd", "pip", ("2.3.0", "2.4.0"), "s3cmd_files.py"),
    Client("rclone", "apt", ("1.60.1+dfsg-2+b5",), "rclone_files.py"),
    Client("javascript2", "npm", ("2.1000.0", "2.1693.0"), "javascript2_sdk.mjs", "aws-sdk"),
    *(
        Client(
            "javascript3",
            "npm",
            (client,),
            "javascript3_sdk.mjs",
            "@aws-sdk/client-s3",
            beside=(
                f"@aws-sdk/lib-storage@{client}",
                f"@aws-sdk/s3-request-presigner@{presigner}",
                f"@aws-sdk/s3-presigned-post@{post}",
            ),
        )
        for client, presigner, post in (
            ("3.600.0", "3.600.0", "3.600.0"),  # before SDKs computed checksums unasked
            ("3.1175.0", "3.1169.0", "3.1164.0"),
        )
    ),
    Client("sagemaker2", "pip", ("2.257.7",), "sagemaker_sdk.py", "sagemaker"),
    Client(
        *("sagemaker3", "pip", ("3.27.0",), "sagemaker_sdk3.py", "sagemaker"), beside=(OLD_S3FS,)
    ),
    Client("sm-serverless-benchmarking", "pip", ("0.2.3",), "serverless_benchmarks.py"),
    Client(
        *("llmeter", "pip", ("0.2.0",), "llm_meter.py", "llmeter[plotting]"),
        beside=(OLD_S3FS,),
    ),
    Client(
        "lambda-power-tuning",
        "npm",
        ("3.1164.0",),
        "power_tuning.mjs",
        package="@aws-sdk/client-lambda",
        beside=("@aws-sdk/client-s3@3.1175.0",),
        clone="POWER_TUNING",
    ),
)
