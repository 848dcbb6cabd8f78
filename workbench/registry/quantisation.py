"""ONNX models with weights of 8 bits."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray


class _Calibration:
    """Rows by which ONNX Runtime fixes the scales of activations."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        self._rows = iter(rows)

    def get_next(self) -> dict[str, Any] | None:
        row = next(self._rows, None)
        return None if row is None else {"input": row[None]}


def quantise(path: Path, calibration: NDArray[np.float32] | None) -> bytes:
    """Return the ONNX file with 8-bit weights.

    Activations get scales from the rows for calibration. Without any, they are quantised as they
    come, with one scale for a whole batch, so that a row's answer depends on those beside it.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory() as folder:
        prepared, result = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        if calibration is None:
            quantize_dynamic(prepared, result, weight_type=QuantType.QInt8)
        else:
            quantize_static(
                prepared,
                result,
                _Calibration(calibration),
                per_channel=True,
                weight_type=QuantType.QInt8,
                # Biases of shape (1, n), as skl2onnx writes them, are too much for the adjustment.
                extra_options={"QDQDisableWeightAdjustForInt32Bias": True},
            )
        return result.read_bytes()
