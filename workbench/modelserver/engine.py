"""The model of a folder, loaded into ONNX Runtime."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

MODEL_FILE = "model.onnx"
_FACTS_FILE = "model.json"  # what the registry knew of the model, in an archive that it packed

_NOT_CHECKED = "not checked"
_DTYPES = {
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
}


class ModelLoadError(Exception):
    """The folder holds no model that can be served."""


class Engine:
    """A model that answers batches with its first output.

    Attributes:
        dtype, row: type and shape of one row of the input; None is an axis of any size.
        batch_invariance: what the registry knows of rows together; "not checked" without it.
        invariant: whether rows together are answered as alone.

    Raises:
        CannotLoad: There is no ONNX file of one numeric input with a free first axis.
    """

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self._session = _open(folder, threads)
        self.batch_invariance = _read_invariance(folder)
        self.invariant = self.batch_invariance in ("identical", "within tolerance")
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _DTYPES:
            raise ModelLoadError("The model must have one input, a tensor of numbers.")
        if not inputs[0].shape or isinstance(inputs[0].shape[0], int):
            raise ModelLoadError(
                f"The first axis of the input must be free, got {inputs[0].shape}."
            )
        self.dtype = np.dtype(_DTYPES[inputs[0].type])
        self.row = tuple(size if isinstance(size, int) else None for size in inputs[0].shape[1:])
        self._input = inputs[0].name
        self._first = [self._session.get_outputs()[0].name]
        self._run = self._session.run
        self._last, self._typical_times = (
            (0.0, 0.0),
            (0.0, 0.0),
        )  # seconds of a run, seconds of its rows

    def run(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the first output for a batch; raises whatever ONNX Runtime raises.

        Raises:
            ValueError: There is not one answer a row.
        """
        start = time.perf_counter()
        outputs = self._run(self._first, {self._input: rows})[0]
        took = time.perf_counter() - start
        before, self._last = self._last, (took, took / (len(rows) or 1))
        self._typical_times = min(before[0], self._last[0]), min(before[1], self._last[1])
        outputs = np.asarray(outputs)
        if not outputs.ndim or len(outputs) != len(rows):
            raise ValueError(f"{len(rows)} rows were answered with an output of {outputs.shape}.")
        return outputs

    def estimate_seconds(self, rows: int) -> float:
        """Estimate the seconds of a run by the last two, of which a slow one may be an accident."""
        run, row = self._typical_times
        return max(run, row * rows)

    def warm(self) -> None:
        """Run twice on a row of zeros, which a model is free to refuse: the first run is slow."""
        row = np.zeros((1, *(size or 1 for size in self.row)), self.dtype)
        for _ in range(2):
            try:
                self.run(row)
            except Exception:  # noqa: BLE001 - zeros were our idea, not the client's
                return


def _open(folder: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # errors come as exceptions; the log would say them twice
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    path = _find(folder)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelLoadError(f"ONNX Runtime cannot load {path}: {error}") from error


def _read_invariance(folder: Path) -> str:
    try:
        facts = json.loads((folder / _FACTS_FILE).read_bytes())
        return str(facts.get("batch_invariance", _NOT_CHECKED))
    except (OSError, ValueError, AttributeError):  # another's folder
        return _NOT_CHECKED


def _find(folder: Path) -> Path:
    """Return the folder's model.onnx, or its only ONNX file."""
    if (folder / MODEL_FILE).is_file():
        return folder / MODEL_FILE
    found = sorted(folder.glob("*.onnx"))
    if len(found) != 1:
        raise ModelLoadError(
            f"{folder} must hold {MODEL_FILE}, or one other ONNX file; it holds {len(found)}."
        )
    return found[0]
