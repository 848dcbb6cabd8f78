"""What a process of ours needs before it loads NumPy and ONNX Runtime."""

import os


def configure_runtime_env() -> None:
    """Keep NumPy from starting threads, which would only wait, and ONNX Runtime from reporting.

    ONNX Runtime reports its use to its makers since 1.29, from a thread of its own, unless a
    variable forbids it before it loads.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
